"""The manifests: one per provider, with the shared parts and the schemas filled in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import orjson
import yaml
from airbyte_cdk.sources.declarative.interpolation import InterpolatedBoolean
from airbyte_cdk.sources.declarative.parsers.manifest_component_transformer import (
    ManifestComponentTransformer,
)
from airbyte_cdk.sources.declarative.parsers.manifest_reference_resolver import (
    ManifestReferenceResolver,
)

from source_meetings.config import connector_spec

Definition = dict[str, Any]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C version, if it was built
_PROVIDERS = resources.files("source_meetings") / "providers"


@cache
def providers() -> tuple[str, ...]:
    """Return the names of the providers: every folder that has a manifest."""
    folders = _PROVIDERS.iterdir()
    return tuple(sorted(folder.name for folder in folders if (folder / "manifest.yaml").is_file()))


def spec() -> Definition:
    """Return the connector's specification, with one option per provider."""
    options = {name: _resolved(name)["spec"]["connection_specification"] for name in providers()}
    return connector_spec(options)


def manifest_of(provider: str) -> Definition:
    """Return a provider's manifest as the CDK expects it: complete, with references resolved."""
    manifest = ManifestComponentTransformer().propagate_types_and_parameters(
        "", _copy(_resolved(provider)), {}
    )
    return {**manifest, "spec": spec()}


def streams_of(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> list[Definition]:
    """Return the stream definitions for a configuration."""
    found: list[Definition] = []
    for entry in manifest["streams"]:
        if entry["type"] != "ConditionalStreams":
            found.append(entry)
        elif InterpolatedBoolean(condition=entry["condition"], parameters={}).eval(config=config):
            found += entry["streams"]
    return found


def validate_options(options: Mapping[str, Any]) -> None:
    """Run the provider's ``validate_options``, for rules that a JSON schema cannot express."""
    package = import_module(f"source_meetings.providers.{options['name']}")
    provider_check = getattr(package, "validate_options", None)
    if provider_check is not None:
        provider_check(options)


@cache
def _resolved(provider: str) -> Definition:
    """Return a provider's manifest with all references resolved, and a schema for each stream."""
    manifest = _yaml(provider, "manifest.yaml")
    manifest["definitions"]["shared"] = _copy(_yaml("shared.yaml"))
    manifest["schemas"] = _schemas()
    for stream in _entries(manifest):
        schema = {"type": "InlineSchemaLoader", "schema": f"#/schemas/{stream['name']}"}
        stream.setdefault("schema_loader", schema)
    resolved: Definition = ManifestReferenceResolver().preprocess_manifest(manifest)
    return resolved


def _entries(manifest: Definition) -> list[Definition]:
    return [stream for entry in manifest["streams"] for stream in entry.get("streams", [entry])]


def _yaml(*path: str) -> Definition:
    text = _PROVIDERS.joinpath(*path).read_text(encoding="utf-8")
    content: Definition = yaml.load(text, Loader=_LOADER)
    return content


def _copy(definition: Definition) -> Definition:
    copy: Definition = orjson.loads(orjson.dumps(definition))
    return copy


@cache
def _schemas() -> Definition:
    try:
        folder: Any = resources.files("source_meetings.schemas")
    except ModuleNotFoundError:  # run from a checkout, where the folder is next to the package
        folder = Path(__file__).resolve().parent.parent / "schemas"
    return {
        entry.name.removesuffix(".json"): orjson.loads(entry.read_bytes())
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    }
