"""The entry point: ``source-meetings spec|check|discover|read``."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import (
    AirbyteMessageSerializer,
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalogSerializer,
    FailureType,
)
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.config import validate_catalog, validate_state
from source_meetings.entrypoint import Entrypoint
from source_meetings.output import (
    leaving_at_once_when_stopped,
    send_logs_to_standard_output,
    write_line,
)
from source_meetings.source import SourceMeetings

_M_ARENA_MAX = -8  # of glibc's malloc.h


def run(args: Sequence[str] | None = None) -> None:
    """Run one command of the Airbyte protocol; messages go to standard output.

    Leaves the process with status 1 after an error, which is also a TRACE message.
    """
    _share_one_heap()
    arguments = list(sys.argv[1:] if args is None else args)
    parsed = AirbyteEntrypoint.parse_args(arguments)
    send_logs_to_standard_output()
    with leaving_at_once_when_stopped():
        try:
            entrypoint = _entrypoint(parsed)
        except AirbyteTracedException as error:
            _report(error, check=parsed.command == "check")
            return
        _launch(entrypoint, parsed)


def _share_one_heap() -> None:
    """Let all threads allocate from one heap, where the C library has a heap a thread (glibc).

    Rows are made by one thread and freed by another, so each worker's heap stayed as large as the
    largest answer it ever held: 55 MB more for a million events of HighLevel. Threads that take
    turns at Python's lock gain nothing from heaps of their own. See mallopt(3), M_ARENA_MAX.
    """
    with suppress(AttributeError, OSError, TypeError):  # another system or C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _launch(entrypoint: Entrypoint, parsed: Any) -> None:
    """Print the messages of a command as they come, and leave with status 1 after an error.

    In place of the CDK's ``launch``, which adds a second error, always called a config_error, to
    that of a failed stream, and does not write whole lines (see ``output``). Each stream has
    one error at most.
    """
    reported: set[str] = set()
    try:
        for line in entrypoint.run(parsed):
            if line.startswith('{"type":"TRACE","trace":{"type":"ERROR"'):
                error = json.loads(line)["trace"]["error"]
                stream = (error.get("stream_descriptor") or {}).get("name", "")
                if stream in reported:
                    continue  # each slice of a failing stream may have one
                reported.add(stream)
            write_line(line)
    except AirbyteTracedException as error:
        if not reported:
            write_line(_as_line(error))
        sys.exit(1)
    if reported and parsed.command == "read":
        sys.exit(1)


def _entrypoint(parsed: Any) -> Entrypoint:
    config_path = getattr(parsed, "config", None)
    config = _read(config_path, "configuration") if config_path else None
    if config_path and not isinstance(config, dict):
        raise _config_error(f"The configuration {config_path} is no JSON object.")
    catalog_path, state_path = getattr(parsed, "catalog", None), getattr(parsed, "state", None)
    catalog = state = None
    if catalog_path:
        value = _read(catalog_path, "catalog")
        validate_catalog(value)
        catalog = _understand(
            ConfiguredAirbyteCatalogSerializer.load, value, catalog_path, "catalog"
        )
    # A state that is none is refused: going on without it would silently read everything again,
    # which may take hours and is never what was asked for. Older tools write {} for "no state".
    if state_path and (states := _read(state_path, "state")) != {}:
        validate_state(states)
        state = [
            _understand(AirbyteStateMessageSerializer.load, value, state_path, "state")
            for value in states
        ]
    source = SourceMeetings(catalog=catalog, config=config, state=state, config_path=config_path)
    return Entrypoint(source, config, catalog, state)


def _read(path: str, what: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _config_error(f"The {what} {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise _config_error(f"The {what} {path} is no JSON in UTF-8.") from error


def _understand(load: Callable[[Any], Any], value: Any, path: str, what: str) -> Any:
    try:
        return load(value)
    except Exception as error:  # whatever the protocol's own deserialisation stumbles over
        raise _config_error(
            f"The {what} {path} does not have the form of the Airbyte protocol."
        ) from error


def _config_error(message: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.config_error
    )


def _report(error: AirbyteTracedException, check: bool) -> None:
    """Answer a command that cannot begin: ``check`` has an answer for that, the others fail."""
    status = error.as_connection_status_message() if check else None
    if status is None:
        write_line(_as_line(error))
        sys.exit(1)
    write_line(json.dumps(AirbyteMessageSerializer.dump(status)))


def _as_line(error: AirbyteTracedException) -> str:
    message = AirbyteMessageSerializer.dump(error.as_sanitized_airbyte_message())
    return json.dumps(message)
