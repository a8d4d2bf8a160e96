"""Pages of Salesloft's meetings: what each answer is compared with, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from source_meetings.providers.salesloft.pages import (
    NEWEST_FIRST,
    OLDEST_FIRST,
    MeetingPages,
    echoes_show_deleted,
    has_more,
    ids,
    last_affordable_page,
    moment_of,
    shows_cancelled,
)
from source_meetings.sync.reading import Answer, Row, Untrustworthy
from unit_tests.logic.fakes import ScriptedApi, at, text

SORTED: dict[str, Any] = {"sorting": {"sort_by": "updated_at"}}


def rows(*ids: int, **fields: Any) -> list[Row]:
    return [{"id": id, **fields} for id in ids]


def paging(size: Any = 2, **fields: Any) -> dict[str, Any]:
    return {**SORTED, "paging": {"per_page": size, **fields}}


def answer(*ids: int, metadata: Any = None, total: int | None = None, **fields: Any) -> Answer:
    return Answer(rows(*ids, **fields), at(), body={"metadata": metadata}, total=total)


def asked(*answers: Answer, number: int = 1, size: int | None = None) -> tuple[ScriptedApi, Answer]:
    api = ScriptedApi(*answers)
    return api, MeetingPages(api).page(NEWEST_FIRST, number, size)


# -- requests -------------------------------------------------------------------------------------


def test_a_page_is_asked_for_by_its_number_with_the_parameters_it_is_given() -> None:
    api, found = asked(answer(1, 2, metadata=paging()), number=3)
    assert [(one.endpoint, one.params, one.page) for one in api.asked] == [
        ("meetings", NEWEST_FIRST, 3)
    ]
    assert ids(found) == {1, 2}
    assert MeetingPages(api).size == 2


def test_a_page_is_the_first_one_unless_it_has_a_number() -> None:
    api = ScriptedApi(answer(1, 2, metadata=paging()))
    MeetingPages(api).page(NEWEST_FIRST)
    assert [one.page for one in api.asked] == [1]


def test_a_page_may_have_a_size_of_its_own_each_time_it_is_asked_for() -> None:
    # Given a page that comes without rows, and then with one
    api, found = asked(answer(), answer(1, metadata=SORTED), number=4, size=1)
    assert [(one.params, one.page) for one in api.asked] == [
        ({**NEWEST_FIRST, "per_page": "1"}, 4)
    ] * 2
    assert ids(found) == {1}


# -- pages that are too short ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "total", "short"),
    [(1, 1, False), (1, 2, True), (2, 2, False), (2, 3, False), (2, 4, True), (3, 4, False)],
)
def test_a_page_is_short_if_the_total_says_that_it_has_more_rows(
    number: int, total: int, short: bool
) -> None:
    # Given pages of two, and one with a single row
    api, _ = asked(answer(1, metadata=paging(), total=total), number=number)
    # Then it is asked for again if the total says so, and believed when it comes back the same
    assert len(api.asked) == (2 if short else 1)


def test_a_total_that_ends_before_the_page_makes_no_page_short() -> None:
    api, found = asked(answer(metadata=paging(next_page=None), total=2), number=3)
    assert (len(api.asked), found.rows) == (1, [])


@pytest.mark.parametrize(
    ("ids", "next_page", "short"),
    [((1,), 2, True), ((1, 2), 2, False), ((1,), None, False), ((), None, False)],
)
def test_without_a_total_a_page_is_short_if_another_one_follows(
    ids: tuple[int, ...], next_page: int | None, short: bool
) -> None:
    api, _ = asked(answer(*ids, metadata=paging(next_page=next_page)))
    assert len(api.asked) == (2 if short else 1)


@pytest.mark.parametrize(("ids", "short"), [((), True), ((1,), False)])
def test_without_paging_only_an_empty_page_is_short(ids: tuple[int, ...], short: bool) -> None:
    api, _ = asked(answer(*ids, metadata=SORTED))
    assert len(api.asked) == (2 if short else 1)


def test_paging_without_a_size_says_nothing_of_short_pages() -> None:
    api, _ = asked(answer(1, metadata=paging(size="2", next_page=2), total=9))
    assert len(api.asked) == 1


def test_a_short_page_is_asked_for_until_it_is_whole() -> None:
    short, other, whole = (answer(*ids, metadata=paging(), total=2) for ids in [(1,), (2,), (1, 2)])
    api, found = asked(short, other, whole, short)
    assert (len(api.asked), ids(found)) == (3, {1, 2})


def test_a_short_page_that_is_never_the_same_is_asked_for_four_times() -> None:
    api, found = asked(*(answer(id, metadata=paging(), total=2) for id in range(9)))
    assert (len(api.asked), ids(found)) == (4, {3})


def test_an_empty_page_that_says_that_there_is_more_cannot_be_trusted() -> None:
    with pytest.raises(Untrustworthy, match="empty page"):
        asked(answer(metadata=paging(next_page=2)))


# -- the order ------------------------------------------------------------------------------------


def test_a_page_in_another_order_than_asked_for_cannot_be_trusted() -> None:
    api = ScriptedApi(answer(1, metadata=SORTED))
    with pytest.raises(Untrustworthy, match="sorted by updated_at although created_at"):
        MeetingPages(api).page(OLDEST_FIRST)


def test_a_page_for_which_no_order_was_asked_may_have_any() -> None:
    api = ScriptedApi(answer(1, metadata=SORTED))
    assert ids(MeetingPages(api).page({"ids[]": "1"})) == {1}


@pytest.mark.parametrize(
    ("params", "minutes", "sorted"),
    [
        (NEWEST_FIRST, (3, 2, 2, 1), True),
        (NEWEST_FIRST, (3, None, 2), True),
        (NEWEST_FIRST, (2, 3), False),
        (OLDEST_FIRST, (1, 2, 2, 3), True),
        (OLDEST_FIRST, (2, 1), False),
    ],
)
def test_without_the_order_that_was_applied_the_rows_are_looked_at(
    params: dict[str, str], minutes: tuple[int | None, ...], sorted: bool
) -> None:
    # Given rows that do not all say when they changed
    field = params["sort_by"]
    listed = [{"id": 1, field: one and text(minutes=one)} for one in minutes]
    api = ScriptedApi(Answer(listed, at(), body={"metadata": {}}))
    # Then they have to have the order that was asked for
    if sorted:
        assert MeetingPages(api).page(params).rows == listed
    else:
        with pytest.raises(Untrustworthy, match=f"not sorted by {field} as requested"):
            MeetingPages(api).page(params)


def test_the_order_that_was_applied_counts_for_more_than_that_of_the_rows() -> None:
    listed = [{"id": 1, "updated_at": text()}, {"id": 2, "updated_at": text(days=1)}]
    api = ScriptedApi(Answer(listed, at(), body={"metadata": SORTED}))
    assert MeetingPages(api).page(NEWEST_FIRST).rows == listed


# -- what an answer says --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "metadata", "more"),
    [
        ((1,), {"paging": {"next_page": 2}}, True),
        ((1,), {"paging": {"next_page": None}}, False),
        ((), {"paging": {"next_page": 2}}, True),
        ((1,), {"paging": {"per_page": 1}}, True),
        ((1,), {"paging": []}, True),
        ((1,), None, True),
        ((), {}, False),
    ],
)
def test_another_page_follows_if_the_answer_says_so_or_has_rows(
    ids: tuple[int, ...], metadata: Any, more: bool
) -> None:
    assert has_more(answer(*ids, metadata=metadata)) is more


def test_an_answer_shows_cancelled_meetings_if_one_is_among_its_rows() -> None:
    assert not shows_cancelled(answer(1, 2, canceled_at=None))
    assert not shows_cancelled(answer(1, 2))
    some = [*rows(1, canceled_at=None), *rows(2, canceled_at=text())]
    assert shows_cancelled(Answer(some, at(), body={}))


@pytest.mark.parametrize(
    ("metadata", "echoed"),
    [
        ({"filtering": {"show_deleted": "false"}}, True),
        ({"filtering": {"show_deleted": False}}, True),
        ({"filtering": {"show_deleted": None}}, False),
        ({"filtering": {}}, False),
        (None, False),
    ],
)
def test_an_answer_says_whether_it_was_filtered_by_cancellation(
    metadata: Any, echoed: bool
) -> None:
    assert echoes_show_deleted(answer(1, metadata=metadata)) is echoed


def test_a_meeting_without_a_readable_time_has_no_place() -> None:
    assert moment_of({"created_at": text()}, "created_at") == at()
    with pytest.raises(Untrustworthy, match="no usable created_at"):
        moment_of({"created_at": "soon"}, "created_at")


@pytest.mark.parametrize(
    ("total", "last"),
    [
        (None, 100),
        (0, 100),
        (24_999, 100),
        (25_000, 150),  # 100 pages at a point and 50 at three cost 250 points
        (104_999, 150),
        (105_000, 250),  # and 100 at eight
        (354_999, 250),
        (355_000, 500),  # and 250 at ten
        (10**9, 500),
    ],
)
def test_a_walk_goes_no_further_than_reading_everything_costs(total: int | None, last: int) -> None:
    assert last_affordable_page(total) == last
