"""Facts that are stated in several places agree: versions, hosts, streams, settings, messages."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from source_meetings import __version__
from source_meetings.manifest import manifest_of, providers, spec
from unit_tests.harness import cursor_of, definitions, key_of, run_command

ROOT = Path(__file__).parent.parent
METADATA: dict[str, Any] = yaml.safe_load((ROOT / "metadata.yaml").read_text())["data"]
DOCUMENTATION = " ".join((ROOT / "docs" / "meetings.md").read_text().split())
MESSAGES = " ".join((ROOT / "docs" / "errors.md").read_text().split())
MANIFESTS = {provider: manifest_of(provider) for provider in providers()}
STREAMS = sorted(definitions())


def found(pattern: str, path: str) -> str:
    match = re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)
    assert match, f"{path} has nothing like {pattern}"
    return match[1]


def test_the_version_is_the_same_everywhere():
    # Given each place with a version; where there are several, the newest one
    versions = {
        "metadata.yaml": METADATA["dockerImageTag"],
        "Dockerfile": found(r"^LABEL io\.airbyte\.version=(\S+)", "Dockerfile"),
        "CHANGELOG.md": found(r"^## \[(\d\S*)\]", "CHANGELOG.md"),
        "docs/meetings.md": found(r"^\| (\d+\.\d+\.\d+) \|", "docs/meetings.md"),
        "dbt/dbt_project.yml": found(r'^version: "(\S+)"', "dbt/dbt_project.yml"),
        "dbt/CHANGELOG.md": found(r"^## \[(\d\S*)\]", "dbt/CHANGELOG.md"),
        "dbt/README.md": found(r"^    revision: v(\S+)", "dbt/README.md"),
    }
    # Then it is that of the package, which setup.py uses
    assert versions == dict.fromkeys(versions, __version__)


def test_the_release_date_is_the_same_everywhere():
    dates = {
        "CHANGELOG.md": found(r"^## \[\d\S*\] - (\S+)", "CHANGELOG.md"),
        "docs/meetings.md": found(r"^\| \d+\.\d+\.\d+ \| (\S+)", "docs/meetings.md"),
        "dbt/CHANGELOG.md": found(r"^## \[\d\S*\] - (\S+)", "dbt/CHANGELOG.md"),
    }
    assert dates == dict.fromkeys(dates, METADATA["releaseDate"])


def test_the_specification_and_the_metadata_link_to_the_same_documentation():
    (message,) = run_command(["spec"]).of("SPEC")
    assert message["spec"]["documentationUrl"] == METADATA["documentationUrl"]


def test_the_name_and_the_base_image_are_the_same_everywhere():
    assert found(r"^LABEL io\.airbyte\.name=(\S+)", "Dockerfile") == METADATA["dockerRepository"]
    base = METADATA["connectorBuildOptions"]["baseImage"]
    assert found(r"^ARG BASE_IMAGE=(\S+)", "Dockerfile") == base
    assert re.fullmatch(r"\S+:[\w.]+@sha256:[0-9a-f]{64}", base)


def test_the_allowed_hosts_are_those_that_the_manifests_use():
    # Given the default of every URL in the form, and ExpoPlatform's example
    asked = set()
    for option in spec()["connection_specification"]["properties"]["provider"]["oneOf"]:
        for name in ("base_url", "token_url"):
            url = option["properties"].get(name, {})
            for example in [url["default"]] if "default" in url else url.get("examples", []):
                asked.add(str(urlsplit(example).hostname))
    # Then these and no other hosts are allowed, and the documentation names them
    allowed = set(METADATA["allowedHosts"]["hosts"])
    assert {re.sub(r"^[^.]+(?=\.expoplatform\.com$)", "*", host) for host in asked} == allowed
    assert all(f"`{host}`" in DOCUMENTATION for host in allowed if "*" not in host)


def hidden(field: dict[str, Any]) -> bool:
    return bool(field.get("airbyte_hidden"))


def properties(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in schema.get("properties", {}).items():
        yield name, value
        yield from properties(value)
    for option in schema.get("oneOf", []):
        yield from properties(option)


@pytest.mark.parametrize("provider", providers())
def test_every_visible_setting_is_in_the_documentation(provider):
    # Given the titles of the fields in the form
    form = spec()["connection_specification"]
    option = next(
        one
        for one in form["properties"]["provider"]["oneOf"]
        if one["properties"]["name"]["const"] == provider
    )
    shown = {
        field["title"]
        for schema in (option, form)
        for name, field in [*schema["properties"].items(), *properties(option)]
        if not hidden(field) and name not in ("name", "auth_type", "provider")
    }
    # Then the documentation for users names each
    missing = {title for title in shown if title.lower() not in DOCUMENTATION.lower()}
    assert missing <= {"Authentication"}


@pytest.mark.parametrize("provider", providers())
def test_every_field_of_the_form_has_a_position_a_title_and_a_description(provider):
    # Given the fields of a provider
    manifest = MANIFESTS[provider]["spec"]["connection_specification"]
    option = next(
        one
        for one in manifest["properties"]["provider"]["oneOf"]
        if one["properties"]["name"]["const"] == provider
    )
    orders = [field["order"] for field in option["properties"].values() if not hidden(field)]
    assert orders == list(range(len(orders)))
    for name, field in properties(option):
        # Then each has a title and, unless it only identifies an option, a description
        assert field.get("title"), name
        assert field.get("description") or "const" in field, name
        # And a field with a pattern describes the pattern
        assert ("pattern" in field) == ("pattern_descriptor" in field), name


def test_the_streams_that_are_suggested_exist():
    assert set(METADATA["suggestedStreams"]["streams"]) <= set(STREAMS)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_documentation_has_the_key_and_cursor_of_each_stream(stream):
    # Given the row of the table of streams, the first one that names the stream
    key = ", ".join(f"`{name}`" for name in key_of(stream))
    cursor = f"`{cursor_of(stream)}`" if cursor_of(stream) else "–"
    row = next(
        line
        for line in (ROOT / "docs" / "meetings.md").read_text().splitlines()
        if line.startswith(f"| `{stream}` |")
    )
    # Then it has the key and cursor of the stream
    assert [cell.strip() for cell in row.split("|")[2:4]] == [key, cursor]


MESSAGE_MAKERS = {
    "unexpected",
    "AirbyteTracedException",
    "AirbyteConnectionStatus",
    "Misconfigured",
    "ReadEverything",
    "Refused",
    "_malformed",
    "UnknownShape",
    "Untrustworthy",
    "UnusableState",
    "config_error",
    "unreadable",
    "warning",
}
MESSAGE_NAMES = {"message", "words", "problem", "cure", "_FORMS"}


def fragments(node: ast.AST) -> Iterator[str]:
    """Return the fixed parts of a message, between its values."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield from re.split(r"%[sd]|\.\d*f\b", part.value)


def messages_of_code() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "source_meetings").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            parts: list[ast.AST] = []
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in MESSAGE_MAKERS:
                    told = [one.value for one in node.keywords if one.arg == "message"]
                    parts = [*node.args, *told]
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                parts = [node.value] if node.targets[0].id in MESSAGE_NAMES else []
            for part in parts:
                yield from ((path.name, text) for text in fragments(part))


def error_messages(definition: Any) -> Iterator[str]:
    if isinstance(definition, dict):
        if "error_message" in definition:
            yield definition["error_message"]
        for part in definition.values():
            yield from error_messages(part)
    elif isinstance(definition, list):
        for part in definition:
            yield from error_messages(part)


def messages_of_manifests() -> Iterator[tuple[str, str]]:
    for provider, manifest in MANIFESTS.items():
        for words in error_messages(manifest["definitions"]):
            quoted = words.split("'")[1::2] if words.startswith("{{") else None
            for text in quoted or re.split(r"\{\{.*?\}\}|\{event_id\}", words):
                yield provider, text


def words_of(text: str) -> str:
    return " ".join(text.split()).strip(" .:;()")


def test_the_documentation_has_every_message_and_no_other():
    # Given every message that a user can see, without its values
    shown = {(where, words_of(text)) for where, text in messages_of_code()}
    shown |= {(where, words_of(text)) for where, text in messages_of_manifests()}
    sentences = {(where, text) for where, text in shown if len(text) > 24 and " " in text}
    assert len(sentences) > 60
    # Then the documentation has it, with its meaning and what to do
    told = MESSAGES.replace("`", "")
    assert sorted((where, text) for where, text in sentences if text not in told) == []
    # And the documentation has no message that the code no longer has
    quoted = {
        words_of(part) for text in re.findall("`([^`]+)`", MESSAGES) for part in text.split("…")
    }
    known = {text for _, text in shown if len(text) > 12}
    gone = {text for text in quoted if not any(one in text or text in one for one in known)}
    lost = "\n".join(sorted(text for text in gone if len(text) > 40))
    assert lost == ""


def test_the_icon_is_a_square_drawing():
    icon = ElementTree.parse(ROOT / METADATA["icon"]).getroot()
    left, top, width, height = map(float, icon.attrib["viewBox"].split())
    assert (left, top) == (0, 0) and width == height
    assert not [one for one in icon.iter() if one.tag.endswith(("image", "use", "text"))]


@pytest.mark.parametrize(
    "page",
    sorted(
        one.relative_to(ROOT).as_posix()
        for folder in (".", "docs", "dbt")
        for one in (ROOT / folder).glob("*.md")
    ),
)
def test_links_within_the_repository_are_valid(page):
    # Given the links on a page that are not web addresses
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        # Then the file exists and has the heading
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if anchor else []
        anchors = {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
        }
        assert not anchor or anchor in anchors, target
