"""What a sync says of itself: a line a stream every half minute, and one at its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

LOGGER = logging.getLogger("airbyte.source_meetings")

SECONDS_BETWEEN_LINES = 30.0
_SHORTEST_WAIT_SECONDS = 0.1


class Progress:
    """Counts what one stream does; any thread may count."""

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
        self._before = (0.0, 0)  # when the last line was written, and the rows until then

    def begin(self) -> None:
        """The stream is being read from now on."""
        self._begun = time.monotonic()
        self._before = (self._begun, 0)

    def end(self, whole: bool) -> None:
        """Say what was done in all; ``whole`` is whether everything was read."""
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
        """Say how far the stream is, if it is being read."""
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
            if self._waits:
                words += f", {self._waits} waits ({self._waited:.0f} s over all workers)"
        return f"{words}."

    def slices_are(self, number: int) -> None:
        """So many slices are still to be read; more may come."""
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

    def waited(self, seconds: float) -> None:
        """A worker has held a request back for so long: a rate limit, or a retry."""
        if seconds < _SHORTEST_WAIT_SECONDS:
            return
        with self._lock:
            self._waits += 1
            self._waited += seconds


@contextmanager
def reported(streams: Mapping[str, Progress]) -> Iterator[None]:
    """Let all streams that are being read say how far they are, every half minute."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(SECONDS_BETWEEN_LINES):
            for progress in streams.values():
                progress.say()

    threading.Thread(target=report, name="progress", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
