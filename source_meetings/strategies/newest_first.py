"""Walks a list sorted by time of change, newest first, down to a bound.

For APIs that can sort by time of change but not filter by it. A row that is edited during the walk
jumps to the top, above the saved moment, and the next sync reads it. In the other direction, each
edit would move an unread row across the edge of the page.

Three things can go wrong, and each one is visible:

- Rows that vanish pull unread rows onto pages that have been read. The total falls, and the walk
  goes back by the same number of rows.
- Rows that are created, or edited before the walk has read them, move to the top and push others
  across the edge of the page, so that these appear twice. That does no harm.
- Rows with the same time may swap places between two requests, if no order among them is
  documented. Then one of them also appears twice, and another one is left out. So the walk counts
  rows that appear twice, and compares them with the changes at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import dropwhile, takewhile
from typing import Any

from source_meetings import timestamps
from source_meetings.sync.clock import reached
from source_meetings.sync.reading import Answer, ReadEverything, Row, Untrustworthy

_PAGES_BEFORE_LOOKING_AHEAD = 20
_MOST_IDLE_PAGES = 3

Version = tuple[Any, str]
"""A row's key, and its time of change as text, whatever was received."""


class _Walked:
    """The rows that a walk has read, to find out why a row appears again.

    ``repeats``: rows that appeared twice. ``inserted``: how many of them the growing totals
    explain. ``keys``: the rows that were read. ``idle_pages``: consecutive pages without a new row.
    """

    def __init__(self, key: str, changed: str) -> None:
        self.repeats = 0
        self.inserted = 0
        self.idle_pages = 0
        self.keys: set[Any] = set()
        self._key = key
        self._changed = changed
        self._top: datetime | None = None
        self._places: dict[Version, int] = {}

    def take(self, rows: list[Row]) -> bool:
        """Add the rows of the next page.

        Returns False if something other than a change above the walk brought a row again. After
        changes, a page holds rows newer than all that were read (if the changes fill more than a
        page), then rows that were read, in their old order, then unread rows.
        """
        known = [self._version(row) for row in dropwhile(self._is_newer, rows)]
        places = [self._places[version] for version in known if version in self._places]
        come_first = all(version in self._places for version in known[: len(places)])
        repeats = sum(version in self._places for version in map(self._version, rows))
        self.repeats += repeats
        self.idle_pages = self.idle_pages + 1 if rows and repeats == len(rows) else 0
        if rows and self._top is None:
            self._top = timestamps.parse_or_none(rows[0].get(self._changed))
        for version in map(self._version, rows):
            self._places.setdefault(version, len(self._places))
        self.keys.update(row.get(self._key) for row in rows)
        return come_first and places == sorted(places)

    def step_back(self, rows: int) -> None:
        """Expect all but the first ``rows`` again: pages are read again on purpose."""
        self._places = {version: at for version, at in self._places.items() if at < rows}

    def changed_since(self, top: list[Row]) -> list[Row]:
        """Return the rows at the top of a first page that are newer than all that was read."""
        return list(takewhile(self._is_newer, top))

    def _is_newer(self, row: Row) -> bool:
        moment = timestamps.parse_or_none(row.get(self._changed))
        return moment is not None and self._top is not None and moment > self._top

    def _version(self, row: Row) -> Version:
        return row.get(self._key), str(row.get(self._changed))


class NewestFirst:
    """One walk, from the newest change down to ``bound``.

    ``ask`` requests a page by its number. ``has_more`` says whether another page follows. ``key``
    and ``changed`` are the fields of a row with its key and its time of change. ``affordable``
    takes the total of rows and returns the last page worth walking to: beyond it, reading
    everything costs less.
    """

    def __init__(
        self,
        ask: Callable[[int], Answer],
        has_more: Callable[[Answer], bool],
        *,
        provider: str,
        key: str,
        changed: str,
        page_size: int,
        affordable: Callable[[int | None], int],
        bound: datetime,
    ) -> None:
        self._ask = ask
        self._has_more = has_more
        self._provider = provider
        self._key = key
        self._changed = changed
        self._page_size = page_size
        self._affordable = affordable
        self._bound = bound
        self._read = _Walked(key, changed)
        self._total: int | None = None
        self._counted_page = 1  # the last one whose answer had a total
        self._clock = timestamps.EPOCH  # the provider's, at the last page that was read

    def pages(self) -> Iterator[Answer]:
        """Yield the pages.

        Raises ReadEverything if the order is not reliable, or the walk would cost more than reading
        everything. Raises Untrustworthy if the walk makes no progress.
        """
        page = 1
        while True:
            answer = self._ask(page)
            fallen = self._fallen(answer)
            if fallen:
                # Unread rows have moved up by the same number of places, onto pages that have been
                # read.
                page = max(1, self._counted_page + 1 - -(-fallen // self._page_size))
                self._counted_page = page - 1
                self._read.step_back((page - 1) * self._page_size)
                yield answer
                continue
            if answer.total is not None:
                self._counted_page = page
            if not self._read.take(answer.rows):
                raise self._unstable_order()
            self._clock = answer.clock
            yield answer
            if self._ends_below(answer) or not self._has_more(answer):
                break
            if self._read.idle_pages == _MOST_IDLE_PAGES and not self._changes_explain_repeats():
                raise Untrustworthy(f"{self._provider} repeats a page instead of moving on.")
            if page == _PAGES_BEFORE_LOOKING_AHEAD:
                self._look_ahead()
            page += 1
        if not self._changes_explain_repeats():
            raise self._unstable_order()

    def _fallen(self, answer: Answer) -> int:
        """Return by how much the total fell since it was last counted."""
        before = self._total
        self._total = before if answer.total is None else answer.total
        if before is None or self._total is None:
            return 0
        self._read.inserted += min(max(0, self._total - before), len(self._read.keys))
        return max(0, before - self._total)

    def _changes_explain_repeats(self) -> bool:
        """Return whether changes above the walk explain every row that appeared twice.

        The totals show the rows that were created. If these do not explain all repeats, all new
        rows at the top are counted, which includes edited rows. Rows that were created after the
        last page was read explain nothing.
        """
        read, page, grown = self._read, 1, 0
        new: set[Any] = set()
        late: set[Any] = set()
        if read.inserted >= read.repeats:
            return True
        while True:
            answer = self._ask(page)
            if page == 1 and answer.total is not None and self._total is not None:
                grown = max(0, answer.total - self._total)
            changed = read.changed_since(answer.rows)
            for row in changed:
                (new if self._was_in_time(row) else late).add(row.get(self._key))
            # The total grew by late rows, too. Those that do not show it by their time are in new.
            needed = read.repeats + max(0, grown - len(late - read.keys))
            explained = len(new - read.keys) >= needed
            if explained or len(changed) < len(answer.rows) or not self._has_more(answer):
                return explained
            page += 1

    def _was_in_time(self, row: Row) -> bool:
        """Return whether a row may have changed before the last page was read."""
        return bool(reached([timestamps.parse_or_none(row.get(self._changed))], self._clock))

    def _look_ahead(self) -> None:
        """Request the last page that is worth walking to."""
        last = self._affordable(self._total)
        if self._total is not None and self._total <= last * self._page_size:
            return
        furthest = self._ask(last)
        if furthest.rows and not self._ends_below(furthest):
            raise ReadEverything(
                f"more than {last * self._page_size} meetings changed; reading everything by "
                "creation time, which costs fewer points."
            )

    def _ends_below(self, answer: Answer) -> bool:
        last = timestamps.parse_or_none(answer.rows[-1].get(self._changed)) if answer.rows else None
        return last is not None and last < self._bound

    def _unstable_order(self) -> ReadEverything:
        return ReadEverything(
            f"meetings with the same {self._changed} swap places between two pages; reading by "
            "creation time, so that none is missed."
        )
