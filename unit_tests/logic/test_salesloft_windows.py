"""Salesloft's meetings by creation time: the windows, and what is asked for in each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from source_meetings import timestamps
from source_meetings.providers.salesloft.created_windows import (
    Window,
    cut_windows,
    read_window,
    with_deleted,
)
from source_meetings.providers.salesloft.pages import COUNTED, OLDEST_FIRST, MeetingPages
from source_meetings.sync.reading import Answer, Untrustworthy, UnusableState
from unit_tests.logic.fakes import Asked, FakeApi, ScriptedApi, at, text

FIXED = {**OLDEST_FIRST, **COUNTED}
OPEN = Window(at(days=-9), None, None, None)


class Meetings(FakeApi):
    """Meetings by creation time. Each is a pair of its id and when it was created.

    ``counts``: whether answers have totals. ``blind``: whether the page number is ignored.
    """

    def __init__(self, *meetings: tuple[int, str], page_size: int = 2) -> None:
        super().__init__(page_size=page_size)
        self.meetings = list(meetings)
        self.counts = True
        self.blind = False

    def answer(self, asked: Asked) -> Answer:
        first = asked.params.get("created_at[gte]", "")
        end = asked.params.get("created_at[lt]", "Z")
        listed = [one for one in self.meetings if first <= one[1] < end]
        size = int(asked.params.get("per_page", self.size))
        number = 1 if self.blind else int(asked.page or 1)
        shown = listed[(number - 1) * size : number * size]
        following = number + 1 if number * size < len(listed) else None
        return Answer(
            [{"id": id, "created_at": created} for id, created in shown],
            self.clock,
            body={"metadata": {"paging": {"next_page": following}}},
            total=len(listed) if self.counts else None,
        )


def read(api: FakeApi, window: Window = OPEN) -> list[list[int]]:
    return [[row["id"] for row in one.rows] for one in read_window(MeetingPages(api), window)]


# -- cutting --------------------------------------------------------------------------------------


def oldest(total: int | None, **age: float) -> ScriptedApi:
    created = timestamps.iso(at(seconds=1) - timedelta(**age))
    row = {"id": 1, "created_at": created}
    return ScriptedApi(Answer([row], at(seconds=1), body={"metadata": {}}, total=total))


def test_the_oldest_meeting_is_asked_for_and_counted_with_the_others() -> None:
    api = oldest(5, days=1)
    cut_windows(MeetingPages(api), "true", None)
    asked = {**FIXED, "show_deleted": "true", "per_page": "1"}
    assert [(one.params, one.page) for one in api.asked] == [(asked, 1)]


def test_windows_have_equal_lengths_from_the_oldest_meeting_on_and_the_last_has_no_end() -> None:
    windows = cut_windows(MeetingPages(oldest(6, days=3)), "false", at(days=-1))
    starts = [at(seconds=1, days=days) for days in (-3, -2, -1)]
    assert windows == [
        Window(starts[0], starts[1], "false", at(days=-1)),
        Window(starts[1], starts[2], "false", at(days=-1)),
        Window(starts[2], None, "false", at(days=-1)),
    ]


@pytest.mark.parametrize(
    ("total", "windows"),
    [
        (None, 8),
        (0, 1),  # although one is listed
        (1, 1),
        (3, 2),  # pages of two
        (15, 8),
        (20_000, 8),
        (20_001, 9),
        (99_999, 40),
        (10**6, 40),
    ],
)
def test_there_are_as_many_windows_as_the_meetings_are_worth(
    total: int | None, windows: int
) -> None:
    assert len(cut_windows(MeetingPages(oldest(total, days=3)), None, None)) == windows


@pytest.mark.parametrize(("minutes", "windows"), [(59, 1), (60, 8)])
def test_less_than_an_hour_is_not_cut(minutes: int, windows: int) -> None:
    found = cut_windows(MeetingPages(oldest(10**4, minutes=minutes)), None, None)
    assert len(found) == windows
    assert found[0].start == at(seconds=1) - timedelta(minutes=minutes)


def test_without_meetings_there_is_no_window() -> None:
    empty = ScriptedApi(Answer([], at(), body={"metadata": {}}))
    assert cut_windows(MeetingPages(empty), None, None) == []


@pytest.mark.parametrize(
    "window", [OPEN, Window(at(days=-9), at(), "true", at(days=-3)), Window(at(), at(), None, at())]
)
def test_a_window_comes_back_from_a_state_as_it_was(window: Window) -> None:
    assert Window.of(window.values()) == window


def test_a_window_is_saved_under_the_names_of_its_parameters() -> None:
    assert Window(at(), at(days=1), "true", at(days=2)).values() == {
        "created_at_gte": text(),
        "created_at_lt": text(days=1),
        "show_deleted": "true",
        "updated_since": text(days=2),
    }
    unset = {"created_at_lt": None, "show_deleted": None, "updated_since": None}
    assert Window(at(), None, None, None).values() == {"created_at_gte": text(), **unset}


def test_a_window_without_a_beginning_is_not_the_streams() -> None:
    with pytest.raises(UnusableState):
        Window.of({**OPEN.values(), "created_at_gte": "soon"})


def test_cancelled_meetings_are_asked_for_apart_only_if_it_is_said_how() -> None:
    assert with_deleted(None) == {}
    assert with_deleted("true") == {"show_deleted": "true"}


# -- reading --------------------------------------------------------------------------------------


def test_each_page_of_a_window_begins_at_the_last_row_of_the_page_before() -> None:
    # Given five meetings, of which the last one is past the window
    api = Meetings(*((id, text(days=id - 9)) for id in range(5)))
    # When
    window = Window(at(days=-9), at(days=-5), "true", None)
    pages = read(api, window)
    # Then
    assert pages == [[0, 1], [1, 2], [2, 3]]
    assert [one.params for one in api.asked] == [
        {
            **FIXED,
            "show_deleted": "true",
            "created_at[gte]": text(days=day),
            "created_at[lt]": text(days=-5),
        }
        for day in (-9, -8, -7)
    ]
    assert {one.page for one in api.asked} == {1}


def test_a_window_without_an_end_is_asked_for_without_one() -> None:
    api = Meetings((1, text(days=-9)))
    assert read(api) == [[1]]
    assert [one.params for one in api.asked] == [{**FIXED, "created_at[gte]": text(days=-9)}]


def test_an_empty_window_has_no_page() -> None:
    assert read(Meetings()) == []


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("created", [text(days=-10), text(days=-5)])
def test_meetings_outside_the_window_cannot_be_trusted(place: int, created: str) -> None:
    rows = [{"id": id, "created_at": text(days=-8)} for id in range(3)]
    rows[place]["created_at"] = created
    sorting = {"sorting": {"sort_by": "created_at"}, "paging": {"next_page": None}}
    api = ScriptedApi(Answer(rows, at(), body={"metadata": sorting}))
    with pytest.raises(Untrustworthy, match="outside the requested creation times"):
        read(api, Window(at(days=-9), at(days=-5), None, None))


def test_a_window_without_an_end_has_meetings_of_any_later_time() -> None:
    assert read(Meetings((1, text(days=-9)), (2, text(days=999)))) == [[1, 2]]


# -- a page of one creation time ------------------------------------------------------------------


def test_meetings_of_one_time_that_fill_a_page_are_read_by_page_number() -> None:
    # Given three meetings that were created at once, and one after them
    api = Meetings(*((id, text(days=-9)) for id in range(3)), (9, text(days=-8)))
    # When
    pages = read(api)
    # Then they are asked for alone, and the others from the next microsecond on
    assert pages == [[0, 1], [0, 1], [2], [9]]
    tie = {
        **FIXED,
        "created_at[gte]": text(days=-9),
        "created_at[lt]": text(days=-9, microseconds=1),
    }
    assert [(one.params, one.page) for one in api.asked[1:]] == [
        (tie, 1),
        (tie, 2),
        ({**FIXED, "created_at[gte]": text(days=-9, microseconds=1)}, 1),
    ]


def tied(*answers: tuple[list[int], bool, int | None]) -> ScriptedApi:
    """An API that lists meetings of one time, on pages of two; at first to show that there are
    many, and at the end nothing."""
    first = ([1, 2], True, None)
    listed = [
        Answer(
            [{"id": id, "created_at": text(days=-9)} for id in ids],
            at(),
            body={"metadata": {"paging": {"next_page": 2 if more else None}}},
            total=total,
        )
        for ids, more, total in (first, *answers, ([], False, None))
    ]
    return ScriptedApi(*listed)


def rounds(api: ScriptedApi) -> list[int]:
    """The numbers of the pages that were asked for of the one time."""
    read(api)
    return [int(one.page or 0) for one in api.asked[1:-1]]


def test_pages_of_one_time_are_read_again_until_as_many_were_seen_as_are_counted() -> None:
    # Given three meetings that change places: the first round leaves one out
    api = tied(([1, 2], True, 3), ([2], False, 3), ([3, 1], True, 3), ([2], False, 3))
    assert rounds(api) == [1, 2, 1, 2]


def test_a_total_of_one_time_counts_on_pages_that_do_not_say_it() -> None:
    assert rounds(tied(([1, 2], True, 3), ([3], False, None))) == [1, 2]


def test_more_meetings_of_one_time_than_are_counted_are_enough() -> None:
    assert rounds(tied(([1, 2], True, 2), ([3], False, 2))) == [1, 2]


def test_without_a_total_a_round_without_news_that_lists_what_is_known_is_the_last() -> None:
    # Given a round that lists three rows, of which one twice; another one with all; and a third
    api = tied(
        *[([1, 2], True, None), ([2], False, None)], *[([1, 2], True, None), ([3], False, None)] * 2
    )  # noqa: E501
    assert rounds(api) == [1, 2] * 3


def test_a_round_that_lists_more_rows_than_are_known_is_not_the_last() -> None:
    twice = [([1, 2], True, None), ([2], False, None)]
    whole = [([1, 2], True, None), ([3], False, None)]
    assert rounds(tied(*twice, *twice, *whole, *whole)) == [1, 2] * 4


def test_when_some_of_one_time_vanish_those_that_are_left_are_seen_anew() -> None:
    # Given four meetings, of which two vanish after the first page of a round
    api = tied(([1, 2], True, 4), ([3], False, 3), ([1, 2], True, 3), ([3], False, 3))
    # Then what was seen before does not count, nor does the round
    assert rounds(api) == [1, 2, 1, 2]


def test_one_time_that_is_never_seen_whole_cannot_be_trusted() -> None:
    # Given three rows where four are counted
    api = tied(*[([1, 2], True, 4), ([3], False, 4)] * 200)
    with pytest.raises(Untrustworthy, match="keeps changing"):
        read(api)
    # Then it is given up after ten rounds that show nothing new
    assert len(api.asked) == 1 + 2 * 11


def test_one_time_whose_rows_are_always_others_is_given_up_after_a_hundred_rounds() -> None:
    answers: list[Any] = [([id], False, 10**6) for id in range(1, 500)]
    api = tied(*answers)
    with pytest.raises(Untrustworthy, match="keeps changing"):
        read(api)
    assert len(api.asked) == 1 + 100
