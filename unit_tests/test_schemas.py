"""The schemas, compared with the providers' documentation and the sandbox, and their history.

`samples/` has the rows that vendors show and the fields that they list, with their page as
`source`. ExpoPlatform shows no answer; its rows are kept unchanged in `raw`.

    python -m unit_tests.test_schemas      record the schemas of this version, once they are correct
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings import __version__, timestamps
from source_meetings.providers.salesloft.components import IdsAsText
from unit_tests.harness import Json, key_of, read

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).parent / "schemas.json"
SCHEMAS: dict[str, Json] = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "schemas").glob("*.json"))
}
SAMPLES: dict[str, Json] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parent / "samples").glob("*.json"))
}


def kinds(schema: Json) -> set[str]:
    declared = schema["type"]
    return {declared} if isinstance(declared, str) else set(declared)


def every_property(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    for name, value in schema.get("properties", {}).items():
        yield path + name, value
        yield from every_property(value, f"{path}{name}.")
    if isinstance(schema.get("items"), dict):
        yield from every_property(schema["items"], f"{path[:-1]}[].")


def undeclared(schema: Json, value: Any, path: str = "") -> Iterator[str]:
    """Return the keys of a value that are not in its schema. Without properties, any key may be."""
    if isinstance(value, dict) and schema.get("properties"):
        for key, inner in value.items():
            if key in schema["properties"]:
                yield from undeclared(schema["properties"][key], inner, f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    for inner in value if isinstance(value, list) else []:
        yield from undeclared(schema.get("items", {}), inner, f"{path}[]")


def faults(stream: str, row: Json) -> list[str]:
    """Return what is wrong with a row, according to the schema of its stream."""
    checker = jsonschema.FormatChecker()
    checker.checks("date-time")(
        lambda value: value is None or bool(timestamps.parse_or_none(value))
    )
    validator = jsonschema.Draft7Validator(SCHEMAS[stream], format_checker=checker)
    wrong = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(row)]
    return wrong + [f"{key} is not declared" for key in undeclared(SCHEMAS[stream], row)]


# -- against the documents ------------------------------------------------------------------------

ROWS = [
    pytest.param(stream, row, id=f"{name}-{stream}")
    for name, sample in SAMPLES.items()
    for stream in sample["streams"]
    for row in sample["rows"]
]
FIELDS = [
    pytest.param(stream, sample["fields"], id=f"{name}-{stream}")
    for name, sample in SAMPLES.items()
    for stream in sample["streams"]
    if sample["fields"]
]


@pytest.mark.parametrize(("stream", "row"), ROWS)
def test_every_key_of_a_documented_row_is_declared_with_its_type(stream, row):
    # Given a row from the vendor's documentation, after the connector's changes
    row = dict(row)
    if stream == "salesloft_meetings":
        IdsAsText(fields=["account_id", "task_id", "meeting_type_id"]).transform(row)
    # Then the schema has every key, and every value fits
    assert faults(stream, row) == []


@pytest.mark.parametrize(("stream", "fields"), FIELDS)
def test_every_documented_field_is_declared_with_its_type(stream, fields):
    # Given the paths of the vendor's fields, and their types
    declared = dict(every_property(SCHEMAS[stream]))
    for path, kind in fields.items():
        # When each is looked up in the schema
        schema = declared[path.removesuffix("[]")]
        if path.endswith("[]"):
            assert "array" in kinds(schema), path
            schema = schema["items"]
        # Then the schema has it with that type
        if kind == "date-time":
            assert schema.get("format") == "date-time", path
        else:
            assert kinds(schema) - {"null"} == {kind}, path


def test_every_documented_stream_has_a_sample():
    sampled = {stream for sample in SAMPLES.values() for stream in sample["streams"]}
    assert SCHEMAS.keys() - sampled == {"expoplatform_meeting_participants"}
    assert all("https://" in sample["source"] for sample in SAMPLES.values())


# -- against the sandbox --------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ACCOUNTS)
def test_every_key_of_a_record_is_declared_with_its_type(box: Sandbox, provider):
    # Given an account, before and after changes
    account = ACCOUNTS[provider].sample(box)
    config = account.config()
    first = read(config)
    box.clock.advance(minutes=10)
    account.change_for_demo()
    later = read(config, first.last_states())
    # When every record is compared with the schema of its stream
    wrong = set()
    for message in first.of("RECORD") + later.of("RECORD"):
        stream, row = message["record"]["stream"], message["record"]["data"]
        wrong |= {f"{stream}: {fault}" for fault in faults(stream, row)}
    # Then every key is declared, every value fits, and every stream has records
    assert wrong == set()
    streams = {message["record"]["stream"] for message in first.of("RECORD")}
    assert streams == {name for name in SCHEMAS if name.startswith(provider)}


# -- the schemas themselves -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", SCHEMAS)
def test_a_schema_follows_the_conventions(stream):
    # Given a stream's schema
    schema = SCHEMAS[stream]
    keys = key_of(stream)
    # Then it is valid, allows additional fields, and requires only the key
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["additionalProperties"] is True and sorted(schema["required"]) == sorted(keys)
    for path, value in every_property(schema):
        # And every field has a description and one type, and is nullable unless it is in the key
        assert value.get("description", "").strip(), path
        assert ("null" in kinds(value)) == (path not in keys), path
        assert len(kinds(value) - {"null"}) == 1, path
        if value.get("format") == "date-time":
            assert value["airbyte_type"] == "timestamp_with_timezone", path


# -- their history --------------------------------------------------------------------------------


def columns(schema: Any) -> Any:
    """Return the schema without its texts: the parts that affect a table."""
    if isinstance(schema, dict):
        return {
            name: {key: columns(inner) for key, inner in value.items()}
            if name == "properties"
            else columns(value)
            for name, value in schema.items()
            if name not in ("description", "title")
        }
    return schema


def digests() -> dict[str, str]:
    return {
        stream: hashlib.sha256(json.dumps(columns(schema), sort_keys=True).encode()).hexdigest()
        for stream, schema in SCHEMAS.items()
    }


def test_a_changed_schema_is_in_the_changelog():
    # Given the schemas that were recorded with each version
    record: dict[str, dict[str, str]] = json.loads(RECORD.read_text())
    # Then those of this version are the current ones
    changed = [s for s, digest in digests().items() if record.get(__version__, {}).get(s) != digest]
    assert not changed, (
        f"The schemas of {', '.join(changed)} are not those of version {__version__}. If it has "
        "been released, choose the next version (a column that is removed or changes its type is a "
        "breaking change) and describe the change, with the stream, in CHANGELOG.md. Then run: "
        "python -m unit_tests.test_schemas"
    )
    # And the changelog of this version names each stream whose schema differs from the last version
    versions = list(record)
    assert versions[-1] == __version__
    before = record[versions[-2]] if len(versions) > 1 else {}
    part = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1]
    assert part.startswith(f"[{__version__}]")
    for stream in record[__version__].keys() | before.keys():
        if record[__version__].get(stream) != before.get(stream):
            assert f"`{stream}`" in part, f"CHANGELOG.md does not name {stream}"


if __name__ == "__main__":
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    RECORD.write_text(json.dumps({**recorded, __version__: digests()}, indent=2) + "\n")
