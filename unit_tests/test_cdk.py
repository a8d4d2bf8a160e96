"""What the connector knows of the CDK that its documentation does not promise.

One test for each place that depends on it. If one fails after an upgrade, then the comment of that
place, which the test names, is no longer true: either the code there can go, or it has to change.
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
    """The module's docstring: so the stream is built by hand."""
    assert not hasattr(declarative_component_schema, "CustomIncrementalSync")


@dataclass
class Endpoint:
    """A component of ours, in the place of a requester."""

    config: Mapping[str, Any]
    name: str = "no name"
    parameters: InitVar[Mapping[str, Any] | None] = None


@dataclass
class Manifested:
    """A component of ours, in the place of a retriever. Keeps what the factory hands to it."""

    strategy: Mapping[str, Any]
    endpoints: list[Endpoint]
    config: Mapping[str, Any]
    name: str = ""
    parameters: InitVar[Mapping[str, Any] | None] = None


class OurConfig(dict[str, Any]):
    """As our ``Connection`` is one."""


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


def test_the_factory_hands_the_name_of_a_stream_to_the_retriever_and_not_to_its_parts() -> None:
    """``build_stream`` puts it into each endpoint."""
    made = manifested({})
    assert made.name == "rows"
    assert [endpoint.name for endpoint in made.endpoints] == ["no name"]


def test_the_factory_hands_the_very_configuration_on_to_every_component() -> None:
    """``connection``: the configuration carries what the components share."""
    config = OurConfig(provider={})
    made = manifested(config)
    assert made.config is config
    assert made.endpoints[0].config is config


# -- components.py --------------------------------------------------------------------------------


def test_the_factory_passes_an_object_without_a_type_on_as_it_is() -> None:
    """The module's docstring: so parts of a manifest can be ours."""
    part = {"class_name": "some.Strategy", "key": ["id"], "part": {"look_back": 7}}
    assert manifested({}).strategy == part


# -- cdk/cursor.py --------------------------------------------------------------------------------


def test_a_stream_without_a_cursor_saves_a_state_that_a_cursor_has_to_know() -> None:
    """``SyncCursor`` does not take it for one of its own."""
    cursor = FinalStateCursor("rows", None, InMemoryMessageRepository())
    assert cursor.state == {NO_CURSOR_STATE_KEY: True}


# -- cdk/requester.py and transport/client.py -----------------------------------------------------


@pytest.mark.parametrize("body", ["<html>", '{"rows": [', ""])
def test_the_decoder_takes_a_body_that_it_cannot_read_for_an_empty_object(body: str) -> None:
    """``AnswerRows`` and the docstring of ``transport.client``: so it is not used."""
    found = list(JsonDecoder(parameters={}).decode(response(200, body)))
    assert found and not any(found)


def test_the_error_handler_has_no_rule_for_retry_after_unless_it_is_configured() -> None:
    """The docstring of ``transport.client``: so its waits are not used."""
    assert DefaultErrorHandler(config={}, parameters={}).backoff_strategies is None


@pytest.mark.parametrize("status", [*range(400, 430), 451, *range(500, 512), 599])
def test_error_messages_that_the_cdk_makes_up_can_be_told_by_how_they_begin(status: int) -> None:
    """``_WORDS_OF_THE_CDK``: some hold whole bodies, so they are never shown."""
    handler = DefaultErrorHandler(config={}, parameters={})
    words = handler.interpret_response(response(status, "a secret")).error_message
    begins = ("HTTP Status Code:", "Response was not ok:", "Unexpected response")
    assert not words or words.startswith(begins)


def test_a_budget_that_is_spent_says_how_long_to_wait() -> None:
    """``ApiClient`` waits itself, because the CDK does so without a word."""
    rates = [Rate(limit=1, interval=timedelta(minutes=1))]
    policy = MovingWindowCallRatePolicy(rates=rates, matchers=[HttpRequestMatcher()])
    budget = APIBudget([policy])
    request = response(200).request
    budget.acquire_call(request, block=False)
    with pytest.raises(CallRateLimitHit) as hit:
        budget.acquire_call(request, block=False)
    assert timedelta() < hit.value.time_to_wait <= timedelta(minutes=1)


# -- transport/interpolation.py and transport/auth.py ---------------------------------------------


def test_what_a_template_gives_is_read_as_a_literal_of_python() -> None:
    """``one_at_a_time`` is there because two threads may not do that at once."""
    assert JinjaInterpolation().eval("{{ config['n'] }}", {"n": "[1, 2]"}) == [1, 2]


def test_a_token_is_read_as_a_literal_of_python() -> None:
    """The docstring of ``transport.auth``: so the CDK's authenticators are not used."""
    config = {"token": "1_000"}
    provider = InterpolatedStringTokenProvider(config, "{{ config['token'] }}", {})
    assert BearerAuthenticator(provider, config, parameters={}).token == "Bearer 1000"


# -- entrypoint.py --------------------------------------------------------------------------------


class Configured(Source):
    """A source that notes what is in the directory that it is configured with."""

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


def test_the_entry_point_has_the_configuration_written_into_a_temporary_directory(
    tmp_path: Path,
) -> None:
    """The module's docstring: so ``Entrypoint`` has a ``run`` of its own."""
    file = tmp_path / "config.json"
    file.write_text('{"api_key": "a secret"}')
    source = Configured()
    arguments = argparse.Namespace(command="check", config=str(file), debug=False)
    list(AirbyteEntrypoint(source).run(arguments))
    assert "a secret" in source.written["config.json"]


# -- run.py ---------------------------------------------------------------------------------------


class Failing(PartitionGenerator):
    """Two slices, each of which fails."""

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


def test_a_stream_that_fails_has_an_error_for_each_slice_and_then_one_that_is_nobodys_fault() -> (
    None
):
    """``_launch`` prints the first one of a stream, and not the last one of all."""
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
    found: list[AirbyteMessage] = []
    with pytest.raises(AirbyteTracedException) as raised:
        found.extend(source.read([stream]))  # keeps what came before the error
    errors = [one.trace.error for one in found if one.trace and one.trace.error]
    assert {error.message for error in errors} == {"slice a broke", "slice b broke"}
    assert {error.failure_type for error in errors} == {FailureType.transient_error}
    assert raised.value.failure_type == FailureType.config_error


def test_the_log_formatter_prints_debug_messages_that_the_protocol_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``output._LogFormatter`` makes LOG messages of them."""
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    record = logging.LogRecord("airbyte", logging.DEBUG, "", 0, "words", None, None)
    assert json.loads(AirbyteLogFormatter().format(record))["type"] == "DEBUG"


def test_logs_are_written_by_a_stream_handler_of_the_root_logger() -> None:
    """``send_logs_to_standard_output`` finds it by its formatter."""
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        init_logger("airbyte")
        found = [one for one in root.handlers if isinstance(one.formatter, AirbyteLogFormatter)]
        assert found and all(isinstance(one, logging.StreamHandler) for one in found)
    finally:
        root.handlers[:] = before


# -- cdk/pages.py, entrypoint.py ------------------------------------------------------------------


def test_the_cdk_counts_pages_for_rows_in_one_log_line(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``not_a_count_of_pages``: its line leaves the log, because progress has the right count."""
    # Given a list of 150 meetings, which is two pages, and a log that keeps the CDK's line
    monkeypatch.setattr("source_meetings.source.not_a_count_of_pages", lambda _: True)
    monkeypatch.setattr(SourceInPages().logger, "filters", [])
    account = ACCOUNTS["salesloft"].with_rows(box, 150)
    # When it is read
    output = read(account.config(), None, account.streams[:1])
    # Then the line counts fewer records than there are
    (counted,) = (line for line in output.logs if line.startswith("Read "))
    assert int(counted.split()[1]) < len(output.records()) == 150


def test_the_entry_point_keeps_its_memory_monitor_where_ours_replaces_it() -> None:
    """``Entrypoint.__init__``: it counts messages, which are pages, so ours looks more often."""
    assert isinstance(vars(AirbyteEntrypoint(SourceMeetings()))["_memory_monitor"], MemoryMonitor)
