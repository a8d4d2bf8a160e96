"""The walk from the newest change down to a bound."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_meetings.strategies.newest_first import NewestFirst
from source_meetings.sync.reading import Answer, ReadEverything, Row, Untrustworthy
from unit_tests.logic.fakes import at, text


class Changes:
    """A list sorted by time of change, newest first, page by page.

    ``before`` writes between two requests, by the number of the second one. Rows of the same time
    stand in the order of ``rows``.
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
            at(),
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
        """Put rows of the same time in this order."""

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


def test_the_walk_ends_with_the_page_that_reaches_below_the_bound() -> None:
    changes = Changes(1, 2, 3, 4, 5, 6)
    assert changes.walk(at(minutes=-3)) == ["r0", "r1", "r2", "r3"]
    assert changes.asked == [1, 2]


def test_a_page_that_ends_at_the_bound_is_not_the_last_one() -> None:
    # Because the next one may begin with more rows of that moment
    changes = Changes(1, 2, 2, 3)
    assert changes.walk(at(minutes=-2)) == ["r0", "r1", "r2", "r3"]


def test_the_walk_ends_where_the_list_does() -> None:
    changes = Changes(1, 2, 3)
    assert changes.walk(LONG_AGO) == ["r0", "r1", "r2"]
    assert changes.asked == [1, 2]
    assert Changes().walk(LONG_AGO) == []


@pytest.mark.parametrize("stamp", [None, "", "soon", 7])
def test_a_page_whose_last_row_does_not_say_when_it_changed_is_not_the_last_one(
    stamp: Any,
) -> None:
    # Given a first page whose last row has no stamp that can be read
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


# -- rows that vanish, come or change meanwhile ---------------------------------------------------


def test_rows_that_vanish_send_the_walk_back_by_as_many_rows() -> None:
    # Given pages of two, and three rows that vanish from pages that were read
    changes = Changes(*range(1, 11))
    changes.before[4] = changes.drop("r0", "r2", "r4")
    # When the fall of the total shows it on page 4
    found = changes.walk(LONG_AGO)
    # Then the walk goes on two pages before
    assert changes.asked == [1, 2, 3, 4, 2, 3, 4]
    assert set(found) == {f"r{number}" for number in range(10)}


def test_rows_that_vanish_while_the_walk_goes_back_send_it_back_further() -> None:
    # Given two rows that vanish, so that r6 is the first row of page 3, and one more that vanishes
    # before that page is asked for again, so that r6 is on page 2
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


def test_the_page_that_shows_the_fall_is_emitted_too() -> None:
    changes = Changes(1, 2, 3, 4)
    changes.before[2] = changes.drop("r0")
    assert changes.walk(LONG_AGO) == ["r0", "r1", "r3", "r1", "r2", "r3"]


def test_a_fall_is_counted_from_the_last_answer_that_had_a_total() -> None:
    # Given two answers without a total, and a row that vanishes before the first of them
    changes = Changes(*range(1, 11))
    changes.before[2] = all_of(changes.drop("r0"), partial(setattr, changes, "counts", False))
    changes.before[4] = partial(setattr, changes, "counts", True)
    found = changes.walk(LONG_AGO)
    assert changes.asked[:5] == [1, 2, 3, 4, 1]
    assert set(found) == {f"r{number}" for number in range(10)}


def test_rows_that_are_created_meanwhile_cost_no_request() -> None:
    # Given two new rows, which push others over the edge of the page
    changes = Changes(*range(1, 8))
    changes.before[2] = changes.insert("new1")
    changes.before[3] = changes.insert("new2")
    found = changes.walk(LONG_AGO)
    # Then some come twice, the totals say why, and none is left out
    assert changes.asked == [1, 2, 3, 4, 5]
    assert set(found) == {f"r{number}" for number in range(7)}


def test_more_new_rows_than_a_page_holds_come_before_those_that_were_read() -> None:
    # Given three new rows: page 2 begins with the oldest of them
    changes = Changes(*range(1, 8))
    changes.before[2] = all_of(*(changes.insert(f"new{number}") for number in range(3)))
    found = changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 4, 5]
    assert set(found) == {f"r{number}" for number in range(7)} | {"new2"}


def test_an_edit_of_an_unread_row_is_found_at_the_top_at_the_end() -> None:
    changes = Changes(*range(1, 8))
    changes.before[2] = changes.edit("r5")
    found = changes.walk(LONG_AGO)
    # The last request is for the first page
    assert changes.asked == [1, 2, 3, 4, 1]
    assert set(found) == {f"r{number}" for number in range(7)} - {"r5"}


def test_an_edit_of_a_row_that_was_read_costs_nothing() -> None:
    changes = Changes(*range(1, 8))
    changes.before[3] = changes.edit("r1")
    changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 4]


def test_more_edits_than_a_page_holds_are_counted_over_several_pages() -> None:
    # Given four edits while the list is walked through, two to a page
    changes = Changes(*range(1, 14))
    changes.before[2] = all_of(changes.edit("r9"), changes.edit("r10"))
    changes.before[3] = all_of(changes.edit("r11"), changes.edit("r12"))
    # When
    found = changes.walk(LONG_AGO)
    # Then the two pages of the top that hold them show that nothing else brought rows again
    assert changes.asked == [1, 2, 3, 4, 5, 6, 7, 1, 2]
    assert set(found) == {f"r{number}" for number in range(9)}


# -- rows of the same time that change places -----------------------------------------------------

TIED = (1, 2, 5, 5, 5, 5, 9)


@pytest.mark.parametrize(
    "order",
    [
        ("r2", "r4", "r3", "r5"),  # r3 comes twice, and r4 is passed by
        ("r5", "r4", "r3", "r2"),
        ("r4", "r5", "r2", "r3"),
    ],
)
def test_rows_of_the_same_time_that_change_places_have_everything_read(
    order: tuple[str, ...],
) -> None:
    # Given that rows change places after the second page was read
    changes = Changes(*TIED)
    changes.before[3] = changes.order(*order)
    with pytest.raises(ReadEverything, match="with the same changed swap places") as raised:
        changes.walk(LONG_AGO)
    assert not raised.value.from_start


def test_rows_of_the_same_time_may_change_places_on_their_page() -> None:
    changes = Changes(*TIED)
    changes.before[3] = changes.order("r3", "r2", "r5", "r4")
    assert set(changes.walk(LONG_AGO)) == {f"r{number}" for number in range(7)}
    assert changes.asked == [1, 2, 3, 4]


def test_a_new_row_does_not_explain_that_others_change_places_as_well() -> None:
    # Given a new row, which brings r1 again, and then rows of the same time that change places, so
    # that r2 comes again and r3 is passed by
    changes = Changes(1, 2, 5, 5, 5, 9)
    changes.before[2] = changes.insert("new")
    changes.before[3] = changes.order("r3", "r2", "r4")
    # Then one new row is not taken for the reason of two
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)


def test_an_edit_of_a_row_that_was_read_does_not_explain_that_others_change_places() -> None:
    # Given such an edit, which pushes nothing, and rows of the same time that change places, so
    # that r2 comes again and r4 is passed by
    changes = Changes(1, 2, 5, 5, 5, 9)
    changes.before[2] = changes.edit("r0")
    changes.before[3] = changes.order("r4", "r3", "r2")
    # When the top is looked at for a reason, then the edited row there is none
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)
    assert changes.asked == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("late", "order"),
    [
        (1, ("r1", "r3", "r4", "r2", "r5")),  # r2 comes again, below r4; r3 is passed by
        (2, ("r3", "r1", "r4", "r2", "r0", "r5")),  # r2 and r0 come again, in another order
    ],
)
def test_a_row_that_appears_below_the_walk_does_not_explain_that_others_change_places(
    late: int, order: tuple[str, ...]
) -> None:
    # Given rows that become visible late, so that the total grows and nothing is pushed
    changes = Changes(5, 5, 5, 5, 5, 5, 9, size=3)
    added = [{"id": f"late{number}", "changed": text(minutes=-8)} for number in range(late)]
    changes.before[2] = all_of(partial(changes.rows.extend, added), changes.order(*order))
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)
    assert changes.asked == [1, 2]


def test_new_rows_explain_no_more_rows_than_had_been_read_before_them() -> None:
    # Given six new rows, which push the two that were read, and no other, and rows of the same time
    # that change places later, so that r2 comes again and r4 is passed by
    changes = Changes(1, 2, 5, 5, 5, 5, 9)
    changes.before[2] = all_of(*(changes.insert(f"new{number}") for number in range(6)))
    changes.before[6] = changes.order("r4", "r3", "r2", "r5")
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)


def test_a_row_that_was_passed_by_does_not_explain_that_another_one_comes_twice() -> None:
    # Given that the newest rows, all of the same time, change places after the first page was read
    changes = Changes(5, 5, 5, 5, 9)
    changes.before[2] = changes.order("r2", "r1", "r0", "r3")
    # When r0 comes again, and the top shows r2, which was passed by
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)
    # Then r2 is not taken for a change: it is no newer than what was read
    assert changes.asked == [1, 2, 3, 1]


def test_a_step_back_does_not_hide_that_rows_change_places() -> None:
    # Given rows of the same time that change places after the third page was read: r2 is to come
    # again on page 5, and r8 was passed by
    changes = Changes(1, 2, *[5] * 8, 9, size=2)
    changes.before[4] = changes.order("r8", "r3", "r4", "r5", "r6", "r7", "r2", "r9")
    # When a row of the third page vanishes, so that the walk goes back to it
    changes.before[5] = changes.drop("r5")
    # Then r2 has no reason to come again
    with pytest.raises(ReadEverything, match="swap places"):
        changes.walk(LONG_AGO)


gaps = st.lists(st.sampled_from(["insert", "edit", "drop"]), max_size=3) | st.lists(
    st.sampled_from(["insert", "edit", "order"]), max_size=3
)


@given(
    ties=st.lists(st.integers(0, 4), max_size=9),
    size=st.integers(1, 3),
    counts=st.booleans(),
    script=st.dictionaries(st.integers(2, 9), gaps, max_size=4),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=400)
def test_every_row_that_nothing_happens_to_is_read_unless_the_walk_says_that_it_cannot_tell(
    ties: list[int], size: int, counts: bool, script: dict[int, list[str]], seed: int
) -> None:
    # Given rows of few different times. Between two requests some are created, edited, and either
    # vanish or change places: nothing would show both together
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
            elif ids and (kind == "edit" or counts):  # nothing but a total shows that a row is gone
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
    # Then nothing was passed by but what the next sync reads: it begins at the newest moment
    assert untouched <= set(found)


def test_a_server_that_repeats_a_page_is_not_believed() -> None:
    # Given a server that ignores the page number
    changes = Changes(*range(1, 9))
    changes.ask, ask = lambda number: ask(1), changes.ask  # type: ignore[method-assign]
    with pytest.raises(Untrustworthy, match="Acme repeats a page instead of moving on"):
        changes.walk(LONG_AGO)
    # Four answers, and one to see whether changes at the top explain them
    assert changes.asked == [1, 1, 1, 1, 1]


# -- when reading everything costs less -----------------------------------------------------------


def test_at_page_twenty_the_last_page_worth_walking_to_is_asked_for() -> None:
    # Given 100 pages of changes, of which 30 are worth walking to
    changes = Changes(*range(200))
    with pytest.raises(ReadEverything) as raised:
        changes.walk(LONG_AGO, last_affordable=30)
    assert changes.asked == [*range(1, 21), 30]
    assert str(raised.value) == (
        "more than 60 meetings changed; reading everything by creation time, which costs fewer "
        "points."
    )


def test_the_walk_goes_on_if_the_last_page_worth_walking_to_reaches_below_the_bound() -> None:
    changes = Changes(*range(200))
    found = changes.walk(at(minutes=-50), last_affordable=30)
    assert changes.asked == [*range(1, 21), 30, *range(21, 27)]
    assert len(found) == 52


def test_no_page_ahead_is_asked_for_if_the_total_says_that_there_are_few() -> None:
    for few in (50, 60):
        changes = Changes(*range(few))
        changes.walk(LONG_AGO, last_affordable=30)
        assert changes.asked == list(range(1, few // 2 + 1))
