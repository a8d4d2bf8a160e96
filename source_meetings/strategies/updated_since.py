"""The strategy for an ordinary API: a list that can be filtered by time of change.

The first sync reads everything. Later syncs request what changed since the watermark, once for each
filter (an API may have one filter for new rows and another for changed rows).

What may be saved. A row on page 1 can change while page 5 is read, and page 5 can hold a stamp that
is newer than that change. So the newest stamp of a walk is not a watermark. Stamps that existed
before the walk began are safe, because anything that changes afterwards is stamped later: those on
the first page, and the newest stamp of the previous sync. A first sync has no previous one, and its
first page may hold old rows only, so the second sync would read almost everything again. If an API
can also list the newest change first, that page is requested beforehand (``newest``). The
provider's clock alone is not trusted, because nothing says that the stamps come from it. It only
excludes stamps from the future. If rows have no readable stamp at all, the clock is used instead.

A killed first sync is resumed by partition. Without partitions it begins again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from source_meetings import timestamps
from source_meetings.components import build
from source_meetings.strategies.paging import all_pages, all_tokens
from source_meetings.sync.clock import ahead_in_words, is_ahead, reached
from source_meetings.sync.fingerprints import Emitted, version
from source_meetings.sync.look_back import LookBack
from source_meetings.sync.reading import (
    Answer,
    Api,
    Reading,
    Row,
    Slice,
    State,
    Strategy,
    UnusableState,
)

LOGGER = logging.getLogger("airbyte.source_meetings")

_FORMATS = {
    "iso": lambda moment: timestamps.iso(moment),
    "epoch_seconds": lambda moment: str(max(0, int(moment.timestamp()))),
    "epoch_milliseconds": lambda moment: str(max(0, timestamps.millis(moment))),
}


@dataclass(frozen=True)
class Filter:
    """A request parameter that leaves out rows that changed earlier.

    ``fields`` are the row's fields with the time that the filter compares, or with a later one.
    ``format`` is ``iso``, ``epoch_seconds`` or ``epoch_milliseconds``.
    """

    parameter: str
    fields: tuple[str, ...]
    format: str = "iso"

    def __post_init__(self) -> None:
        if self.format not in _FORMATS:
            raise ValueError(f"format is one of {', '.join(_FORMATS)}, not {self.format}")


@dataclass(frozen=True)
class Partitions:
    """One list for each value of an option of the provider, sent as ``parameter``.

    ``what`` says what a value is, for messages ("event").
    """

    option: str
    parameter: str
    what: str


@dataclass
class UpdatedSince(Strategy):
    """Reads what changed since the watermark. See the module.

    In a manifest: ``key`` are the fields that identify a row in its list. ``filters`` are as in
    ``Filter``, and ``partitions`` as in ``Partitions``. ``newest`` are request parameters that put
    the newest change on the first page. ``look_back_seconds`` is how late a change may become
    visible. ``settled_seconds`` is what is read again even after that, for filters that leave out
    the very moment.
    """

    stream: str
    cursor_field: str
    config: Mapping[str, Any]
    api: Api
    key: tuple[str, ...]
    filters: tuple[Any, ...]
    endpoint: str = "list"
    partitions: Any = None
    newest: Mapping[str, str] | None = None
    look_back_seconds: int = 120
    settled_seconds: int = 1

    def __post_init__(self) -> None:
        self.filters = tuple(build(one, Filter) for one in self.filters)
        self.partitions = build(self.partitions, Partitions) if self.partitions else None
        self.look_back = LookBack(
            timedelta(seconds=self.look_back_seconds), timedelta(seconds=self.settled_seconds)
        )
        self._key_of: Callable[[Row], Hashable] = itemgetter(*self.key)
        self.start_date = timestamps.parse_or_none(self.config.get("start_date"))

    # -- readings ---------------------------------------------------------------------------------

    def first(self, since: State | None) -> Reading:
        state: State = {self.cursor_field: None, "partitions": {}}
        return PartitionsReading(self, state, set(self.partition_ids()), resumable=True)

    def resume(self, state: State, pending: list[State]) -> Reading:
        self._check(state)
        left = {values.get("partition") for values in pending}
        if not left <= set(self.partition_ids()):
            raise UnusableState
        return PartitionsReading(self, state, left, resumable=True)

    def changes(self, state: State) -> Reading:
        self._check(state)
        return PartitionsReading(self, state, set(), resumable=False)

    def _check(self, state: State) -> None:
        """An unfinished first sync may have no partition with a watermark yet."""
        known = state.get("partitions")
        if not isinstance(known, dict) or not all(isinstance(one, dict) for one in known.values()):
            raise UnusableState

    # -- rows -------------------------------------------------------------------------------------

    def newest_of(self, rows: list[Row], field: str, clock: datetime) -> datetime | None:
        """Return the newest time in a field of the rows, or None if no row has one.

        Times that ``clock.reached`` leaves out do not count. If a row's time is not exact, the
        earliest that it can be counts.
        """
        times = (timestamps.parse_or_none(row.get(field)) for row in rows)
        return max(reached(times, clock), default=None)

    def key_of(self, row: Row) -> Hashable:
        try:
            return self._key_of(row)
        except KeyError:
            return tuple([row.get(name) for name in self.key])

    def since_start(self, rows: list[Row]) -> list[Row]:
        """Return the rows that were not last changed before the configured start date."""
        start, field = self.start_date, self.cursor_field
        if start is None:
            return rows
        return [row for row in rows if not timestamps.is_before(row.get(field), start)]

    def version(self, row: Row) -> Hashable:
        """Return what differs for two versions of a row. Only compared within one sync."""
        return version(row)

    # -- requests ---------------------------------------------------------------------------------

    def partition_ids(self) -> list[str]:
        """Return the partitions' names in the state: an empty text if there are no partitions."""
        if self.partitions is None:
            return [""]
        values = self.config["provider"][self.partitions.option]
        return list(dict.fromkeys(str(value) for value in values))

    def name_of(self, partition: str) -> str:
        """Return a partition's name for messages: an empty text if there are no partitions."""
        return f"{self.partitions.what} {partition}" if self.partitions else ""

    def newest_page(self, partition: str) -> Answer | None:
        """Return the page with the newest change, or None if the API cannot list it first."""
        if self.newest is None:
            return None
        return self.api.get(self.endpoint, {**self._params_of(partition), **self.newest})

    def read_pages(
        self, partition: str, filter: Filter | None, bound: datetime | None
    ) -> Iterator[Answer]:
        """Yield the pages of a partition: all rows, or those that pass a filter."""
        params = self._params_of(partition)
        whose = f"rows of {self.name_of(partition)}" if self.partitions else "rows"
        if filter is not None and bound is not None:
            params[filter.parameter] = _FORMATS[filter.format](bound)
        if self.api.pages_by_token(self.endpoint):
            return all_tokens(
                lambda token: self.api.get(self.endpoint, params, page=token),
                provider=self.api.provider,
            )
        return all_pages(
            lambda number: self.api.get(self.endpoint, params, page=number),
            self.key_of,
            self.api.page_size(self.endpoint),
            provider=self.api.provider,
            rows_of=whose,
            stream=self.stream,
        )

    def _params_of(self, partition: str) -> dict[str, str]:
        return {self.partitions.parameter: partition} if self.partitions else {}


class _StateAhead(Exception):
    """A saved watermark is in the provider's future. ``clock`` is the provider's time."""

    def __init__(self, clock: datetime) -> None:
        super().__init__()
        self.clock = clock


@dataclass
class _Watermarks:
    """What one reading of a partition learns about time, per filter.

    ``safe``: everything up to here has been read when the walk ends. None if there was no row.
    ``newest``: the newest stamp on any row. ``clocks``: the provider's time at the first and at the
    last answer.
    """

    safe: dict[Filter, datetime | None] = field(default_factory=dict)
    newest: dict[Filter, datetime] = field(default_factory=dict)
    clocks: list[datetime] = field(default_factory=list)


class PartitionsReading(Reading):
    """Reads each partition in one slice: the whole list, or what changed.

    For each filter, a partition's state has the watermark, under the name of the filter's
    parameter, and the newest stamp on any row that was read (``…_seen``). The state is updated once
    all passes of the partition are complete.
    """

    sees_changes = True

    def __init__(
        self, strategy: UpdatedSince, state: State, whole: set[Any], *, resumable: bool
    ) -> None:
        """``whole`` are the partitions to read in full, whatever the state says."""
        self._strategy = strategy
        self._state = state
        self._whole = whole
        self.resumable = resumable
        self._read: dict[str, State] = {}
        self._lock = threading.Lock()

    def slices(self) -> Iterable[Slice]:
        for partition in self._strategy.partition_ids():
            known = self._known(partition)
            values = {"partition": partition}
            yield Slice(values, held=known, saved=partition in self._whole)

    def _known(self, partition: str) -> State:
        """Return the watermarks to begin with: none for what is read in full."""
        known: State = self._state["partitions"].get(partition) or {}
        complete = all(_moment(known, one.parameter) for one in self._strategy.filters)
        return known if complete and partition not in self._whole else {}

    def state(self, whole: bool) -> State:
        with self._lock:
            partitions = {**self._state["partitions"], **self._read}
        configured = self._strategy.partition_ids()
        partitions = {name: partitions[name] for name in partitions if name in configured}
        stamps = [
            moment
            for known in partitions.values()
            for one in self._strategy.filters
            if (moment := _moment(known, _seen(one))) is not None
        ]
        cursor_field = self._strategy.cursor_field
        newest = timestamps.iso(max(stamps)) if stamps else self._state.get(cursor_field)
        return {**self._state, cursor_field: newest, "partitions": partitions}

    # -- one partition ----------------------------------------------------------------------------

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        partition = slice.values["partition"]
        try:
            yield from self._read_partition(partition, slice.held)
        except _StateAhead as error:
            provider, part = self._strategy.api.provider, self._strategy.name_of(partition)
            words = ahead_in_words(provider, error.clock, part)
            LOGGER.warning("Stream %s: %s", self._strategy.stream, words)
            yield from self._read_partition(partition, {})

    def _read_partition(self, partition: str, known: State) -> Iterator[list[Row]]:
        strategy = self._strategy
        marks = _Watermarks()
        emitted = Emitted()
        reach = strategy.look_back.reach(known)
        newest = None if known else strategy.newest_page(partition)
        if newest is not None:
            self._note(marks, newest, None, None, known)
        for filter in self._passes(known):
            bound = _moment(known, filter.parameter) if filter and known else strategy.start_date
            since = bound - reach if bound and filter else None
            for answer in strategy.read_pages(partition, filter, since):
                if known and bound and is_ahead(bound, answer.clock):
                    raise _StateAhead(answer.clock)
                rows = [
                    row
                    for row in strategy.since_start(answer.rows)
                    if emitted.add(strategy.key_of(row), strategy.version(row))
                ]
                self._note(marks, answer, filter, bound if filter else None, known)
                yield rows
        with self._lock:
            self._read[partition] = self._reached(known, marks)

    def _passes(self, known: State) -> list[Filter | None]:
        """Return one pass per filter, or an unfiltered one if there is nothing to filter by."""
        if known or self._strategy.start_date:
            return list(self._strategy.filters)
        return [None]

    def _note(
        self,
        marks: _Watermarks,
        answer: Answer,
        filter: Filter | None,
        bound: datetime | None,
        known: State,
    ) -> None:
        marks.clocks = [*marks.clocks[:1], answer.clock]  # the first and the last one
        filters = self._strategy.filters
        fields = {name for one in filters for name in one.fields}
        newest_in = {
            name: self._strategy.newest_of(answer.rows, name, answer.clock) for name in fields
        }
        for one in filters:
            stamps = [stamp for name in one.fields if (stamp := newest_in[name]) is not None]
            newest = max(stamps, default=None)
            if newest is not None:
                marks.newest[one] = max(newest, marks.newest.get(one, newest))
            if one not in marks.safe and filter in (None, one):
                marks.safe[one] = self._safe(answer, [newest, bound, _moment(known, _seen(one))])

    @staticmethod
    def _safe(first: Answer, stamps: list[datetime | None]) -> datetime | None:
        """Return the moment up to which everything has been read once the current walk ends."""
        known = [stamp for stamp in stamps if stamp is not None]
        if known:
            return min(max(known), first.clock)
        # No row yet, or no row says when it changed.
        return first.clock if first.rows else None

    def _reached(self, known: State, marks: _Watermarks) -> State:
        """Return the state of a partition that has been read."""
        state: State = {}
        for one in self._strategy.filters:
            bound = marks.safe.get(one)
            if bound is None:
                return {}  # no row yet: whatever appears is new, and reading it all costs no more
            stamps = [marks.newest.get(one), _moment(known, _seen(one))]
            state[one.parameter] = timestamps.iso(bound)
            state[_seen(one)] = timestamps.iso(max((s for s in stamps if s), default=bound))
        moved = any(known.get(_seen(one)) != state[_seen(one)] for one in self._strategy.filters)
        began, ended = marks.clocks[0], marks.clocks[-1]
        return state | self._strategy.look_back.seen(known, began=began, ended=ended, moved=moved)


def _seen(filter: Filter) -> str:
    return f"{filter.parameter}_seen"


def _moment(known: State, name: str) -> datetime | None:
    return timestamps.parse_or_none(known.get(name))
