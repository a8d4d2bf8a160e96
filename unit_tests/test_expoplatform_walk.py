"""Which page of ExpoPlatform's export is asked for next; no HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_meetings.providers.expoplatform.rows import Page
from source_meetings.providers.expoplatform.walk import End, Walk

INSERT = "insert in front"
MOST_REQUESTS = 1000


@dataclass
class Export:
    """Rows in the order of the list, and what becomes of them before the answer of a number."""

    rows: list[int]
    size: int
    writes: dict[int, list[int | str]] = field(default_factory=dict)
    answers: int = 0

    def page(self, number: int, totals: str) -> tuple[Page, list[str]]:
        self.answers += 1
        for write in self.writes.get(self.answers, []):
            if write == INSERT:
                self.rows.insert(0, min(self.rows, default=0) - 1)
            elif self.rows:
                del self.rows[int(write) % len(self.rows)]
        found = self.rows[(number - 1) * self.size : number * self.size]
        pages = -(-len(self.rows) // self.size)
        return Page(
            [{"id": row} for row in found],
            total=len(self.rows) if totals == "rows" else None,
            pages=pages if totals == "pages" else None,
        ), [f"row {row}" for row in found]


def walked(walk: Walk, export: Export, totals: str) -> set[str]:
    """Walk to the end; return the keys of the rows that were read."""
    seen: set[str] = set()
    while walk.end is None:
        page, keys = export.page(walk.number, totals)
        seen |= set(keys)
        walk.take(page, keys)
        assert export.answers < MOST_REQUESTS
    return seen


def lengths(walk: Walk, pages: int, *counts: int) -> Walk:
    """Take pages with so many rows, all of which say how many pages there are."""
    key = iter(range(10**6))
    for count in counts:
        walk.take(Page([{}] * count, pages=pages), [next(key) for _ in range(count)])
    return walk


WRITES = st.dictionaries(
    st.integers(min_value=2, max_value=12),
    st.lists(st.just(INSERT) | st.integers(min_value=0, max_value=12), min_size=1, max_size=4),
    max_size=4,
)


@given(
    count=st.integers(min_value=0, max_value=12),
    # A number of pages of one row each is a total of rows in another guise.
    kind=st.tuples(st.just("rows"), st.integers(1, 4)) | st.just(("pages", 1)),
    writes=WRITES,
)
@settings(max_examples=500)
def test_no_row_is_passed_by_whatever_is_inserted_in_front_or_vanishes(count, kind, writes):
    # Given rows, some of which vanish between two answers while others come in front
    totals, size = kind
    export = Export(list(range(count)), size, writes)
    # When they are read, once more from the start where the walk says so
    seen: set[str] = set()
    end = None
    while end is not End.LAST_PAGE:
        walk = Walk(page_size=size)
        seen |= walked(walk, export, totals)
        end = walk.end
    # Then all that were there from the beginning to the end have been read
    assert seen >= {f"row {row}" for row in export.rows if row >= 0}


def test_the_walk_goes_back_by_as_many_rows_as_the_total_fell_and_no_further():
    # Given ten pages, and three rows of the first one that vanish before the eighth is asked for
    export = Export(list(range(100)), 10, {8: [0, 0, 0]})
    walk, asked = Walk(page_size=10), []
    while walk.end is None:
        asked.append(walk.number)
        walk.take(*export.page(walk.number, "rows"))
    # Then the walk goes on from the page before
    assert asked == [1, 2, 3, 4, 5, 6, 7, 8, 7, 8, 9, 10]


def test_a_page_of_none_but_unread_rows_is_not_far_enough_back():
    # Given a total that falls by one, because 25 rows vanished while others came at the end
    export = Export(list(range(100)), 10)
    walk = Walk(page_size=10)
    for _ in range(5):
        walk.take(*export.page(walk.number, "rows"))
    export.rows[:25] = []
    export.rows += range(100, 124)
    # When the walk finds no row on the page before that it has read
    walk.take(*export.page(walk.number, "rows"))
    assert (walk.number, walk.end) == (5, None)
    walk.take(*export.page(walk.number, "rows"))
    # Then it starts over
    assert walk.end is End.VANISHED


def test_a_number_of_pages_that_falls_counts_although_the_total_stays():
    # Given a total of something else, of meetings for example
    walk = Walk(page_size=2)
    walk.take(Page([{}, {}], total=9, pages=3), [1, 2])
    # When the number of pages falls
    walk.take(Page([{}, {}], total=9, pages=2), [3, 4])
    # Then rows vanished
    assert walk.end is End.VANISHED


@pytest.mark.parametrize("step", [1, 2, 10, 1000])
def test_a_total_that_falls_with_every_answer_ends_the_walk_soon(step):
    # Given a server whose rows stay while its total falls
    walk = Walk(page_size=2)
    for answers in range(MOST_REQUESTS):
        first = 2 * walk.number
        walk.take(Page([{}, {}], total=10**6 - step * answers), [first, first + 1])
        if walk.end:
            break
    # Then the walk does not take it for progress
    assert walk.end is End.RESTLESS


@pytest.mark.parametrize(
    ("pages", "counts", "total"),
    [
        (1, [2], None),  # nothing can move from page to page
        (2, [500, 7], 507),
        (3, [500, 500, 500], 1500),
        (4, [500, 499, 500, 7], 1507),  # one came short
        (4, [1010, 1007, 1013, 20], None),  # pages of meetings, with all of their participants
        (9, [100, 100, 100, 0], 801),  # there should be more
        (2, [0], 1),
    ],
)
def test_how_many_rows_there_are_follows_from_full_pages_and_the_last_one(pages, counts, total):
    walk = lengths(Walk(page_size=500), pages, *counts)
    assert walk.end is End.LAST_PAGE
    assert walk.total == total
