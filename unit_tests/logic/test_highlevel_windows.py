"""Reading all events of a calendar, in windows of start time whose answers are complete."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_meetings import timestamps
from source_meetings.providers.highlevel import calendars as calendars_module
from source_meetings.providers.highlevel import windows as windows_module
from source_meetings.providers.highlevel.calendars import Location
from source_meetings.providers.highlevel.events import EventsStrategy
from source_meetings.providers.highlevel.windows import DAY, EventWindows
from source_meetings.strategies.changed_rows import Before, ChangedRows, RowFields
from source_meetings.sync.reading import Misconfigured
from unit_tests.logic.fakes import LOCATION, FakeHighLevel, at, config_of_highlevel, synced

MILLISECOND = timedelta(milliseconds=1)
START, END = timestamps.millis(at(days=-900)), timestamps.millis(at(days=365))
NOW_MILLIS = timestamps.millis(at())


def location(api: FakeHighLevel, **options: Any) -> Location:
    return Location(api, config_of_highlevel(**options), "events")


def windows(
    api: FakeHighLevel,
    *,
    first: int = START,
    days_ahead: int = 365,
    rows_before: int | None = None,
) -> EventWindows:
    end = NOW_MILLIS + days_ahead * DAY
    return EventWindows(location(api), first, end, days_ahead, rows_before)


def ids(answers: Iterator[Any]) -> set[str]:
    return {row["id"] for answer in answers for row in answer.rows}


def days(api: FakeHighLevel) -> list[tuple[float, float]]:
    """Return the requested windows, in days from now."""
    return [
        ((start - NOW_MILLIS) / DAY, (end - NOW_MILLIS) / DAY) for _, start, end in api.windows()
    ]


# -- windows --------------------------------------------------------------------------------------


def test_the_first_window_is_the_future_and_the_last_month_and_the_next_one_is_the_rest() -> None:
    api = FakeHighLevel()
    list(windows(api).read("one", START, END))
    assert days(api) == [(-30, 365), (-900, -30)]


def test_after_an_empty_window_the_next_one_is_twelve_times_as_long() -> None:
    api = FakeHighLevel()
    list(windows(api, days_ahead=0).read("one", START, NOW_MILLIS))
    assert days(api) == [(-30, 0), (-390, -30), (-900, -390)]


def test_a_window_that_would_reach_back_before_highlevel_covers_all_the_rest() -> None:
    # Given 20 events in 60 days, so the next window would be 1,800 days long
    api = FakeHighLevel()
    for number in range(21):
        api.insert("one", at(days=3 * number - 30))
    first = timestamps.millis(timestamps.parse("2000-01-01"))
    list(windows(api, first=first).read("one", first, END))
    assert [(start, end) for _, start, end in api.windows()] == [
        (timestamps.millis(at(days=-30)), END),
        (first, timestamps.millis(at(days=-30))),
    ]


@pytest.mark.parametrize(("days_later", "lists"), [(90, 1), (91, 2)])
def test_the_rest_is_read_at_once_if_it_is_no_more_than_three_windows(
    days_later: int, lists: int
) -> None:
    # Given windows of thirty days, that many days after hardly any events are earlier
    api = FakeHighLevel()
    before = timestamps.millis(timestamps.parse("2016-01-01"))
    first, end = before - 400 * DAY, before + days_later * DAY
    list(EventWindows(location(api), first, end, 0).read("one", first, end))
    assert len(api.windows()) == lists


@pytest.mark.parametrize(
    ("listed", "chosen", "words"),
    [
        ((), None, "has no calendars"),
        ((), ["two"], "lists no calendar two"),
        (("one",), ["two"], "lists no calendar two"),
        (("one",), ["one"], None),
        (("one",), None, None),
    ],
)
def test_calendars_that_are_missing_are_told_in_the_log(
    listed: tuple[str, ...],
    chosen: list[str] | None,
    words: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = FakeHighLevel()
    api.calendars = dict.fromkeys(listed, True)
    location(api, calendar_ids=chosen).calendars()
    said = [one.getMessage() for one in caplog.records]
    assert len(said) == (1 if words else 0)
    assert all(words in one for one in said if words)


@pytest.mark.parametrize(("rows_before", "lists"), [(0, 1), (2000, 1), (2001, 2), (None, 2)])
def test_a_calendar_that_was_small_in_the_last_sync_is_read_in_one_window(
    rows_before: int | None, lists: int
) -> None:
    api = FakeHighLevel()
    list(windows(api, rows_before=rows_before).read("one", START, END))
    assert len(api.asked) == lists


def test_the_width_of_a_window_follows_from_the_density_in_the_previous_one() -> None:
    # Given 20 events a day over the last hundred days, and none in the future
    api = FakeHighLevel()
    for number in range(2000):
        api.insert("one", at(minutes=-72 * number))
    found = windows(api)
    assert len(ids(found.read("one", START, END))) == 2000
    # Then each window is meant for about 600, by the time between the first and the last event
    assert [round(end - start) for start, end in days(api)][:3] == [395, 30, 30]
    assert found.largest == 2000


def test_a_few_close_events_do_not_make_the_next_window_narrow() -> None:
    # Given 19 events within an hour, and none before that
    api = FakeHighLevel()
    for number in range(19):
        api.insert("one", at(minutes=-3 * number))
    list(windows(api).read("one", START, END))
    assert days(api) == [(-30, 365), (-900, -30)]


def test_twenty_events_say_how_dense_others_are() -> None:
    # Given 20 events within a day
    api = FakeHighLevel()
    for number in range(20):
        api.insert("one", at(hours=-24 / 19 * number))
    list(windows(api).read("one", START, END))
    # Then about thirty times as much time has 600
    assert days(api)[1] == (pytest.approx(-60, abs=0.01), -30)


def test_events_that_start_at_once_say_nothing_of_how_dense_others_are() -> None:
    api = FakeHighLevel()
    for _ in range(21):
        api.insert("one", at())
    list(windows(api).read("one", START, END))
    assert days(api) == [(-30, 365), (-900, -30)]


def test_no_window_is_shorter_than_a_day() -> None:
    # Given thousands of events within an hour
    api = FakeHighLevel()
    for number in range(3001):
        api.insert("one", at(seconds=-number))
    list(windows(api).read("one", START, END))
    assert days(api)[1] == (-31, -30)


def test_the_largest_calendar_counts_the_rows_of_all_answers() -> None:
    # Given an empty calendar, and 150 events in answers that are cut off at a hundred
    api = FakeHighLevel()
    found = windows(api)
    list(found.read("one", START, END))
    assert found.largest == 0
    api.cap = 100
    for number in range(150):
        api.insert("one", at(minutes=number))
    answers = list(found.read("one", START, END))
    assert found.largest == sum(len(one.rows) for one in answers) > 150


def test_an_answer_that_may_be_cut_off_is_cut_just_after_the_start_of_its_middle_event() -> None:
    api = FakeHighLevel()
    with patch.object(calendars_module, "_SUSPICIOUS", 4):
        for hours in (1, 2, 3, 8):
            api.insert("one", at(hours=hours))
        list(location(api).all_events("one", NOW_MILLIS, END))
    middle = timestamps.millis(at(hours=3)) + 1
    assert api.windows() == [
        ("one", NOW_MILLIS, END),
        ("one", NOW_MILLIS, middle),
        ("one", middle, END),
    ]


def test_the_size_of_the_largest_calendar_is_recorded() -> None:
    # Given a calendar of three events and one of two
    api = FakeHighLevel("one", "two")
    for calendar, number in (("one", 3), ("two", 2)):
        for _ in range(number):
            api.insert(calendar, at())
    # When both are read
    found = windows(api)
    for calendar in api.calendars:
        list(found.read(calendar, START, END))
    # Then
    assert found.largest == 3


@given(
    starts=st.lists(
        st.integers(START, END - 1) | st.integers(NOW_MILLIS, NOW_MILLIS + 5), max_size=60
    ),
    aimed_at=st.integers(1, 20),
    cap=st.sampled_from([None, 4, 8]),
    rows_before=st.sampled_from([None, 0, 3000]),
)
@settings(max_examples=60)
def test_every_event_is_read_at_any_density(
    starts: list[int], aimed_at: int, cap: int | None, rows_before: int | None
) -> None:
    # Given events of any density, and answers that may be silently truncated. Fewer events start at
    # the same time than fit into an answer
    starts = [start for n, start in enumerate(starts) if starts[:n].count(start) < 3]
    api = FakeHighLevel()
    api.cap = cap
    for start in starts:
        api.insert("one", timestamps.EPOCH + start * MILLISECOND)
    with (
        patch.object(calendars_module, "_SUSPICIOUS", 4),
        patch.object(windows_module, "_ROWS_PER_ANSWER", aimed_at),
    ):
        found = ids(windows(api, rows_before=rows_before).read("one", START, END))
    assert found == set(api.events)


# -- the first answer of a sync -------------------------------------------------------------------


def changes(clock: Any = None) -> ChangedRows:
    fields = RowFields("id", "dateUpdated", "startTime")
    return ChangedRows(fields, Before(), clock or at(hours=1))


def test_the_first_answer_of_a_sync_is_used_once_instead_of_a_request() -> None:
    api = FakeHighLevel("one", "two")
    api.insert("one", at())
    found = windows(api)
    # When the first answer of a sync is the first window of a calendar
    found.ask_first(["one", "two"], changes())
    assert [calendar for calendar, *_ in api.windows()] == ["one"]
    # And another calendar is requested
    assert ids(found.read("two", START, END)) == set()
    assert days(api) == [(-30, 365), (-30, 365), (-900, -30)]
    # Then the reader of that calendar only requests the next window
    api.forget()
    assert len(ids(found.read("one", START, END))) == 1
    assert days(api) == [(-900, -30)]
    # And if the calendar is read a second time, it is requested
    list(found.read("one", START, END))
    assert len(api.windows()) == 3


def test_up_to_five_calendars_are_tried_until_one_has_a_stamp() -> None:
    api = FakeHighLevel(*"abcdefg")
    found = windows(api)
    # When no calendar has an event, then five are tried
    found.ask_first(list("abcdefg"), changes())
    assert [calendar for calendar, *_ in api.windows()] == list("abcde")
    # And with an event in the second one, the third one is not tried
    api.forget()
    api.insert("b", at())
    found = windows(api)
    found.ask_first(list("abcdefg"), changes())
    assert [calendar for calendar, *_ in api.windows()] == list("ab")


def test_a_calendar_that_was_tried_before_the_first_stamp_is_requested_again() -> None:
    # Given an event that is created in the first calendar after its empty answer
    api = FakeHighLevel("one", "two")
    api.insert("two", at())
    found = windows(api)
    api.before(2, lambda: api.insert("one", at()))
    found.ask_first(["one", "two"], changes())
    # Then the event is read
    assert len(ids(found.read("one", START, END))) == 1


def test_large_first_answers_are_held_in_memory_one_at_a_time() -> None:
    # Given a calendar with more than two thousand events in the future, and a worker that reads
    # them
    api = FakeHighLevel("one", "two")
    for _ in range(2001):
        api.insert("one", at())
    found = windows(api)
    found.ask_first(["one", "two"], changes())
    reader = found.read("one", START, END)
    next(reader)
    # When another worker wants to read another calendar
    other = Thread(target=lambda: list(found.read("two", START, END)), daemon=True)
    other.start()
    other.join(0.1)
    # Then it sends no request until the first worker has finished the answer
    assert [calendar for calendar, *_ in api.windows()] == ["one"]
    list(reader)
    other.join(10)
    assert {calendar for calendar, *_ in api.windows()} == {"one", "two"}


# -- truncated answers ----------------------------------------------------------------------------


def listed(api: FakeHighLevel, cap: int | None) -> set[str]:
    api.cap = cap
    return ids(location(api).all_events("one", START, END))


@pytest.mark.parametrize("events", [1, 99, 101, 150])
def test_an_answer_whose_length_is_not_a_round_hundred_is_trusted(events: int) -> None:
    api = FakeHighLevel()
    for number in range(events):
        api.insert("one", at(minutes=number))
    assert len(listed(api, None)) == events
    assert len(api.asked) == 1


def test_a_round_hundred_is_trusted_if_its_halves_have_no_other_event() -> None:
    # Given 300 events, of which 200 start before or at the median
    api = FakeHighLevel()
    for number in range(300):
        api.insert("one", at(minutes=150 if 100 <= number < 200 else number))
    assert len(listed(api, None)) == 300
    # Then the window is split just after the median, and the half with 200 is not split again
    middle = timestamps.millis(at(minutes=150)) + 1
    assert [(start, end) for _, start, end in api.windows()] == [
        (START, END),
        (START, middle),
        (middle, END),
    ]


@pytest.mark.parametrize("events", [101, 250, 399])
def test_the_window_of_a_truncated_answer_is_halved_until_its_parts_are_complete(
    events: int,
) -> None:
    api = FakeHighLevel()
    for number in range(events):
        api.insert("one", at(minutes=number))
    assert listed(api, 100) == set(api.events)
    # And no window is requested twice
    assert len(api.windows()) == len(set(api.windows()))


def test_many_events_that_start_together_are_separated_from_the_others() -> None:
    # Given 99 events at the very start of the window, so the median is there
    api = FakeHighLevel()
    for _ in range(99):
        api.insert("one", timestamps.EPOCH + START * MILLISECOND)
    api.insert("one", at())
    api.insert("one", at(minutes=1))
    assert listed(api, 100) == set(api.events)


# -- calendars ------------------------------------------------------------------------------------


def test_active_calendars_come_first() -> None:
    api = FakeHighLevel("old", "new")
    api.calendars["old"] = False
    assert location(api).calendars().ids == ["new", "old"]
    assert api.asked[0].params == {"locationId": LOCATION, "showDrafted": "true"}


def test_the_configured_calendars_are_read_once_each_in_their_order() -> None:
    api = FakeHighLevel("one", "two")
    chosen = ["two", "elsewhere", "two"]
    assert location(api, calendar_ids=chosen).calendars().ids == ["two", "elsewhere"]


def test_a_missing_calendar_is_skipped_if_it_was_listed_and_an_error_if_it_was_configured() -> None:
    # Given a calendar that no longer exists
    api = FakeHighLevel("one")
    # When it was listed before, then it has no rows
    assert location(api).events("gone", START, END).rows == []
    assert [one.endpoint for one in api.asked] == ["events", "calendars"]
    # And when it is configured, then the error names the setting
    api.forget()
    with pytest.raises(Misconfigured, match="Check provider.calendar_ids"):
        location(api, calendar_ids=["gone"]).events("gone", START, END)
    assert [one.endpoint for one in api.asked] == ["events"]


def test_a_404_for_a_calendar_that_is_still_listed_is_an_error() -> None:
    # Given a calendar that is listed, but whose events are a 404
    api = FakeHighLevel("one")
    listing = location(api)
    api.before(1, lambda: api.calendars.pop("one"))
    api.before(2, lambda: api.calendars.update(one=True))
    with pytest.raises(Misconfigured, match="calendar or endpoint does not exist"):
        listing.events("one", START, END)


# -- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "read_from", "read_to"),
    [
        ({}, "2000-01-01T00:00:00Z", at(days=365)),
        ({"look_ahead_days": 0}, "2000-01-01T00:00:00Z", at()),
        ({"start_date": "2026-05-01"}, "2026-05-01T00:00:00Z", at(days=365)),
        ({"look_back_days": 7}, "2000-01-01T00:00:00Z", at(days=365)),
    ],
)
def test_a_first_sync_covers_the_start_date_to_the_end_of_the_look_ahead(
    options: Any, read_from: str, read_to: Any
) -> None:
    # Given
    api = FakeHighLevel(tick=timedelta())
    # When
    state = synced(
        EventsStrategy("events", "dateUpdated", config_of_highlevel(**options), api)
    ).state
    # Then
    assert state["read_from"] == timestamps.millis(timestamps.parse(read_from))
    assert state["read_to"] == timestamps.millis(read_to)


@pytest.mark.parametrize(
    ("options", "read_from"),
    [
        ({"look_back_days": 7}, at(days=-8)),
        ({"look_back_days": 0}, at(days=-1)),
        ({"look_back_days": 7, "start_date": "2026-05-30"}, at(days=-2, hours=-12)),
    ],
)
def test_look_back_days_limit_later_syncs_to_that_many_days_before_the_bound(
    options: Any, read_from: Any
) -> None:
    # Given a bound of yesterday
    api = FakeHighLevel(tick=timedelta())
    api.now = at(days=-1)
    api.insert("one", at())
    strategy = EventsStrategy("events", "dateUpdated", config_of_highlevel(**options), api)
    state = synced(strategy).state
    api.now = at()
    assert synced(strategy, state).state["read_from"] == timestamps.millis(read_from)
