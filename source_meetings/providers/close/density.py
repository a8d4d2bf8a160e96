"""How wide a window of ``date_created`` to ask for, so that its meetings fit one page.

Only a guess: a wrong one costs requests, never rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

ROWS_AIMED_AT = 70
_SECOND = timedelta(seconds=1)
_FEW_SECONDS = 10
_ROWS_WORTH_A_REQUEST = 48
_MOST_SAVED = 4.0


@dataclass(frozen=True)
class Density:
    """How many meetings there are hereabouts. Recent windows count for more.

    ``saved`` is how many requests the guesses have saved, less those they have wasted. Where
    meetings come in bursts no guess is any good, and each one costs a request. So there are none
    while nothing is left of what was saved.
    """

    rows: float = 0.0
    seconds: float = 0.0
    saved: float = _MOST_SAVED

    def after(self, rows: int, length: timedelta) -> Density:
        """Return the density that one more window makes it."""
        seconds = 0.8 * self.seconds + length.total_seconds()
        return replace(self, rows=0.8 * self.rows + rows, seconds=seconds)

    def beside(self, moments: list[datetime]) -> Density:
        """Return the density beside meetings, the first of which is the nearest."""
        near = moments[: len(moments) // 2 + 1]
        span = max(abs(near[-1] - near[0]), _SECOND)
        return replace(self, rows=len(near), seconds=span.total_seconds())

    def after_guess(self, rows: int, requests: int) -> Density:
        """Return the density after a guess that took so many requests for so many rows."""
        saved = self.saved + rows / _ROWS_WORTH_A_REQUEST - requests
        return replace(self, saved=min(_MOST_SAVED, saved))

    def width(self, remaining: timedelta) -> timedelta:
        """Return how much of what remains should fit one page."""
        if not self.rows or self.saved < 1:
            return remaining
        wanted = max(1.0, ROWS_AIMED_AT * self.seconds / self.rows)
        if wanted < _FEW_SECONDS:  # rounding up could make it twice as long
            return min(remaining, timedelta(seconds=int(wanted)))
        parts = -(-remaining.total_seconds() // wanted)
        return whole_seconds(remaining / max(1.0, parts))


def whole_seconds(length: timedelta) -> timedelta:
    """Round up to seconds, the precision of the filter."""
    return timedelta(seconds=max(1, -(-length // _SECOND)))
