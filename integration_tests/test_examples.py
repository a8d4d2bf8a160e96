"""The programs in examples/ find the connector in whatever folder they are started.

The clients' environment comes from `make clients`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PROGRAMS = {
    "dlt_pipeline.py": ["config.json"],
    "pyairbyte_duckdb.py": ["config.json", "meetings.duckdb"],
}


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def interpreter(clients: Path, tmp_path: Path) -> Path:
    """Return the clients' interpreter in a new folder, so that tests can put files beside it."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(clients.resolve())
    return python


def put_connector(folder: Path) -> Path:
    """Create a `source-meetings` that only records that it was started."""
    script = folder / "source-meetings"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text('#!/bin/sh\necho "$0" >> "$STARTED"\nexit 1\n')
    script.chmod(0o755)
    return script


def run(
    program: str, *options: str, interpreter: Path, clients: Path, folder: Path
) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a program in an empty folder. Return its result and the connectors that it started."""
    (packages,) = clients.parent.parent.glob("lib/python*/site-packages")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "config.json").write_text("{}")
    started = folder / "started"
    started.touch()
    done = subprocess.run(
        [interpreter, CHECKOUT / "examples" / program, *PROGRAMS[program], *options],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        env={
            "PATH": f"{folder / 'path'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "PYTHONPATH": str(packages),
            "HOME": str(folder),
            "PYTHONWARNINGS": "ignore",
            "STARTED": str(started),
            "AIRBYTE_PROJECT_DIR": str(folder),
            "AIRBYTE_LOGGING_ROOT": str(folder / "logs"),
            "DLT_DATA_DIR": str(folder),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        },
    )
    return done, set(started.read_text().split())


def test_the_connector_beside_the_interpreter_takes_precedence_over_the_path(
    program, interpreter, clients, tmp_path
):
    # Given a connector beside the interpreter, and another one on the PATH
    beside = put_connector(interpreter.parent)
    put_connector(tmp_path / "path")
    # When the example is started in another folder
    done, started = run(program, interpreter=interpreter, clients=clients, folder=tmp_path)
    # Then it starts the one beside the interpreter
    assert started == {str(beside)}, done.stderr[-2000:]


def test_the_connector_on_the_path_is_found(program, interpreter, clients, tmp_path):
    # Given a connector on the PATH only
    on_path = put_connector(tmp_path / "path")
    # When the example is started in another folder
    done, started = run(program, interpreter=interpreter, clients=clients, folder=tmp_path)
    # Then it starts that one
    assert started == {str(on_path)}, done.stderr[-2000:]


def test_without_a_connector_the_only_message_says_what_to_do(
    program, interpreter, clients, tmp_path
):
    # Given no connector, neither beside the interpreter nor on the PATH
    # When the example is started
    done, _ = run(program, interpreter=interpreter, clients=clients, folder=tmp_path)
    # Then it says where it looked, how to install the connector, and which option names its path
    assert done.returncode == 1
    assert done.stderr == (
        f"source-meetings is neither in {interpreter.parent} nor on the PATH. Run `make install` "
        "in the connector's checkout, and pass --connector CHECKOUT/.venv/bin/source-meetings.\n"
    )


def test_the_error_has_the_path_of_a_connector_that_does_not_exist(
    program, interpreter, clients, tmp_path
):
    # Given a connector on the PATH
    put_connector(tmp_path / "path")
    # When the option of the example names another one, which does not exist
    done, started = run(
        program,
        "--connector=nowhere/source-meetings",
        interpreter=interpreter,
        clients=clients,
        folder=tmp_path,
    )
    # Then the error has that path, and the connector on the PATH is not started
    missing = tmp_path / "elsewhere" / "nowhere" / "source-meetings"
    assert done.returncode == 1 and started == set()
    assert done.stderr == f"--connector: {missing} is not an executable file.\n"
