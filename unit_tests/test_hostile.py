"""Unexpected answers, valid and almost valid ones, and the parsers that read them.

To search for new examples, run with HYPOTHESIS_PROFILE=search and `--hypothesis-seed=random`. This
takes minutes.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from sandbox.side import Call, Reply
from source_meetings import timestamps
from source_meetings.providers.close.calendar_events import parse_entry
from source_meetings.providers.expoplatform import rows
from source_meetings.transport.parsing import parse_json
from source_meetings.transport.waits import RateLimit, retry_after_seconds
from unit_tests.harness import Output, Table, read

# -- answers --------------------------------------------------------------------------------------


def with_text(box: Sandbox, name: str, text: str) -> tuple[Output, list[Any]]:
    """Sync an account with one meeting that has this JSON in the fields that people type.

    Returns the output, and the values of these fields.
    """
    account = ACCOUNTS[name](box)
    account.insert(box.clock.now(), **{account.columns.typed: "TYPED"})
    typed = text.encode("utf-8", "surrogatepass")

    def spoil(_: Call, reply: Reply) -> None:
        reply.payload = reply.encode().replace(b'"TYPED"', typed)

    box.rewrite(account.path, spoil)
    output = read(account.config(), None, [account.streams[0]])
    return output, [account.typed(record) for record in output.records()]


ARRIVES: dict[str, tuple[str, Any]] = {
    "10 MB": ('"' + "a" * 10_000_000 + '"', "a" * 10_000_000),
    "NUL": (r'"a\u0000b"', "a\x00b"),
    "half a character": (r'"a\ud83db"', "a\ufffdb"),
    "a whole character in two halves": (r'"\ud83d\ude00"', "😀"),
    "line ends": (r'"\u2028\u2029\u0085\r\n"', "\u2028\u2029\x85\r\n"),
    "beyond 64 bits": ("123456789012345678901234567890", 123456789012345678901234567890),
    "the smallest of 64 bits, less one": ("-9223372036854775809", -9223372036854775809),
    "nested": ("[" * 200 + "]" * 200, None),
    "nested deeper than orjson writes": ('{"a":' * 400 + "1" + "}" * 400, None),
    "two equal keys": ('{"a": 1, "a": 2}', {"a": 2}),
    "a key of the prototype": ('{"__proto__": {"x": 1}, "": 0}', {"__proto__": {"x": 1}, "": 0}),
    "an expression": (
        "\"{{ config }} ${HOME} %(x)s '1_000'\"",
        "{{ config }} ${HOME} %(x)s '1_000'",
    ),
}


@pytest.mark.parametrize("what", ARRIVES)
@pytest.mark.parametrize("name", ACCOUNTS)
def test_what_people_type_arrives_unchanged(box, name, what):
    # Given a meeting with an unexpected value in a field
    text, expected = ARRIVES[what]
    # When the meeting is synced
    output, typed = with_text(box, name, text)
    # Then the value arrives as it was sent
    assert output.exit_code == 0, output.errors
    value = json.loads(text) if expected is None else expected
    assert typed and all(one == value for one in typed)


REFUSED = {
    "nested 100,000 times": "[" * 100_000 + "]" * 100_000,
    "a number beyond all": "1e400",
    "no number": "NaN",
    "an integer of 5,000 digits": "9" * 5000,
    "a bare control character": '"a\x01b"',
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_value_that_cannot_be_stored_stops_the_stream_with_a_reason(box, monkeypatch, what):
    # Given an answer with a value that JSON parsers or destinations cannot handle
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.01")
    # When the meeting is synced
    output, _ = with_text(box, "salesloft", REFUSED[what])
    # Then the stream stops, and the error has the request and the reason
    assert output.exit_code == 1
    (error,) = output.errors
    assert "GET /salesloft/v2/meetings: The answer is not JSON" in error["message"]
    assert error["failure_type"] == "transient_error"
    assert output.records() == []


@pytest.mark.parametrize("name", ACCOUNTS)
def test_what_can_be_read_and_not_written_stops_the_stream_in_words(box, name):
    # Given a record that is nested as deeply as one JSON reader takes and no JSON writer does
    text = "[" * 1010 + "]" * 1010
    # When it is synced
    output, typed = with_text(box, name, text)
    # Then the stream stops, and says why (or a later Python has written it)
    if output.exit_code == 0:
        assert typed == [json.loads(text)]
        return
    (error,) = output.errors
    assert "a record is nested too deeply to be written" in error["message"]
    assert output.records() == []


@pytest.mark.parametrize(
    "stamp",
    ["0001-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", "10000-01-01", ""],
)
@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_row_with_an_impossible_date_is_emitted_and_does_not_hide_changes_of_others(
    box, name, stamp
):
    # Given a meeting with impossible times among others
    account = ACCOUNTS[name].with_rows(box, 20)
    key, *_, other = account.keys()

    def spoil(_: Call, reply: Reply) -> None:
        for row in account.side.page_rows(reply.payload) if reply.status == 200 else []:
            if account.served(row, key):
                row.update(dict.fromkeys(account.columns.stamps, stamp))

    box.rewrite(account.path, spoil)
    table = Table(account.streams[0])
    # When the account is synced, another meeting is edited, and the account is synced again
    output = read(account.config(), None, [table.stream])
    assert output.exit_code == 0, output.errors
    table.load(output)
    box.clock.advance(hours=1)
    account.edit(other)
    output = read(account.config(), output.last_states(), [table.stream])
    assert output.exit_code == 0, output.errors
    table.load(output)
    # Then only the meeting with the impossible times differs from the truth
    found = account.differences(table)
    assert set(found.pop("stale")) <= {key}
    assert not any(found.values())


# -- parsers --------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_json_written_by_the_standard_library_is_read_back_unchanged(value):
    text = json.dumps(value).encode()
    if b"Infinity" not in text:
        assert parse_json(text) == value


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'"\\ud800')
@example(b"[" * 1000)
def test_any_bytes_are_either_json_or_a_value_error(content):
    try:
        value = parse_json(content)
    except ValueError:
        return
    json.dumps(value, allow_nan=False).encode("ascii")
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # nothing that cannot be encoded


moments = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(timezone.utc)
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments, offsets)
def test_a_time_is_read_back_unchanged_in_any_zone(moment, zone):
    try:
        written = moment.astimezone(zone).isoformat()
    except OverflowError:
        return
    assert timestamps.parse(written) == moment
    assert timestamps.parse(timestamps.iso(moment)) == moment


@given(
    st.text()
    | st.from_regex(
        r"-?\d{1,6}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?([Z]|[+-]\d\d:?\d\d)?"
    )
    | st.integers()
    | st.none()
    | st.floats()
    | st.lists(st.integers())
)
@example("0000-01-01T00:00:00Z")
@example("-0001-01-01T00:00:00Z")
@example("10000-01-01T00:00:00Z")
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
@example("2024-01-01T00:00:00+99:99")
@example("2024-W53-7")
@example("2024-366")
@example("now")
@example("1/2/2024")
@example("2024-01-01/2025-01-01")
@example("P1D")
def test_any_value_is_either_a_time_or_a_value_error(value):
    # When any value is parsed as a time
    try:
        moment = timestamps.parse(value)
    except ValueError:
        # Then it raises a ValueError, and None where that is allowed
        assert timestamps.parse_or_none(value) is None
        return
    # Or it is a time in UTC
    assert type(moment) is datetime
    assert moment.utcoffset() == timedelta(0)


headers = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)


@given(
    headers
    | st.floats().map(str)
    | st.integers().map(str)
    | moments.map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S GMT}")
)
@example("Sun, 06 Nov 0000 08:49:37 GMT")
@example("Sun, 06 Nov 1994 08:49:37 -9999")
@example("1e309")
@example("nan")
@example("-1")
def test_no_header_leads_to_an_invalid_wait(value):
    # Given any text in every header and body field that can announce a limit
    names = ("Retry-After", "RateLimit", "RateLimit-Reset", "X-RateLimit-Interval-Milliseconds")
    found = dict.fromkeys(names, value)
    body = json.dumps({"rate_reset": value, "error": {"rate_reset": value}}).encode()
    limits = [
        RateLimit(reset_headers=("RateLimit", "RateLimit-Reset"), reset_key="rate_reset"),
        RateLimit(reset_key="rate_reset"),
        RateLimit(interval="X-RateLimit-Interval-Milliseconds"),
        RateLimit(remaining_in_minute="RateLimit", cost="RateLimit-Reset"),
    ]
    # When the wait is read from them
    waits = [retry_after_seconds(found), *(limit.seconds(found, body, 1) for limit in limits)]
    # Then each is either None or a finite number of seconds
    for wait in waits:
        assert wait is None or 0 <= wait < float("inf")
    assert timestamps.server_time({"Date": value}).utcoffset() == timedelta(0)


event_ids = st.text("abcXYZ0189_.@:+/=%~-", min_size=1, max_size=60)


@given(event_ids, event_ids)
def test_a_google_link_is_parsed_into_the_ids_that_it_was_built_from(event, calendar):
    # Given two ids in the encoding of Google, in each form of a link
    encoded = base64.b64encode(f"{event} {calendar}".encode()).decode().rstrip("=")
    for link in (
        f"https://www.google.com/calendar/event?eid={encoded}",
        f"https://www.google.com/calendar/event?eid={quote(encoded, safe='')}&ctz=Europe/Paris",
        f"https://calendar.google.com/calendar/u/0/r/eventedit/{quote(encoded, safe='')}",
    ):
        found = parse_entry(link)
        assert found["provider_calendar_event_id"] == event
        assert found["provider_calendar_id"] == calendar


@given(
    st.text()
    | st.text().map(lambda text: f"https://www.google.com/calendar/event?eid={text}")
    | st.text().map(lambda text: f"https://outlook.office.com/calendar/item/{text}")
    | st.text().map(lambda text: f"https://{text}")
)
@example("https://[::1")
@example("https://www.google.com/calendar/event?eid=/////w")
@example("\ud800")
def test_any_entry_is_either_search_parameters_or_a_config_error(entry):
    # When any text is parsed as an entry
    try:
        found = parse_entry(entry)
    except AirbyteTracedException as error:
        # Then it is a config_error that says which entry it is
        assert error.failure_type.value == "config_error"
        assert "entry 1 of provider.calendar_events" in str(error.message)
        return
    # Or it has an event to search for, and parameters that are all strings
    assert found["provider_calendar_event_id"]
    assert all(isinstance(value, str) for value in found.values())


columns = st.sampled_from(
    ["Meeting ID", "meetingId", "Account ID", "Email", "Status", "Creation Time", "Creation Date"]
    + ["Last Modified", "Appointment Time", "Appointment Date", "participant", "meeting"]
)
stamps = st.one_of(
    json_values,
    st.integers(-(10**20), 10**20),
    st.from_regex(r"\d{1,20}(\.\d+)?", fullmatch=True),
    st.from_regex(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?( ?(UTC|Z|[+-]\d\d))?", fullmatch=True),
)


@given(st.dictionaries(columns | st.text(max_size=12), stamps, max_size=10))
@example({"Meeting ID": 1, "Account ID": 2, "Creation Time": "0000-00-00 00:00:00"})
@example({"Meeting ID": 1, "Account ID": 2, "Creation Time": 10**18})
@example({"Meeting ID": 1, "Account ID": 2, "Creation Time": 10**400})
@example({"Meeting ID": 1, "Account ID": 2, "Creation Time": True, "Last Modified": 1})
@example({"Meeting ID": 1, "Account ID": 2, "Creation Time": "9999-12-31 23:59:59 -14"})
@example({"Meeting ID": 1, "Account ID": 2, "Last Modified": "0001-01-01 00:00:00"})
def test_any_row_either_has_a_key_and_times_in_utc_or_is_refused(raw):
    # When a row with any columns and values is normalised
    try:
        record = rows.normalise(raw, 101)
    except rows.UnknownShape:
        return
    # Then, unless it is refused, it has a key, the original row, and times that can be parsed
    assert record["meeting_id"] and record["account_id"]
    assert record["raw"] == raw
    for name in ("created_at", "last_modified_at", "modified_at", "starts_at", "ends_at"):
        assert name not in record or timestamps.parse(record[name])
    # And the possible range of a stamp contains the stamp
    for moment in (record.created, record.modified):
        assert moment is None or moment.earliest <= moment.micros


@given(
    json_values
    | st.dictionaries(
        st.sampled_from(["data", "items", "total", "meta", "status", "success", "total_pages"]),
        json_values | st.lists(st.dictionaries(columns, json_values, max_size=3), max_size=3),
    )
)
def test_any_answer_is_either_a_page_of_rows_or_an_unknown_shape(body):
    # When any JSON is read as a page
    try:
        page = rows.read_page(body)
    except rows.UnknownShape:
        return
    # Then, unless it is refused, it has a list of objects, and totals that are not negative
    assert all(isinstance(row, dict) for row in page.rows)
    assert page.total is None or page.total >= 0
    assert page.pages is None or page.pages >= 0
