"""Decides when to guess the width of a window.

Without a guess, two requests read a page of meetings: the first one is too full, and shows how wide
the second one must be. A guess can do it in one. A wrong guess costs requests, never rows:

- One that is too wide costs nothing. Its page is too full, like the first of the two requests.
- One that is too narrow wastes a request. Where meetings come in bursts, most guesses are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from source_meetings.providers.close.density import Density

_MOST_SAVED = 4.0
_FEWEST_ROWS_OF_TWO, _MOST_ROWS_OF_TWO = 2.0, 96.0
_EARNED_BY_TWO = 0.03


@dataclass
class Experience:
    """What the stretches of a sync learn from each other.

    ``saved`` is how many requests guesses have saved, minus those they have wasted. It grows a
    little with every page that took two requests, so that guesses are tried again. ``rows_of_two``
    is how many rows two requests read: a page, less the meetings of its last second, which may be
    half of it. ``density`` is that of the stretch that was read last.

    Threads share it without a lock. A number that is lost costs a request at most.
    """

    saved: float = _MOST_SAVED
    rows_of_two: float = _MOST_ROWS_OF_TWO
    density: Density = Density()

    def has_read_with_two(self, rows: int) -> None:
        """Learn from rows that took two requests, or more."""
        rows_of_two = 0.8 * self.rows_of_two + 0.2 * rows
        self.rows_of_two = min(_MOST_ROWS_OF_TWO, max(_FEWEST_ROWS_OF_TWO, rows_of_two))
        self._earn(_EARNED_BY_TWO)

    def has_guessed(self, rows: int) -> None:
        """Learn from rows that took one request, thanks to a guess."""
        self._earn(2 * rows / self.rows_of_two - 1)

    def _earn(self, requests: float) -> None:
        self.saved = min(_MOST_SAVED, self.saved + requests)


class Guesses:
    """Guesses the windows in one stretch of time, one after another."""

    def __init__(self, experience: Experience) -> None:
        self._experience = experience
        self._density = experience.density
        self._in_a_gap = False

    def width(self, remaining: timedelta) -> timedelta:
        """Return how much of the remaining time to request: less than all of it is a guess."""
        if self._in_a_gap or self._experience.saved < 1:
            return remaining
        return self._density.width(remaining)

    def saw_full_page(self, moments: list[datetime]) -> None:
        """Learn from a page that was too full. The meeting nearest to the next window is first."""
        self._density = self._density.beside(moments)

    def has_read(self, rows: int, length: timedelta, *, requests: int, guessed: bool) -> None:
        """Learn from a window of this length that was read with so many requests."""
        self._in_a_gap = False
        if requests > 1:
            self._experience.has_read_with_two(rows)
            if guessed:
                self._density = self._density.after_too_full()
        elif guessed:
            self._experience.has_guessed(rows)
            self._in_a_gap = self._density.are_few(rows)
            if not self._in_a_gap:
                self._density = self._density.after(rows, length)
        self._experience.density = self._density
