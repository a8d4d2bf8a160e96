"""Close's meetings, with any writes between any two requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_meetings.providers.close import density, windows
from source_meetings.providers.close.list_pages import MeetingList
from source_meetings.providers.close.meetings import MeetingsStrategy
from source_meetings.providers.close.windows import Window, WindowReader
from source_meetings.sync.reading import State, Untrustworthy, UnusableState
from source_meetings.timestamps import parse
from unit_tests.logic.fakes import FakeClose, Table, at, synced, text

CURSOR = "date_updated"


def strategy(api: FakeClose, **options: Any) -> MeetingsStrategy:
    config = {"provider": {}, "start_date": options.pop("start_date", None)}
    return MeetingsStrategy("meetings", CURSOR, config, api, **options)


def aim_at(rows: int) -> ExitStack:
    """Make windows as wide as this number of rows needs."""
    stack = ExitStack()
    for module in (density, windows):
        stack.enter_context(patch.object(module, "ROWS_AIMED_AT", rows))
    return stack


# -- windows --------------------------------------------------------------------------------------


def window(start: Any = None, end: Any = None) -> Window:
    return Window(start, end, at())


def read(api: FakeClose, *wanted: Window) -> list[str]:
    return read_with(WindowReader(MeetingList(api)), *wanted)


def read_with(reader: WindowReader, *wanted: Window) -> list[str]:
    return [row["id"] for one in wanted for answer in reader.read(one) for row in answer.rows]


def bounds(api: FakeClose) -> list[tuple[str | None, str | None]]:
    names = ("date_created__gte", "date_created__lt")
    return [tuple(one.params.get(name) for name in names) for one in api.asked]  # type: ignore[misc]


def test_a_window_that_fits_a_page_is_one_request() -> None:
    api = FakeClose()
    for _ in range(3):
        api.insert(at())
    assert len(read(api, window(at(days=-1), at(days=1)))) == 3
    assert bounds(api) == [("2026-05-31T12:00:00+00:00", "2026-06-02T12:00:00+00:00")]


def test_an_open_window_that_does_not_fit_a_page_is_split_at_the_time_of_its_creation() -> None:
    # Given more meetings than fit on a page
    api = FakeClose()
    for number in range(4):
        api.insert(at(days=number - 2))
    # When they are read, then none is missing
    assert sorted(read(api, window())) == ["m1", "m2", "m3", "m4"]
    # And the window was split at the time when it was created
    assert bounds(api)[:3] == [
        (None, None),
        ("2026-06-01T12:00:00+00:00", None),
        (None, "2026-06-01T12:00:00+00:00"),
    ]


def test_a_second_that_does_not_fit_a_page_is_read_with_skip() -> None:
    # Given seven meetings in one second, and pages of three
    api = FakeClose()
    for number in range(7):
        api.insert(at(microseconds=number))
    with aim_at(2):
        found = read(api, window(at(), at(seconds=1)))
    # Then each page starts with the last row of the previous one
    assert set(found) == set(api.meetings)
    assert [one.page for one in api.asked] == [None, 2, 4]


def test_a_full_second_with_a_meeting_without_date_created_is_an_error() -> None:
    # Given more than a page of meetings in one second, one of them without a date_created
    api = FakeClose()
    for _ in range(4):
        api.insert(at())
    page = api.answer

    def answer(asked: Any) -> Any:
        found = page(asked)
        found.rows[0]["date_created"] = None
        return found

    api.answer = answer  # type: ignore[method-assign]
    # When the second is read, then the answer is not trusted
    with pytest.raises(Untrustworthy, match="date_created does not confirm that second"):
        read(api, window(at(), at(seconds=1)))


@pytest.mark.parametrize("starts", ["0001-01-01T05:00:00Z", "9999-12-31T05:00:00Z"])
def test_each_end_of_the_calendar_can_be_read_if_it_fits_a_page(starts: str) -> None:
    # Given a full page of meetings at one end of the calendar, and others
    api = FakeClose()
    for _ in range(3):
        api.insert(parse(starts))
    for number in range(9):
        api.insert(at(days=number))
    # When they are read, then none is missing
    with aim_at(2):
        assert set(read(api, window())) == set(api.meetings)
    # And with one more meeting at that end, the read fails
    api.insert(parse(starts))
    with aim_at(2), pytest.raises(Untrustworthy, match="at the end of the calendar"):
        read(api, window())


starts = st.integers(0, 40).map(lambda n: at(seconds=n)) | st.datetimes(
    at(days=-20000).replace(tzinfo=None), at(days=20000).replace(tzinfo=None)
).map(lambda moment: moment.replace(tzinfo=at().tzinfo))


@given(meetings=st.lists(starts, max_size=40), most=st.integers(1, 24), seed=st.integers(0, 99))
@settings(max_examples=100)
def test_the_windows_together_contain_every_meeting(
    meetings: list[Any], most: int, seed: int
) -> None:
    # Given meetings of any density, in a random order
    api = FakeClose()
    api.shuffle = lambda id: crc32(f"{id} {seed}".encode())
    for moment in meetings:
        api.insert(moment)
    with aim_at(2):
        cut = WindowReader(MeetingList(api)).cut_everything(at(), most)
        found = read(api, *cut)
    # Then the windows are adjacent, from the one without an end, which is the first, to the one
    # without a beginning, and no meeting is missing
    assert len(cut) <= most + 1
    future, *past = cut
    assert future.end is None
    assert [one.start for one in (*past, future)] == [None, *(one.end for one in past)]
    assert set(found) == set(api.meetings)


def spread_evenly(chance: Random) -> list[int]:
    return [chance.randrange(1000 * 86_400) for _ in range(chance.randrange(300, 2000))]


def in_bursts(chance: Random) -> list[int]:
    found: list[int] = []
    for _ in range(chance.randrange(1, 25)):
        begin, meetings = chance.randrange(1000 * 86_400), chance.randrange(2, 300)
        # Windows have whole seconds, so one second must not have a large part of a page.
        length = chance.choice([meetings // 15 + 1, 90, 3600])
        found += [
            begin + chance.randrange(max(length, meetings // 15 + 1)) for _ in range(meetings)
        ]
    return found


def on_working_days(chance: Random) -> list[int]:
    days = [day * 86_400 for day in range(700) if day % 7 < 5]
    return [chance.choice(days) + 900 * chance.randrange(32) for _ in range(1500)]


@pytest.mark.parametrize("order", ["newest first", "oldest first"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [spread_evenly, in_bursts, on_working_days])
def test_a_first_sync_takes_two_requests_per_hundred_meetings_in_bursts_and_evenly_spread(
    spread: Callable[[Random], list[int]], seed: int, order: str
) -> None:
    # Given meetings of the last years, in chronological order
    api = FakeClose(page_size=100)
    for seconds in sorted(spread(Random(seed))):
        api.insert(at(seconds=-seconds))
    sign = -1 if order == "newest first" else 1
    api.shuffle = lambda id: sign * parse(api.meetings[id]["date_created"]).timestamp()
    # When they are read as a first sync does
    reader = WindowReader(MeetingList(api))
    found = read_with(reader, *reader.cut_everything(at(), 24))
    # Then that took the probes, one request per window, and two per hundred meetings at most
    assert set(found) == set(api.meetings)
    assert len(api.asked) <= 2.2 * len(api.meetings) / 100 + 45


@pytest.mark.parametrize(
    "damage", [{"now": None}, {"date_created__gte": "soon"}, {"date_created__lt": 7}]
)
def test_a_window_of_another_form_is_refused(damage: State) -> None:
    for one in (window(), window(at(), at(days=1))):
        assert Window.of(one.values()) == one
        with pytest.raises(UnusableState):
            Window.of({**one.values(), **damage})


# -- whole syncs ----------------------------------------------------------------------------------


class Writer:
    """Makes random writes, some with events that become visible minutes later."""

    def __init__(self, api: FakeClose, seed: int) -> None:
        self._api = api
        self._random = Random(seed)
        self.rests = False
        self.gone: set[str] = set()

    def __call__(self) -> None:
        if self.rests:
            return
        api, random = self._api, self._random
        api.now += timedelta(seconds=random.choice([0, 0.3, 2, 100]))
        late = timedelta(minutes=random.choice([0, 0, 0, 4]))
        ids = list(api.meetings)
        kind = random.choice(["insert", "edit", "edit", "cancel", "silent", "delete", "again"])
        if not ids or kind == "insert":
            api.insert(at(days=random.choice([-800, -5, 0, 0, 3, 400])), late=late)
        elif kind == "edit":
            api.edit(random.choice(ids), late=late)
        elif kind == "cancel":
            api.edit(random.choice(ids), action="canceled", late=late)
        elif kind == "silent":
            near = [id for id in ids if at(days=-6).isoformat() < api.meetings[id]["date_created"]]
            near = [id for id in near if api.meetings[id]["date_created"] < text(days=80)]
            if near:
                api.add_in_silence(random.choice(near))
        elif kind == "again":
            api.change_last_event()
        else:
            id = random.choice(ids)
            self.gone.add(id)
            api.delete(id, late=late)


@given(
    syncs=st.lists(
        st.tuples(
            st.dictionaries(st.integers(1, 25), st.integers(1, 3), max_size=5),
            st.none() | st.integers(0, 8),
        ),
        min_size=1,
        max_size=4,
    ),
    log=st.sampled_from(["open", "filtered"]),
    ignores_dates=st.booleans(),
    workers=st.integers(1, 2),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=150)
def test_after_any_writes_during_syncs_of_which_some_are_killed_the_table_becomes_correct(
    syncs: list[tuple[dict[int, int], int | None]],
    log: str,
    ignores_dates: bool,
    workers: int,
    seed: int,
) -> None:
    # Given an account
    api = FakeClose()
    api.log, api.ignores_dates = log, ignores_dates
    write = Writer(api, seed)
    for _ in range(8):
        write()
    table, state = Table(CURSOR), dict[str, Any]()
    with aim_at(2):
        # When there are writes during syncs, some of which are killed
        for writes, killed in syncs:
            api.forget()
            for number, times in writes.items():
                for _ in range(times):
                    api.before(number, write)
            course = synced(
                strategy(api, most_windows=4),
                state,
                table,
                workers=workers,
                pages_at_most=killed,
            )
            assert course.error is None
            state = course.state
        # And then none, until every event is visible
        write.rests = True
        api.now += timedelta(minutes=6)
        synced(strategy(api, most_windows=4), state, table)
    # Then the table has the current meetings, and marks those as deleted that no longer exist
    found = table.by_id()
    live = {id: row for id, row in found.items() if not row.get("is_deleted")}
    assert live == api.meetings


# -- requests of a later sync ----------------------------------------------------------------------


def synced_at_noon(api: FakeClose) -> State:
    """Return the state of a first sync, after which ten minutes pass."""
    found: State = synced(strategy(api)).state
    api.now = at(minutes=10)
    api.forget()
    return found


def ids_asked(api: FakeClose) -> list[str]:
    return [one.params["id__in"] for one in api.asked if "id__in" in one.params]


def test_changed_meetings_are_requested_by_id_with_a_page_of_ids_per_request() -> None:
    # Given five meetings that have changed since the last sync
    api = FakeClose()
    for _ in range(5):
        api.insert(at(days=-400))
    state = synced_at_noon(api)
    for id in api.meetings:
        api.edit(id)
    # When
    course = synced(strategy(api), state)
    # Then
    assert ids_asked(api) == ["m1,m2,m3", "m4,m5"]
    assert {row["id"] for row in course.rows} == set(api.meetings)


def test_a_deletion_is_checked_again_until_the_meeting_is_no_longer_listed() -> None:
    # Given a deleted meeting that is still listed
    api = FakeClose()
    row = api.meetings[api.insert(at(days=-400))]
    state = synced_at_noon(api)
    api.delete("m1")
    api.meetings["m1"] = row
    course = synced(strategy(api), state)
    assert [one.get("is_deleted") for one in course.rows] == [None]
    # When it is no longer listed, then the next sync emits the deletion
    del api.meetings["m1"]
    course = synced(strategy(api), course.state)
    assert [(one["id"], one["is_deleted"]) for one in course.rows] == [("m1", True)]
    # And the sync after that does not request it
    api.forget()
    assert synced(strategy(api), course.state).rows == []
    assert ids_asked(api) == []


def test_a_meeting_that_is_missing_from_an_answer_is_requested_once_more() -> None:
    # Given an answer that lacks one of two changed meetings
    api = FakeClose()
    for _ in range(2):
        api.insert(at(days=-400))
    state = synced_at_noon(api)
    for id in api.meetings:
        api.edit(id)
    hidden = dict(api.meetings)
    api.before(8, lambda: api.meetings.pop("m2"))
    api.before(9, lambda: api.meetings.update(hidden))
    course = synced(strategy(api), state)
    # Then a second request reads it
    assert ids_asked(api) == ["m1,m2", "m2"]
    assert [row["id"] for row in course.rows] == ["m1", "m2"]


def test_every_sync_reads_two_weeks_back_and_a_quarter_ahead_again() -> None:
    api = FakeClose()
    state = synced_at_noon(api)
    synced(strategy(api), state)
    # Without events, the window is around the clock
    assert bounds(api)[-1] == ("2026-05-18T12:10:07+00:00", "2026-08-30T12:10:07+00:00")


def test_the_window_that_is_read_again_spans_the_clock_and_the_newest_event() -> None:
    # Given a Date header that is a day ahead of the stamps
    api = FakeClose()
    api.skew = timedelta(days=1)
    api.insert(at(days=-400))
    state = synced_at_noon(api)
    synced(strategy(api), state)
    first, end = bounds(api)[-1]
    assert (first, end) == ("2026-05-18T12:00:00+00:00", "2026-08-31T12:10:07+00:00")


def test_rows_in_that_window_that_a_first_sync_emitted_are_not_emitted_again() -> None:
    # Given meetings whose last events are outside the look-back before the newest event
    api = FakeClose()
    api.now = at(hours=-1)
    for days in (-15, -13, 0, 80):
        api.insert(at(days=days))
    api.now = at()
    api.insert(at(days=-400))
    state = synced_at_noon(api)
    assert [row["id"] for row in synced(strategy(api), state).rows] == ["m5"]
    # When one in the window changes without an event, then it is emitted
    api.add_in_silence("m2")
    assert {row["id"] for row in synced(strategy(api), state).rows} == {"m2", "m5"}


def test_a_changed_meeting_in_that_window_is_emitted_once() -> None:
    # Given a meeting that an event names, and that the window shows too
    api = FakeClose()
    api.insert(at())
    state = synced_at_noon(api)
    api.edit("m1")
    assert [row["id"] for row in synced(strategy(api), state).rows] == ["m1"]


def test_deletions_are_not_asked_for_as_long_as_there_is_no_state() -> None:
    api = FakeClose()
    api.insert(at(days=-400))
    synced(strategy(api))
    assert [one.params for one in api.asked if one.endpoint == "log"] == [{"_limit": "1"}]


def test_without_the_log_a_wider_window_is_read_again() -> None:
    # Given a log that the key may not read
    api = FakeClose()
    api.log = "closed"
    state = synced_at_noon(api)
    # When a later sync runs
    synced(strategy(api), state)
    # Then it reads a quarter of a year back and a year ahead
    first, end = bounds(api)[-1]
    assert (first, end) == ("2026-03-03T12:10:01+00:00", "2027-06-01T12:10:01+00:00")


def test_deletions_since_an_unusable_state_are_found_in_the_log() -> None:
    # Given a state that is older than the trusted length of the log
    api = FakeClose()
    api.insert(at(days=-400))
    state = synced_at_noon(api)
    api.now = at(days=31)
    api.delete("m1")
    course = synced(strategy(api), state)
    assert [(row["id"], row["is_deleted"]) for row in course.rows] == [("m1", True)]
