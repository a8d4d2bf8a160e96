"""Pages of Close's meetings, the walk through what cannot be divided, and how wide a window is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from source_meetings import timestamps
from source_meetings.providers.close.list_pages import (
    FiltersIgnored,
    MeetingList,
    created,
    is_outside,
)
from source_meetings.sync.reading import Answer, Row, Untrustworthy
from unit_tests.logic.fakes import ScriptedApi, at, text

# -- pages ----------------------------------------------------------------------------------------


def rows(*ids: str, **fields: Any) -> list[Row]:
    return [{"id": id, "date_updated": "x", **fields} for id in ids]


def page(*ids: str, more: bool | None = False, **fields: Any) -> Answer:
    return Answer(rows(*ids, **fields), at(), body={}, more=more)


def test_a_page_is_asked_for_between_two_seconds_with_an_offset() -> None:
    api = ScriptedApi(page())
    meetings = MeetingList(api)
    assert meetings.page_size == 2
    meetings.page(at(), at(days=1), limit=1, skip=5)
    meetings.page(at())
    meetings.page(None, at())
    meetings.page()
    first, end = "2026-06-01T12:00:00+00:00", "2026-06-02T12:00:00+00:00"
    assert [(one.endpoint, one.params, one.page) for one in api.asked] == [
        (
            "meetings",
            {"_limit": "1", "date_created__gte": first, "date_created__lt": end},
            5,
        ),
        ("meetings", {"date_created__gte": first}, None),
        ("meetings", {"date_created__lt": first}, None),
        ("meetings", {}, None),
    ]


def test_meetings_are_asked_for_by_their_ids() -> None:
    api = ScriptedApi(page("a", "b", more=True))
    found = MeetingList(api).by_id(["a", "b"])
    assert [(one.endpoint, one.params) for one in api.asked] == [("meetings", {"id__in": "a,b"})]
    assert (found.more, found.moments, found.rows) == (True, [], rows("a", "b"))


def test_a_page_that_does_not_say_whether_more_follow_is_the_last() -> None:
    assert MeetingList(ScriptedApi(page("a", more=None))).page().more is False


def test_a_bounded_page_has_the_readable_times_of_its_rows() -> None:
    listed = [{"id": "a", "date_created": text()}, {"id": "b", "date_created": "soon"}]
    api = ScriptedApi(Answer(listed, at(), body={}))
    assert MeetingList(api).page(at()).moments == [at()]
    assert MeetingList(api).page().moments == []


@pytest.mark.parametrize(
    ("moment", "outside"),
    [
        (at(seconds=-1), True),
        (at(seconds=-1, microseconds=1), False),
        (at(), False),
        (at(minutes=1), False),
        (at(minutes=1, microseconds=999_999), False),
        (at(minutes=1, seconds=1), True),
        (None, False),
    ],
)
def test_a_meeting_is_outside_of_a_window_if_its_second_is(
    moment: datetime | None, outside: bool
) -> None:
    assert is_outside(moment, at(), at(minutes=1)) is outside
    assert not is_outside(moment, None, None)
    # And a page with such a meeting shows that the filters are ignored
    listed = [{"id": "a", "date_created": text()}, {"id": "b", "date_created": moment}]
    listed[1]["date_created"] = timestamps.iso(moment) if moment else None
    meetings = MeetingList(ScriptedApi(Answer(listed, at(), body={})))
    if outside:
        with pytest.raises(FiltersIgnored):
            meetings.page(at(), at(minutes=1))
    else:
        assert meetings.page(at(), at(minutes=1)).rows == listed
    assert meetings.page().rows == listed


def test_a_meeting_without_a_readable_start_has_none() -> None:
    assert created({"date_created": text()}) == at()
    assert created({}) is None


# -- skipping through a list ----------------------------------------------------------------------


def skipped(*answers: Answer) -> tuple[list[str], list[int | None]]:
    """Return the ids that come, and the offsets that were asked for."""
    api = ScriptedApi(*answers)
    pages = list(MeetingList(api).skip_through())
    return ["".join(row["id"] for row in one.rows) for one in pages], [
        one.page for one in api.asked
    ]  # type: ignore[misc]


def test_each_page_begins_with_the_last_row_of_the_page_before() -> None:
    found = skipped(page(*"abc", more=True), page(*"cde", more=True), page(*"ef"))
    assert found == (["abc", "cde", "ef"], [None, 2, 4])


def test_a_list_within_bounds_is_asked_for_with_them_on_every_page() -> None:
    # Given a first page that was read before, and a pass that has to be made again
    apart = [page(*"abc", more=True), page(*"xyz"), page(*"xyz")]
    api = ScriptedApi(*apart, page(*"abc", more=True), page(*"cd"))
    meetings = MeetingList(api)
    first = meetings.page(at(), at(seconds=1))
    assert len(list(meetings.skip_through(at(), at(seconds=1), first))) == 4
    # Then the first pass begins with that page, and the second one asks for it
    bounds = {
        "date_created__gte": "2026-06-01T12:00:00+00:00",
        "date_created__lt": "2026-06-01T12:00:01+00:00",
    }
    offsets = [None, 2, 1, None, 2]
    assert [(one.params, one.page) for one in api.asked] == [(bounds, skip) for skip in offsets]


def test_pages_of_one_row_go_on_row_by_row() -> None:
    # Given pages that cannot overlap, so that nothing proves that they fit together
    one = [page("a", more=True), page("b", more=True), page("b", more=True), page("c")]
    # Then passes are made until two have found the same rows
    assert skipped(*one, *one, *one) == (["a", "b", "c"] * 2, [None, 1, 1, 2] * 2)


def test_rows_that_were_added_above_are_on_both_pages() -> None:
    found = skipped(page(*"abc", more=True), page(*"bcd"))
    assert found == (["abc", "bcd"], [None, 2])


def test_after_rows_have_vanished_above_the_walk_steps_half_a_page_back() -> None:
    # Given pages of five, and three rows that vanish after the first page
    found = skipped(
        page(*"abcde", more=True), page(*"hijkl", more=True), page(*"fgh"), page(*"fgh")
    )
    # Then the page half a step back shows that the pages do not fit, so all is read again
    assert found[1][:3] == [None, 4, 2]
    # And if it shows a known row first, they do
    found = skipped(page(*"abcde", more=True), page(*"fgh"), page(*"defgh"))
    assert found == (["abcde", "defgh"], [None, 4, 2])


def test_a_pass_that_does_not_fit_together_is_made_again_from_the_start() -> None:
    apart = [page(*"abc", more=True), page(*"xyz"), page(*"xyz")]
    found = skipped(*apart, page(*"abc", more=True), page(*"cd"))
    assert found == (["abc", "xyz", "abc", "cd"], [None, 2, 1, None, 2])


def test_a_changed_row_is_another_row() -> None:
    # Given a row that is on both pages but has changed between them
    before, after = page(*"abc", more=True), page("c", "d", date_updated="y")
    found = skipped(before, after, after, page(*"abc", more=True), page(*"cd"))
    assert found[1] == [None, 2, 1, None, 2]


def test_an_order_that_always_changes_is_believed_once_all_rows_were_found_twice() -> None:
    # Given a list of four in any order, whose pages never fit together
    orders = ["abc", "ba", "bac", "dab", "ca", "cab", "abc", "ab", "bca", "dcb", "bc", "abc"]
    answers = [page(*one, more=number % 3 == 0) for number, one in enumerate(orders)]
    pages, offsets = skipped(*answers)
    # Then two passes find every row, and two more the same ones
    assert pages == ["abc", "bac", "dab", "cab", "abc", "bca", "dcb", "abc"]
    assert offsets == [None, 2, 1] * 4


def test_an_order_that_never_shows_all_rows_cannot_be_trusted() -> None:
    answers = [
        page(*(f"{number}{id}" for id in "abc"), more=number % 3 == 0) for number in range(600)
    ]
    api = ScriptedApi(*answers)
    # More rows are found than the list is long, but never the same ones
    with pytest.raises(Untrustworthy, match="change their order with every request"):
        list(MeetingList(api).skip_through())
    assert len(api.asked) == 40 * 3


def test_a_list_that_repeats_a_page_is_given_up_after_ten_of_them() -> None:
    api = ScriptedApi(page(*"abc", more=True))
    with pytest.raises(Untrustworthy, match="repeats a page and does not end"):
        list(MeetingList(api).skip_through())
    # The second page is asked for twice, because it does not go on from the first one
    assert len(api.asked) == 12


def test_an_empty_page_that_says_that_there_is_more_cannot_be_trusted() -> None:
    with pytest.raises(Untrustworthy, match="an empty page says that there is more"):
        skipped(page(more=True))


def test_an_empty_list_is_one_page() -> None:
    assert skipped(page()) == ([""], [None])
