"""What a person sees in the log while a sync runs, and when it has ended."""

from __future__ import annotations

import re

import pytest

from source_meetings import progress
from unit_tests.accounts import ACCOUNTS
from unit_tests.harness import read

COUNTS = r"(\d+) of (\d+) slices, (\d+) rows \((\d+)/s\), (\d+) requests"


def lines(logs: list[str], pattern: str) -> list[re.Match[str]]:
    return [found for line in logs if (found := re.fullmatch(pattern, line))]


@pytest.mark.parametrize("name", sorted(ACCOUNTS))
def test_each_stream_ends_with_one_line_that_says_what_was_done(box, name):
    # Given an account with meetings
    account = ACCOUNTS[name](box, 1)
    account.generate(60)
    stream = account.streams[0]
    # When it is synced
    output = read(account.config(), None, [stream])
    # Then one line says how much that was
    (summary,) = lines(output.logs, rf"Stream {stream}: done after [\d.]+ s: {COUNTS}\.")
    done, slices, rows, _, requests = map(int, summary.groups())
    assert done == slices > 0
    assert rows == len(output.records())
    assert requests == len(box.requests)


def test_a_stream_without_a_cursor_has_its_line_too(box):
    output = read(ACCOUNTS["close"](box, 1).config(), None, ["close_outcomes"])
    (summary,) = lines(
        output.logs, r"Stream close_outcomes: done after [\d.]+ s: (\d+) rows .* (\d+) requests\."
    )
    assert [int(number) for number in summary.groups()] == [3, len(box.requests)]


def test_the_log_says_how_far_a_long_sync_is_and_what_it_waited_for(box, monkeypatch):
    # Given a provider that asks to wait in the middle of a first sync
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.2)
    account = ACCOUNTS["salesloft"](box, 1)
    account.generate(600)
    box.fault("/meetings", 5, kind="status", status=429, headers={"Retry-After": "1"})
    # When it runs for longer than the time between two lines
    output = read(account.config())
    # Then there were lines meanwhile, and the wait is counted
    meanwhile = lines(output.logs, rf"Stream salesloft_meetings: {COUNTS}(, .*)?\.")
    assert len(meanwhile) >= 3
    assert [int(line[5]) for line in meanwhile] == sorted(int(line[5]) for line in meanwhile)
    assert "1 waits (1 s over all workers)" in meanwhile[-1][0]
    assert max(map(len, output.logs)) < 300


def test_a_stream_that_fails_is_not_said_to_be_done(box):
    account = ACCOUNTS["salesloft"](box, 1)
    account.generate(600)
    box.fault("/meetings", 4, 10**6, kind="status", status=403)
    output = read(account.config())
    assert output.exit_code == 1
    assert lines(output.logs, r"Stream salesloft_meetings: not finished after .*")
    assert not lines(output.logs, r"Stream salesloft_meetings: done .*")
