"""Answers that are allowed, or nearly so, and that nobody expects; and the parsers that read them.

To search for new examples for minutes: HYPOTHESIS_PROFILE=search, with `--hypothesis-seed=random`.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
import requests
from airbyte_cdk.utils.traced_exception import AirbyteTracedException
from hypothesis import example, given
from hypothesis import strategies as st

from source_meetings import timestamps
from source_meetings.http import parse_json
from source_meetings.providers.close.calendar_events import parse_entry
from source_meetings.providers.close.components import RateReset
from source_meetings.providers.expoplatform import rows
from source_meetings.providers.highlevel.components import _interval_seconds
from source_meetings.waits import retry_after_seconds
from unit_tests.accounts import ACCOUNTS
from unit_tests.harness import Json, Output, Table, read

# ------------------------------------------------------------------ answers

# Where a row is, and where people may type, in each provider's answers.
ROWS = {
    "close": (r"/activity/meeting/\?", "data", "title"),
    "salesloft": (r"/v2/meetings\?", "data", "title"),
    "highlevel": (r"/calendars/events\?", "events", "title"),
    "expoplatform": (r"/meetings/export\?", "data", "Remark"),
}
NAMES = sorted(ROWS)


def with_text(box: Any, name: str, text: str) -> Output:
    """A sync of an account with one meeting, in which this JSON stands where a person typed."""
    account = ACCOUNTS[name](box, 1)
    if name == "expoplatform":
        box.expoplatform.insert(101, [7], Remark="TYPED")
    else:
        if name == "highlevel":
            box.highlevel.add_calendar()
        account.side.insert(title="TYPED")
    answer = account.side.answer

    def spoilt(call: Any) -> Any:
        reply = answer(call)
        reply.payload = reply.encode().replace(b'"TYPED"', text.encode("utf-8", "surrogatepass"))
        return reply

    account.side.answer = spoilt
    output = read(account.config(), None, [account.streams[0]])
    found = output.records()
    if name == "expoplatform":
        typed = [row["raw"]["Remark"] for row in found]
    else:
        typed = [row.get("title") for row in found]
    output.typed = typed  # type: ignore[attr-defined]
    return output


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
@pytest.mark.parametrize("name", NAMES)
def test_what_people_type_arrives(box, name, what):
    # Given a meeting with something unexpected in a field
    text, expected = ARRIVES[what]
    # When it is synced
    output = with_text(box, name, text)
    # Then it is stored as it was sent
    assert output.exit_code == 0, output.errors
    (typed,) = output.typed  # type: ignore[attr-defined]
    assert typed == (json.loads(text) if expected is None else expected)


REFUSED = {
    "nested 100,000 times": "[" * 100_000 + "]" * 100_000,
    "a number beyond all": "1e400",
    "no number": "NaN",
    "an integer of 5,000 digits": "9" * 5000,
    "a bare control character": '"a\x01b"',
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_stored_stops_the_stream_in_words(box, monkeypatch, what):
    # Given an answer with something in it that no JSON reader or no destination can take
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.01")
    # When it is synced
    output = with_text(box, "salesloft", REFUSED[what])
    # Then the stream stops, and says at which request and why
    assert output.exit_code == 1
    (error,) = output.errors
    assert "GET /salesloft/v2/meetings: The answer is no JSON" in error["message"]
    assert error["failure_type"] == "transient_error"
    assert output.records() == []


STAMPS = {
    "close": ("date_updated", "date_created"),
    "salesloft": ("updated_at", "start_time"),
    "highlevel": ("dateUpdated", "startTime"),
    "expoplatform": ("Last Modified", "Creation Time"),
}


@pytest.mark.parametrize(
    "stamp",
    ["0001-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59Z", "10000-01-01", ""],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_row_with_an_impossible_date_is_stored_and_hides_no_change_of_others(box, name, stamp):
    # Given a meeting whose times cannot be, among others
    account = ACCOUNTS[name](box, 1)
    account.generate(20)
    key = account.keys()[0]
    answer = account.side.answer

    def spoilt(call: Any) -> Any:
        reply = answer(call)
        for row in account.side.page_rows(reply.payload) if reply.status == 200 else []:
            here = (row.get("id"), *(row.get(name) for name in ("Meeting ID", "Account ID")))
            if here[0] == key or (name == "expoplatform" and here[1:] == tuple(map(int, key[1:]))):
                row.update(dict.fromkeys(STAMPS[name], stamp))
        return reply

    account.side.answer = spoilt
    table = Table(account.streams[0])
    # When it is synced, everything else is edited, and it is synced again
    output = read(account.config(), None, [table.stream])
    assert output.exit_code == 0, output.errors
    table.load(output)
    box.clock.advance(hours=1)
    account.side.edit(*([account.keys()[-1]] if name != "expoplatform" else account.keys()[-1]))
    output = read(account.config(), output.last_states(), [table.stream])
    assert output.exit_code == 0, output.errors
    table.load(output)
    # Then only what was spoilt differs from the truth
    spoilt_key = "|".join(map(str, key)) if name == "expoplatform" else str(key)
    found = account.differences(table)
    assert set(found.pop("stale")) <= {spoilt_key}
    assert not any(found.values())


@pytest.mark.parametrize("name", NAMES)
def test_empty_pages_that_claim_more_end_in_an_error_not_in_a_loop(box, monkeypatch, name):
    # Given a provider whose pages are empty and say that there is more
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.01")
    account = ACCOUNTS[name](box, 1)
    account.generate(300)
    paging = {"next_page": 2, "per_page": 100, "total_count": 300, "current_page": 1}
    pages: dict[str, Json] = {
        "close": {"data": [], "has_more": True},
        "salesloft": {"data": [], "metadata": {"paging": paging}},
        "highlevel": {"events": []},
        "expoplatform": {"data": [], "total": 10**9, "total_pages": 10**6},
    }
    box.fault(ROWS[name][0], 1, 10**6, kind="body", body=pages[name])
    # When it is synced
    output = read(account.config(), None, [account.streams[0]])
    # Then it ends soon; HighLevel has no pages, so an empty answer claims nothing
    assert len(box.requests) < 200
    if name != "highlevel":
        assert output.exit_code == 1
        assert len(output.errors) == 1


# ------------------------------------------------------------------ parsers

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_json_that_the_standard_library_writes_is_read_as_it_was(value):
    text = json.dumps(value).encode()
    if b"Infinity" not in text:
        assert parse_json(text) == value


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'"\\ud800')
@example(b"[" * 1000)
def test_any_bytes_are_json_or_a_value_error(content):
    try:
        value = parse_json(content)
    except ValueError:
        return
    json.dumps(value, allow_nan=False).encode("ascii")
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # nothing that no encoding can carry


moments = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(timezone.utc)
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments, offsets)
def test_a_moment_is_read_as_it_was_written_in_any_zone(moment, zone):
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
def test_whatever_names_no_point_in_time_is_a_value_error(value):
    try:
        moment = timestamps.parse(value)
    except ValueError:
        assert timestamps.parse_or_none(value) is None
        return
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
def test_no_header_asks_for_a_wait_that_is_none(value):
    # Given the same text in every header that limits are announced in
    names = ("Retry-After", "RateLimit", "RateLimit-Reset", "X-RateLimit-Interval-Milliseconds")
    found = dict.fromkeys(names, value)
    response = requests.Response()
    response.status_code = 429
    response._content = json.dumps({"rate_reset": value, "error": {"rate_reset": value}}).encode()
    response.headers.update(found)
    # When the wait is taken from it
    waits = [
        retry_after_seconds(found),
        _interval_seconds(found),
        RateReset().backoff_time(response, 1),
    ]
    # Then it is none, or a number of seconds that can be slept
    for wait in waits:
        assert wait is None or 0 <= wait < float("inf")
    assert timestamps.server_time({"Date": value}).utcoffset() == timedelta(0)


event_ids = st.text("abcXYZ0189_.@:+/=%~-", min_size=1, max_size=60)


@given(event_ids, event_ids)
def test_a_google_link_is_read_back_to_the_ids_it_was_made_of(event, calendar):
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
def test_an_entry_is_search_parameters_or_a_config_error(entry):
    try:
        found = parse_entry(entry)
    except AirbyteTracedException as error:
        assert error.failure_type.value == "config_error"
        assert "provider.calendar_events.0" in str(error.message)
        return
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
@example({"Meeting ID": 1, "Account ID": 2, "Creation Time": "9999-12-31 23:59:59 -14"})
@example({"Meeting ID": 1, "Account ID": 2, "Last Modified": "0001-01-01 00:00:00"})
def test_any_row_has_a_key_and_times_in_utc_or_is_refused(raw):
    try:
        record = rows.normalise(raw, 101)
    except rows.UnknownShape:
        return
    assert record["meeting_id"] and record["account_id"]
    assert record["raw"] == raw
    for name in ("created_at", "last_modified_at", "modified_at", "starts_at", "ends_at"):
        assert record[name] is None or timestamps.parse(record[name])
    created, modified = rows.stamps(raw)
    for moment in (created, modified):
        assert moment is None or moment.at_the_earliest <= moment.at


@given(
    json_values
    | st.dictionaries(
        st.sampled_from(["data", "items", "total", "meta", "status", "success", "total_pages"]),
        json_values | st.lists(st.dictionaries(columns, json_values, max_size=3), max_size=3),
    )
)
def test_any_answer_is_a_page_of_rows_or_an_unknown_shape(body):
    try:
        page = rows.read_page(body)
    except rows.UnknownShape:
        return
    assert all(isinstance(row, dict) for row in page.rows)
    assert page.total is None or page.total >= 0
    assert page.pages is None or page.pages >= 0
