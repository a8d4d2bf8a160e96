"""The requester that manifests name: the CDK's, with our own client and checked answers."""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, cast
from urllib.parse import quote

import requests
from airbyte_cdk.sources.declarative.extractors.record_extractor import RecordExtractor
from airbyte_cdk.sources.declarative.requesters.error_handlers import DefaultErrorHandler
from airbyte_cdk.sources.declarative.requesters.http_requester import HttpRequester
from airbyte_cdk.sources.declarative.requesters.paginators import Paginator
from airbyte_cdk.sources.declarative.requesters.paginators.strategies import (
    CursorPaginationStrategy,
)
from airbyte_cdk.sources.declarative.requesters.request_options import (
    InterpolatedRequestOptionsProvider,
)
from airbyte_cdk.sources.types import StreamSlice, StreamState

from source_meetings import timestamps
from source_meetings.components import build
from source_meetings.connection import Connection
from source_meetings.sync.reading import Answer
from source_meetings.transport.answer import AnswerShape, AnyObject, ListOfRows
from source_meetings.transport.auth import ProviderAuthenticator
from source_meetings.transport.client import Accepted, ApiClient
from source_meetings.transport.interpolation import one_at_a_time
from source_meetings.transport.parsing import parse_json
from source_meetings.transport.waits import RateLimit

_NO_SLICE = StreamSlice(partition={}, cursor_slice={})


@dataclass
class ApiRequester(HttpRequester):
    """One endpoint of a provider.

    ``url_base``, ``path``, ``request_parameters``, ``request_headers``, ``authenticator`` and
    ``error_handler`` are the same as in the CDK's HttpRequester. ``provider`` is the provider's
    name in messages. ``endpoint`` is the name that a strategy uses for this endpoint. ``answer`` is
    the shape of a good answer (see ``transport.answer``), ``rate_limit`` is how the provider
    announces its limit (see ``transport.waits``), and ``paginator`` is how pages are requested.

    In the message of an error filter, ``{name}`` is replaced by the request's parameter ``name``.
    """

    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: InitVar[Mapping[str, Any] | None] = None
    request_parameters: Mapping[str, Any] = field(default_factory=dict)
    request_headers: Mapping[str, Any] = field(default_factory=dict)
    provider: str = "the provider"
    endpoint: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    rate_limit: Mapping[str, Any] = field(default_factory=dict)
    paginator: Paginator | None = None

    def __post_init__(self, parameters: Mapping[str, Any] | None) -> None:
        parameters = parameters or {}
        self.name = self.name or str(parameters.get("name") or "check")
        self.request_options_provider = InterpolatedRequestOptionsProvider(
            request_parameters=dict(self.request_parameters),
            request_headers=dict(self.request_headers),
            config=self.config,
            parameters=parameters,
        )
        super().__post_init__(parameters)
        connection, auth = self.config, self.authenticator
        # SourceMeetings passes the first to every component, and each manifest declares the second.
        assert isinstance(connection, Connection) and isinstance(auth, ProviderAuthenticator)
        # What does not depend on the slice is built once.
        self._base = self.get_url_base().rstrip("/")
        self._params = dict(self.get_request_params())
        headers = self.get_request_headers()
        self._headers = {name: str(value) for name, value in headers.items()}
        kind = ListOfRows if "rows" in self.answer else AnyObject
        self.shape: AnswerShape = build(self.answer, kind)
        strategy = getattr(self.paginator, "pagination_strategy", None)
        self.pages_by_token = isinstance(strategy, CursorPaginationStrategy)
        if self.pages_by_token and isinstance(self.shape, ListOfRows) and not self.shape.following:
            raise ValueError(
                f"{self.name}, endpoint {self.endpoint}: its paginator needs the token of the next "
                "page, and answer.following does not say where that is"
            )
        self.client = ApiClient(
            provider=self.provider,
            stream=self.name,
            auth=auth,
            errors=self.error_handler or DefaultErrorHandler(config=connection, parameters={}),
            limit=build(self.rate_limit, RateLimit),
            budget=self.api_budget,
            pace=connection.pace,
            progress=lambda: connection.progress_of(self.name),
        )

    @property
    def page_size(self) -> int:
        """The number of rows per page, or 0 without a paginator."""
        size = getattr(self.paginator, "get_page_size", None)
        return (size() if size else None) or 0

    def ask(
        self,
        params: Mapping[str, str],
        page: str | int | None = None,
        partition: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send a request to the endpoint. See ``sync.reading.Api.get``."""
        paging: Mapping[str, Any] = {}
        if self.paginator is not None:
            token = None if page is None else {"next_page_token": page}
            paging = self.paginator.get_request_params(next_page_token=token)
        quoted = {name: quote(str(value), safe="") for name, value in (partition or {}).items()}
        stream_slice = StreamSlice(partition=quoted, cursor_slice={}) if quoted else _NO_SLICE
        sent = {**self._params, **paging, **params}
        accepted = self._send(sent, stream_slice)
        clock = timestamps.server_time(accepted.response.headers)
        if accepted.body is None:
            return Answer([], clock, status=accepted.response.status_code)
        content = self.shape.content(accepted.body, sent)
        return Answer(
            content.rows,
            clock,
            body=accepted.body,
            total=content.total,
            pages=content.pages,
            more=content.more,
            following=content.following,
        )

    def send_request(
        self,
        stream_state: StreamState | None = None,
        stream_slice: StreamSlice | None = None,
        next_page_token: Mapping[str, Any] | None = None,
        path: str | None = None,
        request_headers: Mapping[str, Any] | None = None,
        request_params: Mapping[str, Any] | None = None,
        request_body_data: Mapping[str, Any] | str | None = None,
        request_body_json: Mapping[str, Any] | None = None,
        log_formatter: Callable[[requests.Response], Any] | None = None,
    ) -> requests.Response | None:
        """Send a request for one of the CDK's own retrievers."""
        sent = {**self._params, **(request_params or {})}
        return self._send(sent, stream_slice or _NO_SLICE).response

    def _send(self, params: dict[str, Any], stream_slice: StreamSlice) -> Accepted:
        return self.client.send(
            self.get_method().value,
            self.address(stream_slice),
            params,
            self._headers,
            self.shape.problem,
        )

    def address(self, stream_slice: StreamSlice = _NO_SLICE) -> str:
        """Return the URL, without parameters."""
        with one_at_a_time:
            path = self.get_path(stream_slice=stream_slice)
        return f"{self._base}/{path}"


class DeclaredApi:
    """The endpoints of one stream, by their names in the manifest. See ``sync.reading.Api``."""

    def __init__(self, requesters: Iterable[ApiRequester]) -> None:
        self._endpoints = {requester.endpoint: requester for requester in requesters}
        self._main = next(iter(self._endpoints.values()))

    @property
    def provider(self) -> str:
        return self._main.provider

    @property
    def path(self) -> str:
        """The path of the stream's main endpoint (the first one), for messages."""
        return self._main.get_path()

    def url(self, endpoint: str) -> str:
        """Return the URL of an endpoint, without parameters."""
        return self._endpoints[endpoint].address()

    def get(
        self,
        endpoint: str,
        params: Mapping[str, str] | None = None,
        *,
        page: str | int | None = None,
        partition: Mapping[str, Any] | None = None,
    ) -> Answer:
        return self._endpoints[endpoint].ask(params or {}, page, partition)

    def page_size(self, endpoint: str) -> int:
        return self._endpoints[endpoint].page_size

    def pages_by_token(self, endpoint: str) -> bool:
        return self._endpoints[endpoint].pages_by_token


@dataclass
class AnswerRows(RecordExtractor):
    """Extracts the rows from an answer that ``ApiRequester`` has accepted.

    For the streams that one of the CDK's own retrievers reads. The CDK's DpathExtractor walks the
    whole document for each page, and its decoder treats a broken body as an empty one.
    """

    rows: str

    def extract_records(self, response: requests.Response) -> Iterable[Mapping[str, Any]]:
        rows = parse_json(response.content)[self.rows]
        return cast("Iterable[Mapping[str, Any]]", rows)
