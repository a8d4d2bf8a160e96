"""HighLevel's events and appointments, with any writes between any two requests."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_meetings.providers.highlevel import appointments as appointments_module
from source_meetings.providers.highlevel import calendars as calendars_module
from source_meetings.providers.highlevel import windows as windows_module
from source_meetings.providers.highlevel.appointments import AppointmentsStrategy, Listed
from source_meetings.providers.highlevel.events import EventsStrategy, Stretch
from source_meetings.providers.highlevel.windows import DAY
from source_meetings.sync.reading import ReadEverything, State, UnusableState
from source_meetings.timestamps import millis
from unit_tests.logic.fakes import FakeHighLevel, Table, at, config_of_highlevel, synced, text

CURSOR = "dateUpdated"
BOTH = pytest.mark.parametrize("kind", [EventsStrategy, AppointmentsStrategy])


def strategy(kind: type[EventsStrategy], api: FakeHighLevel, **options: Any) -> EventsStrategy:
    return kind("events", CURSOR, config_of_highlevel(**options), api)


class Writer:
    """Makes random writes: new events, edits, and moves to another day or calendar."""

    def __init__(self, api: FakeHighLevel, seed: int) -> None:
        self._api = api
        self._random = Random(seed)
        self.rests = False

    def __call__(self) -> None:
        if self.rests:
            return
        api, random = self._api, self._random
        api.now += timedelta(seconds=random.choice([0, 0.2, 3, 100]))
        ids = list(api.events)
        calendar = random.choice(list(api.calendars))
        starts = at(
            days=random.choice([-700, -20, 0, 0, 1, 300]), microseconds=random.randrange(10**9)
        )
        kind = random.choice(["insert", "edit", "edit", "reschedule", "move", "delete"])
        if not ids or kind == "insert":
            api.insert(calendar, starts)
        elif kind == "edit":
            api.edit(random.choice(ids))
        elif kind == "reschedule":
            api.edit(random.choice(ids), startTime=starts.isoformat())
        elif kind == "move":
            api.edit(random.choice(ids), calendarId=calendar)
        else:
            api.edit(random.choice(ids), deleted=True)


@BOTH
@given(
    syncs=st.lists(
        st.tuples(
            st.dictionaries(st.integers(1, 12), st.integers(1, 3), max_size=4),  # writes before
            st.none() | st.integers(0, 6),  # killed after this many pages
        ),
        min_size=1,
        max_size=4,
    ),
    options=st.sampled_from([{}, {"calendar_ids": ["two"]}, {"look_back_days": 900}]),
    whole_seconds=st.booleans(),
    skew=st.sampled_from([timedelta(), timedelta(hours=-2), timedelta(hours=2)]),
    workers=st.integers(1, 2),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=150)
def test_after_any_writes_during_syncs_of_which_some_are_killed_the_table_becomes_correct(
    kind: type[EventsStrategy],
    syncs: list[tuple[dict[int, int], int | None]],
    options: dict[str, Any],
    whole_seconds: bool,
    skew: timedelta,
    workers: int,
    seed: int,
) -> None:
    # Given two calendars, and answers that are truncated at four events
    api = FakeHighLevel("one", "two")
    api.cap, api.whole_seconds, api.skew, api.overhang = 4, whole_seconds, skew, seed % 2 * DAY
    write = Writer(api, seed)
    for _ in range(8):
        write()
    table, state = Table(CURSOR), dict[str, Any]()
    with (
        patch.object(calendars_module, "_SUSPICIOUS", 4),
        patch.object(windows_module, "_ROWS_PER_ANSWER", 3),
        patch.object(appointments_module, "_IDS_PER_SLICE", 2),
    ):
        # When there are writes during syncs, some of which are killed
        for writes, killed in syncs:
            api.forget()
            for number, times in writes.items():
                for _ in range(times):
                    api.before(number, write)
            course = synced(
                strategy(kind, api, **options), state, table, workers=workers, pages_at_most=killed
            )
            assert course.error is None
            state = course.state
        # And none during the last one
        write.rests = True
        synced(strategy(kind, api, **options), state, table)
    # Then the table is correct, except for events outside the range
    calendars = options.get("calendar_ids") or list(api.calendars)
    truth = {id: row for id, row in api.events.items() if row["calendarId"] in calendars}
    found = table.by_id()
    assert {id: found.get(id) for id in truth} == truth


@BOTH
def test_a_sync_without_changes_emits_nothing(kind: type[EventsStrategy]) -> None:
    # Given
    api = FakeHighLevel("one", "two")
    write = Writer(api, 1)
    for _ in range(20):
        write()
    # When everything has been read
    state = synced(strategy(kind, api)).state
    # Then the next sync emits nothing
    assert synced(strategy(kind, api), state).rows == []


@BOTH
def test_the_bound_of_a_first_sync_is_the_newest_stamp_of_its_first_answer(
    kind: type[EventsStrategy],
) -> None:
    # Given a calendar, and another one that was edited later
    api = FakeHighLevel("one", "two")
    api.insert("one", at())
    api.now = at(hours=1)
    api.insert("two", at())
    state = synced(strategy(kind, api)).state
    assert (state[CURSOR], state["newest"]) == (text(), text(hours=1))
    # When nothing changes, then the bound is the newest stamp of all. When the first calendar is
    # edited, then it is the stamp of that edit
    assert synced(strategy(kind, api), state).state[CURSOR] == text(hours=1)
    api.now = at(hours=2)
    api.edit("e1")
    assert synced(strategy(kind, api), state).state[CURSOR] == text(hours=2)


@BOTH
def test_changes_that_were_not_read_completely_do_not_advance_the_state(
    kind: type[EventsStrategy],
) -> None:
    # Given an event in each of two calendars
    api = FakeHighLevel("one", "two")
    first, second = api.insert("one", at()), api.insert("two", at())
    state = synced(strategy(kind, api)).state
    # When both have changed, and the list of the second one fails
    api.now = at(hours=1)
    api.edit(first)
    api.edit(second)
    api.forget()
    api.breaks_at(3)
    course = synced(strategy(kind, api), state)
    assert course.error is not None
    # Then no state on the way promises anything new
    assert [one for one in (*course.saved, course.state) if one != state] == []


# -- unread stretches -----------------------------------------------------------------------------


def killed_first_sync(api: FakeHighLevel, pages: int) -> State:
    with patch.object(appointments_module, "_IDS_PER_SLICE", 2):
        return synced(strategy(AppointmentsStrategy, api), pages_at_most=pages).state


def test_unread_appointments_are_saved_as_one_stretch_of_start_times() -> None:
    # Given six events, and a first sync that is killed during the second of three batches
    api = FakeHighLevel()
    for number in range(6):
        api.insert("one", at(minutes=number))
    state = killed_first_sync(api, 3)
    (left,) = state["scan"]["pending"]
    assert left["startTime"] == str(millis(at(minutes=2)))
    assert left["endTime"] == str(millis(at(minutes=5)))
    # When it is resumed, then only the events in that stretch are requested
    api.forget()
    synced(strategy(AppointmentsStrategy, api), state)
    asked = [one.partition["eventId"] for one in api.asked if one.endpoint == "appointment"]
    assert asked[:4] == ["e3", "e4", "e5", "e6"]


def test_stretches_with_events_between_them_are_not_joined() -> None:
    # Given two unread stretches of a calendar
    api = FakeHighLevel()
    for number in range(6):
        api.insert("one", at(minutes=number))
    state = synced(strategy(AppointmentsStrategy, api)).state
    minute = [str(millis(at(minutes=number))) for number in range(6)]
    left = [
        {"calendarId": "one", "startTime": minute[0], "endTime": minute[1]},
        {"calendarId": "one", "startTime": minute[3], "endTime": minute[5]},
    ]
    # When they are resumed
    with patch.object(appointments_module, "_IDS_PER_SLICE", 2):
        reading = strategy(AppointmentsStrategy, api).resume(state, left)
        slices = list(reading.slices())
    # Then they are split into batches, and saved as the same two stretches
    assert [len(slice.held.events) for slice in slices] == [2, 2, 1]
    assert reading.pending(slices) == left


def test_a_batch_of_one_stretch_is_not_joined_with_the_next_stretch() -> None:
    # Given a stretch of three batches, and another one
    api = FakeHighLevel()
    for number in range(9):
        api.insert("one", at(minutes=number))
    state = synced(strategy(AppointmentsStrategy, api)).state
    minute = [str(millis(at(minutes=number))) for number in range(9)]
    left = [
        {"calendarId": "one", "startTime": minute[0], "endTime": minute[5]},
        {"calendarId": "one", "startTime": minute[7], "endTime": minute[8]},
    ]
    with patch.object(appointments_module, "_IDS_PER_SLICE", 2):
        reading = strategy(AppointmentsStrategy, api).resume(state, left)
        first, second, third, last = reading.slices()
    # When the last batch of the first one was read, then there is a gap before the second one
    assert reading.pending([first, second, last]) == [{**left[0], "endTime": minute[3]}, left[1]]
    assert reading.pending([second, last]) == [second.values, left[1]]
    assert reading.pending([third, last]) == [third.values, left[1]]


def test_appointments_that_are_gone_are_counted_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given three events, none of which is found by its id
    api = FakeHighLevel()
    for number in range(3):
        api.insert("one", at(minutes=number))
    api.before(3, api.events.clear)
    with caplog.at_level("INFO", logger="airbyte.source_meetings"):
        assert synced(strategy(AppointmentsStrategy, api)).rows == []
    counts = [one.args[1] for one in caplog.records if isinstance(one.args, tuple)]
    assert counts[-3:] == [1, 2, 3]


def test_events_that_are_listed_past_the_end_of_a_stretch_are_left_out() -> None:
    # Given an API that lists events past the end of the window
    api = FakeHighLevel()
    api.overhang = DAY
    for number in range(3):
        api.insert("one", at(minutes=number))
    state = synced(strategy(AppointmentsStrategy, api)).state
    start = str(millis(at()))
    left = {"calendarId": "one", "startTime": start, "endTime": start}
    reading = strategy(AppointmentsStrategy, api).resume(state, [left])
    api.forget()
    assert [list(slice.held.events) for slice in reading.slices()] == [["e1"]]
    # And no more than that is asked for
    assert api.windows() == [("one", int(start), int(start) + 1)]


def test_an_event_without_a_start_comes_first_in_its_stretch() -> None:
    listed = Listed(Stretch("one", 5, 9))
    listed.add([{"id": "late", "startTime": "1970-01-01T00:00:00.009Z"}, {"id": "x"}])
    (batch,) = listed.batches(0)
    assert (list(batch.events), batch.stretch) == (["x", "late"], Stretch("one", 5, 9))


def test_a_deleted_event_that_is_not_found_by_its_id_is_emitted_from_the_list() -> None:
    # Given one event that is listed as deleted, and one that is deleted after it was listed
    api = FakeHighLevel()
    deleted, gone = api.insert("one", at(), deleted=True), api.insert("one", at())
    found, answer = api.events[deleted], api.answer

    def without_the_deleted(asked: Any) -> Any:
        if asked.endpoint == "appointment":
            api.events.clear()
        return answer(asked)

    api.answer = without_the_deleted  # type: ignore[method-assign]
    assert gone != deleted
    assert synced(strategy(AppointmentsStrategy, api)).rows == [found]


@BOTH
def test_an_event_that_moves_while_lists_are_read_ends_up_as_it_is_after_the_move(
    kind: type[EventsStrategy],
) -> None:
    # Given an event whose calendar is read first, because the other one is empty
    api = FakeHighLevel("one", "two", tick=timedelta())
    api.insert("two", at())
    # When it moves to the other calendar, with the same stamp, before that one is read
    api.before(4, lambda: api.edit("e1", calendarId="one"))
    table = Table(CURSOR)
    course = synced(strategy(kind, api), None, table)
    # Then the version from before the move may be emitted last, so the next sync emits it again
    synced(strategy(kind, api), course.state, table)
    assert table.by_id() == api.events
    # And the sync after that does not
    course = synced(strategy(kind, api), course.state)
    assert synced(strategy(kind, api), course.state).rows == []


# -- states that cannot be used -------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        {CURSOR: None},
        {CURSOR: "soon"},
        {CURSOR: "1969-12-31T00:00:00Z"},
        {"scope": "another"},
    ],
)
def test_a_damaged_state_or_one_of_other_calendars_is_refused_before_any_request(
    damage: State,
) -> None:
    # Given a state that is damaged, or from other configured calendars
    api = FakeHighLevel()
    state = {**synced(strategy(EventsStrategy, api)).state, **damage}
    api.forget()
    # When a sync starts or resumes with it, then it is refused
    with pytest.raises(UnusableState):
        strategy(EventsStrategy, api).changes(state)
    with pytest.raises(UnusableState):
        strategy(EventsStrategy, api).resume(state, [])
    # And no request was sent
    assert api.asked == []


def test_a_state_can_be_used_if_only_the_order_of_the_configured_calendars_changed() -> None:
    api = FakeHighLevel("one", "two")
    state = synced(strategy(EventsStrategy, api, calendar_ids=["one", "two"])).state
    strategy(EventsStrategy, api, calendar_ids=["two", "one", "two"]).changes(state)


@pytest.mark.parametrize(
    "damage", [{"calendarId": 7}, {"startTime": 0}, {"endTime": None}, {"startTime": "-1"}]
)
def test_a_malformed_stretch_is_refused(damage: State) -> None:
    values = {"calendarId": "one", "startTime": "0", "endTime": "1"}
    assert Stretch.of(values).values() == values
    with pytest.raises(UnusableState):
        Stretch.of({**values, **damage})


def test_with_a_state_far_ahead_of_the_clock_everything_is_read_again() -> None:
    api = FakeHighLevel()
    api.insert("one", at())
    state = {**synced(strategy(EventsStrategy, api)).state, CURSOR: "2027-01-01T00:00:00Z"}
    assert [row["id"] for row in synced(strategy(EventsStrategy, api), state).rows] == ["e1"]
    with pytest.raises(ReadEverything, match="ahead of HighLevel's clock") as caught:
        strategy(EventsStrategy, api).changes(state)
    assert caught.value.from_start


def test_a_state_belongs_to_the_calendars_that_were_chosen() -> None:
    api = FakeHighLevel("one", "two")
    api.insert("one", at())
    state = synced(strategy(EventsStrategy, api, calendar_ids=["one"])).state
    api.forget()
    for chosen in ({}, {"calendar_ids": ["two"]}):
        with pytest.raises(UnusableState):
            strategy(EventsStrategy, api, **chosen).changes(state)
    assert api.asked == []


def test_calendars_that_were_small_are_read_with_one_request_each_from_then_on() -> None:
    # Given two calendars, of which the first one has more events than the other
    api = FakeHighLevel("one", "two")
    for calendar in ("one", "two", "one"):
        api.insert(calendar, at(days=-100))
    state = synced(strategy(EventsStrategy, api)).state
    assert state["rows_of_largest_calendar"] == 2
    # When a later sync reads them
    api.forget()
    synced(strategy(EventsStrategy, api), state)
    # Then each is one request
    assert [calendar for calendar, _, _ in api.windows()] == ["one", "two"]
    # And not if the state does not say that they are small
    api.forget()
    synced(strategy(EventsStrategy, api), {**state, "rows_of_largest_calendar": "few"})
    assert len(api.windows()) > 2
