"""Sends a request until it gets a good answer, or until more tries cannot help.

The CDK's HTTP client is not used. Measured with airbyte-cdk 7.39.1: its decoder turns a body it
cannot read into ``{}``, which is an empty page; it ignores ``Retry-After`` unless it is configured,
and then accepts only a number; a refused connection ends a sync as a ``system_error``; retries wait
without jitter; request headers are written to the debug log, and whole bodies into error messages;
it waits for the budget of a manifest without logging it. The manifest's error filters and its
budget still come from the CDK.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import requests
import urllib3
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.streams.call_rate import APIBudget, CallRateLimitHit
from airbyte_cdk.sources.streams.http.error_handlers import ErrorHandler
from airbyte_cdk.sources.streams.http.error_handlers.response_models import ResponseAction
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.connection import Pace
from source_meetings.progress import Progress
from source_meetings.transport.auth import ProviderAuthenticator
from source_meetings.transport.interpolation import one_at_a_time
from source_meetings.transport.parsing import parse_json
from source_meetings.transport.waits import (
    RateLimit,
    SpentForToday,
    back_off_seconds,
    jitter_seconds,
    retry_after_seconds,
    time_out_seconds,
)

LOGGER = logging.getLogger("airbyte.source_meetings")

_CONNECTIONS = 40  # the largest possible number of workers
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0  # between one piece of an answer and the next
_WHOLE_ANSWER_SECONDS = 300.0
_MOST_TRIES = 6
# More than after other faults: all workers share one budget, so each is refused often.
_MOST_TRIES_WHILE_RATE_LIMITED = 9
_MOST_SECONDS = 600.0
_MOST_REDIRECTS = 5
_SAY_AGAIN_AFTER_SECONDS = 60.0
_PIECE_BYTES = 1 << 16
_RETRYABLE = (ResponseAction.RETRY, ResponseAction.RATE_LIMITED)
_RETRYABLE_STATUSES = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The first words of airbyte-cdk's own error messages. Some hold whole bodies and URLs.
_WORDS_OF_THE_CDK = ("HTTP Status Code:", "Response was not ok:", "Unexpected response")


class _TooSlow(Exception):
    """An answer kept coming, but did not end within the time allowed for all of it."""


@dataclass(frozen=True)
class Accepted:
    """A good answer: the response and its JSON body.

    The body is None if a filter of the manifest accepts a refusal as an answer.
    """

    response: requests.Response
    body: Any


@dataclass(frozen=True)
class Refused:
    """The result of sending a request once, if it was not a good answer.

    ``retry``: whether another try can help.
    """

    problem: str
    retry: bool = True
    failure_type: FailureType = FailureType.transient_error
    response: requests.Response | None = None
    detail: str = ""

    @property
    def status(self) -> int | None:
        return None if self.response is None else self.response.status_code

    @property
    def rate_limited(self) -> bool:
        return self.status == HTTPStatus.TOO_MANY_REQUESTS


Judge = Callable[[Any], "str | None"]
"""Says what is wrong with the shape of a parsed body, without its values; None if nothing is."""


class ApiClient:
    """Sends the requests of one endpoint for one stream.

    ``provider`` and ``stream`` are names for messages. ``errors`` are the manifest's error filters,
    ``budget`` is its call-rate budget, and ``limit`` says how answers announce the provider's own
    limit. ``pace`` and ``progress`` are shared by the connection.
    """

    def __init__(
        self,
        *,
        provider: str,
        stream: str,
        auth: ProviderAuthenticator,
        errors: ErrorHandler,
        limit: RateLimit,
        budget: APIBudget | None,
        pace: Pace,
        progress: Callable[[], Progress],
    ) -> None:
        self._provider = provider
        self._stream = stream
        self._auth = auth
        self._errors = errors
        self._limit = limit
        self._budget = budget
        self._pace = pace
        self._progress = progress
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(_CONNECTIONS, _CONNECTIONS)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._settings: Any = None
        self._most_tries = _MOST_TRIES
        self._most_tries_while_rate_limited = _MOST_TRIES_WHILE_RATE_LIMITED
        self._most_seconds = _MOST_SECONDS
        self._time_outs = (
            time_out_seconds(_CONNECT_SECONDS),
            time_out_seconds(_READ_SECONDS),
            time_out_seconds(_WHOLE_ANSWER_SECONDS),
        )
        self._cure_of_an_outage = "What has been read is kept; run the sync again later."
        self._said: dict[str, float] = {}
        self._said_lock = threading.Lock()

    def hurry(self) -> None:
        """Finish within the 20 seconds that ``check`` has, whatever the provider does."""
        self._most_tries = self._most_tries_while_rate_limited = 2
        self._most_seconds = 10.0
        self._time_outs = (time_out_seconds(4.0), time_out_seconds(6.0), time_out_seconds(8.0))
        self._cure_of_an_outage = "Try again later."

    def send(
        self,
        method: str,
        url: str,
        params: dict[str, Any],
        headers: dict[str, str],
        judge: Judge,
    ) -> Accepted:
        """Send a request. Wait and send it again as often as that can help.

        Raises AirbyteTracedException with the provider, the stream, the request and what to do.
        """
        request = self._prepared(requests.Request(method, url, headers=headers, params=params))
        settings = self._environment(url)
        started = time.monotonic()
        tries = renewals = 0
        while True:
            authorization = self._auth.token
            request.headers[self._auth.auth_header] = authorization
            outcome = self._try_once(request, settings, judge)
            if isinstance(outcome, Accepted):
                self._auth.accepted(authorization)
                return outcome
            unauthorized = outcome.status == HTTPStatus.UNAUTHORIZED and not outcome.retry
            if unauthorized and self._auth.renew(authorization, renewals):
                renewals += 1
                continue
            tries += 1
            self._wait_to_try_again(request, outcome, tries, time.monotonic() - started)

    def _prepared(self, request: requests.Request) -> requests.PreparedRequest:
        """Like ``Session.prepare_request``, which also looks for the host in the user's .netrc.

        For most requests there is nothing to merge, and merging it takes as long as the rest.
        """
        request.headers = {**self._session.headers, **request.headers}
        prepared = request.prepare()
        if self._session.cookies:
            prepared.prepare_cookies(self._session.cookies)
        return prepared

    def _environment(self, url: str) -> Any:
        """Return the proxies and certificates that the environment names for the endpoint's host.

        The environment is read once. requests would read it for each request.
        """
        if self._settings is None:
            self._settings = self._session.merge_environment_settings(url, {}, None, None, None)
        return self._settings

    # -- the next try -----------------------------------------------------------------------------

    def _wait_to_try_again(
        self, request: requests.PreparedRequest, refused: Refused, tries: int, spent: float
    ) -> None:
        """Wait as long as needed. Raises AirbyteTracedException if that would be too long."""
        if not refused.retry:
            raise self._error(request, refused, refused.problem)
        wait = self._wait_seconds(request, refused, tries)
        limited = refused.rate_limited
        most = self._most_tries_while_rate_limited if limited else self._most_tries
        if tries >= most:
            words = f"{refused.problem} Tried {tries} times in {spent:.0f} seconds."
            raise self._error(request, refused, words)
        if spent + wait > self._most_seconds:
            words = (
                f"{refused.problem} Not tried again: the next try would be after "
                f"{spent + wait:.0f} seconds, and the limit is {self._most_seconds:.0f}."
            )
            raise self._error(request, refused, words)
        LOGGER.log(
            self._level(refused.problem),
            "%s: %s Trying again in %.1f seconds (try %d of %d).",
            self._what(request),
            refused.problem,
            wait,
            tries + 1,
            most,
        )
        reason = self._limit_in_words() if limited else f"to try {self._provider} again"
        self._sleep(reason, wait)

    def _wait_seconds(
        self, request: requests.PreparedRequest, refused: Refused, tries: int
    ) -> float:
        """Return the seconds to wait: what the provider asks for, but at least the back-off.

        The first wait is exactly what the provider asks for. Later waits grow: a provider that
        keeps asking for almost no wait would otherwise use up all tries.
        """
        asked = None
        if refused.response is not None:
            asked = retry_after_seconds(refused.response.headers)
            if asked is None and refused.rate_limited:
                asked = self._announced_seconds(request, refused, refused.response, tries)
        if asked is None:
            return back_off_seconds(tries)
        return max(asked + jitter_seconds(), back_off_seconds(tries - 1) if tries > 1 else 0.0)

    def _announced_seconds(
        self,
        request: requests.PreparedRequest,
        refused: Refused,
        response: requests.Response,
        tries: int,
    ) -> float | None:
        try:
            seconds = self._limit.seconds(response.headers, response.content, tries)
        except SpentForToday as limit:
            words = (
                f"{self._provider}'s limit of requests a day ({limit}) is reached. Nothing was "
                "lost; run the sync again tomorrow, or less often."
            )
            raise self._error(request, refused, words) from limit
        if seconds is not None and self._limit.interval:
            self._pace.hold(seconds)
        return seconds

    def _level(self, problem: str) -> int:
        """Return the log level for a wait. Waits shared by all workers are logged once a minute."""
        now = time.monotonic()
        with self._said_lock:
            again = now - self._said.get(problem, -_SAY_AGAIN_AFTER_SECONDS)
            if again < _SAY_AGAIN_AFTER_SECONDS:
                return logging.DEBUG
            self._said[problem] = now
        return logging.INFO

    # -- one try ----------------------------------------------------------------------------------

    def _try_once(
        self, request: requests.PreparedRequest, settings: Any, judge: Judge
    ) -> Accepted | Refused:
        header = self._auth.auth_header
        try:
            response = self._exchange(request, settings)
            for _ in range(_MOST_REDIRECTS):
                following = response.next
                if following is None:
                    break
                if _origin(following) != _origin(request):
                    # requests would follow without the credentials. Whatever answers there is not
                    # the provider, so its rows are not the provider's either.
                    return Refused(
                        f"The provider redirects to another host, {_host(following)}; it was not "
                        "followed. Check base_url.",
                        failure_type=FailureType.config_error,
                        response=response,
                    )
                # requests has replaced it if the user's .netrc names the host.
                following.headers[header] = request.headers[header]
                response = self._exchange(following, settings)
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, _TooSlow) as error:
            return Refused("The provider did not answer in time.", detail=type(error).__name__)
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
            return _refused_by_security(request, error)
        except requests.exceptions.ConnectionError as error:
            return Refused(
                f"{_host(request)} could not be reached, or dropped the connection. If this keeps "
                "happening, check base_url and the network.",
                detail=type(error).__name__,
            )
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,  # a Location that is not a URL
        ) as error:
            return Refused("The answer broke off.", detail=type(error).__name__)
        return self._judged(response, judge)

    def _exchange(self, request: requests.PreparedRequest, settings: Any) -> requests.Response:
        """Send a request and read its whole answer, within a limit on the total time.

        The time-out of requests is per piece, so an answer that drips in would never end.
        """
        connect, read, whole = self._time_outs
        self._wait_for_the_limit(request)
        started = time.monotonic()
        self._progress().request()
        self._pace.sent()
        response: Any = self._session.send(
            request,
            **{
                **settings,
                "timeout": (connect, read),
                "allow_redirects": False,
                "stream": True,
            },
        )
        pieces: list[bytes] = []
        try:
            # Already read if the answer is a redirect.
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
        if not response._content_consumed:  # like Response.content
            response._content, response._content_consumed = b"".join(pieces), True
        return cast(requests.Response, response)

    def _wait_for_the_limit(self, request: requests.PreparedRequest) -> None:
        while (seconds := self._pace.seconds_left) > 0:
            self._sleep(self._limit_in_words(), seconds)
        while self._budget is not None:
            try:
                self._budget.acquire_call(request, block=False)
                return
            except CallRateLimitHit as hit:
                seconds = max(0.0, hit.time_to_wait.total_seconds())
            self._sleep(self._limit_in_words(), seconds)

    def _sleep(self, reason: str, seconds: float) -> None:
        with self._progress().waiting(reason, seconds):
            time.sleep(seconds)

    # -- judging an answer ------------------------------------------------------------------------

    def _judged(self, response: requests.Response, judge: Judge) -> Accepted | Refused:
        if self._limit.remaining_in_interval:
            seconds = self._limit.interval_seconds(response.headers)
            spent, most = self._limit.is_spent(response.headers), self._limit.most(response.headers)
            self._pace.note(spent, seconds, most)
        if response.status_code // 100 == 2:
            return self._judged_body(response, judge)
        if response.status_code // 100 == 3:
            words = "The provider redirects, but not to another address."
            return Refused(words, not response.is_redirect, response=response)
        return self._judged_refusal(response)

    def _judged_refusal(self, response: requests.Response) -> Accepted | Refused:
        # The manifest's filters see refusals only: text that people typed into a meeting must never
        # turn a good page into an error.
        status = response.status_code
        with one_at_a_time:
            resolution = self._errors.interpret_response(response)
        action = resolution.response_action
        if action == ResponseAction.IGNORE:
            return Accepted(response, None)
        words = _filled(resolution.error_message or "", response)
        retry = action in _RETRYABLE
        failure = resolution.failure_type or FailureType.transient_error
        if not words or words.startswith(_WORDS_OF_THE_CDK):  # no filter of the manifest matched
            words = self._words_of(status)
            retry = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE_STATUSES
        if retry or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            failure = FailureType.transient_error
        return Refused(words, retry, failure, response, _excerpt(response))

    def _words_of(self, status: int) -> str:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            limit = f"limit of {self._limit.words}" if self._limit.words else "rate limit"
            return f"{self._provider}'s {limit} is reached."
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE_STATUSES:
            return f"{self._provider} answered with a server error (status {status})."
        return f"{self._provider} answered with status {status}."

    def _judged_body(self, response: requests.Response, judge: Judge) -> Accepted | Refused:
        try:
            body = parse_json(response.content)
        except ValueError:
            words = "The answer is not JSON, or it is incomplete."
            if not response.content.strip():
                words = "The answer is empty."
            elif response.content.lstrip()[:1] == b"<":
                words = (
                    "The answer is a web page instead of data: from a proxy, or for signing in or "
                    "maintenance. If this keeps happening, check base_url."
                )
            kind = response.headers.get("Content-Type") or "no content type"
            detail = f"{len(response.content)} bytes, {kind}"
            return Refused(words, response=response, detail=detail)
        problem = judge(body)
        if problem:
            words = f"The answer does not have the documented shape: {problem}."
            return Refused(words, response=response, detail=keys_of(body))
        return Accepted(response, body)

    # -- words ------------------------------------------------------------------------------------

    def _error(
        self, request: requests.PreparedRequest, refused: Refused, words: str
    ) -> AirbyteTracedException:
        if refused.failure_type == FailureType.transient_error:
            words += f" {self._cure_of_an_outage}"
        status = "no answer" if refused.status is None else refused.status
        return AirbyteTracedException(
            # The message may quote the provider, and the provider may quote what was sent.
            message=filter_secrets(f"{self._what(request)}: {words}"),
            internal_message=f"status: {status}; {refused.detail}",
            failure_type=refused.failure_type,
        )

    def _what(self, request: requests.PreparedRequest) -> str:
        path = (request.path_url or "").partition("?")[0]
        return f"{self._provider}, {self._stream}, {request.method} {path}"

    def _limit_in_words(self) -> str:
        words = self._limit.words
        return f"for {self._provider}'s {f'limit of {words}' if words else 'rate limit'}"


def keys_of(body: Any) -> str:
    """Name the keys of an answer, never its values."""
    if isinstance(body, dict):
        return "object with keys " + ", ".join(sorted(map(str, body))[:20])
    return type(body).__name__


def _filled(words: str, response: requests.Response) -> str:
    """Replace names in braces with the request's parameters."""
    if "{" not in words:
        return words
    for name, value in parse_qsl(urlsplit(response.request.url or "").query):
        words = words.replace(f"{{{name}}}", str(value))
    return words


def _refused_by_security(request: requests.PreparedRequest, error: Exception) -> Refused:
    if "CERTIFICATE" in str(error).upper():
        return Refused(
            f"The secure connection to {_host(request)} failed: its certificate was not accepted. "
            "Check base_url and any proxy in between.",
            retry=False,
            failure_type=FailureType.config_error,
            detail=type(error).__name__,
        )
    return Refused(
        f"The secure connection to {_host(request)} broke off.", detail=type(error).__name__
    )


def _origin(request: requests.PreparedRequest) -> tuple[str, str | None, int | None]:
    parts = urlsplit(request.url or "")
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _host(request: requests.PreparedRequest) -> str:
    return urlsplit(request.url or "").netloc.rpartition("@")[2] or "the host"


def _excerpt(response: requests.Response) -> str:
    """Return the start of the provider's text.

    Providers and proxies may repeat credentials in it.
    """
    return filter_secrets(" ".join(response.text.split()))[:300]
