"""Pages of Close's list of meetings, and the walk through a list that cannot be cut.

- ``GET /activity/meeting/`` can be filtered by ``date_created``, compared by the second, and by
  ``id__in``, not by ``date_updated``. It has no documented order and no cursor, and a ceiling on
  ``_skip`` that is published nowhere: https://developer.close.com/topics/pagination
- Some public programs report that it ignores ``date_created__gte`` and ``date_created__lt``
  silently; others rely on them. So the rows of every bounded answer are compared with what was
  asked for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from source_meetings import timestamps
from source_meetings.providers.close.event_log import in_query
from source_meetings.sync.reading import Answer, Api, Row, Untrustworthy

_SECOND = timedelta(seconds=1)
_MOST_PASSES = 40
_MOST_IDLE_PAGES = 10  # in a row, that show nothing new: an import adds hundreds of rows at once


class FiltersIgnored(Exception):
    """Close answered with meetings from outside the window that it was asked for."""


@dataclass(frozen=True)
class Page:
    """One answer, and the ``date_created`` of its rows, of those that can be read."""

    answer: Answer
    moments: list[datetime]

    @property
    def rows(self) -> list[Row]:
        return self.answer.rows

    @property
    def more(self) -> bool:
        """Whether there are more rows than the page holds; documented as always present."""
        return bool(self.answer.more)


class MeetingList:
    """Asks for pages of the list."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.page_size = api.page_size("meetings")

    def page(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
        skip: int | None = None,
    ) -> Page:
        """Ask for one page of a half-open window; None leaves a side open.

        Raises FiltersIgnored when the answer has meetings from outside the window.
        """
        params: dict[str, str] = {}
        if limit is not None:
            params["_limit"] = str(limit)
        if start is not None:
            params["date_created__gte"] = in_query(start)
        if end is not None:
            params["date_created__lt"] = in_query(end)
        answer = self._api.get("meetings", params, page=skip)
        if start is None and end is None:
            return Page(answer, [])
        moments = [moment for row in answer.rows if (moment := created(row)) is not None]
        if any(is_outside(moment, start, end) for moment in moments):
            raise FiltersIgnored
        return Page(answer, moments)

    def by_id(self, ids: list[str]) -> Page:
        """Ask for meetings by their ids."""
        return Page(self._api.get("meetings", {"id__in": ",".join(ids)}), [])

    def skip_through(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        first: Page | None = None,
    ) -> Iterator[Answer]:
        """Yield the pages of what cannot be cut, by ``_skip``: one second, or the whole list.

        ``first`` is its first page, if it was read already. The pages may repeat rows.

        The list is read again until the pages of one pass fit together. An order that changes with
        every request never fits. Then passes are added up until they have found as many rows as
        the list is long, and the next ones have found exactly the same rows: all of these existed
        when the rows were counted, so none is missing.

        Raises Untrustworthy when neither happens, or when the pages do not end.
        """
        found: set[int] = set()
        complete: set[int] = set()
        for _ in range(_MOST_PASSES):
            fits, seen, length = yield from self._pass(start, end, first)
            if fits:
                return
            first = None
            found |= seen
            if len(found) >= length:
                if found == complete:
                    return
                complete, found = found, set()
        raise unreadable("the meetings change their order with every request")

    def _pass(
        self, start: datetime | None, end: datetime | None, page: Page | None
    ) -> Generator[Answer, None, tuple[bool, set[int], int]]:
        """Yield the pages once, from the first to the last.

        Each page begins with the last row of the one before it, which proves that no row between
        them was left out. If it does not, rows above it have vanished while we read.

        Returns whether the pages fit together, the rows on them, and the length of the list.
        """
        page = page or self.page(start, end)
        seen: set[int] = set()
        fits, skip, idle = True, 0, 0
        while True:
            yield page.answer
            rows = _versions(page)
            idle = idle + 1 if seen.issuperset(rows) else 0
            if idle == _MOST_IDLE_PAGES:
                raise unreadable("a list repeats a page and does not end")
            seen.update(rows)
            if not page.more:
                return fits, seen, skip + len(rows)
            if not rows:
                raise unreadable("an empty page says that there is more")
            step = max(1, len(rows) - 1)
            skip += step
            page = self.page(start, end, skip=skip)
            if fits and not _goes_on(_versions(page), rows, seen):
                # Half a page further back are rows that we know.
                skip -= step // 2
                page = self.page(start, end, skip=skip)
                fits = _goes_on(_versions(page), rows, seen)


def created(row: Row) -> datetime | None:
    """Return a meeting's ``date_created``."""
    return timestamps.parse_or_none(row.get("date_created"))


def is_outside(moment: datetime | None, start: datetime | None, end: datetime | None) -> bool:
    """Return whether a half-open window cannot hold a moment, not even as Close compares.

    It compares by the second (observed: https://github.com/singer-io/tap-closeio). A moment that is
    not known is not outside.
    """
    if moment is None:
        return False
    too_early = start is not None and start - moment >= _SECOND
    too_late = end is not None and moment - end >= _SECOND
    return too_early or too_late


def unreadable(what: str) -> Untrustworthy:
    """Return the error for answers that contradict each other."""
    return Untrustworthy(f"Close: {what}. Nothing can be read safely; please report this.")


def _goes_on(rows: list[int], before: list[int], seen: set[int]) -> bool:
    """Whether a page begins with the last rows of the one before it, and the others are new.

    With more than the last row where rows were added above it.
    """
    known = sum(row in seen for row in rows)
    return 0 < known < len(rows) and rows[:known] == before[-known:]


def _versions(page: Page) -> list[int]:
    """Return a number for each row, another one after each change: a changed row may have moved."""
    return [hash(f"{row.get('id')} {row.get('date_updated')}") for row in page.rows]
