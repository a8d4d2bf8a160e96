"""Measures memory and states of large syncs: `python -m benchmarks.memory --sizes 10000 1000000`.

Runs the connector in its own process against the sandbox, for a first sync and an incremental one.
Prints a Markdown table with the peak resident memory, and the number of bytes of states and of
records printed. The sandbox makes rows on request and keeps none. The connector's own pacing stays
on: a million meetings of Salesloft take twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS, Account
from source_meetings.source import SourceMeetings
from unit_tests.harness import catalog, write_json

ROOT = Path(__file__).parents[1]
CLOCK = "2026-06-01T00:00:00Z"
MOST_GROWTH_MB = 60
MOST_STATE_KB = 100
_RECORD = b'{"type":"RECORD"'
_STATE = b'{"type":"STATE"'
# Runs between the sandbox's process and the connector's, and reports the peak at the end. On Linux,
# a process inherits the peak of the one that started it, and the sandbox's is larger.
_MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1), file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Measurement:
    """One sync: its size, the peak in megabytes, and how long it took.

    ``largest_state``, ``states`` and ``record_bytes`` are the bytes of the largest state message,
    of all state messages and of all records. ``last_state`` is where the next sync continues.
    """

    provider: str
    sync: str
    meetings: int
    records: int
    peak_mb: float
    seconds: float
    requests: int
    largest_state: int
    states: int
    record_bytes: int
    last_state: Any = field(repr=False)

    @property
    def states_allowed(self) -> float:
        """A megabyte, or a hundredth of the records."""
        return max(1_000_000, self.record_bytes / 100)


def measure(provider: str, meetings: int) -> Measurement:
    """Run a first sync of this many meetings, in its own process."""
    with Sandbox(clock=CLOCK) as box:
        return _measure(_holding(box, provider, meetings), meetings, [])


def measure_both(provider: str, meetings: int) -> Iterator[Measurement]:
    """Run a first sync of this many meetings, and another sync an hour later."""
    with Sandbox(clock=CLOCK) as box:
        account = _holding(box, provider, meetings)
        first = _measure(account, meetings, [])
        yield first
        box.clock.advance(hours=1)
        yield _measure(account, meetings, [first.last_state])


def _holding(box: Sandbox, provider: str, meetings: int) -> Account:
    account = ACCOUNTS[provider](box)
    account.hold(meetings)
    return account


def _measure(account: Account, meetings: int, state: list[Any]) -> Measurement:
    box, config = account.box, account.config()
    configured = catalog(SourceMeetings(config=config), account.streams[:1], "incremental")
    files = [write_json(config), write_json(configured), write_json(state)]
    box.forget_requests()
    started = time.monotonic()
    connector = [sys.executable, "-m", "source_meetings", "read"]
    records = record_bytes = states = largest = 0
    last_state = b""
    with subprocess.Popen(
        [sys.executable, "-c", _MEASURED, *connector]
        + [part for pair in zip(("--config", "--catalog", "--state"), files) for part in pair],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if line.startswith(_RECORD):
                records += 1
                record_bytes += len(line)
            elif line.startswith(_STATE):
                states += len(line)
                largest = max(largest, len(line))
                last_state = line
        said = process.stderr.read().decode()
    seconds = time.monotonic() - started
    for file in files:
        Path(file).unlink()
    if process.returncode:
        raise SystemExit(f"the sync of {account.title} failed: {said}")
    return Measurement(
        provider=account.name,
        sync="incremental" if state else "first",
        meetings=meetings,
        records=records,
        peak_mb=float(said.split()[-1]) / 1024,
        seconds=seconds,
        requests=len(box.requests),
        largest_state=largest,
        states=states,
        record_bytes=record_bytes,
        last_state=json.loads(last_state)["state"],
    )


def grown(measured: Iterable[Measurement]) -> float:
    """How many megabytes higher the peak of the largest sync is than that of the smallest."""
    by_size = sorted(measured, key=lambda one: one.meetings)
    return by_size[-1].peak_mb - by_size[0].peak_mb


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("providers", nargs="*", default=sorted(ACCOUNTS), metavar="provider")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    arguments = parser.parse_args()
    columns = "provider | sync | meetings | records | requests | peak MB | seconds"
    print(f"| {columns} | largest state, KB | all states, KB | records, MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    too_much = []
    for provider in arguments.providers:
        measured = []
        for size in arguments.sizes:
            for one in measure_both(provider, size):
                print(
                    f"| {provider} | {one.sync} | {size:,} | {one.records:,} | {one.requests:,} | "
                    f"{one.peak_mb:.0f} | {one.seconds:.0f} | {one.largest_state / 1e3:.1f} | "
                    f"{one.states / 1e3:.1f} | {one.record_bytes / 1e6:.1f} |",
                    flush=True,
                )
                if one.sync == "first":
                    measured.append(one)
                if one.largest_state > MOST_STATE_KB * 1e3 or one.states > one.states_allowed:
                    too_much.append(f"the states of {provider}")
        if grown(measured) > MOST_GROWTH_MB:
            too_much.append(f"the memory of {provider}")
    if too_much:
        raise SystemExit(f"too much: {', '.join(too_much)}")


if __name__ == "__main__":
    main()
