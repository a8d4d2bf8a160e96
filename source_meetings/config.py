"""What comes in: the form's specification, and the checks of configuration, catalog and state.

Whatever cannot be used is refused before a request is made, by the name of the field.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from source_meetings import timestamps

# As in metadata.yaml
DOCUMENTATION_URL = "https://docs.airbyte.com/integrations/sources/meetings"


def connector_spec(providers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the specification of the whole connector; ``providers`` is each one's own part."""
    return {
        "type": "Spec",
        "documentation_url": DOCUMENTATION_URL,
        "connection_specification": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Meetings",
            "type": "object",
            "required": ["provider"],
            "additionalProperties": True,
            "properties": {
                "provider": {
                    "title": "Provider",
                    "description": "Where the meetings are read from. One connection reads one "
                    "account of one provider.",
                    "type": "object",
                    "display_type": "radio",
                    "order": 0,
                    "oneOf": list(providers.values()),
                },
                "start_date": {
                    "title": "Start date",
                    "description": "Leave it empty to read everything. With a date, meetings that "
                    "were last changed before it are left out (HighLevel: appointments that start "
                    "before it, which also saves requests).",
                    "type": "string",
                    "format": "date-time",
                    "always_show": True,
                    "order": 1,
                    "examples": ["2024-01-01T00:00:00Z"],
                    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?"
                    r"(Z|[+-]\d{2}:\d{2})$",
                    "pattern_descriptor": "YYYY-MM-DDTHH:mm:ssZ",
                },
                "num_workers": {
                    "title": "Number of workers",
                    "description": "Concurrent requests (2 to 40). Leave it empty to use the "
                    "provider's default: 8, or 3 for ExpoPlatform. Choose fewer if other programs "
                    "share the same rate limit.",
                    "type": "integer",
                    "minimum": 2,  # with one, the CDK hangs when there are many slices
                    "maximum": 40,
                    "order": 2,
                    "examples": [8],
                },
            },
        },
    }


# What of the protocol's own forms we rely on:
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


def validate_catalog(catalog: Any) -> None:
    """Raise a config_error that names the field when a configured catalog cannot be used."""
    _check("Catalog", "", catalog, _CATALOG)
    names = Counter(configured["stream"]["name"] for configured in catalog["streams"])
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise _refusal("Catalog", "streams", f"selects {', '.join(twice)} twice")


def validate_state(state: Any) -> None:
    """Raise a config_error that names the field when a list of states is none.

    What is in a stream's own state is for the stream to judge: see ``sync.SyncCursor``.
    """
    _check("State", "", state, _STATE)


def validate(config: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Raise a config_error that names the field when the configuration cannot be used."""
    providers = {
        option["properties"]["name"]["const"]: option
        for option in spec["properties"]["provider"]["oneOf"]
    }
    provider = config.get("provider") if isinstance(config, Mapping) else None
    name = provider.get("name") if isinstance(provider, Mapping) else None
    if not isinstance(provider, Mapping):
        raise _refusal(
            "Configuration", "provider", "is missing; it is an object with a name and credentials"
        )
    if not isinstance(name, str) or name not in providers:
        known = ", ".join(providers)
        raise _refusal("Configuration", "provider.name", f"is none of the providers: {known}")
    _check("Configuration", "provider", provider, providers[name])
    for option in ("base_url", "token_url"):
        if option in provider and not _is_url(provider[option]):
            raise _refusal("Configuration", f"provider.{option}", "names no host that can exist")
    common = {key: value for key, value in spec["properties"].items() if key != "provider"}
    given = {key: config[key] for key in common if key in config}
    _check("Configuration", "", given, {"properties": common})
    start = config.get("start_date")
    if start is not None:
        moment = timestamps.parse_or_none(start)
        if moment is None:
            raise _refusal(
                "Configuration", "start_date", "is no date that exists; write 2024-01-01T00:00:00Z"
            )
        if moment > timestamps.now():
            raise _refusal(
                "Configuration", "start_date", "lies in the future; nothing would ever be read"
            )
        if moment < timestamps.EPOCH:
            raise _refusal(
                "Configuration", "start_date", "lies before 1970; leave it out to read everything"
            )


def _is_url(text: str) -> bool:
    """Whether the host and the port of a URL can exist; its form has been checked before."""
    try:
        host = parse_url(text).host or ""
    except HTTPError:  # LocationParseError, and its kin
        return False
    return all(0 < len(label) < 64 for label in host.split("."))


def _strict_pattern(
    _: Any, pattern: str, value: Any, __: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    """As in ECMAScript, the end is the end: Python's ``$`` also stands before a last line break."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError("does not match")


# 8.0 is an integer to JSON schema, and no number of workers to the CDK.
_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator,
    {"pattern": _strict_pattern},
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def _check(what: str, prefix: str, value: Any, schema: Mapping[str, Any]) -> None:
    """Report the first fault of a value, in words that hold no value that may be a secret."""
    errors = sorted(
        _Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.path))
    )
    if not errors:
        return
    error = errors[0]
    while error.validator == "oneOf" and error.context:
        error = _closest_option(error)
    path = ".".join(part for part in [prefix, *map(str, error.absolute_path)] if part)
    raise _refusal(what, path or "as a whole", _in_words(error))


def _closest_option(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """Follow the option whose discriminator fits; a wrong discriminator is the fault itself."""
    context = error.context or []
    for option in {fault.schema_path[0] for fault in context}:
        faults = [fault for fault in context if fault.schema_path[0] == option]
        if not any(fault.validator == "const" for fault in faults):
            return faults[0]
    const = [fault for fault in context if fault.validator == "const"]
    return const[0] if const else context[0]


def _in_words(error: jsonschema.ValidationError) -> str:
    rule: Any = error.validator_value
    descriptor = error.schema.get("pattern_descriptor") if isinstance(error.schema, dict) else None
    words: dict[str, Callable[[], str]] = {
        "required": lambda: f"lacks {_missing(error)}",
        "type": lambda: f"must be of type {rule if isinstance(rule, str) else ' or '.join(rule)}",
        "enum": lambda: f"must be {' or '.join(map(repr, rule))}",
        "minLength": lambda: "must not be empty",
        "minItems": lambda: f"must have at least {rule} entry",
        "minimum": lambda: f"must be at least {rule}",
        "maximum": lambda: f"must be at most {rule}",
        "const": lambda: f"is not one of the known values (for example {rule!r})",
        "pattern": lambda: f"must look like this: {descriptor}" if descriptor else "is malformed",
        "uniqueItems": lambda: "must not name anything twice",
        "additionalProperties": lambda: "has a property that is not known",
    }
    rule_words = words.get(str(error.validator))
    return rule_words() if rule_words else f"does not follow the rule '{error.validator}'"


def _missing(error: jsonschema.ValidationError) -> str:
    instance = error.instance if isinstance(error.instance, Mapping) else {}
    required = error.validator_value if isinstance(error.validator_value, list) else []
    return ", ".join(repr(name) for name in required if name not in instance)


def _refusal(what: str, field: str, words: str) -> AirbyteTracedException:
    message = f"{what}: {field} {words}."
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.config_error
    )
