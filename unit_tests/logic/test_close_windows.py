"""Where Close's windows are cut: request by request."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from source_meetings.providers.close.list_pages import MeetingList
from source_meetings.providers.close.windows import Window, WindowReader
from source_meetings.sync.reading import UnusableState
from source_meetings.timestamps import iso, parse
from unit_tests.logic.fakes import Asked, FakeClose, at, text

Bounds = tuple[str | None, str | None]


class Listed(FakeClose):
    """Notes which windows were asked for, in hours after noon or as texts."""

    def hours(self) -> list[tuple[float | None, float | None]]:
        return [(hours_of(first), hours_of(end)) for first, end in self.bounds()]

    def bounds(self) -> list[Bounds]:
        names = ("date_created__gte", "date_created__lt")
        return [(one.params.get(names[0]), one.params.get(names[1])) for one in self.asked]


def hours_of(value: str | None) -> float | None:
    return None if value is None else (parse(value) - at()) / timedelta(hours=1)


def account(*hours: float, size: int = 3, oldest_first: bool = False) -> Listed:
    """Meetings at so many hours after noon, the latest one first."""
    api = Listed(page_size=size)
    for one in hours:
        api.insert(at(hours=one))
    sign = 1 if oldest_first else -1
    api.shuffle = lambda id: sign * parse(api.meetings[id]["date_created"]).timestamp()
    return api


def read(api: Listed, start: float | None, end: float | None) -> list[float]:
    window = Window(
        None if start is None else at(hours=start), None if end is None else at(hours=end), at()
    )
    rows = [row for one in WindowReader(MeetingList(api)).read(window) for row in one.rows]
    return [(parse(row["date_created"]) - at()) / timedelta(hours=1) for row in rows]


# -- what is saved --------------------------------------------------------------------------------


def test_a_window_is_saved_under_the_names_of_its_parameters() -> None:
    window = Window(at(days=-1), at(), at(days=1))
    saved = {
        "date_created__gte": text(days=-1),
        "date_created__lt": text(),
        "now": text(days=1),
    }
    assert window.values() == saved
    assert Window.of(saved) == window
    open_window = Window(None, None, at())
    saved = {"date_created__gte": None, "date_created__lt": None, "now": text()}
    assert open_window.values() == saved
    assert Window.of(saved) == open_window


@pytest.mark.parametrize("name", ["date_created__gte", "date_created__lt", "now"])
def test_a_window_with_an_unreadable_time_is_not_the_streams(name: str) -> None:
    with pytest.raises(UnusableState):
        Window.of({**Window(at(), at(), at()).values(), name: "soon"})


# -- bounded windows ------------------------------------------------------------------------------


def test_a_window_that_is_too_full_is_cut_after_the_last_second_that_its_page_shows() -> None:
    # Given eight meetings, of which the first page shows the latest three
    api = account(*range(8))
    # When
    found = read(api, 0, 10)
    # Then the part that the page showed is asked for again, less its last second
    assert sorted(found) == list(range(8))
    assert api.bounds()[:2] == [
        ("2026-06-01T12:00:00+00:00", "2026-06-01T22:00:00+00:00"),
        ("2026-06-01T17:00:01+00:00", "2026-06-01T22:00:00+00:00"),
    ]
    assert found[:2] == [7, 6]


def test_where_the_earliest_come_first_windows_begin_at_the_other_end() -> None:
    api = account(*range(8), oldest_first=True)
    found = read(api, 0, 10)
    assert sorted(found) == list(range(8))
    # The first window is cut as if the latest came first; then the order is known
    assert api.bounds()[:2] == [
        ("2026-06-01T12:00:00+00:00", "2026-06-01T22:00:00+00:00"),
        ("2026-06-01T13:00:01+00:00", "2026-06-01T22:00:00+00:00"),
    ]
    assert found[:2] == [0, 1]


def test_a_page_in_no_order_is_a_sample_of_which_half_tells_where_to_cut() -> None:
    # Given a page that shows 7, 1, 4 and 2
    api = account(7, 1, 4, 2, 3, size=4)
    api.shuffle = lambda id: id
    assert sorted(read(api, 0, 10)) == [1, 2, 3, 4, 7]
    assert api.bounds()[1] == ("2026-06-01T14:00:01+00:00", "2026-06-01T22:00:00+00:00")


def test_a_full_page_without_any_readable_time_has_its_window_halved() -> None:
    # Given meetings that do not say when they start, as long as the window is longer than two hours
    api = account(*range(4))
    listed = api.answer

    def answer(asked: Asked) -> Any:
        found = listed(asked)
        first, end = (parse(asked.params[f"date_created__{side}"]) for side in ("gte", "lt"))
        if end - first > timedelta(hours=2):
            for row in found.rows:
                row["date_created"] = None
        return found

    api.answer = answer  # type: ignore[method-assign]
    list(WindowReader(MeetingList(api)).read(Window(at(), at(hours=8), at())))
    assert api.hours()[0] == (0, 8)
    assert api.bounds()[1] == ("2026-06-01T16:00:01+00:00", "2026-06-01T20:00:00+00:00")


def test_a_window_is_never_cut_to_less_than_a_second() -> None:
    # Given four meetings in one second, and one in the next
    api = account(*[0.0] * 4, 1 / 3600)
    reader = WindowReader(MeetingList(api))
    window = Window(at(), at(seconds=2), at())
    assert {row["id"] for one in reader.read(window) for row in one.rows} == set(api.meetings)
    assert api.bounds()[:2] == [
        ("2026-06-01T12:00:00+00:00", "2026-06-01T12:00:02+00:00"),
        ("2026-06-01T12:00:01+00:00", "2026-06-01T12:00:02+00:00"),
    ]


def test_an_empty_window_of_time_is_not_asked_for() -> None:
    api = account()
    assert read(api, 1, 1) == []
    assert api.asked == []


# -- open windows ---------------------------------------------------------------------------------

DAY = 24


def test_an_open_future_is_cut_a_quarter_ahead_and_then_twice_as_far_each_time() -> None:
    # Given a page of meetings ten years ahead, and another one now
    api = account(*[1] * 2, *[3650 * DAY + one for one in (1, 2, 3, 4)])
    read(api, 0, None)
    opened = [first for first, end in api.hours() if end is None]
    days = [0, 90, 270, 810, 2430, 7290]
    assert opened == [day * DAY for day in days]


def test_an_open_past_is_cut_a_year_back_and_then_twice_as_far_each_time() -> None:
    api = account(*[-1] * 2, *[-3650 * DAY - one for one in (1, 2, 3, 4)])
    read(api, None, 0)
    closed = [end for first, end in api.hours() if first is None]
    days = [0, 365, 1095, 3285, 9855]
    assert closed == [-day * DAY for day in days]


def test_an_open_window_that_fits_a_page_is_one_request() -> None:
    api = account(1, 2, 3)
    assert read(api, 0, None) == [3, 2, 1]
    assert api.hours() == [(0, None)]


# -- cutting all of time --------------------------------------------------------------------------


def cut(api: Listed, most: int, now: datetime | None = None) -> list[Window]:
    """Return the windows in chronological order. The first one returned is that of the future."""
    found = WindowReader(MeetingList(api)).cut_everything(now or at(microseconds=5), most)
    return [*found[1:], found[0]]


def test_an_account_of_one_page_is_one_window() -> None:
    assert cut(account(1, 2, 3), 24) == [Window(None, None, at())]


def days_of(windows: list[Window]) -> list[float]:
    return [round((at() - one.start) / timedelta(days=1), 6) for one in windows[1:] if one.start]


@pytest.mark.parametrize(
    ("age", "probes"),
    [(100, [1]), (366, [1, 2]), (2000, [1, 2, 4, 8]), (30_000, [1, 2, 4, 8, 16, 32])],
)
def test_the_age_of_an_account_is_probed_in_years_that_double(age: int, probes: list[int]) -> None:
    # Given
    api = account(*[-age * DAY] * 4)
    cut(api, 4)
    # Then the request for one meeting before that many years shows none at last
    asked = [one.params for one in api.asked if one.params.get("_limit") == "1"]
    before = [iso(at(days=-365 * years)) for years in probes]
    assert [parse(one["date_created__lt"]) for one in asked] == [parse(one) for one in before]
    assert all("date_created__gte" not in one for one in asked)


def test_few_windows_have_equal_lengths_from_the_age_of_the_account_to_now() -> None:
    # Given a hundred meetings long ago, and forty in the last fifth of the last year
    api = account(*[-300.0 * DAY] * 101 + [-70.0 * DAY] * 40, size=100)
    windows = cut(api, 5)
    # Then three windows up to now are worth it, and one for the future
    assert days_of(windows) == [243.333333, 121.666667, 0]
    assert [one.end for one in windows] == [*(one.start for one in windows[1:]), None]
    assert windows[0].start is None
    assert {one.now for one in windows} == {at()}


def test_of_many_windows_each_is_shorter_than_the_one_before_by_the_same_part() -> None:
    # Given more meetings in the fourth part of the last year than fit a page
    api = account(*(-day * DAY for day in range(1, 300)))
    windows = cut(api, 5)
    # Then there are as many windows as there may be, and one for the future
    days = [365, *days_of(windows)]
    lengths = [one - other for one, other in zip(days, days[1:])]
    assert len(lengths) == 5
    parts = [other / one for one, other in zip(lengths, lengths[1:])]
    assert parts == pytest.approx([0.08**0.2] * 4, rel=0.001)
    assert [one.end for one in windows] == [*(one.start for one in windows[1:]), None]
    assert windows[0].start is None
    assert {one.now for one in windows} == {at()}


@pytest.mark.parametrize(
    ("most", "sample"), [(4, (-91.25, 0.0)), (5, (-73.0, 0.0)), (24, (-91.25, -76.041666))]
)
def test_the_sample_is_a_window_a_quarter_of_the_windows_back(
    most: int, sample: tuple[float, float]
) -> None:
    api = account(*(-day * DAY for day in range(1, 300)))
    cut(api, most)
    first, end = api.hours()[-1]
    assert first is not None
    assert end is not None
    assert (first / DAY, end / DAY) == pytest.approx(sample, abs=0.001)


@pytest.mark.parametrize(
    ("rows", "windows"), [(0, 2), (1, 2), (16, 2), (17, 3), (32, 4), (33, 5), (80, 10), (99, 10)]
)
def test_the_rows_of_the_sample_say_how_many_windows_are_worth_it(rows: int, windows: int) -> None:
    # Given a hundred meetings long ago, and so many in the sample: 73 to 36.5 days ago
    hours = [-300.0 * DAY] * 101 + [-70.0 * DAY] * rows
    api = account(*hours, size=100)
    found = cut(api, 10)
    assert len(found) - 1 == min(windows, 10)
