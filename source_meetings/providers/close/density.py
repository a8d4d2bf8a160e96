"""How wide a window of ``date_created`` to ask for, so that its meetings fit one page.

Only a guess: a wrong one costs requests, never rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

ROWS_AIMED_AT = 70
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Density:
    """How many meetings there are hereabouts. Recent windows count for more."""

    rows: float = 0.0
    seconds: float = 0.0

    def after(self, rows: float, length: timedelta) -> Density:
        """Return the density that one more window makes it."""
        return Density(0.8 * self.rows + rows, 0.8 * self.seconds + length.total_seconds())

    def width(self, remaining: timedelta) -> timedelta:
        """Return how much of what remains should fit one page."""
        if not self.rows:
            return remaining
        wanted = max(1.0, ROWS_AIMED_AT * self.seconds / self.rows)
        parts = -(-remaining.total_seconds() // wanted)
        return whole_seconds(remaining / max(1.0, parts))


def whole_seconds(length: timedelta) -> timedelta:
    """Round up to seconds, the precision of the filter."""
    return timedelta(seconds=max(1, -(-length // _SECOND)))
