"""Salesloft, against the sandbox over HTTP: the requests that are sent, and the table."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.account import without_nulls
from unit_tests.harness import Json, Output, Table, read, run_command, write_json

STREAM = "salesloft_meetings"
LIST = "/salesloft/v2/meetings"
NEWEST_FIRST = {
    "page": "1",
    "per_page": "100",
    "sort_by": "updated_at",
    "sort_direction": "DESC",
    "include_paging_counts": "true",
    "limit_paging_counts": "false",
}
OLDEST = {
    "page": "1",
    "per_page": "1",
    "sort_by": "created_at",
    "sort_direction": "ASC",
    "include_paging_counts": "true",
    "limit_paging_counts": "false",
}
WINDOW = OLDEST | {"per_page": "100"}
WALKS = "sort_by=updated_at"  # expressions for hooks and faults
WINDOWS = "created_at%5Bgte%5D"


def config(box: Sandbox, **common: Any) -> Json:
    side = box.salesloft
    credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
    provider = {"name": "salesloft", "base_url": side.base_url, "credentials": credentials}
    return {"provider": provider, **common}


def asked(box: Sandbox) -> list[dict[str, str]]:
    assert {request.path for request in box.requests} <= {LIST}
    return [dict(request.params) for request in box.requests]


def synced(box: Sandbox, table: Table, state: list[Json] | None = None, **common: Any) -> Output:
    """Run a sync, which must succeed, and load it into the table."""
    output = read(config(box, **common), state)
    assert output.exit_code == 0, output.errors
    assert output.statuses == {STREAM: "COMPLETE"}
    table.load(output)
    return output


def first_sync(box: Sandbox, **common: Any) -> tuple[Table, Output]:
    table = Table(STREAM)
    output = synced(box, table, **common)
    return table, output


def assert_equal_to_truth(box: Sandbox, table: Table, lingering: set[int] = frozenset()) -> None:
    """`lingering`: ids of hard-deleted meetings, whose deletion Salesloft does not reveal."""
    truth = {id: without_nulls(row) for id, row in box.salesloft.truth().items()}
    rows = {id: row for id, row in table.rows.items() if int(id) not in lingering}
    assert set(truth) - set(rows) == set(), "missing rows"
    assert set(rows) - set(truth) == set(), "extra rows"
    assert {id for id in truth if truth[id] != rows[id]} == set(), "stale rows"


def newest_first(box: Sandbox) -> list[int]:
    rows = box.salesloft.meetings.values()
    return [row["id"] for row in sorted(rows, key=lambda row: row["updated_at"], reverse=True)]


def edit_all(box: Sandbox, ids: list[int], **fields: Any) -> None:
    for id in ids:
        box.salesloft.edit(id, **fields)


def tied(box: Sandbox, count: int, key: str, stamp: str) -> None:
    for _ in range(count):
        box.salesloft.insert(**{key: stamp})


def state_with(**values: Any) -> list[Json]:
    descriptor = {"stream_descriptor": {"name": STREAM}, "stream_state": values}
    return [{"type": "STREAM", "stream": descriptor}]


# -- first sync -----------------------------------------------------------------------------------


def test_a_first_sync_requests_the_newest_change_the_oldest_meeting_and_then_windows(box):
    # Given 300 meetings
    box.salesloft.generate(count=300, seed=1)
    # When they are read for the first time
    table, _ = first_sync(box)
    # Then these requests are sent, and the table is correct
    requests = asked(box)
    # Two requests find the end and the start of the range
    assert requests[:2] == [NEWEST_FIRST, OLDEST]
    # The others are windows of created_at
    windows = sorted(requests[2:], key=lambda params: params["created_at[gte]"])
    for params in windows:
        bounds = {"created_at[gte]": params["created_at[gte]"]}
        if "created_at[lt]" in params:
            bounds["created_at[lt]"] = params["created_at[lt]"]
        assert params == WINDOW | bounds
    # They are half-open, adjacent, start at the oldest meeting, and the last one has no end
    assert len(windows) == 3  # as many as pages
    assert windows[0]["created_at[gte]"] == min(
        row["created_at"] for row in box.salesloft.meetings.values()
    )
    for one, following in pairwise(windows):
        assert one["created_at[lt]"] == following["created_at[gte]"]
    assert "created_at[lt]" not in windows[-1]
    assert_equal_to_truth(box, table)


def test_a_page_of_a_window_starts_at_the_last_row_of_the_previous_page(box):
    # Given 250 meetings created within an hour, so one window of three pages
    for minute in range(250):
        box.salesloft.insert(
            created_at=f"2026-05-31T23:{10 + minute // 6:02}:{minute % 6:02}.000000Z"
        )
    created = sorted(row["created_at"] for row in box.salesloft.meetings.values())
    table, _ = first_sync(box)
    assert asked(box)[-3:] == [
        WINDOW | {"created_at[gte]": created[0]},
        WINDOW | {"created_at[gte]": created[99]},
        WINDOW | {"created_at[gte]": created[198]},
    ]
    assert_equal_to_truth(box, table)


def test_check_requests_the_user_and_one_meeting(box):
    # Given
    box.salesloft.generate(count=3)
    # When the connection is checked
    path = write_json(config(box))
    output = run_command(["check", "--config", path])
    # Then it succeeds after two requests
    assert output.of("CONNECTION_STATUS")[0]["connectionStatus"]["status"] == "SUCCEEDED"
    assert [(request.path, dict(request.params)) for request in box.requests] == [
        ("/salesloft/v2/me", {}),
        (LIST, {"per_page": "1"}),
    ]


def test_a_full_refresh_reads_everything_despite_a_complete_state(box):
    box.salesloft.generate(count=250, seed=4)
    _, output = first_sync(box)
    again = read(config(box), output.last_states(), mode="full_refresh")
    assert {row["id"] for row in again.records()} == set(box.salesloft.meetings)


def test_an_account_without_meetings_is_not_an_error_and_later_ones_are_found(box):
    table, output = first_sync(box)
    assert output.records() == []
    box.salesloft.insert(title="the first")
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_a_first_sync_of_a_large_account_reads_no_page_with_a_surcharge(box):
    box.salesloft.generate(count=12_000, seed=5)
    table, output = first_sync(box)
    slices = len(output.states[0]["stream"]["stream_state"]["scan"]["pending"])
    assert box.points == len(box.requests) <= 1.05 * 120 + slices
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("unstable", [False, True])
@pytest.mark.parametrize("count", [2, 99, 100, 101, 150, 350])
def test_no_meeting_is_lost_if_more_than_a_page_have_equal_creation_times(box, count, unstable):
    # Given meetings with the same creation time between others, in a stable order or not
    box.salesloft.generate(count=195, seed=11)
    tied(box, count, "created_at", "2025-03-01T12:00:00.000000Z")
    box.salesloft.generate(count=95, seed=12)
    box.salesloft.unstable_ties = unstable
    # When
    table, _ = first_sync(box)
    # Then
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("seed", range(1, 31))
@pytest.mark.parametrize("paging", [True, False])
def test_equal_creation_times_in_changing_order_that_exceed_a_page_are_all_read(box, seed, paging):
    # Given 130 meetings with one creation time, which every request lists in another order
    side = box.salesloft
    tied(box, 130, "created_at", "2025-03-01T12:00:00.000000Z")
    side.unstable_ties = seed
    side.omit_paging = not paging
    # When they are read for the first time
    table, _ = first_sync(box)
    # Then all of them arrive
    assert_equal_to_truth(box, table)


def test_cancelled_meetings_that_are_hidden_by_default_are_requested_separately(box):
    # Given an account that lists active meetings only, unless show_deleted says otherwise
    side = box.salesloft
    side.show_deleted_default = "active"
    side.generate(count=600, seed=15)
    table, output = first_sync(box)
    # Then the first answer reveals it, and all others are requested for each value of show_deleted
    passes = [params.get("show_deleted") for params in asked(box)]
    assert passes[:3] == [None, "false", "true"]
    assert set(passes[3:]) == {"false", "true"}
    assert_equal_to_truth(box, table)
    # And later syncs do the same: a meeting that is cancelled between the passes is in the second
    active = [id for id, row in side.meetings.items() if row["canceled_at"] is None]
    side.edit(active[0], title="changed")
    side.cancel(active[1])
    box.before("show_deleted=true", 1, lambda: side.cancel(active[2]))
    box.forget_requests()
    output = synced(box, table, output.last_states())
    assert asked(box) == [
        NEWEST_FIRST | {"show_deleted": "false"},
        NEWEST_FIRST | {"show_deleted": "true"},
    ]
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_answers_without_paging_are_read_to_the_end(box):
    # Given answers without totals
    side = box.salesloft
    side.omit_paging = True
    side.generate(count=450, seed=16)
    # When they are read for the first time, then nothing is missing
    table, output = first_sync(box)
    assert_equal_to_truth(box, table)
    # And when some of them change, nothing is missing either
    box.clock.advance(days=1)
    edit_all(box, list(side.meetings)[:150], title="changed")
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_ids_of_different_types_become_strings(box):
    # Given ids that are numbers in one row and strings in the other
    side = box.salesloft
    side.insert(account_id=7, task_id="8", meeting_type_id=9)
    side.insert(account_id="7", task_id=8, meeting_type_id=None)
    # When
    table, _ = first_sync(box)
    # Then
    first, second = table.rows.values()
    assert (first["account_id"], first["task_id"], first["meeting_type_id"]) == ("7", "8", "9")
    assert (second["account_id"], second["task_id"]) == ("7", "8")
    assert "meeting_type_id" not in second


def test_meetings_last_changed_before_the_start_date_are_left_out(box):
    # Given
    side = box.salesloft
    side.generate(count=800, seed=18)
    start = "2026-03-01T00:00:00Z"
    # When
    table, output = first_sync(box, start_date=start)
    # Then only meetings that changed since then are in the table
    recent = {str(id) for id, row in side.meetings.items() if row["updated_at"] >= start}
    assert 0 < len(recent) < 800
    assert set(table.rows) == recent
    # And an old meeting that changes later arrives
    old = next(id for id in side.meetings if str(id) not in recent)
    side.edit(old, title="now")
    synced(box, table, output.last_states(), start_date=start)
    assert set(table.rows) == recent | {str(old)}


# -- incremental sync -----------------------------------------------------------------------------


def test_an_incremental_sync_without_changes_sends_one_request_and_emits_almost_nothing(box):
    # Given
    box.salesloft.generate(count=1000, seed=2)
    table, output = first_sync(box)
    # When nothing has changed
    box.clock.advance(hours=1)
    box.forget_requests()
    again = synced(box, table, output.last_states())
    # Then one request shows that, and the state is settled
    assert asked(box) == [NEWEST_FIRST]
    assert len(again.records()) <= 3
    assert again.state_of(STREAM) == output.state_of(STREAM) | {"settled": True}


def test_a_thousand_changes_of_one_moment_are_read_again_at_most_once(box):
    # Given a thousand meetings that were edited a minute before a sync
    box.salesloft.generate(count=1500, seed=2)
    table, output = first_sync(box)
    box.clock.advance(days=1)
    edit_all(box, list(box.salesloft.meetings)[:1000], title="moved")
    output = synced(box, table, output.last_states())

    # When the next sync finds nothing new, then it still reads them, because others may appear late
    box.clock.advance(minutes=5)
    output = synced(box, table, output.last_states())
    assert len(output.records()) >= 1000
    box.clock.advance(minutes=5, seconds=1)
    output = synced(box, table, output.last_states())

    # And once the look-back has passed, only the newest one is read
    box.forget_requests()
    quiet = synced(box, table, output.last_states())
    assert asked(box) == [NEWEST_FIRST]
    assert len(quiet.records()) == 1
    assert_equal_to_truth(box, table)

    # And a later change is found
    edit_all(box, list(box.salesloft.meetings)[-3:], title="later")
    synced(box, table, quiet.last_states())
    assert_equal_to_truth(box, table)


def test_an_incremental_sync_reads_the_changes_and_at_most_one_more_page(box):
    # Given 250 edits among 1,000 meetings
    box.salesloft.generate(count=1000, seed=3)
    table, output = first_sync(box)
    box.clock.advance(days=1)
    edit_all(box, list(box.salesloft.meetings)[:250], title="moved")
    # When
    box.forget_requests()
    output = synced(box, table, output.last_states())
    # Then three pages are read
    assert asked(box) == [NEWEST_FIRST | {"page": page} for page in ("1", "2", "3")]
    assert 250 <= len(output.records()) < 260
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("unstable", [False, True])
@pytest.mark.parametrize("newer", [0, 60, 99])
def test_a_walk_loses_no_row_if_equal_change_times_span_two_pages(box, newer, unstable):
    # Given 250 edits at the same time, and newer ones
    side = box.salesloft
    side.generate(count=600, seed=13)
    table, output = first_sync(box)
    box.clock.advance(days=1)
    ids = list(side.meetings)
    edit_all(box, ids[:250], title="in bulk", updated_at="2026-06-01T12:00:00.000000Z")
    edit_all(box, ids[250 : 250 + newer], title="one by one")
    # When they are read, in a stable order or not
    side.unstable_ties = unstable
    synced(box, table, output.last_states())
    # Then
    assert_equal_to_truth(box, table)


def test_cancelled_meetings_are_rows_and_a_cancel_arrives_with_the_next_sync(box):
    # Given
    side = box.salesloft
    side.generate(count=300, seed=14)
    table, output = first_sync(box)
    # When a meeting is cancelled
    id = next(id for id, row in side.meetings.items() if row["canceled_at"] is None)
    side.cancel(id)
    synced(box, table, output.last_states())
    # Then its row has the cancellation
    assert table.rows[str(id)]["canceled_at"] == side.meetings[id]["canceled_at"]
    assert_equal_to_truth(box, table)


def test_later_syncs_notice_that_cancelled_meetings_are_hidden_by_default(box):
    # Given an account without cancelled meetings, so the default cannot be seen
    side = box.salesloft
    ids = [side.insert() for _ in range(5)]
    table, output = first_sync(box)
    plain = {name: NEWEST_FIRST[name] for name in ("page", "per_page", "sort_by", "sort_direction")}
    assert asked(box)[1] == plain | {"show_deleted": "true"}
    # When the first meeting is cancelled, which hides it by default
    side.show_deleted_default = "active"
    side.cancel(ids[0])
    synced(box, table, output.last_states())
    # Then the cancellation arrives nevertheless
    assert_equal_to_truth(box, table)


def test_thousands_of_changes_are_read_by_creation_time_if_that_is_cheaper(box):
    # Given a state that is older than 10,500 changes
    side = box.salesloft
    side.generate(count=10_500, seed=19)
    table = Table(STREAM)
    output = synced(box, table, state_with(updated_at="2020-01-01T00:00:00Z", cancelled="listed"))
    # Then the walk reads 20 pages, looks ahead at page 100, and gives way to windows
    pages = [params["page"] for params in asked(box)]
    assert pages[:21] == [*map(str, range(1, 21)), "100"]
    assert set(pages[21:]) == {"1"}
    assert "created_at[gte]" in asked(box)[-1]
    assert box.points <= 21 + 2 + 1.05 * 105 + 8
    assert_equal_to_truth(box, table)
    # And the final state is complete again
    side.edit(5, title="after")
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_a_row_from_the_future_does_not_become_the_watermark(box):
    # Given a meeting whose stamp is years ahead of the clock
    side = box.salesloft
    side.generate(count=300, seed=21)
    side.edit(7, updated_at="2031-01-01T00:00:00.000000Z")
    # When it is read, then the watermark is today
    table, output = first_sync(box)
    assert output.state_of(STREAM)["updated_at"] < "2026-06-02"
    # And a later change is found
    side.edit(8, title="later")
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_a_change_that_becomes_visible_late_is_read(box):
    # Given a sync that saw the newest change
    side = box.salesloft
    side.generate(count=300, seed=22)
    side.edit(1, title="newest")
    table, output = first_sync(box)
    # When an earlier change appears late
    box.clock.advance(minutes=9)
    side.edit(2, title="late", updated_at="2026-05-31T23:51:00.000000Z")
    # Then the next sync reads it
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


# -- changes during a sync ------------------------------------------------------------------------


def test_changes_during_a_first_sync_are_in_the_table_after_the_next_one(box):
    # Given writes before each request of a first sync
    side = box.salesloft
    side.generate(count=1000, seed=6)
    ids = list(side.meetings)
    chance = random.Random(6)

    def change() -> None:
        edit_all(box, chance.sample(ids, 5), title="meanwhile")
        side.cancel(chance.choice(ids))
        side.insert(title="new")

    for nth in range(1, 16):
        box.before(LIST, nth, change)
    # When it and the next one have run
    table, output = first_sync(box)
    synced(box, table, output.last_states())
    # Then
    assert_equal_to_truth(box, table)


def test_changes_between_two_pages_of_a_walk_are_in_the_table_after_the_next_sync(box):
    # Given writes before each page of a walk
    side = box.salesloft
    side.generate(count=1000, seed=7)
    table, output = first_sync(box)
    box.clock.advance(days=1)
    ids = list(side.meetings)
    edit_all(box, ids[:350], title="before")
    chance = random.Random(7)
    for nth in range(1, 5):

        def change() -> None:
            edit_all(box, chance.sample(ids, 30), title="meanwhile")
            side.insert(title="new")
            side.cancel(chance.choice(ids))

        box.before(WALKS, nth, change)
    # When the sync and the next one have run
    output = synced(box, table, output.last_states())
    synced(box, table, output.last_states())
    # Then
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("deletions", [1, 30, 120])
@pytest.mark.parametrize("before_page", [2, 3, 4])
def test_hard_deletions_between_two_pages_of_a_walk_hide_no_other_row(box, deletions, before_page):
    # Given 400 edits
    side = box.salesloft
    side.generate(count=1000, seed=8)
    table, output = first_sync(box)
    box.clock.advance(days=1)
    edit_all(box, list(side.meetings)[:400], title="changed")
    # When meetings that the walk has read are deleted before a later page
    gone = set(newest_first(box)[:deletions])  # rows that the walk has read
    box.before(WALKS, before_page, lambda: [side.delete(id) for id in gone])
    synced(box, table, output.last_states())
    # Then no other one is missed
    assert_equal_to_truth(box, table, lingering=gone)


def test_hard_deletions_are_noticed_even_if_one_page_has_no_totals(box):
    # Given 400 edits on four pages, the second of which has no totals
    side = box.salesloft
    side.generate(count=1000, seed=9)
    table, output = first_sync(box)
    box.clock.advance(days=1)
    edit_all(box, list(side.meetings)[:400], title="changed")
    side.omit_paging = {2}
    # When meetings that were read are deleted before that page
    gone = set(newest_first(box)[:20])
    box.before(WALKS, 2, lambda: [side.delete(id) for id in gone])
    synced(box, table, output.last_states())
    # Then no other one is missed
    assert_equal_to_truth(box, table, lingering=gone)


def test_hard_deletions_between_two_pages_of_a_window_hide_no_other_row(box):
    # Given 25 deletions before each request from the third on
    side = box.salesloft
    side.generate(count=3000, seed=10)
    gone = set(random.Random(10).sample(list(side.meetings), 600))
    batches = iter([sorted(gone)[start : start + 25] for start in range(0, 600, 25)])
    for nth in range(3, 27):
        box.before(LIST, nth, lambda: [side.delete(id) for id in next(batches)])
    # When
    table, _ = first_sync(box)
    # Then no other meeting is missed
    assert next(batches, None) is None  # all were deleted during the sync
    assert_equal_to_truth(box, table, lingering=gone)


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize(
    ("change", "requests"),
    [
        (lambda side, unread: side.insert(), 3),
        (lambda side, unread: [side.insert() for _ in range(100)], 5),
        (lambda side, unread: [side.insert() for _ in range(350)], 10),
        (lambda side, unread: side.edit(unread[0], title="y"), 4),
        (lambda side, unread: [side.edit(id, title="y") for id in unread[:100]], 5),
        (lambda side, unread: (side.insert(), side.edit(unread[0], title="y")), 4),
    ],
    ids=["insert", "100 inserts", "350 inserts", "edit", "100 edits", "insert and edit"],
)
def test_a_change_during_a_walk_is_not_mistaken_for_an_unstable_order(box, change, requests, seed):
    # Given 250 edits among 3,000 meetings
    side = box.salesloft
    side.generate(count=3000, seed=seed)
    table, output = first_sync(box)
    box.clock.advance(days=1)
    edited = list(side.meetings)[:250]
    edit_all(box, edited, title="changed")
    box.forget_requests()
    # When meetings that were not read yet change after the first page
    box.after(WALKS, 1, lambda: change(side, edited))
    output = synced(box, table, output.last_states())
    # Then the walk continues. It requests the first page again only if the totals do not explain
    # why rows came twice
    assert {params.get("sort_by") for params in asked(box)} == {"updated_at"}
    assert len(box.requests) <= requests
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


# -- resume ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"updated_at": "2099-01-01T00:00:00Z"},
        {"updated_at": "yesterday"},
        {"updated_at": None},
        {"other": 1},
        {"scan": {"then": {}, "pending": []}},
        {"scan": {"then": {"updated_at": "2026-01-01T00:00:00Z"}, "pending": ["x"]}},
        {"scan": None},
    ],
)
def test_with_an_unusable_state_everything_is_read(box, values):
    box.salesloft.generate(count=120, seed=20)
    table = Table(STREAM)
    output = synced(box, table, state_with(**values))
    assert_equal_to_truth(box, table)
    assert output.state_of(STREAM)["updated_at"] <= "2026-06-01T00:00:00.000000Z"


def up_to_each_state(output: Output) -> list[Output]:
    """Return what a platform can have after an interrupted sync: all messages up to a state."""
    ends = [n for n, message in enumerate(output.messages, 1) if message["type"] == "STATE"]
    return [Output(output.messages[:end]) for end in ends]


@pytest.mark.parametrize("default", ["both", "active"])
def test_a_first_sync_can_be_resumed_from_each_of_its_states(box, default):
    side = box.salesloft
    side.show_deleted_default = default
    side.generate(count=700, seed=23)
    _, output = first_sync(box)
    pieces = up_to_each_state(output)
    assert len(pieces) > 8
    chance = random.Random(23)
    for piece in pieces if default == "both" else pieces[::4]:
        # Given the rows that were read up to that state, and later edits
        table = Table(STREAM)
        table.load(piece)
        edit_all(box, chance.sample(list(side.meetings), 20), title=f"edit {len(piece.messages)}")
        side.cancel(chance.choice(list(side.meetings)))
        side.insert(title="since")
        # When the sync is resumed, then the table is complete
        resumed = synced(box, table, piece.last_states())
        assert_equal_to_truth(box, table)
        assert set(resumed.state_of(STREAM)) >= {"updated_at"}


def test_an_interrupted_first_sync_does_not_read_again_what_it_has_read(box):
    # Given a first sync that was interrupted before its last window
    box.salesloft.generate(count=1000, seed=24)
    _, output = first_sync(box)
    before_the_last_window = [
        piece
        for piece in up_to_each_state(output)
        if len(piece.states[-1]["stream"]["stream_state"].get("scan", {}).get("pending", [])) == 1
    ][0]
    # When it is resumed
    box.forget_requests()
    synced(box, Table(STREAM), before_the_last_window.last_states())
    # Then no other window is read
    assert len(box.requests) <= 4  # two pages of the window, then the changes since
    assert [params for params in asked(box) if params["sort_by"] == "updated_at"] == [NEWEST_FIRST]


def killed_at_request(box: Sandbox, number: int, paths: list[str]) -> Output:
    """Run the connector as a process and kill it while it waits for an answer."""
    reached = threading.Event()
    box.before(LIST, number, reached.set)
    box.fault(LIST, nth=number, kind="stall", seconds=0.2)
    process = subprocess.Popen(
        [sys.executable, "-m", "source_meetings", "read"]
        + [part for pair in zip(("--config", "--catalog", "--state"), paths) for part in pair],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or []))
    reader.start()
    assert reached.wait(60)
    process.kill()
    process.wait()
    reader.join()
    process.stdout.close()
    whole = [line for line in lines if line.endswith(b"\n")]
    return Output([json.loads(line) for line in whole], process.returncode)


def test_a_sync_that_is_killed_again_and_again_loses_nothing(box):
    # Given
    side = box.salesloft
    side.generate(count=2500, seed=25)
    _, output = first_sync(box)
    source_catalog = {
        "streams": [
            {
                "stream": {
                    "name": STREAM,
                    "json_schema": {},
                    "supported_sync_modes": ["full_refresh", "incremental"],
                },
                "sync_mode": "incremental",
                "destination_sync_mode": "append_dedup",
            }
        ]
    }
    chance = random.Random(25)
    table = Table(STREAM)
    state: list[Json] = []
    # When the connector is killed three times, with writes after each
    for number in (2, 12, 5):
        paths = [write_json(config(box)), write_json(source_catalog), write_json(state)]
        killed = killed_at_request(box, number, paths)
        table.load(killed)
        state = killed.last_states() or state
        edit_all(box, chance.sample(list(side.meetings), 30), title=f"edit {number}")
        side.insert()
    # Then the next sync completes the table
    synced(box, table, state)
    assert_equal_to_truth(box, table)


# -- refusal --------------------------------------------------------------------------------------


def test_equal_creation_times_whose_total_is_never_reached_stop_the_stream(box):
    # Given 130 meetings with one creation time, of which the list has 100 although its total is 130
    side = box.salesloft
    stamp = "2025-03-01T12:00:00.000000Z"
    tied(box, 130, "created_at", stamp)
    rows = [side.meetings[id] for id in list(side.meetings)[:100]]
    paging = {"per_page": 100, "current_page": 1, "next_page": None, "total_count": 130}
    box.fault(
        r"created_at%5Blt%5D=2025-03-01T12%3A00%3A00.000001Z",
        times=999,
        kind="body",
        body={"metadata": {"paging": paging}, "data": rows},
    )
    # When they are read
    failed = read(config(box))
    # Then the sync fails after several rounds, and the error says why
    assert failed.exit_code == 1
    assert "in an order that keeps changing" in failed.errors[0]["message"]
    assert len([one for one in box.requests if one.param("created_at[lt]")]) >= 5


def test_a_server_that_ignores_the_page_number_stops_the_stream(box):
    # Given a server that answers each page of a walk with the first one
    side = box.salesloft
    side.generate(count=1000, seed=8)
    _, output = first_sync(box)
    box.clock.advance(days=1)
    edit_all(box, list(side.meetings)[:400], title="changed")
    rows = [side.meetings[id] for id in newest_first(box)[:100]]
    sorting = {"sort_by": "updated_at", "sort_direction": "DESC NULLS LAST"}
    paging = {"per_page": 100, "current_page": 1, "next_page": 2, "total_count": 1000}
    body = {"metadata": {"paging": paging, "sorting": sorting}, "data": rows}
    box.fault(WALKS, times=999, kind="body", body=body)
    # When it is read
    failed = read(config(box), output.last_states())
    # Then it ends with an error
    assert failed.exit_code == 1
    assert "repeats a page instead of moving on" in failed.errors[0]["message"]
    assert len(box.requests) < 50


def test_a_wrong_order_stops_the_stream_with_an_error_that_names_sorting(box):
    # Given a server that ignores sort_by
    box.salesloft.generate(count=300, seed=17)
    _, output = first_sync(box)
    box.salesloft.ignore_sort = True
    # When a first or a later sync reads it
    for state in (None, output.last_states()):
        failed = read(config(box), state)
        # Then the sync fails, and the error says so
        assert failed.exit_code == 1
        assert failed.statuses == {STREAM: "INCOMPLETE"}
        assert "sorted by start_time although" in failed.errors[0]["message"]
        if state:  # and no state that is ahead of the previous one
            assert failed.state_of(STREAM) == output.state_of(STREAM)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "half_json"},
        {"kind": "html"},
        {"kind": "drop"},
        {"kind": "cut"},
        {"kind": "body", "body": {"data": {}}},
        {"kind": "body", "body": {}},
        {"kind": "body", "body": []},
        {"kind": "body", "body": None},
        {"kind": "status", "status": 500, "headers": {"Retry-After": "0"}},
        {"kind": "status", "status": 503, "body": "", "headers": {"Retry-After": "0"}},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
    ],
    ids=str,
)
def test_after_a_broken_answer_the_request_is_sent_again_and_the_page_not_treated_as_empty(
    box, fault
):
    # Given a broken answer to a request for a window
    box.salesloft.generate(count=450, seed=26)
    box.fault(WINDOWS, nth=2, **fault)
    # When the account is read, then no row is missing
    table, output = first_sync(box)
    assert_equal_to_truth(box, table)
    # And no row is missing after a broken answer in a walk
    box.clock.advance(days=1)
    edit_all(box, list(box.salesloft.meetings)[:150], title="changed")
    box.fault(WALKS, nth=2, **fault)
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_a_page_that_lacks_rows_is_not_mistaken_for_the_last_one(box):
    # Given a window of three pages, of which two lack three rows each
    for minute in range(250):
        box.salesloft.insert(
            created_at=f"2026-05-31T23:{10 + minute // 6:02}:{minute % 6:02}.000000Z"
        )
    for nth in (1, 3):  # the first page of the window, and, after it was read again, the last one
        box.fault(WINDOWS, nth=nth, kind="short_page", n=3)
    table, output = first_sync(box)
    assert_equal_to_truth(box, table)
    # And the same holds for a walk
    box.clock.advance(days=1)
    edit_all(box, list(box.salesloft.meetings)[:150], title="changed")
    box.fault(WALKS, nth=1, kind="short_page", n=3)
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_permanent_server_errors_stop_the_stream_with_a_transient_error(box):
    # Given a server that fails every request for a window from the third one on
    box.salesloft.generate(count=300, seed=27)
    box.fault(WINDOWS, nth=3, times=999, kind="status", status=500, headers={"Retry-After": "0"})
    # When
    failed = read(config(box))
    # Then the stream stops with a transient error
    assert failed.exit_code == 1
    assert failed.statuses == {STREAM: "INCOMPLETE"}
    assert failed.errors[0]["failure_type"] == "transient_error"
    assert "Salesloft answered with a server error (status 500)" in failed.errors[0]["message"]
    assert "scan" in failed.state_of(STREAM)
    # And the next sync reads the rest only
    box.forget_faults()
    table = Table(STREAM)
    table.load(failed)
    synced(box, table, failed.last_states())
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, "config_error", "does not accept the API key"),
        (403, "config_error", "meetings:read"),
        (404, "config_error", "does not have this endpoint"),
        (422, "system_error", "refused the request as malformed"),
    ],
)
def test_a_refused_request_is_not_retried_and_the_error_says_what_to_do(box, status, kind, words):
    # Given
    box.salesloft.generate(count=10)
    box.fault(LIST, times=9, kind="status", status=status)
    # When
    failed = read(config(box))
    # Then there is one request, and one error that says what to do
    assert failed.exit_code == 1
    assert len(box.requests) == 1
    assert failed.errors[0]["failure_type"] == kind
    assert words in failed.errors[0]["message"]


def test_with_a_spent_budget_the_sync_waits_until_the_next_full_minute(box):
    # Given a budget of 6 points a minute, two seconds before the next minute
    side = box.salesloft
    side.generate(count=450, seed=28)
    side.rate_limit = 6
    box.clock.set("2026-06-01T00:00:58Z")
    refused: list[int] = []

    def next_minute() -> None:
        if box.requests[-1].status == 429:
            refused.append(1)
            box.clock.advance(minutes=1)  # to second 58 of the next minute

    for nth in range(1, 40):
        box.after(LIST, nth, next_minute)
    # When a sync needs more points
    table, output = first_sync(box)
    # Then it waits for the next minute and loses nothing
    assert refused
    waits = [line for line in output.logs if "Trying again" in line]
    assert waits
    assert all("limit of 600 points" in line for line in waits)
    assert all(2 <= float(line.split("Trying again in ")[1].split(" ")[0]) <= 2.5 for line in waits)
    assert_equal_to_truth(box, table)
