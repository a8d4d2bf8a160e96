"""Bad input is refused with a config_error that names the field, before a request is made.

The options of the configuration are in ``test_config.py``. Here are the other files, the other
providers, and values that pass the schema but cannot work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from unit_tests.harness import Json, Output, Table, cursor_of, read, run_command, write_json

STREAM = "salesloft_meetings"


def config(
    box: Sandbox, name: str = "salesloft", provider: Json | None = None, **common: Any
) -> Json:
    return {"provider": {**ACCOUNTS[name](box).config()["provider"], **(provider or {})}, **common}


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
    """Return the one error of a command. It must be one that the user can fix."""
    assert output.exit_code == 1
    (error,) = output.errors
    assert error["failure_type"] == "config_error"
    message: str = error["message"]
    return message


# -- files ----------------------------------------------------------------------------------------


def read_file(box: Sandbox, path: Path, what: str) -> Output:
    """Run read with this text in one of the three files, and valid content in the others."""
    files = {"config": config(box), "catalog": configured(STREAM), "state": []}
    paths = {name: str(path) if name == what else write_json(files[name]) for name in files}
    return run_command(["read", *(part for name in paths for part in (f"--{name}", paths[name]))])


FORMS = {
    "config": 'A configuration is an object: {"provider": {"name": …}}.',
    "catalog": '{"streams": [{"stream": {…}, "sync_mode": "incremental", '
    '"destination_sync_mode": "append_dedup"}]}',
    "state": "A state is a list of STATE messages; write [] for a first sync.",
}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{\n  "a": 1,\n}', "is not valid JSON (line 3, column 1: "),
        (b"[{}]\n[{}]", "is not valid JSON (line 2, column 1: Extra data)"),
        (b"\x00", "is not valid JSON (line 1, column 1: "),
        (b'{"provider": NaN', "is not valid JSON (line 1, column 17: "),
        (b"\xff\xfe{}", "is not encoded in UTF-8"),
        (b"[" * 100_000, "is not JSON that can be read"),
        (b"[" + b"7" * 5000 + b"]", "is not JSON that can be read"),
    ],
    ids=lambda value: repr(value[:20]),
)
@pytest.mark.parametrize("what", ["config", "catalog", "state"])
def test_a_file_that_is_not_json_is_refused_with_its_name_and_the_place(
    box, tmp_path, what, content, words
):
    # Given that one of the three files is not JSON
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    # When the connector reads
    message = refusal(read_file(box, path, what))
    # Then the error has the file, the position and an example, and no request was sent
    name = {"config": "configuration"}.get(what, what)
    assert message.startswith(f"The {name} {path} {words}")
    assert FORMS[what] in message
    assert box.requests == []


@pytest.mark.parametrize("value", [None, 7, "text", []], ids=repr)
def test_a_configuration_that_is_not_an_object_is_refused(value):
    path = write_json(value)
    message = refusal(run_command(["discover", "--config", path]))
    assert message == f"The configuration {path} is not an object. {FORMS['config']}"


@pytest.mark.parametrize("what", ["config", "catalog", "state"])
def test_a_file_that_cannot_be_read_is_refused_with_its_name(box, tmp_path, what):
    message = refusal(read_file(box, tmp_path, what))
    assert message.endswith(f"{tmp_path} cannot be read: Is a directory.")


def test_each_file_is_read_once_and_may_be_a_pipe(box):
    # Given the three files as pipes, as a shell makes them of <(...)
    box.salesloft.generate(count=30)
    contents = {"config": config(box), "catalog": configured(STREAM), "state": []}
    arguments, ends = ["read"], []
    for name, content in contents.items():
        reader, writer = os.pipe()
        os.write(writer, json.dumps(content).encode())
        os.close(writer)
        arguments += [f"--{name}", f"/dev/fd/{reader}"]
        ends.append(reader)
    # When the connector reads
    command = [sys.executable, "-m", "source_meetings", *arguments]
    done = subprocess.run(command, pass_fds=ends, capture_output=True, text=True)
    for reader in ends:
        os.close(reader)
    # Then it has every row
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"type":"RECORD"') == 30


# -- configuration --------------------------------------------------------------------------------


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
def test_a_url_without_a_host_or_without_encryption_is_refused(box, option, url):
    output = read(config(box, provider={option: url}), configured=configured(STREAM))
    assert f"provider.{option}" in refusal(output)
    assert box.requests == []


@pytest.mark.parametrize("key", ["", " ", "key\n", "ключ", "k\u200bey", "k\x00", "k\x7f"], ids=repr)
@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_key_that_cannot_be_sent_in_a_header_is_refused(box, name, key):
    # Given
    field = ACCOUNTS[name].key_field
    bad = config(box, name)
    holder = bad["provider"].get("credentials", bad["provider"])
    holder[field] = key
    # When
    output = read(bad, configured=configured(ACCOUNTS[name].streams[0]))
    # Then the field is named before any request
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
def test_an_option_that_cannot_work_is_refused_and_named(box, name, option, value):
    output = read(
        config(box, name, {option: value}), configured=configured(ACCOUNTS[name].streams[0])
    )
    assert f"provider.{option}" in refusal(output)
    assert box.requests == []


@pytest.mark.parametrize("workers", [True, 8.0, 8.5, None, -1, 10**30])
def test_an_invalid_number_of_workers_is_refused(box, workers):
    output = read(config(box, num_workers=workers), configured=configured(STREAM))
    assert "num_workers must be" in refusal(output)


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("0000-01-01T00:00:00Z", "not a date that exists"),
        ("0001-01-01T00:00:00+14:00", "not a date that exists"),
        ("0001-01-01T00:00:00Z", "before 1970"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("9999-12-31T23:59:59Z", "in the future"),
        ("10000-01-01T00:00:00Z", "YYYY-MM-DDTHH:mm:ssZ"),
        ("-0001-01-01T00:00:00Z", "YYYY-MM-DDTHH:mm:ssZ"),
        ("2024-01-01T24:00:00Z", "not a date that exists"),
        ("2024-01-01T00:00:00Z\n", "YYYY-MM-DDTHH:mm:ssZ"),
        ("", "YYYY-MM-DDTHH:mm:ssZ"),
        (None, "must be a string"),
    ],
)
def test_a_start_date_that_cannot_be_used_is_refused(box, date, words):
    message = refusal(read(config(box, start_date=date), configured=configured(STREAM)))
    assert "start_date" in message and words in message
    assert box.requests == []


# -- catalog --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        ([], " must be an object"),
        ({}, " is missing 'streams'"),
        ({"streams": []}, ": streams must not be empty"),
        ({"streams": ["salesloft_meetings"]}, ": entry 1 of streams must be an object"),
        ({"streams": [{}]}, ": entry 1 of streams is missing 'stream'"),
        (configured(STREAM, sync_mode="sometimes"), ": sync_mode in entry 1 of streams must be"),
        (configured(STREAM, sync_mode=None), ": sync_mode in entry 1 of streams must be"),
        (
            configured(STREAM, stream={"name": STREAM}),
            ": stream in entry 1 of streams is missing 'json_schema'",
        ),
        (configured(STREAM, STREAM), ": streams lists salesloft_meetings more than once"),
        (
            configured(STREAM, "close_meetings"),
            ": close_meetings is not a stream of provider salesloft, which has salesloft_meetings.",
        ),
        (
            configured("b", STREAM, "a"),
            ": a, b are not streams of provider salesloft, which has salesloft_meetings.",
        ),
        (configured(""), ": stream.name in entry 1 of streams must not be empty"),
    ],
)
def test_for_an_invalid_catalog_the_error_names_the_file_and_the_field(
    box, tmp_path, catalog, words
):
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog))
    message = refusal(read_file(box, path, "catalog"))
    assert message.startswith(f"Catalog {path}{words}")
    assert box.requests == []


def test_for_a_catalog_that_the_protocol_does_not_know_the_error_names_the_file(box, tmp_path):
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(configured(STREAM, destination_sync_mode="sometimes")))
    message = refusal(read_file(box, path, "catalog"))
    assert message == f"The catalog {path} does not have the form of the Airbyte protocol."


@pytest.mark.parametrize("form", ["output", "message", "catalog", "first stream"])
def test_for_a_discovered_catalog_the_error_says_how_to_make_a_configured_one(box, tmp_path, form):
    # Given the output of discover, its last message, the catalog in that, or a list of some streams
    (message,) = run_command(["discover", "--config", write_json(config(box))]).of("CATALOG")
    log = {"type": "LOG", "log": {"level": "INFO", "message": "…"}}
    catalog = message["catalog"]
    content: Any = {
        "output": message,
        "message": message,
        "catalog": catalog,
        "first stream": {"streams": [{"name": catalog["streams"][0]["name"]}]},
    }[form]
    path = tmp_path / "catalog.json"
    text = json.dumps(content)
    path.write_text(f"{json.dumps(log)}\n{text}\n" if form == "output" else text)
    # When read gets it as its catalog
    message = refusal(read_file(box, path, "catalog"))
    # Then the message says what the file is and what is needed instead
    assert message.startswith(f"The catalog {path} is a discovered catalog, not a configured one.")
    assert FORMS["catalog"] in message
    assert "integration_tests/<provider>/configured_catalog.json" in message
    assert box.requests == []


# -- state ----------------------------------------------------------------------------------------


def state_of(stream: str, value: Any) -> list[Json]:
    stream_state = {"stream_descriptor": {"name": stream}, "stream_state": value}
    return [{"type": "STREAM", "stream": stream_state}]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ([7], ": entry 1 must be an object"),
        (["STATE"], ": entry 1 must be an object"),
        ([*state_of(STREAM, {}), {}], ": entry 2 is missing 'type', 'stream'"),
        (
            [{"type": "GLOBAL", "stream": {"stream_descriptor": {"name": "a"}}}],
            ": type in entry 1 must be 'STREAM'",
        ),
        ({"type": "GLOBAL", "global": {}}, ": entry 1 is missing 'stream'"),
        ({"type": "STATE", "state": "STREAM"}, ": entry 1 must be an object"),
        ({"type": "STATE"}, ": entry 1 is missing 'stream'"),
        (
            [{"type": "STREAM", "stream": {}}],
            ": stream in entry 1 is missing 'stream_descriptor'",
        ),
        (state_of(STREAM, 7), ": stream.stream_state in entry 1 must be an object or null"),
        (state_of(STREAM, []), ": stream.stream_state in entry 1 must be an object or null"),
    ],
)
def test_for_an_invalid_state_the_error_names_the_file_and_the_entry(box, tmp_path, state, words):
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    message = refusal(read_file(box, path, "state"))
    assert message.startswith(f"State {path}{words}")
    assert box.requests == []


@pytest.mark.parametrize("state", [7, None, "STATE", {"salesloft_meetings": {}}], ids=repr)
def test_for_a_state_that_is_not_a_list_the_error_shows_a_valid_one(box, tmp_path, state):
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    message = refusal(read_file(box, path, "state"))
    assert message == f"The state {path} is not a list. {FORMS['state']}"
    assert box.requests == []


@pytest.mark.parametrize(
    "form",
    [
        lambda states: states[-1:],
        lambda states: states[-1],
        lambda states: {"type": "STATE", "state": states[-1]},
        lambda states: [{"type": "STATE", "state": state} for state in states],
        lambda states: [*states[:-1], {"type": "STATE", "state": states[-1]}],
    ],
    ids=["list", "one state", "one message", "all messages", "mixed"],
)
def test_a_state_file_may_have_any_form_in_which_platforms_keep_it(box, tmp_path, form):
    # Given the states that a first sync printed, of which the last one counts
    box.salesloft.generate(count=300)
    states = read(config(box)).states
    assert len(states) > 1
    path = tmp_path / "state.json"
    path.write_text(json.dumps(form(states)))
    box.forget_requests()
    # When a sync is started from them
    output = read_file(box, path, "state")
    # Then it continues from the last one
    assert output.exit_code == 0, output.errors
    assert len(box.requests) == 1
    assert ("sort_by", "updated_at") in box.requests[0].params


@pytest.mark.parametrize("state", [[], {}], ids=repr)
def test_a_state_that_is_empty_means_a_first_sync(box, tmp_path, state):
    # Given a file with an empty state
    box.salesloft.generate(count=30)
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    # When
    output = read_file(box, path, "state")
    # Then
    assert output.exit_code == 0, output.errors
    assert len(output.records()) == 30


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


@pytest.mark.parametrize("name", ACCOUNTS)
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: json.dumps(value)[:60])
def test_a_stream_with_an_unusable_state_is_read_from_the_start(box, name, garbage):
    # Given a state of another version, of another kind, or from the future
    account = ACCOUNTS[name].with_rows(box, 30)
    stream = account.streams[0]
    text = json.dumps(garbage).replace("CURSOR", str(cursor_of(stream)))
    # When the stream is read with it
    output = read(account.config(), state_of(stream, json.loads(text)), [stream])
    # Then everything is read, and the next sync can continue from the new state
    assert output.exit_code == 0, output.errors
    table = Table(stream)
    table.load(output)
    assert table.rows.keys() == account.truth().keys()
    again = read(account.config(), output.last_states(), [stream])
    assert again.exit_code == 0, again.errors
    table.load(again)
    assert table.rows.keys() == account.truth().keys()


@pytest.mark.parametrize(
    ("name", "stream"),
    [(name, stream) for name, account in ACCOUNTS.items() for stream in account.streams],
)
def test_a_stream_that_had_no_cursor_before_is_read_from_the_start(box, name, stream):
    # Given the state that Airbyte stores for a stream without a cursor
    account = ACCOUNTS[name].with_rows(box, 30)
    state = state_of(stream, {"__ab_no_cursor_state_message": True})
    # When the stream is read with it
    output = read(account.config(), state, [stream])
    # Then everything is read, the log says so, and the new state can be used
    assert output.exit_code == 0, output.errors
    assert len(output.records(stream)) == len(account.truth(stream))
    assert any("the stream had no cursor; reading from the start" in line for line in output.logs)
    again = read(account.config(), output.last_states(), [stream])
    assert len(again.records(stream)) < len(output.records(stream))


def test_the_state_of_another_provider_is_not_used_and_a_warning_says_why(box):
    # Given a connection that was changed from Close to Salesloft
    box.salesloft.generate(count=30)
    state = state_of("close_meetings", {"date_updated": "2026-05-01T00:00:00Z", "events": {}})
    # When Salesloft is read with the state of Close
    output = read(config(box), state)
    # Then everything is read
    assert output.exit_code == 0
    assert len(output.records()) == 30
    assert any("close_meetings" in line and "is not used" in line for line in output.logs)
