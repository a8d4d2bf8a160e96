"""The rules of Airbyte's connector acceptance tests for a form, a catalog and its schemas.

They come from the classes ``TestSpec`` and ``TestDiscovery`` of
https://github.com/airbytehq/airbyte/tree/master/airbyte-integrations/bases/connector-acceptance-test
(``connector_acceptance_test/tests/test_core.py``), which need Docker, an account and Airbyte's own
test image. Here, each rule is a function that returns the faults it finds, with their paths. It
runs against the form of every provider and against every stream as ``discover`` reports it.

Two rules are only warnings there: a date field needs the pattern of the form's date picker, and a
field with that pattern needs the format. The first is adapted: our pattern must accept what the
picker writes, but it also accepts fractions of a second and offsets. The rule on data types is
skipped there, because too many connectors break it. It runs here.

Rules that do not apply:

- The specification equals ``spec.yaml`` or ``spec.json``: neither file exists. The form is in the
  manifests.
- Backward compatibility of specification and catalog: no earlier release exists to compare with.
- Labels and environment variables of the image: ``test_image.py`` checks them.
- OAuth: the paths in ``advanced_auth`` exist, and OAuth is the first choice. There is no
  ``advanced_auth``, and a test makes sure that nobody adds it without porting these two.
- ``test_required``, ``test_optional``, ``test_has_secret`` and ``test_secret_never_in_the_output``
  are empty.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest

from integration_tests.samples import sample
from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings.manifest import manifest_of, providers
from unit_tests.harness import run_command, write_json

Json = dict[str, Any]

# -- schemas and their nested schemas -------------------------------------------------------------

NAMED_SCHEMAS = ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas")
VALUES = ("const", "default", "enum", "examples")


def schemas(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Return a schema and all nested schemas, each with its path."""
    if isinstance(node, list):
        for number, inner in enumerate(node):
            yield from schemas(inner, (*path, str(number)))
    elif isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            if key in NAMED_SCHEMAS and isinstance(value, dict):
                for name, inner in value.items():
                    yield from schemas(inner, (*path, key, name))
            elif key not in VALUES:
                yield from schemas(value, (*path, key))


def kinds(schema: Json) -> set[str]:
    """Return the types of a schema, without null."""
    declared = schema.get("type", [])
    return set([declared] if isinstance(declared, str) else declared) - {"null"}


def field_of(path: tuple[str, ...]) -> str:
    """Return the name of the field that a schema describes: ``…/properties/<name>/items``."""
    names = [name for parent, name in zip(path, path[1:]) if parent == "properties"]
    return names[-1] if names else ""


def declared(schema: Json, path: list[str]) -> Json | None:
    """Return the schema of a field, nested or not, or None if it is not declared."""
    for name in path:
        schema = schema.get("properties", {}).get(name)
        if schema is None:
            return None
    return schema


def faults(path: tuple[str, ...], *found: str) -> list[str]:
    return [f"{'/'.join(path)}: {fault}" for fault in found]


# -- rules for the form ---------------------------------------------------------------------------

SECRETS = {
    *("access_token", "api_token", "app_id", "appid", "certificate", "client_secret"),
    *("client_token", "credentials", "jwt", "key", "password", "refresh_token", "secret"),
    *("service_account", "service_account_info", "tenant_id", "token"),
}
FORBIDDEN = {
    *("not", "anyOf", "allOf", "if", "then", "else"),
    *("patternProperties", "prefixItems", "dependentSchemas", "dependentRequired"),
}
DATE = "^[0-9]{2}-[0-9]{2}-[0-9]{4}$"
DATE_TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2})?$"
PICKED = {"date": "2024-01-31", "date-time": "2024-01-31T00:00:00Z"}


def invalid_values(form: Json, config: Json) -> list[str]:
    validator = jsonschema.Draft7Validator(form)
    validator.check_schema(form)
    return sorted(f"{error.json_path}: {error.message}" for error in validator.iter_errors(config))


def repeated_enum_values(form: Json) -> list[str]:
    return [
        fault
        for path, schema in schemas(form)
        for value, times in Counter(schema.get("enum", [])).items()
        if times > 1
        for fault in faults(path, f"the enum has {value!r} {times} times")
    ]


def indistinct_options(form: Json) -> list[str]:
    found = []
    for path, schema in schemas(form):
        options = schema.get("oneOf", [])
        if not options:
            continue
        if schema.get("type") != "object":
            found += faults(path, "has oneOf, and its type is not object")
        if not all("properties" in option for option in options):
            found += faults(path, "an option has no properties")
            continue
        common = set.intersection(*(set(option["properties"]) for option in options))
        fields = {name: [option["properties"][name] for option in options] for name in common}
        constant = [name for name in fields if all("const" in field for field in fields[name])]
        if len(constant) != 1:
            found += faults(path, f"the constants that the options have in common: {constant}")
        for name in constant:
            for field in fields[name]:
                const = field["const"]
                if field.get("default", const) != const or field.get("enum", [const]) != [const]:
                    found += faults(path, f"{name} has another default or enum than {const!r}")
    return found


def badly_marked_secrets(form: Json) -> list[str]:
    found = []
    for path, schema in schemas(form):
        if field_of(path).lower() not in SECRETS or "type" not in schema:
            continue
        can_hold_one = kinds(schema) & {"string", "integer", "number"} and not schema.get("const")
        marked = schema.get("airbyte_secret", False)
        if can_hold_one and not marked:
            found += faults(path, "is not marked as airbyte_secret")
        if marked and not can_hold_one:
            found += faults(path, "is marked as airbyte_secret and cannot hold a secret")
    return found


def several_types(form: Json) -> list[str]:
    return [
        fault
        for path, schema in schemas(form)
        if path[-2:-1] == ("properties",) and isinstance(schema.get("type"), list)
        if len(schema["type"]) != 1 and (len(schema["type"]) != 2 or schema["type"][1] != "null")
        for fault in faults(path, f"has the types {schema['type']}")
    ]


def empty_objects(form: Json) -> list[str]:
    return [
        fault
        for path, schema in schemas(form)
        if path and schema.get("type") == "object" and "oneOf" not in schema
        if not schema.get("properties")
        for fault in faults(path, "is an object without properties")
    ]


def unusable_items(form: Json) -> list[str]:
    found = []
    for path, schema in schemas(form):
        items = schema.get("items")
        if schema.get("type") != "array" or items is None:
            continue
        if isinstance(items, list):
            found += faults(path, "has several kinds of items")
        elif "enum" not in items:
            kind = items.get("type")
            if kind not in ("object", "string", "number", "integer"):
                found += faults(path, f"has items of the type {kind}")
    return found


def forbidden_keywords(form: Json) -> list[str]:
    return [
        fault
        for path, schema in schemas(form)
        for keyword in sorted(FORBIDDEN & schema.keys())
        for fault in faults(path, f"uses {keyword}")
    ]


def dates_that_the_picker_cannot_fill_in(form: Json) -> list[str]:
    return [
        fault
        for path, schema in schemas(form)
        if (picked := PICKED.get(schema.get("format", "")))
        if not re.search(schema.get("pattern", "(?!)"), picked)
        for fault in faults(path, f"has no pattern that {picked} matches")
    ]


def date_patterns_without_a_format(form: Json) -> list[str]:
    formats = {DATE: "date", DATE_TIME: "date-time"}
    return [
        fault
        for path, schema in schemas(form)
        if (format := formats.get(schema.get("pattern", "")))
        if schema.get("format") != format
        for fault in faults(path, f"has the pattern of a {format} and not its format")
    ]


def repeated_orders(form: Json) -> list[str]:
    found = []
    for path, schema in schemas(form):
        places = Counter(
            (field.get("group", ""), field["order"])
            for field in schema.get("properties", {}).values()
            if "order" in field
        )
        for (_, order), times in places.items():
            if times > 1:
                found += faults(path, f"{times} fields have order {order}")
    return found


def nested_groups(form: Json) -> list[str]:
    return [
        fault
        for path, schema in schemas(form)
        if path and "group" in schema and path[:-1] != ("properties",)
        for fault in faults(path, "has a group and is not at the top level")
    ]


def misplaced_display_types(form: Json) -> list[str]:
    found = []
    for path, schema in schemas(form):
        display = schema.get("display_type")
        if display is not None and "oneOf" not in schema:
            found += faults(path, "has a display_type and no oneOf")
        if display not in (None, "dropdown", "radio"):
            found += faults(path, f"has the display_type {display}")
    return found


def references(schema: Json) -> list[str]:
    return [
        fault
        for path, inner in schemas(schema)
        if "$ref" in inner
        for fault in faults(path, f"refers to {inner['$ref']}")
    ]


def forbidden_additional_properties(schema: Json) -> list[str]:
    return [
        fault
        for path, inner in schemas(schema)
        if inner.get("additionalProperties", True) is not True
        for fault in faults(path, "additionalProperties is not true")
    ]


def sign_in_by_airbyte(specification: Json) -> list[str]:
    return [name for name in ("advanced_auth", "authSpecification") if specification.get(name)]


# -- rules for the catalog ------------------------------------------------------------------------

TYPES = {"null", "string", "number", "integer", "boolean", "object", "array"}
FORMATS = {"date": {"string"}, "date-time": {"string"}}
AIRBYTE_TYPES = {
    "timestamp_with_timezone": {"string"},
    "timestamp_without_timezone": {"string"},
    "integer": {"integer", "number"},
}


def faults_of_discovery(messages: list[Json]) -> list[str]:
    catalogs = [message["catalog"] for message in messages if message["type"] == "CATALOG"]
    if len(catalogs) != 1:
        return [f"{len(catalogs)} catalogs"]
    streams = Counter(stream["name"] for stream in catalogs[0]["streams"])
    if not streams:
        return ["no streams"]
    return [f"{name} is there {times} times" for name, times in streams.items() if times > 1]


def invalid_schema(stream: Json) -> list[str]:
    validator = jsonschema.Draft7Validator(jsonschema.Draft7Validator.META_SCHEMA)
    errors = validator.iter_errors(stream["json_schema"])
    return [f"{error.json_path}: {error.message}" for error in errors]


def undeclared_cursor(stream: Json) -> list[str]:
    cursor = stream.get("default_cursor_field")
    return [f"{cursor}"] if cursor and declared(stream["json_schema"], cursor) is None else []


def forbidden_keywords_of_a_stream(stream: Json) -> list[str]:
    return [
        fault
        for path, schema in schemas(stream["json_schema"])
        for keyword in ("allOf", "not")
        if keyword in schema
        for fault in faults(path, f"uses {keyword}")
    ]


def undeclared_keys(stream: Json) -> list[str]:
    keys = stream.get("source_defined_primary_key") or []
    return [f"{key}" for key in keys if declared(stream["json_schema"], key) is None]


def missing_sync_modes(stream: Json) -> list[str]:
    return [] if stream.get("supported_sync_modes") else ["no sync mode"]


def unknown_data_types(stream: Json) -> list[str]:
    found = []
    for path, schema in schemas(stream["json_schema"]):
        if not kinds(schema) <= TYPES:
            found += faults(path, f"has the type {schema['type']}")
        for name, known in (("format", FORMATS), ("airbyte_type", AIRBYTE_TYPES)):
            value = schema.get(name)
            if value and (len(kinds(schema)) != 1 or not kinds(schema) <= known.get(value, set())):
                found += faults(path, f"has the {name} {value} with the type {schema['type']}")
    return found


def composite_keys(stream: Json) -> list[str]:
    return [
        f"{key}"
        for key in stream.get("source_defined_primary_key") or []
        if kinds(declared(stream["json_schema"], key) or {}) & {"object", "array"}
    ]


# -- every rule against the form of every provider ------------------------------------------------


@cache
def specification() -> Json:
    (message,) = run_command(["spec"]).of("SPEC")
    found: Json = message["spec"]
    return found


@pytest.fixture(params=("all providers", *providers()))
def form(request: pytest.FixtureRequest) -> Json:
    """Return the whole form, or the form with one provider chosen."""
    whole: Json = specification()["connectionSpecification"]
    if request.param == "all providers":
        return whole
    properties = whole["properties"]
    options = [
        option
        for option in properties["provider"]["oneOf"]
        if option["properties"]["name"]["const"] == request.param
    ]
    assert len(options) == 1
    chosen = {**properties["provider"], "oneOf": options}
    return {**whole, "properties": {**properties, "provider": chosen}}


@pytest.mark.parametrize("provider", providers())
def test_the_sample_configuration_fits_the_form(provider):
    config = sample(provider, "sample_config.json")
    assert invalid_values(specification()["connectionSpecification"], config) == []


def test_an_enum_names_each_value_once(form):
    assert repeated_enum_values(form) == []


def test_options_are_objects_with_one_constant_that_identifies_them(form):
    assert indistinct_options(form) == []


def test_exactly_the_fields_with_secrets_are_marked_as_secret(form):
    assert badly_marked_secrets(form) == []


def test_a_field_has_one_type_and_perhaps_null(form):
    assert several_types(form) == []


def test_an_object_has_properties_to_show(form):
    assert empty_objects(form) == []


def test_the_items_of_a_list_have_one_type_that_the_form_can_show(form):
    assert unusable_items(form) == []


def test_no_keyword_is_used_that_the_form_cannot_show(form):
    assert forbidden_keywords(form) == []


def test_a_date_field_accepts_what_the_date_picker_writes(form):
    assert dates_that_the_picker_cannot_fill_in(form) == []


def test_a_field_with_the_pattern_of_a_date_has_its_format(form):
    assert date_patterns_without_a_format(form) == []


def test_two_fields_of_a_group_never_have_the_same_order(form):
    assert repeated_orders(form) == []


def test_only_fields_at_the_top_level_have_a_group(form):
    assert nested_groups(form) == []


def test_only_options_have_a_display_type_and_it_is_dropdown_or_radio(form):
    assert misplaced_display_types(form) == []


def test_the_specification_has_no_references():
    assert references(specification()) == []


def test_the_form_never_forbids_additional_properties(form):
    assert forbidden_additional_properties(form) == []


def test_the_specification_has_no_advanced_auth_for_which_two_more_rules_apply():
    assert sign_in_by_airbyte(specification()) == []


# -- every rule against every stream --------------------------------------------------------------

STREAMS = sorted(manifest_of(providers()[0])["schemas"])


@cache
def discovery(provider: str) -> list[Json]:
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        config = ACCOUNTS[provider](box).config()
        return run_command(["discover", "--config", write_json(config)]).messages


@pytest.fixture(params=STREAMS)
def stream(request: pytest.FixtureRequest) -> Json:
    (found,) = (
        stream
        for message in discovery(request.param.partition("_")[0])
        if message["type"] == "CATALOG"
        for stream in message["catalog"]["streams"]
        if stream["name"] == request.param
    )
    return found


def test_the_rules_are_run_on_every_discovered_stream():
    messages = [message for provider in providers() for message in discovery(provider)]
    catalogs = [message["catalog"] for message in messages if message["type"] == "CATALOG"]
    assert sorted(stream["name"] for one in catalogs for stream in one["streams"]) == STREAMS


@pytest.mark.parametrize("provider", providers())
def test_discover_prints_one_catalog_with_each_stream_once(provider):
    assert faults_of_discovery(discovery(provider)) == []


def test_the_schema_of_a_stream_is_a_valid_json_schema(stream):
    assert invalid_schema(stream) == []


def test_the_cursor_of_a_stream_is_in_its_schema(stream):
    assert undeclared_cursor(stream) == []


def test_the_schema_of_a_stream_has_no_references(stream):
    assert references(stream["json_schema"]) == []


def test_the_schema_of_a_stream_uses_neither_allof_nor_not(stream):
    assert forbidden_keywords_of_a_stream(stream) == []


def test_the_primary_key_of_a_stream_is_in_its_schema(stream):
    assert undeclared_keys(stream) == []


def test_a_stream_has_a_sync_mode(stream):
    assert missing_sync_modes(stream) == []


def test_the_schema_of_a_stream_never_forbids_additional_properties(stream):
    assert forbidden_additional_properties(stream["json_schema"]) == []


def test_the_columns_of_a_stream_have_data_types_that_airbyte_supports(stream):
    assert unknown_data_types(stream) == []


def test_the_primary_key_of_a_stream_is_neither_an_object_nor_a_list(stream):
    assert composite_keys(stream) == []


# -- every rule finds a violation -----------------------------------------------------------------


def form_with(**fields: Any) -> Json:
    return {"type": "object", "properties": fields}


def choice(*options: Json, **more: Any) -> Json:
    return form_with(choice={"type": "object", "oneOf": list(options), **more})


def option(**fields: Any) -> Json:
    return {"type": "object", "properties": {"name": {"const": "a"}, **fields}}


def stream_with(columns: Json, **more: Any) -> Json:
    return {"name": "s", "json_schema": {"type": "object", "properties": columns}, **more}


TEXT = {"type": "string"}
VIOLATIONS_OF_A_FORM: list[tuple[Callable[..., list[str]], Any, str]] = [
    (repeated_enum_values, form_with(a={"enum": ["x", "y", "x"]}), "properties/a"),
    (indistinct_options, form_with(a={"oneOf": [option()]}), "properties/a: has oneOf"),
    (indistinct_options, choice(option(), {"type": "object"}), "an option has no properties"),
    (indistinct_options, choice(option(), option(name=TEXT)), "in common: []"),
    (indistinct_options, choice(option(), {"properties": {"b": TEXT}}), "in common: []"),
    (indistinct_options, choice(option(b={"const": 1}), option(b={"const": 2})), "in common: ["),
    (indistinct_options, choice(option(name={"const": "a", "default": "b"})), "another default"),
    (indistinct_options, choice(option(name={"const": "a", "enum": ["a", "b"]})), "or enum"),
    (badly_marked_secrets, form_with(password=TEXT), "properties/password: is not marked"),
    (badly_marked_secrets, form_with(Key={"type": ["integer", "null"]}), "is not marked"),
    (badly_marked_secrets, form_with(token={"type": "array", "items": TEXT}), "token/items"),
    (badly_marked_secrets, choice(option(jwt=TEXT)), "oneOf/0/properties/jwt: is not marked"),
    (
        badly_marked_secrets,
        form_with(token={"type": "boolean", "airbyte_secret": True}),
        "cannot hold a secret",
    ),
    (
        badly_marked_secrets,
        form_with(token={"type": "string", "const": "x", "airbyte_secret": True}),
        "cannot hold a secret",
    ),
    (several_types, form_with(a={"type": ["string", "integer"]}), "properties/a"),
    (several_types, form_with(a={"type": ["null", "string"]}), "properties/a"),
    (several_types, form_with(a={"type": ["string", "integer", "null"]}), "properties/a"),
    (empty_objects, form_with(a={"type": "object"}), "properties/a"),
    (empty_objects, form_with(a={"type": "object", "properties": {}}), "properties/a"),
    (unusable_items, form_with(a={"type": "array", "items": [TEXT]}), "several kinds"),
    (unusable_items, form_with(a={"type": "array", "items": {"type": "array"}}), "type array"),
    (
        unusable_items,
        form_with(a={"type": "array", "items": {"type": ["string", "object"]}}),
        "['string', 'object']",
    ),
    *(
        (forbidden_keywords, choice(option(a={word: {}})), f"uses {word}")
        for word in sorted(FORBIDDEN)
    ),
    (dates_that_the_picker_cannot_fill_in, form_with(a={"format": "date-time"}), "properties/a"),
    (
        dates_that_the_picker_cannot_fill_in,
        form_with(a={"format": "date", "pattern": DATE}),
        "properties/a",
    ),
    (date_patterns_without_a_format, form_with(a={"pattern": DATE}), "pattern of a date and"),
    (
        date_patterns_without_a_format,
        form_with(a={"pattern": DATE_TIME, "format": "date"}),
        "pattern of a date-time",
    ),
    (repeated_orders, form_with(a={"order": 1}, b={"order": 1}), "2 fields have order 1"),
    (repeated_orders, choice(option(a={"order": 1}, b={"order": 1})), "choice/oneOf/0"),
    (
        repeated_orders,
        form_with(a={"order": 1, "group": "x"}, b={"order": 1, "group": "x"}),
        "2 fields have order 1",
    ),
    (nested_groups, choice(option(a={"group": "x"})), "choice/oneOf/0/properties/a"),
    (misplaced_display_types, form_with(a={"display_type": "radio"}), "no oneOf"),
    (misplaced_display_types, choice(option(), display_type="tabs"), "display_type tabs"),
    (references, form_with(a={"$ref": "#/definitions/a"}), "properties/a"),
    (forbidden_additional_properties, {"additionalProperties": False}, "is not true"),
    (forbidden_additional_properties, form_with(a={"additionalProperties": TEXT}), "properties/a"),
    (sign_in_by_airbyte, {"advanced_auth": {"auth_flow_type": "oauth2.0"}}, "advanced_auth"),
]
VIOLATIONS_OF_A_CATALOG: list[tuple[Callable[..., list[str]], Any, str]] = [
    (faults_of_discovery, [{"type": "LOG"}], "0 catalogs"),
    (faults_of_discovery, [{"type": "CATALOG", "catalog": {"streams": []}}] * 2, "2 catalogs"),
    (faults_of_discovery, [{"type": "CATALOG", "catalog": {"streams": []}}], "no streams"),
    (
        faults_of_discovery,
        [{"type": "CATALOG", "catalog": {"streams": [{"name": "s"}, {"name": "s"}]}}],
        "s is there 2 times",
    ),
    (invalid_schema, stream_with({"a": {"type": "text"}}), "properties.a.type"),
    (undeclared_cursor, stream_with({"a": TEXT}, default_cursor_field=["b"]), "b"),
    (undeclared_cursor, stream_with({"a": TEXT}, default_cursor_field=["a", "b"]), "b"),
    (
        forbidden_keywords_of_a_stream,
        stream_with({"a": {"allOf": [TEXT]}}),
        "properties/a: uses allOf",
    ),
    (
        forbidden_keywords_of_a_stream,
        stream_with({"a": {"items": {"not": TEXT}}}),
        "properties/a/items: uses not",
    ),
    (undeclared_keys, stream_with({}, source_defined_primary_key=[["id"]]), "id"),
    (missing_sync_modes, stream_with({}), "no sync mode"),
    (missing_sync_modes, stream_with({}, supported_sync_modes=[]), "no sync mode"),
    (unknown_data_types, stream_with({"a": {"type": "text"}}), "the type text"),
    (
        unknown_data_types,
        stream_with({"a": {"type": "string", "format": "time"}}),
        "the format time",
    ),
    (
        unknown_data_types,
        stream_with({"a": {"type": ["integer", "null"], "format": "date-time"}}),
        "the format date-time with",
    ),
    (
        unknown_data_types,
        stream_with({"a": {"type": "string", "airbyte_type": "big_number"}}),
        "the airbyte_type big_number",
    ),
    (
        unknown_data_types,
        stream_with(
            {"a": {"type": "array", "items": {"type": "string", "airbyte_type": "integer"}}}
        ),
        "properties/a/items",
    ),
    (
        composite_keys,
        stream_with({"id": {"type": "object"}}, source_defined_primary_key=[["id"]]),
        "id",
    ),
    (
        composite_keys,
        stream_with({"id": {"type": ["array", "null"]}}, source_defined_primary_key=[["id"]]),
        "id",
    ),
]


@pytest.mark.parametrize(
    ("rule", "violation", "words"),
    [
        pytest.param(*case, id=f"{case[0].__name__}-{case[2]}")
        for case in VIOLATIONS_OF_A_FORM + VIOLATIONS_OF_A_CATALOG
    ],
)
def test_each_rule_finds_a_violation_and_its_path(rule, violation, words):
    # Given a form or a stream that breaks one rule
    # When the rule is run on it
    (fault,) = rule(violation)
    # Then it finds that fault only, with its path
    assert words in fault


def test_the_rule_on_sample_configurations_catches_a_value_that_does_not_fit():
    # Given a form with a number and a required field
    form = {**form_with(a={"type": "integer"}), "required": ["b"]}
    # Then a value of another type and a missing field are found, each with its path
    assert invalid_values(form, {"a": "1"}) == [
        "$.a: '1' is not of type 'integer'",
        "$: 'b' is a required property",
    ]
    # And a form that is not a valid schema is an error
    with pytest.raises(jsonschema.SchemaError):
        invalid_values({"type": "text"}, {})


WELL_FORMED = form_with(
    type={"type": "string", "order": 0, "group": "x"},  # properties with the names of keywords
    enum={"type": ["string", "null"], "order": 0, "enum": ["a", "b"]},
    token={"type": "string", "airbyte_secret": True, "order": 1},
    items={"type": "array", "items": {"enum": [1, 2]}},
    group={"type": "array", "items": {"type": "object", "properties": {"display_type": TEXT}}},
    choice={
        "type": "object",
        "display_type": "radio",
        "oneOf": [option(), option(name={"const": "b", "default": "b", "enum": ["b"]})],
        "default": {"additionalProperties": False, "not": 1},
    },
)


@pytest.mark.parametrize("rule", dict.fromkeys(case[0] for case in VIOLATIONS_OF_A_FORM))
def test_no_rule_mistakes_a_field_with_the_name_of_a_keyword_for_the_keyword(rule):
    assert rule(WELL_FORMED) == []
