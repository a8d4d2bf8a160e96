"""What Close's meetings need beyond the manifest.

Facts used here, with their sources:

- The list of meetings can be filtered by ``date_created`` and ``id__in``, not by ``date_updated``:
  https://developer.close.com/resources/activities/meeting/. One page of Close's documents says that
  ``date_created`` of a meeting is when it starts, another that it is when it was created; every
  recorded meeting has the former. Nothing here depends on which it is.
- The event log reaches 30 days back, lists the latest event first, at most 50 a page, needs
  ``action`` beside ``object_type``, and may show events up to five minutes late; an event may be
  changed in place, with a new ``date_updated``; its times are UTC without saying so:
  https://developer.close.com/api/resources/events
- A URL may have about 2,000 characters: https://developer.close.com/
- Transcripts are only sent when ``_fields`` asks for them:
  https://developer.close.com/api/resources/activities/meetings
- Assumed, for nothing says otherwise: transcripts, summaries and outcomes may arrive without an
  event, and without a new ``date_updated``.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import requests
from airbyte_cdk.sources.declarative.requesters import Requester
from airbyte_cdk.sources.declarative.requesters.error_handlers.backoff_strategy import (
    BackoffStrategy,
)
from airbyte_cdk.sources.declarative.requesters.paginators.strategies.pagination_strategy import (
    PaginationStrategy,
)
from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.types import Record, StreamSlice

from source_meetings import timestamps
from source_meetings.fingerprints import ChangedSince, SeenRow, SeenRows, digest, pack, unpack
from source_meetings.http import ApiRequester, answer, parse_json
from source_meetings.providers.close.windows import (
    PAGE_SIZE,
    ROWS_AIMED_AT,
    Density,
    FiltersIgnored,
    UnreadableWindow,
    WindowReader,
    has_more,
    in_query,
    is_outside,
    whole_seconds,
)
from source_meetings.sync import Json, ScanInstead, Sync, make_slice, rows_of

LOGGER = logging.getLogger("airbyte.source_meetings")

_MEETING = "activity.meeting"
# The most frequent one first: what it shows is known before the others are asked for.
_ACTIONS = ("updated", "created", "deleted", "scheduled", "started", "completed", "canceled")
_EVENTS_A_PAGE = 50
_LONGEST_URL = 1900
_MOST_EVENTS_KEPT = 4_000
_MOST_WAITING = 2_500
_MOST_IDLE_PAGES = 3  # of the event log, one after the other, that show nothing new
_YEARS_PROBED = (1, 2, 4, 8, 16, 32)
_SECOND = timedelta(seconds=1)  # the Date header leaves the fraction out


@dataclass
class WholeList:
    """The whole list is read once for all slices of a scan, by the first that needs it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    read: bool = False
    error: Exception | None = None


@dataclass
class MeetingsSync(Sync):
    """Reads windows of ``date_created`` at first, and what the event log names afterwards.

    State: ``date_updated`` is Close's clock (its ``Date`` header) when the log was last read, and
    only tells whether the log still reaches back to then. ``events`` has, per action, the
    ``date_updated`` of the newest event known; these are Close's own stamps and are the watermarks,
    so that no two clocks are ever compared. ``seen`` holds digests of the meetings that were last
    seen in the window that every sync reads again: a row whose digest is there is not emitted.
    ``events_seen``: the same for the events of the overlap, whose meetings were read already.
    ``seen_at``: Close's clock when the newest event was first seen. Once the overlap has passed
    since, it has been read for the last time (``settled``), so that thousands of changes made in a
    moment are not listed again at every quiet sync.

    If Close ignores the date filters, the whole list is read instead of a window. A first sync then
    has a single slice; windows that an earlier one left share one reading. Where every sync reads
    its window again, rows outside it are dropped.

    ``windows``: the most slices of a first sync. ``overlap_minutes``: how late events become
    visible. ``log_days``: how far back the log is trusted to reach. ``days_back`` and
    ``days_ahead``: the window of start times that every sync reads again, for what arrives without
    an event; ``days_back_without_log``, ``days_ahead_without_log``: the same when the log may not
    be read.
    """

    log_requester: Requester | None = None
    windows: int = 24
    overlap_minutes: int = 5
    log_days: int = 29
    days_back: int = 14
    days_ahead: int = 90
    days_back_without_log: int = 90
    days_ahead_without_log: int = 365

    def __post_init__(self, parameters: Mapping[str, Any]) -> None:
        super().__post_init__(parameters)
        self._density = Density()
        self._start_date = timestamps.parse_or_none(self.config.get("start_date"))
        self._seen_before: Any = None
        self._seen = SeenRows()
        self._emitted: set[bytes] = set()
        self._overlapping: list[bytes] = []
        self._deletions: dict[bytes, str] = {}  # event -> meeting
        self._gone: set[str] = set()
        self._recent: datetime | None = None
        self._reader = WindowReader(self.ask, self._density)
        self._filters_ignored = False
        self._noticing = threading.Lock()
        self._whole_list = WholeList()

    # -- a first sync ---------------------------------------------------------------------------

    def begin_scan(self, since: Json | None) -> tuple[Json, Iterable[Json]]:
        newest, now = self._newest_event()
        state: Json = {self.cursor_field: timestamps.iso(now), "events": {}}
        if newest is not None:
            state["events"] = dict.fromkeys(_ACTIONS, timestamps.iso(min(newest, now + _SECOND)))
        back = self.days_back_without_log if self._log_is_closed else self.days_back
        self._recent = now - timedelta(days=back)
        self._whole_list = WholeList()  # an earlier reading may lack what changed before this state
        slices: list[Json] = []
        if since is not None:
            # Whatever was deleted before the log begins cannot be told any more.
            gone: dict[str, Json] = {}
            for event in self._events("deleted", None):
                self._note(gone, event)
            slices += self._batches(gone)
        return state, slices + self._windows(now)

    def state_after_scan(self, state: Json) -> Json:
        return {**state, **self._seen_state()}

    def _newest_event(self) -> tuple[datetime | None, datetime]:
        """The stamp of the newest event that can be seen, and Close's clock.

        The log without any filter is not among the documented combinations, though public
        connectors read it; where it is refused, the updates of meetings stand in for it.
        """
        response = self._ask_log({"_limit": "1"})
        if response.status_code == HTTPStatus.BAD_REQUEST:
            response = self._ask_log({**_of_action(_ACTIONS[0]), "_limit": "1"})
        now = timestamps.server_time(response.headers)
        self._log_is_closed = response.status_code == HTTPStatus.FORBIDDEN
        if answer(response) is None:
            self._say_that_the_log_is_closed()
            return None, now
        stamps = [_event_moment(event) for event in rows_of(response, "data")]
        return max((stamp for stamp in stamps if stamp is not None), default=None), now

    def _windows(self, now: datetime) -> list[Json]:
        """Cut time into equal windows, the first open to the past, the last to the future."""
        now = now.replace(microsecond=0)
        cuts: list[datetime] = []
        if not self._filters_ignored and self._more(self._reader.page(None, None).response):
            try:
                cuts = self._cuts(now)
            except FiltersIgnored:
                self._say_that_filters_are_ignored()
        edges = [None, *cuts, None]
        return [_window(begin, end, now) for begin, end in zip(edges, edges[1:])]

    def _cuts(self, now: datetime) -> list[datetime]:
        start = now
        for years in _YEARS_PROBED:
            start = now - timedelta(days=365 * years)
            if not rows_of(self._reader.page(None, start, limit=1).response, "data"):
                break
        number_of_windows = self._windows_worth_cutting(start, now)
        step = (now - start) / number_of_windows
        return [
            *(start + whole_seconds(step * number) for number in range(1, number_of_windows)),
            now,
        ]

    def _windows_worth_cutting(self, start: datetime, now: datetime) -> int:
        """As many windows as a sample says that there are pages, at most ``windows``."""
        step = whole_seconds((now - start) / self.windows)
        begin = now - (self.windows // 4) * step
        response = self._reader.page(begin, begin + step).response
        if self._more(response):
            return self.windows
        meetings = len(rows_of(response, "data")) * self.windows
        return min(self.windows, max(2, -(-meetings // ROWS_AIMED_AT)))

    # -- changes --------------------------------------------------------------------------------

    def usable_state(self, state: Json) -> bool:
        events = state.get("events")
        return super().usable_state(state) and isinstance(events, dict)

    def usable_slice(self, values: Json) -> bool:
        if "ids" in values:
            ids, deleted = values["ids"], values.get("deleted")
            return isinstance(ids, list) and isinstance(deleted, dict)
        edges = [values.get("date_created__gte"), values.get("date_created__lt")]
        known = [edge is None or timestamps.parse_or_none(edge) for edge in edges]
        return all(known) and timestamps.parse_or_none(values.get("now")) is not None

    def changes(self, state: Json) -> Iterator[StreamSlice]:
        self._next_state = dict(state)
        self._seen_before = state.get("seen")
        self._events_before = unpack(state.get("events_seen"))
        known = {
            action: moment
            for action in _ACTIONS
            if (moment := timestamps.parse_or_none(state["events"].get(action))) is not None
        }
        found = self._read_log(state, known)
        now = self._log_read_at
        if found is None:
            self._say_that_the_log_is_closed()
            back, ahead = self.days_back_without_log, self.days_ahead_without_log
        else:
            back, ahead = self.days_back, self.days_ahead
            for values in self._batches(found):
                yield make_slice(values)
        # The newest event stands for the clock of the data, should it be another than the header's.
        stamps = [now, *known.values()]
        start = (min(now, max(known.values(), default=now)) - timedelta(days=back)).replace(
            microsecond=0
        )
        end = (max(stamps) + timedelta(days=ahead)).replace(microsecond=0)
        self._recent = start
        yield make_slice({**_window(start, end, now), "again": True})

    def state_after_changes(self, state: Json) -> Json:
        if not self._log_is_closed:
            # A deletion is looked at again as long as the row is still shown.
            events = [
                version
                for version in self._overlapping
                if version not in self._deletions or self._deletions[version] in self._gone
            ]
            self._next_state["events_seen"] = pack(events[:_MOST_EVENTS_KEPT])
        return {**self._next_state, **self._seen_state()}

    def _read_log(self, state: Json, known: dict[str, datetime]) -> dict[str, Json] | None:
        """Return per changed meeting its last event, the deletion if there is one.

        ``known`` is brought up to date. An action's own newest event is a safe watermark. So is
        whatever another query had shown before this one was sent: later events are younger.
        Returns None when the log may not be read.
        """
        found: dict[str, Json] = {}
        overlap = timedelta(minutes=self.overlap_minutes)
        reach = timedelta() if state.get("settled") else overlap
        read_from: datetime | None = None
        shown_before = max(known.values(), default=None)
        before = shown_before
        self._clock_checked = False
        read: dict[bytes, datetime] = {}
        for action in _ACTIONS:
            bound = known[action] - reach if action in known else None
            newest = max(filter(None, (known.get(action), shown_before)), default=None)
            for event in self._events(action, bound, state):
                version = digest([event.get("id"), event.get("date_updated")])
                moment = self._note({} if version in self._events_before else found, event)
                if moment is not None:
                    newest = max(filter(None, (newest, min(moment, self._log_read_at + _SECOND))))
                    read[version] = moment
                    if event.get("action") == "deleted" and version not in self._events_before:
                        self._deletions[version] = str(event["object_id"])
            if self._log_is_closed:
                return None
            read_from = read_from or self._log_read_at
            if newest is not None:
                known[action] = newest
                shown_before = newest
        self._refuse_a_gap(state, before, shown_before)
        moments = {action: timestamps.iso(moment) for action, moment in known.items()}
        as_of = max(timestamps.parse(state[self.cursor_field]), self._log_read_at)
        self._overlapping = [
            version
            for version, moment in read.items()
            if moment >= min(known.values(), default=moment) - overlap
        ]
        self._next_state.update({self.cursor_field: timestamps.iso(as_of), "events": moments})
        seen_at = timestamps.parse_or_none(state.get("seen_at"))
        if before != shown_before or seen_at is None:
            self._next_state["seen_at"] = timestamps.iso(self._log_read_at)
            self._next_state.pop("settled", None)
        elif read_from is not None and read_from - seen_at > overlap:
            self._next_state["settled"] = True
        return found

    def _events(
        self, action: str, bound: datetime | None, state: Json | None = None
    ) -> Iterator[Json]:
        """Yield the meeting events of an action, latest first, down to ``bound``."""
        filters = {**_of_action(action), "_limit": str(_EVENTS_A_PAGE)}
        if bound is not None:
            filters["date_updated__gte"] = in_query(bound)
        cursor: str | None = None
        seen: set[bytes] = set()
        idle = 0
        while True:
            response = self._ask_log({**filters, **({"_cursor": cursor} if cursor else {})})
            self._log_read_at = timestamps.server_time(response.headers)
            body = answer(response)
            self._log_is_closed = body is None and response.status_code == HTTPStatus.FORBIDDEN
            if self._log_is_closed:
                return
            if body is None:
                raise self.unexpected("Close refused to list the events of one action (400).")
            if state is not None and not self._clock_checked:
                self._refuse_old_state(state, self._log_read_at)
                self._clock_checked = True
            events = body["data"]
            yield from events
            cursor = body.get("cursor_next")
            moments = [moment for event in events if (moment := _event_moment(event))]
            if not cursor or (bound and moments and max(moments) < bound):
                return
            shown = {digest([event.get("id"), event.get("date_updated")]) for event in events}
            idle = 0 if shown - seen else idle + 1
            if idle == _MOST_IDLE_PAGES:
                raise self.unexpected("the pages of Close's event log lead to no end.")
            seen |= shown

    def _note(self, found: dict[str, Json], event: Json) -> datetime | None:
        """Add an event to what was found; returns its moment, or None if it is no meeting's."""
        moment = _event_moment(event)
        if moment is None or not isinstance(event.get("object_id"), str):
            raise self.unexpected("an event has no usable date_updated or object_id.")
        if event.get("object_type", _MEETING) != _MEETING:
            return None
        _note(found, event, moment)
        return moment

    def _refuse_old_state(self, state: Json, now: datetime) -> None:
        as_of = timestamps.parse(state[self.cursor_field])
        if as_of > now + timedelta(days=1):
            raise ScanInstead(
                f"the saved state is ahead of Close's clock ({timestamps.iso(now)}); reading "
                "everything again.",
            )
        if as_of < now - timedelta(days=self.log_days):
            raise ScanInstead(
                f"the last sync was {(now - as_of).days} days ago and Close's event log reaches "
                "back 30 days; reading everything again. Meetings that were deleted before the "
                "log begins cannot be told and stay in the table."
            )

    def _refuse_a_gap(self, state: Json, before: datetime | None, newest: datetime | None) -> None:
        """The same by the events' own stamps, in case they follow another clock than the header."""
        if before is None or newest is None:
            return
        as_of = timestamps.parse(state[self.cursor_field])
        consistent = as_of - timedelta(minutes=10) <= newest <= self._log_read_at + _SECOND
        if newest - before > timedelta(days=self.log_days) and not consistent:
            raise ScanInstead(
                "the events since the last sync span more than Close's event log holds; reading "
                "everything again."
            )

    def _say_that_the_log_is_closed(self) -> None:
        LOGGER.warning(
            "Stream %s: the credentials may not read Close's event log. Every sync reads the "
            "meetings that start from %d days ago to %d days from now again. Not captured: "
            "deletions, and changes of meetings that start outside these days. Use an API key "
            "of an admin to capture them.",
            self.name,
            self.days_back_without_log,
            self.days_ahead_without_log,
        )

    def _say_that_filters_are_ignored(self) -> None:
        with self._noticing:
            if self._filters_ignored:
                return
            self._filters_ignored = True
        LOGGER.warning(
            "Stream %s: Close ignores the date filters (date_created__gte, date_created__lt): it "
            "answered with meetings outside the dates that were asked for. Every sync now reads "
            "the whole list, one request for each 99 meetings. Nothing is lost. Ask Close's "
            "support why the filters do not work for your organization.",
            self.name,
        )

    def _batches(self, found: Mapping[str, Json]) -> list[Json]:
        """Cut changed meetings into lists of ids whose URL stays short enough."""
        nothing: Any = {"stream_state": None, "stream_slice": None, "next_page_token": None}
        url = self.requester.get_url_base(**nothing) + "/" + self.requester.get_path(**nothing)
        room = _LONGEST_URL - len(url) - len(urlencode({"_limit": PAGE_SIZE, "id__in": ""}))
        batches: list[list[str]] = [[]]
        used = 0
        for meeting_id in sorted(found):
            length = len(quote(f",{meeting_id}", safe=""))
            if batches[-1] and (used + length > room or len(batches[-1]) == PAGE_SIZE):
                batches.append([])
                used = 0
            batches[-1].append(meeting_id)
            used += length
        return [
            {
                "ids": ids,
                "deleted": {
                    meeting_id: {
                        "id": meeting_id,
                        **_tombstone(found[meeting_id], self.cursor_field),
                    }
                    for meeting_id in ids
                    if found[meeting_id].get("action") == "deleted"
                },
            }
            for ids in batches
            if ids
        ]

    # -- slices ---------------------------------------------------------------------------------

    def read_slice(self, stream_slice: StreamSlice) -> Iterable[Record]:
        values = stream_slice.cursor_slice
        if "ids" in values:
            yield from self._read_batch(values["ids"], values["deleted"], stream_slice)
            return
        changed = ChangedSince(self._seen_before) if values.get("again") else None
        try:
            yield from self._read_window(stream_slice, changed)
            if changed is not None:
                yield from self._emit_rows(changed.rest(), stream_slice, again=True)
        except UnreadableWindow as error:
            raise self.unexpected(
                f"{error.internal_message}. Nothing can be read safely; please report this."
            ) from error

    def _read_window(
        self, stream_slice: StreamSlice, changed: ChangedSince | None
    ) -> Iterator[Record]:
        values = stream_slice.cursor_slice
        if not self._filters_ignored:
            try:
                now = timestamps.parse(values["now"])
                for response in self._reader.pages(*_edges(values), now):
                    yield from self._emit(response, stream_slice, changed)
                return
            except FiltersIgnored:
                self._say_that_filters_are_ignored()
        yield from self._read_whole_list(stream_slice, changed)

    def _read_whole_list(
        self, stream_slice: StreamSlice, changed: ChangedSince | None
    ) -> Iterator[Record]:
        """Read every meeting, unless another slice of the same scan has done so.

        Slices that come meanwhile wait, so that none counts as read before its rows were emitted.
        If the reading fails, they fail too and stay pending.
        """
        whole = self._whole_list if changed is None else WholeList()
        with whole.lock:
            if whole.error is not None:
                raise whole.error
            if whole.read:
                return
            try:
                for response in self._reader.skipped():
                    yield from self._emit(response, stream_slice, changed)
            except Exception as error:
                whole.error = error
                raise
            whole.read = True

    def records(self, response: requests.Response, stream_slice: StreamSlice) -> Iterable[Record]:
        """Leave out what is outside the window that is read again, if Close does not."""
        records = super().records(response, stream_slice)
        values = stream_slice.cursor_slice
        if not (self._filters_ignored and values.get("again")):
            return records
        start, end = _edges(values)
        return (
            record
            for record in records
            if not is_outside(timestamps.parse_or_none(record.data.get("date_created")), start, end)
        )

    def _read_batch(
        self,
        ids: list[str],
        deleted: Mapping[str, Json],
        stream_slice: StreamSlice,
        once_more: bool = True,
    ) -> Iterator[Record]:
        response = self.ask({"_limit": str(PAGE_SIZE), "id__in": ",".join(ids)})
        if self._more(response) and len(ids) > 1:
            middle = len(ids) // 2
            yield from self._read_batch(ids[:middle], deleted, stream_slice)
            yield from self._read_batch(ids[middle:], deleted, stream_slice)
            return
        there = {row.get("id") for row in rows_of(response, "data") if isinstance(row, dict)}
        if not there <= set(ids):
            raise self.unexpected("Close answered with meetings that were not asked for by id.")
        yield from self._emit(response, stream_slice)
        gone = [deleted[one] for one in ids if one in deleted and one not in there]
        self._gone.update(row["id"] for row in gone)
        yield from self._tombstones(gone, stream_slice)
        missing = [one for one in ids if one not in there and one not in deleted]
        if missing and once_more:
            # Should the page have come short: no later sync would ask for these.
            yield from self._read_batch(missing, {}, stream_slice, once_more=False)
        elif missing:
            LOGGER.info(
                "Stream %s: %d changed meetings are not shown to these credentials, and no event "
                "says that they were deleted; they were left as they are.",
                self.name,
                len(missing),
            )

    def _tombstones(self, rows: Iterable[Json], stream_slice: StreamSlice) -> Iterator[Record]:
        for row in rows:
            yield Record(data=dict(row), stream_name=self.name, associated_slice=stream_slice)

    def _emit(
        self,
        response: requests.Response,
        stream_slice: StreamSlice,
        changed: ChangedSince | None = None,
    ) -> Iterator[Record]:
        """Yield the records of an answer; with ``changed``, only those that it picks."""
        rows = [_seen_row(record.data) for record in self.records(response, stream_slice)]
        for row in rows:
            if changed is not None or self._is_recent(row):
                self._seen.add(row)
        picked = rows if changed is None else changed.pick(rows)
        yield from self._emit_rows(picked, stream_slice, changed is not None)

    def _emit_rows(
        self, rows: list[SeenRow], stream_slice: StreamSlice, again: bool
    ) -> Iterator[Record]:
        for row in rows:
            if self._is_too_old(row.row):
                continue
            if "ids" in stream_slice.cursor_slice or again or self._filters_ignored:
                # The log and the window that is read again may show the same version, and so may
                # two pages of the whole list.
                if row.version in self._emitted:
                    continue
                self._emitted.add(row.version)
            yield self._record(row.row, stream_slice)

    def _record(self, row: Json, stream_slice: StreamSlice) -> Record:
        return Record(data=row, stream_name=self.name, associated_slice=stream_slice)

    def _is_recent(self, row: SeenRow) -> bool:
        """Whether the next sync reads a row again."""
        return self._recent is not None and row.at is not None and row.at >= self._recent

    def _is_too_old(self, row: Mapping[str, Any]) -> bool:
        updated = timestamps.parse_or_none(row.get(self.cursor_field))
        return bool(self._start_date and updated and updated < self._start_date)

    def _seen_state(self) -> Json:
        return {"seen": self._seen.state()}

    # -- requests -------------------------------------------------------------------------------

    def _ask_log(self, params: Mapping[str, str]) -> requests.Response:
        """Ask the event log; 400 and 403 come back without an answer, all else is as elsewhere."""
        assert self.log_requester is not None
        response = self.log_requester.send_request(request_params=dict(params))
        assert response is not None
        return response

    def _more(self, response: requests.Response) -> bool:
        try:
            return has_more(response)
        except UnreadableWindow as error:
            raise self.unexpected(f"{error.internal_message}.") from error


@dataclass
class TranscriptsSync(MeetingsSync):
    """Asks for the transcripts of the meetings that ``MeetingsSync`` would emit and can have some.

    State: as there, and ``waiting``: digests of recent meetings that had no transcript yet. They
    are asked for again as long as they are in the window that every sync reads again, for a
    transcript that is ready need not leave a trace in the log.

    ``fields`` is what is asked of a meeting beside ``transcripts``; ``_fields`` is an allow-list.
    """

    detail_requester: Requester | None = None
    fields: list[str] = field(default_factory=list)

    def __post_init__(self, parameters: Mapping[str, Any]) -> None:
        super().__post_init__(parameters)
        self._waiting_before: frozenset[bytes] = frozenset()
        self._waiting: dict[bytes, None] = {}

    def changes(self, state: Json) -> Iterator[StreamSlice]:
        self._waiting_before = unpack(state.get("waiting"))
        yield from super().changes(state)

    def _seen_state(self) -> Json:
        # Those that are left out count as changed at the next sync, and are asked for again too.
        return {**super()._seen_state(), "waiting": pack([*self._waiting][:_MOST_WAITING])}

    def _tombstones(self, rows: Iterable[Json], stream_slice: StreamSlice) -> Iterator[Record]:
        """None: ``close_meetings`` says which meetings were deleted."""
        return iter(())

    def _emit(
        self,
        response: requests.Response,
        stream_slice: StreamSlice,
        changed: ChangedSince | None = None,
    ) -> Iterator[Record]:
        now = timestamps.server_time(response.headers)
        rows = [
            _seen_row(record.data)
            for record in self.records(response, stream_slice)
            if _may_have_transcript(record.data, now) and not self._is_too_old(record.data)
        ]
        waiting = [row for row in rows if _waits(row) in self._waiting_before]
        others = [row for row in rows if _waits(row) not in self._waiting_before]
        picked = others if changed is None else changed.pick(others)
        for row in others:
            if changed is not None or self._is_recent(row):
                self._seen.add(row)
        again = changed is not None
        yield from self._emit_rows(waiting, stream_slice, again, unchanged=again)
        yield from self._emit_rows(picked, stream_slice, again)

    def _emit_rows(
        self,
        rows: list[SeenRow],
        stream_slice: StreamSlice,
        again: bool,
        unchanged: bool = False,
    ) -> Iterator[Record]:
        """Yield the meetings with their transcripts; ``unchanged`` ones only if they have some."""
        for row in rows:
            if row.version in self._emitted:
                continue
            self._emitted.add(row.version)
            meeting = self._ask_for_transcripts(row.id)
            if meeting is None:
                continue
            if _is_transcribed(meeting):
                if again or self._is_recent(row):
                    self._seen.add(row)
            else:
                if again or self._is_recent(row):
                    self._waiting[_waits(row)] = None
                    self._seen.discard(row)
                if unchanged:
                    continue
            yield self._record(meeting, stream_slice)

    def _ask_for_transcripts(self, meeting_id: str) -> Json | None:
        assert self.detail_requester is not None
        response = self.detail_requester.send_request(
            path=f"activity/meeting/{quote(meeting_id, safe='')}/",
            request_params={"_fields": ",".join([*self.fields, "transcripts"])},
        )
        assert response is not None
        meeting: Json | None = answer(response)
        if meeting is None:
            LOGGER.info("Stream %s: a meeting was deleted before it could be read.", self.name)
            return None
        if meeting.get("id") != meeting_id:
            raise self.unexpected("Close answered with another meeting than was asked for.")
        return meeting


@dataclass
class MeetingRequester(ApiRequester):
    """Asks again for an answer that is no meeting before it is refused."""

    def shape_problem(self, body: Any, path: str) -> str | None:
        return super().shape_problem(body, path) or (None if body.get("id") else "it has no id")


@dataclass
class NotDeleted(RecordTransformation):
    """Says of every row that Close shows that it is not deleted; see the schema."""

    def transform(
        self,
        record: MutableMapping[str, Any],
        config: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> None:
        record["is_deleted"] = False


@dataclass
class RateReset(BackoffStrategy):
    """Waits as long as a 429 says, wherever it says so.

    ``RateLimit: limit=100, remaining=0, reset=2.5`` (seconds, decimal; separators vary between
    recorded answers): https://developer.close.com/topics/rate-limits. Bodies with ``rate_reset``
    inside ``error`` and beside it were both observed in public clients.
    """

    def backoff_time(
        self,
        response_or_exception: requests.Response | requests.RequestException | None,
        attempt_count: int,
    ) -> float | None:
        """Return seconds, or None when nothing is said."""
        response = response_or_exception
        if not isinstance(response, requests.Response):
            return None
        if response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            return None
        for name in ("RateLimit", "RateLimit-Reset", "X-RateLimit-Reset"):
            value = response.headers.get(name) or ""
            found = _RESET.search(value) or _NUMBER.fullmatch(value.strip())
            if found:
                return min(float(found[1]), _LONGEST_WAIT_SECONDS)
        try:
            body = parse_json(response.content)
        except ValueError:
            return None
        for place in (body.get("error"), body) if isinstance(body, dict) else ():
            reset = place.get("rate_reset") if isinstance(place, dict) else None
            try:
                seconds = float(reset) if isinstance(reset, (int, float, str)) else -1.0
            except ValueError:
                continue
            if 0 <= seconds < float("inf"):
                return min(seconds, _LONGEST_WAIT_SECONDS)
        return None


_RESET = re.compile(r"\breset\s*=\s*\"?(\d+(?:\.\d+)?)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")
_LONGEST_WAIT_SECONDS = 300.0


_SKIP = re.compile(r"[?&]_skip=\d+")


@dataclass
class SkipPages(PaginationStrategy):
    """Pages by ``_skip`` until ``has_more`` is false; for short lists only, see ``windows.py``."""

    page_size: int = PAGE_SIZE
    _pages: dict[str, list[Any]] = field(default_factory=dict, init=False)  # the last one of each

    @property
    def initial_token(self) -> Any | None:
        return None

    def next_page_token(
        self,
        response: requests.Response,
        last_page_size: int,
        last_record: Record | None,
        last_page_token_value: Any | None,
        page_size_override: int | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> Any | None:
        if not has_more(response):
            return None
        ids = [row.get("id") for row in rows_of(response, "data") if isinstance(row, dict)]
        if not ids:
            raise UnreadableWindow("an empty page says that there is more")
        query = _SKIP.sub("", response.url)
        if self._pages.get(query) == ids:
            raise UnreadableWindow("a list repeats a page and does not end")
        self._pages[query] = ids
        return int(last_page_token_value or 0) + len(ids)

    def get_page_size(self) -> int | None:
        return self.page_size


def _of_action(action: str) -> dict[str, str]:
    return {"object_type": _MEETING, "action": action}


def _window(start: datetime | None, end: datetime | None, now: datetime) -> Json:
    return {
        "date_created__gte": timestamps.iso(start) if start else None,
        "date_created__lt": timestamps.iso(end) if end else None,
        "now": timestamps.iso(now),
    }


def _edges(values: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    return (
        timestamps.parse_or_none(values["date_created__gte"]),
        timestamps.parse_or_none(values["date_created__lt"]),
    )


def _event_moment(event: Json) -> datetime | None:
    return timestamps.parse_or_none(event.get("date_updated"))


def _note(found: dict[str, Json], event: Json, moment: datetime) -> None:
    """Keep one event per meeting: the deletion if there is one, with the latest moment of all.

    The row that is in the table already must be outdated by the tombstone, so the row's own time
    counts too where the event shows it.
    """
    kept = found.setdefault(event["object_id"], {"moment": moment})
    for shown in (event.get("data"), event.get("previous_data")):
        updated = shown.get("date_updated") if isinstance(shown, dict) else None
        row_moment = timestamps.parse_or_none(updated)
        if row_moment is not None:
            moment = max(moment, row_moment + timedelta(microseconds=1))
    kept["moment"] = max(kept["moment"], moment)
    if kept.get("action") != "deleted":
        kept.update({name: event.get(name) for name in ("action", "lead_id", "organization_id")})


def _tombstone(event: Json, cursor_field: str) -> Json:
    moment: datetime = event["moment"]
    return {
        "is_deleted": True,
        cursor_field: moment.astimezone(timezone.utc).isoformat(timespec="microseconds"),
        **{name: event[name] for name in ("lead_id", "organization_id") if event.get(name)},
    }


def _seen_row(row: Mapping[str, Any]) -> SeenRow:
    at = timestamps.parse_or_none(row.get("date_created"))
    return SeenRow(str(row["id"]), at, digest(row), dict(row))


def _waits(row: SeenRow) -> bytes:
    """What the state has of a meeting that waits for its transcript."""
    return digest([row.id, row.version.hex()])


def _may_have_transcript(row: Mapping[str, Any], now: datetime) -> bool:
    """Whether a meeting is over and was recorded; a row without the fields does not say."""
    known = [row[name] for name in ("notetaker_id", "summary") if name in row]
    if known and not any(known):
        return False
    ends = timestamps.parse_or_none(row.get("ends_at"))
    return row.get("status") == "completed" or (ends is not None and ends <= now)


def _is_transcribed(meeting: Mapping[str, Any]) -> bool:
    transcripts = meeting.get("transcripts") or []
    ready = [isinstance(one, dict) and bool(one.get("utterances")) for one in transcripts]
    return bool(ready) and all(ready)
