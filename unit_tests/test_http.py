"""How a request is retried until its answer is good: what the tests of providers do not cover."""

from __future__ import annotations

import gzip
import json
import math
import socket
import struct
import time
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Sandbox
from source_meetings import timestamps
from source_meetings.transport.parsing import parse_json
from source_meetings.transport.waits import retry_after_seconds
from unit_tests.harness import Json, Output, read
from unit_tests.wire import Wire, dripping, parts, replaced

LIST = "/salesloft/v2/meetings"


def config(box: Sandbox) -> Json:
    credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
    base_url = box.salesloft.base_url
    return {"provider": {"name": "salesloft", "base_url": base_url, "credentials": credentials}}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the time-outs and waits that users have."""
    monkeypatch.delenv("SOURCE_MEETINGS_PATIENCE")


def waits(output: Output) -> list[float]:
    lines = [line for line in output.logs if "Trying again in" in line]
    return [float(line.split("Trying again in ")[1].split(" ")[0]) for line in lines]


# -- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"data": [{"id": 1}', b"<html>", b"\xff", b"{'a': 1}"]
)
def test_an_incomplete_or_empty_body_is_not_json(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_body_that_is_nested_too_deeply_is_a_value_error():
    with pytest.raises(ValueError):
        parse_json(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'{"id": 18446744073709551617}', {"id": 18446744073709551617}),
        (b'"\\ud83d"', "\ufffd"),
        (b"1.5e3", 1500.0),
        (b'"123456789012345678901234567890"', "123456789012345678901234567890"),
    ],
    ids=["30 digits", "65 bits", "half a surrogate pair", "exponent", "30 digits as a text"],
)
def test_unusual_values_are_read_unchanged_except_for_lone_surrogates(text, value):
    assert parse_json(text) == value


NUMBERS = st.lists(
    st.integers(-(10**25), 10**25) | st.integers() | st.floats(allow_nan=False), max_size=5
)


@given(st.dictionaries(st.text(), NUMBERS | st.integers(10**17, 10**20)), st.none() | st.just(1))
def test_no_digit_of_a_large_number_is_lost_wherever_it_is(value, indent):
    text = json.dumps(value, indent=indent)
    if "Infinity" not in text:
        assert parse_json(text.encode()) == value


def test_a_page_with_long_identifiers_is_parsed_by_the_fast_library(monkeypatch):
    # Given a page with long identifiers, and a standard library that fails if it is used
    value = {"id": "acti_0251c19271f298f4997629ab6958793600000000131", "9" * 30: [1.5, "7" * 40]}
    text = json.dumps(value).encode()
    monkeypatch.setattr(json, "loads", None)
    # When the page is parsed, then it is unchanged
    assert parse_json(text) == value


# -- waiting --------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_retry_after_can_be_a_number_of_seconds(seconds):
    assert retry_after_seconds({"Retry-After": f" {seconds} "}) == seconds


@given(st.integers(-(10**6), 10**6))
def test_retry_after_can_be_a_date_by_the_providers_own_clock(seconds):
    now = timestamps.parse("2026-06-01T00:00:00Z")  # whatever the clock of this machine says
    headers = {
        "Date": format_datetime(now, usegmt=True),
        "Retry-After": format_datetime(now + timedelta(seconds=seconds), usegmt=True),
    }
    assert retry_after_seconds(headers) == max(0, seconds)


@given(st.text(max_size=20))
def test_an_invalid_retry_after_is_ignored(text):
    seconds = retry_after_seconds({"Retry-After": text})
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


def test_without_retry_after_the_waits_grow(box, patient):
    # Given an outage without a Retry-After header
    box.salesloft.insert()
    box.fault(LIST, times=2, kind="status", status=503)
    # When
    output = read(config(box), debug=True)
    # Then
    assert output.exit_code == 0
    first, second = waits(output)
    assert 1 <= first <= 1.5
    assert 2 <= second <= 3


def test_the_wait_is_that_of_retry_after(box):
    # Given an outage of two seconds
    box.salesloft.insert()
    box.fault(LIST, kind="status", status=503, headers={"Retry-After": "2"})
    # When
    output = read(config(box))
    # Then the wait is that long
    assert output.exit_code == 0
    (wait,) = waits(output)
    assert 2 <= wait <= 2.5


def test_a_wait_that_would_be_too_long_ends_the_sync_at_once_with_a_transient_error(box):
    # Given a limit that resets in a day
    box.salesloft.insert()
    box.fault(LIST, kind="status", status=429, headers={"Retry-After": "86400"})
    # When
    output = read(config(box))
    # Then
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "transient_error"
    assert len(box.requests) == 1


# -- redirects ------------------------------------------------------------------------------------


def test_a_redirect_to_another_host_is_not_followed(box):
    # Given a redirect to another host
    box.salesloft.insert()
    with Sandbox() as other:
        location = f"{other.url}/salesloft/v2/meetings"
        box.fault(LIST, times=99, kind="redirect", location=location)
        # When
        output = read(config(box))
        # Then no request reaches that host, and the error says why
        assert other.requests == []
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "config_error"
    assert "redirects to another host" in output.errors[0]["message"]


def test_a_redirect_on_the_same_host_is_followed_with_the_credentials(box):
    # Given a redirect to another path
    box.salesloft.insert()
    location = f"{LIST}.json?page=1&per_page=100&sort_by=updated_at&sort_direction=DESC"
    box.fault(LIST, kind="redirect", location=location)
    # When
    output = read(config(box))
    # Then
    assert output.exit_code == 0
    assert len(output.records()) == 1
    assert {request.headers["authorization"] for request in box.requests} == {"Bearer ak_sandbox"}


def test_endless_redirects_stop_the_stream(box):
    box.salesloft.insert()
    box.fault(LIST, times=99, kind="redirect", location=LIST)
    output = read(config(box))
    assert output.exit_code == 1
    assert len(box.requests) < 10


# -- what the environment says ---------------------------------------------------------------------


def test_requests_go_to_the_proxy_that_the_environment_names(box, monkeypatch):
    # Given a proxy in the environment (that cannot serve anything)
    with Wire(box) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        # When
        read(config(box))
        # Then it is asked, and the provider is not
        assert proxy.connections > 0
    assert box.requests == []


def test_a_netrc_file_does_not_replace_the_configured_credentials(box, monkeypatch, tmp_path):
    # Given a .netrc file that names the provider's host, and a redirect
    box.salesloft.insert()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    location = f"{LIST}.json?page=1&per_page=100&sort_by=updated_at&sort_direction=DESC"
    box.fault(LIST, kind="redirect", location=location)
    # When
    output = read(config(box))
    # Then each request has the configured credentials
    assert len(output.records()) == 1
    assert {one.headers["authorization"] for one in box.requests} == {"Bearer ak_sandbox"}


def with_a_cookie(connection: socket.socket, answer: bytes) -> None:
    head, body = parts(answer)
    connection.sendall(head + b"\r\nSet-Cookie: server=7\r\n\r\n" + body)


def test_a_cookie_is_sent_back(box):
    # Given a load balancer whose first answer sets a cookie, so that one server answers the rest
    box.salesloft.generate(count=250)
    with Wire(box) as wire:
        wire.fault(LIST, 1, with_a_cookie)
        settings = config(box)
        settings["provider"]["base_url"] = box.salesloft.base_url.replace(box.url, wire.url)
        # When
        output = read(settings)
    # Then
    assert len(output.records()) == 250
    cookies = [one.headers.get("cookie") for one in box.requests]
    assert len(cookies) >= 3
    assert cookies == [None] + ["server=7"] * (len(cookies) - 1)


# -- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [None, "text", {"title": "no id"}, {"id": None}, {"id": ""}])
def test_a_record_that_cannot_be_stored_stops_the_stream_instead_of_being_left_out(box, row):
    # Given a row with a value that destinations cannot store
    stamps = dict.fromkeys(("created_at", "updated_at"), "2026-01-01T00:00:00.000000Z")
    row = {**row, **stamps} if isinstance(row, dict) else row
    box.fault(LIST, times=99, kind="body", body={"data": [row], "metadata": {}})
    # When
    output = read(config(box))
    # Then
    assert output.exit_code == 1
    assert output.statuses == {"salesloft_meetings": "INCOMPLETE"}
    assert output.records() == []


# -- on the wire ----------------------------------------------------------------------------------


def cut_chunks(connection: socket.socket, answer: bytes) -> None:
    _, body = parts(answer)
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    spoilt = replaced(answer, chunk[: len(chunk) // 2], b"Transfer-Encoding: chunked")
    connection.sendall(spoilt)


def chunks_without_an_end(connection: socket.socket, answer: bytes) -> None:
    _, body = parts(answer)
    half = body[: len(body) // 2]
    chunk = b"%x\r\n%s\r\n" % (len(half), half)
    connection.sendall(replaced(answer, chunk, b"Transfer-Encoding: chunked"))


def more_promised_than_sent(connection: socket.socket, answer: bytes) -> None:
    _, body = parts(answer)
    connection.sendall(replaced(answer, body, b"Content-Length: %d" % (len(body) + 1)))


def more_sent_than_promised(connection: socket.socket, answer: bytes) -> None:
    _, body = parts(answer)
    connection.sendall(replaced(answer, body, b"Content-Length: %d" % (len(body) // 2)))


def cut_gzip(connection: socket.socket, answer: bytes) -> None:
    packed = gzip.compress(parts(answer)[1])
    packed = packed[: len(packed) // 2]
    length = b"Content-Length: %d" % len(packed)
    connection.sendall(replaced(answer, packed, length, b"Content-Encoding: gzip"))


def no_gzip(connection: socket.socket, answer: bytes) -> None:
    head, body = parts(answer)
    connection.sendall(head + b"\r\nContent-Encoding: gzip\r\n\r\n" + body)


def no_http(connection: socket.socket, answer: bytes) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def reset_in_the_body(connection: socket.socket, answer: bytes) -> None:
    connection.sendall(answer[: len(answer) // 2])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hung_up_in_the_head(connection: socket.socket, answer: bytes) -> None:
    connection.sendall(answer[:20])


def a_location_that_is_none(connection: socket.socket, answer: bytes) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n")


SPOILT = [
    cut_chunks,
    chunks_without_an_end,
    more_promised_than_sent,
    more_sent_than_promised,
    cut_gzip,
    no_gzip,
    no_http,
    reset_in_the_body,
    hung_up_in_the_head,
    a_location_that_is_none,
]


def through(wire: Wire, box: Sandbox) -> Json:
    changed = config(box)
    changed["provider"]["base_url"] = box.salesloft.base_url.replace(box.url, wire.url)
    return changed


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_requests_whose_answers_break_off_are_sent_again(box, spoil):
    # Given broken answers to the first request, to one in a window, and to the last one
    box.salesloft.generate(count=250, seed=7)
    with Wire(box) as wire:
        for nth in (1, 4, 7):
            wire.fault(LIST, nth, spoil)
        # When
        output = read(through(wire, box))
    # Then no row is missing, and there were only three more requests than without the faults
    assert output.exit_code == 0, output.errors
    assert {row["id"] for row in output.records()} == set(box.salesloft.meetings)
    clean = len(box.requests) - 3
    box.forget_requests()
    read(config(box))
    assert len(box.requests) == clean
    assert len(waits(output)) == 1


def test_an_answer_that_drips_for_too_long_is_abandoned_and_a_slow_one_is_not(box, monkeypatch):
    # Given two seconds for a whole answer, and pieces that each come long before a time-out
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.005")
    box.salesloft.generate(count=20, seed=7)
    with Wire(box) as wire:
        wire.fault(LIST, 1, dripping(0.02))
        wire.fault(LIST, 2, dripping(0.1, 10_000))
        started = time.monotonic()
        output = read(through(wire, box))
    # Then
    assert output.exit_code == 0, output.errors
    assert {row["id"] for row in output.records()} == set(box.salesloft.meetings)
    assert "did not answer in time" in "".join(output.logs)
    assert time.monotonic() - started < 10
    assert len(waits(output)) == 1


def test_the_connector_waits_for_a_server_that_restarts(box):
    # Given a server that refuses connections for half a second
    box.salesloft.generate(count=250, seed=7)
    with Wire(box) as wire:
        box.after(LIST, 1, lambda: wire.restart_after(0.5))
        # When
        output = read(through(wire, box))
    # Then no row is missing
    assert output.exit_code == 0, output.errors
    assert {row["id"] for row in output.records()} == set(box.salesloft.meetings)
    assert waits(output)


def test_for_a_server_that_cannot_be_reached_the_error_names_it(box):
    # Given an address where nothing listens
    gone = config(box)
    gone["provider"]["base_url"] = "http://127.0.0.1:9/v2"
    # When
    output = read(gone)
    # Then
    (error,) = output.errors
    assert error["failure_type"] == "transient_error"
    assert (
        "salesloft_meetings, GET /v2/meetings: 127.0.0.1:9 could not be reached"
        in (error["message"])
    )
    assert "run the sync again later" in error["message"]


# -- waits and refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("0", 0, 0.1),
        ("0.4", 0.4, 0.5),
        ("-5", 0, 0.1),
        ("soon", 0, 0.1),
        ("nan", 0, 0.1),
        ("Mon, 01 Jun 2026 00:00:01 GMT", 1, 1.1),
        ("Sun, 31 May 2026 00:00:00 GMT", 0, 0.1),
        ("Mon, 99 Jun 2026 00:00:00 GMT", 0, 0.1),
    ],
)
def test_each_form_of_retry_after_is_either_used_or_ignored(box, value, least, most):
    # Given an outage with this header
    box.salesloft.insert()
    box.fault(LIST, kind="status", status=503, headers={"Retry-After": value})
    # When
    output = read(config(box))
    # Then
    assert output.exit_code == 0
    (wait,) = waits(output)
    assert least <= wait <= most


def test_the_waits_grow_even_if_the_provider_asks_for_none(box):
    # Given six refusals with a Retry-After of 0
    box.salesloft.insert()
    box.fault(LIST, times=6, kind="status", status=429, headers={"Retry-After": "0"})
    # When
    output = read(config(box), debug=True)
    # Then
    assert output.exit_code == 0, output.errors
    between = waits(output)
    assert len(between) == 6
    assert between[-1] > 4 * between[0]


def test_the_reason_of_a_wait_is_logged_once_and_not_by_each_worker(box):
    # Given eight windows of which each is refused once
    box.salesloft.generate(count=1000, seed=3)
    box.fault("created_at%5Bgte%5D", times=8, kind="status", status=503)
    output = read({**config(box), "num_workers": 8})
    assert output.exit_code == 0
    assert len(waits(output)) == 1


@pytest.mark.parametrize("status", [400, 402, 406, 410, 418, 451])
def test_a_refused_request_is_not_retried_and_the_message_does_not_have_the_body(box, status):
    # Given a refusal with a long body
    box.salesloft.insert()
    body = "<html>" + "long body " * 1000
    box.fault(LIST, times=9, kind="status", status=status, body=body)
    # When
    output = read(config(box))
    # Then
    (error,) = output.errors
    assert len(box.requests) == 1
    assert "long body" not in error["message"]
    assert len(error["internal_message"]) < 500


# -- streams that fail ----------------------------------------------------------------------------


def test_a_failed_stream_has_one_error_and_starts_no_more_slices(box):
    # Given a first sync of many slices, all of which are refused from the fifth request on
    box.salesloft.generate(count=40_000, seed=4)
    box.fault(LIST, 5, 999, kind="status", status=403)
    output = read({**config(box), "num_workers": 4})
    # Then there is one error, no other slice was started, and the state lists them as unread
    (error,) = output.errors
    assert error["stream_descriptor"]["name"] == "salesloft_meetings"
    assert len(box.requests) <= 4 + 2 * 4
    assert output.statuses == {"salesloft_meetings": "INCOMPLETE"}
    tracebacks = [line for line in output.logs if "Exception while syncing" in line]
    assert len(tracebacks) == 1
    assert len(output.state_of("salesloft_meetings")["scan"]["pending"]) >= 15
