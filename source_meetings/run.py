"""The entry point: ``source-meetings spec|check|discover|read``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.models import AirbyteMessageSerializer, FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.source import SourceMeetings


def run(args: Sequence[str] | None = None) -> None:
    """Run one command of the Airbyte protocol; messages go to standard output.

    Leaves the process with status 1 after an error, which is also a TRACE message.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    parsed = AirbyteEntrypoint.parse_args(arguments)
    try:
        source = _source(parsed)
    except AirbyteTracedException as error:
        _report(error, check=parsed.command == "check")
        return
    _launch(source, parsed)


def _launch(source: SourceMeetings, parsed: Any) -> None:
    """Print the messages of a command as they come.

    In place of the CDK's ``launch``, whose buffer holds the last records and states back until
    the next message: during a long wait for a rate limit they would be lost with the process.
    """
    for line in AirbyteEntrypoint(source).run(parsed):
        # One write per line: workers print too (renewed tokens), and lines must stay whole.
        sys.stdout.write(f"{line}\n")
        if not line.startswith('{"type":"RECORD"'):
            sys.stdout.flush()
    sys.stdout.flush()


def _source(parsed: Any) -> SourceMeetings:
    config_path = getattr(parsed, "config", None)
    config = _read_object(config_path, "configuration") if config_path else None
    catalog_path, state_path = getattr(parsed, "catalog", None), getattr(parsed, "state", None)
    return SourceMeetings(
        catalog=SourceMeetings.read_catalog(catalog_path) if catalog_path else None,
        config=config,
        state=SourceMeetings.read_state(state_path) if state_path else None,
        config_path=config_path,
    )


def _read_object(path: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _config_error(f"The {what} {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise _config_error(f"The {what} {path} is no JSON.") from error
    if not isinstance(value, dict):
        raise _config_error(f"The {what} {path} is no JSON object.")
    return value


def _config_error(message: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.config_error
    )


def _report(error: AirbyteTracedException, check: bool) -> None:
    """Answer a command that cannot begin: ``check`` has an answer for that, the others fail."""
    status = error.as_connection_status_message() if check else None
    message = status or error.as_airbyte_message()
    sys.stdout.write(json.dumps(AirbyteMessageSerializer.dump(message)) + "\n")
    if status is None:
        sys.exit(1)
