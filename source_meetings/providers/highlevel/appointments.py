"""How ``highlevel_appointments`` is kept equal to HighLevel.

Requests ``GET /calendars/events/appointments/{eventId}`` for every event that has changed. Changes
are found as for the events, with this stream's own state. Slices are batches of events, which must
be listed first.

Nothing says whether an event that is listed as ``deleted`` can still be found by its id. If not,
its row is the one from the list.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from source_meetings.providers.highlevel.events import (
    EventsReading,
    EventsStrategy,
    ResumedEvents,
    Stretch,
)
from source_meetings.providers.highlevel.windows import EventWindows
from source_meetings.strategies.changed_rows import ChangedRows
from source_meetings.sync.reading import Reading, Row, Slice, State
from source_meetings.timestamps import millis_or_none

LOGGER = logging.getLogger("airbyte.source_meetings")

_IDS_PER_SLICE = 50


@dataclass
class AppointmentsStrategy(EventsStrategy):
    """Requests the single appointment of every event that has changed. See the module."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._gone = 0
        self._lock = threading.Lock()

    def reading(
        self, calendars: list[str], windows: EventWindows, changed: ChangedRows, known: State | None
    ) -> Reading:
        return AppointmentsReading(self, calendars, windows, changed, known)

    def resumed(self, state: State, stretches: list[Stretch]) -> Reading:
        return ResumedAppointments(self, state, stretches)

    def appointments(self, batch: Batch) -> Iterator[list[Row]]:
        """Yield the appointments of a batch of events."""
        for id, deleted in batch.events.items():
            answer = self.api.get("appointment", partition={"eventId": id})
            if answer.rows:
                yield answer.rows
            elif deleted is not None:
                yield [deleted]
            else:
                self._count_gone()

    def _count_gone(self) -> None:
        with self._lock:
            self._gone += 1
            LOGGER.info(
                "Stream %s: %d appointments were listed but no longer exist (404); skipped.",
                self.stream,
                self._gone,
            )


@dataclass(frozen=True)
class Batch:
    """Some events of a calendar, in the order of their start times.

    ``number`` counts the batches: consecutive ones can be saved as one. ``events`` has their ids,
    with the row of each that the list marks as deleted.
    """

    number: int
    stretch: Stretch
    events: dict[str, Row | None]


class Listed:
    """The events that were listed for a stretch of a calendar, to be split into batches."""

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch
        self._starts: dict[str, int] = {}
        self._rows: dict[str, Row | None] = {}

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            start = millis_or_none(row.get("startTime"))
            self._starts[row["id"]] = self._stretch.start if start is None else start
            self._rows[row["id"]] = row if row.get("deleted") else None

    def batches(self, number: int) -> Iterator[Batch]:
        """Yield the batches, numbered from ``number`` on."""
        starts = self._starts
        ids = sorted(starts, key=lambda id: (starts[id], id))
        for place in range(0, len(ids), _IDS_PER_SLICE):
            some = ids[place : place + _IDS_PER_SLICE]
            stretch = Stretch(self._stretch.calendar, starts[some[0]], starts[some[-1]])
            yield Batch(number, stretch, {id: self._rows[id] for id in some})
            number += 1


def _slices(batches: Iterable[Batch]) -> Iterator[Slice]:
    for batch in batches:
        yield Slice(batch.stretch.values(), held=batch)


def _joined(slices: Sequence[Slice]) -> list[State]:
    """Return what to save for slices: one stretch for consecutive batches of a calendar.

    There can be thousands of batches, and a state should stay small.
    """
    joined: list[State] = []
    before: Batch | None = None
    for slice in slices:
        batch: Batch = slice.held
        same_calendar = before is not None and batch.stretch.calendar == before.stretch.calendar
        if before is not None and same_calendar and batch.number == before.number + 1:
            joined[-1] = {**joined[-1], "endTime": slice.values["endTime"]}
        else:
            joined.append(slice.values)
        before = batch
    return joined


class AppointmentsReading(EventsReading):
    """Reads the appointments of the events that are new."""

    _strategy: AppointmentsStrategy

    def slices(self) -> Iterable[Slice]:
        number = 0
        for calendar in self._calendars:
            listed = Listed(Stretch(calendar, self._windows.read_from, self._windows.read_to))
            for rows in self.changed_rows(calendar):
                listed.add(rows)
            for slice in _slices(listed.batches(number)):
                number += 1
                yield slice

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        yield from self._strategy.appointments(slice.held)

    def pending(self, slices: Sequence[Slice]) -> list[State]:
        return _joined(slices)


class ResumedAppointments(ResumedEvents):
    """Lists the events of saved stretches again, and reads their appointments."""

    _strategy: AppointmentsStrategy

    def slices(self) -> Iterable[Slice]:
        number = 0
        for stretch in self._stretches:
            listed = Listed(stretch)
            # A stretch ends with the start of its last event.
            whole = Stretch(stretch.calendar, stretch.start, stretch.end + 1)
            for rows in self.rows_of(whole):
                listed.add(row for row in rows if _starts_in(row, stretch))
            for slice in _slices(listed.batches(number)):
                number += 1
                yield slice
            number += 1  # so that what was read between two stretches is not read again

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        yield from self._strategy.appointments(slice.held)

    def pending(self, slices: Sequence[Slice]) -> list[State]:
        return _joined(slices)


def _starts_in(row: Row, stretch: Stretch) -> bool:
    start = millis_or_none(row.get("startTime"))
    return start is None or stretch.start <= start <= stretch.end
