"""What ExpoPlatform's export of meetings needs beyond the manifest.

Facts used here, from https://help.expoplatform.com/admin-home/meetings-api:

- ``GET /api/v2/meetings/export`` takes ``event_id``, ``page``, ``per_page`` (at most 500),
  ``created_from`` and ``last_modified_from`` (Unix timestamps), ``order`` and ``order_by``
  (``account_id`` or ``time``). There is no order by creation or modification.
- A full export has ``event_id``, ``per_page`` and the page only; an incremental one asks with
  ``created_from`` for new meetings and with ``last_modified_from`` for updates.

Documented nowhere: whether the bounds are inclusive, whether both filters in one request are
ANDed, whether deleted meetings stay rows, and the shape of the answer (``rows.py``).

A row that vanishes while pages are read moves others to pages that have been read. The totals of
the answers reveal it in most cases, but not if as many rows come at the same time; a number of
pages alone does not reveal less than a page of rows; and without totals nothing does (``walk.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.declarative.extractors.record_extractor import RecordExtractor
from airbyte_cdk.sources.declarative.requesters.error_handlers import DefaultErrorHandler
from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.streams.http.error_handlers import ErrorResolution
from airbyte_cdk.sources.types import Record, StreamSlice
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.http import ApiRequester, answer
from source_meetings.providers.expoplatform import rows
from source_meetings.providers.expoplatform.walk import End, Walk
from source_meetings.sync import LOGGER, Json, Sync, make_slice

_PAGE_SIZE = 500
_MOST_REMEMBERED = 10_000
_BY_ACCOUNT = {"order": "ASC", "order_by": "account_id"}
_PASSES = ("created_from", "last_modified_from")


@dataclass
class Seen:
    """The newest creation and modification on some rows; no stamp from the future counts."""

    limit: datetime
    count: int = 0
    newest: dict[str, datetime] = field(default_factory=dict)

    def add(self, raw: Json) -> None:
        created, modified = rows.stamps(raw)
        self.count += 1
        self._note("created_from", created)
        # A row that was never modified may have no stamp for it; its creation is the next best.
        for moment in (created, modified):
            self._note("last_modified_from", moment)

    def _note(self, filter_name: str, moment: rows.Moment | None) -> None:
        if moment is None:
            return
        at = moment.at_the_earliest
        if at > self.limit:
            return
        self.newest[filter_name] = max(at, self.newest.get(filter_name, at))


@dataclass
class ParticipantsSync(Sync):
    """Reads each event whole at first, and afterwards what was created or modified since.

    The state of an event has, for each of the two filters, ``…_from``, the moment up to which
    everything has been read, and ``…_seen``, the newest stamp on any row that was read. It is
    taken over only when all passes of the event are through. ``seen_at``: ExpoPlatform's clock when
    those newest stamps were first seen; ``settled``: the overlap has passed since, and what may
    still have shown up within it has been read.

    What may be promised: rows come by account, so a row on page 1 can change while page 5 is
    read, and page 5 can hold a newer stamp than that change has. So the newest stamp of a walk is
    no watermark. Safe are stamps that were there before the walk began, because whatever changes
    afterwards is stamped later: those of the walk's first answer, and the newest one of the sync
    before. The clock in the ``Date`` header alone is not trusted, for nobody says that the stamps
    come from it; it only keeps stamps from the future out. Where rows have no readable stamp at
    all, it is what remains.

    Deletions cannot be seen: the export has no tombstones.
    """

    overlap_seconds: int = 120
    most_walks: int = 4
    most_pages: int = 100_000

    def __post_init__(self, parameters: Mapping[str, Any]) -> None:
        super().__post_init__(parameters)
        self._lock = threading.Lock()
        self._begun: set[int] = set()
        self._reached: dict[str, Json] = {}

    # -- state ----------------------------------------------------------------------------------

    def usable_state(self, state: Json) -> bool:
        """An unfinished first sync may have no event with a state yet."""
        events = state.get("events")
        return isinstance(events, dict) and all(
            isinstance(known, dict) for known in events.values()
        )

    def usable_slice(self, values: Json) -> bool:
        return values.get("event_id") in self._event_ids()

    def begin_scan(self, since: Json | None) -> tuple[Json, Iterable[Json]]:
        return {self.cursor_field: None, "events": {}}, [
            {"event_id": event_id, **self._start_bounds()} for event_id in self._event_ids()
        ]

    def changes(self, state: Json) -> Iterator[StreamSlice]:
        for event_id in self._event_ids():
            known = state["events"].get(str(event_id)) or {}
            bounds = {name: known[name] for name in _PASSES if _moment(known, name)}
            if len(bounds) < len(_PASSES):  # new in the configuration, or empty until now
                yield make_slice({"event_id": event_id, **self._start_bounds()})
            else:
                yield make_slice({"event_id": event_id, **bounds}, known=known)

    def state_after_slice(self, state: Json, values: Json) -> Json:
        """An event is taken over as soon as it has been read whole."""
        reached = self._reached.get(str(values["event_id"]))
        if reached is None:
            return state
        return self._state_with(state, {str(values["event_id"]): reached})

    def state_after_changes(self, state: Json) -> Json:
        return self._state_with(state, self._reached)

    def _state_with(self, state: Json, reached: Mapping[str, Json]) -> Json:
        configured = {str(event_id) for event_id in self._event_ids()}
        events = {**state["events"], **reached}
        events = {event_id: events[event_id] for event_id in events if event_id in configured}
        seen = [
            moment
            for known in events.values()
            for moment in (_moment(known, "last_modified_seen"), _moment(known, "created_seen"))
            if moment is not None
        ]
        newest = timestamps.iso(max(seen)) if seen else state.get(self.cursor_field)
        return {**state, self.cursor_field: newest, "events": events}

    def _event_ids(self) -> list[int]:
        return [int(event_id) for event_id in self.config["provider"]["event_ids"]]

    def _start_bounds(self) -> Json:
        start = self.config.get("start_date")
        bound = timestamps.iso(timestamps.parse(start)) if start else None
        return dict.fromkeys(_PASSES, bound) if bound else {}

    # -- slices: one event each -----------------------------------------------------------------

    def read_slice(self, stream_slice: StreamSlice) -> Iterable[Record]:
        values = stream_slice.cursor_slice
        event_id = int(values["event_id"])
        with self._lock:
            # A resumed first sync is followed by the changes of all events: an event that the
            # resumption reads whole need not be read whole again.
            if event_id in self._begun:
                return
            self._begun.add(event_id)
        known: Json = stream_slice.extra_fields.get("known") or {}
        try:
            yield from self._read_event(event_id, values, known, stream_slice)
        except _StateAhead as ahead:
            LOGGER.warning(
                "Stream %s: the saved state of event %d is ahead of ExpoPlatform's clock (%s); "
                "reading the event from the start.",
                self.name,
                event_id,
                ahead,
            )
            yield from self._read_event(event_id, self._start_bounds(), {}, stream_slice)

    def _read_event(
        self, event_id: int, bounds: Mapping[str, Any], known: Json, stream_slice: StreamSlice
    ) -> Iterable[Record]:
        start = timestamps.parse_or_none(self.config.get("start_date"))
        newest: dict[str, datetime] = {}
        safe: dict[str, datetime | None] = {}
        overlap = timedelta(seconds=1 if known.get("settled") else self.overlap_seconds)
        clock: datetime | None = None
        emitted: dict[tuple[str, str], int] = {}
        passes: list[str | None] = [name for name in _PASSES if bounds.get(name)]
        for name in passes or [None]:
            bound = timestamps.parse(bounds[name]) if name else None
            first: Seen | None = None
            for response, records in self._read_pass(
                event_id, name, bound - overlap if bound else None, stream_slice
            ):
                on_page = Seen(limit=timestamps.server_time(response.headers))
                clock = clock or on_page.limit
                if known and bound and bound > on_page.limit + timedelta(days=1):
                    raise _StateAhead(timestamps.iso(on_page.limit))
                for record in records:
                    on_page.add(record["raw"])
                    if start and _is_before(record, start):
                        continue
                    key = (record["meeting_id"], record["account_id"])
                    content = hash(repr(record["raw"]))
                    if emitted.get(key) != content:
                        if len(emitted) >= _MOST_REMEMBERED:  # a row twice does no harm
                            emitted.clear()
                        emitted[key] = content
                        yield record
                for filter_name, moment in on_page.newest.items():
                    newest[filter_name] = max(moment, newest.get(filter_name, moment))
                if first is None:
                    first = on_page
                    for filter_name in [name] if name else _PASSES:
                        safe[filter_name] = self._safe(filter_name, first, bound, known)
        reached = self._event_state(known, safe, newest)
        if reached and clock is not None:
            reached |= self._settled(known, reached, clock)
        self._reached[str(event_id)] = reached

    def _settled(self, known: Json, reached: Json, clock: datetime) -> Json:
        seen_at = _moment(known, "seen_at")
        if seen_at is None or any(
            known.get(_seen(name)) != reached[_seen(name)] for name in _PASSES
        ):
            return {"seen_at": timestamps.iso(clock)}
        passed = clock - seen_at > timedelta(seconds=self.overlap_seconds)
        return {"seen_at": known["seen_at"], "settled": bool(known.get("settled")) or passed}

    @staticmethod
    def _safe(
        filter_name: str, first: Seen, bound: datetime | None, known: Json
    ) -> datetime | None:
        """The moment up to which nothing is left to read once the walk that began here is over."""
        stamps = [
            moment
            for moment in (
                first.newest.get(filter_name),
                bound,
                _moment(known, _seen(filter_name)),
            )
            if moment is not None
        ]
        if stamps:
            return min(max(stamps), first.limit)
        if not first.count:
            return None
        # Rows, but nothing in them says when they changed.
        return first.limit

    @staticmethod
    def _event_state(
        known: Json, safe: Mapping[str, datetime | None], newest: Mapping[str, datetime]
    ) -> Json:
        state: Json = {}
        for name in _PASSES:
            bound = safe.get(name)
            if bound is None:
                return {}  # no row yet: whatever comes is new, and reading it all costs no more
            seen = [
                moment
                for moment in (newest.get(name), _moment(known, _seen(name)))
                if moment is not None
            ]
            state[name] = timestamps.iso(bound)
            state[_seen(name)] = timestamps.iso(max(seen, default=bound))
        return state

    # -- one pass: all pages of one filter --------------------------------------------------------

    def _read_pass(
        self,
        event_id: int,
        filter_name: str | None,
        bound: datetime | None,
        stream_slice: StreamSlice,
    ) -> Iterator[tuple[requests.Response, list[Record]]]:
        """Yield the pages of a pass; again from page 1 while totals say that rows slipped by.

        What the totals reveal, and what they do not, is told in ``walk.py``.
        """
        params: dict[str, str] = {"event_id": str(event_id), **_BY_ACCOUNT}
        if filter_name and bound:
            params[filter_name] = str(max(0, int(bound.timestamp())))
        before: tuple[int, int] | None = None
        repeated = False
        for _ in range(self.most_walks):
            walk = Walk(_PAGE_SIZE)
            yield from self._walk(event_id, params, walk, stream_slice)
            if walk.end is End.VANISHED:
                continue
            if walk.end is End.REPEATS:
                # Once, rows that came while others vanished may explain it.
                if repeated:
                    raise self.unexpected("ExpoPlatform repeats a page instead of going on.")
                repeated = True
                continue
            total, least = walk.total, walk.least
            if total is None or least is None:
                return
            listed = walk.keys.distinct()
            # After a second walk only rows may be left that came while it went on, to pages that
            # were read already. They are the next sync's; a busy event has some at every walk.
            if listed[0] >= (total if before is None else least):
                return
            if listed[0] == 0:
                raise self.unexpected(
                    f"ExpoPlatform counts rows of event {event_id} and lists none."
                )
            if listed == before:
                LOGGER.warning(
                    "Stream %s: ExpoPlatform counts %s rows of event %s and lists %d, twice the "
                    "same ones; going by the list.",
                    self.name,
                    total,
                    event_id,
                    listed[0],
                )
                return
            before = listed
        raise self._restless(event_id, self.most_walks)

    def _walk(
        self, event_id: int, params: Mapping[str, str], walk: Walk, stream_slice: StreamSlice
    ) -> Iterator[tuple[requests.Response, list[Record]]]:
        for _ in range(self.most_pages):
            response = self.ask(params, page=walk.number)
            records = list(self.records(response, stream_slice))
            yield response, records
            walk.take(
                rows.read_page(answer(response)),
                [(record["meeting_id"], record["account_id"]) for record in records],
            )
            if walk.end is End.RESTLESS:
                raise self._restless(event_id, walk.falls)
            if walk.end:
                return
        raise self.unexpected(f"ExpoPlatform goes on after {self.most_pages} pages.")

    def _restless(self, event_id: int, times: int) -> AirbyteTracedException:
        return self.unexpected(
            f"the meetings of event {event_id} kept changing places while they were read, "
            f"{times} times over. Nothing was lost; run the sync again later."
        )


class _StateAhead(Exception):
    """A saved moment lies in the provider's future; the words say what time it is there."""


@dataclass
class ExportRequester(ApiRequester):
    """Asks again for an answer that is no export before it is refused."""

    def shape_problem(self, body: Any, path: str) -> str | None:
        try:
            rows.read_page(body)
        except rows.UnknownShape as shape:
            return f"{shape}. Please report these keys if they stay"
        return None


@dataclass
class RowExtractor(RecordExtractor):
    """Takes the rows out of an answer, wherever it keeps them."""

    def extract_records(self, response: requests.Response) -> Iterable[Mapping[str, Any]]:
        yield from rows.read_page(answer(response)).rows


@dataclass
class NormalisedRow(RecordTransformation):
    """Turns a row into the stream's record, in place."""

    def transform(
        self,
        record: MutableMapping[str, Any],
        config: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> None:
        assert stream_slice is not None
        try:
            normalised = rows.normalise(record, int(stream_slice["event_id"]))
        except rows.UnknownShape as shape:
            raise _unknown_shape(shape) from shape
        record.clear()
        record.update(normalised)


@dataclass
class EventErrors(DefaultErrorHandler):
    """Writes the event that a request was about into the message of the filter that matched."""

    def interpret_response(
        self, response_or_exception: requests.Response | Exception | None
    ) -> ErrorResolution:
        resolution = super().interpret_response(response_or_exception)
        words = resolution.error_message or ""
        if "{event_id}" in words and isinstance(response_or_exception, requests.Response):
            query = parse_qs(urlsplit(response_or_exception.request.url or "").query)
            event_id = query.get("event_id", ["?"])[0]
            resolution.error_message = words.replace("{event_id}", event_id)
        return resolution


def _unknown_shape(shape: rows.UnknownShape) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=(
            f"ExpoPlatform's export has a shape that is not known: {shape}. The stream was "
            "stopped rather than leaving rows out. Please report these keys."
        ),
        internal_message=str(shape),
        failure_type=FailureType.system_error,
    )


def _seen(filter_name: str) -> str:
    return filter_name.removesuffix("from") + "seen"


def _moment(known: Mapping[str, Any], name: str) -> datetime | None:
    return timestamps.parse_or_none(known.get(name))


def _is_before(record: Record, start: datetime) -> bool:
    modified = timestamps.parse_or_none(record.get("modified_at"))
    return modified is not None and modified < start
