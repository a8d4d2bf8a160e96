"""Pages of Close's list of meetings, and the walk through a list that cannot be divided.

- ``GET /activity/meeting/`` can be filtered by ``date_created``, compared by the second, and by
  ``id__in``, but not by ``date_updated``. It has no documented order and no cursor, and a ceiling
  on ``_skip`` that is not published: https://developer.close.com/topics/pagination
- Some public programs report that it silently ignores ``date_created__gte`` and
  ``date_created__lt``; others rely on them. So the rows of every bounded answer are compared with
  what was requested.
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
    """Close answered with meetings from outside the requested window."""


@dataclass(frozen=True)
class Page:
    """One answer, and the readable ``date_created`` values of its rows."""

    answer: Answer
    moments: list[datetime]

    @property
    def rows(self) -> list[Row]:
        return self.answer.rows

    @property
    def more(self) -> bool:
        """Whether more rows follow this page. Documented as always present."""
        return bool(self.answer.more)


class MeetingList:
    """Requests pages of the list."""

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
        """Request one page of a half-open window. None leaves a side open.

        Raises FiltersIgnored if the answer has meetings from outside the window.
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
        """Request meetings by their ids."""
        return Page(self._api.get("meetings", {"id__in": ",".join(ids)}), [])

    def skip_through(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        first: Page | None = None,
    ) -> Iterator[Answer]:
        """Yield the pages of what cannot be divided, by ``_skip``: one second, or the whole list.

        ``first`` is its first page, if it was already read. The pages may repeat rows.

        The list is read again until the pages of one pass fit together. If the order changes with
        every request, they never fit. Then passes are combined until they have found as many rows
        as the list is long, and the next passes have found exactly the same rows. All of these
        existed when the rows were counted, so none is missing.

        Raises Untrustworthy if neither happens, or if the pages do not end.
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

        Each page begins with the last row of the previous one, which proves that no row between
        them was left out. If it does not, rows above it have vanished during the pass.

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
                # Half a page further back are known rows.
                skip -= step // 2
                page = self.page(start, end, skip=skip)
                fits = _goes_on(_versions(page), rows, seen)


def created(row: Row) -> datetime | None:
    """Return a meeting's ``date_created``."""
    return timestamps.parse_or_none(row.get("date_created"))


def is_outside(moment: datetime | None, start: datetime | None, end: datetime | None) -> bool:
    """Return whether a moment cannot be in a half-open window, given how Close compares.

    Close compares by the second (observed: https://github.com/singer-io/tap-closeio). An unknown
    moment is not outside.
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
    """Return whether a page begins with the last rows of the previous one, and the rest is new.

    It begins with more than the last row if rows were added above it.
    """
    known = sum(row in seen for row in rows)
    return 0 < known < len(rows) and rows[:known] == before[-known:]


def _versions(page: Page) -> list[int]:
    """Return a number per version of each row: a changed row may have moved."""
    return [hash(f"{row.get('id')} {row.get('date_updated')}") for row in page.rows]
