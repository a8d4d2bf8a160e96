"""What the log shows while a sync runs and when it has ended."""

from __future__ import annotations

import re

import pytest

from sandbox.accounts import ACCOUNTS
from source_meetings import manifest, progress, source
from unit_tests.harness import read

COUNTS = r"(\d+) of (\d+) slices, (\d+) rows \((\d+)/s\), (\d+) requests"


def lines(logs: list[str], pattern: str) -> list[re.Match[str]]:
    return [found for line in logs if (found := re.fullmatch(pattern, line))]


@pytest.mark.parametrize("name", ACCOUNTS)
def test_each_stream_ends_with_one_line_that_sums_up_its_sync(box, name):
    # Given an account with meetings
    account = ACCOUNTS[name].with_rows(box, 60)
    stream = account.streams[0]
    # When one stream is synced
    output = read(account.config(), None, [stream])
    # Then one line has the numbers of slices, rows and requests
    (summary,) = lines(output.logs, rf"Stream {stream}: done after [\d.]+ s: {COUNTS}\.")
    done, slices, rows, _, requests = map(int, summary.groups())
    assert done == slices > 0
    assert rows == len(output.records())
    assert requests == len(box.requests)


def test_a_stream_without_a_cursor_has_its_line_too(box):
    output = read(ACCOUNTS["close"](box).config(), None, ["close_outcomes"])
    (summary,) = lines(
        output.logs, r"Stream close_outcomes: done after [\d.]+ s: (\d+) rows .* (\d+) requests\."
    )
    assert [int(number) for number in summary.groups()] == [3, len(box.requests)]


def test_the_log_shows_the_progress_of_a_long_sync_and_its_waits(box, monkeypatch):
    # Given a provider that asks for a wait in the middle of a first sync
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.2)
    account = ACCOUNTS["salesloft"].with_rows(box, 600)
    box.fault("/meetings", 5, kind="status", status=429, headers={"Retry-After": "1"})
    # When the sync takes longer than the time between two progress lines
    output = read(account.config())
    # Then there are several progress lines, and they count the wait
    meanwhile = lines(output.logs, rf"Stream salesloft_meetings: {COUNTS}(, .*)?\.")
    assert len(meanwhile) >= 3
    assert [int(line[5]) for line in meanwhile] == sorted(int(line[5]) for line in meanwhile)
    assert "1 waits (1 s over all workers)" in meanwhile[-1][0]
    assert max(map(len, output.logs)) < 300


def test_the_log_says_what_the_workers_wait_for_and_how_long(box, monkeypatch):
    # Given a provider that refuses every request for three seconds
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 1.0)
    account = ACCOUNTS["salesloft"].with_rows(box, 600)
    for nth in range(4, 8):
        box.fault("/meetings", nth, kind="status", status=429, headers={"Retry-After": "3"})
    # When a sync with four workers meets it
    output = read({**account.config(), "num_workers": 4})
    # Then the log says so while they wait: once for all of them, and again as time passes
    pattern = (
        r"Waiting for Salesloft's limit of 600 points a minute; "
        r"resuming in (\d) s \((\d) workers?\)\."
    )
    announced = lines(output.logs, pattern)
    assert 2 <= len(announced) <= 4
    seconds = [int(line[1]) for line in announced]
    assert seconds == sorted(seconds, reverse=True)
    assert max(int(line[2]) for line in announced) > 1
    # And progress lines count the wait before it is over
    first = output.logs.index(announced[0][0])
    counts = [line for line in output.logs[first : first + 3] if "requests" in line]
    assert any("waits" in line for line in counts)
    assert "0 waits" not in counts[0]


def test_a_wait_because_of_a_server_error_is_announced_as_such(box):
    account = ACCOUNTS["salesloft"].with_rows(box, 60)
    box.fault("/meetings", 2, kind="status", status=503, headers={"Retry-After": "3"})
    output = read(account.config())
    assert lines(output.logs, r"Waiting to try Salesloft again; resuming in [1-3] s \(1 worker\)\.")


def test_the_wait_for_the_connectors_own_budget_is_announced(box, monkeypatch):
    # Given a budget of five requests in three seconds
    found = manifest.manifest_of("salesloft")
    rates = [{"limit": 5, "interval": "PT3S"}]
    found["api_budget"]["policies"][0]["rates"] = rates
    monkeypatch.setattr(source, "manifest_of", lambda _: found)
    account = ACCOUNTS["salesloft"].with_rows(box, 600)
    # When a sync needs more
    output = read(account.config())
    # Then the log says what the sync waits for
    assert output.exit_code == 0
    assert lines(output.logs, r"Waiting for Salesloft's limit .* resuming in [1-3] s .*")
    (summary,) = lines(output.logs, rf"Stream salesloft_meetings: done .* {COUNTS}, \d+ waits .*")


def test_the_log_does_not_call_a_failed_stream_done(box):
    # Given
    account = ACCOUNTS["salesloft"].with_rows(box, 600)
    box.fault("/meetings", 4, 10**6, kind="status", status=403)
    # When
    output = read(account.config())
    # Then
    assert output.exit_code == 1
    assert lines(output.logs, r"Stream salesloft_meetings: not finished after .*")
    assert not lines(output.logs, r"Stream salesloft_meetings: done .*")
