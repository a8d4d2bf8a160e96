"""Progress reports of a sync: one log line per stream every half minute, and one at the end.

While workers wait for a rate limit or before a retry, the log says why and until when.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

LOGGER = logging.getLogger("airbyte.source_meetings")

SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_LOOKS = 1.0
_SHORTEST_WAIT_SECONDS = 0.1  # shorter waits are not counted
_SHORTEST_WAIT_SAID_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Wait:
    """One worker is holding a request back. ``reason`` is what for: "for Close's rate limit".

    ``began`` and ``until`` are in seconds of the monotonic clock.
    """

    reason: str
    began: float
    until: float


class Progress:
    """Counts the work of one stream. Any thread may use it."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.rows = 0
        self._lock = threading.Lock()
        self._begun: float | None = None
        self._slices_done = 0
        self._slices: int | None = None
        self._requests = 0
        self._waits = 0
        self._waited = 0.0
        self._waiting: set[Wait] = set()
        self._before = (0.0, 0)  # when the last line was written, and the rows until then

    def begin(self) -> None:
        """Note that the stream is being read from now on."""
        self._begun = time.monotonic()
        self._before = (self._begun, 0)

    def end(self, whole: bool) -> None:
        """Log the totals. ``whole`` says whether everything was read."""
        if self._begun is None:
            return
        seconds = time.monotonic() - self._begun
        self._begun = None
        rate = self.rows / max(seconds, 0.001)
        LOGGER.info(
            "Stream %s: %s after %.1f s: %s",
            self.stream,
            "done" if whole else "not finished",
            seconds,
            self._counts(rate),
        )

    def say(self) -> None:
        """Log the progress, if the stream is being read."""
        if self._begun is None:
            return
        now, (then, rows) = time.monotonic(), self._before
        self._before = (now, self.rows)
        rate = (self.rows - rows) / max(now - then, 0.001)
        LOGGER.info("Stream %s: %s", self.stream, self._counts(rate))

    def _counts(self, rate: float) -> str:
        with self._lock:
            words = f"{self.rows} rows ({rate:.0f}/s), {self._requests} requests"
            if self._slices is not None:
                words = f"{self._slices_done} of {self._slices} slices, {words}"
            elif self._slices_done:
                words = f"{self._slices_done} slices, {words}"
            now = time.monotonic()
            begun = [now - wait.began for wait in self._waiting]
            begun = [seconds for seconds in begun if seconds >= _SHORTEST_WAIT_SECONDS]
            if waits := self._waits + len(begun):
                waited = self._waited + sum(begun)
                words += f", {waits} waits ({waited:.0f} s over all workers)"
        return f"{words}."

    def slices_are(self, number: int) -> None:
        """Add this many slices to read. More may follow."""
        with self._lock:
            self._slices = self._slices_done + number

    def slice_done(self) -> None:
        with self._lock:
            self._slices_done += 1
            if self._slices is not None:
                self._slices = max(self._slices, self._slices_done)

    def request(self) -> None:
        with self._lock:
            self._requests += 1

    @contextmanager
    def waiting(self, reason: str, seconds: float) -> Iterator[None]:
        """Count and announce that a worker is holding a request back, for as long as it does.

        ``seconds`` is the expected length of the wait.
        """
        began = time.monotonic()
        wait = Wait(reason, began, began + seconds)
        with self._lock:
            self._waiting.add(wait)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.discard(wait)
                waited = time.monotonic() - began
                if waited >= _SHORTEST_WAIT_SECONDS:
                    self._waits += 1
                    self._waited += waited

    @property
    def waits(self) -> list[Wait]:
        """The current waits."""
        with self._lock:
            return list(self._waiting)


class _Announcements:
    """Logs what workers wait for: once, then every half minute for as long as they wait."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, waits: Iterable[Wait]) -> None:
        now = time.monotonic()
        by_reason: dict[str, list[float]] = {}
        for wait in waits:
            by_reason.setdefault(wait.reason, []).append(wait.until - now)
        for reason in [reason for reason in self._said if reason not in by_reason]:
            del self._said[reason]
        for reason, left in by_reason.items():
            said = self._said.get(reason, -SECONDS_BETWEEN_LINES)
            if now - said < SECONDS_BETWEEN_LINES or max(left) < _SHORTEST_WAIT_SAID_SECONDS:
                continue
            self._said[reason] = now
            LOGGER.info(
                "Waiting %s; resuming in %d s (%d %s).",
                reason,
                math.ceil(max(left)),
                len(left),
                "worker" if len(left) == 1 else "workers",
            )


@contextmanager
def reported(streams: Mapping[str, Progress]) -> Iterator[None]:
    """Report the progress and the waits of all streams that are being read."""
    ended = threading.Event()

    def report() -> None:
        announcements = _Announcements()
        last = time.monotonic()
        while not ended.wait(min(_SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_LINES)):
            now = time.monotonic()
            due = now - last >= SECONDS_BETWEEN_LINES
            last = now if due else last
            for progress in list(streams.values()) if due else []:
                progress.say()
            announcements.say([wait for one in list(streams.values()) for wait in one.waits])

    threading.Thread(target=report, name="progress", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
