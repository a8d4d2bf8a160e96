"""Runs the connector as a platform does, and builds the table that a destination would have."""

from __future__ import annotations

import base64
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer, Type

from source_meetings import timestamps
from source_meetings.manifest import manifest_of, providers
from source_meetings.run import run
from source_meetings.source import SourceMeetings

Json = dict[str, Any]


@cache
def definitions() -> dict[str, Json]:
    """Return every stream of every provider, as its manifest defines it."""
    entries = [entry for name in providers() for entry in manifest_of(name)["streams"]]
    return {one["name"]: one for entry in entries for one in entry.get("streams", [entry])}


def key_of(stream: str) -> tuple[str, ...]:
    """Return the fields of a stream's primary key."""
    return tuple(definitions()[stream]["primary_key"])


def cursor_of(stream: str) -> str | None:
    """Return the field that shows which version of a row is newer, if the stream has one."""
    cursor: str | None = definitions()[stream]["retriever"].get("cursor_field")
    return cursor


@dataclass
class Output:
    """The messages of one run of the connector, in order."""

    messages: list[Json]
    exit_code: int | None = 0

    def of(self, kind: str) -> list[Json]:
        return [message for message in self.messages if message["type"] == kind]

    def records(self, stream: str | None = None) -> list[Json]:
        return [
            message["record"]["data"]
            for message in self.of("RECORD")
            if stream in (None, message["record"]["stream"])
        ]

    @property
    def states(self) -> list[Json]:
        return [message["state"] for message in self.of("STATE")]

    def last_states(self) -> list[Json]:
        """Return the state file for the next run: the last state of each stream."""
        last: dict[str, Json] = {}
        for state in self.states:
            last[state["stream"]["stream_descriptor"]["name"]] = state
        return list(last.values())

    def state_of(self, stream: str) -> Json:
        for state in self.last_states():
            if state["stream"]["stream_descriptor"]["name"] == stream:
                return dict(state["stream"]["stream_state"])
        raise AssertionError(f"no state of {stream}")

    @property
    def errors(self) -> list[Json]:
        return [
            message["trace"]["error"]
            for message in self.of("TRACE")
            if message["trace"]["type"] == "ERROR"
        ]

    @property
    def logs(self) -> list[str]:
        return [message["log"]["message"] for message in self.of("LOG")]

    @property
    def statuses(self) -> dict[str, str]:
        return {
            message["trace"]["stream_status"]["stream_descriptor"]["name"]: message["trace"][
                "stream_status"
            ]["status"]
            for message in self.of("TRACE")
            if message["trace"]["type"] == "STREAM_STATUS"
        }


@dataclass
class Table:
    """The table of a deduplicating destination: per key, the row with the greatest cursor.

    A key is a string: its parts, joined by `|`.
    """

    stream: str
    rows: dict[str, Json] = field(default_factory=dict)

    def load(self, output: Output) -> None:
        key_fields, cursor = key_of(self.stream), cursor_of(self.stream)
        for row in output.records(self.stream):
            key = "|".join(str(row[name]) for name in key_fields)
            old = self.rows.get(key)
            if old is not None and cursor is not None:
                before = timestamps.parse_or_none(old.get(cursor))
                after = timestamps.parse_or_none(row.get(cursor))
                if before is not None and after is not None and after < before:
                    continue
            self.rows[key] = row


def catalog(source: SourceMeetings, streams: Iterable[str] | None, mode: str) -> Json:
    found = AirbyteMessage(type=Type.CATALOG, catalog=source.discover(source.logger, {}))
    return _selected(AirbyteMessageSerializer.dump(found)["catalog"]["streams"], streams, mode)


def _selected(found: list[Json], streams: Iterable[str] | None, mode: str) -> Json:
    configured = []
    for stream in found:
        if streams is not None and stream["name"] not in streams:
            continue
        supported = stream["supported_sync_modes"]
        configured.append(
            {
                "stream": stream,
                "sync_mode": mode if mode in supported else "full_refresh",
                "destination_sync_mode": "append_dedup",
            }
        )
    return {"streams": configured}


_CATALOGS: dict[tuple[str, bool], Json] = {}


def _catalog_of(config: Json, streams: Iterable[str] | None, mode: str) -> Json:
    """Like ``catalog``, but discovered once for each set of the settings that it depends on."""
    provider = config["provider"]
    known = (provider["name"], bool(provider.get("calendar_events")))
    if known not in _CATALOGS:
        _CATALOGS[known] = catalog(SourceMeetings(config=config), None, mode)
    found = [configured["stream"] for configured in _CATALOGS[known]["streams"]]
    return _selected(found, streams, mode)


def write_json(value: Any) -> str:
    handle, path = tempfile.mkstemp(suffix=".json")
    with os.fdopen(handle, "w") as file:
        json.dump(value, file)
    return path


def read(
    config: Json,
    state: list[Json] | None = None,
    streams: Iterable[str] | None = None,
    mode: str = "incremental",
    debug: bool = False,
    config_path: str | None = None,
    configured: Json | None = None,
) -> Output:
    """Run ``read`` in this process and return everything it printed."""
    configured = configured or _catalog_of(config, streams, mode)
    paths = [config_path or write_json(config), write_json(configured), write_json(state or [])]
    args = ["read", "--config", paths[0], "--catalog", paths[1], "--state", paths[2]]
    try:
        return run_command([*args, *(["--debug"] if debug else [])])
    finally:
        for path in paths if config_path is None else paths[1:]:
            os.unlink(path)


def run_command(args: list[str]) -> Output:
    """Run one command in this process. Standard output must have protocol messages only.

    Also checks that nothing it prints shows a secret, at any log level.
    """
    secrets = _secrets_of(args)
    printed = StringIO()
    code: int | None = 0
    with redirect_stdout(printed), _logs_to(printed):
        try:
            run(args)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Exception:
            code = 1
    output = Output([json.loads(line) for line in printed.getvalue().splitlines() if line], code)
    assert_no_secret(output, secrets)
    return output


def assert_no_secret(output: Output, secrets: set[str]) -> None:
    """Only CONTROL messages may show tokens, because their purpose is to hand over new ones."""
    for message in output.of("CONTROL"):
        provider = message["control"]["connectorConfig"]["config"]["provider"]
        secrets = secrets | secrets_in(provider["credentials"])
    for message in output.messages:
        if message["type"] != "CONTROL":
            text = str(message)
            shown = [secret for secret in secrets if secret in text]
            assert not shown, f"a {message['type']} message shows a secret"


def secrets_in(credentials: Mapping[str, Any]) -> set[str]:
    """Return the secrets of a configuration, as they are and as Close's header encodes them.

    Leaves out secrets that are too short to distinguish from other text (``None``, ``1e5``).
    """
    names = ("api_key", "access_token", "refresh_token", "client_secret", "client_id")
    values = {str(credentials[name]) for name in names if credentials.get(name)}
    basic = {base64.b64encode(f"{value}:".encode()).decode() for value in values}
    return {value for value in values | basic if len(value) >= 8}


def _secrets_of(args: list[str]) -> set[str]:
    try:
        config = json.loads(Path(args[args.index("--config") + 1]).read_text())
        provider = config["provider"]
        return secrets_in(provider) | secrets_in(provider.get("credentials") or {})
    except (ValueError, LookupError, OSError, TypeError, AttributeError, RecursionError):
        return set()  # no configuration, or an invalid one


@contextmanager
def _logs_to(printed: StringIO) -> Iterator[None]:
    """Redirect logs: the CDK's log handler keeps the standard output that it was created with."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers + logging.getLogger("airbyte").handlers
        if type(handler) is logging.StreamHandler  # pytest's own are subclasses
    ]
    streams = [handler.setStream(printed) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams):
            if stream is not None:
                handler.setStream(stream)
            handler.setLevel(logging.NOTSET)
        logging.getLogger("airbyte").setLevel(logging.INFO)
