"""Reading all meetings of a stretch of time, page by page, without ``_skip``.

The list of meetings cannot be walked through safely, so that only what fits one page can be read
whole (``list_pages``). Hence half-open windows of ``date_created``; one that has more than a page
is narrowed until it fits.

One page of Close's documents says that ``date_created`` of a meeting is when it starts, another one
that it is when it was created; every recorded meeting has the former. Nothing here depends on which
it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from source_meetings import timestamps
from source_meetings.providers.close.density import ROWS_AIMED_AT, Density, whole_seconds
from source_meetings.providers.close.list_pages import MeetingList, unreadable
from source_meetings.sync.reading import Answer, State, UnusableState

_SECOND = timedelta(seconds=1)
_FIRST_CALENDAR_DAY = datetime(1, 1, 2, tzinfo=timestamps.UTC)
_LAST_CALENDAR_DAY = datetime(9999, 12, 30, tzinfo=timestamps.UTC)
_YEARS_PROBED = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Window:
    """A half-open window of ``date_created``, in whole seconds; None leaves a side open.

    ``now`` is Close's time when it was made: a window that is open on both sides is cut there.
    """

    start: datetime | None
    end: datetime | None
    now: datetime

    @classmethod
    def of(cls, values: State) -> Window:
        """Return the window that is saved as these values. Raises UnusableState."""
        edges = [values.get("date_created__gte"), values.get("date_created__lt")]
        moments = [timestamps.parse_or_none(edge) for edge in edges]
        now = timestamps.parse_or_none(values.get("now"))
        if now is None or any(m is None and e is not None for m, e in zip(moments, edges)):
            raise UnusableState
        return cls(moments[0], moments[1], now)

    def values(self) -> State:
        return {
            "date_created__gte": timestamps.iso(self.start) if self.start else None,
            "date_created__lt": timestamps.iso(self.end) if self.end else None,
            "now": timestamps.iso(self.now),
        }


class WindowReader:
    """Reads windows. Any thread may use it; what they learn of the density is shared."""

    def __init__(self, meetings: MeetingList) -> None:
        self._list = meetings
        self._density = Density()

    def read(self, window: Window) -> Iterator[Answer]:
        """Yield answers which together hold every meeting of a window.

        Raises FiltersIgnored when Close answers with meetings from outside a window, and
        Untrustworthy when more than one page of meetings shares a second and the pages do not fit
        together.
        """
        yield from self._read(window.start, window.end, window.now)

    def _read(
        self, start: datetime | None, end: datetime | None, now: datetime
    ) -> Iterator[Answer]:
        if start is not None and end is not None:
            yield from self._read_bounded(start, end)
            return
        page = self._list.page(start, end)
        if not page.more:
            yield page.answer
            return
        cut = _cut_of_open(start, end, now)
        yield from self._read(start, cut, now)
        yield from self._read(cut, end, now)

    def _read_bounded(self, start: datetime, end: datetime) -> Iterator[Answer]:
        density = self._density
        while start < end:
            length = min(end - start, density.width(end - start))
            page = self._list.page(start, start + length)
            while page.more and length > _SECOND:
                estimate = _estimate(page.moments, length, self._list.page_size)
                density = density.after(estimate, length)
                shrunk = length * (ROWS_AIMED_AT / estimate)
                length = max(whole_seconds(min(shrunk, length / 2)), whole_seconds(length / 16))
                page = self._list.page(start, start + length)
            if not page.more:
                yield page.answer
            elif len(page.moments) < len(page.rows):
                raise unreadable(
                    "the meetings of one second fill more than a page, and not all of them say in "
                    "date_created that they are of it"
                )
            else:
                yield from self._list.skip_through(start, start + length, page)
            self._density = density = density.after(len(page.rows), length)
            start += length

    # -- cutting ----------------------------------------------------------------------------------

    def cut_everything(self, now: datetime, most: int) -> list[Window]:
        """Cut time into at most ``most`` windows of equal length.

        The first one is open to the past, the last one to the future. Raises FiltersIgnored.
        """
        now = now.replace(microsecond=0)
        cuts = self._cuts(now, most) if self._list.page().more else []
        edges = [None, *cuts, None]
        return [Window(start, end, now) for start, end in zip(edges, edges[1:])]

    def _cuts(self, now: datetime, most: int) -> list[datetime]:
        start = now
        for years in _YEARS_PROBED:
            start = now - timedelta(days=365 * years)
            if not self._list.page(None, start, limit=1).rows:
                break
        count = self._windows_worth_cutting(start, now, most)
        step = (now - start) / count
        return [*(start + whole_seconds(step * number) for number in range(1, count)), now]

    def _windows_worth_cutting(self, start: datetime, now: datetime, most: int) -> int:
        """As many windows as a sample says that there are pages, at most ``most``."""
        step = whole_seconds((now - start) / most)
        begin = now - (most // 4) * step
        page = self._list.page(begin, begin + step)
        if page.more:
            return most
        return min(most, max(2, -(-len(page.rows) * most // ROWS_AIMED_AT)))


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
        raise unreadable("meetings at the end of the calendar fill more than a page")
    return cut


def _estimate(moments: list[datetime], length: timedelta, page_size: int) -> float:
    """Guess how many rows a window holds whose first page is full.

    If the rows are those at one end of the window (the order is not documented), they tell how
    dense it is; in any case there are more than a page.
    """
    span = max(moments) - min(moments) if moments else length
    return max(1.5 * page_size, page_size * (length / max(span, _SECOND)))
