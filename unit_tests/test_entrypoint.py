"""Our entry point prints the same messages and makes the same calls as the CDK's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import (
    AirbyteLogMessage,
    AirbyteMessage,
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalogSerializer,
    Level,
)
from airbyte_cdk.models import Type as MessageType
from airbyte_cdk.sources.message import InMemoryMessageRepository
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from sandbox import Sandbox
from source_meetings.cdk.pages import Page
from source_meetings.entrypoint import Entrypoint
from source_meetings.source import SourceInPages, SourceMeetings
from unit_tests.harness import Json, write_json

STREAM = "salesloft_meetings"
READING_FILES = ("read_config", "configure", "read_catalog", "read_state")


class Watched:
    """Wraps a source and records the attributes that an entry point uses, in order."""

    def __init__(self, source: SourceMeetings) -> None:
        self._source = source
        self.used: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.used.append(name)
        return getattr(self._source, name)


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    yield
    logging.getLogger("airbyte").setLevel(logging.INFO)


def config(box: Sandbox, key: str = "ak_sandbox") -> Json:
    credentials = {"auth_type": "api_key", "api_key": key}
    base_url = box.salesloft.base_url
    return {"provider": {"name": "salesloft", "base_url": base_url, "credentials": credentials}}


CATALOG = {
    "streams": [
        {
            "stream": {
                "name": STREAM,
                "json_schema": {},
                "supported_sync_modes": ["full_refresh", "incremental"],
            },
            "sync_mode": "incremental",
            "destination_sync_mode": "append_dedup",
        }
    ]
}
STATE = [
    {
        "type": "STREAM",
        "stream": {
            "stream_descriptor": {"name": STREAM},
            "stream_state": {"updated_at": "2026-05-31T00:00:00.000000Z"},
        },
    }
]


def lines_of(text: str | Page) -> list[str]:
    return text.lines.decode().splitlines() if isinstance(text, Page) else [text]


def messages_of(lines: Iterable[str]) -> list[Json]:
    """Return the messages without their time, and the error that ends them, if any."""
    messages: list[Json] = []
    try:
        for line in lines:
            message = json.loads(line)
            for kind in ("trace", "record", "control"):
                message.get(kind, {}).pop("emitted_at", None)
            messages.append(message)
    except AirbyteTracedException as error:
        messages.append({"type": "raised", "error": repr(error)})
    return messages


def run(command: str, config: Json | None, ours: bool, debug: bool = False) -> Json:
    """Return what an entry point prints, what it uses of the source, and the final log levels."""
    catalog = ConfiguredAirbyteCatalogSerializer.load(CATALOG) if command == "read" else None
    state = [AirbyteStateMessageSerializer.load(one) for one in STATE] if command == "read" else []
    kind = SourceInPages if ours else SourceMeetings
    source: Any = Watched(kind(catalog=catalog, config=config, state=state))
    arguments = [command, *(["--debug"] if debug else [])]
    if config is not None:
        arguments += ["--config", write_json(config)]
    if catalog is not None:
        arguments += ["--catalog", write_json(CATALOG), "--state", write_json(STATE)]
    logging.getLogger("airbyte").setLevel(logging.WARNING)
    entrypoint: AirbyteEntrypoint = (
        Entrypoint(source, config, catalog, state) if ours else AirbyteEntrypoint(source)
    )
    parsed = AirbyteEntrypoint.parse_args(arguments)
    ours_or_theirs = entrypoint.output if isinstance(entrypoint, Entrypoint) else entrypoint.run
    messages = messages_of(one for text in ours_or_theirs(parsed) for one in lines_of(text))
    levels = [logging.getLogger("airbyte").level, entrypoint.logger.level]
    used = [name for name in source.used if name not in READING_FILES]
    return {"messages": messages, "used": used, "levels": levels}


@pytest.mark.parametrize("debug", [False, True])
def test_the_specification_is_printed_as_the_cdk_prints_it(debug):
    cdk, ours = (run("spec", None, ours, debug) for ours in (False, True))
    assert ours == cdk
    assert [message["type"] for message in ours["messages"]] == ["SPEC"]


@pytest.mark.parametrize("debug", [False, True])
def test_a_catalog_is_printed_as_the_cdk_prints_it(box, debug):
    cdk, ours = (run("discover", config(box), ours, debug) for ours in (False, True))
    assert ours == cdk
    assert ours["messages"][-1]["type"] == "CATALOG"


@pytest.mark.parametrize("key", ["ak_sandbox", "refused"])
def test_a_check_is_answered_as_the_cdk_answers_it(box, key):
    cdk, ours = (run("check", config(box, key), ours) for ours in (False, True))
    assert ours == cdk
    assert ours["messages"][-1]["type"] == "CONNECTION_STATUS"


@pytest.mark.parametrize("status", [None, 403])
def test_a_stream_is_read_as_the_cdk_reads_it(box, status):
    # Given a few rows, or a provider that refuses the requests
    for _ in range(5):
        box.salesloft.insert()
    if status:
        box.fault("/meetings", 1, 99, kind="status", status=status)
    # When the CDK's entry point and ours read from the same state
    cdk, ours = (run("read", config(box), ours) for ours in (False, True))
    # Then both print the same and make the same calls
    assert ours == cdk
    types = {message["type"] for message in ours["messages"]}
    assert types >= ({"TRACE", "raised"} if status else {"RECORD", "STATE"})


def test_queued_messages_are_printed_before_an_error_as_with_the_cdk(box, monkeypatch):
    # Given a source with a queue of messages, and a command that fails while one is in it
    queue = InMemoryMessageRepository()

    def discover(*_: object) -> None:
        log = AirbyteLogMessage(level=Level.WARN, message="waits")
        queue.emit_message(AirbyteMessage(type=MessageType.LOG, log=log))
        raise AirbyteTracedException("fails")

    monkeypatch.setattr(SourceMeetings, "message_repository", queue, raising=False)
    monkeypatch.setattr(SourceMeetings, "discover", discover)
    # When the CDK's entry point and ours run it
    cdk, ours = (run("discover", config(box), ours) for ours in (False, True))
    # Then both print the message before the error
    assert ours == cdk
    assert [message["type"] for message in ours["messages"]] == ["LOG", "raised"]


def test_the_platforms_debug_level_is_used_as_with_the_cdk(box, monkeypatch):
    monkeypatch.setenv("LOG_LEVEL", "debug")
    cdk, ours = (run("discover", config(box), ours) for ours in (False, True))
    assert ours == cdk
    assert ours["levels"] == [logging.DEBUG, logging.DEBUG]
