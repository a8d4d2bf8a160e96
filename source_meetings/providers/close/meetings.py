"""How ``close_meetings`` is kept equal to Close.

The first sync reads windows of ``date_created``. Later syncs ask the event log which meetings
changed, and read these by id. Nothing says that transcripts, summaries and outcomes cause an event
or a new ``date_updated`` (assumed: they may not). So each sync also reads a window of start times
around now again, and emits the meetings that differ from what was last seen.

In a state, ``date_updated`` is Close's clock when the log was last read. It only shows whether the
log still reaches back that far. ``events`` has, for each action, the ``date_updated`` of the newest
event known. These are Close's own stamps and serve as the watermarks, so two clocks are never
compared. ``events_seen`` has digests of the events that the next sync will see again. ``seen`` has
digests of the meetings in the window that is read again.

If Close ignores the date filters, the whole list is read instead of a window. A first sync then has
a single slice. Windows left by an earlier sync share one reading. For the window that every sync
reads again, rows outside it are dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from source_meetings import timestamps
from source_meetings.providers.close.event_log import Change, EventLog, LogReading
from source_meetings.providers.close.list_pages import (
    FiltersIgnored,
    MeetingList,
    created,
    is_outside,
)
from source_meetings.providers.close.windows import Window, WindowReader
from source_meetings.sync.fingerprints import ChangedSince, SeenRow, SeenRows, pack
from source_meetings.sync.look_back import LookBack
from source_meetings.sync.reading import (
    Answer,
    Api,
    Reading,
    Row,
    Slice,
    State,
    Strategy,
    Untrustworthy,
    UnusableState,
)

LOGGER = logging.getLogger("airbyte.source_meetings")

_LONGEST_URL = 1900  # a URL may have about 2,000 characters: https://developer.close.com/
_MOST_EVENTS_KEPT = 4_000
_OF_THE_LOG = ("seen_at", "settled")  # in a state


@dataclass(frozen=True)
class Batch:
    """Meetings to read by id, with a tombstone for each that was deleted."""

    ids: list[str]
    tombstones: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def of(cls, values: State) -> Batch:
        """Return the batch that is saved as these values. Raises UnusableState."""
        ids, tombstones = values.get("ids"), values.get("deleted")
        if not isinstance(ids, list) or not isinstance(tombstones, dict):
            raise UnusableState
        return cls(ids, tombstones)

    def values(self) -> State:
        return {"ids": self.ids, "deleted": self.tombstones}


@dataclass(frozen=True)
class Again:
    """The window that every sync reads again, and the rows that were last seen in it."""

    window: Window
    seen: Any

    def values(self) -> State:
        return {**self.window.values(), "again": True}


@dataclass
class MeetingsStrategy(Strategy):
    """Reads windows first, then the meetings that the event log names. See the module.

    ``most_windows``: the most slices of a first sync, apart from the future.
    ``look_back_minutes``: how late events become visible (documented). ``log_days``: how far back
    the log is trusted to reach. ``days_back`` and ``days_ahead``: the window of start times that
    every sync reads again. ``days_back_without_log`` and ``days_ahead_without_log``: the same
    without permission to read the log.
    """

    stream: str
    cursor_field: str
    config: Mapping[str, Any]
    api: Api
    most_windows: int = 24
    look_back_minutes: int = 5
    log_days: int = 29
    days_back: int = 14
    days_ahead: int = 90
    days_back_without_log: int = 90
    days_ahead_without_log: int = 365

    def __post_init__(self) -> None:
        look_back = LookBack(timedelta(minutes=self.look_back_minutes))
        self.list = MeetingList(self.api)
        self.log = EventLog(self.api, self.cursor_field, look_back, self.log_days)
        self.start_date = timestamps.parse_or_none(self.config.get("start_date"))
        self.filters_ignored = False
        self._noticing = threading.Lock()

    def output(self, before: State) -> MeetingsOutput:
        """Return the object that decides which rows a reading emits.

        ``before`` is the state that the reading begins with.
        """
        return MeetingsOutput(self)

    # -- readings ---------------------------------------------------------------------------------

    def first(self, since: State | None) -> Reading:
        newest = self.log.newest()
        if newest.closed:
            self._say_that_the_log_is_closed()
        back = self.days_back_without_log if newest.closed else self.days_back
        # Deletions from before the log begins can no longer be detected.
        deleted = self.log.deletions() if since is not None else {}
        recent = newest.clock - timedelta(days=back)
        reading = FirstReading(self, self.log.state_at(newest), recent)
        reading.plan([*self.batches(deleted), *self._windows(reading.windows, newest.clock)])
        return reading

    def _windows(self, windows: WindowReader, now: datetime) -> list[Window]:
        if not self.filters_ignored:
            try:
                return windows.cut_everything(now, self.most_windows)
            except FiltersIgnored:
                self.note_that_filters_are_ignored()
        return [Window(None, None, now.replace(microsecond=0))]

    def resume(self, state: State, pending: list[State]) -> Reading:
        self.log.check(state)
        reading = FirstReading(self, state, recent=None)
        reading.plan([Batch.of(one) if "ids" in one else Window.of(one) for one in pending])
        return reading

    def changes(self, state: State) -> Reading:
        self.log.check(state)
        log = self.log.changes_since(state)
        if log.closed:
            self._say_that_the_log_is_closed()
            back, ahead = self.days_back_without_log, self.days_ahead_without_log
        else:
            back, ahead = self.days_back, self.days_ahead
        # The newest event is used as the data's clock, in case it differs from the header's.
        newest = log.newest or log.clock
        start = min(log.clock, newest) - timedelta(days=back)
        end = max(log.clock, newest) + timedelta(days=ahead)
        window = Window(start.replace(microsecond=0), end.replace(microsecond=0), log.clock)
        return ChangesReading(self, state, log, Again(window, state.get("seen")))

    # -- batches ----------------------------------------------------------------------------------

    def batches(self, changes: Mapping[str, Change]) -> list[Batch]:
        """Split changed meetings into lists of ids whose URL stays short enough."""
        size = self.list.page_size
        fixed = urlencode({"_limit": size, "id__in": ""})
        room = _LONGEST_URL - len(self.api.url("meetings")) - len(fixed)
        batches: list[list[str]] = [[]]
        used = 0
        for id in sorted(changes):
            length = len(quote(f",{id}", safe=""))
            if batches[-1] and (used + length > room or len(batches[-1]) == size):
                batches.append([])
                used = 0
            batches[-1].append(id)
            used += length
        return [Batch(ids, self._tombstones(ids, changes)) for ids in batches if ids]

    def _tombstones(self, ids: list[str], changes: Mapping[str, Change]) -> dict[str, Row]:
        return {id: self._tombstone(id, changes[id]) for id in ids if changes[id].is_deletion}

    def _tombstone(self, id: str, change: Change) -> Row:
        moment = change.moment.astimezone(timestamps.UTC)
        known = {"lead_id": change.lead_id, "organization_id": change.organization_id}
        return {
            "id": id,
            "is_deleted": True,
            self.cursor_field: moment.isoformat(timespec="microseconds"),
            **{name: value for name, value in known.items() if value},
        }

    # -- what is said once ------------------------------------------------------------------------

    def note_that_filters_are_ignored(self) -> None:
        """Remember, and log once, that Close ignores the date filters."""
        with self._noticing:
            if self.filters_ignored:
                return
            self.filters_ignored = True
        LOGGER.warning(
            "Stream %s: Close ignores the date filters (date_created__gte, date_created__lt): it "
            "answered with meetings outside the requested dates. Every sync now reads the whole "
            "list, one request for each 99 meetings. Nothing is lost. Ask Close's support why the "
            "filters do not work for your organization.",
            self.stream,
        )

    def _say_that_the_log_is_closed(self) -> None:
        LOGGER.warning(
            "Stream %s: the credentials may not read Close's event log. Every sync reads the "
            "meetings that start from %d days ago to %d days from now again. Not captured: "
            "deletions, and changes of meetings that start outside these days. Use an API key "
            "of an admin to capture them.",
            self.stream,
            self.days_back_without_log,
            self.days_ahead_without_log,
        )


class MeetingsOutput:
    """Decides which of the rows that a reading sees are emitted, and remembers them.

    ``gone`` are the deleted meetings for which a tombstone was emitted. Any thread may use it.
    """

    def __init__(self, strategy: MeetingsStrategy) -> None:
        self._strategy = strategy
        self._emitted: set[bytes] = set()
        self.recent: datetime | None = None
        self.seen = SeenRows()
        self.gone: set[str] = set()

    def page(
        self, answer: Answer, changed: ChangedSince | None = None, *, overlaps: bool
    ) -> Iterator[list[Row]]:
        """Yield the rows of an answer to emit. With ``changed``, only of the rows that it picks.

        ``overlaps``: the reading may see the same version of a row elsewhere.
        """
        rows = [seen_row(row) for row in answer.rows]
        for row in rows:
            if changed is not None or self.is_recent(row.at):
                self.seen.add(row)
        picked = rows if changed is None else changed.pick(rows)
        yield from self.rows(picked, again=changed is not None, overlaps=overlaps)

    def rows(self, rows: list[SeenRow], *, again: bool, overlaps: bool) -> Iterator[list[Row]]:
        """Yield the rows to emit among those that are new or changed.

        ``again``: they come from the window that every sync reads again.
        """
        fresh = [row for row in rows if not self.is_too_old(row.row)]
        yield [row.row for row in fresh if not overlaps or self.is_first(row)]

    def tombstones(self, rows: list[Row]) -> Iterator[list[Row]]:
        """Yield the rows to emit for meetings that were deleted."""
        self.gone.update(row["id"] for row in rows)
        yield rows

    def state(self) -> State:
        return {"seen": self.seen.state()}

    def is_first(self, row: SeenRow) -> bool:
        """Return whether this version of a row was not emitted yet, and mark it as emitted."""
        if row.version in self._emitted:
            return False
        self._emitted.add(row.version)
        return True

    def is_recent(self, created: datetime | None) -> bool:
        """Return whether the next sync reads a row that was created then again."""
        return self.recent is not None and created is not None and created >= self.recent

    def is_too_old(self, row: Row) -> bool:
        """Return whether a row was last changed before the configured start date."""
        strategy = self._strategy
        return timestamps.is_before(row.get(strategy.cursor_field), strategy.start_date)


@dataclass
class _WholeList:
    """The whole list, read once for all slices of a reading, by the first that needs it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    read: bool = False
    error: Exception | None = None


class MeetingsReading(Reading):
    """What a first sync and a later one have in common: windows and batches."""

    def __init__(self, strategy: MeetingsStrategy, before: State) -> None:
        self._strategy = strategy
        self._list = strategy.list
        self._whole_list = _WholeList()
        self.windows = WindowReader(strategy.list)
        self.output = strategy.output(before)

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        part = slice.held
        if isinstance(part, Batch):
            yield from self._read_batch(part)
        elif isinstance(part, Again):
            changed = ChangedSince(part.seen)
            yield from self._read_window(part.window, changed)
            yield from self.output.rows(changed.rest(), again=True, overlaps=True)
        else:
            yield from self._read_window(part, None)

    def _read_window(self, window: Window, changed: ChangedSince | None) -> Iterator[list[Row]]:
        if not self._strategy.filters_ignored:
            try:
                for answer in self.windows.read(window):
                    yield from self.output.page(answer, changed, overlaps=changed is not None)
                return
            except FiltersIgnored:
                self._strategy.note_that_filters_are_ignored()
        if changed is not None:
            for answer in self._list.skip_through():
                inside = [row for row in answer.rows if _is_inside(row, window)]
                yield from self.output.page(_with_rows(answer, inside), changed, overlaps=True)
        else:
            yield from self._read_whole_list()

    def _read_whole_list(self) -> Iterator[list[Row]]:
        """Read every meeting, unless another slice has already done so.

        Slices that arrive meanwhile wait, so that none counts as read before its rows were emitted.
        If the reading fails, they fail too and stay pending.
        """
        whole = self._whole_list
        with whole.lock:
            if whole.error is not None:
                raise whole.error
            if whole.read:
                return
            try:
                for answer in self._list.skip_through():
                    yield from self.output.page(answer, overlaps=True)
            except Exception as error:
                whole.error = error
                raise
            whole.read = True

    def _read_batch(self, batch: Batch, once_more: bool = True) -> Iterator[list[Row]]:
        page = self._list.by_id(batch.ids)
        if page.more and len(batch.ids) > 1:
            middle = len(batch.ids) // 2
            yield from self._read_batch(Batch(batch.ids[:middle], batch.tombstones))
            yield from self._read_batch(Batch(batch.ids[middle:], batch.tombstones))
            return
        there = {row["id"] for row in page.rows}
        if not there <= set(batch.ids):
            raise Untrustworthy("Close answered with meetings whose ids were not requested.")
        yield from self.output.page(page.answer, overlaps=True)
        absent = [id for id in batch.ids if id not in there]
        gone = [batch.tombstones[id] for id in absent if id in batch.tombstones]
        yield from self.output.tombstones(gone)
        missing = [id for id in absent if id not in batch.tombstones]
        if missing and once_more:
            # In case the page was short: no later sync would request these.
            yield from self._read_batch(Batch(missing), once_more=False)
        elif missing:
            LOGGER.info(
                "Stream %s: %d changed meetings are not shown to these credentials, and no event "
                "says that they were deleted; they were left as they are.",
                self._strategy.stream,
                len(missing),
            )


class FirstReading(MeetingsReading):
    """Reads everything, or what an interrupted first sync left."""

    resumable = True

    def __init__(self, strategy: MeetingsStrategy, state: State, recent: datetime | None) -> None:
        """``recent``: the next sync reads meetings that start later than this again."""
        super().__init__(strategy, {})
        self._state = state
        self._parts: Sequence[Batch | Window] = ()
        self.output.recent = recent

    def plan(self, parts: Sequence[Batch | Window]) -> None:
        """Set what is to be read."""
        self._parts = parts

    def slices(self) -> Iterable[Slice]:
        return [Slice(part.values(), held=part) for part in self._parts]

    def state(self, whole: bool) -> State:
        return {**self._state, **self.output.state()} if whole else self._state


class ChangesReading(MeetingsReading):
    """Reads the meetings that the log names, and the window that every sync reads again."""

    def __init__(
        self, strategy: MeetingsStrategy, before: State, log: LogReading, again: Again
    ) -> None:
        super().__init__(strategy, before)
        self._before = before
        self._log = log
        self._again = again
        self.output.recent = again.window.start

    def slices(self) -> Iterable[Slice]:
        for batch in self._strategy.batches(self._log.changes):
            yield Slice(batch.values(), held=batch)
        yield Slice(self._again.values(), held=self._again)

    def state(self, whole: bool) -> State:
        if not whole:
            return self._before
        kept = {name: self._before[name] for name in self._before if name not in _OF_THE_LOG}
        state = {**kept, **self._log.state, **self.output.state()}
        if not self._log.closed:
            state["events_seen"] = pack(self._events_seen())
        return state

    def _events_seen(self) -> list[bytes]:
        """A deletion is checked again as long as the row is still shown."""
        deletions = self._log.deletions
        known = [
            version
            for version in self._log.overlapping
            if version not in deletions or deletions[version] in self.output.gone
        ]
        return known[:_MOST_EVENTS_KEPT]


def seen_row(row: Row) -> SeenRow:
    """Return a row with the data by which it is recognized."""
    return SeenRow(row["id"], created(row), row)


def _is_inside(row: Row, window: Window) -> bool:
    return not is_outside(created(row), window.start, window.end)


def _with_rows(answer: Answer, rows: list[Row]) -> Answer:
    return Answer(rows, answer.clock, body=answer.body)
