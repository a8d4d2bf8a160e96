"""The connector: which provider's manifest a configuration means, and what is put around it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import orjson
import yaml
from airbyte_cdk.models import (
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStreamStatus,
    ConfiguredAirbyteCatalog,
    Status,
    SyncMode,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import (
    ConcurrentDeclarativeSource,
)
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    CustomRequester as CustomRequesterModel,
)
from airbyte_cdk.sources.declarative.parsers.manifest_component_transformer import (
    ManifestComponentTransformer,
)
from airbyte_cdk.sources.declarative.parsers.manifest_reference_resolver import (
    ManifestReferenceResolver,
)
from airbyte_cdk.sources.declarative.stream_slicers.declarative_partition_generator import (
    StreamSlicerPartitionGenerator,
)
from airbyte_cdk.sources.streams.concurrent.abstract_stream import AbstractStream
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.config import connector_spec, unknown_settings, validate
from source_meetings.credentials import ConnectionConfig
from source_meetings.http import ApiRequester
from source_meetings.progress import Progress, reported
from source_meetings.schema_check import config_error
from source_meetings.sync import Sync, SyncCursor

LOGGER = logging.getLogger("airbyte.source_meetings")
_MOST_RECORDS_QUEUED = 1000
CHECK_SECONDS = 18.0


@cache
def providers() -> tuple[str, ...]:
    """Return the names of the providers: each folder with a manifest is one."""
    folders = (resources.files("source_meetings") / "providers").iterdir()
    return tuple(sorted(folder.name for folder in folders if (folder / "manifest.yaml").is_file()))


@cache
def _manifest_file(provider: str) -> dict[str, Any]:
    file = resources.files("source_meetings") / "providers" / provider / "manifest.yaml"
    manifest: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return manifest


@cache
def _schemas() -> dict[str, Any]:
    try:
        folder = resources.files("source_meetings.schemas")
    except ModuleNotFoundError:  # run from a checkout, where the folder lies beside the package
        folder = Path(__file__).resolve().parent.parent / "schemas"
    return {
        entry.name.removesuffix(".json"): orjson.loads(entry.read_bytes())
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    }


def spec() -> dict[str, Any]:
    """Return the connector's specification, with one option per provider."""
    return connector_spec(
        {
            provider: _manifest_file(provider)["spec"]["connection_specification"]
            for provider in providers()
        }
    )


def manifest_of(provider: str) -> dict[str, Any]:
    """Return a provider's manifest with the stream schemas and the whole specification in it."""
    manifest: dict[str, Any] = orjson.loads(orjson.dumps(_manifest_file(provider)))
    return {**manifest, "schemas": _schemas(), "spec": spec()}


def _validate_options(options: Mapping[str, Any]) -> None:
    """Let the provider refuse what a JSON schema cannot: its package's ``validate_options``."""
    package = import_module(f"source_meetings.providers.{options['name']}")
    provider_check = getattr(package, "validate_options", None)
    if provider_check is not None:
        provider_check(options)


class SourceMeetings(ConcurrentDeclarativeSource):
    """One provider's streams, chosen by ``config["provider"]["name"]``.

    Catalog, configuration, state and the path of the configuration's file must be given here: the
    CDK resolves concurrency, cursors and state from the constructor alone. Without a configuration
    only ``spec`` can be answered. The path of the catalog's file is for error messages.

    Raises AirbyteTracedException (config_error) for a configuration that cannot be used, before a
    request is made. Settings that are not known are logged.
    """

    def __init__(
        self,
        catalog: ConfiguredAirbyteCatalog | None = None,
        config: Mapping[str, Any] | None = None,
        state: list[AirbyteStateMessage] | None = None,
        config_path: str | None = None,
        catalog_path: str | None = None,
    ) -> None:
        if config is not None:
            form = spec()["connection_specification"]
            for warning in unknown_settings(config, form):
                LOGGER.warning(warning)
            validate(config, form)
            _validate_options(config["provider"])
            config = ConnectionConfig(config, config_path)
        provider = config["provider"]["name"] if config else providers()[0]
        self._catalog = catalog
        self._catalog_path = catalog_path
        self._progress: dict[str, Progress] = {}
        super().__init__(
            catalog=catalog, config=config, state=state, source_config=manifest_of(provider)
        )
        # Ten thousand records by default, which are up to a hundred megabytes.
        self._concurrent_source._queue.maxsize = _MOST_RECORDS_QUEUED
        if config is not None:
            self._config = config

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """Return the configuration in use; take one late, as Airbyte's standard tests hand it over.

        The CDK's version also writes it into ``temp_dir``, secrets included.
        """
        if not self._config:
            self.__init__(self._catalog, config)  # type: ignore[misc]
        return self._config

    def streams(self, config: Mapping[str, Any]) -> list[AbstractStream]:
        """Return the provider's streams, each ``Sync`` with the cursor that saves its state."""
        return [self._with_own_parts(stream) for stream in super().streams(config)]

    def _with_own_parts(self, stream: AbstractStream) -> AbstractStream:
        """Put a Progress, and a SyncCursor, where the CDK has no place for one.

        ``CustomIncrementalSync`` is gone from the declarative schema, so the finished stream is
        taken apart here, and nowhere else.
        """
        progress = self._progress.setdefault(stream.name, Progress(stream.name))
        if not isinstance(stream, DefaultStream):
            return stream
        generator = stream._stream_partition_generator
        if not isinstance(generator, StreamSlicerPartitionGenerator):
            return stream
        sync = generator._partition_factory._retriever
        for requester in vars(sync).values():
            if isinstance(requester, ApiRequester):
                requester.client.progress = progress
        if not isinstance(sync, Sync):
            return stream
        cursor = SyncCursor(
            sync=sync,
            stream_name=stream.name,
            full_refresh=self._is_full_refresh(stream.name),
            state_manager=self._connector_state_manager,
            messages=self._message_repository,
            progress=progress,
        )
        generator._stream_slicer = cursor
        stream._cursor = cursor
        stream._cursor_field = cursor.cursor_field
        return stream

    def _is_full_refresh(self, name: str) -> bool:
        return any(
            configured.sync_mode == SyncMode.full_refresh
            for configured in (self._catalog.streams if self._catalog else [])
            if configured.stream.name == name
        )

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Read the catalog's streams; one that this provider does not have is refused first."""
        self._progress = {}
        known = {stream.name for stream in self.streams(self._config)}
        unknown = [
            stream.stream.name for stream in catalog.streams if stream.stream.name not in known
        ]
        if unknown:
            place = f"Catalog {self._catalog_path}" if self._catalog_path else "Catalog"
            verb = "is not a stream" if len(unknown) == 1 else "are not streams"
            message = (
                f"{place}: {', '.join(sorted(unknown))} {verb} of provider "
                f"{self._config['provider']['name']}, which has {', '.join(sorted(known))}. "
                "Refresh the connection's schema."
            )
            raise config_error(message)
        self._warn_of_states_that_are_not_used(known, state or [])
        with reported(self._progress):
            for line in super().read(logger, config, catalog, state):
                self._follow(line)
                yield line

    def _follow(self, message: AirbyteMessage) -> None:
        """Let the progress of a stream know what is printed of it."""
        if message.record is not None:
            self._progress[message.record.stream].rows += 1
        elif message.trace is not None and (now := message.trace.stream_status) is not None:
            progress = self._progress[now.stream_descriptor.name]
            if now.status == AirbyteStreamStatus.STARTED:
                progress.begin()
            elif now.status != AirbyteStreamStatus.RUNNING:
                progress.end(whole=now.status == AirbyteStreamStatus.COMPLETE)

    def _warn_of_states_that_are_not_used(
        self, known: set[str], states: list[AirbyteStateMessage]
    ) -> None:
        """A connection keeps the states of streams that it had with another provider before."""
        names = {state.stream.stream_descriptor.name for state in states if state.stream}
        if names - known:
            LOGGER.warning(
                "The state of %s is not used: provider %s has no such stream.",
                ", ".join(sorted(names - known)),
                self._config["provider"]["name"],
            )

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """Make the requests that the manifest lists under ``definitions.check``, at most 20 s."""
        outcome: Future[None] = Future()

        def work() -> None:
            try:
                self._make_check_requests()
                outcome.set_result(None)
            except BaseException as error:
                outcome.set_exception(error)

        # A daemon, for a pool's thread would keep the process until the provider has answered.
        threading.Thread(target=work, name="check", daemon=True).start()
        try:
            outcome.result(timeout=CHECK_SECONDS)
        except FutureTimeout:
            return AirbyteConnectionStatus(
                status=Status.FAILED,
                message=f"The provider did not answer within {CHECK_SECONDS:.0f} seconds. Check "
                "base_url and the network, and try again.",
            )
        except AirbyteTracedException as error:
            return AirbyteConnectionStatus(status=Status.FAILED, message=error.message)
        return AirbyteConnectionStatus(status=Status.SUCCEEDED)

    def _make_check_requests(self) -> None:
        self._prepare_for_stream_build()
        definitions = ManifestReferenceResolver().preprocess_manifest(
            manifest_of(self._config["provider"]["name"])
        )["definitions"]
        for definition in definitions["check"]:
            for_each = definition.pop("for_each", None)
            component = ManifestComponentTransformer().propagate_types_and_parameters(
                "", definition, {}
            )
            requester = self._constructor.create_component(
                CustomRequesterModel, component, self._config
            )
            assert isinstance(requester, ApiRequester)
            requester.client.hurry()
            # {"option": "event_ids", "parameter": "event_id"}: one request for each of the values
            values = self._config["provider"][for_each["option"]] if for_each else [None]
            for value in values:
                requester.send_request(
                    request_params={for_each["parameter"]: value} if for_each else None
                )
