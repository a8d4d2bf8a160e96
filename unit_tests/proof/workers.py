"""Workers that read the slices of a sync in one thread: a seed decides who goes on, and when.

Without a seed, each worker in turn reads a page and hands it over. With one it is drawn whose turn
it is, and two faults are possible:

``late answers``: while one waits for an answer, or has it and has not looked at it, others go on,
for one to three pages. That is what the renewal of a token does to a sync, and a wait for a limit:
a strategy sees neither of them, only an answer that comes after those of others, and after what was
written meanwhile.

``late pages``: one that has read a page is stopped before it hands the page over.

Who is interrupted by others goes on when these have come to the end of a page. So of two requests
that overlap, the one that was sent last is answered first, or both are answered in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from source_meetings.sync.chain import Sync
from source_meetings.sync.reading import Row, Slice

FAULTS = ("late answers", "late pages")
_CHANCE = 0.3
_MOST_STEPS = 3


@dataclass(eq=False)
class _Worker:
    """Reads a slice. ``page`` is what it has read and not handed over."""

    pages: Iterator[list[Row]]
    runs: bool = False
    page: list[Row] | None = None


class Workers:
    """So many workers. ``step`` asks an iterator for what comes next: None at its end.

    ``hand_over`` takes the pages. Without ``turns`` there are no ``faults``.
    """

    def __init__(
        self,
        sync: Sync,
        number: int,
        turns: Random | None,
        faults: tuple[str, ...],
        step: Callable[[Iterator[Any]], Any],
        hand_over: Callable[[list[Row]], None],
    ) -> None:
        self._sync = sync
        self._number = number
        self._turns = turns
        self._late_answers, self._late_pages = (turns and one in faults for one in FAULTS)
        self._step = step
        self._hand_over = hand_over
        self._slices = sync.slices()
        self._plans = False
        self._planned = False
        self._busy: list[_Worker] = []
        self._turn = 0

    def run(self) -> None:
        """Read all slices."""
        while self._busy or not self._planned:
            while self._can_plan():
                self._plan()
            if not self._busy:
                return
            if self._turns:
                self._turn = self._turns.randrange(len(self._busy))
            else:
                self._turn = (self._turn + 1) % len(self._busy)
            self._go_on(self._busy[self._turn])

    def meanwhile(self) -> None:
        """Let others go on, perhaps: whoever calls this waits for an answer."""
        if not self._late_answers or self._turns is None or self._turns.random() > _CHANCE:
            return
        for _ in range(self._turns.randint(1, _MOST_STEPS)):
            idle = [worker for worker in self._busy if not worker.runs]
            if self._can_plan() and self._turns.random() < 0.5:
                self._plan()
            elif idle:
                self._go_on(self._turns.choice(idle))

    def _can_plan(self) -> bool:
        return not self._planned and not self._plans and len(self._busy) < self._number

    def _plan(self) -> None:
        self._plans = True
        slice: Slice | None = self._step(self._slices)
        self._plans = False
        if slice is None:
            self._planned = True
        else:
            self._busy.append(_Worker(self._sync.read(slice)))

    def _go_on(self, worker: _Worker) -> None:
        page, worker.page = worker.page, None
        if page is None:
            worker.runs = True
            page = self._step(worker.pages)
            worker.runs = False
            if page is None:
                self._busy.remove(worker)
                return
            if self._late_pages and self._turns and self._turns.random() < _CHANCE:
                worker.page = page
                return
        self._hand_over(page)
