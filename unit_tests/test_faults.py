"""Temporary faults at several points of a first and a later sync: nothing is lost."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS, Account
from unit_tests.harness import Json, Output, Table, read

STREAMS = [(name, ACCOUNTS[name].streams[0]) for name in ACCOUNTS]
HTML = "<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"

ANYWHERE: dict[str, Json] = {
    "429 in seconds": {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
    "429 as a date": {
        "kind": "status",
        "status": 429,
        "headers": {"Retry-After": "Mon, 01 Jun 2026 00:00:00 GMT"},
        "body": HTML,
        "content_type": "text/html",
    },
    **{str(status): {"kind": "status", "status": status} for status in (408, 425, 500, 504, 524)},
    "502 as a page": {"kind": "html", "status": 502, "body": HTML},
    "503 as a page": {"kind": "html", "status": 503, "body": HTML},
    "503 without a body": {"kind": "status", "status": 503, "body": ""},
    "dropped": {"kind": "drop"},
    "dropped when done": {"kind": "drop", "processed": True},
    "cut": {"kind": "cut"},
    "half": {"kind": "half_json"},
    "sign-in page": {"kind": "html", "status": 200},
    "nothing": {"kind": "status", "status": 200, "body": ""},
    "no content": {"kind": "status", "status": 204, "body": ""},
    "null": {"kind": "body", "body": None},
    "object": {"kind": "body", "body": {}},
    "null inside": {"kind": "body", "body": {"data": None}},
    "error inside": {"kind": "body", "body": {"error": "Internal server error", "code": 500}},
    "599": {"kind": "status", "status": 599},
    "redirect to another port": {"kind": "redirect", "location": "http://127.0.0.1/"},
    "redirect elsewhere": {"kind": "redirect", "location": "https://maintenance.example/"},
}


THREES = [list(ANYWHERE)[at : at + 3] for at in range(0, len(ANYWHERE), 3)]


class Copy:
    """A table that is kept in step with an account."""

    def __init__(self, account: Account, stream: str) -> None:
        self.account = account
        self.table = Table(stream)
        self.state: list[Json] = []

    def sync(self, debug: bool = False) -> Output:
        output = read(self.account.config(), self.state, [self.table.stream], debug=debug)
        assert output.exit_code == 0, output.errors
        assert output.statuses == {self.table.stream: "COMPLETE"}
        self.table.load(output)
        self.state = output.last_states()
        return output

    def assert_equal_to_truth(self) -> None:
        assert self.account.differences(self.table) == {"missing": [], "stale": [], "too many": []}


def change(account: Account, times: int = 60) -> None:
    account.box.clock.advance(hours=2)
    for _ in range(times):
        account.change()


def waits(output: Output) -> list[str]:
    return [line for line in output.logs if "Trying again" in line]


def seconds_in(wait: str) -> float:
    return float(wait.split("Trying again in ")[1].split(" ")[0])


@functools.cache
def clean_requests(name: str, stream: str) -> tuple[int, int]:
    """The number of requests that a first and a later sync of an account take without faults."""
    counts = []
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        copy = Copy(ACCOUNTS[name].with_rows(box, 240), stream)
        for _ in range(2):
            box.forget_requests()
            copy.sync()
            counts.append(len(box.requests))
            change(copy.account)
    return counts[0], counts[1]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        yield box


def sync_with_faults(copy: Copy, faults: list[str], clean: int) -> None:
    """Run a sync in which the first, a middle and the last request each meet a fault."""
    box = copy.account.box
    box.forget_requests()
    for fault, nth in zip(faults, (1, math.ceil(clean / 2) + 1, clean + 2), strict=True):
        box.fault(copy.account.path, nth, **ANYWHERE[fault])
    output = copy.sync()
    # One more request for each of the three faults, and one line for each path and problem
    assert (
        clean + 3 <= len(box.requests) <= clean + 6
    )  # on a busy machine, a few answers may also time out
    said = [line.partition(" Trying again")[0] for line in waits(output)]
    assert 1 <= len(said) == len(set(said))
    assert all(copy.table.stream in line for line in said)
    copy.assert_equal_to_truth()


@pytest.mark.parametrize(("name", "stream"), STREAMS, ids=lambda value: value)
@pytest.mark.parametrize("faults", THREES, ids=", ".join)
def test_temporary_faults_lose_nothing_and_duplicate_nothing(box, name, stream, faults):
    # Given faults at the first, a middle and the last request of a first sync and of a later one
    first, later = clean_requests(name, stream)
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), stream)
    sync_with_faults(copy, faults, first)
    change(copy.account)
    sync_with_faults(copy, faults[1:] + faults[:1], later)


@pytest.mark.parametrize(("name", "stream"), STREAMS, ids=lambda value: value)
def test_a_request_that_stalls_is_abandoned_and_retried(box, name, stream, monkeypatch):
    # Given two answers that stall for longer than the time-out
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.01")
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), stream)
    for nth in (1, 3):
        box.fault(copy.account.path, nth, kind="stall", seconds=3.0)
    # When
    output = copy.sync()
    # Then
    copy.assert_equal_to_truth()
    assert "did not answer in time" in waits(output)[0]


LATER_KINDS = [
    (name, stream, kind)
    for name, account in ACCOUNTS.items()
    for stream, kinds in account.kinds.items()
    for kind in kinds.values()
]


@pytest.mark.parametrize("fault", ["half", "error inside"])
@pytest.mark.parametrize(("name", "stream", "kind"), LATER_KINDS)
def test_every_kind_of_request_of_a_later_sync_is_retried(box, name, stream, kind, fault):
    # Given an account that has been read, and changed since
    rows = 40 if stream in ACCOUNTS[name].slow_streams else 240
    copy = Copy(ACCOUNTS[name].with_rows(box, rows), stream)
    copy.sync()
    change(copy.account)
    # When two requests of the same kind fail in a later sync
    box.fault(kind, 1, **ANYWHERE[fault])
    box.fault(kind, 3, **ANYWHERE[fault])
    output = copy.sync()
    # Then both are retried, and nothing is lost
    assert len(waits(output)) == 1
    copy.assert_equal_to_truth()


@pytest.mark.parametrize(
    ("name", "headers", "body"),
    [
        ("close", {"RateLimit": "limit=100, remaining=0, reset=0.2"}, {"error": "slow down"}),
        ("close", {"RateLimit": "limit=100; remaining=0; reset=0.2"}, {"error": "slow down"}),
        ("close", {"RateLimit-Reset": "0.2"}, {"error": "slow down"}),
        ("close", {}, {"error": {"rate_reset": 0.2, "message": "slow down"}}),
        ("close", {}, {"error": "slow down", "rate_reset": "0.2"}),
        (
            "highlevel",
            {
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Max": "100",
                "X-RateLimit-Interval-Milliseconds": "200",
                "X-RateLimit-Daily-Remaining": "1000",
            },
            {"statusCode": 429, "message": "Too Many Requests"},
        ),
    ],
)
def test_each_providers_own_way_to_announce_a_wait_is_understood(box, name, headers, body):
    # Given a 429 that says when the rate limit resets
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), ACCOUNTS[name].streams[0])
    box.fault(copy.account.path, 2, kind="status", status=429, headers=headers, body=body)
    # When
    output = copy.sync()
    # Then the connector waits until then
    copy.assert_equal_to_truth()
    (line,) = waits(output)
    assert 0.2 <= seconds_in(line) < 0.4


@pytest.mark.parametrize(("left", "cost"), [("0", "1"), ("-2", "1"), ("5", "8"), ("0", None)])
def test_after_a_429_of_salesloft_the_wait_lasts_until_the_next_minute_of_its_clock(
    box, left, cost
):
    # Given a spent budget, one second before the next minute
    box.clock.set("2026-06-01T00:00:59Z")
    copy = Copy(ACCOUNTS["salesloft"].with_rows(box, 240), "salesloft_meetings")
    headers = {"x-ratelimit-remaining-minute": left}
    headers |= {"x-ratelimit-endpoint-cost": cost} if cost else {}
    box.fault(copy.account.path, 2, kind="status", status=429, headers=headers)
    # When
    output = copy.sync()
    # Then
    copy.assert_equal_to_truth()
    (line,) = waits(output)
    assert 1 <= seconds_in(line) < 1.1


@pytest.mark.parametrize(("left", "times"), [("37", 3), (None, 1)])
def test_a_429_of_salesloft_with_budget_left_does_not_wait_for_the_next_minute(box, left, times):
    # Given 429s at the start of a minute that say how much budget is left, or nothing
    box.clock.set("2026-06-01T00:00:01Z")
    copy = Copy(ACCOUNTS["salesloft"].with_rows(box, 240), "salesloft_meetings")
    headers = {"x-ratelimit-remaining-minute": left} if left else {}
    box.fault(copy.account.path, 2, times, kind="status", status=429, headers=headers)
    # When
    output = copy.sync()
    # Then no wait is as long as the rest of the minute
    copy.assert_equal_to_truth()
    assert all(seconds_in(line) < 1 for line in waits(output))


def test_after_a_second_429_without_headers_salesloft_is_asked_again_in_the_next_minute(box):
    # Given two 429s that do not say what is left of the budget, one second before the next minute
    box.clock.set("2026-06-01T00:00:59Z")
    copy = Copy(ACCOUNTS["salesloft"].with_rows(box, 240), "salesloft_meetings")
    box.fault(copy.account.path, 2, 2, kind="status", status=429)
    # When
    output = copy.sync(debug=True)
    # Then the first retry comes at once, and the second one waits for the next minute
    copy.assert_equal_to_truth()
    early, renewed = map(seconds_in, waits(output))
    assert early < 1 <= renewed < 1.1


@pytest.mark.parametrize("name", ["close", "expoplatform"])
@pytest.mark.parametrize("headers", [{}, {"RateLimit": "limit=x, reset=soon", "Retry-After": "?"}])
def test_a_429_without_usable_headers_is_retried_like_any_other_fault(box, name, headers):
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), ACCOUNTS[name].streams[0])
    box.fault(copy.account.path, 2, 3, kind="status", status=429, headers=headers, body="\x00")
    copy.sync()
    copy.assert_equal_to_truth()


SHORT = [(name, page) for name, account in ACCOUNTS.items() for page in account.short_pages]


@pytest.mark.parametrize(
    ("name", "page"), SHORT, ids=lambda value: getattr(value, "request", value)
)
def test_a_page_that_lacks_rows_is_noticed_if_the_answer_reveals_it(box, name, page):
    # Given a page of a first or a later sync that lacks three rows. The answer has a total, or its
    # rows were requested by id
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), ACCOUNTS[name].streams[0])
    if page.later:
        copy.sync()
        change(copy.account)
    box.fault(page.request, page.nth, kind="short_page", n=3)
    copy.sync()
    copy.assert_equal_to_truth()
