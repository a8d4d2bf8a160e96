"""The sample files of each provider, for Airbyte's tests and for people: `<provider>/*.json`.

python -m integration_tests.samples      write the states again, after their form has changed
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS, Account
from unit_tests.harness import cursor_of, read

Json = dict[str, Any]

FOLDER = Path(__file__).parent
CLOCK = "2026-06-01T00:00:00Z"
FUTURE = "2999-01-01T00:00:00.000000Z"


def sample(provider: str, name: str) -> Any:
    """Return the content of one of a provider's files."""
    return json.loads((FOLDER / provider / name).read_text())


def sample_config(account: Account, oauth: bool = False) -> Json:
    """Return the provider's sample configuration, for an account in the sandbox."""
    config: Json = sample(account.name, "sample_config.json")
    config["provider"].update(account.config(oauth)["provider"])
    return config


def invalid_config(account: Account) -> Json:
    """Return the same with an invalid key."""
    config = sample_config(account)
    invalid = sample(account.name, "invalid_config.json")["provider"]
    for name in ("credentials", account.key_field):
        if name in invalid:
            config["provider"][name] = invalid[name]
    return config


def _write_states(account: Account) -> None:
    """Write the states of a first sync, and the same states in a far future."""
    output = read(sample_config(account))
    states = [
        {"type": "STREAM", "stream": state["stream"]}
        for state in output.last_states()
        if cursor_of(state["stream"]["stream_descriptor"]["name"])
    ]
    text = json.dumps(states, indent=2, sort_keys=True) + "\n"
    folder = FOLDER / account.name
    (folder / "sample_state.json").write_text(text)
    future = re.sub(r"20\d\d-\d\d-\d\dT[\d:.]+Z", FUTURE, text)
    (folder / "abnormal_state.json").write_text(future)


def main() -> None:
    for account in ACCOUNTS.values():
        with Sandbox(clock=CLOCK) as box:
            _write_states(account.sample(box))


if __name__ == "__main__":
    main()
