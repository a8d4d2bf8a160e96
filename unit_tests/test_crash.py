"""Killed at any moment and resumed from the last complete state: nothing is lost.

The moments are random, but the same in every run. To try others, set CRASH_SEED.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox.accounts import ACCOUNTS, Account
from source_meetings.source import SourceMeetings
from unit_tests import processes
from unit_tests.harness import Json, Output, Table, catalog, write_json
from unit_tests.processes import read_in_a_process

ROOT = Path(__file__).parents[1]
SEED = int(os.environ.get("CRASH_SEED", "1"))
STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # killed by the signal, or as process 1
CASES = [(name, stream) for name in ACCOUNTS for stream in ACCOUNTS[name].streams]


class Destination:
    """A table and the state file: what remains when the connector is killed."""

    def __init__(self, account: Account, stream: str) -> None:
        self.account = account
        self.table = Table(stream)
        self.state: list[Json] = []
        self.configured = catalog(SourceMeetings(config=account.config()), [stream], "incremental")

    def sync(self) -> Output:
        output = read_in_a_process(self.account.config(), self.configured, self.state)
        assert output.exit_code == 0, output.errors
        self.keep(output)
        return output

    def keep(self, output: Output) -> None:
        self.table.load(output)
        self.state = output.last_states() or self.state

    def killed_sync(self, chance: Random, most_lines: int, most_requests: int) -> bool:
        """Kill a sync after a random line or at a random request, and write at that moment.

        Returns whether it was still running. With ``most_requests`` 1 it always is.
        """
        account = self.account
        if most_requests > 1 and chance.random() < 0.5:
            lines = chance.randint(1, most_lines)
            output = read_in_a_process(account.config(), self.configured, self.state, lines)
        else:
            # Requests of the process that was killed before may arrive until this one has started.
            started: Future[Any] = Future()

            def at_a_request() -> None:
                account.change()
                started.result(timeout=60).kill()

            box = account.box
            box.after(account.path, chance.randint(1, most_requests), at_a_request)
            output = read_in_a_process(
                account.config(),
                self.configured,
                self.state,
                started=started.set_result,
            )
            box.forget_hooks()
        self.keep(output)
        return output.exit_code == -signal.SIGKILL


@pytest.mark.parametrize(("name", "stream"), CASES)
def test_a_sync_that_is_killed_at_any_moment_is_resumed_and_loses_nothing(box, name, stream):
    # Given the number of lines and requests of a first sync
    chance = Random(f"{SEED} {stream}")
    rows = 40 if stream in ACCOUNTS[name].slow_streams else 350
    account = ACCOUNTS[name].with_rows(box, rows, chance.randrange(1000))
    trial = Destination(account, stream)
    lines = len(trial.sync().messages)
    requests = len(box.requests)

    destination = Destination(account, stream)
    kills = 0
    # When first and later syncs are killed, with writes in between
    for most_lines, most_requests in ((lines, requests), (40, 4), (40, 4)):
        for most in (most_requests, most_requests, most_requests, 1):
            kills += destination.killed_sync(chance, most_lines, most)
            account.change()
            box.clock.advance(minutes=chance.choice((0.1, 3, 20)))
        # And two syncs may finish, the second one for what was written during the first
        destination.sync()
        destination.sync()
        # Then the table equals the provider's data
        found = account.differences(destination.table)
        assert not any(found.values()), f"{found}; CRASH_SEED={SEED}"
    assert kills >= 3


def test_a_late_request_of_a_killed_process_does_not_break_the_next_kill(box, monkeypatch):
    # Given a request that arrives before the process to be killed has started
    account = ACCOUNTS["salesloft"].with_rows(box, 10)
    destination = Destination(account, "salesloft_meetings")

    def read_after_a_late_request(*arguments: Any, **options: Any) -> Output:
        url = urlsplit(box.url)
        with socket.create_connection((url.hostname, url.port)) as connection:
            connection.sendall(b"GET /salesloft/v2/meetings HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not box.requests:
                time.sleep(0.01)
            return processes.read_in_a_process(*arguments, **options)

    monkeypatch.setattr("unit_tests.test_crash.read_in_a_process", read_after_a_late_request)
    # When a sync should be killed at its first request
    killed = destination.killed_sync(Random(1), most_lines=1, most_requests=1)
    # Then it is killed, and the hook in the sandbox raises nothing (which would fail the fixture)
    assert killed


@pytest.mark.parametrize(
    ("name", "asleep"), [*((name, False) for name in sorted(ACCOUNTS)), ("salesloft", True)]
)
def test_sigterm_ends_the_process_within_five_seconds_with_a_complete_last_line(box, name, asleep):
    # Given a sync whose reader is slow, or that waits for a rate limit
    account = ACCOUNTS[name](box)
    account.generate(2000)
    stream = account.streams[0]
    configured = catalog(SourceMeetings(config=account.config()), [stream], "incremental")
    if asleep:
        headers = {"Retry-After": "250"}
        box.fault(account.path, 2, 10**6, kind="status", status=429, headers=headers)
    files = ["--config", write_json(account.config()), "--catalog", write_json(configured)]
    process = subprocess.Popen(
        [sys.executable, "-m", "source_meetings", "read", *files],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    while (
        b"Trying again" not in (line := process.stdout.readline()) if asleep else not box.requests
    ):
        assert process.poll() is None
    # When it gets SIGTERM
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    rest = (line if asleep else b"") + process.stdout.read()
    # Then it ends soon, every line is a complete message, and standard error is empty
    assert process.wait() in STOPPED
    assert time.monotonic() - started < 5
    assert rest.endswith(b"\n")
    for line in rest.splitlines():
        assert json.loads(line)["type"] in ("RECORD", "STATE", "LOG", "TRACE")
    assert process.stderr.read() == b""


def test_sigterm_ends_the_process_even_if_nobody_reads_its_output(box):
    # Given a sync whose reader has stopped reading, so that it blocks in the middle of a line
    account = ACCOUNTS["salesloft"].with_rows(box, 2000)
    configured = catalog(SourceMeetings(config=account.config()), None, "incremental")
    files = ["--config", write_json(account.config()), "--catalog", write_json(configured)]
    process = subprocess.Popen(
        [sys.executable, "-m", "source_meetings", "read", *files], cwd=ROOT, stdout=subprocess.PIPE
    )
    requests = -1
    while len(box.requests) < 3 or len(box.requests) > requests:  # until no new ones come
        requests = len(box.requests)
        time.sleep(0.5)
    # When it gets SIGTERM
    process.send_signal(signal.SIGTERM)
    # Then it stops nevertheless
    assert process.wait(timeout=5) in STOPPED
    assert process.stdout is not None
    process.stdout.close()
