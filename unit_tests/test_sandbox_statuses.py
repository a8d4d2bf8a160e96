"""What the sandbox invents is plausible: no status contradicts the time of its meeting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from demo.providers import PROVIDERS, Provider
from sandbox import Sandbox
from sandbox.clock import parse_time
from sandbox.side import Row
from unit_tests.accounts import ACCOUNTS

SEEDS = range(5)


@dataclass(frozen=True)
class Fields:
    """Where a provider's rows have what is compared, and which statuses depend on the time.

    `ahead`: what a meeting can be only before it begins. `begun`: what it can be only after that.
    `marked`: those of the latter that somebody enters, which changes the row.
    """

    status: Callable[[Row], Any]
    start: str
    updated: str
    ahead: set[str]
    begun: set[str]
    marked: set[str]
    end: str | None = None
    created: str | None = None


FIELDS = {
    "close": Fields(
        lambda row: row["status"],
        start="starts_at",
        end="ends_at",
        updated="date_updated",
        ahead={"upcoming"},
        begun={"in-progress", "completed"},
        marked=set(),
    ),
    "salesloft": Fields(
        lambda row: "no-show" if row["no_show"] else "",
        start="start_time",
        end="end_time",
        updated="updated_at",
        created="created_at",
        ahead=set(),
        begun={"no-show"},
        marked={"no-show"},
    ),
    "highlevel": Fields(
        lambda row: row["appointmentStatus"],
        start="startTime",
        end="endTime",
        updated="dateUpdated",
        created="dateAdded",
        ahead={"new"},
        begun={"showed", "noshow"},
        marked={"showed", "noshow"},
    ),
    "expoplatform": Fields(
        lambda row: row["status"],
        start="starts_at",
        updated="modified_at",
        created="created_at",
        ahead={"Pending", "Incoming"},
        begun={"Completed"},
        marked={"Completed"},
    ),
}
# Of each provider a meeting that has taken place, or that somebody has missed: what `insert` takes
# beside a start in the past, and the status when it has been moved into the future.
MOVED = [
    ("close", {}, "upcoming"),
    ("close", {"status": "canceled"}, "canceled"),
    ("salesloft", {"no_show": True}, ""),
    ("highlevel", {"appointmentStatus": "showed"}, "confirmed"),
    ("highlevel", {"appointmentStatus": "noshow"}, "confirmed"),
    ("highlevel", {"appointmentStatus": "cancelled"}, "cancelled"),
    ("expoplatform", {"status": "Completed"}, "Confirmed"),
    ("expoplatform", {"status": "Cancelled"}, "Cancelled"),
]


def contradictions(box: Sandbox, name: str) -> Iterator[str]:
    """Rows whose status cannot be, with the facts."""
    fields, now = FIELDS[name], box.clock.now()
    for key, row in getattr(box, name).truth().items():
        status, start = fields.status(row), row[fields.start]
        begun = start is not None and parse_time(start) <= now
        facts = f"{key} is {status!r}, begins {start}, was updated {row[fields.updated]}"
        if status in (fields.ahead if begun else fields.begun):
            yield f"{facts}; it is {now}"
        elif status in fields.marked and parse_time(row[fields.updated]) < parse_time(start):
            yield f"{facts}, before it began"
        elif name == "close" and status in fields.begun:
            over = parse_time(row["ends_at"]) <= now
            if over != (status == "completed"):
                yield f"{facts}, ends {row['ends_at']}; it is {now}"


def lengths(box: Sandbox, name: str) -> list[timedelta]:
    """How long its meetings take, where their rows say."""
    fields = FIELDS[name]
    if fields.end is None:
        return []
    rows = getattr(box, name).truth().values()
    return [parse_time(row[fields.end]) - parse_time(row[fields.start]) for row in rows]


def insert(box: Sandbox, name: str, days: float, **more: Any) -> Any:
    """A meeting that begins in so many days; what `insert` answers."""
    start = box.clock.now() + timedelta(days=days)
    starts = {"close": "starts_at", "salesloft": "start_time", "highlevel": "startTime"}
    if name == "expoplatform":
        return box.expoplatform.insert(starts=int(start.timestamp()), **more)
    return getattr(box, name).insert(**{starts[name]: start.isoformat()}, **more)


def reschedule(box: Sandbox, name: str, id: Any, days: float) -> None:
    start = box.clock.now() + timedelta(days=days)
    if name == "expoplatform":
        box.expoplatform.reschedule(101, id, int(start.timestamp()))
    else:
        getattr(box, name).reschedule(id, start.isoformat())


@pytest.fixture(params=ACCOUNTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_generated_row_contradicts_its_time(name, box, seed):
    # Given an account as the tests make it
    ACCOUNTS[name](box, seed).generate(1500)
    # Then every status fits the time of its meeting
    assert list(contradictions(box, name)) == []
    # And each of those that depend on the time occurs
    fields, rows = FIELDS[name], getattr(box, name).truth().values()
    found = {fields.status(row) for row in rows}
    assert found >= (fields.ahead | fields.begun) - {"in-progress"}
    # And no meeting began before it was made, but for those of Close, which learns of such
    for row in rows:
        if fields.created is not None and row[fields.start] is not None:
            assert parse_time(row[fields.created]) <= parse_time(row[fields.start])


@pytest.mark.parametrize("seed", SEEDS)
def test_no_random_change_makes_a_row_contradict_its_time(name, box, seed):
    # Given an account
    account = ACCOUNTS[name](box, seed)
    account.generate(60)
    for _ in range(60):
        # When anything is written
        account.change()
        # Then every status still fits the time of its meeting
        assert list(contradictions(box, name)) == []


@pytest.mark.parametrize("days", [-3, 3])
def test_a_meeting_inserted_with_a_start_alone_has_a_status_and_an_end_that_fit(name, box, days):
    # Given a start in the past or in the future
    # When many meetings are inserted with it
    for _ in range(60):
        insert(box, name, days)
    # Then every status fits it
    assert list(contradictions(box, name)) == []
    # And none takes longer than an hour
    assert all(timedelta() < length <= timedelta(hours=1) for length in lengths(box, name))


@pytest.mark.parametrize(("name", "more", "status"), MOVED)
def test_a_meeting_moved_into_the_future_is_as_if_it_had_not_begun(box, name, more, status):
    # Given a meeting that has been
    id = insert(box, name, -3, **more)
    before = lengths(box, name)
    # When it is moved into the future
    reschedule(box, name, id, 3)
    # Then it is to take place again, unless it was cancelled
    statuses = {FIELDS[name].status(row) for row in getattr(box, name).truth().values()}
    assert statuses == {status}
    assert list(contradictions(box, name)) == []
    # And it takes as long as before
    assert lengths(box, name) == before


def test_the_misspelt_status_of_highlevel_is_reset_under_its_own_name(box):
    # Given a missed appointment whose status has the misspelt name
    ids = [insert(box, "highlevel", -3, appointmentStatus="") for _ in range(40)]
    id = next(id for id in ids if "appoinmentStatus" in box.highlevel.events[id])
    box.highlevel.edit(id, appoinmentStatus="noshow")
    # When it is moved into the future
    reschedule(box, "highlevel", id, 3)
    # Then it is confirmed, by that name
    assert box.highlevel.events[id]["appoinmentStatus"] == "confirmed"


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_the_demo_s_edits_fit_the_time_of_their_meetings(box, provider: Provider):
    # Given what the demo generates
    side = getattr(box, provider.name)
    side.generate(**provider.generate)
    rows, now = side.truth(), box.clock.now()
    # When it edits that
    edits = provider.edits(rows, now)
    for edit in edits:
        getattr(side, edit.action)(**edit.arguments)
    # Then every status fits the time of its meeting
    assert list(contradictions(box, provider.name)) == []
    # And what it moves, cancels or sets back to pending was ahead
    start = FIELDS[provider.name].start
    moved = [edit for edit in edits if edit.words.startswith(("resched", "cancel", "set back"))]
    assert moved
    for edit in moved:
        assert parse_time(rows[str(edit.row)][start]) > now, edit.words
