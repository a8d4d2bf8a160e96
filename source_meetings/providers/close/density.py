"""How dense meetings are nearby, and so how wide a window of ``date_created`` fits one page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

ROWS_AIMED_AT = 80
_SECOND = timedelta(seconds=1)
_FEW_SECONDS = 10
_SMALLEST_SHARE = 0.25


@dataclass(frozen=True)
class Density:
    """How dense the meetings are nearby. Recent windows count for more.

    ``share`` is the part of ROWS_AIMED_AT that windows aim at. It falls with every window that is
    too full and slowly rises again. Where 34 meetings begin on each half hour, a window holds 68 or
    102 of them, so aiming at 80 is wrong a third of the time.
    """

    rows: float = 0.0
    seconds: float = 0.0
    share: float = 1.0

    @property
    def _aim(self) -> float:
        return self.share * ROWS_AIMED_AT

    def after(self, rows: int, length: timedelta) -> Density:
        """Return the density after one more window, which was guessed and fitted a page."""
        return Density(
            rows=0.8 * self.rows + rows,
            seconds=0.8 * self.seconds + length.total_seconds(),
            share=min(1.0, self.share + 1 / ROWS_AIMED_AT),
        )

    def after_too_full(self) -> Density:
        """Return the density after a window that was guessed and did not fit a page."""
        return replace(self, share=max(_SMALLEST_SHARE, 0.9 * self.share))

    def beside(self, moments: list[datetime]) -> Density:
        """Return the density next to these meetings, the nearest one first.

        The nearer half tells. Not all meetings of the nearest moment may be known, so these do not
        count.
        """
        nearest = moments[0]
        for last in (moments[len(moments) // 2], moments[-1]):
            span = abs(last - nearest)
            rows = sum(one != nearest and abs(one - nearest) <= span for one in moments)
            if rows:
                return replace(self, rows=rows, seconds=max(span, _SECOND).total_seconds())
        return self

    def are_few(self, rows: int) -> bool:
        """Return whether a window has so few rows that a gap must have begun."""
        return rows < self._aim / 4

    def width(self, remaining: timedelta) -> timedelta:
        """Return how much of the remaining time should fit one page."""
        if not self.rows:
            return remaining
        wanted = max(1.0, self._aim * self.seconds / self.rows)
        if wanted < _FEW_SECONDS:  # rounding up could double it
            return min(remaining, timedelta(seconds=int(wanted)))
        parts = -(-remaining.total_seconds() // wanted)
        return whole_seconds(remaining / max(1.0, parts))


def whole_seconds(length: timedelta) -> timedelta:
    """Round up to seconds, the precision of the filter."""
    return timedelta(seconds=max(1, -(-length // _SECOND)))
