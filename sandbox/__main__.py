"""`python -m sandbox`: serve the simulated providers locally until Ctrl-C.

Starts without data, and prints its URLs as one line of JSON when it is ready. With `--folder`, as
in `make sandbox`, it starts with sample data, writes a configuration for each provider into the
folder, and prints commands to paste. For data and faults, see `sandbox/server.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from sandbox.accounts import ACCOUNTS
from sandbox.server import Sandbox

CATALOGS = Path(__file__).parent.parent / "integration_tests"

SHOWN = "salesloft"

# Names in braces are replaced. The README shows these commands too.
COMMANDS = """\
{program} check --config {folder}/config.json

{program} read --config {folder}/config.json \\
    --catalog {folder}/catalog.json --state {folder}/state.json \\
    > {folder}/messages.jsonl; grep -c '"type":"RECORD"' {folder}/messages.jsonl

jq -n 'reduce (inputs | if type == "array" then .[] else select(.type == "STATE").state end) as $one
    ({{}}; .[$one.stream.stream_descriptor.name] = $one) | [.[]]' \\
    {folder}/state.json {folder}/messages.jsonl > {folder}/new.json \\
    && mv {folder}/new.json {folder}/state.json

curl --silent --request POST {url}/_sandbox/{provider}/account/change_for_demo
"""
GUIDE = """\
The sandbox runs at {url} until you press Ctrl-C. Paste these commands into
another terminal, in this folder. They check the connection, read every meeting and count the rows,
keep the state, and change some meetings:

{commands}
Then paste the second command again. It now reads only what has changed.

For another provider, replace {shown} with {others}."""


def prepare(box: Sandbox, folder: Path) -> str:
    """Fill every account and write the files its commands need, such as `<provider>/config.json`.

    Returns the text to print. Its commands work from the checkout.
    """
    for name, account in box.state()["providers"].items():
        box.act_on_account(name, "fill")
        if ACCOUNTS[name].has_oauth:  # for examples/authorize.py
            account["config"]["provider"]["token_url"] = getattr(box, name).token_url
        files = {
            "config.json": account["config"],
            "catalog.json": json.loads((CATALOGS / name / "configured_catalog.json").read_text()),
            "state.json": [],
        }
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / name / file).write_text(json.dumps(content, indent=2) + "\n")
    commands = COMMANDS.format(
        program=os.path.relpath(Path(sys.executable).parent / "source-meetings"),
        folder=folder / SHOWN,
        provider=SHOWN,
        url=box.url,
    )
    *others, last = (name for name in ACCOUNTS if name != SHOWN)
    words = f"{', '.join(others)} or {last}"
    return GUIDE.format(url=box.url, commands=commands, shown=SHOWN, others=words)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--clock", default="real", help='"real", or the start of a fixed clock')
    parser.add_argument(
        "--folder", type=Path, help="start with data, and write configurations here"
    )
    arguments = parser.parse_args()

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    try:
        box = Sandbox(arguments.clock, arguments.host, arguments.port).start()
    except OSError as error:
        sys.exit(
            f"The sandbox cannot use port {arguments.port}: {error.strerror}. "
            "Choose another port, or any free one: make sandbox PORT=0"
        )
    try:
        print(prepare(box, arguments.folder) if arguments.folder else json.dumps(box.state()))
        sys.stdout.flush()
        while not done.wait(timeout=3600):  # on Windows, signals do not end an endless wait
            pass
    finally:
        box.stop()


if __name__ == "__main__":
    main()
