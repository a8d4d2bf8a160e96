"""How a request is sent until its answer is good: the parts that a provider's tests do not show."""

from __future__ import annotations

import math
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Sandbox
from source_meetings import timestamps
from source_meetings.http import parse_json
from source_meetings.waits import retry_after_seconds
from unit_tests.harness import Json, Output, read

LIST = "/salesloft/v2/meetings"


def config(box: Sandbox) -> Json:
    credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
    base_url = box.salesloft.base_url
    return {"provider": {"name": "salesloft", "base_url": base_url, "credentials": credentials}}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs and waits as long as a user has them."""
    monkeypatch.delenv("SOURCE_MEETINGS_PATIENCE")


def waits(output: Output) -> list[float]:
    lines = [line for line in output.logs if "Waiting" in line]
    return [float(line.split("Waiting ")[1].split(" ")[0]) for line in lines]


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"data": [{"id": 1}', b"<html>", b"\xff", b"{'a': 1}"]
)
def test_half_a_body_or_none_is_no_json(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_body_nested_too_deeply_is_refused_and_not_fatal():
    with pytest.raises(ValueError):
        parse_json(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'{"id": 18446744073709551617}', {"id": 18446744073709551617}),
        (b'"\\ud83d"', "\ud83d"),
        (b"1.5e3", 1500.0),
        (b'"123456789012345678901234567890"', "123456789012345678901234567890"),
    ],
)
def test_unusual_values_are_read_as_they_are(text, value):
    assert parse_json(text) == value


# ------------------------------------------------------------------ waiting


@given(st.integers(0, 10**6))
def test_retry_after_is_a_number_of_seconds(seconds):
    assert retry_after_seconds({"Retry-After": f" {seconds} "}) == seconds


@given(st.integers(-(10**6), 10**6))
def test_retry_after_is_a_date_seen_from_the_providers_own_clock(seconds):
    now = timestamps.parse("2026-06-01T00:00:00Z")  # whatever this machine believes
    headers = {
        "Date": format_datetime(now, usegmt=True),
        "Retry-After": format_datetime(now + timedelta(seconds=seconds), usegmt=True),
    }
    assert retry_after_seconds(headers) == max(0, seconds)


@given(st.text(max_size=20))
def test_anything_else_in_retry_after_is_harmless(text):
    seconds = retry_after_seconds({"Retry-After": text})
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


def test_without_retry_after_the_waits_grow_and_differ(box, patient):
    box.salesloft.insert()
    box.fault(LIST, times=2, kind="status", status=503)
    output = read(config(box), debug=True)
    assert output.exit_code == 0
    first, second = waits(output)
    assert 1 <= first <= 1.5
    assert 2 <= second <= 3


def test_retry_after_is_honoured(box):
    box.salesloft.insert()
    box.fault(LIST, kind="status", status=503, headers={"Retry-After": "2"})
    output = read(config(box))
    assert output.exit_code == 0
    (wait,) = waits(output)
    assert 2 <= wait <= 2.5


def test_a_wait_beyond_patience_ends_the_sync_at_once_with_a_transient_error(box):
    box.salesloft.insert()
    box.fault(LIST, kind="status", status=429, headers={"Retry-After": "86400"})
    output = read(config(box))
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "transient_error"
    assert len(box.requests) == 1


# ------------------------------------------------------------------ redirects


def test_a_redirect_to_another_host_is_not_followed(box):
    box.salesloft.insert()
    with Sandbox() as other:
        location = f"{other.url}/salesloft/v2/meetings"
        box.fault(LIST, times=99, kind="redirect", location=location)
        output = read(config(box))
        assert other.requests == []
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "config_error"
    assert "redirects to another host" in output.errors[0]["message"]


def test_a_redirect_on_the_same_host_is_followed_with_the_credentials(box):
    box.salesloft.insert()
    location = f"{LIST}.json?page=1&per_page=100&sort_by=updated_at&sort_direction=DESC"
    box.fault(LIST, kind="redirect", location=location)
    output = read(config(box))
    assert output.exit_code == 0
    assert len(output.records()) == 1
    assert {request.headers["authorization"] for request in box.requests} == {"Bearer ak_sandbox"}


def test_redirects_without_end_stop_the_stream(box):
    box.salesloft.insert()
    box.fault(LIST, times=99, kind="redirect", location=LIST)
    output = read(config(box))
    assert output.exit_code == 1
    assert len(box.requests) < 10


# ------------------------------------------------------------------ records


@pytest.mark.parametrize("row", [None, "text", {"title": "no id"}, {"id": None}, {"id": ""}])
def test_a_record_that_cannot_be_stored_stops_the_stream_rather_than_being_left_out(box, row):
    stamps = dict.fromkeys(("created_at", "updated_at"), "2026-01-01T00:00:00.000000Z")
    row = {**row, **stamps} if isinstance(row, dict) else row
    box.fault(LIST, times=99, kind="body", body={"data": [row], "metadata": {}})
    output = read(config(box))
    assert output.exit_code == 1
    assert output.statuses == {"salesloft_meetings": "INCOMPLETE"}
    assert output.records() == []
