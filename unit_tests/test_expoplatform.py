"""ExpoPlatform, against the sandbox over HTTP: the requests that are sent, and the table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.expoplatform import KEY_STYLES, SHAPES, STAMP_STYLES
from sandbox.side import Call, Reply
from unit_tests.harness import Json, Output, Table, read, run_command, write_json

STREAM = "expoplatform_meeting_participants"
EXPORT = "/expoplatform/api/v2/meetings/export"
NOW = 1_780_272_000  # 2026-06-01T00:00:00Z, the start of the sandbox's clock
KEY = "4f1c0ffee4f1c0ffee4f1c0ffee4f1c0ffee4f1c"
CREATED, MODIFIED = "[?&]created_from=", "[?&]last_modified_from="  # for hooks


def config(box: Sandbox, events: tuple[int, ...] = (101,), **common: Any) -> Json:
    provider = {
        "name": "expoplatform",
        "base_url": box.expoplatform.base_url,
        "api_key": KEY,
        "event_ids": list(events),
    }
    return {"provider": provider, **common}


def whole(page: int = 1, event_id: int = 101, **more: str) -> dict[str, str]:
    """Return the parameters of a request for one page of the whole event."""
    return {
        "event_id": str(event_id),
        "page": str(page),
        "per_page": "500",
        "order": "ASC",
        "order_by": "account_id",
        **more,
    }


def asked(box: Sandbox) -> list[dict[str, str]]:
    assert {request.path for request in box.requests} <= {EXPORT}
    return [dict(request.params) for request in box.requests]


def synced(
    box: Sandbox, table: Table, state: list[Json] | None = None, *args: Any, **common: Any
) -> list[Json]:
    """Run a sync, which must succeed, load it into the table, and return the next state."""
    output = read(config(box, *args, **common), state)
    assert output.exit_code == 0, output.errors
    assert output.statuses == {STREAM: "COMPLETE"}
    table.load(output)
    return output.last_states()


def held(table: Table) -> dict[str, Json]:
    return {
        key: {name: value for name, value in row.items() if name in _COMPARED}
        for key, row in table.rows.items()
    }


_COMPARED = (
    "event_id",
    "meeting_id",
    "account_id",
    "status",
    "created_at",
    "last_modified_at",
    "modified_at",
    "starts_at",
)


def assert_equal_to_truth(box: Sandbox, table: Table) -> None:
    assert held(table) == box.expoplatform.truth()


def row_of(box: Sandbox, page: int, place: int = 0, event_id: int = 101) -> Any:
    """Return the row at this position on a page of the whole export."""
    found = box.expoplatform.list_rows({"event_id": event_id}, "ASC", "account_id")
    return found[(page - 1) * 500 + place]


COUNTED = ["total_items", "total_pages", "meta"]


def small_pages(box: Sandbox, totals: str, accounts: list[int], size: int = 2) -> None:
    """Give the event rows of these accounts, each an hour newer than the next. So a change at the
    front is well outside the look-back of the last rows."""
    box.expoplatform.configure(page_cap=size, totals=totals)
    for account in reversed(accounts):
        box.expoplatform.insert(accounts=[account], meeting_id=str(70_000 + account))
        box.clock.advance(hours=1)


def pages(box: Sandbox) -> list[int]:
    return [int(params["page"]) for params in asked(box)]


def check(box: Sandbox, *args: Any) -> tuple[str, str]:
    output: Output = run_command(["check", "--config", write_json(config(box, *args))])
    status = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert KEY not in json.dumps(output.messages)
    return status["status"], status.get("message", "")


# -- first sync -----------------------------------------------------------------------------------


def test_a_first_sync_requests_full_pages_ordered_by_account_and_nothing_else(box):
    # Given two events, one of which has several pages
    box.expoplatform.generate(101, 600)
    box.expoplatform.generate(102, 10)
    table = Table(STREAM)
    # When they are synced for the first time
    synced(box, table, None, (101, 102))
    # Then each page was requested once, with these parameters and no others
    requests = asked(box)
    assert [params for params in requests if params["event_id"] == "101"] == [
        whole(1),
        whole(2),
        whole(3),
    ]
    assert [params for params in requests if params["event_id"] == "102"] == [whole(1, 102)]
    assert {request.headers["authorization"] for request in box.requests} == {f"Basic {KEY}"}
    # And the table equals the provider's data
    assert_equal_to_truth(box, table)


def test_without_totals_the_list_ends_with_an_empty_page(box):
    # Given answers without totals, and rows on two pages
    box.expoplatform.generate(101, 300)
    box.expoplatform.totals = "none"
    # When
    table = Table(STREAM)
    synced(box, table)
    # Then a third page was requested
    assert asked(box) == [whole(1), whole(2), whole(3)]
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("totals", ["none", "total_items", "total_pages"])
def test_a_page_smaller_than_requested_is_not_mistaken_for_the_last_one(box, totals):
    # Given a server that silently limits the page size
    box.expoplatform.generate(101, 300)
    box.expoplatform.page_cap = 100
    box.expoplatform.totals = totals
    table = Table(STREAM)
    synced(box, table)
    assert_equal_to_truth(box, table)
    assert len(box.requests) == 7 + (totals == "none")


@pytest.mark.parametrize("totals", ["none", "total_items", "total_pages"])
@pytest.mark.parametrize("count", [500, 600])
def test_a_server_that_repeats_its_last_page_causes_no_endless_loop(box, totals, count):
    # Given a server that answers a page beyond the end with the last one
    box.expoplatform.insert(accounts=range(1, count + 1))
    box.expoplatform.repeat_last_page = True
    box.expoplatform.totals = totals
    # When
    table = Table(STREAM)
    synced(box, table)
    # Then every row is read, and the end is found
    assert_equal_to_truth(box, table)
    assert len(box.requests) <= 3


def test_totals_that_count_something_else_do_not_end_the_pages(box):
    # Given answers whose total is the number of meetings, not of rows
    side = box.expoplatform
    side.generate(101, 700)
    side.claim = lambda rows, total, pages: (700, pages)
    table = Table(STREAM)
    synced(box, table)
    assert_equal_to_truth(box, table)


def test_a_total_that_is_never_reached_causes_a_warning(box):
    # Given a total that ignores filters, so it is never reached
    side = box.expoplatform
    side.insert(accounts=[1, 2])
    side.claim = lambda rows, total, pages: (900, pages)
    output = read(config(box))
    assert output.exit_code == 0
    assert len(output.records()) == 2
    assert any("counts 900 rows of event 101 but lists 2" in line for line in output.logs)


# Each shape with each style of keys and times. The kinds of totals are spread over them, to limit
# the number of tests.
STYLES = list(itertools.product(KEY_STYLES, STAMP_STYLES))
FORMS = [
    (shape, ("none", "total_items")[(place + turn) % 2], *STYLES[(place + 5 * turn) % len(STYLES)])
    for place, shape in enumerate(SHAPES)
    for turn in range(2)
] + [("data", "total_items", *style) for style in STYLES]


@pytest.mark.parametrize(("shape", "totals", "key_style", "stamp_style"), FORMS)
def test_every_shape_key_and_time_style_gives_the_same_table(
    box, shape, totals, key_style, stamp_style
):
    side = box.expoplatform
    # Given an event whose export has one of the assumed forms
    side.generate(101, 8)
    side.configure(shape=shape, totals=totals, key_style=key_style, stamp_style=stamp_style)
    table = Table(STREAM)
    state = synced(box, table)
    assert_equal_to_truth(box, table)
    # And a later change arrives
    box.clock.advance(minutes=10)
    side.cancel(101, row_of(box, 1).meeting_id)
    synced(box, table, state)
    assert_equal_to_truth(box, table)


def test_raw_has_the_row_as_it_came_and_undeclared_columns_are_in_no_other_field(box):
    # Given a row with a column that the schema does not declare
    box.expoplatform.insert(accounts=[1], **{"Hall": {"Stand": 4}})
    # When it is read
    (record,) = read(config(box)).records()
    # Then `raw` is the row as it came
    assert record.pop("raw") == {
        "Meeting ID": 70001,
        "Account ID": 1,
        "Status": "Pending",
        "Hall": {"Stand": 4},
        "Creation Time": NOW,
        "Last Modified": NOW,
        "Appointment Time": NOW + 7 * 86_400,
    }
    # And all other fields are declared columns (ends_at is null, so the CDK leaves it out)
    assert record == {
        "event_id": 101,
        "meeting_id": "70001",
        "account_id": "1",
        "status": "Pending",
        "created_at": "2026-06-01T00:00:00.000000Z",
        "last_modified_at": "2026-06-01T00:00:00.000000Z",
        "modified_at": "2026-06-01T00:00:00.000000Z",
        "starts_at": "2026-06-08T00:00:00.000000Z",
    }


@pytest.mark.parametrize(
    ("totals", "count", "expected"),
    [
        ("none", 4, [1, 2, 3]),
        ("none", 5, [1, 2, 3, 4]),
        ("total_items", 4, [1, 2]),
        ("total_items", 5, [1, 2, 3]),
        ("total_pages", 4, [1, 2]),
        ("total_pages", 5, [1, 2, 3]),
        ("meta", 4, [1, 2]),
        ("meta", 5, [1, 2, 3]),
    ],
)
def test_a_server_that_repeats_its_last_page_gets_no_needless_request(box, totals, count, expected):
    # Given a server that answers a page beyond the end with the last one
    small_pages(box, totals, list(range(1, count + 1)))
    box.expoplatform.repeat_last_page = True
    # When
    table = Table(STREAM)
    synced(box, table)
    # Then no page beyond the totals was requested
    assert pages(box) == expected
    assert_equal_to_truth(box, table)


def test_a_total_that_counts_the_rows_on_the_page_is_not_mistaken_for_vanished_rows(box):
    # Given a server whose total is the number of rows on the page
    side = box.expoplatform
    side.insert(accounts=range(1, 701))
    side.claim = lambda rows, total, pages: (len(rows), pages)
    table = Table(STREAM)
    synced(box, table)
    assert pages(box) == [1, 2]
    assert_equal_to_truth(box, table)


def test_meetings_last_changed_before_the_start_date_are_left_out(box):
    # Given an old meeting, an old one that was modified recently, and a new one
    side = box.expoplatform
    old = side.insert(accounts=[1])
    changed = side.insert(accounts=[2])
    box.clock.advance(days=10)
    side.cancel(101, changed)
    new = side.insert(accounts=[3])
    table = Table(STREAM)
    # When the event is synced with a start date between
    state = synced(box, table, start_date="2026-06-05T00:00:00Z")
    # Then the old meeting was neither requested nor emitted
    assert {row["meeting_id"] for row in table.rows.values()} == {changed, new}
    bound = str(NOW + 4 * 86_400 - 120)
    assert asked(box) == [whole(created_from=bound), whole(last_modified_from=bound)]
    # And when it changes, it is emitted
    side.cancel(101, old)
    synced(box, table, state, start_date="2026-06-05T00:00:00Z")
    assert_equal_to_truth(box, table)


def test_check_requests_one_row_of_each_event(box):
    assert check(box, (101, 102)) == ("SUCCEEDED", "")
    assert asked(box) == [{"event_id": event_id, "per_page": "1"} for event_id in ("101", "102")]


@pytest.mark.parametrize("ending", ["/", "/api/v2", "/api/v2/"])
def test_a_base_url_may_end_with_a_path_that_people_copy_with_it(box, ending):
    box.expoplatform.insert(accounts=[1])
    odd = config(box)
    odd["provider"]["base_url"] += ending
    assert len(read(odd).records()) == 1
    assert asked(box) == [whole()]


# -- incremental sync -----------------------------------------------------------------------------


def test_later_syncs_make_two_passes_and_never_send_both_filters_together(box):
    # Given an event after its first sync
    side = box.expoplatform
    first = side.insert(accounts=[1, 2])
    table = Table(STREAM)
    state = synced(box, table)
    # When one meeting is rescheduled and another one is created
    box.clock.advance(hours=1)
    side.reschedule(101, first)
    side.insert(accounts=[3, 4])
    box.forget_requests()
    state = synced(box, table, state)
    # Then one pass requests the new rows and one the modified rows, from two minutes before the
    # newest known stamp, without an upper bound
    bound = str(NOW - 120)
    assert asked(box) == [whole(created_from=bound), whole(last_modified_from=bound)]
    assert_equal_to_truth(box, table)
    # And the next sync continues from there
    box.forget_requests()
    synced(box, table, state)
    bound = str(NOW + 3600 - 120)
    assert asked(box) == [whole(created_from=bound), whole(last_modified_from=bound)]


def test_a_sync_without_changes_sends_two_requests_and_reads_almost_no_rows(box):
    # Given an event of ten thousand rows after its first sync
    box.expoplatform.generate(101, 4800)
    table = Table(STREAM)
    state = synced(box, table)
    assert len(box.requests) == -(-len(box.expoplatform.rows) // 500)
    # When nothing changes
    for most in (100, 10, 10):
        box.forget_requests()
        output = read(config(box), state)
        state = output.last_states()
        # Then
        assert len(box.requests) == 2
        assert len(output.records()) <= most


def test_syncs_read_little_again_even_if_the_first_page_has_the_oldest_rows(box):
    # Given rows whose order by account is their order of change, so page 1 has no recent change
    side = box.expoplatform
    for account in range(1, 1201):
        stamp = NOW - 86_400 + 60 * account
        side.insert(accounts=[account])
        side.edit(101, str(70_000 + account), created=stamp, modified=stamp)
    table = Table(STREAM)
    box.clock.advance(days=1)
    state = synced(box, table)
    # When nothing changes
    state = synced(box, table, state)
    output = read(config(box), state)
    # Then the second sync re-reads only the look-back, which ends at the newest stamp of the first
    assert len(output.records()) <= 3
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("zone_hours", [-11, 0, 3, 14])
def test_changes_are_found_whatever_the_time_zone_of_the_stamps(box, zone_hours):
    # Given stamps without a zone
    side = box.expoplatform
    side.stamp_style, side.zone_hours = "plain", zone_hours
    side.insert(accounts=[1, 2])
    table = Table(STREAM)
    state = synced(box, table)
    for _ in range(3):
        # When a meeting changes
        box.clock.advance(minutes=7)
        side.cancel(101, row_of(box, 1).meeting_id)
        side.insert(accounts=[3])
        state = synced(box, table, state)
        # Then the change arrives
        assert_equal_to_truth(box, table)


def test_an_event_that_is_added_to_the_configuration_is_read_whole_and_the_others_are_not(box):
    # Given two events, of which only one was configured and read
    side = box.expoplatform
    side.insert(101, accounts=[1, 2])
    side.insert(102, accounts=[3, 4])
    table = Table(STREAM)
    state = synced(box, table, None, (101,))
    # When the other one is added
    box.forget_requests()
    state = synced(box, table, state, (101, 102))
    # Then that one is read whole, and only changes are read of the first one
    bound = str(NOW - 120)
    requests = asked(box)
    assert [params for params in requests if params["event_id"] == "102"] == [whole(1, 102)]
    assert [params for params in requests if params["event_id"] == "101"] == [
        whole(created_from=bound),
        whole(last_modified_from=bound),
    ]
    assert_equal_to_truth(box, table)
    assert set(state[0]["stream"]["stream_state"]["partitions"]) == {"101", "102"}


def test_an_event_without_meetings_is_read_whole_until_it_has_some(box):
    # Given an event without meetings
    table = Table(STREAM)
    state = synced(box, table)
    assert state[0]["stream"]["stream_state"]["partitions"] == {"101": {}}
    # When one is created
    box.expoplatform.insert(accounts=[1])
    box.forget_requests()
    synced(box, table, state)
    # Then the event is read whole
    assert asked(box) == [whole()]
    assert_equal_to_truth(box, table)


def test_a_stamp_in_the_future_does_not_hide_later_changes(box):
    # Given stamps that lag behind the Date header, and a row with a stamp ten years ahead
    side = box.expoplatform
    side.stamp_lag = 3600
    old = side.insert(accounts=[1, 2])
    box.clock.advance(days=1)
    side.insert(accounts=[3])
    side.edit(101, old, 1, modified=NOW + 10 * 365 * 86_400)
    table = Table(STREAM)
    state = synced(box, table)
    # When another row changes
    box.clock.advance(minutes=10)
    side.cancel(101, old, 2)
    synced(box, table, state)
    # Then that change arrives
    assert_equal_to_truth(box, table)


def test_a_state_from_the_future_is_not_trusted(box):
    # Given a state that is ten years ahead, and a changed meeting
    side = box.expoplatform
    side.insert(accounts=[1, 2])
    table = Table(STREAM)
    state = synced(box, table)
    for known in state[0]["stream"]["stream_state"]["partitions"].values():
        known.update(dict.fromkeys(known, "2036-01-01T00:00:00Z"))
    side.cancel(101, "70001")
    # When
    output = read(config(box), state)
    table.load(output)
    # Then the change is read, the log says why, and the new state has today's time
    assert_equal_to_truth(box, table)
    assert any("is ahead of ExpoPlatform's clock" in line for line in output.logs)
    assert output.state_of(STREAM)["modified_at"] < "2026-06-02"


def test_without_readable_stamps_the_providers_clock_is_the_watermark(box):
    # Given rows whose stamps cannot be parsed
    side = box.expoplatform
    side.insert(accounts=[1])
    side.stamp_style = "unreadable"
    table = Table(STREAM)
    state = synced(box, table)
    box.clock.advance(hours=1)
    side.cancel(101, "70001")
    box.forget_requests()
    synced(box, table, state)
    bound = str(NOW - 120)
    assert asked(box) == [whole(created_from=bound), whole(last_modified_from=bound)]
    assert [row["status"] for row in held(table).values()] == ["Cancelled"]


@pytest.mark.parametrize("inclusive", [True, False])
def test_changes_are_found_whether_bounds_are_inclusive_or_not(box, inclusive):
    # Given a change in the same second as the newest stamp
    side = box.expoplatform
    side.inclusive = inclusive
    side.insert(accounts=[1, 2])
    table = Table(STREAM)
    state = synced(box, table)
    side.cancel(101, "70001")
    side.insert(accounts=[3])
    synced(box, table, state)
    assert_equal_to_truth(box, table)


def test_a_burst_of_changes_is_read_again_until_the_look_back_has_passed(box: Sandbox) -> None:
    # Given six hundred rows that were changed just before a sync
    box.expoplatform.generate(event_id=101, meetings=400)
    table = Table(STREAM)
    state = synced(box, table)
    box.clock.advance(hours=1)
    for meeting in sorted({row["meeting_id"] for row in box.expoplatform.truth().values()})[:300]:
        box.expoplatform.edit(101, meeting, status="Confirmed")
    box.clock.advance(seconds=30)
    box.expoplatform.insert(101)
    state = synced(box, table, state)
    # When the next sync finds nothing new, then it reads them once more, because other changes of
    # that time may have appeared late
    box.clock.advance(minutes=5)
    box.forget_requests()
    state = synced(box, table, state)
    again = asked(box)
    box.forget_requests()
    output = read(config(box), state)
    # And later syncs do not read them again
    assert len(asked(box)) == 2 < len(again)
    assert len(output.records()) <= 5
    # And later changes are found
    box.expoplatform.insert(101)
    box.expoplatform.cancel(101, meeting)
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


# -- changes during a sync ------------------------------------------------------------------------


def test_a_row_that_changes_after_its_page_was_read_comes_with_the_next_sync(box):
    # Given three pages
    side = box.expoplatform
    side.generate(101, 600)
    table = Table(STREAM)
    early, late = row_of(box, 1), row_of(box, 3)

    def change(row: Any, minutes: int) -> Callable[[], None]:
        def act() -> None:
            box.clock.advance(minutes=minutes)
            side.edit(101, row.meeting_id, row.account_id, status="Changed")

        return act

    # When a row of page 1 changes after it was read, and then a row of page 3 before it is read
    box.after("page=1&", 1, change(early, 30))
    box.before("page=3&", 1, change(late, 30))
    state = synced(box, table)
    # Then the next sync reads the first one, although the stamp of the second one was newer
    synced(box, table, state)
    assert_equal_to_truth(box, table)


def test_a_row_that_changes_after_its_page_was_read_comes_even_if_stamps_lag_an_hour_behind(box):
    box.expoplatform.stamp_lag = 3600
    test_a_row_that_changes_after_its_page_was_read_comes_with_the_next_sync(box)


def test_changes_during_the_passes_of_a_later_sync_come_with_the_one_after(box):
    # Given many changes since the first sync of an event
    side = box.expoplatform
    side.generate(101, 600)
    table = Table(STREAM)
    state = synced(box, table)
    box.clock.advance(hours=1)
    rows = list(side.rows.values())
    for row in rows[:1100]:
        side.edit(101, row.meeting_id, row.account_id, status="First")

    def change(row: Any) -> Callable[[], None]:
        def act() -> None:
            box.clock.advance(minutes=10)
            side.edit(101, row.meeting_id, row.account_id, status="Second")
            side.insert(accounts=[int(row.account_id)])

        return act

    # When rows change before each page of both passes
    box.after(CREATED, 1, change(rows[0]))
    for number in range(1, 4):
        box.after(MODIFIED, number, change(rows[number * 100]))
        box.before(MODIFIED, number, change(rows[number * 100 + 50]))
    state = synced(box, table, state)
    # Then after the next sync the table is correct
    synced(box, table, state)
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("count", [1, 30, 700])
def test_rows_that_vanish_do_not_hide_others(box, count):
    # Given five pages
    side = box.expoplatform
    side.generate(101, 1200)
    table = Table(STREAM)
    doomed = [row_of(box, 1 + place // 500, place % 500) for place in range(count)]

    def delete() -> None:
        for row in doomed:
            side.delete_participant(101, row.meeting_id, row.account_id)

    # When rows that were read vanish, so unread rows move to pages that were read
    box.after("page=3&", 1, delete)
    synced(box, table)
    # Then no row is missing, and only the vanished rows are extra
    truth = box.expoplatform.truth()
    rows = held(table)
    assert {key: rows.get(key) for key in truth} == truth
    gone = {"|".join(map(str, row.key)) for row in doomed}
    assert set(rows) == set(truth) | gone
    assert len(box.requests) <= 12


def test_an_event_in_which_meetings_are_booked_all_the_time_can_be_read(box):
    # Given new rows on a page that was read, each time the last page is requested
    side = box.expoplatform
    side.generate(101, 1200)
    for number in range(1, 9):
        box.before("page=3&", number, lambda: side.insert(accounts=[1]))
    table = Table(STREAM)
    # When
    state = synced(box, table)
    # Then the whole event is read at most twice, and the next sync reads the rest
    assert len(box.requests) == 2 * 6
    synced(box, table, state)
    assert_equal_to_truth(box, table)


def delete(box: Sandbox, *accounts: int) -> Callable[[], None]:
    def act() -> None:
        for account in accounts:
            box.expoplatform.delete_participant(101, str(70_000 + account), account)

    return act


def assert_has_all_of_the_truth(box: Sandbox, table: Table) -> None:
    """Assert that no row is missing or stale. Rows that vanished may be extra."""
    truth = box.expoplatform.truth()
    assert {key: row for key, row in held(table).items() if key in truth} == truth


@pytest.mark.parametrize("totals", COUNTED)
def test_a_row_that_moves_to_a_page_that_was_read_is_read_when_the_totals_fall(box, totals):
    # Given two pages, and a row of the first one that vanishes after it was read
    small_pages(box, totals, [1, 2, 3])
    box.after("page=1&", 1, delete(box, 1))
    table = Table(STREAM)
    # When the event is synced
    synced(box, table)
    # Then the first page was requested again, because a row of the second page moved to it
    assert pages(box) == [1, 2, 1]
    assert_has_all_of_the_truth(box, table)


@pytest.mark.parametrize("totals", COUNTED)
def test_a_row_that_moves_is_read_even_if_the_server_repeats_its_last_page(box, totals):
    # Given a server that repeats its last page beyond the end, and a row at the front that vanishes
    small_pages(box, totals, [1, 2, 3, 4, 5])
    box.expoplatform.repeat_last_page = True
    box.after("page=1&", 1, delete(box, 1))
    # When
    table = Table(STREAM)
    synced(box, table)
    # Then the row that moved is read
    assert len(box.requests) <= 4
    assert_has_all_of_the_truth(box, table)


def test_rows_that_move_before_the_number_of_pages_falls_are_read_too(box):
    # Given a row that vanishes without changing the number of pages, and then one that changes it
    small_pages(box, "total_pages", [1, 2, 3, 4, 5, 6])
    box.after("page=1&", 1, delete(box, 1))
    box.after("page=2&", 1, delete(box, 2))
    table = Table(STREAM)
    synced(box, table)
    # Then every page is read again, because any row may have moved
    assert pages(box) == [1, 2, 3, 1, 2]
    assert_has_all_of_the_truth(box, table)


def insert(box: Sandbox, *accounts: int) -> Callable[[], None]:
    def act() -> None:
        for account in accounts:
            box.expoplatform.insert(accounts=[account], meeting_id=str(70_000 + account))

    return act


def test_the_number_of_pages_and_the_last_page_reveal_a_missed_row(box):
    # Given a row that comes and goes at the front, so the number of pages stays the same
    small_pages(box, "total_pages", [1, 2, 3, 4, 5])
    box.after("page=1&", 1, insert(box, 0))
    box.after("page=2&", 1, delete(box, 0))
    table = Table(STREAM)
    # When one row was read twice and one was missed, so fewer rows were read than the pages have
    synced(box, table)
    # Then a second walk reads the missed one
    assert pages(box) == [1, 2, 3, 1, 2, 3]
    assert_has_all_of_the_truth(box, table)


@pytest.mark.parametrize(
    ("totals", "coming"), [("total_items", [11, 12]), ("meta", [11, 12]), ("total_pages", [11])]
)
def test_more_rows_may_vanish_than_the_totals_fall_by(box, totals, coming):
    # Given three rows that vanish at the front while others are added at the end
    small_pages(box, totals, [1, 2, 3, 4, 5, 6, 7, 8])
    box.after("page=2&", 1, delete(box, 1, 2, 3))
    box.after("page=2&", 1, insert(box, *coming))
    table = Table(STREAM)
    state = synced(box, table)
    # Then after the next sync, which reads the new rows, none is missing
    synced(box, table, state)
    assert_has_all_of_the_truth(box, table)


@pytest.mark.parametrize("totals", COUNTED)
def test_a_page_that_repeats_because_a_page_of_rows_was_inserted_is_not_an_error(box, totals):
    # Given as many new rows at the front as fit on a page
    small_pages(box, totals, [3, 4, 5, 6])
    box.after("page=1&", 1, insert(box, 1, 2))
    table = Table(STREAM)
    # When the second page is the same as the first one
    synced(box, table)
    # Then the walk continues, and a second one reads the new rows
    assert pages(box) == [1, 2, 3, 1, 2, 3]
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("totals", COUNTED)
def test_a_page_that_repeats_because_rows_were_inserted_and_others_vanished_is_not_an_error(
    box, totals
):
    # Given as many new rows at the front as fit on a page, while others vanish
    small_pages(box, totals, [3, 4, 5, 6])
    box.after("page=1&", 1, insert(box, 1, 2))
    box.after("page=1&", 1, delete(box, 5, 6))
    table = Table(STREAM)
    # When the second page is the same as the first one, and the totals are as before
    synced(box, table)
    # Then a second walk shows that the server does advance
    assert pages(box) == [1, 2, 1, 2]
    assert_equal_to_truth(box, table)


# -- resume ---------------------------------------------------------------------------------------


def test_the_state_of_an_event_advances_only_after_both_passes(box):
    # Given an event after its first sync, a cancellation and a new meeting
    side = box.expoplatform
    side.insert(accounts=[1, 2])
    table = Table(STREAM)
    state = synced(box, table)
    box.clock.advance(hours=1)
    side.cancel(101, "70001")
    side.insert(accounts=[3])
    # When the second pass fails
    box.fault(MODIFIED, kind="status", status=403)
    output = read(config(box), state)
    table.load(output)
    assert output.exit_code == 1
    # Then no state goes beyond the first sync
    before = state[0]["stream"]["stream_state"]
    assert [one["stream"]["stream_state"] for one in output.states] in ([], [before])
    # And the next sync reads both changes
    synced(box, table, output.last_states() or state)
    assert_equal_to_truth(box, table)


def test_an_interrupted_first_sync_continues_with_the_unread_events(box):
    # Given a first sync of two events that failed at the second one
    side = box.expoplatform
    side.generate(101, 20)
    side.generate(102, 20)
    box.fault("event_id=102(&|$)", kind="status", status=403)
    table = Table(STREAM)
    output = read(config(box, (101, 102)))
    table.load(output)
    assert output.exit_code == 1
    scan = output.state_of(STREAM)["scan"]
    assert scan["pending"] == [{"partition": "102"}]
    # When the first event changes and the next sync runs
    box.clock.advance(hours=1)
    side.cancel(101, row_of(box, 1).meeting_id)
    box.forget_requests()
    synced(box, table, output.last_states(), (101, 102))
    # Then the second one is read whole, once, and only the changes of the first one are read
    requests = asked(box)
    assert [params for params in requests if params["event_id"] == "102"] == [whole(1, 102)]
    first = [params for params in requests if params["event_id"] == "101"]
    assert [set(params) - set(whole()) for params in first] == [
        {"created_from"},
        {"last_modified_from"},
    ]
    assert_equal_to_truth(box, table)


# -- refusal --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        ({"payload": [{"Meeting ID": "SECRET"}]}, "payload"),
        ({"data": [{"Meeting ID": "SECRET", "Name": "SECRET"}]}, "Meeting ID, Name"),
        ({"data": [{"Account ID": "SECRET", "Name": "SECRET"}]}, "Account ID, Name"),
        ({"data": {"SECRETS": 1}}, "data"),
        ({"success": False, "message": "SECRET", "data": []}, "data, message, success"),
    ],
)
def test_an_unknown_shape_stops_the_stream_with_its_keys_and_no_values(box, body, keys):
    # Given an answer of an unknown shape
    box.fault("export", times=9, kind="body", body=body)
    # When it is read
    output = read(config(box), debug=False)
    # Then the stream fails, and the error has the keys of the answer
    assert output.exit_code == 1
    assert keys in output.errors[0]["message"]
    assert "SECRET" not in json.dumps(output.messages)
    assert output.records() == []


def test_a_page_that_lacks_a_row_is_read_again(box):
    # Given a page that lacks a row, with totals that include it
    box.expoplatform.generate(101, 600)
    box.fault("page=2&", kind="short_page", n=1)
    table = Table(STREAM)
    synced(box, table)
    assert_equal_to_truth(box, table)


def test_rows_that_keep_moving_end_with_an_error_that_says_so(box):
    # Given a page that lacks a different row at every try
    box.expoplatform.generate(101, 300)
    for number in range(1, 5):
        box.fault("page=2&", number, kind="short_page", n=9 - number)
        box.fault("page=1&", number, kind="short_page", n=9)
    output = read(config(box))
    assert output.exit_code == 1
    assert "kept moving while they were read, 4 times in a row" in output.errors[0]["message"]


@pytest.mark.parametrize("totals", COUNTED)
def test_a_page_that_lacks_a_row_is_read_again_with_any_kind_of_totals(box, totals):
    small_pages(box, totals, [1, 2, 3, 4, 5, 6, 7])
    box.fault("page=2&", kind="short_page", n=1)
    table = Table(STREAM)
    synced(box, table)
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize(
    ("totals", "requests"), [("total_items", 14), ("meta", 14), ("total_pages", 8)]
)
def test_totals_that_keep_falling_end_with_an_error_that_says_so(box, totals, requests):
    # Given totals that are one smaller in every other answer
    small_pages(box, totals, [1, 2, 3, 4, 5])
    answers = itertools.count()

    def unsteady(rows: list[Json], total: int, pages: int) -> tuple[int, int]:
        fewer = next(answers) % 2
        return total - fewer, pages - fewer

    box.expoplatform.claim = unsteady
    # When it is read
    output = read(config(box))
    # Then it ends after a few walks
    assert len(box.requests) == requests
    (error,) = output.errors
    assert "kept moving while they were read" in error["message"]
    assert error["failure_type"] == "transient_error"


def answer_with_the_first_page(box: Sandbox) -> None:
    answer = box.expoplatform.answer

    def stuck(call: Call) -> Reply:
        params = [(name, "1" if name == "page" else value) for name, value in call.params]
        return answer(replace(call, params=params))

    box.expoplatform.answer = stuck  # type: ignore[method-assign]


@pytest.mark.parametrize("totals", COUNTED)
def test_a_server_that_does_not_advance_is_an_error_after_the_second_try(box, totals):
    # Given a server that answers every page with the first one
    small_pages(box, totals, [1, 2, 3, 4, 5])
    answer_with_the_first_page(box)
    # When it is read
    output = read(config(box))
    # Then a second try rules out that rows moved, and the sync fails
    assert pages(box) == [1, 2, 1, 2]
    (error,) = output.errors
    assert "ExpoPlatform repeats a page instead of moving on." in error["message"]
    assert error["failure_type"] == "transient_error"


@pytest.mark.parametrize("totals", COUNTED)
def test_a_server_that_does_not_advance_is_an_error_even_if_its_totals_grow(box, totals):
    # Given a server that answers every page with the first one and counts one more page each time
    small_pages(box, totals, [1, 2, 3, 4, 5])
    answer_with_the_first_page(box)
    answers = itertools.count()

    def growing(rows: list[Json], total: int, pages: int) -> tuple[int, int]:
        more = next(answers)
        return total + 2 * more, pages + more

    box.expoplatform.claim = growing
    # When it is read
    output = read(config(box))
    # Then it ends after two walks
    assert pages(box) == 2 * [1, 2, 3, 4, 5, 6]
    (error,) = output.errors
    assert "ExpoPlatform repeats a page instead of moving on." in error["message"]


@pytest.mark.parametrize("status", [403, 404])
def test_check_and_read_name_the_event_that_the_key_cannot_see(box, status):
    # Given a key that may see only one of two events
    box.expoplatform.keys = {KEY: {101}}
    box.expoplatform.hidden_status = status
    # When the connection is checked, then it fails and names the event
    result, message = check(box, (101, 7))
    assert result == "FAILED"
    assert "event 7" in message
    assert "event_ids" in message
    # And so does a sync
    output = read(config(box, (101, 7)))
    assert output.exit_code == 1
    error = output.errors[0]
    assert error["failure_type"] == "config_error"
    assert "event 7" in error["message"]


def test_for_a_refused_key_the_error_says_that_keys_are_switched_off_after_a_show(box):
    box.expoplatform.switched_off = {KEY}
    result, message = check(box)
    assert result == "FAILED"
    assert "switched off after each show" in message
    assert "provider.api_key" in message


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        ({"kind": "status", "status": 429, "headers": {"retry-after": "0"}}, 2),
        ({"kind": "status", "status": 503, "headers": {"retry-after": "0"}}, 2),
        ({"kind": "drop"}, 1),
        ({"kind": "cut"}, 1),
        ({"kind": "half_json"}, 1),
        ({"kind": "html"}, 1),
    ],
)
def test_a_request_is_sent_again_after_a_temporary_fault(box, fault, times):
    # Given a temporary fault
    box.expoplatform.insert(accounts=[1, 2])
    box.fault("export", times=times, **fault)
    # When
    table = Table(STREAM)
    synced(box, table)
    # Then no row is missing, and each fault cost one request
    assert_equal_to_truth(box, table)
    assert len(box.requests) == times + 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event_ids": []}, "provider.event_ids"),
        ({"event_ids": ["101"]}, "entry 1 of provider.event_ids"),
        ({"event_ids": [1, 1]}, "provider.event_ids"),
        ({"api_key": "SECRET KEY"}, "provider.api_key"),
        ({"base_url": "http://api.example.com"}, "provider.base_url"),
    ],
)
def test_for_an_invalid_configuration_the_error_names_the_field(box, changes, field):
    # Given a configuration with one invalid field
    bad = config(box)
    bad["provider"].update(changes)
    # When the connection is checked
    output = run_command(["check", "--config", write_json(bad)])
    # Then the field is named before any request, and no secret is shown
    status = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert status["status"] == "FAILED"
    assert status["message"].startswith(f"Configuration: {field} ")
    assert "SECRET" not in json.dumps(output.messages)
    assert box.requests == []
