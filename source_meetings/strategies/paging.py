"""Reads all pages of a list by page number, while rows are added and removed.

The list must be sorted by something that never changes. Then two rows always have the same order,
but they are not always on the same pages:

- A row that is added pushes others to later pages. Some are read twice, which does no harm.
- A row that vanishes pulls others to earlier pages. One of them may land on a page that has
  already been read, and would be missed.

What an answer reveals depends on its totals:

- A total of rows that falls says how many more rows vanished than were added since the previous
  answer. The walk goes back by that many, to a page with a row that it has read: all rows that it
  has not read come after that one.
- A number of pages that falls says that rows vanished, but not how many or when, because it does
  not change while less than a page of them vanishes. The rows that moved may be on any page, so the
  walk must start over.
- At the end, both say how many rows there are. (All pages but the last are full, so the number of
  pages and the length of the last page give the total of rows.) If fewer distinct rows were read,
  some were missed.

In these cases no answer reveals the change, and a walk can miss a row:

- With a total of rows: some vanish between two answers, and at least as many are added.
- With only a number of pages: some vanish, and the number stays the same.
- Without totals: some vanish. Also, if exactly a page of rows is added at the front, the next page
  equals the previous one. A server that repeats its last page forever looks the same.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from enum import Enum, auto
from itertools import chain

from source_meetings.sync.reading import Answer, Row, Untrustworthy

LOGGER = logging.getLogger("airbyte.source_meetings")

_MOST_WALKS = 4
_MOST_PAGES = 100_000
_MOST_BACK = 4  # pages to go back by in one walk, in addition to as many as it has
_MOST_REPEATS = 4


class End(Enum):
    """How a walk ended."""

    LAST_PAGE = auto()
    VANISHED = auto()  # rows vanished, and unread ones may be on any page: start over
    REPEATS = auto()  # a page has the same rows as the one before, but should have others
    RESTLESS = auto()  # the total of rows kept falling


class PageWalk:
    """One walk through the pages, from the first one to the last.

    Request page ``number`` and ``take`` the answer, until ``end`` says how the walk ended. ``keys``
    has the keys of the rows that were read. ``falls`` counts how often the total of rows fell.
    ``page_size`` is how many rows are requested at once. The server's pages may be smaller.
    """

    def __init__(self, page_size: int) -> None:
        self.number = 1
        self.end: End | None = None
        self.keys = _Keys()
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
        """The number of rows at the last answer, or None if unknown."""
        return self._total if self._total is not None else self._rows_on(self._pages)

    @property
    def least(self) -> int | None:
        """The smallest number of rows at any time during the walk, or None if unknown."""
        if self._total is not None:
            return self._least
        return self._rows_on(self._fewest_pages, at_least=True)

    def take(self, page: Answer, keys: Iterable[Hashable]) -> None:
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
            self.end = End.VANISHED  # more than the total fell by: other rows were added meanwhile
            return
        self._going_back = False
        self.keys.add(hashes)
        repeated = bool(hashes) and hashes == self._previous
        if repeated and len(page.rows) == self._size and self._exists(page):
            # Legitimate if a full page of rows was added at the front: everything moved by a page.
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

    def _note_total(self, page: Answer) -> int:
        """Return by how much the total of rows grew since the previous answer."""
        # If the total equals this page's rows, but others have been read, it counts only this page.
        if page.total is None or (self.number > 1 and page.total == len(page.rows)):
            return 0
        before, self._total = self._total, page.total
        self._least = min(page.total, page.total if self._least is None else self._least)
        return 0 if before is None else page.total - before

    def _note_pages(self, page: Answer) -> int:
        """Return by how much the number of pages grew since the previous answer."""
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

    def _exists(self, page: Answer) -> bool:
        """Return whether the totals say that this page has rows of its own."""
        if page.pages is not None:
            return self.number <= page.pages
        return page.total is not None and (self.number - 1) * self._size < page.total

    def _is_last(self, page: Answer) -> bool:
        """Return whether the totals say that this page is the last one.

        Without totals, only the page after the last one shows it.
        """
        if page.pages is not None:
            return self.number >= page.pages
        if page.total is None:
            return False
        # The largest page may be smaller than what was requested.
        read = (self.number - 1) * self._size + len(page.rows)
        if len(page.rows) < self._size:
            return read >= page.total
        # A full page is the last one if the total says exactly that. If the total has been
        # exceeded, it counts something else (meetings, or the rows of this page), and is of no use.
        return read == page.total and not (self.number == 1 and read == self._page_size)

    def _rows_on(self, pages: int | None, at_least: bool = False) -> int | None:
        """Return how many rows this many pages have: all but the last one are full.

        Without ``at_least``, the length of the last page is counted if the walk ended there. None
        if most pages are not full (they may be pages of meetings, not of rows), or if there is only
        one: no row can move to another page then.
        """
        if pages is None or pages < 2 or 2 * self._lengths[self._size] < self._lengths.total():
            return None
        ended_there = self.number == pages and not at_least
        return (pages - 1) * self._size + (max(1, self._length) if ended_there else 1)


def all_pages(
    ask: Callable[[int], Answer],
    key: Callable[[Row], Hashable],
    page_size: int,
    *,
    provider: str,
    rows_of: str,
    stream: str,
) -> Iterator[Answer]:
    """Yield the pages of a list, and start again from page 1 while totals show missed rows.

    ``ask`` requests a page, and ``key`` identifies a row. The other names are for messages:
    ``rows_of`` says whose rows they are, as in "rows of event 7".

    Raises Untrustworthy if the pages contradict each other, or keep changing.
    """
    before: tuple[int, int] | None = None
    repeated = False
    for _ in range(_MOST_WALKS):
        walk = PageWalk(page_size)
        yield from _pages_of(walk, ask, key, provider, rows_of)
        if walk.end is End.VANISHED:
            continue
        if walk.end is End.REPEATS:
            # Once, rows that were added while others vanished may explain it.
            if repeated:
                raise Untrustworthy(f"{provider} repeats a page instead of moving on.")
            repeated = True
            continue
        total, least = walk.total, walk.least
        if total is None or least is None:
            return
        listed = walk.keys.distinct()
        # After a second walk, the only rows left may be those added during it, to pages that had
        # already been read. They are left to the next sync: a busy list has some at every walk.
        if listed[0] >= (total if before is None else least):
            return
        if listed[0] == 0:
            raise Untrustworthy(f"{provider} counts {rows_of} but lists none.")
        if listed == before:
            LOGGER.warning(
                "Stream %s: %s counts %s %s but lists %d, the same ones twice; using the list.",
                stream,
                provider,
                total,
                rows_of,
                listed[0],
            )
            return
        before = listed
    raise _restless(rows_of, _MOST_WALKS)


def _pages_of(
    walk: PageWalk,
    ask: Callable[[int], Answer],
    key: Callable[[Row], Hashable],
    provider: str,
    rows_of: str,
) -> Iterator[Answer]:
    for _ in range(_MOST_PAGES):
        answer = ask(walk.number)
        keys = [key(row) for row in answer.rows]
        yield answer
        walk.take(answer, keys)
        if walk.end is End.RESTLESS:
            raise _restless(rows_of, walk.falls)
        if walk.end:
            return
    raise _endless(provider)


def _endless(provider: str) -> Untrustworthy:
    return Untrustworthy(f"{provider} lists more than {_MOST_PAGES} pages.")


def _restless(rows_of: str, times: int) -> Untrustworthy:
    return Untrustworthy(
        f"the {rows_of} kept moving while they were read, {times} times in a row. Nothing was "
        "lost; run the sync again later."
    )


def all_tokens(ask: Callable[[str | None], Answer], *, provider: str) -> Iterator[Answer]:
    """Yield the pages of a list whose answers name the token of the next page.

    ``ask`` requests the page with a token. None requests the first page.

    Raises Untrustworthy if a token is repeated, or if the list does not end.
    """
    token: str | None = None
    seen: set[str] = set()
    for _ in range(_MOST_PAGES):
        answer = ask(token)
        yield answer
        token = answer.following
        if token is None:
            return
        if token in seen:
            raise Untrustworthy(f"{provider} repeats a page instead of moving on.")
        seen.add(token)
    raise _endless(provider)


class _Keys:
    """Keys of rows as 64-bit hashes. A million take 8 megabytes, but would take 100 in a set.

    They are kept in parts, each small enough for a set.
    """

    _PARTS = 64

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(self._PARTS)]

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._parts)

    def add(self, hashes: Iterable[int]) -> None:
        for one in hashes:
            self._parts[one % self._PARTS].append(one)

    def distinct(self) -> tuple[int, int]:
        """Return how many distinct keys there are, and their sum, which identifies the set."""
        count = total = 0
        for part in self._parts:
            found = set(part)
            count, total = count + len(found), total + sum(found)
        return count, total
