"""Reads all meetings by ``created_at``, which never changes.

Each window is read by keyset: every page asks for what was created at or after the last row of the
previous page. So rows that vanish during the walk cannot push others across a page edge, and no
page costs more than one point. The page number is raised only if a single creation time fills a
whole page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from source_meetings import timestamps
from source_meetings.providers.salesloft.pages import (
    COUNTED,
    OLDEST_FIRST,
    MeetingPages,
    has_more,
    ids,
    moment_of,
)
from source_meetings.sync.reading import Answer, Row, State, Untrustworthy, UnusableState

_MEETINGS_PER_WINDOW = 2500
_FEWEST_WINDOWS = 8
_MOST_WINDOWS = 40
_MICROSECOND = timedelta(microseconds=1)
_MOST_ROUNDS_OF_A_TIE = 100
_MOST_QUIET_ROUNDS = 10  # of a tie: one row of thousands is then overlooked once in 20,000 times


@dataclass(frozen=True)
class Window:
    """A half-open window of ``created_at``. None as its end leaves it open.

    ``show_deleted`` is the value of that parameter, or None if it is not sent. Rows that were last
    changed before ``updated_since`` are not emitted.
    """

    start: datetime
    end: datetime | None
    show_deleted: str | None
    updated_since: datetime | None

    @classmethod
    def of(cls, values: State) -> Window:
        """Return the window that is saved as these values. Raises UnusableState."""
        start = timestamps.parse_or_none(values.get("created_at_gte"))
        if start is None:
            raise UnusableState
        return cls(
            start,
            timestamps.parse_or_none(values.get("created_at_lt")),
            values.get("show_deleted"),
            timestamps.parse_or_none(values.get("updated_since")),
        )

    def values(self) -> State:
        return {
            "created_at_gte": timestamps.iso(self.start),
            "created_at_lt": timestamps.iso(self.end) if self.end else None,
            "show_deleted": self.show_deleted,
            "updated_since": timestamps.iso(self.updated_since) if self.updated_since else None,
        }


def cut_windows(
    pages: MeetingPages, show_deleted: str | None, updated_since: datetime | None
) -> list[Window]:
    """Cut the time since the oldest meeting into windows of equal length.

    The last window has no end, so that meetings created during the sync are read too.
    """
    oldest = pages.page({**OLDEST_FIRST, **COUNTED, **with_deleted(show_deleted)}, size=1)
    if not oldest.rows:
        return []
    first, last = moment_of(oldest.rows[0], "created_at"), oldest.clock
    total = oldest.total
    count = _FEWEST_WINDOWS if total is None else -(-total // _MEETINGS_PER_WINDOW)
    count = max(_FEWEST_WINDOWS, min(_MOST_WINDOWS, count))
    if total is not None:
        count = max(1, min(count, -(-total // pages.size)))  # at most one per page
    if last - first < timedelta(hours=1):
        count = 1
    step = (last - first) / count
    edges = [first + step * number for number in range(count)]
    ends: list[datetime | None] = [*edges[1:], None]
    return [Window(start, end, show_deleted, updated_since) for start, end in zip(edges, ends)]


def read_window(pages: MeetingPages, window: Window) -> Iterator[Answer]:
    """Yield the pages of a window. A page may begin with rows of the previous one."""
    fixed = {**OLDEST_FIRST, **COUNTED, **with_deleted(window.show_deleted)}
    if window.end:
        fixed["created_at[lt]"] = timestamps.iso(window.end)
    start = window.start
    while True:
        answer = pages.page({**fixed, "created_at[gte]": timestamps.iso(start)})
        if not answer.rows:
            return
        last = moment_of(answer.rows[-1], "created_at")
        _check(answer.rows, start, window.end)
        yield answer
        if not has_more(answer):
            return
        if last == start:
            yield from _read_tie(pages, fixed, start)
            start += _MICROSECOND
        else:
            start = last


def _read_tie(pages: MeetingPages, fixed: Mapping[str, str], moment: datetime) -> Iterator[Answer]:
    """Yield the pages of meetings that share one creation time and fill a whole page.

    They can only be paged by number, and no order among equal times is documented. They may swap
    places from request to request, so one round through the pages may list some meetings twice and
    leave others out. So the pages are read until as many distinct meetings were seen as Salesloft
    counts.
    """
    end = moment + _MICROSECOND
    bounds = {"created_at[gte]": timestamps.iso(moment), "created_at[lt]": timestamps.iso(end)}
    seen: set[Any] = set()
    total: int | None = None
    quiet = 0
    for _ in range(_MOST_ROUNDS_OF_A_TIE):
        known, listed = len(seen), 0
        number, more = 1, True
        while more:
            answer = pages.page({**fixed, **bounds}, number)
            _check(answer.rows, moment, end)
            before = total
            total = before if answer.total is None else answer.total
            if before is not None and total is not None and total < before:
                seen.clear()  # some have vanished, and there is no way to know which
                known = -1
            seen |= ids(answer)
            listed += len(answer.rows)
            yield answer
            number, more = number + 1, has_more(answer)
        quiet = quiet + 1 if len(seen) == known else 0
        if total is not None and known >= 0 and len(seen) >= total:
            return
        # Without a total, a round lists as many rows as there are.
        if total is None and quiet and len(seen) >= listed:
            return
        if quiet == _MOST_QUIET_ROUNDS:
            break
    raise Untrustworthy(
        f"Salesloft lists the meetings created at {timestamps.iso(moment)} in an order that keeps "
        "changing, so some of them may not have been read."
    )


def with_deleted(show_deleted: str | None) -> dict[str, str]:
    """Return the parameter that requests cancelled meetings only, or only the others."""
    return {"show_deleted": show_deleted} if show_deleted else {}


def _check(rows: list[Row], start: datetime, end: datetime | None) -> None:
    for row in (*rows[:1], *rows[-1:]):
        created = moment_of(row, "created_at")
        if created < start or (end is not None and created >= end):
            raise Untrustworthy(
                "Salesloft answered with meetings outside the requested creation times, so it no "
                "longer honors created_at[gte] and created_at[lt]. Nothing can be read safely; "
                "please report this."
            )
