"""How long the client waits before it tries again, and when it gives up, for every answer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

import pytest
import requests
import urllib3
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.declarative.requesters.error_handlers import DefaultErrorHandler
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.connection import Pace
from source_meetings.progress import Progress
from source_meetings.transport import client as client_module
from source_meetings.transport.auth import ProviderAuthenticator
from source_meetings.transport.client import ApiClient
from source_meetings.transport.waits import RateLimit

Told = tuple[int, dict[str, str]]  # a status and headers
GOOD: Told = (200, {})


class NoAuth:
    """An authenticator without a token to renew."""

    token, auth_header = "key", "Authorization"

    def accepted(self, _: str) -> None: ...

    def renew(self, *_: Any) -> bool:
        return False


class Answers:
    """Replaces the network: gives these answers, repeats the last one, and records the waits."""

    def __init__(self, *told: Told) -> None:
        self._told = list(told)
        self.requests = 0
        self.waits: list[float] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        status, headers = self._told[min(self.requests, len(self._told) - 1)]
        self.requests += 1
        raw = urllib3.HTTPResponse(
            io.BytesIO(b"{}"), headers=headers, status=status, preload_content=False
        )
        return requests.adapters.HTTPAdapter().build_response(request, raw)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        with (
            patch.object(requests.Session, "send", lambda _, *a, **k: self.send(*a, **k)),
            patch.object(client_module.time, "sleep", self.waits.append),
        ):
            yield


def asked(answers: Answers, limit: RateLimit | None = None) -> list[float]:
    """Send a request. Returns the waits before the good answer."""
    client = ApiClient(
        provider="Acme",
        stream="rows",
        auth=cast(ProviderAuthenticator, NoAuth()),
        errors=DefaultErrorHandler(config={}, parameters={}),
        limit=limit or RateLimit(),
        budget=None,
        pace=Pace(),
        progress=lambda: Progress("rows"),
    )
    with answers.in_place():
        client.send("GET", "https://api.acme.test/v1/rows", {}, {}, lambda body: None)
    return answers.waits


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_MEETINGS_PATIENCE", raising=False)


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_is_that_of_retry_after_plus_jitter(status: int) -> None:
    (wait,) = asked(Answers((status, {"Retry-After": "3"}), GOOD))
    assert 3.05 <= wait <= 3.5


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [
        ((429, {"Reset": "5"}), 5.05, 5.5),
        ((429, {"Reset": "5", "Retry-After": "3"}), 3.05, 3.5),
        ((429, {"Reset": "5", "Retry-After": "soon"}), 5.05, 5.5),
        ((503, {"Reset": "5"}), 1, 1.5),  # only a 429 announces a limit
        ((429, {}), 1, 1.5),
        ((503, {}), 1, 1.5),
    ],
)
def test_retry_after_comes_first_then_the_providers_own_header_then_a_growing_wait(
    told: Told, least: float, most: float
) -> None:
    (wait,) = asked(Answers(told, GOOD), RateLimit(reset_headers=("Reset",)))
    assert least <= wait <= most


@pytest.mark.parametrize("status", [429, 503])
def test_the_minimum_wait_grows_with_each_try(status: int) -> None:
    # Given a provider that keeps sending a Retry-After of 0
    again = (status, {"Retry-After": "0"})
    waits = asked(Answers(again, again, again, again, GOOD))
    for wait, least in zip(waits, (0.05, 1, 2, 4)):
        assert least <= wait <= max(0.5, 1.5 * least)


@pytest.mark.parametrize(("status", "tries"), [(429, 9), (503, 6), (501, 6), (408, 6), (425, 6)])
def test_the_number_of_tries_is_limited(status: int, tries: int) -> None:
    answers = Answers((status, {}))
    with pytest.raises(AirbyteTracedException, match=f"Tried {tries} times") as raised:
        asked(answers)
    assert (answers.requests, len(answers.waits)) == (tries, tries - 1)
    assert raised.value.failure_type == FailureType.transient_error


def test_a_wait_of_more_than_ten_minutes_is_not_started() -> None:
    answers = Answers((429, {"Retry-After": "601"}), GOOD)
    with pytest.raises(
        AirbyteTracedException, match="Not tried again: the next try would be after 60"
    ):
        asked(answers)
    assert answers.waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_request_is_not_retried_if_that_cannot_help(status: int) -> None:
    answers = Answers((status, {"Retry-After": "1"}), GOOD)
    with pytest.raises(AirbyteTracedException):
        asked(answers)
    assert answers.requests == 1


def test_a_spent_daily_limit_is_an_error_at_once() -> None:
    answers = Answers((429, {"Today": "0", "Limit": "1000"}), GOOD)
    limit = RateLimit(remaining_today="Today", limit_today="Limit")
    with pytest.raises(AirbyteTracedException, match=r"a day \(1000\) is reached"):
        asked(answers, limit)
    assert answers.waits == []
