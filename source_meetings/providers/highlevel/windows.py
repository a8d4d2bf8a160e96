"""Reads all events of a calendar in windows of start time, sized by the density of its events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from source_meetings.providers.highlevel.calendars import Location
from source_meetings.strategies.changed_rows import ChangedRows
from source_meetings.sync.reading import Answer, Row
from source_meetings.timestamps import millis, parse_or_none

DAY = 86_400_000  # milliseconds, as in all times sent to HighLevel
_BEFORE_HIGHLEVEL = 1_451_606_400_000  # 2016-01-01; hardly any events are earlier
_FIRST_WINDOW_DAYS = 30  # back from now, in addition to all that lies ahead
_ROWS_PER_ANSWER = 600  # the target; with eight workers about 30 megabytes
_ROWS_OF_A_SMALL_CALENDAR = 2000
_TELLING_ROWS = 20
_CALENDARS_TO_TRY = 5


class EventWindows:
    """Reads the events of calendars that start in a range. Any thread may use it.

    ``read_from`` and ``read_to`` are in epoch milliseconds. ``rows_before`` is how many rows the
    largest calendar had at the previous sync, and ``largest`` how many it has at this one.
    """

    def __init__(
        self,
        location: Location,
        read_from: int,
        read_to: int,
        days_ahead: int,
        rows_before: int | None = None,
    ) -> None:
        self._location = location
        self.read_from = read_from
        self.read_to = read_to
        self._first_width = self._width_of_the_first(days_ahead, rows_before)
        self._first_answer: tuple[str, Answer] | None = None
        self._turn: AbstractContextManager[object] = nullcontext()
        self._lock = threading.Lock()
        self.largest = 0

    def _width_of_the_first(self, days_ahead: int, rows_before: int | None) -> int:
        """The length of a calendar's first window: everything, if the last sync found few rows."""
        whole = self.read_to - self.read_from
        if rows_before is not None and rows_before <= _ROWS_OF_A_SMALL_CALENDAR:
            return whole
        return min(whole, (_FIRST_WINDOW_DAYS + days_ahead) * DAY)

    def ask_first(self, calendars: list[str], changed: ChangedRows) -> None:
        """Request a calendar's first window, then those of others until one shows a stamp.

        Windows without a stamp are requested again later, because they are older than the bound
        now.
        """
        start = max(self.read_from, self.read_to - self._first_width)
        for calendar in calendars[:_CALENDARS_TO_TRY]:
            answer = self._location.events(calendar, start, self.read_to)
            if len(answer.rows) > _ROWS_OF_A_SMALL_CALENDAR:
                # First windows have a guessed width, so only one at a time is held in memory: it
                # may be large.
                self._turn = threading.Lock()
            self._first_answer = (calendar, answer)
            if changed.begin(answer):
                return

    def read(self, calendar: str, first: int, end: int) -> Iterator[Answer]:
        """Yield the answers that together cover a calendar from ``first`` to ``end``.

        The windows go back in time. The rows of each one determine the width of the next.
        """
        width, total = self._first_width, 0
        known = self._take_first(calendar)
        turn = self._turn
        while end > first:
            if known is None and end - _BEFORE_HIGHLEVEL <= 3 * width:
                width = end - first  # the rest at once
            start = max(first, end - width)
            rows, busy = 0, 0
            with turn:
                for answer in self._location.all_events(calendar, start, end, known):
                    rows += len(answer.rows)
                    busy = max(busy, _span(answer.rows))
                    yield answer
                    del answer  # not kept while waiting for the next one: answers may be large
            total += rows
            # Use the density of this window, if it has rows, but carefully: the past may have been
            # busier.
            length = busy if rows >= _TELLING_ROWS and busy else end - start
            width = min(12 * (end - start), length * _ROWS_PER_ANSWER // max(rows, 1))
            width = max(width, DAY)
            end, known, turn = start, None, nullcontext()
        with self._lock:
            self.largest = max(self.largest, total)

    def _take_first(self, calendar: str) -> Answer | None:
        with self._lock:
            if self._first_answer is None or self._first_answer[0] != calendar:
                return None
            answer, self._first_answer = self._first_answer[1], None
            return answer


def _span(rows: list[Row]) -> int:
    """Return the time between the first start and the last one, in milliseconds."""
    starts = [start for row in rows if (start := parse_or_none(row.get("startTime"))) is not None]
    return millis(max(starts)) - millis(min(starts)) if starts else 0
