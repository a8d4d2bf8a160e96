"""The entry point: ``source-meetings spec|check|discover|read``."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from typing import Any

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import AirbyteMessageSerializer, FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.cdk.pages import Page
from source_meetings.entrypoint import Entrypoint
from source_meetings.inputs import read_catalog, read_config, read_state
from source_meetings.output import (
    leaving_at_once_when_stopped,
    send_logs_to_standard_output,
    write_line,
    write_lines,
)
from source_meetings.source import SourceInPages, SourceMeetings

_M_ARENA_MAX = -8  # from glibc's malloc.h


def run(args: Sequence[str] | None = None) -> None:
    """Run one command of the Airbyte protocol. Messages go to standard output.

    Exits with status 1 after an error, which is also sent as a TRACE message, and with status 2 for
    wrong arguments.
    """
    _share_one_heap()
    parsed = _parse(list(sys.argv[1:] if args is None else args))
    send_logs_to_standard_output()
    with leaving_at_once_when_stopped():
        try:
            entrypoint = _entrypoint(parsed)
        except AirbyteTracedException as error:
            _report(error, check=parsed.command == "check")
            return
        _launch(entrypoint, parsed)


def _parse(arguments: list[str]) -> Any:
    parsed = AirbyteEntrypoint.parse_args(arguments)
    if parsed.command is None:
        with redirect_stdout(sys.stderr), suppress(SystemExit):
            AirbyteEntrypoint.parse_args(["--help"])
        sys.exit(2)
    return parsed


def _share_one_heap() -> None:
    """Make all threads share one heap, where the C library has one heap per thread (glibc).

    One thread creates rows and another frees them, so each worker's heap stayed as large as the
    largest answer it ever held: 55 MB more for a million events of HighLevel. Threads that take
    turns holding Python's lock gain nothing from separate heaps. See mallopt(3), M_ARENA_MAX.
    """
    with suppress(AttributeError, OSError, TypeError):  # another system or C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _launch(entrypoint: Entrypoint, parsed: Any) -> None:
    """Print a command's messages as they come. Exit with status 1 after an error.

    This replaces the CDK's ``launch``, which does not write whole lines (see ``output``), and which
    adds a second error to that of a failed stream, always as a config_error. Here, each stream has
    at most one error.
    """
    reported: set[str] = set()
    try:
        for line in entrypoint.output(parsed):
            if isinstance(line, Page):
                write_lines(line.lines)
                continue
            if line.startswith('{"type":"TRACE","trace":{"type":"ERROR"'):
                message = json.loads(line)
                descriptor = message["trace"]["error"].get("stream_descriptor") or {}
                stream = descriptor.get("name", "")
                if stream in reported:
                    continue  # each slice of a failing stream may have one
                reported.add(stream)
                line = _as_line(message)
            write_line(line)
    except AirbyteTracedException as error:
        if not reported:
            _print_error(error)
        sys.exit(1)
    if reported and parsed.command == "read":
        sys.exit(1)


def _entrypoint(parsed: Any) -> Entrypoint:
    if parsed.command == "spec":
        return Entrypoint(SourceMeetings())
    config = read_config(parsed.config)
    catalog = state = None
    if parsed.command == "read":
        catalog = read_catalog(parsed.catalog)
        state = read_state(parsed.state) if parsed.state else None
    source = SourceInPages(catalog, config, state, parsed.config, getattr(parsed, "catalog", None))
    return Entrypoint(source, config, catalog, state)


def _report(error: AirbyteTracedException, check: bool) -> None:
    """Report that a command cannot start: ``check`` answers with a status, the others fail."""
    status = error.as_connection_status_message() if check else None
    if status is None:
        _print_error(error)
        sys.exit(1)
    write_line(json.dumps(AirbyteMessageSerializer.dump(status)))


def _print_error(error: AirbyteTracedException) -> None:
    write_line(_as_line(AirbyteMessageSerializer.dump(error.as_sanitized_airbyte_message())))


def _as_line(message: dict[str, Any]) -> str:
    """Write a TRACE message, without the stack trace of an error that the user can fix."""
    error = message["trace"]["error"]
    if error["failure_type"] == FailureType.config_error.value:
        error.pop("stack_trace", None)
    return json.dumps(message, separators=(",", ":"))
