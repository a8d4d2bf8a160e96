"""The walk from the newest change down to a bound."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from source_meetings.strategies.newest_first import NewestFirst
from source_meetings.sync.reading import Answer, ReadEverything, Row, Untrustworthy
from unit_tests.logic.fakes import at, text


class Changes:
    """A list sorted by time of change, newest first, page by page.

    ``before``: by the number of a request, the writes before it. Rows with the same time have the
    order of ``rows``.
    """

    def __init__(self, *minutes_ago: float, size: int = 2, counts: bool = True) -> None:
        self.rows: list[Row] = [
            {"id": f"r{number}", "changed": text(minutes=-ago)}
            for number, ago in enumerate(minutes_ago)
        ]
        self.size = size
        self.counts = counts
        self.asked: list[int] = []
        self.before: dict[int, Callable[[], None]] = {}

    def ask(self, number: int) -> Answer:
        self.asked.append(number)
        self.before.pop(len(self.asked), lambda: None)()
        rows = sorted(self.rows, key=lambda row: str(row["changed"]), reverse=True)
        found = rows[(number - 1) * self.size : number * self.size]
        return Answer(
            [dict(row) for row in found],
            at(minutes=len(self.asked)),
            more=number * self.size < len(rows),
            total=len(rows) if self.counts else None,
        )

    def walk(self, bound: datetime, last_affordable: int = 1000) -> list[str]:
        walk = NewestFirst(
            self.ask,
            lambda answer: bool(answer.more),
            provider="Acme",
            key="id",
            changed="changed",
            page_size=self.size,
            affordable=lambda total: last_affordable,
            bound=bound,
        )
        return [str(row["id"]) for answer in walk.pages() for row in answer.rows]

    def insert(self, id: str) -> Callable[[], None]:
        return lambda: self.rows.append({"id": id, "changed": text(minutes=len(self.asked))})

    def edit(self, id: str) -> Callable[[], None]:
        return lambda: self._row(id).update(changed=text(minutes=len(self.asked)))

    def drop(self, *ids: str) -> Callable[[], None]:
        def drop() -> None:
            self.rows = [row for row in self.rows if row["id"] not in ids]

        return drop

    def order(self, *ids: str) -> Callable[[], None]:
        """Put rows with the same time in this order."""

        def order() -> None:
            others = [row for row in self.rows if row["id"] not in ids]
            self.rows = [*others, *(self._row(id) for id in ids)]

        return order

    def _row(self, id: str) -> Row:
        return next(row for row in self.rows if row["id"] == id)


LONG_AGO = at(days=-1)


def all_of(*writes: Callable[[], None]) -> Callable[[], None]:
    def write() -> None:
        for one in writes:
            one()

    return write


# -- where the walk ends --------------------------------------------------------------------------


def test_the_walk_ends_with_the_first_page_that_has_a_row_before_the_bound() -> None:
    changes = Changes(1, 2, 3, 4, 5, 6)
    assert changes.walk(at(minutes=-3)) == ["r0", "r1", "r2", "r3"]
    assert changes.asked == [1, 2]


def test_a_page_that_ends_at_the_bound_is_not_the_last_one() -> None:
    # The next page may start with more rows of that time
    changes = Changes(1, 2, 2, 3)
    assert changes.walk(at(minutes=-2)) == ["r0", "r1", "r2", "r3"]


def test_the_walk_ends_at_the_end_of_the_list() -> None:
    changes = Changes(1, 2, 3)
    assert changes.walk(LONG_AGO) == ["r0", "r1", "r2"]
    assert changes.asked == [1, 2]
    assert Changes().walk(LONG_AGO) == []


@pytest.mark.parametrize("stamp", [None, "", "soon", 7])
def test_a_page_whose_last_row_has_no_stamp_is_not_the_last_one(
    stamp: Any,
) -> None:
    # Given a first page whose last row has no readable stamp
    changes = Changes(1, 50, 60, 70)
    page = changes.ask

    def ask(number: int) -> Answer:
        answer = page(number)
        if number == 1:
            answer.rows[-1]["changed"] = stamp
        return answer

    changes.ask = ask  # type: ignore[method-assign]
    # When
    changes.walk(at(minutes=-10))
    # Then
    assert changes.asked == [1, 2]


# -- rows that vanish, appear or change meanwhile -------------------------------------------------


def test_rows_that_vanish_send_the_walk_back_by_as_many_rows() -> None:
    # Given pages of two, and three rows that vanish from pages that were read
    changes = Changes(*range(1, 11))
    changes.before[4] = changes.drop("r0", "r2", "r4")
    # When the smaller total on page 4 reveals it
    found = changes.walk(LONG_AGO)
    # Then the walk goes back two pages
    assert changes.asked == [1, 2, 3, 4, 2, 3, 4]
    assert set(found) == {f"r{number}" for number in range(10)}


def test_rows_that_vanish_while_the_walk_goes_back_send_it_back_further() -> None:
    # Given two rows that vanish, so r6 is the first row of page 3. Before that page is requested
    # again, one more row vanishes, so r6 is on page 2
    changes = Changes(*range(1, 11))
    changes.before[4] = changes.drop("r0", "r1")
    changes.before[5] = changes.drop("r2")
    found = changes.walk(LONG_AGO)
    # Then the walk goes back to page 2
    assert changes.asked == [1, 2, 3, 4, 3, 2, 3, 4]
    assert set(found) == {f"r{number}" for number in range(10)}


def test_rows_of_the_page_that_the_walk_goes_back_to_may_come_again() -> None:
    # Given the last row that was read, which vanishes
    changes = Changes(*range(1, 11))
    changes.before[4] = changes.drop("r5")
    # When its page is read again, then that its other row comes again needs no explanation
    found = changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 4, 3, 4, 5]
    assert found.count("r4") == 2


def test_the_page_with_the_smaller_total_is_emitted_too() -> None:
    changes = Changes(1, 2, 3, 4)
    changes.before[2] = changes.drop("r0")
    assert changes.walk(LONG_AGO) == ["r0", "r1", "r3", "r1", "r2", "r3"]


def test_a_total_is_compared_with_that_of_the_last_answer_that_had_one() -> None:
    # Given two answers without a total, and a row that vanishes before the first of them
    changes = Changes(*range(1, 11))
    changes.before[2] = all_of(changes.drop("r0"), partial(setattr, changes, "counts", False))
    changes.before[4] = partial(setattr, changes, "counts", True)
    found = changes.walk(LONG_AGO)
    assert changes.asked[:5] == [1, 2, 3, 4, 1]
    assert set(found) == {f"r{number}" for number in range(10)}


def test_rows_that_are_created_during_the_walk_cost_no_request() -> None:
    # Given two new rows, which push others to the next page
    changes = Changes(*range(1, 8))
    changes.before[2] = changes.insert("new1")
    changes.before[3] = changes.insert("new2")
    found = changes.walk(LONG_AGO)
    # Then some rows come twice, which the totals explain, and none is missing
    assert changes.asked == [1, 2, 3, 4, 5]
    assert set(found) == {f"r{number}" for number in range(7)}


def test_more_new_rows_than_fit_on_a_page_are_accepted() -> None:
    # Given three new rows, so page 2 starts with the oldest of them
    changes = Changes(*range(1, 8))
    changes.before[2] = all_of(*(changes.insert(f"new{number}") for number in range(3)))
    found = changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 4, 5]
    assert set(found) == {f"r{number}" for number in range(7)} | {"new2"}


def test_an_edit_of_an_unread_row_is_found_on_the_first_page_at_the_end() -> None:
    changes = Changes(*range(1, 8))
    changes.before[2] = changes.edit("r5")
    found = changes.walk(LONG_AGO)
    # Then the last request is for the first page
    assert changes.asked == [1, 2, 3, 4, 1]
    assert set(found) == {f"r{number}" for number in range(7)} - {"r5"}


def test_an_edit_of_a_row_that_was_read_costs_nothing() -> None:
    changes = Changes(*range(1, 8))
    changes.before[3] = changes.edit("r1")
    changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 4]


def test_more_edits_than_fit_on_a_page_are_counted_over_several_pages() -> None:
    # Given four edits during the walk, with two rows per page
    changes = Changes(*range(1, 14))
    changes.before[2] = all_of(changes.edit("r9"), changes.edit("r10"))
    changes.before[3] = all_of(changes.edit("r11"), changes.edit("r12"))
    # When
    found = changes.walk(LONG_AGO)
    # Then the first two pages are read again, which shows that the edits explain all repeated rows
    assert changes.asked == [1, 2, 3, 4, 5, 6, 7, 1, 2]
    assert set(found) == {f"r{number}" for number in range(9)}


# -- rows with the same time that change places ---------------------------------------------------

TIED = (1, 2, 5, 5, 5, 5, 9)


@pytest.mark.parametrize(
    "order",
    [
        ("r2", "r4", "r3", "r5"),  # r3 comes twice, and r4 is missed
        ("r5", "r4", "r3", "r2"),
        ("r4", "r5", "r2", "r3"),
    ],
)
def test_everything_is_read_if_rows_with_the_same_time_change_places(
    order: tuple[str, ...],
) -> None:
    # Given rows that change places after the second page was read
    changes = Changes(*TIED)
    changes.before[3] = changes.order(*order)
    with pytest.raises(ReadEverything, match="with the same changed swap places") as raised:
        changes.walk(LONG_AGO)
    assert not raised.value.from_start


def test_rows_with_the_same_time_may_change_places_on_their_page() -> None:
    changes = Changes(*TIED)
    changes.before[3] = changes.order("r3", "r2", "r5", "r4")
    assert set(changes.walk(LONG_AGO)) == {f"r{number}" for number in range(7)}
    assert changes.asked == [1, 2, 3, 4]


def test_one_new_row_does_not_explain_two_repeated_rows() -> None:
    # Given a new row, which makes r1 come twice. Then rows with the same time change places, so r2
    # comes twice and r3 is missed
    changes = Changes(1, 2, 5, 5, 5, 9)
    changes.before[2] = changes.insert("new")
    changes.before[3] = changes.order("r3", "r2", "r4")
    # Then the walk does not accept the new row as the reason for both
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)


def test_an_edit_of_a_row_that_was_read_does_not_explain_a_repeated_row() -> None:
    # Given such an edit, which moves no unread row. Then rows with the same time change places, so
    # r2 comes twice and r4 is missed
    changes = Changes(1, 2, 5, 5, 5, 9)
    changes.before[2] = changes.edit("r0")
    changes.before[3] = changes.order("r4", "r3", "r2")
    # When the walk checks the first page, then it does not accept the edit as the reason
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("late", "order"),
    [
        (1, ("r1", "r3", "r4", "r2", "r5")),  # r2 comes twice, below r4; r3 is missed
        (2, ("r3", "r1", "r4", "r2", "r0", "r5")),  # r2 and r0 come twice, in another order
    ],
)
def test_a_row_that_appears_on_an_unread_page_does_not_explain_a_repeated_row(
    late: int, order: tuple[str, ...]
) -> None:
    # Given rows that become visible late, so the total grows although no row is pushed down
    changes = Changes(5, 5, 5, 5, 5, 5, 9, size=3)
    added = [{"id": f"late{number}", "changed": text(minutes=-8)} for number in range(late)]
    changes.before[2] = all_of(partial(changes.rows.extend, added), changes.order(*order))
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)
    assert changes.asked == [1, 2]


def test_new_rows_explain_only_repeats_of_rows_that_were_read_before_them() -> None:
    # Given six new rows, which push down only the two rows that were read. Later, rows with the
    # same time change places, so r2 comes twice and r4 is missed
    changes = Changes(1, 2, 5, 5, 5, 5, 9)
    changes.before[2] = all_of(*(changes.insert(f"new{number}") for number in range(6)))
    changes.before[6] = changes.order("r4", "r3", "r2", "r5")
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)


def test_a_missed_row_does_not_explain_a_repeated_one() -> None:
    # Given the newest rows, all with the same time, which change places after the first page was
    # read
    changes = Changes(5, 5, 5, 5, 9)
    changes.before[2] = changes.order("r2", "r1", "r0", "r3")
    # When r0 comes twice, and the first page has r2, which was missed
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)
    # Then r2 does not count as a change, because it is not newer than the rows that were read
    assert changes.asked == [1, 2, 3, 1]


def test_a_row_that_comes_after_the_last_page_does_not_explain_a_repeated_one() -> None:
    # Given a new row and rows with the same time that change places, so r2 and r3 come again and r4
    # is missed
    changes = Changes(1, 1, 2, 2, 2, 2, 9)
    changes.before[3] = all_of(changes.insert("new1"), changes.order("r4", "r2", "r5", "r3"))
    # When another one is created after the last page was read
    changes.before[5] = changes.insert("new2")
    # Then it does not count, because it pushed nothing down
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 4, 1, 2]


def test_a_row_that_comes_after_the_last_page_does_not_cast_doubt_on_an_explanation() -> None:
    # Given an unread row that is edited, so r1 comes again
    changes = Changes(1, 2, 3, 4, 5, 9)
    changes.before[2] = changes.edit("r5")
    # When another row is created after the last page was read
    changes.before[4] = changes.insert("new")
    # Then the edit still explains why r1 came again
    assert "r4" in changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 1]


def test_a_step_back_does_not_hide_that_rows_changed_places() -> None:
    # Given rows with the same time that change places after the third page was read, so r2 will
    # come again on page 5, and r8 was missed
    changes = Changes(1, 2, *[5] * 8, 9, size=2)
    changes.before[4] = changes.order("r8", "r3", "r4", "r5", "r6", "r7", "r2", "r9")
    # When a row of the third page vanishes, so the walk goes back to that page
    changes.before[5] = changes.drop("r5")
    # Then that does not explain why r2 comes again
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)


def scripts(*kinds: str) -> st.SearchStrategy[dict[int, list[str]]]:
    return st.dictionaries(
        st.integers(2, 9), st.lists(st.sampled_from(kinds), max_size=3), max_size=4
    )


@given(
    ties=st.lists(st.integers(0, 4), max_size=9),
    size=st.integers(1, 3),
    counts=st.booleans(),
    script=scripts("insert", "edit", "drop") | scripts("insert", "edit", "order"),
    seed=st.integers(0, 10**6),
)
@example(
    ties=[1, 0, 0, 1, 1, 0, 1, 0, 2],
    size=2,
    counts=True,
    script={2: ["edit"] * 3, 4: ["insert", "order"], 6: ["insert"]},
    seed=918,
)
@example(
    ties=[0, 0, 0, 0, 1, 1],
    size=1,
    counts=True,
    script={2: ["insert", "insert"], 3: ["insert"], 9: ["order"]},
    seed=0,
)
@example(ties=[0, 0, 1, 0, 1], size=2, counts=False, script={3: ["order"], 4: ["insert"]}, seed=4)
@settings(max_examples=400)
def test_every_row_that_nothing_happens_to_is_read_unless_the_walk_says_that_it_cannot_tell(
    ties: list[int], size: int, counts: bool, script: dict[int, list[str]], seed: int
) -> None:
    # Given rows with few different times. Between requests, some are created or edited, and some
    # either vanish or change places; both together could not be noticed
    changes = Changes(*(1 + minute for minute in ties), size=size, counts=counts)
    newest = max((row["changed"] for row in changes.rows), default="")
    untouched = {str(row["id"]) for row in changes.rows if row["changed"] != newest}
    random = Random(seed)

    def write(kinds: list[str]) -> None:
        for kind in kinds:
            ids = [str(row["id"]) for row in changes.rows]
            if kind == "insert":
                changes.insert(f"new {len(changes.asked)} {len(ids)}")()
            elif kind == "order":
                random.shuffle(changes.rows)
            elif ids and (kind == "edit" or counts):  # only a total shows that a row vanished
                id = random.choice(ids)
                untouched.discard(id)
                (changes.drop if kind == "drop" else changes.edit)(id)()

    for number, kinds in script.items():
        changes.before[number] = partial(write, kinds)
    # When the walk goes to the end of the list
    try:
        found = changes.walk(at(days=-9))
    except (ReadEverything, Untrustworthy):
        return
    # Then only rows that the next sync reads were missed, because they changed at the newest time
    assert untouched <= set(found)


def test_a_server_that_repeats_a_page_is_an_error() -> None:
    # Given a server that ignores the page number
    changes = Changes(*range(1, 9))
    changes.ask, ask = lambda number: ask(1), changes.ask  # type: ignore[method-assign]
    with pytest.raises(Untrustworthy, match="Acme repeats a page instead of moving on"):
        changes.walk(LONG_AGO)
    # Then there are four answers, and one to see whether changes on the first page explain them
    assert changes.asked == [1, 1, 1, 1, 1]


# -- when reading everything costs less -----------------------------------------------------------


def test_at_page_twenty_the_walk_requests_the_last_page_that_is_worth_reaching() -> None:
    # Given 100 pages of changes, of which 30 are worth reading
    changes = Changes(*range(200))
    with pytest.raises(ReadEverything) as raised:
        changes.walk(LONG_AGO, last_affordable=30)
    assert changes.asked == [*range(1, 21), 30]
    assert str(raised.value) == (
        "more than 60 meetings changed; reading everything by creation time, which costs fewer "
        "points."
    )


def test_the_walk_continues_if_the_last_page_worth_reaching_has_a_row_before_the_bound() -> None:
    changes = Changes(*range(200))
    found = changes.walk(at(minutes=-50), last_affordable=30)
    assert changes.asked == [*range(1, 21), 30, *range(21, 27)]
    assert len(found) == 52


def test_no_page_ahead_is_requested_if_the_total_is_small() -> None:
    for few in (50, 60):
        changes = Changes(*range(few))
        changes.walk(LONG_AGO, last_affordable=30)
        assert changes.asked == list(range(1, few // 2 + 1))
