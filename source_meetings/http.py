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
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
import requests
import urllib3
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.declarative.extractors.record_extractor import RecordExtractor
from airbyte_cdk.sources.declarative.requesters.http_requester import HttpRequester
from airbyte_cdk.sources.declarative.requesters.request_options import (
    InterpolatedRequestOptionsProvider,
)
from airbyte_cdk.sources.streams.call_rate import APIBudget, CallRateLimitHit
from airbyte_cdk.sources.streams.http import HttpClient
from airbyte_cdk.sources.streams.http.error_handlers.response_models import ResponseAction
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.credentials import ProviderAuthenticator
from source_meetings.progress import Progress
from source_meetings.waits import (
    back_off_seconds,
    jitter_seconds,
    patience,
    retry_after_seconds,
)

LOGGER = logging.getLogger("airbyte.source_meetings")

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0  # from one piece of an answer to the next
_WHOLE_ANSWER_SECONDS = 300.0
# More than after other faults: while all workers share one budget, each of them is refused often.
_MOST_TRIES_WHILE_RATE_LIMITED = 9
_MOST_REDIRECTS = 5
_MOST_RENEWALS = 5
_SAY_AGAIN_AFTER_SECONDS = 60.0
_PIECE_BYTES = 1 << 16
_RETRYABLE = (ResponseAction.RETRY, ResponseAction.RATE_LIMITED)
_RETRYABLE_STATUSES = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def answer(response: requests.Response) -> Any:
    """Return the JSON body of a response that ``ApiClient`` has accepted, parsed once."""
    return response.meetings_answer  # type: ignore[attr-defined]


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text.

    orjson refuses half characters and deep nesting, and rounds integers beyond 64 bits; providers
    send what people typed, so the standard library has the second say. Half a character (a lone
    surrogate) becomes U+FFFD, for no encoding could carry it to a destination. Of two equal keys
    the last one counts.

    Raises ValueError when the text is not whole, nested too deeply, or holds a number that is none
    (NaN) or is beyond all floating-point numbers.
    """
    if not _HUGE_INTEGER.search(content):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    try:
        value = json.loads(content, parse_float=_finite, parse_constant=_finite)
        return _with_whole_characters(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that cannot be stored")
    return number


def _with_whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return _HALF_CHARACTER.sub("\ufffd", value)
    if isinstance(value, list):
        return [_with_whole_characters(one) for one in value]
    if isinstance(value, dict):
        return {_with_whole_characters(key): _with_whole_characters(value[key]) for key in value}
    return value


_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_HUGE_INTEGER = re.compile(rb"(?<![\d.\"eE+-])-?\d{19,}(?![\d.eE])")


class _TooSlow(Exception):
    """An answer kept coming, but not in the time that is allowed for all of it."""


@dataclass
class Attempt:
    """What came of sending a request once. ``problem`` is None when the answer is good."""

    response: requests.Response | None = None
    problem: str | None = None
    retry: bool = False
    failure_type: FailureType = FailureType.transient_error
    detail: str = ""
    rate_limited: bool = False


class ApiClient(HttpClient):
    """Sends a prepared request until the answer is good, or it is clear that it will not be.

    ``shape_problem`` is given the parsed body and the path of the URL, and says what is wrong with
    their shape, or None. ``limit`` is the provider's rate limit in words ("600 points a minute").
    ``budget`` keeps to it; the CDK's session would wait for it without a word. ``max_tries`` and
    ``max_seconds`` bound what is done for one request; ``time_outs`` are those for connecting, for
    the next piece of an answer, and for all of it.
    """

    def __init__(
        self,
        *,
        shape_problem: Callable[[Any, str], str | None],
        where: str,
        limit: str | None,
        budget: APIBudget | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._shape_problem = shape_problem
        self._where = where
        self._budget = budget
        self.limit = f"for {where}'s limit of {limit}" if limit else f"for {where}'s rate limit"
        self.stream = self._name
        self.progress = Progress(self._name)
        self.max_tries = (self._error_handler.max_retries or 0) + 1
        self.max_tries_while_rate_limited = max(self.max_tries, _MOST_TRIES_WHILE_RATE_LIMITED)
        self.max_seconds = float(self._error_handler.max_time or 600)
        self.time_outs = (
            _CONNECT_SECONDS * patience(),
            _READ_SECONDS * patience(),
            _WHOLE_ANSWER_SECONDS * patience(),
        )
        self._cure_of_an_outage = "What has been read is kept; run the sync again later."
        self._said: dict[str, float] = {}
        self._said_lock = threading.Lock()

    def hurry(self) -> None:
        """Be done within the 20 seconds that ``check`` has, whatever the provider does."""
        self.max_tries = self.max_tries_while_rate_limited = 2
        self.max_seconds = 10.0
        self.time_outs = (4.0 * patience(), 6.0 * patience(), 8.0 * patience())
        self._cure_of_an_outage = "Try again later."

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
                if isinstance(auth, ProviderAuthenticator) and sent is not None:
                    auth.accepted.add(str(sent))
                return attempt.response
            # A token that has been good before has ended since; one that never was is refused. But
            # a new one may have served other workers, whose answers are still on their way here.
            if (
                isinstance(auth, ProviderAuthenticator)
                and renewals < _MOST_RENEWALS
                and (renewals <= 1 or sent in auth.accepted)
                and self._renew_credentials(request, attempt)
            ):
                renewals += 1
                continue
            tries += 1
            if not attempt.retry:
                raise self._error(request, attempt, attempt.problem)
            wait = self._wait_seconds(request, attempt, tries)
            spent = time.monotonic() - started
            most = self.max_tries_while_rate_limited if attempt.rate_limited else self.max_tries
            if tries >= most:
                words = f"{attempt.problem} Tried {tries} times in {spent:.0f} seconds."
                raise self._error(request, attempt, words)
            if spent + wait > self.max_seconds:
                words = (
                    f"{attempt.problem} Not tried again: that would be after {spent + wait:.0f} "
                    f"seconds, and {self.max_seconds:.0f} are the most that is waited for."
                )
                raise self._error(request, attempt, words)
            LOGGER.log(
                self._level(attempt.problem),
                "%s: %s Trying again in %.1f seconds (try %d of %d).",
                self._what(request),
                attempt.problem,
                wait,
                tries + 1,
                most,
            )
            reason = self.limit if attempt.rate_limited else f"to try {self._where} again"
            with self.progress.waiting(reason, wait):
                time.sleep(wait)
            if isinstance(auth, ProviderAuthenticator):
                auth(request)

    def _level(self, problem: str) -> int:
        """The level to log a wait at: what all workers wait for need be said once a minute only."""
        now = time.monotonic()
        with self._said_lock:
            again = now - self._said.get(problem, -_SAY_AGAIN_AFTER_SECONDS)
            if again < _SAY_AGAIN_AFTER_SECONDS:
                return logging.DEBUG
            self._said[problem] = now
        return logging.INFO

    def _try_once(
        self, request: requests.PreparedRequest, request_kwargs: Mapping[str, Any]
    ) -> Attempt:
        try:
            response = self._exchange(request, request_kwargs)
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
                        True,
                        FailureType.config_error,
                    )
                response = self._exchange(following, request_kwargs)
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, _TooSlow) as error:
            return Attempt(
                None, "The provider did not answer in time.", True, detail=type(error).__name__
            )
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
            refused = "CERTIFICATE" in str(error).upper()
            return Attempt(
                None,
                f"The secure connection to {_host(request)} failed: its certificate was not "
                "accepted. Check base_url and any proxy in between."
                if refused
                else f"The secure connection to {_host(request)} broke off.",
                not refused,
                FailureType.config_error if refused else FailureType.transient_error,
                type(error).__name__,
            )
        except requests.exceptions.ConnectionError as error:
            return Attempt(
                None,
                f"{_host(request)} could not be reached, or dropped the connection. Check base_url "
                "and the network if it stays so.",
                True,
                detail=type(error).__name__,
            )
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,  # a Location that is no URL
        ) as error:
            return Attempt(None, "The answer broke off.", True, detail=type(error).__name__)
        return self._judge(response)

    def _exchange(
        self, request: requests.PreparedRequest, request_kwargs: Mapping[str, Any]
    ) -> requests.Response:
        """Send a request and read the answer to its end, which requests would do without limit.

        Its time-out is for each piece of an answer, so that one which drips in never ends.
        """
        connect, read, whole = self.time_outs
        self._wait_for_budget(request)
        started = time.monotonic()
        self.progress.request()
        response: Any = self._session.send(
            request,
            **{
                **request_kwargs,
                "timeout": (connect, read),
                "allow_redirects": False,
                "stream": True,
            },
        )
        pieces: list[bytes] = []
        try:
            # Already read where the answer is a redirect.
            while not response._content_consumed:
                piece = response.raw.read1(_PIECE_BYTES, decode_content=True)
                if not piece:
                    break
                pieces.append(piece)
                if time.monotonic() - started > whole:
                    raise _TooSlow
        except BaseException:
            response.close()
            raise
        if not response._content_consumed:  # as Response.content does it
            response._content, response._content_consumed = b"".join(pieces), True
        return cast(requests.Response, response)

    def _wait_for_budget(self, request: requests.PreparedRequest) -> None:
        while self._budget is not None:
            try:
                self._budget.acquire_call(request, block=False)
                return
            except CallRateLimitHit as hit:
                seconds = max(0.0, hit.time_to_wait.total_seconds())
            with self.progress.waiting(self.limit, seconds):
                time.sleep(seconds)

    def _judge(self, response: requests.Response) -> Attempt:
        status = response.status_code
        if status // 100 == 2:
            return self._judge_body(response)
        if status // 100 == 3:
            words = "The provider redirects, but to no other place."
            return Attempt(response, words, not response.is_redirect)
        # The manifest's filters see refusals only: what people typed into a meeting must never
        # make an error of a good page.
        resolution = self._error_handler.interpret_response(response)
        action = resolution.response_action
        if action == ResponseAction.IGNORE:
            response.meetings_answer = None  # type: ignore[attr-defined]
            return Attempt(response)
        words = resolution.error_message or ""
        retry = action in _RETRYABLE
        failure = resolution.failure_type or FailureType.transient_error
        if not words or words.startswith(_WORDS_OF_THE_CDK):  # no filter of the manifest matched
            words = f"The provider answered with status {status}."
            retry = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE_STATUSES
        if retry or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            failure = FailureType.transient_error
        limited = status == HTTPStatus.TOO_MANY_REQUESTS
        return Attempt(response, words, retry, failure, _excerpt(response), limited)

    def _judge_body(self, response: requests.Response) -> Attempt:
        kind = response.headers.get("Content-Type") or "no content type"
        try:
            body = parse_json(response.content)
        except ValueError:
            words = "The answer is no JSON, or only half of one."
            if not response.content.strip():
                words = "The answer is empty."
            elif response.content.lstrip()[:1] == b"<":
                words = (
                    "The answer is a web page and not data: a proxy's, or one for signing in or "
                    "maintenance. Check base_url if it stays so."
                )
            detail = f"{len(response.content)} bytes, {kind}"
            return Attempt(response, words, True, detail=detail)
        path = urlsplit(response.url or "").path
        problem = self._shape_problem(body, path)
        if problem:
            words = f"The answer has another shape than documented: {problem}."
            return Attempt(response, words, True, detail=_shape(body))
        response.meetings_answer = body  # type: ignore[attr-defined]
        return Attempt(response)

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

    def _wait_seconds(
        self, request: requests.PreparedRequest, attempt: Attempt, tries: int
    ) -> float:
        """Seconds to wait: what the provider asks for, and never less than grows with each try.

        The first wait is just what is asked for; a provider that keeps asking for next to none
        would else be asked in vain until all tries are used up.
        """
        asked = None
        if attempt.response is not None:
            asked = retry_after_seconds(attempt.response.headers)
            if asked is None:
                asked = self._strategies_ask(request, attempt, tries)
        if asked is None:
            return back_off_seconds(tries)
        return max(asked + jitter_seconds(), back_off_seconds(tries - 1) if tries > 1 else 0.0)

    def _strategies_ask(
        self, request: requests.PreparedRequest, attempt: Attempt, tries: int
    ) -> float | None:
        for strategy in self._backoff_strategies:
            try:
                asked = strategy.backoff_time(attempt.response, tries)
            except AirbyteTracedException as error:  # it knows that no wait can help
                raise self._error(request, attempt, error.message or "") from error
            if asked is not None:
                return max(0.0, asked)
        return None

    def _error(
        self, request: requests.PreparedRequest, attempt: Attempt, words: str
    ) -> AirbyteTracedException:
        status = attempt.response.status_code if attempt.response is not None else "no answer"
        if attempt.failure_type == FailureType.transient_error:
            words += f" {self._cure_of_an_outage}"
        return AirbyteTracedException(
            # The words may quote the provider's own, and those may quote what was sent.
            message=filter_secrets(f"{self._what(request)}: {words}"),
            internal_message=f"status: {status}; {attempt.detail}",
            failure_type=attempt.failure_type,
        )

    def _what(self, request: requests.PreparedRequest) -> str:
        path = (request.path_url or "").partition("?")[0]
        return f"{self._where}, {self.stream}, {request.method} {path}"


# How the error messages begin that airbyte-cdk makes up itself; some hold whole bodies and URLs.
_WORDS_OF_THE_CDK = ("HTTP Status Code:", "Response was not ok:", "Unexpected response")


def _origin(request: requests.PreparedRequest) -> tuple[str, str | None, int | None]:
    parts = urlsplit(request.url or "")
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _host(request: requests.PreparedRequest) -> str:
    return urlsplit(request.url or "").netloc.rpartition("@")[2] or "the host"


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
    stands for any JSON object; absent, any JSON at all. ``more_in`` names the boolean that says
    whether there is more, and ``id_in`` the id of an answer that is a single record. ``where`` is
    the provider's name in messages, and ``limit`` its rate limit.
    """

    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: InitVar[Mapping[str, Any] | None] = None
    request_parameters: Mapping[str, Any] = field(default_factory=dict)
    request_headers: Mapping[str, Any] = field(default_factory=dict)
    records_in: str | None = None
    more_in: str | None = None
    id_in: str | None = None
    where: str = "the provider"
    limit: str | None = None

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
            shape_problem=self.shape_problem,
            where=self.where,
            limit=self.limit,
            budget=self.api_budget,
            name=self.name,
            logger=LOGGER,
            error_handler=self.error_handler,
            authenticator=self._authenticator,
            backoff_strategy=getattr(self.error_handler, "backoff_strategies", None) or [],
        )

    def shape_problem(self, body: Any, path: str) -> str | None:
        """Say what an answer lacks to be this endpoint's, without its values; None if it is.

        ``path`` is that of the URL. What lacks something is asked for again before it is refused.
        """
        if self.records_in is None:
            return None
        if not isinstance(body, dict):
            return "it is not an object"
        if self.records_in and not isinstance(body.get(self.records_in), list):
            return f"'{self.records_in}' is not a list"
        if self.more_in and not isinstance(body.get(self.more_in), bool):
            return f"'{self.more_in}' is neither true nor false"
        if self.id_in and not body.get(self.id_in):
            return f"it has no '{self.id_in}'"
        return None

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
