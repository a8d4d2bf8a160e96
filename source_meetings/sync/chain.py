"""One sync of one stream: a chain of readings, and the state that may be saved so far.

1. Read what an interrupted first sync left unread.
2. Read what changed since the saved state.
3. If that is not possible, or there is no state, read everything.

The state of an unfinished first sync is
``{"scan": {"then": <the state it leads to>, "pending": [<slices that are left>]}}``.
It has no top-level cursor that another reader could mistake for a watermark.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from source_meetings.sync.reading import (
    ReadEverything,
    Reading,
    Row,
    Slice,
    State,
    Strategy,
    UnusableState,
)

LOGGER = logging.getLogger("airbyte.source_meetings")

_SCAN = "scan"
# About how often a slice is listed until it has been read. Each state lists all slices that are
# left, and there may be thousands.
_STATES_PER_SLICE = 50


class Observer(Protocol):
    """Receives the progress of a sync."""

    def slices_are(self, left: int) -> None: ...
    def slice_done(self) -> None: ...


class _Nobody:
    def slices_are(self, left: int) -> None: ...
    def slice_done(self) -> None: ...


class _Course:
    """The progress of one reading: which slices are left."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.planned = False  # all slices are known
        self._left: dict[int, Slice] = {}  # in the order of the plan
        self._read_since_saved = 0

    @property
    def left(self) -> int:
        return len(self._left)

    @property
    def whole(self) -> bool:
        return self.planned and not self._left

    def add(self, slice: Slice) -> None:
        self._left[id(slice)] = slice

    def finish(self, slice: Slice) -> bool:
        """Mark a slice as read. Returns whether it is time to save a state."""
        del self._left[id(slice)]
        if not self.reading.resumable:
            return False
        self._read_since_saved += 1
        if self._read_since_saved <= self.left // _STATES_PER_SLICE:
            return False
        self._read_since_saved = 0
        return True

    def state(self) -> State:
        state = self.reading.state(self.whole)
        left = [slice for slice in self._left.values() if slice.saved]
        if self.reading.resumable and left:
            return {_SCAN: {"then": state, "pending": self.reading.pending(left)}}
        return state


class Sync:
    """Plans and reads the slices of one sync, and knows its state at any time.

    ``given`` is the saved state. With ``full_refresh``, everything is read again. Only an
    unfinished attempt is resumed: Airbyte passes its state when it repeats a full refresh. ``save``
    is called when there is a new state to save.

    Only one thread may call ``slices``; any thread may call the rest. A slice counts as read when
    ``read`` has ended, so the caller must hand over each page before it asks for the next one.
    """

    def __init__(
        self,
        strategy: Strategy,
        stream: str,
        given: State,
        *,
        full_refresh: bool = False,
        save: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        self._strategy = strategy
        self._stream = stream
        self._given = {} if full_refresh and _SCAN not in given else given
        self._save = save
        self._observer: Observer = observer or _Nobody()
        self._lock = threading.Lock()
        self._courses: list[_Course] = []
        self._course_of: dict[int, _Course] = {}
        self._failed = False

    def slices(self) -> Iterator[Slice]:
        """Yield the slices of this sync. Raises what the strategy raises, but only one failure."""
        try:
            for slice in self._chain():
                if self._failed:
                    return
                yield slice
        except Exception:
            if self._is_first_failure():
                raise
            return
        with self._lock:
            left = sum(course.left for course in self._courses)
        self._observer.slices_are(left)

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        """Yield the rows of a slice, page by page.

        The first failure ends the stream and is raised. Slices that are being read at that time run
        to their end, or to a failure of their own, which is not raised. Slices that have not
        started are left for the next sync.
        """
        if self._failed:
            return
        course = self._course_of[id(slice)]
        try:
            yield from course.reading.read(slice)
        except Exception:
            if self._is_first_failure():
                raise
            return
        with self._lock:
            due = course.finish(slice) and course in self._courses
            del self._course_of[id(slice)]
        self._observer.slice_done()
        if due:
            self._save()

    def state(self) -> State:
        """Return the state that may be saved now."""
        with self._lock:
            unfinished = (course for course in self._courses if not course.whole)
            course = next(unfinished, self._courses[-1] if self._courses else None)
            return course.state() if course else self._given

    # -- the chain --------------------------------------------------------------------------------

    def _chain(self) -> Iterator[Slice]:
        resumed = self._resumed()
        since: State | None
        if resumed is not None:
            reading, since = resumed
            yield from self._all_slices(reading)
            if reading.sees_changes:
                return
        else:
            since = self._given or self._strategy.start()
        try:
            try:
                changes = self._changes(since)
            except UnusableState:
                LOGGER.warning(
                    "Stream %s: the saved state does not belong to this stream; reading from "
                    "the start.",
                    self._stream,
                )
                self._given = {}
                since = self._strategy.start()
                changes = self._changes(since)
            if changes is not None:
                yield from self._slices_as_they_come(changes)
                return
        except ReadEverything as reason:
            LOGGER.info("Stream %s: %s", self._stream, reason)
            if reason.from_start:
                since = self._strategy.start()
        yield from self._all_slices(self._strategy.first(since), instead=True)

    def _resumed(self) -> tuple[Reading, State] | None:
        """Return the reading that resumes from the given state, and the state it leads to."""
        scan = self._given.get(_SCAN)
        state = scan.get("then") if isinstance(scan, dict) else None
        pending = scan.get("pending") if isinstance(scan, dict) else None
        if not isinstance(state, dict) or not isinstance(pending, list):
            return None
        if not all(isinstance(values, dict) for values in pending):
            return None
        try:
            return self._strategy.resume(state, pending), state
        except UnusableState:
            return None

    def _changes(self, since: State | None) -> Reading | None:
        return None if since is None else self._strategy.changes(since)

    def _all_slices(self, reading: Reading, instead: bool = False) -> Iterator[Slice]:
        """Yield the slices of a resumable reading. All must be known before a state is saved.

        ``instead``: this reading replaces the readings before it.
        """
        course = _Course(reading)
        slices = list(reading.slices())
        with self._lock:
            for slice in slices:
                course.add(slice)
                self._course_of[id(slice)] = course
            course.planned = True
            self._courses = [course] if instead else [*self._courses, course]
        if not instead:
            LOGGER.info(
                "Stream %s: resuming an unfinished first sync; %d slices are left.",
                self._stream,
                len(slices),
            )
        self._observer.slices_are(len(slices))
        self._save()
        yield from slices

    def _slices_as_they_come(self, reading: Reading) -> Iterator[Slice]:
        course = _Course(reading)
        with self._lock:
            self._courses.append(course)
        for slice in reading.slices():
            with self._lock:
                course.add(slice)
                self._course_of[id(slice)] = course
            yield slice
        with self._lock:
            course.planned = True

    def _is_first_failure(self) -> bool:
        with self._lock:
            first, self._failed = not self._failed, True
        return first
