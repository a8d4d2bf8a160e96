"""Reads all meetings of a stretch of time, page by page, without ``_skip``.

The list of meetings cannot be walked safely, so only what fits one page can be read completely
(``list_pages``). Hence half-open windows of ``date_created``. A window with more than a page is
narrowed until it fits.

One page of Close's documents says that ``date_created`` of a meeting is its start time, another
that it is its creation time. In every recorded meeting it is the start time. Nothing here depends
on which one it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from source_meetings import timestamps
from source_meetings.providers.close.density import ROWS_AIMED_AT, whole_seconds
from source_meetings.providers.close.guesses import Experience, Guesses
from source_meetings.providers.close.list_pages import MeetingList, Page, unreadable
from source_meetings.sync.reading import Answer, State, UnusableState

_SECOND = timedelta(seconds=1)
_FIRST_CALENDAR_DAY = datetime(1, 1, 2, tzinfo=timestamps.UTC)
_LAST_CALENDAR_DAY = datetime(9999, 12, 30, tzinfo=timestamps.UTC)
_YEARS_PROBED = (1, 2, 4, 8, 16, 32)
_LAST_PER_FIRST_WINDOW = 0.08


@dataclass(frozen=True)
class Window:
    """A half-open window of ``date_created``, in whole seconds. None leaves a side open.

    ``now`` is Close's time when the window was made. A window open on both sides is cut there.
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
    """Reads windows. Any thread may use it. All threads share what they learn."""

    def __init__(self, meetings: MeetingList) -> None:
        self._list = meetings
        self._experience = Experience()
        self._newest_first = True  # observed, but not documented

    def read(self, window: Window) -> Iterator[Answer]:
        """Yield answers that together hold every meeting of a window, the latest ones first.

        (They begin with the earliest ones if Close lists them in that order.)

        Raises FiltersIgnored if Close answers with meetings from outside a window. Raises
        Untrustworthy if more than one page of meetings shares a second and the pages do not fit
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
        if cut in (start, end):
            which = "at the end of the calendar" if page.moments else "without a date_created"
            raise unreadable(f"meetings {which} fill more than a page")
        yield from self._read(cut, end, now)
        yield from self._read(start, cut, now)

    def _read_bounded(self, start: datetime, end: datetime) -> Iterator[Answer]:
        """Read what fits one page at one end of the window, then do the same with the rest.

        Two requests read a page, less the meetings of its last second: the first shows those at one
        end, and so how wide a window must be to hold exactly those. If the density is known, one
        request is enough for eighty.
        """
        guesses = Guesses(self._experience)
        while start < end:
            from_end = self._newest_first
            length = guesses.width(end - start)
            low, high = (end - length, end) if from_end else (start, start + length)
            page, requests = self._list.page(low, high), 1
            while page.more and high - low > _SECOND and self._newest_first == from_end:
                cut = _cut(page, low, high, from_end, sample=requests > 1)
                low, high = (cut, high) if from_end else (low, cut)
                self._note_full(page, guesses)
                page, requests = self._list.page(low, high), requests + 1
            if not page.more:
                yield page.answer
            elif high - low > _SECOND:
                continue  # from the other end
            elif len(page.moments) < len(page.rows):
                raise unreadable(
                    "the meetings of one second fill more than a page, and date_created does not "
                    "confirm that second for all of them"
                )
            else:
                yield from self._list.skip_through(low, high, page)
            guessed = length < end - start and not page.more
            guesses.has_read(len(page.rows), high - low, requests=requests, guessed=guessed)
            start, end = (start, low) if from_end else (high, end)

    def _note_full(self, page: Page, guesses: Guesses) -> None:
        """Learn from a full page which end of a window it shows, and the density beyond it."""
        oldest_first = sorted(page.moments)
        if oldest_first == page.moments and oldest_first[:1] < oldest_first[-1:]:
            self._newest_first = False
        if oldest_first:
            guesses.saw_full_page(oldest_first if self._newest_first else oldest_first[::-1])

    # -- cutting ----------------------------------------------------------------------------------

    def cut_everything(self, now: datetime, most: int) -> list[Window]:
        """Cut time into at most ``most`` windows and one for the future, which comes first.

        It has no end, and the window after it no beginning. Raises FiltersIgnored.
        """
        now = now.replace(microsecond=0)
        cuts = self._cuts(now, most) if self._list.page().more else []
        edges = [None, *cuts, None]
        *past, future = (Window(start, end, now) for start, end in zip(edges, edges[1:]))
        return [future, *past]

    def _cuts(self, now: datetime, most: int) -> list[datetime]:
        start = now
        for years in _YEARS_PROBED:
            start = now - timedelta(days=365 * years)
            if not self._list.page(None, start, limit=1).rows:
                break
        parts = self._parts(start, now, most)
        return [*(start + whole_seconds((now - start) * part) for part in parts), now]

    def _parts(self, start: datetime, now: datetime, most: int) -> list[float]:
        """Return where to cut the time from start to now, in parts of it.

        A sample shows how many pages there are. Few are windows of equal length. Many are windows
        of which the earliest is the longest, because it is read before the others. So all workers
        finish at about the same time, also if most meetings are recent.
        """
        step = whole_seconds((now - start) / most)
        begin = now - (most // 4) * step
        page = self._list.page(begin, begin + step)
        if not page.more:
            count = min(most, max(2, -(-len(page.rows) * most // ROWS_AIMED_AT)))
            return [number / count for number in range(1, count)]
        last = _LAST_PER_FIRST_WINDOW
        return [(1 - last ** (number / most)) / (1 - last) for number in range(1, most)]


def _cut_of_open(start: datetime | None, end: datetime | None, now: datetime) -> datetime:
    """Return where to cut an open window. Each step reaches twice as far as the previous one.

    At the end of the calendar, that is where the window begins or ends.
    """
    try:
        if start is not None:
            cut = start + max(timedelta(days=90), 2 * (start - now))
        elif end is not None:
            cut = end - max(timedelta(days=365), 2 * (now - end))
        else:
            return now
    except OverflowError:
        cut = _LAST_CALENDAR_DAY if start is not None else _FIRST_CALENDAR_DAY
    return min(max(cut, _FIRST_CALENDAR_DAY), _LAST_CALENDAR_DAY)


def _cut(page: Page, low: datetime, high: datetime, from_end: bool, sample: bool) -> datetime:
    """Return where to cut a window, so that its end, or its beginning, fits one page.

    A full page in the order of time shows all meetings there, except those of its last second. The
    meetings of any other page are a ``sample``: half of them show where half of all are. The same
    goes for those of a part that was expected to fit.
    """
    by_time = sorted(page.moments, reverse=from_end)
    if not by_time:
        cut = low + (high - low) / 2
    elif sample or by_time != page.moments:
        cut = by_time[len(by_time) // 2]
    else:
        cut = by_time[-1]
    cut = cut.replace(microsecond=0) + (_SECOND if from_end else timedelta())
    return min(max(cut, low + _SECOND), high - _SECOND)
