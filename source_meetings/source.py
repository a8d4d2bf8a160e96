"""The connector: a configuration, and the streams of its provider.

The CDK's declarative source is not used as a base class: it does not support custom cursors or a
custom queue length. Its public parts are used: the factory builds the components that a manifest
declares, and the concurrent source reads the streams.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from queue import Queue
from typing import Any

from airbyte_cdk.models import (
    AirbyteCatalog,
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteStateMessage,
    AirbyteStreamStatus,
    ConfiguredAirbyteCatalog,
    ConnectorSpecification,
    Level,
    SyncMode,
)
from airbyte_cdk.sources import Source
from airbyte_cdk.sources.concurrent_source.concurrent_source import ConcurrentSource
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.declarative.concurrency_level import ConcurrencyLevel
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    ConcurrencyLevel as ConcurrencyLevelModel,
)
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    DeclarativeStream as DeclarativeStreamModel,
)
from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import (
    ModelToComponentFactory,
)
from airbyte_cdk.sources.message import InMemoryMessageRepository, MessageRepository
from airbyte_cdk.sources.message.concurrent_repository import ConcurrentMessageRepository
from airbyte_cdk.sources.streams.concurrent.abstract_stream import AbstractStream
from airbyte_cdk.sources.streams.concurrent.partitions.types import QueueItem
from airbyte_cdk.sources.utils.slice_logger import DebugSliceLogger

from source_meetings import check as checking
from source_meetings.cdk.pages import Page, not_a_count_of_pages
from source_meetings.cdk.stream import build_stream, has_strategy
from source_meetings.config import unknown_settings, validate
from source_meetings.connection import Connection
from source_meetings.errors import config_error
from source_meetings.manifest import Definition, manifest_of, spec, streams_of, validate_options
from source_meetings.progress import reported

LOGGER = logging.getLogger("airbyte.source_meetings")
_MOST_PAGES_QUEUED = 8


class SourceMeetings(Source):
    """One provider's streams, chosen by ``config["provider"]["name"]``.

    Without a configuration, only ``spec`` works. ``config_path`` is the configuration's file, where
    renewed tokens are written. ``catalog_path`` is for error messages.

    Raises AirbyteTracedException (config_error) for an unusable configuration, before any request
    is made. Unknown settings are logged.
    """

    def __init__(
        self,
        catalog: ConfiguredAirbyteCatalog | None = None,
        config: Mapping[str, Any] | None = None,
        state: list[AirbyteStateMessage] | None = None,
        config_path: str | None = None,
        catalog_path: str | None = None,
    ) -> None:
        self.logger = logging.getLogger(f"airbyte.{self.name}")
        self.logger.addFilter(not_a_count_of_pages)
        self._catalog = catalog
        self._catalog_path = catalog_path
        self._state = state
        self._connection: Connection | None = None
        self._manifest: Definition = {}
        self._messages: MessageRepository = InMemoryMessageRepository(Level.INFO)
        if config is not None:
            self._connect(config, config_path)

    def _connect(self, config: Mapping[str, Any], config_path: str | None = None) -> Connection:
        form = spec()["connection_specification"]
        for warning in unknown_settings(config, form):
            LOGGER.warning(warning)
        validate(config, form)
        validate_options(config["provider"])
        self._connection = Connection(config, config_path)
        self._manifest = manifest_of(config["provider"]["name"])
        return self._connection

    # -- commands ---------------------------------------------------------------------------------

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        """Return the configuration. Airbyte's standard tests pass it here and not at the start.

        The CDK's version also writes it into ``temp_dir``, including secrets.
        """
        return self._connection or self._connect(config)

    def spec(self, logger: logging.Logger) -> ConnectorSpecification:
        """Return the form, with one option per provider."""
        specification = spec()
        return ConnectorSpecification(
            connectionSpecification=specification["connection_specification"],
            documentationUrl=specification["documentation_url"],
        )

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        """Make the requests that the manifest lists under ``check``."""
        connection = self._connected()
        return checking.check(self._manifest, self._factory(None, self._messages), connection)

    def discover(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteCatalog:
        """Return the catalog of the provider's streams."""
        return AirbyteCatalog(
            streams=[stream.as_airbyte_stream() for stream in self.streams(config)]
        )

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Read the catalog's streams. Refuse a catalog with a stream that this provider lacks."""
        for message in self._read(catalog, state):
            page = Page.carried_by(message)
            if page is None:
                yield message
            else:
                yield from page.messages()

    def _read(
        self, catalog: ConfiguredAirbyteCatalog, state: list[AirbyteStateMessage] | None
    ) -> Iterator[AirbyteMessage]:
        connection = self._connected()
        connection.forget_progress()
        queue: Queue[QueueItem] = Queue(maxsize=_MOST_PAGES_QUEUED)
        repository = InMemoryMessageRepository(Level.INFO)
        self._messages = ConcurrentMessageRepository(queue, repository)
        states = state or self._state or []
        streams = {one.name: one for one in self._streams(catalog, states, self._messages)}
        self._refuse_unknown_streams(catalog, streams)
        self._warn_of_states_that_are_not_used(states, streams)
        selected = [streams[configured.stream.name] for configured in catalog.streams]
        workers = self._workers()
        source = ConcurrentSource.create(
            num_workers=workers,
            initial_number_of_partitions_to_generate=max(workers // 2, 1),
            logger=self.logger,
            slice_logger=DebugSliceLogger(),
            message_repository=self._messages,
            queue=queue,
        )
        with reported(connection.streams):
            for message in source.read(selected):
                _follow(connection, message)
                yield message

    @property
    def message_repository(self) -> MessageRepository:
        """Holds the messages that are not part of a command's return value."""
        return self._messages

    # -- streams ----------------------------------------------------------------------------------

    def streams(self, config: Mapping[str, Any]) -> list[AbstractStream]:
        """Return the provider's streams."""
        return self._streams(self._catalog, self._state or [], self._messages)

    def _streams(
        self,
        catalog: ConfiguredAirbyteCatalog | None,
        states: list[AirbyteStateMessage],
        messages: MessageRepository,
    ) -> list[AbstractStream]:
        connection = self._connected()
        state_manager = ConnectorStateManager(state=states)
        factory = self._factory(catalog, messages, state_manager)
        streams: list[AbstractStream] = []
        for definition in streams_of(self._manifest, connection):
            if not has_strategy(definition):
                streams.append(
                    factory.create_component(DeclarativeStreamModel, definition, connection)
                )
                continue
            stream = build_stream(
                definition,
                factory,
                connection,
                full_refresh=_is_full_refresh(catalog, definition["name"]),
                state_manager=state_manager,
                messages=messages,
            )
            streams.append(stream)
        return streams

    def _factory(
        self,
        catalog: ConfiguredAirbyteCatalog | None,
        messages: MessageRepository,
        state_manager: ConnectorStateManager | None = None,
    ) -> ModelToComponentFactory:
        factory = ModelToComponentFactory(
            message_repository=messages,
            configured_catalog=catalog,
            connector_state_manager=state_manager,
        )
        if "api_budget" in self._manifest:
            factory.set_api_budget(self._manifest["api_budget"], self._connected())
        return factory

    def _workers(self) -> int:
        level = self._factory(None, self._messages).create_component(
            ConcurrencyLevelModel, self._manifest["concurrency_level"], self._connected()
        )
        assert isinstance(level, ConcurrencyLevel)
        return level.get_concurrency_level()

    def _connected(self) -> Connection:
        assert self._connection is not None, "this command needs a configuration"
        return self._connection

    def _refuse_unknown_streams(
        self, catalog: ConfiguredAirbyteCatalog, known: Mapping[str, AbstractStream]
    ) -> None:
        unknown = sorted({one.stream.name for one in catalog.streams} - set(known))
        if not unknown:
            return
        place = f"Catalog {self._catalog_path}" if self._catalog_path else "Catalog"
        verb = "is not a stream" if len(unknown) == 1 else "are not streams"
        raise config_error(
            f"{place}: {', '.join(unknown)} {verb} of provider "
            f"{self._connected().provider['name']}, which has {', '.join(sorted(known))}. "
            "Refresh the connection's schema."
        )

    def _warn_of_states_that_are_not_used(
        self, states: list[AirbyteStateMessage], known: Mapping[str, AbstractStream]
    ) -> None:
        """A connection keeps the states of streams that it had with a previous provider."""
        names = {state.stream.stream_descriptor.name for state in states if state.stream}
        if names - set(known):
            LOGGER.warning(
                "The state of %s is not used: provider %s has no such stream.",
                ", ".join(sorted(names - set(known))),
                self._connected().provider["name"],
            )


class SourceInPages(SourceMeetings):
    """The same source, for a reader that accepts pages of rows in messages. See ``cdk.pages``."""

    def read(
        self,
        logger: logging.Logger,
        config: Mapping[str, Any],
        catalog: ConfiguredAirbyteCatalog,
        state: list[AirbyteStateMessage] | None = None,
    ) -> Iterator[AirbyteMessage]:
        """Read the catalog's streams. Refuse a catalog with a stream that this provider lacks."""
        yield from self._read(catalog, state)


def _is_full_refresh(catalog: ConfiguredAirbyteCatalog | None, name: str) -> bool:
    return any(
        configured.sync_mode == SyncMode.full_refresh
        for configured in (catalog.streams if catalog else [])
        if configured.stream.name == name
    )


def _follow(connection: Connection, message: AirbyteMessage) -> None:
    """Update a stream's progress from a printed message."""
    if message.record is not None:
        page = Page.carried_by(message)
        connection.progress_of(message.record.stream).rows += page.count if page else 1
    elif message.trace is not None and (now := message.trace.stream_status) is not None:
        progress = connection.progress_of(now.stream_descriptor.name)
        if now.status == AirbyteStreamStatus.STARTED:
            progress.begin()
        elif now.status != AirbyteStreamStatus.RUNNING:
            progress.end(whole=now.status == AirbyteStreamStatus.COMPLETE)
