"""No command leaves temporary files behind, however it ends, because none writes any."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest

from sandbox import Sandbox
from unit_tests.harness import Json, write_json

CONNECTOR = Path(sys.executable).parent / "source-meetings"
STREAM = "salesloft_meetings"
COMMANDS = ("check", "discover", "read")
SMALL_PIPE = 4096  # bytes; less than a catalog or 250 rows


def config(box: Sandbox, **provider: Any) -> Json:
    key = {"auth_type": "api_key", "api_key": "ak_sandbox"}
    base_url = box.salesloft.base_url
    return {"provider": {"name": "salesloft", "base_url": base_url, "credentials": key, **provider}}


def catalog() -> Json:
    modes = ["full_refresh", "incremental"]
    stream = {"name": STREAM, "json_schema": {}, "supported_sync_modes": modes}
    selected = {"stream": stream, "sync_mode": "incremental"}
    return {"streams": [{**selected, "destination_sync_mode": "append_dedup"}]}


def start(command: str, config: Json, temporary: Path) -> subprocess.Popen[bytes]:
    """Start the console script with its own temporary directory and a small pipe."""
    files = ["--config", write_json(config)]
    if command == "read":
        files += ["--catalog", write_json(catalog())]
    process = subprocess.Popen(
        [CONNECTOR, command, *files],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
    return process


def read_until(words: bytes, output: IO[bytes]) -> None:
    seen = b""
    while words not in seen:
        part = output.read(100)
        assert part, seen
        seen += part


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_succeeds_leaves_the_temporary_directory_empty(box, temporary, command):
    # Given
    box.salesloft.generate(count=250)
    # When
    process = start(command, config(box), temporary)
    output, errors = process.communicate()
    # Then
    assert (process.returncode, errors) == (0, b"")
    assert {b"check": b'"SUCCEEDED"', b"read": b'"COMPLETE"'}.get(command.encode(), b"") in output
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_fails_leaves_the_temporary_directory_empty(box, temporary, command):
    # Given a second page that the provider refuses, or an invalid key
    box.salesloft.generate(count=250)
    if command == "read":
        box.fault("/meetings", 2, 99, kind="status", status=403)
    key = {"check": "refused", "discover": "not a key", "read": "ak_sandbox"}[command]
    credentials = {"auth_type": "api_key", "api_key": key}
    process = start(command, config(box, credentials=credentials), temporary)
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0 if command == "check" else 1, b"")
    assert b"FAILED" in output or b"config_error" in output
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_leaves_the_temporary_directory_empty(box, temporary, command, number):
    # Given a running command that waits for an answer or for its reader
    box.salesloft.generate(count=250)
    if command == "check":
        box.fault("/", 1, 99, kind="stall", seconds=60)
    process = start(command, config(box), temporary)
    assert process.stdout is not None
    while command == "check" and not box.requests:
        assert process.poll() is None
        time.sleep(0.01)
    if command != "check":  # then more output comes than fits in the pipe
        read_until(b'"CATALOG"' if command == "discover" else b'"RECORD"', process.stdout)
    # When it gets the signal
    process.send_signal(number)
    process.communicate()
    # Then it ends (after the catalog, discover ends by itself), and no file is left
    assert process.returncode in (-number, 128 + number, *([0] if command == "discover" else []))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_pipe_leaves_the_temporary_directory_empty(box, temporary, command):
    # Given a reader that closes the pipe after the first line, like `head -1`
    box.salesloft.generate(count=250)
    process = start(command, config(box), temporary)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    # Then the command ends by itself
    assert process.wait() == 128 + signal.SIGPIPE
    assert process.stderr.read() == b""
    # And no file is left
    assert list(temporary.iterdir()) == []
