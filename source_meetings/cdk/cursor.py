"""The cursor of a stream that a strategy reads: it saves the state of its sync.

The CDK's own cursors save the greatest value that was read. That is not a change watermark if rows
are listed by one field and filtered by another: these providers list meetings by creation or start
time, and show changes by modification time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, MutableMapping
from typing import Any

from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.message import MessageRepository
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY
from airbyte_cdk.sources.streams.concurrent.cursor import Cursor, CursorField
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.types import Record, StreamSlice

from source_meetings.sync.chain import Observer, Sync
from source_meetings.sync.reading import Strategy

LOGGER = logging.getLogger("airbyte.source_meetings")


class SyncCursor(Cursor):
    """Starts a ``Sync`` from the saved state, and emits its state whenever that changes."""

    def __init__(
        self,
        strategy: Strategy,
        stream: str,
        *,
        full_refresh: bool,
        state_manager: ConnectorStateManager,
        messages: MessageRepository,
        observer: Observer,
    ) -> None:
        self.cursor_field = CursorField(strategy.cursor_field)
        self._stream = stream
        self._manager = state_manager
        self._messages = messages
        self._emitting = threading.Lock()  # states are emitted in the order they were taken
        given = dict(state_manager.get_stream_state(stream, None) or {})
        if NO_CURSOR_STATE_KEY in given:
            LOGGER.warning(
                "Stream %s: the saved state is from a time when the stream had no cursor; reading "
                "from the start.",
                stream,
            )
            given = {}
        self.sync = Sync(
            strategy,
            stream,
            given,
            full_refresh=full_refresh,
            save=self.ensure_at_least_one_state_emitted,
            observer=observer,
        )

    @property
    def state(self) -> MutableMapping[str, Any]:
        return self.sync.state()

    def ensure_at_least_one_state_emitted(self) -> None:
        with self._emitting:
            self._manager.update_state_for_stream(self._stream, None, self.sync.state())
            self._messages.emit_message(self._manager.create_state_message(self._stream, None))

    def stream_slices(self) -> Iterable[StreamSlice]:
        """Not used: ``stream.SyncPartitions`` asks the sync directly."""
        return ()

    def observe(self, record: Record) -> None:
        """Do nothing: the state depends on slices, not on the greatest value seen."""

    def close_partition(self, partition: Partition) -> None:
        """Do nothing: the sync knows which slices were read completely."""

    def should_be_synced(self, record: Record) -> bool:
        return True
