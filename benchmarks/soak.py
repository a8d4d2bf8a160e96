"""Simulates days of one connection per provider: `python -m benchmarks.soak --days 30 --seed 1`.

The sandbox's clock moves. Meetings are booked, edited, moved, cancelled and deleted at any time,
also between two requests of a sync. Requests fail, temporarily or permanently; tokens expire; syncs
are killed. Every sync runs in its own process and resumes from the last state that was completely
printed. At the end of each day, two syncs run undisturbed, and the table must then equal what the
provider shows. Rows that were deleted where an API shows no deletions are not counted; the README
says which.

Prints a Markdown table. Exits with status 1 as soon as a row is missing, stale or extra.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings.source import SourceMeetings
from unit_tests.harness import Json, Output, Table, catalog
from unit_tests.processes import read_in_a_process

START = "2026-06-01T00:00:00Z"
PASSING: tuple[Json, ...] = (
    {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "html", "status": 502},
    {"kind": "html", "status": 200},
    {"kind": "drop"},
    {"kind": "drop", "processed": True},
    {"kind": "cut"},
    {"kind": "half_json"},
)
COLUMNS = (
    "days",
    "syncs",
    "rows read",
    "writes",
    "writes in mid-sync",
    "faults",
    "failed",
    "killed",
)


class Wrong(Exception):
    """The table differs from what the provider shows, or a sync failed that should not have."""


class Connection:
    """A connection to one provider: its account in a sandbox, its tables, state and config file."""

    def __init__(self, name: str, seed: int, size: int) -> None:
        self.name = name
        self.chance = Random(f"{seed} {name}")
        self.box = Sandbox(clock=START).start()
        self.account = ACCOUNTS[name].with_rows(self.box, size, self.chance.randrange(2**16))
        self.oauth = self.account.has_oauth
        handle, self.config_path = tempfile.mkstemp(suffix=".json")
        os.close(handle)
        self.authenticate()
        source = SourceMeetings(config=self.account.config())
        self.catalog = catalog(source, self.account.streams, "incremental")
        self.tables = [Table(stream) for stream in self.account.streams]
        self.state: dict[str, Json] = {}
        self.count: Counter[str] = Counter()
        self.refreshes = 0

    def close(self) -> None:
        self.box.stop()
        Path(self.config_path).unlink()

    def authenticate(self) -> None:
        """Fill in the form, as a person does. The connector writes renewed tokens to it."""
        Path(self.config_path).write_text(json.dumps(self.account.config(self.oauth)))

    def write(self, what: str = "writes") -> None:
        self.account.change()
        self.count[what] += 1

    def a_day(self) -> None:
        chance = self.chance
        for _ in range(chance.randint(1, 4)):
            for _ in range(chance.choice((0, 1, 5, 30))):
                self.box.clock.advance(seconds=chance.expovariate(1 / 60))
                self.write()
            self.box.clock.advance(hours=chance.choice((0.05, 1, 3, 6)))
            self.a_sync_in_bad_weather()
        if chance.random() < 0.05:
            self.box.clock.advance(days=chance.uniform(1, 20))  # switched off for a while
        self.two_syncs_left_alone()
        self.count["days"] += 1

    def a_sync_in_bad_weather(self) -> None:
        """Run a sync in which anything may happen at any request."""
        chance, box = self.chance, self.box
        here = self.account.path
        for _ in range(chance.choice((0, 1, 3))):
            nth = chance.randint(1, 25)
            box.after(here, nth, lambda: self.write("writes in mid-sync"))
        for _ in range(chance.choice((0, 0, 1, 2))):
            box.fault(here, chance.randint(1, 20), **chance.choice(PASSING))
            self.count["faults"] += 1
        if self.oauth and chance.random() < 0.2:  # tokens end mid-sync, once all workers have one
            self.account.side.oauth.after_uses = chance.randint(10, 30)
        for_good = chance.random() < 0.1
        if for_good:
            box.fault(here, chance.randint(1, 10), 10**6, kind="status", status=403)
        kill_after = chance.choice((None, None, chance.randint(1, 60), 500))
        kills: list[Any] = []
        if chance.random() < 0.2:
            box.before(here, chance.randint(1, 12), lambda: [kill() for kill in kills])
        output = self.sync(kill_after, kills)
        if output.exit_code == -signal.SIGKILL:
            self.count["killed"] += 1
        elif output.exit_code:
            self.count["failed"] += 1
            if not for_good and not self.has_lost_its_token(output):
                raise Wrong(f"a sync failed: {[error['message'] for error in output.errors]}")
        box.forget_hooks()
        box.forget_faults()
        if self.oauth:
            self.account.side.oauth.after_uses = None

    def has_lost_its_token(self, output: Output) -> bool:
        """Whether a sync was killed after it renewed its token and before it saved it."""
        lost = any("Authenticate again" in error["message"] for error in output.errors)
        if lost:
            self.count["authenticated again"] += 1
            self.authenticate()
        return lost

    def two_syncs_left_alone(self) -> None:
        """The second one reads what was written during the last sync before them."""
        for _ in range(2):
            output = self.sync()
            if output.exit_code and self.has_lost_its_token(output):
                output = self.sync()
            if output.exit_code:
                raise Wrong(f"a sync failed: {[error['message'] for error in output.errors]}")
            self.box.clock.advance(minutes=11)
        for table in self.tables:
            found = self.account.differences(table)
            if any(found.values()):
                raise Wrong(f"{table.stream}: {found}")

    def sync(self, kill_after: int | None = None, kills: list[Any] | None = None) -> Output:
        config = json.loads(Path(self.config_path).read_text())
        output = read_in_a_process(
            config,
            self.catalog,
            list(self.state.values()),
            kill_after,
            started=lambda process: (kills if kills is not None else []).append(process.kill),
            config_path=self.config_path,
        )
        for table in self.tables:
            table.load(output)
        for state in output.last_states():
            self.state[state["stream"]["stream_descriptor"]["name"]] = state
        self.count["syncs"] += 1
        self.count["rows read"] += len(output.records())
        return output

    def line(self) -> str:
        numbers = " | ".join(f"{self.count[column]:,}" for column in COLUMNS)
        tokens = self.account.side.oauth.refreshes if self.oauth else 0
        requests = len(self.box.requests)
        held = " and ".join(f"{len(table.rows):,}" for table in self.tables)
        again = self.count["authenticated again"]
        return f"| {self.name} | {numbers} | {requests:,} | {tokens:,} | {again} | {held} |"


def soak(days: int | None, minutes: float | None, seed: int, size: int) -> list[Connection]:
    """Let days pass for a connection to each provider.

    Raises Wrong, with the seed, at the first table that differs from its provider.
    """
    connections = [Connection(name, seed, size) for name in ACCOUNTS]
    started = time.monotonic()
    day = 0
    try:
        while day < days if days else time.monotonic() - started < 60 * (minutes or 60):
            day += 1
            for connection in connections:
                connection.a_day()
            if day % 10 == 0:
                print(f"{day} days, {(time.monotonic() - started) / 60:.1f} min", file=sys.stderr)
        return connections
    except Wrong as wrong:
        raise Wrong(f"{connection.name}, day {day}, seed {seed}: {wrong}") from wrong
    finally:
        for connection in connections:
            connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, help="in real time (60 without --days)")
    parser.add_argument("--days", type=int, help="in simulated time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=200, help="meetings at the start")
    arguments = parser.parse_args()
    os.environ.setdefault("SOURCE_MEETINGS_PATIENCE", "0.02")  # short waits for short faults
    try:
        done = soak(arguments.days, arguments.minutes, arguments.seed, arguments.size)
    except Wrong as wrong:
        raise SystemExit(f"WRONG: {wrong}") from wrong
    print(
        f"| provider | {' | '.join(COLUMNS)} | requests | renewals | signed in again | rows held |"
    )
    print("|---|" + "---:|" * (len(COLUMNS) + 4))
    for connection in done:
        print(connection.line())
    print(f"\n0 rows missing, stale or extra; seed {arguments.seed}.")


if __name__ == "__main__":
    main()
