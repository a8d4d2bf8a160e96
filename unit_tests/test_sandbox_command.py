"""`python -m sandbox`, as `make sandbox` and the demo start it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.accounts import ACCOUNTS

CHECKOUT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT)}


@contextmanager
def sandbox(*options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", *options],
        cwd=CHECKOUT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def guide_of(process: subprocess.Popen[str]) -> str:
    """Return what `make sandbox` prints."""
    assert process.stdout is not None
    lines: list[str] = []
    while not (lines and lines[-1].startswith("For another provider")):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return "".join(lines)


def commands_of(guide: str) -> list[str]:
    """Return the commands in that text: paragraphs that start with the name of a program."""
    paragraphs = re.split(r"\n\n+", guide)
    return [one for one in paragraphs if re.match(r"\S*source-meetings |jq |curl ", one)]


def run(command: str) -> str:
    done = subprocess.run(
        ["sh", "-c", command], cwd=CHECKOUT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def needs(program: str) -> None:
    if shutil.which(program) is None:
        reason = f"there is no {program}"
        pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)


@pytest.mark.parametrize("provider", ACCOUNTS)
def test_the_printed_commands_work_without_changes(provider: str, tmp_path: Path) -> None:
    needs("jq")
    needs("curl")
    with sandbox("--port=0", f"--folder={tmp_path}") as process:
        # Given the four commands, for the provider in them or for another one
        commands = commands_of(guide_of(process).replace("salesloft", provider))
        check, read, keep, change = commands
        # When they are run one after the other
        status = json.loads(run(check).splitlines()[-1])
        first = int(run(read))
        run(keep)
        changes = json.loads(run(change))
        # Then the check succeeds and everything is read
        assert status["connectionStatus"]["status"] == "SUCCEEDED"
        assert first > 30 and len(changes) >= 4
        # When the second and the third one are run again
        later = int(run(read))
        run(keep)
        # Then only changes are read, and the short lists that are always read completely
        assert 0 < later < first / 4
        # And the state file has one state for each stream
        states = json.loads((tmp_path / provider / "state.json").read_text())
        names = [state["stream"]["stream_descriptor"]["name"] for state in states]
        assert len(names) == len(set(names)) > 0


def test_the_state_of_a_stream_that_was_not_read_is_kept(tmp_path: Path) -> None:
    needs("jq")
    with sandbox("--port=0", f"--folder={tmp_path}") as process:
        _, _, keep, _ = commands_of(guide_of(process))

    # Given a state of two streams, and messages with two states of one of them
    def state(stream: str, value: int) -> dict[str, object]:
        descriptor = {"stream_descriptor": {"name": stream}, "stream_state": {"value": value}}
        return {"type": "STREAM", "stream": descriptor}

    folder = tmp_path / "salesloft"
    (folder / "state.json").write_text(json.dumps([state("one", 1), state("two", 1)]))
    messages = [
        {"type": "STATE", "state": state("two", 2)},
        {"type": "RECORD", "record": {"stream": "two", "data": {}}},
        {"type": "STATE", "state": state("two", 3)},
    ]
    (folder / "messages.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in messages))
    # When the state file is updated
    run(keep)
    # Then it has the last state of each stream
    kept = json.loads((folder / "state.json").read_text())
    assert kept == [state("one", 1), state("two", 3)]


def test_without_a_folder_the_first_line_has_every_provider_without_meetings() -> None:
    # Given a sandbox that was started as the demo starts it
    with sandbox("--port=0") as process:
        assert process.stdout is not None
        # When its first line is read
        state = json.loads(process.stdout.readline())
    # Then it has every provider, without meetings
    assert state["providers"].keys() == ACCOUNTS.keys()
    assert state["providers"]["salesloft"]["meetings"] == 0


def test_for_a_port_in_use_the_error_says_how_to_choose_another_one() -> None:
    # Given a port that another program uses
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # When the sandbox is started on it
        done = subprocess.run(
            [sys.executable, "-m", "sandbox", f"--port={port}"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
        )
    # Then the error names the port and the option to change it
    assert done.returncode == 1
    assert f"cannot use port {port}" in done.stderr and "make sandbox PORT=0" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_readme_has_the_printed_commands(tmp_path: Path) -> None:
    # Given the text that is printed
    with sandbox("--port=0", f"--folder={tmp_path}") as process:
        guide = guide_of(process)
    url = re.findall(r"http://127\.0\.0\.1:\d+", guide)[0]
    program = os.path.relpath(Path(sys.executable).parent / "source-meetings", CHECKOUT)
    # When its folder and URL are replaced by those of `make sandbox`
    for here, there in [
        (url, "http://127.0.0.1:8765"),
        (f"{tmp_path}", ".sandbox"),
        (program, ".venv/bin/source-meetings"),
    ]:
        guide = guide.replace(here, there)
    # Then the README shows each command
    readme = (CHECKOUT / "README.md").read_text()
    assert [command for command in commands_of(guide) if command not in readme] == []
