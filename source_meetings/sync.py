"""How a stream is kept equal to its provider: slices in, checkpoints out.

The CDK's own cursors cannot do it for these providers: their state is the greatest value read,
which is no change watermark when rows are read by another field than the one they are filtered by
(meetings are listed by creation or start time, and saved by modification time). So a stream here
has a ``Sync``, a retriever that says which slices a sync consists of, reads each of them, and
knows what may be promised once they are all read; and one ``SyncCursor``, the only cursor, which
saves that promise. A state never promises more than was emitted before it.

State of a stream, complete: ``{"<cursor field>": "<UTC time>", …}``. In the middle of a first sync:
``{"scan": {"then": <the complete state to come>, "pending": [<slices not read yet>]}}``; it has no
cursor value that another reader could take for a watermark.
"""

from __future__ import annotations

import json
import logging
import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.declarative.retrievers import SimpleRetriever
from airbyte_cdk.sources.message import MessageRepository
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY
from airbyte_cdk.sources.streams.concurrent.cursor import Cursor, CursorField
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.streams.core import StreamData
from airbyte_cdk.sources.types import Record, StreamSlice
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.http import ApiRequester, answer
from source_meetings.progress import Progress

LOGGER = logging.getLogger("airbyte.source_meetings")

Json = dict[str, Any]

_SLICES_LEFT_PER_STATE = 50  # a state lists them all, so one for each of thousands is too much


class ScanInstead(Exception):
    """Everything has to be read again; the words say why, for the log.

    ``from_start``: the state itself is of no use, not even to leave out older rows.
    """

    def __init__(self, reason: str, from_start: bool = False) -> None:
        super().__init__(reason)
        self.from_start = from_start


@dataclass
class Sync(SimpleRetriever):
    """What one sync of one stream reads. A provider's subclass says how; ``SyncCursor`` saves.

    A slice is a JSON object of the provider's own making (a window, a batch of ids, a page).
    Slices of a first sync (``scan``) are saved while they are pending, so that a sync which was
    cut off goes on where it was; slices of changes are read again instead.
    """

    cursor_field: str = ""

    def __post_init__(self, parameters: Mapping[str, Any]) -> None:
        super().__post_init__(parameters)
        for requester in vars(self).values():
            if isinstance(requester, ApiRequester):
                requester.client.stream = self.name
        self._failing = threading.Lock()
        self._failed = False
        self._unread: dict[int, StreamSlice] = {}

    @abstractmethod
    def begin_scan(self, since: Json | None) -> tuple[Json, Iterable[Json]]:
        """Return the complete state that reading everything leads to, and the slices to read.

        ``since`` is the state from which ``changes`` could not go on, if there is one: rows that
        are older need not be emitted. The new state must be taken before the first slice is cut,
        so that whatever changes from then on is seen by the next sync.
        """

    def state_after_scan(self, state: Json) -> Json:
        """Return the complete state once every slice of a scan has been read."""
        return state

    @abstractmethod
    def changes(self, state: Json) -> Iterator[StreamSlice]:
        """Yield slices with all that changed since a complete state.

        Raises ScanInstead when the changes can no longer be listed, or not at a lower price.
        """

    @abstractmethod
    def state_after_changes(self, state: Json) -> Json:
        """Return the complete state once every slice of ``changes`` has been read."""

    def state_after_slice(self, state: Json, values: Json) -> Json:
        """Return the complete state once the slice with these values has been read.

        For streams whose slices each lead to a part of the state; others leave it as it is.
        """
        return state

    @abstractmethod
    def read_slice(self, stream_slice: StreamSlice) -> Iterable[Record]:
        """Yield the records of one slice, of a scan or of changes."""

    def usable_state(self, state: Json) -> bool:
        """Whether a state can be gone on from; otherwise the stream starts again."""
        moment = timestamps.parse_or_none(state.get(self.cursor_field))
        return moment is not None and moment >= timestamps.EPOCH

    def usable_slice(self, values: Json) -> bool:
        """Whether a saved slice is one of this stream's; otherwise the stream starts again."""
        return True

    def compact(self, pending: list[Json]) -> list[Json]:
        """Return the slices to save for those that are pending: as many, or fewer and larger.

        A state lists them all, and states are kept below 100 kilobytes.
        """
        return pending

    def cut_again(self, pending: list[Json]) -> list[Json]:
        """Return the slices to read for those that were saved."""
        return pending

    def initial_state(self) -> Json | None:
        """Return the complete state that stands for the configured start date, or None."""
        return None

    def read_records(
        self, records_schema: Mapping[str, Any], stream_slice: StreamSlice | None = None
    ) -> Iterable[StreamData]:
        if stream_slice is None:
            raise ValueError("a stream of this connector is read slice by slice")
        if not self._failed:
            try:
                yield from self.read_slice(stream_slice)
                return
            except Exception:
                if self.is_first_failure():
                    raise
        self._unread[id(stream_slice)] = stream_slice

    # -- the end of a stream that fails -----------------------------------------------------------
    # One failure says it all. Slices that are being read then are read to their end, or to their
    # own failure, of which nothing is said; slices that have not begun are left for the next sync.

    @property
    def failed(self) -> bool:
        """Whether the stream has failed."""
        return self._failed

    def is_first_failure(self) -> bool:
        """Take down that the stream has failed; returns whether it had not failed before."""
        with self._failing:
            first, self._failed = not self._failed, True
        return first

    def was_read(self, stream_slice: StreamSlice) -> bool:
        """Whether a slice that is through was read whole."""
        return self._unread.pop(id(stream_slice), None) is None

    # -- what subclasses are made of ------------------------------------------------------------

    def ask(
        self, params: Mapping[str, Any], page: int | None = None, path: str | None = None
    ) -> requests.Response:
        """Send one request: the manifest's parameters, the paginator's, and these."""
        paging = self._paginator.get_request_params(
            next_page_token={"next_page_token": page} if page is not None else None
        )
        response = self.requester.send_request(
            path=path, request_params={**(paging if page is not None else {}), **params}
        )
        assert response is not None
        return response

    def records(self, response: requests.Response, stream_slice: StreamSlice) -> Iterable[Record]:
        """Yield the records of an answer, transformed as the manifest says."""
        return self._parse_response(
            response, stream_slice=stream_slice, records_schema={}
        )  # the schema is for schema_normalization only, which we do not use

    def _endpoint(self) -> str:
        nothing: Any = {"stream_state": None, "stream_slice": None, "next_page_token": None}
        return f"GET /{self.requester.get_path(**nothing).strip('/')}"

    def unexpected(self, what: str, detail: str = "") -> AirbyteTracedException:
        """Return the error for an answer that cannot be trusted; the stream stops."""
        return AirbyteTracedException(
            message=f"{self.name}, {self._endpoint()}: {what}",
            internal_message=detail or what,
            failure_type=FailureType.transient_error,
        )


def rows_of(response: requests.Response, key: str) -> list[Json]:
    """Return the rows of an answer as they came."""
    rows: list[Json] = answer(response)[key]
    return rows


def make_slice(values: Mapping[str, Any], **extra: Any) -> StreamSlice:
    """Return a slice; ``extra`` travels with it in memory and is never saved."""
    return StreamSlice(partition={}, cursor_slice=dict(values), extra_fields=extra)


def _text(values: Json) -> str:
    return json.dumps(values, sort_keys=True)


class SyncCursor(Cursor):
    """Cuts a stream into its ``Sync``'s slices and saves a state as they are finished."""

    def __init__(
        self,
        sync: Sync,
        stream_name: str,
        full_refresh: bool,
        state_manager: ConnectorStateManager,
        messages: MessageRepository,
        progress: Progress,
    ) -> None:
        self._sync = sync
        self._name = stream_name
        self._manager = state_manager
        self._messages = messages
        self._progress = progress
        self._lock = threading.Lock()
        self._emitting = threading.Lock()  # states leave in the order in which they were taken
        self.cursor_field = CursorField(sync.cursor_field)
        given = dict(state_manager.get_stream_state(stream_name, None) or {})
        if full_refresh and "scan" not in given:
            # A full refresh reads everything, whatever was read before. Only its own unfinished
            # scan is gone on with, which is what Airbyte passes when it repeats an attempt.
            given = {}
        self._given = given
        self._complete: Json | None = None
        self._pending: dict[str, Json] | None = None
        self._read_since_saved = 0
        self._open = 0
        self._planned = False
        self._has_changes = False

    @property
    def state(self) -> MutableMapping[str, Any]:
        with self._lock:
            return self._current_state()

    def _current_state(self) -> Json:
        if self._pending:
            pending = self._sync.compact(list(self._pending.values()))
            return {"scan": {"then": self._complete, "pending": pending}}
        if self._complete is None:
            return self._given
        if self._has_changes and self._planned and not self._open:
            return self._sync.state_after_changes(self._complete)
        if self._pending is not None and not self._has_changes:
            return self._sync.state_after_scan(self._complete)
        return self._complete

    def stream_slices(self) -> Iterable[StreamSlice]:
        try:
            for stream_slice in self._plan():
                if self._sync.failed:
                    return
                with self._lock:
                    self._open += 1
                yield stream_slice
        except Exception:
            if self._sync.is_first_failure():
                raise
            return
        with self._lock:
            self._planned = True
            self._progress.slices_are(self._open)

    def _plan(self) -> Iterator[StreamSlice]:
        resumed = self._resumable_scan()
        if resumed:
            state, saved = resumed
            pending = self._sync.cut_again(saved)
            LOGGER.info(
                "Stream %s: going on with an unfinished first sync, %d slices are left.",
                self._name,
                len(pending),
            )
            yield from self._scan(state, pending)
        # What was read before an interruption may have changed since.
        since = resumed[0] if resumed else self._state_to_go_on_from()
        if since:
            try:
                yield from self._changes(since)
                return
            except ScanInstead as reason:
                LOGGER.info("Stream %s: %s", self._name, reason)
                self._has_changes = False
                if reason.from_start:
                    since = self._sync.initial_state()
        state, slices = self._sync.begin_scan(since)
        yield from self._scan(state, list(slices))

    def _state_to_go_on_from(self) -> Json | None:
        if NO_CURSOR_STATE_KEY in self._given:
            LOGGER.warning(
                "Stream %s: the saved state is from a time when the stream had no cursor; reading "
                "from the start.",
                self._name,
            )
            self._given = {}
        elif self._given and not self._sync.usable_state(self._given):
            LOGGER.warning(
                "Stream %s: the saved state is not one of this stream's; reading from the start.",
                self._name,
            )
            self._given = {}
        return self._given or self._sync.initial_state()

    def _scan(self, state: Json, pending: list[Json]) -> Iterator[StreamSlice]:
        with self._lock:
            self._complete = state
            self._pending = {_text(values): values for values in pending}
        self._progress.slices_are(len(pending))
        self._emit()
        yield from (make_slice(values) for values in pending)

    def _changes(self, state: Json) -> Iterator[StreamSlice]:
        with self._lock:
            self._complete, self._has_changes = dict(state), True
        yield from self._sync.changes(state)

    def _resumable_scan(self) -> tuple[Json, list[Json]] | None:
        scan = self._given.get("scan")
        then = scan.get("then") if isinstance(scan, dict) else None
        pending = scan.get("pending") if isinstance(scan, dict) else None
        if (
            isinstance(then, dict)
            and isinstance(pending, list)
            and all(
                isinstance(values, dict) and self._sync.usable_slice(values) for values in pending
            )
            and self._sync.usable_state(then)
        ):
            return then, pending
        return None

    def observe(self, record: Record) -> None:
        """Nothing: what may be saved follows from slices, not from the greatest value seen."""

    def close_partition(self, partition: Partition) -> None:
        stream_slice = partition.to_slice()
        if isinstance(stream_slice, StreamSlice) and not self._sync.was_read(stream_slice):
            return  # and so it stays pending, or keeps the changes from being complete
        with self._lock:
            self._open -= 1
            values = (
                dict(stream_slice.cursor_slice) if isinstance(stream_slice, StreamSlice) else {}
            )
            self._progress.slice_done()
            if self._complete is not None:
                self._complete = self._sync.state_after_slice(self._complete, values)
            due = False
            if self._pending is not None and self._pending.pop(_text(values), None) is not None:
                self._read_since_saved += 1
                due = self._read_since_saved > len(self._pending) // _SLICES_LEFT_PER_STATE
                self._read_since_saved = 0 if due else self._read_since_saved
        if due:
            self._emit()

    def ensure_at_least_one_state_emitted(self) -> None:
        self._emit()

    def should_be_synced(self, record: Record) -> bool:
        return True

    def _emit(self) -> None:
        with self._emitting:
            self._save()

    def _save(self) -> None:
        self._manager.update_state_for_stream(self._name, None, self.state)
        self._messages.emit_message(self._manager.create_state_message(self._name, None))
