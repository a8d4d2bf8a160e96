"""The input files of a command: configuration, configured catalog and state.

Every error names the file and is a config_error. Continuing without a file, or with part of one,
would read something other than what was requested.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airbyte_cdk.models import (
    AirbyteStateMessage,
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteCatalogSerializer,
)

from source_meetings.errors import config_error
from source_meetings.schema_check import check

# The parts of the protocol's own forms that we rely on:
# https://github.com/airbytehq/airbyte-protocol (airbyte_protocol.yaml)
_CATALOG = {
    "type": "object",
    "required": ["streams"],
    "properties": {
        "streams": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["stream", "sync_mode", "destination_sync_mode"],
                "properties": {
                    "stream": {
                        "type": "object",
                        "required": ["name", "json_schema", "supported_sync_modes"],
                        "properties": {
                            "name": {"type": "string", "minLength": 1},
                            "json_schema": {"type": "object"},
                            "supported_sync_modes": {"type": "array"},
                        },
                    },
                    "sync_mode": {"enum": ["full_refresh", "incremental"]},
                    "destination_sync_mode": {"type": "string"},
                },
            },
        }
    },
}
_STATE = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "stream"],
        "properties": {
            "type": {"enum": ["STREAM"]},
            "stream": {
                "type": "object",
                "required": ["stream_descriptor"],
                "properties": {
                    "stream_descriptor": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string", "minLength": 1}},
                    },
                    "stream_state": {"type": ["object", "null"]},
                },
            },
        },
    },
}
_FORMS = {
    "configuration": 'A configuration is an object: {"provider": {"name": …}}.',
    "catalog": 'A configured catalog wraps each stream that discover prints: {"streams": '
    '[{"stream": {…}, "sync_mode": "incremental", "destination_sync_mode": '
    '"append_dedup"}]}. Samples are in integration_tests/<provider>/configured_catalog.json.',
    "state": "A state is a list of STATE messages; write [] for a first sync.",
}

_CATALOG_LINE = re.compile(r'^\{"type": ?"CATALOG"', re.MULTILINE)


def read_config(path: str) -> Mapping[str, Any]:
    """Return the object in a configuration file. ``config.validate`` checks its contents."""
    config = _read(path, "configuration")
    if not isinstance(config, dict):
        raise _malformed(path, "configuration", "is not an object")
    return config


def read_catalog(path: str) -> ConfiguredAirbyteCatalog:
    """Return the configured catalog in a file."""
    catalog = _read(path, "catalog")
    if _is_discovered(catalog):
        raise _discovered(path)
    check(f"Catalog {path}", catalog, _CATALOG)
    names = Counter(configured["stream"]["name"] for configured in catalog["streams"])
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise config_error(f"Catalog {path}: streams lists {', '.join(twice)} more than once.")
    return _load(ConfiguredAirbyteCatalogSerializer.load, catalog, path, "catalog")


def _is_discovered(catalog: Any) -> bool:
    """Return whether this is ``discover`` output: the whole message, or only its catalog."""
    if not isinstance(catalog, Mapping):
        return False
    streams = catalog.get("streams")
    entries = streams if isinstance(streams, list) else []
    return catalog.get("type") == "CATALOG" or any(
        isinstance(entry, Mapping) and "name" in entry and "stream" not in entry
        for entry in entries
    )


def read_state(path: str) -> list[AirbyteStateMessage]:
    """Return the states in a file, in order. If a stream has two states, the last one counts.

    A file may hold a list, or a single entry. An entry is a state
    (``{"type": "STREAM", "stream": …}``) or the message in which a connector prints it
    (``{"type": "STATE", "state": …}``). Older tools write ``{}`` for "no state".

    The stream checks the contents of its own state: see ``sync.SyncCursor``.
    """
    value = _read(path, "state")
    if isinstance(value, Mapping) and (not value or "type" in value):
        value = [value] if value else []
    if not isinstance(value, list):
        raise _malformed(path, "state", "is not a list")
    states = [_unwrapped(entry) for entry in value]
    check(f"State {path}", states, _STATE)
    load = AirbyteStateMessageSerializer.load
    return [_load(load, state, path, "state") for state in states]


def _unwrapped(entry: Any) -> Any:
    is_message = isinstance(entry, Mapping) and entry.get("type") == "STATE" and "state" in entry
    return entry["state"] if is_message else entry


def _read(path: str, what: str) -> Any:
    try:
        text = Path(path).read_text(encoding="utf-8")
        if text.strip():
            return json.loads(text)
    except OSError as error:
        raise config_error(f"The {what} {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise _malformed(path, what, "is not encoded in UTF-8") from error
    except json.JSONDecodeError as error:
        if what == "catalog" and _CATALOG_LINE.search(text):  # with log lines
            raise _discovered(path) from error
        place = f"line {error.lineno}, column {error.colno}"
        raise _malformed(path, what, f"is not valid JSON ({place}: {error.msg})") from error
    except (ValueError, RecursionError) as error:  # too many digits, or nested too deeply
        raise _malformed(path, what, "is not JSON that can be read") from error
    raise _malformed(path, what, "is empty")


def _malformed(path: str, what: str, words: str) -> Exception:
    return config_error(f"The {what} {path} {words}. {_FORMS[what]}")


def _discovered(path: str) -> Exception:
    return _malformed(path, "catalog", "is a discovered catalog, not a configured one")


def _load(load: Callable[[Any], Any], value: Any, path: str, what: str) -> Any:
    try:
        return load(value)
    except Exception as error:  # any error from the protocol's own deserialization
        raise config_error(
            f"The {what} {path} does not have the form of the Airbyte protocol."
        ) from error
