"""What cannot be used is refused by the name of the field, as a config_error, with no request made.

The configuration's own options are in ``test_config.py``; here are the other files, the other
providers, and the values that pass a schema and still cannot work.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox import Sandbox
from unit_tests.harness import CURSORS, Json, Output, Table, read, run_command, write_json

STREAM = "salesloft_meetings"
STREAMS = {
    "close": "close_meetings",
    "salesloft": STREAM,
    "highlevel": "highlevel_calendar_events",
    "expoplatform": "expoplatform_meeting_participants",
}


def config(
    box: Sandbox, name: str = "salesloft", provider: Json | None = None, **common: Any
) -> Json:
    side: Any = box.sides[name]
    options: Json = {"name": name, "base_url": side.base_url}
    if name == "close":
        options["credentials"] = {"auth_type": "api_key", "api_key": "api_sandbox"}
    elif name == "salesloft":
        options["credentials"] = {"auth_type": "api_key", "api_key": "ak_sandbox"}
    elif name == "highlevel":
        token = {"auth_type": "private_integration_token", "access_token": "pit-sandbox"}
        options |= {"credentials": token, "location_id": side.location_id}
    else:
        options |= {"api_key": next(iter(side.keys)), "event_ids": [101]}
    return {"provider": {**options, **(provider or {})}, **common}


def generate(box: Sandbox, name: str, count: int = 30) -> None:
    if name == "expoplatform":
        box.expoplatform.generate(meetings=count)
    else:
        getattr(box, name).generate(count=count)


def configured(*names: str, **changes: Any) -> Json:
    modes = ["full_refresh", "incremental"]
    stream = {"json_schema": {}, "supported_sync_modes": modes}
    modes_of_stream = {"sync_mode": "incremental", "destination_sync_mode": "append_dedup"}
    return {
        "streams": [
            {"stream": {"name": name, **stream}, **modes_of_stream, **changes} for name in names
        ]
    }


def refusal(output: Output) -> str:
    """The one error of a command, which is the user's to mend."""
    assert output.exit_code == 1
    (error,) = output.errors
    assert error["failure_type"] == "config_error"
    message: str = error["message"]
    return message


def read_with(box: Sandbox, catalog: Any, state: Any = None) -> Output:
    arguments = ["--config", write_json(config(box)), "--catalog", write_json(catalog)]
    if state is not None:
        arguments += ["--state", write_json(state)]
    return run_command(["read", *arguments])


# ------------------------------------------------------------------ files


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe{}", b"\x00", b"[" * 100_000, b'{"provider": NaN'],
    ids=["empty", "half", "not UTF-8", "NUL", "deep", "half a NaN"],
)
@pytest.mark.parametrize("what", ["config", "catalog", "state"])
def test_a_file_that_is_no_json_is_refused_by_its_name(box, tmp_path, what, content):
    # Given one of the three files is not JSON
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    files = {"config": config(box), "catalog": configured(STREAM), "state": []}
    paths = {name: str(path) if name == what else write_json(files[name]) for name in files}
    # When the connector reads
    output = run_command(["read", *(part for name in paths for part in (f"--{name}", paths[name]))])
    # Then the file is named, and nobody was asked for anything
    assert f"{path} is no JSON" in refusal(output)
    assert box.requests == []


@pytest.mark.parametrize("value", [None, 7, "text", []], ids=repr)
def test_a_configuration_that_is_no_object_is_refused(value):
    assert "is no JSON object" in refusal(run_command(["discover", "--config", write_json(value)]))


# ------------------------------------------------------------------ configuration


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///v2",
        "https://:443",
        "https://host:port",
        "https://host:99999",
        "https://[::1",
        "https://[::1]x",
        "https://a..b",
        "https://api.salesloft.com\n",
        "https://api.salesloft.com/v2?key=1",
        "https://user@api.salesloft.com/v2",
        "http://api.salesloft.com/v2",
        "file:///etc/passwd",
        "api.salesloft.com/v2",
        "",
    ],
)
@pytest.mark.parametrize("option", ["base_url", "token_url"])
def test_a_url_that_leads_to_no_host_or_is_not_safe_is_refused(box, option, url):
    output = read(config(box, provider={option: url}), configured=configured(STREAM))
    assert f"provider.{option}" in refusal(output)
    assert box.requests == []


@pytest.mark.parametrize("key", ["", " ", "key\n", "ключ", "k\u200bey", "k\x00", "k\x7f"], ids=repr)
@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_key_that_no_header_can_carry_is_refused(box, name, key):
    field = {"highlevel": "access_token"}.get(name, "api_key")
    bad = config(box, name)
    holder = bad["provider"].get("credentials", bad["provider"])
    holder[field] = key
    output = read(bad, configured=configured(STREAMS[name]))
    assert f"{field} must" in refusal(output)
    assert box.requests == []


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("expoplatform", "event_ids", []),
        ("expoplatform", "event_ids", [-1]),
        ("expoplatform", "event_ids", ["101"]),
        ("expoplatform", "event_ids", [101.0]),
        ("expoplatform", "event_ids", [True]),
        ("expoplatform", "event_ids", [101, 101]),
        ("expoplatform", "event_ids", 101),
        ("expoplatform", "base_url", None),
        ("highlevel", "location_id", " "),
        ("highlevel", "calendar_ids", ["a", "a"]),
        ("highlevel", "calendar_ids", [""]),
        *(("highlevel", "api_version", text) for text in ("", " ", "v 3", "v3\n", "v\u00b3")),
        ("highlevel", "api_version", 3),
        ("highlevel", "look_back_days", 0),
        ("highlevel", "look_ahead_days", -1),
        ("highlevel", "look_ahead_days", 10**9),
        ("close", "calendar_events", "abc"),
        ("close", "calendar_events", [""]),
        ("close", "calendar_events", [7]),
        ("close", "calendar_events", [None]),
        ("close", "calendar_events", [{"event": "d639fa1c7ea344c797df1d0f51603113"}]),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(box, name, option, value):
    output = read(config(box, name, {option: value}), configured=configured(STREAMS[name]))
    assert f"provider.{option}" in refusal(output)
    assert box.requests == []


@pytest.mark.parametrize("workers", [True, 8.0, 8.5, None, -1, 10**30])
def test_a_number_of_workers_that_is_none_is_refused(box, workers):
    output = read(config(box, num_workers=workers), configured=configured(STREAM))
    assert "num_workers must be" in refusal(output)


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("0000-01-01T00:00:00Z", "no date that exists"),
        ("0001-01-01T00:00:00+14:00", "no date that exists"),
        ("0001-01-01T00:00:00Z", "before 1970"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("9999-12-31T23:59:59Z", "in the future"),
        ("10000-01-01T00:00:00Z", "YYYY-MM-DDTHH:mm:ssZ"),
        ("-0001-01-01T00:00:00Z", "YYYY-MM-DDTHH:mm:ssZ"),
        ("2024-01-01T24:00:00Z", "no date that exists"),
        ("2024-01-01T00:00:00Z\n", "YYYY-MM-DDTHH:mm:ssZ"),
        ("", "YYYY-MM-DDTHH:mm:ssZ"),
        (None, "type string"),
    ],
)
def test_a_start_date_that_cannot_be_used_is_refused(box, date, words):
    message = refusal(read(config(box, start_date=date), configured=configured(STREAM)))
    assert "start_date" in message and words in message
    assert box.requests == []


# ------------------------------------------------------------------ catalog


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        ([], "must be of type object"),
        ({}, "lacks 'streams'"),
        ({"streams": []}, "streams must have at least 1"),
        ({"streams": ["salesloft_meetings"]}, "streams.0 must be of type object"),
        ({"streams": [{}]}, "streams.0 lacks 'stream'"),
        (configured(STREAM, sync_mode="sometimes"), "streams.0.sync_mode must be"),
        (configured(STREAM, sync_mode=None), "streams.0.sync_mode must be"),
        (configured(STREAM, stream={"name": STREAM}), "streams.0.stream lacks 'json_schema'"),
        (configured(STREAM, STREAM), "selects salesloft_meetings twice"),
        (configured(STREAM, "close_meetings"), "close_meetings is no stream of provider salesloft"),
        (configured(""), "streams.0.stream.name must not be empty"),
    ],
)
def test_a_catalog_that_cannot_be_read_is_refused_by_name(box, catalog, words):
    message = refusal(read_with(box, catalog))
    assert message.startswith("Catalog: ") and words in message
    assert box.requests == []


# ------------------------------------------------------------------ state


def state_of(stream: str, value: Any) -> list[Json]:
    stream_state = {"stream_descriptor": {"name": stream}, "stream_state": value}
    return [{"type": "STREAM", "stream": stream_state}]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (7, "must be of type array"),
        ({"salesloft_meetings": {}}, "must be of type array"),
        ([7], "0 must be of type object"),
        ([{}], "0 lacks 'type', 'stream'"),
        (
            [{"type": "GLOBAL", "stream": {"stream_descriptor": {"name": "a"}}}],
            "0.type must be 'STREAM'",
        ),
        ([{"type": "STREAM", "stream": {}}], "0.stream lacks 'stream_descriptor'"),
        (state_of(STREAM, 7), "0.stream.stream_state must be of type object or null"),
        (state_of(STREAM, []), "0.stream.stream_state must be of type object or null"),
    ],
)
def test_a_state_file_that_is_no_list_of_states_is_refused_by_name(box, state, words):
    message = refusal(read_with(box, configured(STREAM), state))
    assert message.startswith("State: ") and words in message
    assert box.requests == []


GARBAGE: list[Any] = [
    {},
    {"version": 2},
    {"CURSOR": 7},
    {"CURSOR": "yesterday"},
    {"CURSOR": "0001-01-01T00:00:00Z", "events": {}},
    {"CURSOR": "9999-12-31T23:59:59Z", "events": {"updated": "9999-12-31T23:59:59Z"}},
    {"CURSOR": ["2026-05-01T00:00:00Z"], "events": [], "scope": 7},
    {"events": {"101": {"created_from": 7, "last_modified_from": None}}},
    {"events": {"101": "garbage", "updated": 7}},
    {"scan": 7},
    {"scan": {"then": 7, "pending": []}},
    {"scan": {"then": {"CURSOR": "2026-05-01T00:00:00Z", "events": {}}, "pending": 7}},
    {"scan": {"then": {"CURSOR": "2026-05-01T00:00:00Z", "events": {}}, "pending": [{}]}},
    {
        "scan": {
            "then": {"CURSOR": "2026-05-01T00:00:00Z", "events": {}},
            "pending": [
                {"created_at_gte": 7, "calendarId": 7, "event_id": "x", "date_created__gte": "x"}
            ],
        }
    },
]


@pytest.mark.parametrize("name", sorted(STREAMS))
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: json.dumps(value)[:60])
def test_a_stream_starts_again_from_a_state_that_is_none_of_its_own(box, name, garbage):
    # Given a state of another version, another kind, or from the future
    stream = STREAMS[name]
    generate(box, name)
    text = json.dumps(garbage).replace("CURSOR", CURSORS[stream])
    # When the stream is read with it
    output = read(config(box, name), state_of(stream, json.loads(text)), [stream])
    # Then it is read whole, and what is saved can be gone on from
    assert output.exit_code == 0, output.errors
    table = Table(stream)
    table.load(output)
    assert len(table.rows) == len(box.sides[name].truth())
    again = read(config(box, name), output.last_states(), [stream])
    assert again.exit_code == 0, again.errors
    table.load(again)
    assert len(table.rows) == len(box.sides[name].truth())


@pytest.mark.parametrize(
    ("name", "stream"), [*STREAMS.items(), ("highlevel", "highlevel_appointments")]
)
def test_a_stream_that_had_no_cursor_before_is_read_from_the_start(box, name, stream):
    # Given the state that Airbyte stores for a stream without a cursor
    generate(box, name)
    # When the stream is read with it
    output = read(
        config(box, name), state_of(stream, {"__ab_no_cursor_state_message": True}), [stream]
    )
    # Then everything is read, the log says so, and the new state can be used
    assert output.exit_code == 0, output.errors
    assert len(output.records(stream)) == len(box.sides[name].truth())
    assert any("the stream had no cursor; reading from the start" in line for line in output.logs)
    again = read(config(box, name), output.last_states(), [stream])
    assert len(again.records(stream)) < len(output.records(stream))


def test_the_state_of_another_provider_is_left_alone_and_the_log_says_so(box):
    # Given a connection that read Close before and reads Salesloft now
    generate(box, "salesloft")
    state = state_of("close_meetings", {"date_updated": "2026-05-01T00:00:00Z", "events": {}})
    # When it is read with the state of then
    output = read(config(box), state)
    # Then everything is read
    assert output.exit_code == 0
    assert len(output.records()) == 30
    assert any("close_meetings" in line and "left alone" in line for line in output.logs)
