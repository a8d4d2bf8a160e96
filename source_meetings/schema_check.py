"""Checks a value against a JSON schema and reports the first error in plain English.

A message names the field and the rule but never the value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jsonschema

from source_meetings.errors import config_error

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def check(what: str, value: Any, schema: Mapping[str, Any]) -> None:
    """Raise a config_error that names the field if a value does not fit its schema.

    ``what`` starts the message, for example ``Configuration``. A schema explains a ``pattern`` in
    the ``pattern_descriptor`` next to it.
    """
    errors = sorted(_Validator(schema).iter_errors(value), key=lambda error: list(error.path))
    if errors:
        place = _place(errors[0].path)
        raise config_error(f"{what}{f': {place}' if place else ''} {_words(errors[0])}.")


def _place(path: Iterable[str | int]) -> str:
    """Describe where a value is.

    For ``streams``, 0, ``stream``, ``name`` that is ``stream.name in entry 1 of streams``.
    """
    name, entry = "", ""
    for part in path:
        if isinstance(part, int):
            outer = f" in {entry}" if entry else ""
            entry = f"entry {part + 1}{f' of {name}' if name else ''}{outer}"
            name = ""
        else:
            name = f"{name}.{part}" if name else part
    return f"{name} in {entry}" if name and entry else name or entry


def _words(error: jsonschema.ValidationError) -> str:
    rule: Any = error.validator_value
    descriptor = error.schema.get("pattern_descriptor") if isinstance(error.schema, dict) else None
    words: dict[str, Callable[[], str]] = {
        "required": lambda: f"is missing {_missing(error)}",
        "type": lambda: f"must be {_types(rule)}",
        "enum": lambda: f"must be {' or '.join(map(repr, rule))}",
        "minLength": lambda: "must not be empty",
        "minItems": lambda: "must not be empty",
        "minimum": lambda: f"must be at least {rule}",
        "maximum": lambda: f"must be at most {rule}",
        "pattern": lambda: f"must have this form: {descriptor}" if descriptor else "is malformed",
        "uniqueItems": lambda: "must not list anything twice",
        "additionalProperties": lambda: f"has an unknown property {_unknown(error)}",
    }
    rule_words = words.get(str(error.validator))
    return rule_words() if rule_words else f"does not follow the rule '{error.validator}'"


def _types(rule: str | list[str]) -> str:
    return " or ".join(_TYPES.get(one, one) for one in ([rule] if isinstance(rule, str) else rule))


def _missing(error: jsonschema.ValidationError) -> str:
    instance: Any = error.instance
    required: Any = error.validator_value
    return ", ".join(repr(name) for name in required if name not in instance)


def _unknown(error: jsonschema.ValidationError) -> str:
    instance: Any = error.instance
    schema: Any = error.schema
    known = schema.get("properties", {})
    first = next(name for name in instance if name not in known)
    return f"{first!r}; choose from {', '.join(map(repr, known))}"


def _strict_pattern(
    _: Any, pattern: str, value: Any, __: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    """Match ``$`` only at the end, as ECMAScript does. Python also matches before a line break."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError("does not match")


# In JSON schema, 8.0 is an integer, but the CDK does not accept it as a number of workers.
_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator,
    {"pattern": _strict_pattern},
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)
