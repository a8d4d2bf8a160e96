"""The configuration: its specification, its checks, and warnings about unknown settings.

An unusable configuration is refused before any request is made. The message names the field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from source_meetings import timestamps
from source_meetings.errors import config_error
from source_meetings.schema_check import check

# Same as in metadata.yaml
DOCUMENTATION_URL = "https://docs.airbyte.com/integrations/sources/meetings"

Place = tuple[str, ...]


def connector_spec(providers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the specification of the whole connector. ``providers`` has each provider's part."""
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
                    "description": "The system to read meetings from. One connection reads one "
                    "account of one provider.",
                    "type": "object",
                    "display_type": "radio",
                    "order": 0,
                    "oneOf": list(providers.values()),
                },
                "start_date": {
                    "title": "Start Date",
                    "description": "Skip meetings that were last changed before this date "
                    "(HighLevel: appointments that start before it, which also saves requests). "
                    "Leave it empty to read everything.",
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
                    "title": "Number of Workers",
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


def validate(config: Mapping[str, Any], form: Mapping[str, Any]) -> None:
    """Raise a config_error that names the field if the configuration cannot be used.

    ``form`` is the ``connection_specification``.
    """
    check("Configuration", config, _settled(form, config))
    provider = config["provider"]
    for option in ("base_url", "token_url"):
        if option in provider and not _is_url(provider[option]):
            raise config_error(f"Configuration: provider.{option} does not name a valid host.")
    _validate_start_date(config.get("start_date"))


def _validate_start_date(text: str | None) -> None:
    if text is None:
        return
    moment = timestamps.parse_or_none(text)
    if moment is None:
        raise config_error(
            "Configuration: start_date is not a date that exists; "
            "write it like this: 2024-01-01T00:00:00Z."
        )
    if moment > timestamps.now():
        raise config_error(
            "Configuration: start_date is in the future, so nothing would be read; "
            "choose a past date, or leave it out to read everything."
        )
    if moment < timestamps.EPOCH:
        raise config_error(
            "Configuration: start_date is before 1970; leave it out to read everything."
        )


def _is_url(text: str) -> bool:
    """Return whether a URL's host and port can exist. Its form has already been checked."""
    try:
        host = parse_url(text).host or ""
    except HTTPError:  # LocationParseError and related errors
        return False
    return all(0 < len(label) < 64 for label in host.split("."))


# -- options ---------------------------------------------------------------------------------------


def _options(form: Mapping[str, Any]) -> tuple[str, dict[str, Mapping[str, Any]]]:
    """Return the field that distinguishes the options of a ``oneOf``, and the options by value."""
    options = {}
    for option in form["oneOf"]:
        ((name, value),) = (
            (name, field["const"])
            for name, field in option["properties"].items()
            if "const" in field
        )
        options[value] = option
    return name, options


def _chosen(form: Mapping[str, Any], value: Any) -> Mapping[str, Any] | None:
    """Return the option of a ``oneOf`` that a value selects, or None."""
    name, options = _options(form)
    choice = value.get(name) if isinstance(value, Mapping) else None
    return options.get(choice) if isinstance(choice, str) else None


def _settled(form: Mapping[str, Any], value: Any, path: Place = ()) -> Mapping[str, Any]:
    """Return a form with each ``oneOf`` replaced by the chosen option.

    Raises a config_error for a value that does not choose an option. JSON schema alone would report
    an error for every option, without saying which one was meant.
    """
    if "oneOf" in form:
        chosen = _chosen(form, value)
        if chosen is None:
            raise config_error(f"Configuration: {'.'.join(path)}{_how_to_choose(form, value)}.")
        form = chosen
    fields = dict(form["properties"])
    for name, field in fields.items():
        if "oneOf" in field and (name in value or name in form.get("required", ())):
            fields[name] = _settled(field, value.get(name), (*path, name))
    return {**form, "properties": fields}


def _how_to_choose(form: Mapping[str, Any], value: Any) -> str:
    name, options = _options(form)
    if isinstance(value, Mapping):
        kind = "provider" if name == "name" else "known value"
        words = f"is not a {kind}" if name in value else "is missing"
        return f".{name} {words}; choose one of: {', '.join(options)}"
    named = options.get(value.lower()) if isinstance(value, str) else None
    words = "is missing; add it" if value is None else "must be an object"
    return f" {words} like this: {json.dumps(_example(named or form), ensure_ascii=False)}"


def _example(form: Mapping[str, Any]) -> Any:
    """Return an example to fill in: the first option, with required fields only."""
    if "oneOf" in form:
        return _example(form["oneOf"][0])
    if "properties" in form:
        return {name: _example(form["properties"][name]) for name in form["required"]}
    return form.get("const") or form.get("examples", ["…"])[0]


# -- settings that are not known -------------------------------------------------------------------


def unknown_settings(config: Mapping[str, Any], form: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning for each setting that is not in the form. It suggests the closest name.

    Keys that begin with two underscores belong to Airbyte.
    """
    known = list(_settings(form, config))
    for path in _given(config, {path[:-1] for path in known}):
        if path not in known and not path[-1].startswith("__"):
            place = ".".join(path).encode(errors="replace").decode()
            message = f"Configuration: {place} is not a known setting and is ignored."
            yield f"{message}{_advice(path, known)}"


def _settings(form: Mapping[str, Any], value: Any, path: Place = ()) -> Iterator[Place]:
    """Yield the path of each setting of the chosen option, or of all options if none is chosen."""
    chosen = [form]
    if "oneOf" in form:
        option = _chosen(form, value)
        chosen = [option] if option else form["oneOf"]
    for option in chosen:
        for name, field in option.get("properties", {}).items():
            yield (*path, name)
            inner = value.get(name) if isinstance(value, Mapping) else None
            yield from _settings(field, inner, (*path, name))


def _given(value: Mapping[str, Any], groups: set[Place], path: Place = ()) -> Iterator[Place]:
    """Yield the path of each key of a configuration, within the groups of settings."""
    for name, inner in value.items():
        yield (*path, name)
        if (*path, name) in groups and isinstance(inner, Mapping):
            yield from _given(inner, groups, (*path, name))


def _advice(path: Place, known: list[Place]) -> str:
    """Say where a misplaced setting belongs, or what a misspelled one probably means."""
    for other in known:
        if other[-1] == path[-1]:
            group = ".".join(other[:-1])
            return f" It belongs {f'in {group}' if group else 'next to provider, not in it'}."
    near = [other for other in known if other[:-1] == path[:-1]]
    for others in (near, known):
        names = {_plain(other[-1]): ".".join(other) for other in others}
        for name in get_close_matches(_plain(path[-1]), names, n=1):
            return f" Did you mean {names[name]}?"
    return ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
