"""Salesloft's meetings: what a state means, and how cancelled meetings are found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from source_meetings.providers.salesloft.meetings import MeetingsStrategy
from source_meetings.providers.salesloft.pages import COUNTED, NEWEST_FIRST, OLDEST_FIRST
from source_meetings.sync.reading import Answer, ReadEverything, Row, State, UnusableState
from unit_tests.logic.fakes import Asked, ScriptedApi, at, synced, text
from unit_tests.proof.models import SalesloftModel, Write

WALK = {**NEWEST_FIRST, **COUNTED}
CURSOR = "updated_at"


def strategy(api: Any, start_date: str | None = None, **options: Any) -> MeetingsStrategy:
    return MeetingsStrategy(
        "meetings", CURSOR, {"start_date": start_date, "provider": {}}, api, **options
    )


def account(meetings: int = 0, **options: Any) -> SalesloftModel:
    """Meetings that are a day apart, the last one a day ago."""
    api = SalesloftModel(page_size=2)
    for name, value in options.items():
        setattr(api, name, value)
    api.setup(1, 0)
    api.now = at(days=-meetings)
    for _ in range(meetings):
        api.write(Write("create"))
        api.now += timedelta(days=1)
    return api


def newest(*stamps: str | None) -> Answer:
    rows: list[Row] = [{"id": id, CURSOR: stamp} for id, stamp in enumerate(stamps)]
    return Answer(rows, at(), body={"metadata": {}})


# -- the start date, and unusable states ----------------------------------------------------------


def test_the_start_date_is_a_state_of_its_own() -> None:
    assert strategy(account()).start() is None
    assert strategy(account(), text(days=-3)).start() == {CURSOR: text(days=-3)}


@pytest.mark.parametrize("stamp", [None, "soon", "1969-12-31T23:59:59Z"])
def test_a_state_without_a_usable_moment_is_refused_before_any_request(stamp: str | None) -> None:
    api = account()
    with pytest.raises(UnusableState):
        strategy(api).changes({CURSOR: stamp})
    with pytest.raises(UnusableState):
        strategy(api).resume({CURSOR: stamp}, [])
    assert api.asked == []


def test_the_epoch_is_a_usable_moment() -> None:
    assert strategy(account()).changes({CURSOR: "1970-01-01T00:00:00Z"}) is not None


def test_a_window_of_another_form_is_not_resumed() -> None:
    with pytest.raises(UnusableState):
        strategy(account()).resume({CURSOR: text()}, [{"created_at_gte": None}])


# -- what a state promises ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "start_date", "bound"),
    [
        ({}, None, at(minutes=-10)),
        ({"settled": True}, None, at()),
        ({}, text(minutes=-20), at(minutes=-10)),
        ({}, text(minutes=-5), at(minutes=-5)),
    ],
)
def test_changes_are_read_from_the_look_back_on_but_not_from_before_the_start_date(
    state: State, start_date: str | None, bound: Any
) -> None:
    assert strategy(account(), start_date).bound({CURSOR: text(), **state}) == bound


def test_the_look_back_can_be_configured() -> None:
    found = strategy(account(), look_back_minutes=3).bound({CURSOR: text()})
    assert found == at(minutes=-3)


def test_the_next_watermark_is_the_newest_stamp_that_is_not_from_the_future() -> None:
    found = strategy(account()).state_after(newest(text(days=2), text(hours=-2), None), None)
    assert found == {CURSOR: text(hours=-2), "seen_at": text()}


def test_a_watermark_never_goes_back_but_from_the_future_to_the_clock() -> None:
    made = strategy(account())
    back = made.state_after(newest(text(hours=-2)), {CURSOR: text(hours=-1)})
    assert back[CURSOR] == text(hours=-1)
    ahead = made.state_after(newest(text(hours=-2)), {CURSOR: text(hours=1)})
    assert ahead[CURSOR] == text(seconds=1)


def test_without_a_usable_stamp_the_clock_less_a_day_is_the_watermark() -> None:
    found = strategy(account()).state_after(newest(text(days=2), None), None)
    assert found == {CURSOR: text(days=-1), "seen_at": text()}


def test_without_a_meeting_the_watermark_is_before_all_changes() -> None:
    found = strategy(account()).state_after(newest(), None)
    assert found == {CURSOR: "1970-01-01T00:00:00.000000Z", "seen_at": text()}


def test_a_watermark_that_has_not_moved_is_settled_later() -> None:
    # Given a state whose watermark was seen more than ten minutes ago
    before = {CURSOR: text(hours=-2), "seen_at": text(minutes=-11), "cancelled": "apart"}
    # Then it is settled, and what else the state says is kept
    found = strategy(account()).state_after(newest(text(hours=-2)), before)
    assert found == {**before, "settled": True}
    # And one that has moved is not
    moved = strategy(account()).state_after(newest(text(hours=-1)), {**before, "settled": True})
    assert moved == {CURSOR: text(hours=-1), "seen_at": text(), "cancelled": "apart"}


# -- cancelled meetings ---------------------------------------------------------------------------


def test_cancelled_meetings_that_are_hidden_are_read_apart_from_the_others() -> None:
    # Given an account that says that its list is filtered
    api = account(2, hides_cancelled=True)
    api.write(Write("cancel", 0))
    # When everything is read
    course = synced(strategy(api), {})
    # Then there are windows for both
    assert sorted(row["id"] for row in course.rows) == [1, 2]
    assert course.state["cancelled"] == "apart"
    sent = [one.params.get("show_deleted") for one in api.asked]
    assert sent == [None, "false", "true", "false", "true"]


def test_cancelled_meetings_that_are_listed_with_the_others_are_read_with_them() -> None:
    api = account(2)
    api.write(Write("cancel", 0))
    course = synced(strategy(api), {})
    assert course.state["cancelled"] == "listed"
    assert {one.params.get("show_deleted") for one in api.asked} == {None}


def cancelled_last(listed: bool) -> ScriptedApi:
    """An API whose newest page shows no cancelled meeting, but there is one."""
    body = {"metadata": {"paging": {"next_page": None}}}
    shown = {"id": 1, CURSOR: text(), "created_at": text(days=-1)}
    hidden = {"id": 7, CURSOR: text(days=-1), "created_at": text(days=-1), "canceled_at": text()}
    found = [hidden] if listed else []
    return ScriptedApi(
        *(Answer(rows, at(), body=body) for rows in ([shown], [hidden], found, found, [shown]))
    )


@pytest.mark.parametrize(
    ("listed", "said", "passes"), [(True, "listed", [None]), (False, "apart", ["false", "true"])]
)
def test_whether_a_cancelled_meeting_is_listed_is_found_out_by_its_id(
    listed: bool, said: str, passes: list[str | None]
) -> None:
    # Given
    api = cancelled_last(listed)
    # When
    reading = strategy(api).first(None)
    # Then a cancelled meeting is asked for, and then the same one without a filter
    assert [one.params for one in api.asked[:3]] == [
        WALK,
        {**NEWEST_FIRST, "show_deleted": "true"},
        {"ids[]": "7"},
    ]
    assert reading.state(True)["cancelled"] == said
    assert [one.params.get("show_deleted") for one in api.asked if "per_page" in one.params] == (
        passes
    )


def test_as_long_as_there_is_no_cancelled_meeting_it_is_not_known_how_they_are_listed() -> None:
    # Given a state that says otherwise
    api = account(1)
    reading = strategy(api).first({CURSOR: text(days=-9), "cancelled": "apart"})
    assert "cancelled" not in reading.state(True)
    # And so later syncs ask for both
    api.forget()
    synced(strategy(api), reading.state(True))
    assert [one.params for one in api.asked] == [WALK, {**WALK, "show_deleted": "true"}]


@pytest.mark.parametrize(
    ("known", "sent"), [("apart", ["false", "true"]), ("listed", [None]), (None, [None, "true"])]
)
def test_changes_are_read_as_the_state_says_that_cancelled_meetings_are_listed(
    known: str | None, sent: list[str | None]
) -> None:
    api = account(1)
    state = {CURSOR: text(), **({"cancelled": known} if known else {})}
    assert synced(strategy(api), state).state.get("cancelled") == known
    assert [one.params.get("show_deleted") for one in api.asked] == sent


def test_a_cancelled_meeting_where_there_should_be_none_does_not_end_the_reading_of_both() -> None:
    # Given a state that says that they are hidden, and an account that ignores the parameter
    api = account(3)
    api.write(Write("cancel", 0))
    answer = api.answer

    def unfiltered(asked: Asked) -> Answer:
        return answer(replace(asked, params={**asked.params, "show_deleted": ""}))

    api.answer = unfiltered  # type: ignore[method-assign]
    course = synced(strategy(api), {CURSOR: text(days=-9), "cancelled": "apart"})
    # Then both are read all the same
    assert {one.params["show_deleted"] for one in api.asked} == {"false", "true"}
    assert course.state["cancelled"] == "apart"


def test_meetings_that_changed_at_once_are_told_apart_by_their_ids() -> None:
    # Given four meetings that changed in the same moment
    api = account(4)
    api.write(Write("edit all"))
    course = synced(strategy(api), {CURSOR: text(days=-9), "cancelled": "listed"})
    # Then two pages are enough
    assert sorted(row["id"] for row in course.rows) == [1, 2, 3, 4]
    assert [one.page for one in api.asked] == [1, 2]


def test_a_cancelled_meeting_among_the_others_says_that_they_are_listed_from_then_on() -> None:
    # Given a list with a cancelled meeting, of which the state says nothing yet
    api = account(3)
    api.write(Write("cancel", 0))
    # When
    course = synced(strategy(api), {CURSOR: text(days=-9)})
    # Then it is not asked for apart
    assert course.state["cancelled"] == "listed"
    assert {one.params.get("show_deleted") for one in api.asked} == {None}


def test_what_a_filtered_list_shows_does_not_say_how_cancelled_meetings_are_listed() -> None:
    # Given an account that hides them, of which the state says nothing yet
    api = account(3, hides_cancelled=True)
    api.write(Write("cancel", 0))
    course = synced(strategy(api), {CURSOR: text(days=-9)})
    assert "cancelled" not in course.state
    assert sorted(row["id"] for row in course.rows) == [1, 2, 3]


# -- readings -------------------------------------------------------------------------------------


def test_a_first_sync_asks_for_the_newest_change_and_then_for_windows() -> None:
    # Given a single meeting
    api = account(1)
    course = synced(strategy(api), {})
    # Then
    oldest = {**OLDEST_FIRST, **COUNTED}
    assert [one.params for one in api.asked] == [
        WALK,
        {**NEWEST_FIRST, "show_deleted": "true"},
        {**oldest, "per_page": "1"},
        {**oldest, "created_at[gte]": api.rows[1]["created_at"]},
    ]
    assert course.rows == [api.rows[1]]


def test_a_row_that_two_pages_of_a_window_share_is_emitted_once() -> None:
    course = synced(strategy(account(5)), {})
    assert sorted(row["id"] for row in course.rows) == [1, 2, 3, 4, 5]


def test_what_was_last_changed_before_the_bound_is_not_emitted_when_everything_is_read() -> None:
    # Given five meetings, and a state from three days ago, of which ten minutes are read again
    api = account(5)
    reading = strategy(api).first({CURSOR: api.rows[3][CURSOR]})
    rows = [row["id"] for slice in reading.slices() for page in reading.read(slice) for row in page]
    assert sorted(rows) == [3, 4, 5]
    assert {slice.values["updated_since"] for slice in reading.slices()} == {
        (text(days=-3, minutes=-10))
    }


def test_changes_are_read_down_to_the_bound() -> None:
    # Given five meetings, and a state that knows of the third one
    api = account(5)
    course = synced(strategy(api), {CURSOR: api.rows[3][CURSOR], "cancelled": "listed"})
    # Then the page with the bound is the last one, and older rows on it are left out
    assert [row["id"] for row in course.rows] == [5, 4, 3]
    assert [(one.params, one.page) for one in api.asked] == [(WALK, 1), (WALK, 2)]
    assert course.state == {
        CURSOR: api.rows[5][CURSOR],
        "seen_at": text(seconds=1),
        "cancelled": "listed",
    }


def test_a_slice_of_changes_says_since_when_they_are() -> None:
    reading = strategy(account(1)).changes({CURSOR: text()})
    assert next(iter(reading.slices())).values == {"updated_since": text(minutes=-10)}


def test_changes_that_were_not_read_to_the_end_leave_the_state_as_it_was() -> None:
    state = {CURSOR: text(days=-3)}
    reading = strategy(account(5)).changes(state)
    list(reading.slices())
    assert reading.state(False) == state
    assert reading.state(True) != state


def test_the_windows_that_are_left_lead_to_the_state_of_the_first_sync() -> None:
    # Given
    api = account(5)
    state = {CURSOR: text(days=-1), "cancelled": "listed"}
    left = {
        "created_at_gte": api.rows[2]["created_at"],
        "created_at_lt": api.rows[4]["created_at"],
        "show_deleted": None,
        "updated_since": None,
    }
    # When
    reading = strategy(api).resume(state, [left])
    # Then
    (slice,) = reading.slices()
    assert slice.values == left
    assert [row["id"] for page in reading.read(slice) for row in page] == [2, 3]
    assert (reading.resumable, reading.state(True), reading.state(False)) == (True, state, state)


def test_a_state_more_than_a_day_ahead_of_the_clock_has_everything_read_from_the_start() -> None:
    api = account(1)
    list(strategy(api).changes({CURSOR: text(hours=24)}).slices())
    with pytest.raises(ReadEverything, match="ahead of Salesloft's clock") as caught:
        list(strategy(api).changes({CURSOR: text(hours=25)}).slices())
    assert caught.value.from_start


def test_thousands_of_changes_are_not_walked_through_where_that_costs_more() -> None:
    # Given more pages than are walked through before the last one worth it is looked at
    api = account(50)
    api.size = 1
    course = synced(strategy(api), {CURSOR: text(days=-99), "cancelled": "listed"})
    # Then that page, which lies behind the end of the list, is not asked for
    assert len(course.rows) == 50
    assert [one.page for one in api.asked] == list(range(1, 51))
