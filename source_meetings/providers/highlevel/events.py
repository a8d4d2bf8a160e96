"""How ``highlevel_calendar_events`` is kept equal to HighLevel.

The list of events can be filtered only by start time, and any appointment may be edited. So each
sync reads from ``start_date`` to ``look_ahead_days`` from now, one slice per calendar, and emits
what has changed.

With ``look_back_days``, syncs after the first begin that many days before the oldest change that
could have been missed. An edit to an appointment that is already older than that is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from source_meetings import timestamps
from source_meetings.providers.highlevel.calendars import Location
from source_meetings.providers.highlevel.windows import DAY, EventWindows
from source_meetings.strategies.changed_rows import Before, ChangedRows, RowFields
from source_meetings.sync.clock import ahead_in_words, is_ahead
from source_meetings.sync.fingerprints import Emitted, digest, version
from source_meetings.sync.reading import (
    Api,
    ReadEverything,
    Reading,
    Row,
    Slice,
    State,
    Strategy,
    UnusableState,
)

# Rows of a calendar that are recognized if an answer repeats them. One that was cut off is followed
# by its halves. Each worker remembers at least that many.
_MOST_REMEMBERED = 2_000
_BEFORE_EVERYTHING = 946_684_800_000  # 2000-01-01; zero might be taken for "not given"


@dataclass
class EventsStrategy(Strategy):
    """Reads all events again and compares them. See the module."""

    stream: str
    cursor_field: str
    config: Mapping[str, Any]
    api: Api

    def __post_init__(self) -> None:
        self.location = Location(self.api, self.config, self.stream)
        self._options: Mapping[str, Any] = self.config["provider"]

    # -- readings ---------------------------------------------------------------------------------

    def first(self, since: State | None) -> Reading:
        calendars = self.location.calendars()
        windows = self.windows(self._start_date(), self._end(calendars.clock))
        changed = ChangedRows(self._fields(), Before(), calendars.clock)
        windows.ask_first(calendars.ids, changed)
        return self.reading(calendars.ids, windows, changed, None)

    def changes(self, state: State) -> Reading:
        self._check(state)
        before = Before.of(state, self.cursor_field)
        assert before.bound is not None
        calendars = self.location.calendars()
        if is_ahead(before.bound, calendars.clock):
            words = ahead_in_words(self.api.provider, calendars.clock)
            raise ReadEverything(words, from_start=True)
        start = self._start_of_changes(before.bound, calendars.clock)
        rows = state.get("rows_of_largest_calendar")
        rows_before = rows if isinstance(rows, int) else None
        windows = self.windows(start, self._end(calendars.clock), rows_before)
        changed = ChangedRows(self._fields(), before, calendars.clock)
        windows.ask_first(calendars.ids, changed)
        return self.reading(calendars.ids, windows, changed, state)

    def resume(self, state: State, pending: list[State]) -> Reading:
        self._check(state)
        return self.resumed(state, [Stretch.of(values) for values in pending])

    def reading(
        self, calendars: list[str], windows: EventWindows, changed: ChangedRows, known: State | None
    ) -> Reading:
        return EventsReading(self, calendars, windows, changed, known)

    def resumed(self, state: State, stretches: list[Stretch]) -> Reading:
        return ResumedEvents(self, state, stretches)

    # -- what there is to read --------------------------------------------------------------------

    def windows(self, read_from: int, read_to: int, rows_before: int | None = None) -> EventWindows:
        return EventWindows(self.location, read_from, read_to, self._days_ahead(), rows_before)

    def _check(self, state: State) -> None:
        """A state belongs to one location and one choice of calendars."""
        bound = timestamps.parse_or_none(state.get(self.cursor_field))
        if bound is None or bound < timestamps.EPOCH or state.get("scope") != self.scope():
            raise UnusableState

    def scope(self) -> str:
        """Return a value that identifies the location and the choice of calendars."""
        chosen = sorted(set(self._options.get("calendar_ids") or []))
        return digest([self._options["location_id"], chosen]).hex()

    def _fields(self) -> RowFields:
        return RowFields("id", self.cursor_field, "startTime")

    def _start_date(self) -> int:
        start = self.config.get("start_date")
        return timestamps.millis(timestamps.parse(start)) if start else _BEFORE_EVERYTHING

    def _start_of_changes(self, bound: datetime, now: datetime) -> int:
        """Return the earliest start time at which a change after ``bound`` is still seen."""
        days = self._options.get("look_back_days")
        if days is None:
            return self._start_date()
        return max(self._start_date(), timestamps.millis(min(bound, now)) - int(days) * DAY)

    def _end(self, now: datetime) -> int:
        return timestamps.millis(now) + self._days_ahead() * DAY

    def _days_ahead(self) -> int:
        days = self._options.get("look_ahead_days")
        return 365 if days is None else int(days)


@dataclass(frozen=True)
class Stretch:
    """A stretch of start times of a calendar, in epoch milliseconds: what a slice covers."""

    calendar: str
    start: int
    end: int

    @classmethod
    def of(cls, values: State) -> Stretch:
        """Return the stretch that is saved as these values. Raises UnusableState."""
        calendar, start, end = (values.get(name) for name in ("calendarId", "startTime", "endTime"))
        if not all(isinstance(one, str) for one in (calendar, start, end)):
            raise UnusableState
        if not (str(start).isdecimal() and str(end).isdecimal()):
            raise UnusableState
        return cls(str(calendar), int(str(start)), int(str(end)))

    def values(self) -> State:
        return {
            "calendarId": self.calendar,
            "startTime": str(self.start),
            "endTime": str(self.end),
        }


class EventsReading(Reading):
    """Reads the events of every calendar, one slice per calendar."""

    def __init__(
        self,
        strategy: EventsStrategy,
        calendars: list[str],
        windows: EventWindows,
        changed: ChangedRows,
        known: State | None,
    ) -> None:
        """``known`` is the state that the changes are read from, or None for a first sync."""
        self._strategy = strategy
        self._calendars = calendars
        self._windows = windows
        self._changed = changed
        self.resumable = known is None
        self._promised = known if known is not None else self._final_state()

    def slices(self) -> Iterable[Slice]:
        windows = self._windows
        for id in self._calendars:
            yield Slice(Stretch(id, windows.read_from, windows.read_to).values())

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        yield from self.changed_rows(str(slice.values["calendarId"]))

    def changed_rows(self, calendar: str) -> Iterator[list[Row]]:
        """Yield the new rows of a calendar."""
        emitted = Emitted(_MOST_REMEMBERED)
        windows = self._windows
        for answer in windows.read(calendar, windows.read_from, windows.read_to):
            rows = self._changed.take(answer, calendar, emitted)
            del answer  # not kept while waiting for the next one: answers may be large
            yield rows
            del rows

    def state(self, whole: bool) -> State:
        return self._final_state() if whole else self._promised

    def _final_state(self) -> State:
        windows = self._windows
        state = self._changed.state(
            self._strategy.cursor_field, windows.read_from, windows.read_to, self._calendars
        )
        scope = self._strategy.scope()
        return {**state, "rows_of_largest_calendar": windows.largest, "scope": scope}


class ResumedEvents(Reading):
    """Reads what an interrupted first sync left: whole stretches, where every row is new."""

    resumable = True

    def __init__(self, strategy: EventsStrategy, state: State, stretches: list[Stretch]) -> None:
        self._strategy = strategy
        self._state = state
        self._stretches = stretches

    def slices(self) -> Iterable[Slice]:
        return [Slice(stretch.values(), held=stretch) for stretch in self._stretches]

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        yield from self.rows_of(slice.held)

    def rows_of(self, stretch: Stretch) -> Iterator[list[Row]]:
        """Yield the rows of a stretch."""
        emitted = Emitted(_MOST_REMEMBERED)
        windows = self._strategy.windows(stretch.start, stretch.end)
        for answer in windows.read(stretch.calendar, stretch.start, stretch.end):
            rows = [row for row in answer.rows if emitted.add(row["id"], version(row))]
            del answer
            yield rows
            del rows

    def state(self, whole: bool) -> State:
        return self._state
