"""How ``salesloft_meetings`` is kept equal to Salesloft.

The first sync reads windows of ``created_at``. Later syncs walk through the meetings sorted by
``updated_at``, newest first, until a page ends below the saved moment. While that moment is recent,
they continue for the length of the look-back.

It is not documented what happens if ``show_deleted`` is left out. So each sync checks whether
cancelled meetings are listed by default. As long as no answer has shown one, they are requested
separately.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from source_meetings import timestamps
from source_meetings.providers.salesloft.created_windows import (
    Window,
    cut_windows,
    read_window,
    with_deleted,
)
from source_meetings.providers.salesloft.pages import (
    COUNTED,
    NEWEST_FIRST,
    MeetingPages,
    echoes_show_deleted,
    has_more,
    last_affordable_page,
    shows_cancelled,
)
from source_meetings.strategies.newest_first import NewestFirst
from source_meetings.sync.clock import ahead_in_words, clamped, is_ahead, reached
from source_meetings.sync.look_back import LookBack
from source_meetings.sync.reading import (
    Answer,
    Api,
    ReadEverything,
    Reading,
    Row,
    Slice,
    State,
    Strategy,
    UnusableState,
)

_A_DAY = timedelta(days=1)


@dataclass
class MeetingsStrategy(Strategy):
    """Reads by creation time first, and by time of change afterwards. See the module.

    ``look_back_minutes`` is how late a change may become visible. Nothing is documented, and ten
    minutes are a guess.
    """

    stream: str
    cursor_field: str
    config: Mapping[str, Any]
    api: Api
    look_back_minutes: int = 10

    def __post_init__(self) -> None:
        self.pages = MeetingPages(self.api)
        self._look_back = LookBack(timedelta(minutes=self.look_back_minutes))
        self._start_date = timestamps.parse_or_none(self.config.get("start_date"))

    # -- readings ---------------------------------------------------------------------------------

    def start(self) -> State | None:
        if self._start_date is None:
            return None
        return {self.cursor_field: timestamps.iso(self._start_date)}

    def first(self, since: State | None) -> Reading:
        newest = self.pages.page({**NEWEST_FIRST, **COUNTED})
        state = self.state_after(newest, since)
        windows: list[Window] = []
        for show_deleted in self._passes_of_everything(newest, state):
            bound = self.bound(since) if since else None
            windows += cut_windows(self.pages, show_deleted, bound)
        return WindowsReading(self, state, windows)

    def resume(self, state: State, pending: list[State]) -> Reading:
        self._check(state)
        return WindowsReading(self, state, [Window.of(values) for values in pending])

    def changes(self, state: State) -> Reading:
        self._check(state)
        return ChangesReading(self, state)

    def _check(self, state: State) -> None:
        moment = timestamps.parse_or_none(state.get(self.cursor_field))
        if moment is None or moment < timestamps.EPOCH:
            raise UnusableState

    # -- what a state means -----------------------------------------------------------------------

    def bound(self, state: State) -> datetime:
        """Return the oldest change to emit: the saved moment minus the look-back.

        It is never before the start date.
        """
        bound = timestamps.parse(state[self.cursor_field]) - self._look_back.reach(state)
        return max(bound, self._start_date) if self._start_date else bound

    def state_after(self, newest: Answer, since: State | None) -> State:
        """Return the state for ``newest``, the first page by time of change.

        Its cursor is the moment up to which every change is on or below that page. It comes from
        the rows, because only Salesloft's own stamps are comparable with each other. A row from the
        future must not become the watermark.
        """
        before = since or {}
        stamps = [timestamps.parse_or_none(row.get(self.cursor_field)) for row in newest.rows]
        moments = reached(stamps, newest.clock)
        known = timestamps.parse_or_none(before.get(self.cursor_field))
        moments += [clamped(known, newest.clock)] if known else []
        # No rows yet: anything that appears is a change, even if its stamps lag behind the clock.
        # Or only rows from the future: the clock, minus a day because it may be off, is the limit.
        default = newest.clock - _A_DAY if newest.rows else timestamps.EPOCH
        latest = max(moments, default=default)
        kept = {name: before[name] for name in before if name not in ("seen_at", "settled")}
        clock = newest.clock
        seen = self._look_back.seen(before, began=clock, ended=clock, moved=known != latest)
        return {**kept, self.cursor_field: timestamps.iso(latest), **seen}

    # -- cancelled meetings -----------------------------------------------------------------------

    def _passes_of_everything(self, newest: Answer, state: State) -> list[str | None]:
        """Return the values of ``show_deleted`` needed to read everything.

        Notes in the state how cancelled meetings are listed: ``apart``, or with the others.
        """
        if echoes_show_deleted(newest):
            state["cancelled"] = "apart"
        elif shows_cancelled(newest):
            state["cancelled"] = "listed"
        else:
            hidden = self.pages.page({**NEWEST_FIRST, "show_deleted": "true"})
            if not hidden.rows:
                state.pop("cancelled", None)  # none yet, so still unknown
            else:
                listed = self.pages.page({"ids[]": str(hidden.rows[0]["id"])})
                state["cancelled"] = "listed" if listed.rows else "apart"
        return ["false", "true"] if state.get("cancelled") == "apart" else [None]

    def walk(self, show_deleted: str | None, bound: datetime) -> Iterator[Answer]:
        """Yield the pages of changes, newest first, down to ``bound``."""
        params = {**NEWEST_FIRST, **COUNTED, **with_deleted(show_deleted)}
        return NewestFirst(
            lambda number: self.pages.page(params, number),
            has_more,
            provider=self.api.provider,
            key="id",
            changed=self.cursor_field,
            page_size=self.pages.size,
            affordable=last_affordable_page,
            bound=bound,
        ).pages()


def _rows_since(rows: list[Row], bound: datetime | None, field: str) -> list[Row]:
    """Return the rows that were not last changed before a bound."""
    return [row for row in rows if not timestamps.is_before(row.get(field), bound)]


class WindowsReading(Reading):
    """Reads windows of ``created_at``, one slice for each."""

    resumable = True

    def __init__(self, strategy: MeetingsStrategy, state: State, windows: list[Window]) -> None:
        self._strategy = strategy
        self._state = state
        self._windows = windows

    def slices(self) -> Iterable[Slice]:
        return [Slice(window.values(), held=window) for window in self._windows]

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        window: Window = slice.held
        seen: set[Any] = set()
        for answer in read_window(self._strategy.pages, window):
            fresh = [row for row in answer.rows if row["id"] not in seen]
            seen = {row["id"] for row in answer.rows}
            yield _rows_since(fresh, window.updated_since, self._strategy.cursor_field)

    def state(self, whole: bool) -> State:
        return self._state


class ChangesReading(Reading):
    """Reads what changed, one slice for each page."""

    def __init__(self, strategy: MeetingsStrategy, state: State) -> None:
        self._strategy = strategy
        self._before = state
        self._bound = strategy.bound(state)
        self._after: State = state

    def slices(self) -> Iterable[Slice]:
        for number, show_deleted in enumerate(self._passes()):
            for page, answer in enumerate(self._strategy.walk(show_deleted, self._bound)):
                if number == page == 0:
                    # Its first page says up to when the next sync may rely on this one.
                    self._refuse_a_state_ahead_of(answer.clock)
                    self._after = self._strategy.state_after(answer, self._before)
                if number == 0 and not self._before.get("cancelled") and shows_cancelled(answer):
                    self._after["cancelled"] = "listed"
                yield Slice({"updated_since": timestamps.iso(self._bound)}, held=answer)
            if self._after.get("cancelled") == "listed":
                break

    def _passes(self) -> list[str | None]:
        """Return the values of ``show_deleted``: the second one is not needed if all are listed."""
        return ["false" if self._before.get("cancelled") == "apart" else None, "true"]

    def _refuse_a_state_ahead_of(self, clock: datetime) -> None:
        if is_ahead(timestamps.parse(self._before[self._strategy.cursor_field]), clock):
            raise ReadEverything(
                ahead_in_words(self._strategy.api.provider, clock), from_start=True
            )

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        answer: Answer = slice.held
        yield _rows_since(answer.rows, self._bound, self._strategy.cursor_field)

    def state(self, whole: bool) -> State:
        return self._after if whole else self._before
