"""Which page of the export to ask for next, while rows come and go.

Rows are listed by account, and the account of a row never changes. So two rows are always in the
same order, but not always on the same pages:

- A row that comes pushes others to later pages. Some are read twice, which does no harm.
- A row that vanishes pulls others to earlier pages. One of them may land on a page that has been
  read, and would be missed.

The answer is not documented (``rows.py``). What it reveals depends on the totals it has:

- A total of rows that falls says how many more rows vanished than came since the answer before.
  The walk goes back by as many, to a page with a row that it has read: all rows that it has not
  read come after that one.
- A number of pages that falls says that rows vanished, but not how many or when, because it stays
  the same while less than a page of them vanishes. The rows that moved may be on any page, so the
  walk has to start over.
- At the end, both say how many rows there are. (All pages but the last are full, so a number of
  pages and the length of the last page make a total of rows.) If fewer different rows were read,
  some were missed.

No answer reveals these, so a walk can miss a row:

- With a total of rows: some vanish between two answers, and at least as many come.
- With a number of pages only: some vanish, and the number stays the same.
- Without totals: some vanish. Also, a page that is the same as the one before, because as many rows
  as it holds came in front, cannot be told from a server that repeats its last page for ever.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from enum import Enum, auto

from source_meetings.providers.expoplatform.rows import Page

_MOST_BACK = 4  # pages to go back by in one walk, beyond as many as it has
_MOST_REPEATS = 4


class End(Enum):
    """How a walk ended."""

    LAST_PAGE = auto()
    VANISHED = auto()  # rows vanished, and unread ones may be on any page: start over
    REPEATS = auto()  # a page has the same rows as the one before, and should have others
    RESTLESS = auto()  # the total of rows kept falling


class Walk:
    """One walk through the pages, from the first one to the last.

    Ask for page ``number`` and ``take`` the answer, until ``end`` says how the walk ended. ``keys``
    has the keys of the rows that were read, ``falls`` how often the total of rows fell.
    ``page_size`` is how many rows are asked for at once; the server's pages may be smaller.
    """

    def __init__(self, page_size: int) -> None:
        self.number = 1
        self.end: End | None = None
        self.keys = Keys()
        self.falls = 0
        self._page_size = page_size
        self._size = 0  # of the largest page so far
        self._lengths: Counter[int] = Counter()  # of the pages before the last one
        self._length = 0  # of this page
        self._total: int | None = None
        self._least: int | None = None
        self._pages: int | None = None
        self._fewest_pages: int | None = None
        self._furthest = 1
        self._back = 0
        self._going_back = False
        self._previous: set[int] | None = None
        self._repeats = 0

    @property
    def total(self) -> int | None:
        """How many rows there were at the last answer; None if nothing says it."""
        return self._total if self._total is not None else self._rows_on(self._pages)

    @property
    def least(self) -> int | None:
        """How many rows there were at least throughout the walk; None if nothing says it."""
        if self._total is not None:
            return self._least
        return self._rows_on(self._fewest_pages, at_least=True)

    def take(self, page: Page, keys: Iterable[Hashable]) -> None:
        """Note the answer for page ``number``, then set ``number`` or ``end`` anew.

        ``keys`` has one key for each row of the page.
        """
        hashes = {hash(key) for key in keys}
        self._furthest = max(self._furthest, self.number)
        self._length = len(page.rows)
        more_rows, more_pages = self._note_total(page), self._note_pages(page)
        if self.number > 1 and not self._going_back:
            if more_rows < 0:
                self._go_back(-more_rows)
                return
            if more_pages < 0:
                self.end = End.VANISHED
                return
        if self._going_back and self.number > 1 and hashes.isdisjoint(self.keys):
            self.end = End.VANISHED  # more than the total fell by: other rows came meanwhile
            return
        self._going_back = False
        self.keys.add(hashes)
        repeated = bool(hashes) and hashes == self._previous
        if repeated and len(page.rows) == self._size and self._exists(page):
            # Legitimate if as many rows came in front as a page holds: everything moved by a page.
            self._repeats += 1
            if max(more_rows, more_pages) <= 0 or self._repeats > _MOST_REPEATS:
                self.end = End.REPEATS
                return
        elif repeated or not hashes:  # a server that repeats the end, or beyond the end
            self.end = End.LAST_PAGE
            return
        else:
            self._repeats = 0
        self._size = max(self._size, len(page.rows))
        if self._is_last(page):
            self.end = End.LAST_PAGE
            return
        self._lengths[len(page.rows)] += 1
        self._previous = hashes
        self.number += 1

    def _note_total(self, page: Page) -> int:
        """Return by how much the total of rows grew since the answer before."""
        # A total of as many rows as this page has, though others have been read, is of this page.
        if page.total is None or (self.number > 1 and page.total == len(page.rows)):
            return 0
        before, self._total = self._total, page.total
        self._least = min(page.total, page.total if self._least is None else self._least)
        return 0 if before is None else page.total - before

    def _note_pages(self, page: Page) -> int:
        """Return by how much the number of pages grew since the answer before."""
        if page.pages is None:
            return 0
        before, self._pages = self._pages, page.pages
        fewest = self._fewest_pages
        self._fewest_pages = min(page.pages, page.pages if fewest is None else fewest)
        return 0 if before is None else page.pages - before

    def _go_back(self, fallen: int) -> None:
        to = max(1, self.number - 1 - fallen // max(self._size, 1))
        self.falls += 1
        self._back += self.number - to
        if self._back > self._furthest + _MOST_BACK:
            self.end = End.RESTLESS
            return
        self.number = to
        self._going_back = True
        self._previous = None

    def _exists(self, page: Page) -> bool:
        """Whether the totals say that there are rows of its own for this page."""
        if page.pages is not None:
            return self.number <= page.pages
        return page.total is not None and (self.number - 1) * self._size < page.total

    def _is_last(self, page: Page) -> bool:
        """Whether the totals say so; without totals only the page after the last one tells."""
        if page.pages is not None:
            return self.number >= page.pages
        if page.total is None:
            return False
        # The largest page may be smaller than what was asked for.
        read = (self.number - 1) * self._size + len(page.rows)
        if len(page.rows) < self._size:
            return read >= page.total
        # A full page is the last one if the total says exactly that. If it has been exceeded, it
        # counts something else (meetings, or the rows of this page), and says nothing.
        return read == page.total and not (self.number == 1 and read == self._page_size)

    def _rows_on(self, pages: int | None, at_least: bool = False) -> int | None:
        """Return how many rows so many pages have: all but the last one are full.

        Without ``at_least``, the length of the last page is counted if the walk ended there. None
        if most pages are not full (they may be pages of meetings, not of rows), or if there is only
        one: no row can move to another page then.
        """
        if pages is None or pages < 2 or 2 * self._lengths[self._size] < self._lengths.total():
            return None
        ended_there = self.number == pages and not at_least
        return (pages - 1) * self._size + (max(1, self._length) if ended_there else 1)


class Keys:
    """Keys of rows as 64-bit hashes: a million in eight megabytes, where a set takes a hundred."""

    _AT_ONCE = 100_000

    def __init__(self) -> None:
        self._hashes = array("q")

    def __iter__(self) -> Iterator[int]:
        return iter(self._hashes)

    def add(self, hashes: Iterable[int]) -> None:
        self._hashes.extend(hashes)

    def distinct(self) -> tuple[int, int]:
        """Return how many different ones there are, and their sum, which stands for the set."""
        count = total = 0
        parts = 1 + len(self._hashes) // self._AT_ONCE
        for part in range(parts):
            found = {one for one in self._hashes if one % parts == part}
            count, total = count + len(found), total + sum(found)
        return count, total
