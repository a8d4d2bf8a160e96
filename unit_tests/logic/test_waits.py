"""How long to wait before a request is sent again: waits that are announced or chosen."""

from __future__ import annotations

from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_meetings.transport.waits import (
    RateLimit,
    SpentForToday,
    back_off_seconds,
    jitter_seconds,
    patience,
)
from unit_tests.logic.fakes import at

RESET = RateLimit(reset_headers=("RateLimit", "X-Reset"), reset_key="rate_reset")
MINUTE = RateLimit(remaining_in_minute="Left", cost="Cost")
INTERVAL = RateLimit(interval="Interval", remaining_in_interval="Left", most_in_interval="Most")
DAY = RateLimit(remaining_today="Left-Today", limit_today="Limit-Today", interval="Interval")


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_MEETINGS_PATIENCE", raising=False)


def asked(
    limit: RateLimit, headers: dict[str, str] | None = None, body: bytes = b"", tries: int = 1
) -> float | None:
    date = format_datetime(at(seconds=20), usegmt=True)
    return limit.seconds({"Date": date, **(headers or {})}, body, tries)


# -- waits that the connector chooses -------------------------------------------------------------


@given(st.integers(1, 50))
def test_the_wait_doubles_with_each_try_up_to_a_minute_plus_up_to_half_of_it(tries: int) -> None:
    least = min(60.0, 2.0 ** (tries - 1))
    assert least <= back_off_seconds(tries) <= 1.5 * least


def test_two_workers_do_not_wait_equally_long() -> None:
    assert len({back_off_seconds(1) for _ in range(20)}) > 10
    assert len({jitter_seconds() for _ in range(20)}) > 10
    assert all(0.05 <= jitter_seconds() <= 0.5 for _ in range(100))


@pytest.mark.parametrize(
    ("value", "factor"),
    [("2.5", 2.5), ("0.01", 0.01), ("100", 100), ("", 1), ("0", 1), ("-1", 1), ("101", 1)]
    + [("nan", 1), ("inf", 1), ("much", 1)],
)
def test_patience_is_a_factor_from_the_environment(
    value: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", value)
    assert patience() == factor
    assert factor <= back_off_seconds(1) <= 1.5 * factor


# -- limits that are announced with the seconds until their reset ---------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": "limit=100, remaining=0, reset=5"}, 5),
        ({"RateLimit": 'limit=100; reset="2.5"'}, 2.5),
        ({"X-Reset": " 7 "}, 7),
        ({"RateLimit": "limit=100", "X-Reset": "7"}, 7),
        ({"RateLimit": "reset=5", "X-Reset": "7"}, 5),
        ({"RateLimit": "preset=5"}, None),
        ({"RateLimit": "RESET=5"}, 5),
        ({"X-Reset": "soon"}, None),
        ({"X-Reset": "-7"}, None),
        ({"X-Reset": "4000"}, 300),  # at most five minutes at once
        ({}, None),
    ],
)
def test_a_header_can_announce_when_the_limit_resets(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert asked(RESET, headers) == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b'{"rate_reset": 3}', 3),
        (b'{"error": {"rate_reset": "2.5"}}', 2.5),
        (b'{"error": {"rate_reset": 1}, "rate_reset": 9}', 1),
        (b'{"error": {"rate_reset": "soon"}, "rate_reset": 9}', 9),
        (b'{"error": "slow down", "rate_reset": 9}', 9),
        (b'{"rate_reset": -1}', None),
        (b'{"rate_reset": "inf"}', None),
        (b'{"rate_reset": 4000}', 300),
        (b'{"rate_reset": null}', None),
        (b"[3]", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_body_is_used_if_no_header_announces_the_reset(
    body: bytes, seconds: float | None
) -> None:
    assert asked(RESET, body=body) == seconds
    assert asked(RESET, {"X-Reset": "7"}, body) == 7


def test_the_body_is_ignored_unless_the_provider_announces_limits_there() -> None:
    assert asked(RateLimit(), body=b'{"rate_reset": 3}') is None


# -- a budget that resets at each full minute -----------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "tries", "seconds"),
    [
        ({"Left": "0"}, 1, 40),
        ({"Left": "5", "Cost": "8"}, 1, 40),
        ({"Left": "8", "Cost": "8"}, 1, None),  # enough is left, so the budget was not the reason
        ({"Left": "1"}, 1, None),
        ({"Left": "many"}, 1, None),
        ({}, 1, None),  # without a header, the first retry comes early
        ({}, 2, 40),
        ({"Left": "0", "Cost": "free"}, 1, 40),
    ],
)
def test_after_a_spent_budget_the_wait_lasts_until_the_next_full_minute(
    headers: dict[str, str], tries: int, seconds: float | None
) -> None:
    # Given 20 seconds past the minute by the provider's clock
    assert asked(MINUTE, headers, tries=tries) == seconds


# -- requests that are counted in intervals -------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Interval": "5000"}, 5),
        ({"Interval": "500"}, 0.5),
        ({}, 10),
        ({"Interval": "soon"}, 10),
        ({"Interval": "nan"}, 10),
        ({"Interval": "-1"}, 0),
        ({"Interval": "86400000"}, 60),
    ],
)
def test_the_wait_is_the_interval_in_which_requests_are_counted(
    headers: dict[str, str], seconds: float
) -> None:
    assert asked(INTERVAL, headers) == seconds


@pytest.mark.parametrize(
    ("limit", "left", "spent"),
    [(INTERVAL, "0", True), (INTERVAL, "1", False), (INTERVAL, "", False), (MINUTE, "0", False)],
)
def test_an_answer_shows_whether_the_budget_of_the_interval_is_spent(
    limit: RateLimit, left: str, spent: bool
) -> None:
    assert limit.is_spent({"Left": left}) is spent


# -- the daily limit ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "words"),
    [({"Limit-Today": "200000"}, "200000"), ({}, "unknown"), ({"Limit-Today": ""}, "unknown")],
)
def test_a_spent_daily_limit_is_an_error(headers: dict[str, str], words: str) -> None:
    with pytest.raises(SpentForToday, match=f"^{words}$"):
        asked(DAY, {"Left-Today": "0", "Interval": "5000", **headers})


def test_a_daily_limit_that_is_not_spent_is_not_the_reason_of_a_429() -> None:
    assert asked(DAY, {"Left-Today": "1", "Interval": "5000"}) == 5
    assert asked(DAY, {"Interval": "5000"}) == 5


def test_without_an_announcement_there_is_no_announced_wait() -> None:
    assert asked(RateLimit(), {"X-Reset": "7", "Left": "0"}, b'{"rate_reset": 3}') is None


@pytest.mark.parametrize(("most", "number"), [("100", 100), ("0", None), ("", None), ("x", None)])
def test_an_answer_shows_how_many_requests_the_interval_allows(
    most: str, number: int | None
) -> None:
    assert INTERVAL.most({"Most": most}) == number
    assert MINUTE.most({"Most": most}) is None
