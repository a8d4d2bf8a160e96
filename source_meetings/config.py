"""The configuration: the form's specification, put together from the providers, and its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps


def connector_spec(providers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the specification of the whole connector; ``providers`` is each one's own part."""
    return {
        "type": "Spec",
        "connection_specification": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Meetings",
            "type": "object",
            "required": ["provider"],
            "additionalProperties": True,
            "properties": {
                "provider": {
                    "title": "Provider",
                    "description": "The system that the meetings are read from. One connection "
                    "reads one account of one provider.",
                    "type": "object",
                    "order": 0,
                    "oneOf": list(providers.values()),
                },
                "start_date": {
                    "title": "Start date",
                    "description": "Meetings that were last changed before this moment are left "
                    "out (for HighLevel: meetings that start before it). Leave it empty to read "
                    "everything.",
                    "type": "string",
                    "format": "date-time",
                    "order": 1,
                    "examples": ["2024-01-01T00:00:00Z"],
                    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?"
                    r"(Z|[+-]\d{2}:\d{2})$",
                    "pattern_descriptor": "YYYY-MM-DDTHH:mm:ssZ",
                },
                "num_workers": {
                    "title": "Number of workers",
                    "description": "How many requests are made side by side. More is faster until "
                    "the provider's rate limit is met.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 40,
                    "order": 2,
                    "examples": [8],
                },
            },
        },
    }


def validate(config: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Raise a config_error that names the field when the configuration cannot be used."""
    providers = {
        option["properties"]["name"]["const"]: option
        for option in spec["properties"]["provider"]["oneOf"]
    }
    provider = config.get("provider") if isinstance(config, Mapping) else None
    name = provider.get("name") if isinstance(provider, Mapping) else None
    if not isinstance(provider, Mapping):
        raise _refusal("provider", "is missing; it is an object with a name and credentials")
    if not isinstance(name, str) or name not in providers:
        known = ", ".join(providers)
        raise _refusal("provider.name", f"is none of the providers: {known}")
    _check("provider", provider, providers[name])
    common = {key: value for key, value in spec["properties"].items() if key != "provider"}
    _check("", {key: config[key] for key in common if key in config}, {"properties": common})
    start = config.get("start_date")
    if start is not None:
        moment = timestamps.parse_or_none(start)
        if moment is None:
            raise _refusal("start_date", "is no date that exists; write 2024-01-01T00:00:00Z")
        if moment > timestamps.now():
            raise _refusal("start_date", "lies in the future; nothing would ever be read")


def _check(prefix: str, value: Any, schema: Mapping[str, Any]) -> None:
    """Report the first fault of a value, in words that hold no value that may be a secret."""
    validator = jsonschema.Draft7Validator(schema)
    errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.path)))
    if not errors:
        return
    error = errors[0]
    while error.validator == "oneOf" and error.context:
        error = _closest_option(error)
    path = ".".join(part for part in [prefix, *map(str, error.absolute_path)] if part)
    raise _refusal(path or "configuration", _in_words(error))


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
    rule = error.validator_value
    descriptor = error.schema.get("pattern_descriptor") if isinstance(error.schema, dict) else None
    words: dict[str, Callable[[], str]] = {
        "required": lambda: f"lacks {_missing(error)}",
        "type": lambda: f"must be of type {rule}",
        "minLength": lambda: "must not be empty",
        "minItems": lambda: f"must have at least {rule} entry",
        "minimum": lambda: f"must be at least {rule}",
        "maximum": lambda: f"must be at most {rule}",
        "const": lambda: f"is not one of the known values (for example {rule!r})",
        "pattern": lambda: f"must have the form {descriptor}" if descriptor else "is malformed",
        "uniqueItems": lambda: "must not name anything twice",
        "additionalProperties": lambda: "has a property that is not known",
    }
    rule_words = words.get(str(error.validator))
    return rule_words() if rule_words else f"does not follow the rule '{error.validator}'"


def _missing(error: jsonschema.ValidationError) -> str:
    instance = error.instance if isinstance(error.instance, Mapping) else {}
    required = error.validator_value if isinstance(error.validator_value, list) else []
    return ", ".join(repr(name) for name in required if name not in instance)


def _refusal(field: str, words: str) -> AirbyteTracedException:
    message = f"Configuration: {field} {words}."
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.config_error
    )
