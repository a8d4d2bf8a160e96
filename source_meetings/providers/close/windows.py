"""Reading all meetings of a stretch of time, page by page, without ``_skip``.

``GET /activity/meeting/`` has no documented order, no cursor, and a ceiling on ``_skip`` that is
published nowhere (https://developer.close.com/topics/pagination), so that only what fits one page
can be read whole. Hence half-open windows of ``date_created``; one that answers ``has_more`` is
narrowed until it fits.

Some public programs report that the list ignores ``date_created__gte`` and ``date_created__lt``
silently; others rely on them. So the rows of every bounded answer are compared with what was
asked for. If a row is outside, the caller reads the whole list with ``_skip`` after all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.http import answer
from source_meetings.sync import rows_of

PAGE_SIZE = 100  # what every public client uses; the maximum is not published
ROWS_AIMED_AT = 70
_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_TELLING = timedelta(days=4)
_FIRST_CALENDAR_DAY = datetime(1, 1, 2, tzinfo=timezone.utc)
_LAST_CALENDAR_DAY = datetime(9999, 12, 30, tzinfo=timezone.utc)
_MOST_PASSES = 40
_MOST_IDLE_PAGES = 10  # in a row, that show nothing new: an import adds hundreds of rows at once


class UnreadableWindow(AirbyteTracedException):
    """The answers contradict each other, so that nothing can be left out of or taken from them."""

    def __init__(self, what: str) -> None:
        super().__init__(what, f"Close: {what}.", FailureType.transient_error)


class FiltersIgnored(Exception):
    """Close answered with meetings from outside the window that it was asked for."""


class Page(NamedTuple):
    """One answer, and the ``date_created`` of its rows, of those that can be read."""

    response: requests.Response
    moments: list[datetime]


@dataclass
class Density:
    """How many meetings there are hereabouts, in all and by the hour of the week.

    Recent windows count for more. Only a guess at how wide to ask: a wrong one costs requests,
    never rows. The hours matter where a page holds about a day: meetings keep office hours.
    """

    rows: float = 0.0
    seconds: float = 0.0
    hours: dict[int, tuple[float, float]] = field(default_factory=dict)

    def learn(self, rows: float, length: timedelta) -> None:
        self.rows = 0.8 * self.rows + rows
        self.seconds = 0.8 * self.seconds + length.total_seconds()

    def learn_hours(self, start: datetime, length: timedelta, moments: list[datetime]) -> None:
        """Count the rows of a window that was read whole, if it is short enough to tell."""
        if length > _TELLING:
            return
        counts = Counter(int((moment - start) // _HOUR) for moment in moments)
        for number in range(int(length // _HOUR)):
            hour = _hour_of_week(start + _HOUR * number)
            rows, weight = self.hours.get(hour, (0.0, 0.0))
            self.hours[hour] = (0.7 * rows + counts[number], 0.7 * weight + 1.0)

    def width(self, start: datetime, remaining: timedelta) -> timedelta:
        """Return how much of what remains should fit one page."""
        if not self.rows:
            return remaining
        wanted = max(1.0, ROWS_AIMED_AT * self.seconds / self.rows)
        if wanted < _TELLING.total_seconds() and self.hours:
            return min(remaining, self._hours_that_fit(start, remaining))
        parts = -(-remaining.total_seconds() // wanted)
        return whole_seconds(remaining / max(1.0, parts))

    def _hours_that_fit(self, start: datetime, remaining: timedelta) -> timedelta:
        average = 3600 * self.rows / self.seconds
        total, width = 0.0, timedelta()
        while width < min(remaining, _TELLING):
            hour = _hour_of_week(start + width)
            rows, weight = self.hours.get(hour, (average, 1.0))
            expected = rows / weight
            if total + expected > ROWS_AIMED_AT:
                part = (ROWS_AIMED_AT - total) / expected
                return max(width, _HOUR / 4) if part < 0.25 else width + whole_seconds(_HOUR * part)
            total += expected
            width += _HOUR
        return width


def _hour_of_week(moment: datetime) -> int:
    return moment.weekday() * 24 + moment.hour


def whole_seconds(length: timedelta) -> timedelta:
    """Round up to seconds, the precision of the filter."""
    return timedelta(seconds=max(1, -(-length // _SECOND)))


@dataclass
class WindowReader:
    """Reads windows of ``date_created``; ``ask`` sends parameters and returns the answer."""

    ask: Callable[[Mapping[str, str]], requests.Response]
    density: Density

    def pages(
        self, start: datetime | None, end: datetime | None, now: datetime
    ) -> Iterator[requests.Response]:
        """Yield answers which together hold every meeting of a half-open window.

        ``start`` and ``end`` are whole seconds, UTC; None leaves that side open. ``now`` is where a
        window that is open on both sides is cut.

        Raises FiltersIgnored when Close answers with meetings from outside a window, and
        UnreadableWindow when more than one page of meetings shares a second and the pages do not
        fit together.
        """
        if start is not None and end is not None:
            yield from self._bounded(start, end)
            return
        response = self.page(start, end).response
        if not has_more(response):
            yield response
            return
        cut = self._cut_of_open(start, end, now)
        yield from self.pages(start, cut, now)
        yield from self.pages(cut, end, now)

    @staticmethod
    def _cut_of_open(start: datetime | None, end: datetime | None, now: datetime) -> datetime:
        """Where to cut an open window: each step reaches twice as far as the one before it."""
        try:
            if start is not None:
                cut = start + max(timedelta(days=90), 2 * (start - now))
            elif end is not None:
                cut = end - max(timedelta(days=365), 2 * (now - end))
            else:
                return now
        except OverflowError:
            cut = _LAST_CALENDAR_DAY if start is not None else _FIRST_CALENDAR_DAY
        cut = min(max(cut, _FIRST_CALENDAR_DAY), _LAST_CALENDAR_DAY)
        if cut in (start, end):
            raise UnreadableWindow("meetings at the end of the calendar fill more than a page")
        return cut

    def _bounded(self, start: datetime, end: datetime) -> Iterator[requests.Response]:
        local = Density(self.density.rows, self.density.seconds, dict(self.density.hours))
        while start < end:
            length = min(end - start, local.width(start, end - start))
            page = self.page(start, start + length)
            while has_more(page.response) and length > _SECOND:
                estimate = _estimate(page.moments, length)
                local.learn(estimate, length)
                shrunk = length * (ROWS_AIMED_AT / estimate)
                length = max(whole_seconds(min(shrunk, length / 2)), whole_seconds(length / 16))
                page = self.page(start, start + length)
            if not has_more(page.response):
                yield page.response
            elif len(page.moments) < len(rows_of(page.response, "data")):
                raise UnreadableWindow(
                    "the meetings of one second fill more than a page, and not all of them say in "
                    "date_created that they are of it"
                )
            else:
                yield from self.skipped(start, start + length, page)
            local.learn(len(rows_of(page.response, "data")), length)
            local.learn_hours(start, length, page.moments)
            self.density.rows, self.density.seconds = local.rows, local.seconds
            self.density.hours = dict(local.hours)
            start += length

    def skipped(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        first: Page | None = None,
    ) -> Iterator[requests.Response]:
        """Yield the pages of what cannot be cut, by ``_skip``: one second, or the whole list.

        ``first`` is its first page, if it was read already. The pages may repeat rows.

        The list is read again until the pages of one pass fit together. An order that changes with
        every request never fits. Then passes are added up until they have found as many rows as
        the list is long, and the next ones have found exactly the same rows: all of these existed
        when the rows were counted, so none is missing.

        Raises UnreadableWindow when neither happens, or when the pages do not end.
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
        raise UnreadableWindow("the meetings change their order with every request")

    def _pass(
        self, start: datetime | None, end: datetime | None, page: Page | None
    ) -> Generator[requests.Response, None, tuple[bool, set[int], int]]:
        """Yield the pages once, from the first to the last.

        Each page begins with the last row of the one before it, which proves that no row between
        them was left out. If it does not, rows above it have vanished while we read.

        Returns whether the pages fit together, the rows on them, and the length of the list.
        """
        page = page or self.page(start, end)
        seen: set[int] = set()
        fits, skip, idle = True, 0, 0
        while True:
            yield page.response
            rows = _versions(page)
            idle = idle + 1 if seen.issuperset(rows) else 0
            if idle == _MOST_IDLE_PAGES:
                raise UnreadableWindow("a list repeats a page and does not end")
            seen.update(rows)
            if not has_more(page.response):
                return fits, seen, skip + len(rows)
            if not rows:
                raise UnreadableWindow("an empty page says that there is more")
            step = max(1, len(rows) - 1)
            skip += step
            page = self.page(start, end, skip=skip)
            if fits and not _goes_on(_versions(page), rows, seen):
                # Half a page further back are rows that we know.
                skip -= step // 2
                page = self.page(start, end, skip=skip)
                fits = _goes_on(_versions(page), rows, seen)

    def page(
        self,
        start: datetime | None,
        end: datetime | None,
        limit: int = PAGE_SIZE,
        skip: int = 0,
    ) -> Page:
        """Ask for one page of a half-open window; None leaves a side open.

        Raises FiltersIgnored when the answer has meetings from outside the window.
        """
        params = {"_limit": str(limit)}
        if start is not None:
            params["date_created__gte"] = in_query(start)
        if end is not None:
            params["date_created__lt"] = in_query(end)
        if skip:
            params["_skip"] = str(skip)
        response = self.ask(params)
        if start is None and end is None:
            return Page(response, [])
        stamps = [timestamps.parse_or_none(row.get("date_created")) for row in _rows(response)]
        moments = [stamp for stamp in stamps if stamp is not None]
        if any(is_outside(moment, start, end) for moment in moments):
            raise FiltersIgnored
        return Page(response, moments)


def is_outside(moment: datetime | None, start: datetime | None, end: datetime | None) -> bool:
    """Whether a half-open window cannot hold a moment, not even as Close compares: by the second.

    Observed: https://github.com/singer-io/tap-closeio ("precision to the second"). A moment that is
    not known is not outside.
    """
    if moment is None:
        return False
    too_early = start is not None and start - moment >= _SECOND
    too_late = end is not None and moment - end >= _SECOND
    return too_early or too_late


def in_query(moment: datetime) -> str:
    """Return a moment as Close's own stamps have it, with the offset that its filters need.

    Without one a filter is read in the time zone of ``x-tz-offset``: https://developer.close.com/
    """
    return moment.astimezone(timezone.utc).isoformat().rjust(len("2000-01-01T00:00:00+00:00"), "0")


def has_more(response: requests.Response) -> bool:
    """Whether there are more rows than the page holds; documented as always present."""
    more = answer(response).get("has_more")
    if not isinstance(more, bool):
        raise UnreadableWindow("an answer does not say whether there is more (has_more)")
    return more


def _estimate(moments: list[datetime], length: timedelta) -> float:
    """Guess how many rows a window holds whose first page is full.

    If the rows are those at one end of the window (the order is not documented), they tell how
    dense it is; in any case there are more than a page.
    """
    span = max(moments) - min(moments) if moments else length
    return max(1.5 * PAGE_SIZE, PAGE_SIZE * (length / max(span, _SECOND)))


def _goes_on(rows: list[int], before: list[int], seen: set[int]) -> bool:
    """Whether a page begins with the last rows of the one before it, and the others are new.

    With more than the last row where rows were added above it.
    """
    known = sum(row in seen for row in rows)
    return 0 < known < len(rows) and rows[:known] == before[-known:]


def _versions(page: Page) -> list[int]:
    """Return a number for each row, another one after each change: a changed row may have moved."""
    return [hash(f"{row.get('id')} {row.get('date_updated')}") for row in _rows(page.response)]


def _rows(response: requests.Response) -> list[dict[str, Any]]:
    return [row for row in rows_of(response, "data") if isinstance(row, dict)]
