"""Guesses how wide a window of ``date_created`` can be so that its meetings fit one page.

A wrong guess costs requests, never rows.
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
    """How dense the meetings are nearby. Recent windows count for more.

    ``saved`` is how many requests the guesses have saved, minus those they have wasted. If meetings
    come in bursts, every guess is wrong and costs a request. So there are no guesses while nothing
    is left of what was saved.
    """

    rows: float = 0.0
    seconds: float = 0.0
    saved: float = _MOST_SAVED

    def after(self, rows: int, length: timedelta) -> Density:
        """Return the density updated with one more window."""
        seconds = 0.8 * self.seconds + length.total_seconds()
        return replace(self, rows=0.8 * self.rows + rows, seconds=seconds)

    def beside(self, moments: list[datetime]) -> Density:
        """Return the density next to these meetings, the nearest one first."""
        near = moments[: len(moments) // 2 + 1]
        span = max(abs(near[-1] - near[0]), _SECOND)
        return replace(self, rows=len(near), seconds=span.total_seconds())

    def after_guess(self, rows: int, requests: int) -> Density:
        """Return the density after a guess that took this many requests for this many rows."""
        saved = self.saved + rows / _ROWS_WORTH_A_REQUEST - requests
        return replace(self, saved=min(_MOST_SAVED, saved))

    def width(self, remaining: timedelta) -> timedelta:
        """Return how much of the remaining time should fit one page."""
        if not self.rows or self.saved < 1:
            return remaining
        wanted = max(1.0, ROWS_AIMED_AT * self.seconds / self.rows)
        if wanted < _FEW_SECONDS:  # rounding up could double it
            return min(remaining, timedelta(seconds=int(wanted)))
        parts = -(-remaining.total_seconds() // wanted)
        return whole_seconds(remaining / max(1.0, parts))


def whole_seconds(length: timedelta) -> timedelta:
    """Round up to seconds, the precision of the filter."""
    return timedelta(seconds=max(1, -(-length // _SECOND)))
