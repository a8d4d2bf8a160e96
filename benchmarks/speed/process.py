"""Runs one program, reads its messages and measures its time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from benchmarks.speed.marks import EDITED, IMPORTED
from benchmarks.speed.server import ROOT

# Runs between the measuring process and the program. On Linux, a process inherits the peak memory
# of the one that started it.
_MEASURED = """
import json, os, subprocess, sys, time
started = time.monotonic()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
figures = {
    "started": started,
    "ended": time.monotonic(),
    "cpu": usage.ru_utime + usage.ru_stime,
    "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    "status": os.waitstatus_to_exitcode(status),
}
with open(int(sys.argv[1]), "w") as report:
    json.dump(figures, report)
"""
_RECORDS = (b'{"type":"RECORD"', b'{"type": "RECORD"')
_STATES = (b'{"type":"STATE"', b'{"type": "STATE"')
_MARK = EDITED.encode()


@dataclass(frozen=True)
class Run:
    """The measurements of one run: seconds, bytes, and numbers of messages.

    ``cpu``: user and system time together. ``first_record``: from the end of the imports to the
    first record, or None without one. A program that does not report this end is timed from its
    start. ``edited``: records that the benchmark had edited.
    """

    wall: float
    cpu: float
    peak: int
    records: int
    states: int
    largest_state: int
    edited: int
    first_record: float | None
    status: int
    error: str = ""
    lines_of_state: list[bytes] = field(default_factory=list, repr=False)


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> Run:
    """Run a command in the checkout and read what it prints."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _MEASURED, str(writing), *command],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[writing],
        )
        os.close(writing)
        assert process.stdout is not None
        messages = _read(process.stdout)
        process.stdout.close()
        with os.fdopen(reading) as report:
            figures = json.load(report)
        process.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    imported = figures["started"]
    for line in said.splitlines():
        if line.startswith(IMPORTED):
            imported = float(line.split()[-1])
    first, failure = messages.pop("first"), messages.pop("failure")
    return Run(
        wall=figures["ended"] - figures["started"],
        cpu=figures["cpu"],
        peak=figures["peak"],
        status=figures["status"],
        first_record=None if first is None else first - imported,
        error=(failure or _last_words(said)) if figures["status"] else "",
        **messages,
    )


def _read(output: IO[bytes]) -> dict[str, Any]:
    records = states = largest = edited = 0
    first = None
    failure = ""
    lines_of_state: list[bytes] = []
    for line in output:
        if line.startswith(_RECORDS):
            if first is None:
                first = time.monotonic()
            records += 1
            edited += _MARK in line
        elif line.startswith(_STATES):
            states += len(line)
            largest = max(largest, len(line))
            lines_of_state.append(line)
        elif b'"error"' in line:
            failure = _message_of(line) or failure
    return {
        "records": records,
        "states": states,
        "largest_state": largest,
        "edited": edited,
        "first": first,
        "failure": failure,
        "lines_of_state": lines_of_state,
    }


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed no error"


def _message_of(line: bytes) -> str:
    """The message of an Airbyte error, or an empty text for any other line."""
    try:
        message = json.loads(line)["trace"]["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return ""
    return " ".join(str(message).split())[:300]
