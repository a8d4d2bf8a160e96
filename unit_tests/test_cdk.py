"""What the connector knows of the CDK that its documentation does not promise.

There is one test per place that depends on it. If a test fails after an upgrade, the comment at the
place that it names has become false, and the code there must be changed or can be deleted.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass
from datetime import timedelta
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import requests
from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.logger import AirbyteLogFormatter, init_logger
from airbyte_cdk.models import (
    AirbyteConnectionStatus,
    AirbyteMessage,
    ConnectorSpecification,
    FailureType,
    Status,
)
from airbyte_cdk.sources import Source
from airbyte_cdk.sources.concurrent_source.concurrent_source import ConcurrentSource
from airbyte_cdk.sources.declarative.auth.token import BearerAuthenticator
from airbyte_cdk.sources.declarative.auth.token_provider import InterpolatedStringTokenProvider
from airbyte_cdk.sources.declarative.decoders import JsonDecoder
from airbyte_cdk.sources.declarative.interpolation.jinja import JinjaInterpolation
from airbyte_cdk.sources.declarative.models import declarative_component_schema
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    CustomRetriever as CustomRetrieverModel,
)
from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import (
    ModelToComponentFactory,
)
from airbyte_cdk.sources.declarative.requesters.error_handlers import DefaultErrorHandler
from airbyte_cdk.sources.message import InMemoryMessageRepository, MessageRepository
from airbyte_cdk.sources.streams import NO_CURSOR_STATE_KEY
from airbyte_cdk.sources.streams.call_rate import (
    APIBudget,
    CallRateLimitHit,
    HttpRequestMatcher,
    MovingWindowCallRatePolicy,
    Rate,
)
from airbyte_cdk.sources.streams.concurrent.cursor import FinalStateCursor
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.streams.concurrent.partitions.partition_generator import PartitionGenerator
from airbyte_cdk.sources.types import Record
from airbyte_cdk.sources.utils.slice_logger import DebugSliceLogger
from airbyte_cdk.utils.memory_monitor import MemoryMonitor
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings.source import SourceInPages, SourceMeetings
from unit_tests.harness import read


def response(status: int, text: str = "") -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer.raw = io.BytesIO(text.encode())
    answer.request = requests.Request("GET", "https://api.acme.test/v1/rows").prepare()
    return answer


# -- cdk/stream.py --------------------------------------------------------------------------------


def test_the_schema_has_no_component_for_a_cursor_of_ours() -> None:
    """See the module's docstring. That is why the stream is built by hand."""
    assert not hasattr(declarative_component_schema, "CustomIncrementalSync")


@dataclass
class Endpoint:
    """Our component in place of a requester."""

    config: Mapping[str, Any]
    name: str = "no name"
    parameters: InitVar[Mapping[str, Any] | None] = None


@dataclass
class Manifested:
    """Our component in place of a retriever. Keeps what the factory passes to it."""

    strategy: Mapping[str, Any]
    endpoints: list[Endpoint]
    config: Mapping[str, Any]
    name: str = ""
    parameters: InitVar[Mapping[str, Any] | None] = None


class OurConfig(dict[str, Any]):
    """A subclass of dict, as our ``Connection`` is."""


def manifested(config: Mapping[str, Any]) -> Manifested:
    definition = {
        "type": "CustomRetriever",
        "class_name": f"{__name__}.Manifested",
        "strategy": {"class_name": "some.Strategy", "key": ["id"], "part": {"look_back": 7}},
        "endpoints": [{"type": "CustomRequester", "class_name": f"{__name__}.Endpoint"}],
    }
    factory = ModelToComponentFactory()
    made = factory.create_component(CustomRetrieverModel, definition, config, name="rows")
    assert isinstance(made, Manifested)
    return made


def test_the_factory_passes_the_stream_name_to_the_retriever_and_not_to_its_parts() -> None:
    """That is why ``build_stream`` sets it in each endpoint."""
    made = manifested({})
    assert made.name == "rows"
    assert [endpoint.name for endpoint in made.endpoints] == ["no name"]


def test_the_factory_passes_the_same_configuration_object_to_every_component() -> None:
    """See ``connection``: the configuration carries the objects that components share."""
    config = OurConfig(provider={})
    made = manifested(config)
    assert made.config is config
    assert made.endpoints[0].config is config


# -- components.py --------------------------------------------------------------------------------


def test_the_factory_passes_on_an_object_without_a_type_unchanged() -> None:
    """See the module's docstring. That is why a manifest can have parts of our own."""
    part = {"class_name": "some.Strategy", "key": ["id"], "part": {"look_back": 7}}
    assert manifested({}).strategy == part


# -- cdk/cursor.py --------------------------------------------------------------------------------


def test_a_stream_without_a_cursor_saves_a_state_with_a_key_of_the_cdk() -> None:
    """``SyncCursor`` must not mistake it for a state of its own."""
    cursor = FinalStateCursor("rows", None, InMemoryMessageRepository())
    assert cursor.state == {NO_CURSOR_STATE_KEY: True}


# -- cdk/requester.py and transport/client.py -----------------------------------------------------


@pytest.mark.parametrize("body", ["<html>", '{"rows": [', ""])
def test_the_decoder_turns_an_unreadable_body_into_an_empty_object(body: str) -> None:
    """See ``AnswerRows`` and the docstring of ``transport.client``. It is not used."""
    found = list(JsonDecoder(parameters={}).decode(response(200, body)))
    assert found and not any(found)


def test_the_error_handler_ignores_retry_after_unless_it_is_configured() -> None:
    """See the docstring of ``transport.client``. Its waits are not used."""
    assert DefaultErrorHandler(config={}, parameters={}).backoff_strategies is None


@pytest.mark.parametrize("status", [*range(400, 430), 451, *range(500, 512), 599])
def test_the_cdks_own_error_messages_start_with_known_words(status: int) -> None:
    """See ``_WORDS_OF_THE_CDK``: some contain whole bodies, so they are never shown."""
    handler = DefaultErrorHandler(config={}, parameters={})
    words = handler.interpret_response(response(status, "a secret")).error_message
    begins = ("HTTP Status Code:", "Response was not ok:", "Unexpected response")
    assert not words or words.startswith(begins)


def test_a_spent_budget_says_how_long_to_wait() -> None:
    """``ApiClient`` waits itself, because the CDK would wait without logging it."""
    # Given a budget of one request a minute
    rates = [Rate(limit=1, interval=timedelta(minutes=1))]
    policy = MovingWindowCallRatePolicy(rates=rates, matchers=[HttpRequestMatcher()])
    budget = APIBudget([policy])
    request = response(200).request
    # When a second one is to be sent at once, then the error has the time until it may be
    budget.acquire_call(request, block=False)
    with pytest.raises(CallRateLimitHit) as hit:
        budget.acquire_call(request, block=False)
    assert timedelta() < hit.value.time_to_wait <= timedelta(minutes=1)


# -- transport/interpolation.py and transport/auth.py ---------------------------------------------


def test_the_result_of_a_template_is_parsed_as_a_python_literal() -> None:
    """Two threads must not do that at once, hence ``one_at_a_time``."""
    assert JinjaInterpolation().eval("{{ config['n'] }}", {"n": "[1, 2]"}) == [1, 2]


def test_a_token_is_parsed_as_a_python_literal() -> None:
    """See the docstring of ``transport.auth``. The CDK's authenticators are not used."""
    config = {"token": "1_000"}
    provider = InterpolatedStringTokenProvider(config, "{{ config['token'] }}", {})
    assert BearerAuthenticator(provider, config, parameters={}).token == "Bearer 1000"


# -- entrypoint.py --------------------------------------------------------------------------------


class Configured(Source):
    """A source that records the files in the directory that it is configured with."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}

    def configure(self, config: Mapping[str, Any], temp_dir: str) -> Mapping[str, Any]:
        configured: Mapping[str, Any] = super().configure(config, temp_dir)
        self.written = {file.name: file.read_text() for file in Path(temp_dir).iterdir()}
        return configured

    def spec(self, logger: logging.Logger) -> ConnectorSpecification:
        return ConnectorSpecification(connectionSpecification={})

    def check(self, logger: logging.Logger, config: Mapping[str, Any]) -> AirbyteConnectionStatus:
        return AirbyteConnectionStatus(status=Status.SUCCEEDED)

    def discover(self, *_: Any) -> Any:
        raise NotImplementedError

    def read(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def test_the_cdks_entry_point_writes_the_configuration_to_a_temporary_directory(
    tmp_path: Path,
) -> None:
    """See the module's docstring. That is why ``Entrypoint`` has its own ``run``."""
    file = tmp_path / "config.json"
    file.write_text('{"api_key": "a secret"}')
    source = Configured()
    arguments = argparse.Namespace(command="check", config=str(file), debug=False)
    list(AirbyteEntrypoint(source).run(arguments))
    assert "a secret" in source.written["config.json"]


# -- run.py ---------------------------------------------------------------------------------------


class Failing(PartitionGenerator):
    """Two slices that both fail."""

    def generate(self) -> Iterator[Partition]:
        yield FailingPartition("a")
        yield FailingPartition("b")


class FailingPartition(Partition):
    def __init__(self, name: str) -> None:
        self._name = name

    def read(self) -> Iterable[Record]:
        words = f"slice {self._name} broke"
        raise AirbyteTracedException(message=words, failure_type=FailureType.transient_error)

    def to_slice(self) -> Mapping[str, Any]:
        return {"name": self._name}

    def stream_name(self) -> str:
        return "rows"

    def __hash__(self) -> int:
        return hash(self._name)


def test_a_failed_stream_has_an_error_per_slice_and_then_a_config_error() -> None:
    """``_launch`` prints only the first error of a stream, and not the final one."""
    messages: MessageRepository = InMemoryMessageRepository()
    stream = DefaultStream(
        partition_generator=Failing(),
        name="rows",
        json_schema={},
        primary_key=[],
        cursor_field=None,
        logger=logging.getLogger("airbyte"),
        cursor=FinalStateCursor("rows", None, messages),
    )
    source = ConcurrentSource.create(
        num_workers=2,
        initial_number_of_partitions_to_generate=1,
        logger=logging.getLogger("airbyte"),
        slice_logger=DebugSliceLogger(),
        message_repository=messages,
        queue=Queue(),
    )
    # When both slices of the only stream fail
    found: list[AirbyteMessage] = []
    with pytest.raises(AirbyteTracedException) as raised:
        found.extend(source.read([stream]))  # keeps the messages before the error
    # Then each has a message, and the run ends with one more error, wrongly a config_error
    errors = [one.trace.error for one in found if one.trace and one.trace.error]
    assert {error.message for error in errors} == {"slice a broke", "slice b broke"}
    assert {error.failure_type for error in errors} == {FailureType.transient_error}
    assert raised.value.failure_type == FailureType.config_error


def test_the_log_formatter_prints_debug_messages_that_are_not_in_the_protocol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``output._LogFormatter`` turns them into LOG messages."""
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    record = logging.LogRecord("airbyte", logging.DEBUG, "", 0, "words", None, None)
    assert json.loads(AirbyteLogFormatter().format(record))["type"] == "DEBUG"


def test_logs_are_written_by_a_stream_handler_of_the_root_logger() -> None:
    """``send_logs_to_standard_output`` finds it by its formatter."""
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        # When the CDK sets up its logs, then its formatter is on handlers of the root logger
        init_logger("airbyte")
        found = [one for one in root.handlers if isinstance(one.formatter, AirbyteLogFormatter)]
        assert found and all(isinstance(one, logging.StreamHandler) for one in found)
    finally:
        root.handlers[:] = before


# -- cdk/pages.py, entrypoint.py ------------------------------------------------------------------


def test_the_cdk_counts_pages_as_records_in_one_log_line(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``not_a_count_of_pages`` removes that line, because progress logs the right count."""
    # Given 150 meetings on two pages, and a log that keeps the CDK's line
    monkeypatch.setattr("source_meetings.source.not_a_count_of_pages", lambda _: True)
    monkeypatch.setattr(SourceInPages().logger, "filters", [])
    account = ACCOUNTS["salesloft"].with_rows(box, 150)
    # When they are read
    output = read(account.config(), None, account.streams[:1])
    # Then the line counts fewer records than there are meetings
    (counted,) = (line for line in output.logs if line.startswith("Read "))
    assert int(counted.split()[1]) < len(output.records()) == 150


def test_the_cdks_entry_point_keeps_its_memory_monitor_in_the_attribute_that_ours_replaces() -> (
    None
):
    """See ``Entrypoint.__init__``: a message of ours is a page, so ours checks more often."""
    assert isinstance(vars(AirbyteEntrypoint(SourceMeetings()))["_memory_monitor"], MemoryMonitor)
