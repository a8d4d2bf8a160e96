"""The sandbox's data is plausible: no status contradicts the time of its meeting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS, Account
from sandbox.clock import parse_time

SEEDS = range(5)
MOVED = [
    (name, more, status)
    for name, account in ACCOUNTS.items()
    for more, status in account.statuses.moved
]


def contradictions(account: Account) -> Iterator[str]:
    """Return the rows whose status is impossible, with the reason."""
    columns, statuses, now = account.columns, account.statuses, account.box.clock.now()
    for key, row in account.side.truth().items():
        status, start = statuses.of(row), row[columns.start]
        begun = start is not None and parse_time(start) <= now
        facts = f"{key} is {status!r}, begins {start}, was updated {row[columns.updated]}"
        if status in (statuses.ahead if begun else statuses.begun):
            yield f"{facts}; it is {now}"
        elif status in statuses.marked and parse_time(row[columns.updated]) < parse_time(start):
            yield f"{facts}, before it began"
        elif account.name == "close" and status in statuses.begun:
            over = parse_time(row["ends_at"]) <= now
            if over != (status == "completed"):
                yield f"{facts}, ends {row['ends_at']}; it is {now}"


def lengths(account: Account) -> list[timedelta]:
    """Return the lengths of the meetings, where rows have them."""
    start, end = account.columns.start, account.columns.end
    rows = account.side.truth().values() if end else []
    return [parse_time(row[end]) - parse_time(row[start]) for row in rows]


def days_on(box: Sandbox, days: float) -> datetime:
    return box.clock.now() + timedelta(days=days)


@pytest.fixture(params=ACCOUNTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_generated_row_contradicts_its_time(name, box, seed):
    # Given a generated account as other tests use it
    account = ACCOUNTS[name].with_rows(box, 1500, seed)
    # Then every status fits the time of its meeting
    assert list(contradictions(account)) == []
    # And each status that depends on the time occurs
    columns, statuses, rows = account.columns, account.statuses, account.side.truth().values()
    found = {statuses.of(row) for row in rows}
    assert found >= (statuses.ahead | statuses.begun) - {"in-progress"}
    # And no meeting started before it was created, except with Close, which imports past meetings
    for row in rows:
        if columns.created is not None and row[columns.start] is not None:
            assert parse_time(row[columns.created]) <= parse_time(row[columns.start])


@pytest.mark.parametrize("seed", SEEDS)
def test_no_random_change_makes_a_row_contradict_its_time(name, box, seed):
    # Given a generated account
    account = ACCOUNTS[name].with_rows(box, 60, seed)
    for _ in range(60):
        # When a random change is made
        account.change()
        # Then every status still fits the time of its meeting
        assert list(contradictions(account)) == []


@pytest.mark.parametrize("days", [-3, 3])
def test_a_meeting_inserted_with_a_start_alone_has_a_status_and_an_end_that_fit(name, box, days):
    # Given a start in the past or in the future
    account = ACCOUNTS[name](box)
    # When many meetings are inserted with this start
    for _ in range(60):
        account.insert(days_on(box, days))
    # Then every status fits the start
    assert list(contradictions(account)) == []
    # And no meeting is longer than an hour
    assert all(timedelta() < length <= timedelta(hours=1) for length in lengths(account))


@pytest.mark.parametrize(("name", "more", "status"), MOVED)
def test_a_meeting_moved_into_the_future_has_not_started(box, name, more, status):
    # Given a meeting in the past
    account = ACCOUNTS[name](box)
    key = account.insert(days_on(box, -3), **more)
    before = lengths(account)
    # When it is moved into the future
    account.reschedule(key, days_on(box, 3))
    # Then it is upcoming again, unless it was cancelled
    assert {account.statuses.of(row) for row in account.side.truth().values()} == {status}
    assert list(contradictions(account)) == []
    # And it is as long as before
    assert lengths(account) == before


def test_the_misspelt_status_of_highlevel_is_reset_under_its_own_name(box):
    # Given a missed appointment with its status under the misspelt name
    account, events = ACCOUNTS["highlevel"](box), box.highlevel.events
    keys = [account.insert(days_on(box, -3), appointmentStatus="") for _ in range(40)]
    key = next(key for key in keys if "appoinmentStatus" in events[key])
    account.edit(key, appoinmentStatus="noshow")
    # When it is moved into the future
    account.reschedule(key, days_on(box, 3))
    # Then it is confirmed, under the same name
    assert events[key]["appoinmentStatus"] == "confirmed"


@pytest.mark.parametrize("count", [0, 1000], ids=["sample", "demo"])
def test_the_changes_of_the_demo_fit_the_time_of_their_meetings(name, box, count):
    # Given a small account, or one of the demo's size
    account = ACCOUNTS[name].with_rows(box, count) if count else ACCOUNTS[name].sample(box)
    rows, now = account.side.truth(), box.clock.now()
    # When the demo's changes are made
    changes = account.demo_changes()
    for change in changes:
        change.make()
    # Then every status fits the time of its meeting
    assert list(contradictions(account)) == []
    # And meetings that were moved, cancelled or set back to pending were in the future
    moved = [one for one in changes if one.words.startswith(("resched", "cancel", "set back"))]
    assert moved
    for change in moved:
        assert parse_time(rows[str(change.key)][account.columns.start]) > now, change.words
