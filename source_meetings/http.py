"""How requests are sent, retried and judged: the one place where the CDK's HTTP client is left.

Why (measured with airbyte-cdk 7.39.1): its decoder turns a body it cannot read into ``{}``, that is
into an empty page; ``Retry-After`` is ignored unless it is configured, and then only as a number; a
refused connection ends a sync as a ``system_error``; retries wait without jitter; request headers
are written to the debug log, and whole bodies into error messages. What remains of it is the
session, the call-rate budget, the interpolation of the manifest's options and its error filters.
"""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
import json
import logging
import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.declarative.extractors.record_extractor import RecordExtractor
from airbyte_cdk.sources.declarative.requesters.http_requester import HttpRequester
from airbyte_cdk.sources.declarative.requesters.request_options import (
    InterpolatedRequestOptionsProvider,
)
from airbyte_cdk.sources.streams.http import HttpClient
from airbyte_cdk.sources.streams.http.error_handlers.response_models import ResponseAction
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.credentials import ProviderAuthenticator

LOGGER = logging.getLogger("airbyte.source_meetings")

_LONGEST_SINGLE_WAIT_SECONDS = 300.0
_MOST_REDIRECTS = 5
_MOST_RENEWALS = 5
_RETRYABLE = (ResponseAction.RETRY, ResponseAction.RATE_LIMITED)


def answer(response: requests.Response) -> Any:
    """Return the JSON body of a response that ``ApiClient`` has accepted, parsed once."""
    return response.meetings_answer  # type: ignore[attr-defined]


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text; raises ValueError when it is not whole.

    orjson refuses lone surrogates and very deep nesting and rounds integers beyond 64 bits;
    providers send what people typed, so the standard library has the second say.
    """
    if not _HUGE_INTEGER.search(content):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


_HUGE_INTEGER = re.compile(rb"(?<![\d.\"eE+-])-?\d{19,}(?![\d.eE])")


@dataclass
class Attempt:
    """What came of sending a request once. ``problem`` is None when the answer is good."""

    response: requests.Response | None = None
    problem: str | None = None
    retry: bool = False
    failure_type: FailureType = FailureType.transient_error
    detail: str = ""


class ApiClient(HttpClient):
    """Sends a prepared request until the answer is good, or it is clear that it will not be."""

    def __init__(self, *, records_in: str | None, where: str, **options: Any) -> None:
        super().__init__(**options)
        self._records_in = records_in
        self._where = where
        self.stream = self._name
        self.max_tries = (self._error_handler.max_retries or 0) + 1
        self.max_seconds = float(self._error_handler.max_time or 600)

    def _send_with_retry(
        self,
        request: requests.PreparedRequest,
        request_kwargs: Mapping[str, Any],
        log_formatter: Any = None,
        exit_on_rate_limit: bool | None = False,
    ) -> requests.Response:
        started = time.monotonic()
        tries = 0
        renewals = 0
        auth = self._session.auth
        while True:
            attempt = self._try_once(request, request_kwargs)
            sent = request.headers.get("Authorization")
            if attempt.problem is None:
                assert attempt.response is not None
                if isinstance(auth, ProviderAuthenticator):
                    auth.accepted = sent
                return attempt.response
            # A token that has been good before has ended since; one that never was is refused.
            if (
                isinstance(auth, ProviderAuthenticator)
                and renewals < _MOST_RENEWALS
                and (renewals == 0 or auth.accepted == sent)
                and self._renew_credentials(request, attempt)
            ):
                renewals += 1
                continue
            tries += 1
            if not attempt.retry:
                raise self._error(request, attempt, attempt.problem)
            wait = self._wait_seconds(attempt, tries)
            spent = time.monotonic() - started
            if tries >= self.max_tries or spent + wait > self.max_seconds:
                raise self._error(
                    request,
                    attempt,
                    f"{attempt.problem} Tried {tries} times in {spent:.0f} seconds.",
                )
            LOGGER.info(
                "%s: %s Waiting %.1f seconds before try %d of %d.",
                self._endpoint(request),
                attempt.problem,
                wait,
                tries + 1,
                self.max_tries,
            )
            time.sleep(wait)
            if isinstance(self._session.auth, ProviderAuthenticator):
                self._session.auth(request)

    def _try_once(
        self, request: requests.PreparedRequest, request_kwargs: Mapping[str, Any]
    ) -> Attempt:
        options = {
            **request_kwargs,
            "timeout": self._request_timeout,
            "allow_redirects": False,
        }
        try:
            response = self._session.send(request, **options)
            for _ in range(_MOST_REDIRECTS):
                following = response.next
                if following is None:
                    break
                if _origin(following) != _origin(request):
                    # requests would follow without the credentials; whatever answers there is
                    # not the provider, so its rows are not the provider's either.
                    return Attempt(
                        response,
                        f"The provider redirects to another host, {_host(following)}; it was not "
                        "followed. Check base_url.",
                        False,
                        FailureType.config_error,
                    )
                response = self._session.send(following, **options)
        except requests.exceptions.Timeout as error:
            return Attempt(None, "The provider did not answer in time.", True, detail=repr(error))
        except requests.exceptions.SSLError as error:
            return Attempt(
                None,
                f"The secure connection to {_host(request)} failed: its certificate was not "
                "accepted. Check base_url and any proxy in between.",
                False,
                FailureType.config_error,
                type(error).__name__,
            )
        except requests.exceptions.ConnectionError as error:
            return Attempt(
                None,
                f"{_host(request)} could not be reached, or dropped the connection.",
                True,
                detail=type(error).__name__,
            )
        except requests.RequestException as error:
            return Attempt(None, "The answer broke off.", True, detail=type(error).__name__)
        return self._judge(response)

    def _judge(self, response: requests.Response) -> Attempt:
        resolution = self._error_handler.interpret_response(response)
        if resolution.response_action not in (ResponseAction.SUCCESS, ResponseAction.IGNORE):
            words = resolution.error_message or ""
            if words.startswith("HTTP Status Code:") or not words:  # the CDK's own default words
                words = f"The provider answered with status {response.status_code}."
            action = resolution.response_action
            retry = action in _RETRYABLE
            failure = resolution.failure_type or FailureType.transient_error
            if retry or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                failure = FailureType.transient_error
            return Attempt(response, words, retry, failure, _excerpt(response))
        if resolution.response_action == ResponseAction.IGNORE:
            response.meetings_answer = None  # type: ignore[attr-defined]
            return Attempt(response)
        if response.is_redirect or not response.ok:
            return Attempt(
                response, f"The provider answered with status {response.status_code}.", False
            )
        try:
            body = parse_json(response.content)
        except ValueError:
            return Attempt(
                response,
                "The answer is no JSON, or only half of one.",
                True,
                detail=f"{len(response.content)} bytes, {response.headers.get('Content-Type')}",
            )
        missing = self._shape_problem(body)
        if missing:
            return Attempt(response, missing, True, detail=_shape(body))
        response.meetings_answer = body  # type: ignore[attr-defined]
        return Attempt(response)

    def _shape_problem(self, body: Any) -> str | None:
        if self._records_in is None:
            return None
        if not isinstance(body, dict):
            return "The answer has another shape than documented: it is not an object."
        if self._records_in and not isinstance(body.get(self._records_in), list):
            return (
                f"The answer has another shape than documented: '{self._records_in}' is not a list."
            )
        return None

    def _renew_credentials(self, request: requests.PreparedRequest, attempt: Attempt) -> bool:
        response, auth = attempt.response, self._session.auth
        if response is None or response.status_code != HTTPStatus.UNAUTHORIZED or attempt.retry:
            return False
        if not isinstance(auth, ProviderAuthenticator):
            return False
        if not auth.renew(request.headers.get("Authorization")):
            return False
        auth(request)
        return True

    def _wait_seconds(self, attempt: Attempt, tries: int) -> float:
        """Seconds to wait: as the provider asks, else 1, 2, 4 … with up to half as much again."""
        asked = None
        if attempt.response is not None:
            asked = retry_after_seconds(attempt.response.headers)
            if asked is None:
                for strategy in self._backoff_strategies:
                    asked = strategy.backoff_time(attempt.response, tries)
                    if asked is not None:
                        break
        if asked is not None:
            return max(0.0, asked) + random.uniform(0.05, 0.5)
        return min(_LONGEST_SINGLE_WAIT_SECONDS, 2.0 ** (tries - 1)) * random.uniform(1.0, 1.5)

    def _error(
        self, request: requests.PreparedRequest, attempt: Attempt, words: str
    ) -> AirbyteTracedException:
        status = attempt.response.status_code if attempt.response is not None else "no answer"
        return AirbyteTracedException(
            message=f"{self._where}, {self.stream}, {self._endpoint(request)}: {words}",
            internal_message=f"status: {status}; {attempt.detail}",
            failure_type=attempt.failure_type,
        )

    @staticmethod
    def _endpoint(request: requests.PreparedRequest) -> str:
        return f"{request.method} {(request.path_url or '').partition('?')[0]}"


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return what ``Retry-After`` asks for, in seconds: a number or an HTTP date (RFC 9110)."""
    value = (headers.get("Retry-After") or "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
        return seconds if 0 <= seconds < float("inf") else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - timestamps.server_time(headers)).total_seconds())


def _origin(request: requests.PreparedRequest) -> tuple[str, str]:
    parts = urlsplit(request.url or "")
    return parts.scheme, parts.netloc.rpartition("@")[2]


def _host(request: requests.PreparedRequest) -> str:
    return _origin(request)[1] or "the host"


def _excerpt(response: requests.Response) -> str:
    """The provider's own words, short; providers and proxies may repeat credentials in them."""
    return filter_secrets(" ".join(response.text.split()))[:300]


def _shape(body: Any) -> str:
    """The keys of an answer, never its values."""
    if isinstance(body, dict):
        return "object with keys " + ", ".join(sorted(map(str, body))[:20])
    return type(body).__name__


@dataclass
class ApiRequester(HttpRequester):
    """A declarative requester that sends through ``ApiClient``.

    ``request_parameters`` and ``request_headers`` are as in the CDK's HttpRequester.
    ``records_in`` names the key whose value is the list of records (``data``); an empty text
    stands for any JSON object; absent, any JSON at all. ``where`` is the provider's name in
    messages.
    """

    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: InitVar[Mapping[str, Any] | None] = None
    request_parameters: Mapping[str, Any] = field(default_factory=dict)
    request_headers: Mapping[str, Any] = field(default_factory=dict)
    records_in: str | None = None
    where: str = "the provider"

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
        self._http_client: ApiClient = ApiClient(
            records_in=self.records_in,
            where=self.where,
            name=self.name,
            logger=LOGGER,
            error_handler=self.error_handler,
            api_budget=self.api_budget,
            authenticator=self._authenticator,
            backoff_strategy=getattr(self.error_handler, "backoff_strategies", None) or [],
            request_timeout=(
                self.connect_timeout_in_seconds or 10.0,
                self.read_timeout_in_seconds or 60.0,
            ),
        )

    @property
    def client(self) -> ApiClient:
        """The client behind this requester; ``check`` shortens its patience."""
        return self._http_client


@dataclass
class AnswerExtractor(RecordExtractor):
    """Takes the records out of an answer that ``ApiClient`` has already parsed and accepted.

    The CDK's DpathExtractor walks the whole document for each page and takes half of a sync's
    CPU time; one key is all that these providers need.
    """

    field: str
    key: str = "id"

    def extract_records(self, response: requests.Response) -> Iterable[Mapping[str, Any]]:
        body = answer(response)
        records = body.get(self.field) if isinstance(body, dict) else None
        for record in records or []:
            if not isinstance(record, dict) or record.get(self.key) in (None, ""):
                raise AirbyteTracedException(
                    message=(
                        f"A record in '{self.field}' is no object or has no '{self.key}', so it "
                        "cannot be stored. The stream was stopped rather than leaving it out."
                    ),
                    internal_message=_shape(record),
                    failure_type=FailureType.transient_error,
                )
            yield record
