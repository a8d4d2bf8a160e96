"""Reading all meetings of a stretch of time, page by page, without ``_skip``.

``GET /activity/meeting/`` has no documented order, no cursor, and a ceiling on ``_skip`` that is
published nowhere (https://developer.close.com/topics/pagination), so that only what fits one page
can be read whole. Hence half-open windows of ``date_created``; one that answers ``has_more`` is
narrowed until it fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.http import answer
from source_meetings.sync import Json, rows_of

PAGE_SIZE = 100  # what every public client uses; the maximum is not published
ROWS_AIMED_AT = 70
_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_TELLING = timedelta(days=4)
_FIRST_CALENDAR_DAY = datetime(1, 1, 2, tzinfo=timezone.utc)
_LAST_CALENDAR_DAY = datetime(9999, 12, 30, tzinfo=timezone.utc)
_MOST_PASSES = 40


class UnreadableWindow(AirbyteTracedException):
    """The answers contradict each other, so that nothing can be left out of or taken from them."""

    def __init__(self, what: str) -> None:
        super().__init__(what, f"Close: {what}.", FailureType.transient_error)


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

        Raises UnreadableWindow when more than one page of meetings shares a second and the pages
        do not fit together.
        """
        if start is not None and end is not None:
            yield from self._bounded(start, end)
            return
        response = self._page(start, end)
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
            response = self._page(start, start + length)
            while has_more(response) and length > _SECOND:
                estimate = _estimate(response, length)
                local.learn(estimate, length)
                shrunk = length * (ROWS_AIMED_AT / estimate)
                length = max(whole_seconds(min(shrunk, length / 2)), whole_seconds(length / 16))
                response = self._page(start, start + length)
            if has_more(response):
                yield from self._one_second(start, response)
            else:
                yield response
            local.learn(len(rows_of(response, "data")), length)
            local.learn_hours(start, length, _moments(response))
            self.density.rows, self.density.seconds = local.rows, local.seconds
            self.density.hours = dict(local.hours)
            start += length

    def _one_second(
        self, second: datetime, first: requests.Response
    ) -> Iterator[requests.Response]:
        """Page through one second, which cannot be cut any further, with ``_skip``.

        Each page begins with the last row of the one before it. If it does not, rows have moved
        while we read, and unread ones may have slipped onto pages already read: once more, until
        the pages fit together or everything that was ever counted has been seen.
        """
        ids: set[Any] = set()
        most = 0
        for number in range(_MOST_PASSES):
            page = first if number == 0 else self._page(second, second + _SECOND)
            fits, skip = True, 0
            while True:
                yield page
                rows = rows_of(page, "data")
                ids |= {row.get("id") for row in _rows(page)}
                if not has_more(page):
                    break
                if not rows or not all(_in_second(row, second) for row in _rows(page)):
                    raise UnreadableWindow(
                        "the meetings of one second fill more than a page, but are not of that "
                        "second: date_created__gte and date_created__lt are not honoured"
                    )
                skip += len(rows) - 1
                page = self._page(second, second + _SECOND, skip)
                following = rows_of(page, "data")
                fits = fits and bool(following) and following[0].get("id") == rows[-1].get("id")
            most = max(most, skip + len(rows))
            if fits or (number and len(ids) >= most):
                return
        raise UnreadableWindow("the meetings of one second change their order with every request")

    def _page(
        self, start: datetime | None, end: datetime | None, skip: int = 0
    ) -> requests.Response:
        params = {"_limit": str(PAGE_SIZE)}
        if start is not None:
            params["date_created__gte"] = in_query(start)
        if end is not None:
            params["date_created__lt"] = in_query(end)
        if skip:
            params["_skip"] = str(skip)
        return self.ask(params)


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


def _estimate(response: requests.Response, length: timedelta) -> float:
    """Guess how many rows a window holds whose first page is full.

    If the rows are those at one end of the window (the order is not documented), they tell how
    dense it is; in any case there are more than a page.
    """
    known = _moments(response)
    span = max(known) - min(known) if known else length
    return max(1.5 * PAGE_SIZE, PAGE_SIZE * (length / max(span, _SECOND)))


def _moments(response: requests.Response) -> list[datetime]:
    stamps = [timestamps.parse_or_none(row.get("date_created")) for row in _rows(response)]
    return [stamp for stamp in stamps if stamp is not None]


def _in_second(row: Json, second: datetime) -> bool:
    created = timestamps.parse_or_none(row.get("date_created"))
    return created is not None and second <= created < second + _SECOND


def _rows(response: requests.Response) -> list[dict[str, Any]]:
    return [row for row in rows_of(response, "data") if isinstance(row, dict)]
