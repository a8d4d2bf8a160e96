"""The cursor passes the states of the sync to the CDK, in order. Tested without running the CDK."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateBlob,
    AirbyteStateMessage,
    AirbyteStateType,
    AirbyteStreamState,
    StreamDescriptor,
)
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.message import InMemoryMessageRepository
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY

from source_meetings.cdk.cursor import SyncCursor
from source_meetings.sync.reading import State
from unit_tests.logic.fakes import (
    AFTER,
    BEFORE,
    Noting,
    ScriptedStrategy,
    everything,
    the_changes,
    unfinished,
)

STREAM = "meetings"


class Messages(InMemoryMessageRepository):
    """Records the states in messages. A test can delay the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[State] = []
        self.at_the_first: Any = None

    def emit_message(self, message: AirbyteMessage) -> None:
        hold_up, self.at_the_first = self.at_the_first, None
        if hold_up is not None:
            hold_up()
        assert message.state is not None and message.state.stream is not None
        assert message.state.stream.stream_descriptor.name == STREAM
        self.states.append(vars(message.state.stream.stream_state))


def state_manager(given: State | None, stream: str = STREAM) -> ConnectorStateManager:
    if given is None:
        return ConnectorStateManager(state=[])
    state = AirbyteStreamState(
        stream_descriptor=StreamDescriptor(name=stream), stream_state=AirbyteStateBlob(given)
    )
    return ConnectorStateManager(
        state=[AirbyteStateMessage(type=AirbyteStateType.STREAM, stream=state)]
    )


def cursor_of(
    strategy: ScriptedStrategy,
    given: State | None = None,
    *,
    full_refresh: bool = False,
    messages: Messages | None = None,
    observer: Noting | None = None,
) -> SyncCursor:
    return SyncCursor(
        strategy,
        STREAM,
        full_refresh=full_refresh,
        state_manager=state_manager(given),
        messages=messages or Messages(),
        observer=observer or Noting(),
    )


def run(cursor: SyncCursor) -> None:
    for slice in cursor.sync.slices():
        for _ in cursor.sync.read(slice):
            pass


def test_the_sync_starts_with_the_saved_state() -> None:
    strategy = ScriptedStrategy(changes=the_changes())
    cursor = cursor_of(strategy, BEFORE)
    assert cursor.state == BEFORE
    run(cursor)
    assert strategy.asked == [("changes", BEFORE)]


def test_the_state_of_another_stream_is_not_used() -> None:
    # Given
    strategy = ScriptedStrategy(first=everything("a"))
    cursor = SyncCursor(
        strategy,
        STREAM,
        full_refresh=False,
        state_manager=state_manager(BEFORE, "others"),
        messages=Messages(),
        observer=Noting(),
    )
    # When
    run(cursor)
    # Then
    assert strategy.asked == [("first", None)]


def test_a_state_saved_without_a_cursor_is_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given what the CDK saves for a stream without a cursor
    strategy = ScriptedStrategy(first=everything("a"))
    # When the stream gets a cursor
    cursor = cursor_of(strategy, {NO_CURSOR_STATE_KEY: True})
    # Then it is read from the start, and the strategy never gets that key
    assert cursor.state == {}
    run(cursor)
    assert strategy.asked == [("first", None)]
    assert caplog.messages == [
        "Stream meetings: the saved state is from a time when the stream had no cursor; reading "
        "from the start."
    ]


def test_a_full_refresh_leaves_a_complete_state_and_keeps_an_unfinished_one() -> None:
    assert cursor_of(ScriptedStrategy(), BEFORE, full_refresh=True).state == {}
    left = unfinished("a")
    assert cursor_of(ScriptedStrategy(), left, full_refresh=True).state == left


def test_each_state_that_the_sync_saves_is_sent_as_a_message() -> None:
    # Given a first sync of two slices
    messages = Messages()
    cursor = cursor_of(ScriptedStrategy(first=everything("a", "b")), messages=messages)
    # When it is run, and the CDK requests a state at the end
    run(cursor)
    cursor.ensure_at_least_one_state_emitted()
    # Then
    assert messages.states == [unfinished("a", "b"), unfinished("b"), AFTER, AFTER]


def test_states_are_sent_in_the_order_in_which_they_were_created() -> None:
    # Given a state that is being sent
    messages = Messages()
    cursor = cursor_of(ScriptedStrategy(first=everything("a", "b")), messages=messages)
    slices = cursor.sync.slices()
    first = next(slices)

    def read_a_slice() -> None:
        list(cursor.sync.read(first))

    def meanwhile() -> None:
        # When another worker finishes a slice meanwhile and saves a later state
        worker.start()
        worker.join(0.2)

    worker = threading.Thread(target=read_a_slice)
    messages.at_the_first = meanwhile
    cursor.ensure_at_least_one_state_emitted()
    worker.join(10)
    # Then that one is sent after the first one
    assert messages.states[-2:] == [unfinished("a", "b"), unfinished("b")]


def test_the_cursor_field_is_the_strategys() -> None:
    assert cursor_of(ScriptedStrategy()).cursor_field.cursor_field_key == "changed"


def test_the_observer_is_the_syncs() -> None:
    observer = Noting()
    run(cursor_of(ScriptedStrategy(first=everything("a")), observer=observer))
    assert observer.said == [1, "done", 0]


def test_calls_of_the_cdk_do_not_change_the_state_of_the_cursor() -> None:
    # Given a first sync whose slice is being read
    cursor = cursor_of(ScriptedStrategy(first=everything("a")))
    pages = cursor.sync.read(next(cursor.sync.slices()))
    next(pages)
    record: Any = object()
    # When the CDK reports a record and the end of the partition
    cursor.observe(record)
    cursor.close_partition(record)
    # Then the slice is still unread
    assert cursor.state == unfinished("a")
    assert cursor.should_be_synced(record)
    assert list(cursor.stream_slices()) == []
