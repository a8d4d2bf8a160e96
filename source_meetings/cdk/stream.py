"""A CDK stream whose slices, rows and states come from a strategy.

The CDK has no declarative component for such a stream (``CustomIncrementalSync`` is gone from its
schema). So it is built here from public parts: the CDK builds the components that the manifest
declares, and a ``DefaultStream`` gets our partitions and our cursor.
"""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any

from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    CustomRetriever as CustomRetrieverModel,
)
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    CustomTransformation as CustomTransformationModel,
)
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    InlineSchemaLoader as InlineSchemaLoaderModel,
)
from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import (
    ModelToComponentFactory,
)
from airbyte_cdk.sources.declarative.requesters import Requester
from airbyte_cdk.sources.declarative.retrievers import Retriever
from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.message import MessageRepository
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.streams.concurrent.partitions.partition_generator import PartitionGenerator
from airbyte_cdk.sources.streams.core import StreamData
from airbyte_cdk.sources.types import Record, StreamSlice
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.cdk.cursor import SyncCursor
from source_meetings.cdk.pages import Page
from source_meetings.cdk.requester import ApiRequester, DeclaredApi
from source_meetings.components import build
from source_meetings.connection import Connection
from source_meetings.errors import config_error
from source_meetings.sync.chain import LOGGER, Sync
from source_meetings.sync.reading import Misconfigured, Slice, Strategy, Untrustworthy


@dataclass
class StrategyRetriever(Retriever):
    """A manifest's definition of a stream that a strategy reads.

    ``strategy`` is its class and options. ``endpoints`` are the requesters it uses, the main one
    first. It reads nothing itself: see ``build_stream``.
    """

    strategy: Mapping[str, Any]
    endpoints: list[Requester]
    cursor_field: str
    config: Mapping[str, Any]
    name: str = ""
    parameters: InitVar[Mapping[str, Any] | None] = None
    api: DeclaredApi = field(init=False)

    def __post_init__(self, parameters: Mapping[str, Any] | None) -> None:
        requesters = [one for one in self.endpoints if isinstance(one, ApiRequester)]
        self.api = DeclaredApi(requesters)

    def build_strategy(self) -> Strategy:
        """Return the strategy. It keeps no sync data, so one instance can serve several syncs."""
        strategy: Strategy = build(
            self.strategy,
            Strategy,
            stream=self.name,
            cursor_field=self.cursor_field,
            config=self.config,
            api=self.api,
        )
        return strategy

    def read_records(
        self, records_schema: Mapping[str, Any], stream_slice: StreamSlice | None = None
    ) -> Iterable[StreamData]:
        raise NotImplementedError("a stream with a strategy is read through its sync")


class SyncPartition(Partition):
    """One slice of a sync, as the CDK's workers read it."""

    def __init__(self, slice: Slice, stream: "SyncPartitions") -> None:
        self._slice = slice
        self._stream = stream

    def read(self) -> Iterator[Record]:
        return self._stream.read(self._slice)

    def to_slice(self) -> Mapping[str, Any]:
        return self._slice.values

    def stream_name(self) -> str:
        return self._stream.name

    def __hash__(self) -> int:
        return id(self._slice)


class SyncPartitions(PartitionGenerator):
    """Passes the slices of a sync, and their rows after the manifest's transformations, to the CDK.

    ``path`` is the path in error messages.
    """

    def __init__(
        self,
        name: str,
        path: str,
        sync: Sync,
        config: dict[str, Any],
        transformations: Sequence[RecordTransformation],
    ) -> None:
        self.name = name
        self._path = path
        self._sync = sync
        self._config = config
        self._transformations = transformations

    def generate(self) -> Iterator[Partition]:
        try:
            for slice in self._sync.slices():
                yield SyncPartition(slice, self)
        except (Untrustworthy, Misconfigured, RecursionError) as error:
            raise self._in_words(error) from error

    def read(self, slice: Slice) -> Iterator[Record]:
        """Yield the pages of a slice. See ``pages``."""
        try:
            for rows in self._sync.read(slice):
                for transformation in self._transformations:
                    for row in rows:
                        transformation.transform(row, config=self._config)
                for page in Page.pages_of(self.name, rows):
                    yield page.as_record()
        except (Untrustworthy, Misconfigured, RecursionError) as error:
            raise self._in_words(error) from error

    def _in_words(self, error: Exception) -> AirbyteTracedException:
        if isinstance(error, Misconfigured):
            return config_error(f"{self.name}, {self._path}: {error}")
        if isinstance(error, RecursionError):  # orjson reads a little deeper than json writes
            error = Untrustworthy(
                "a record is nested too deeply to be written. Shorten it at the provider."
            )
        return AirbyteTracedException(
            message=f"{self.name}, {self._path}: {error}",
            internal_message=str(error),
            failure_type=FailureType.transient_error,
        )


def has_strategy(definition: Mapping[str, Any]) -> bool:
    """Return whether a manifest entry describes a stream that a strategy reads."""
    class_name = str(definition["retriever"].get("class_name"))
    return class_name.endswith(f".{StrategyRetriever.__name__}")


def build_stream(
    definition: Mapping[str, Any],
    factory: ModelToComponentFactory,
    connection: Connection,
    *,
    full_refresh: bool,
    state_manager: ConnectorStateManager,
    messages: MessageRepository,
) -> DefaultStream:
    """Return the stream that a manifest entry with a ``StrategyRetriever`` describes."""
    name = str(definition["name"])
    # The CDK passes the stream's name only to the retriever, but requests are counted per stream.
    endpoints = [{**endpoint, "name": name} for endpoint in definition["retriever"]["endpoints"]]
    retriever = factory.create_component(
        CustomRetrieverModel,
        {**definition["retriever"], "endpoints": endpoints},
        connection,
        name=name,
    )
    assert isinstance(retriever, StrategyRetriever)
    schema_loader = factory.create_component(
        InlineSchemaLoaderModel, definition["schema_loader"], connection
    )
    cursor = SyncCursor(
        retriever.build_strategy(),
        name,
        full_refresh=full_refresh,
        state_manager=state_manager,
        messages=messages,
        observer=connection.progress_of(name),
    )
    transformations = [
        factory.create_component(CustomTransformationModel, transformation, connection)
        for transformation in definition.get("transformations", ())
    ]
    path = f"GET /{retriever.api.path.strip('/')}"
    return DefaultStream(
        partition_generator=SyncPartitions(name, path, cursor.sync, connection, transformations),
        name=name,
        json_schema=schema_loader.get_json_schema,
        primary_key=list(definition["primary_key"]),
        cursor_field=cursor.cursor_field,
        logger=LOGGER,
        cursor=cursor,
    )
