"""The commands, called as a platform calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Sandbox
from unit_tests.harness import Json, Output, read, run_command, write_json

ROOT = Path(__file__).parents[1]
STREAM = "salesloft_meetings"


def config(box: Sandbox) -> Json:
    credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
    base_url = box.salesloft.base_url
    return {"provider": {"name": "salesloft", "base_url": base_url, "credentials": credentials}}


def catalog(*names: str) -> Json:
    modes = ["full_refresh", "incremental"]
    return {
        "streams": [
            {
                "stream": {"name": name, "json_schema": {}, "supported_sync_modes": modes},
                "sync_mode": "incremental",
                "destination_sync_mode": "append_dedup",
            }
            for name in names
        ]
    }


def test_discover_describes_the_stream_without_a_request(box):
    # When
    output = run_command(["discover", "--config", write_json(config(box))])
    # Then
    (message,) = output.of("CATALOG")
    (stream,) = message["catalog"]["streams"]
    assert stream["name"] == STREAM
    assert stream["source_defined_primary_key"] == [["id"]]
    assert stream["default_cursor_field"] == ["updated_at"]
    assert stream["source_defined_cursor"] is True
    assert set(stream["supported_sync_modes"]) == {"full_refresh", "incremental"}
    assert box.requests == []


def test_every_field_of_a_meeting_is_in_the_schema_and_fits_it(box):
    import jsonschema

    # Given
    box.salesloft.generate(count=300, seed=1)
    schema = json.loads((ROOT / "schemas" / f"{STREAM}.json").read_text())
    # When
    output = read(config(box))
    # Then
    validator = jsonschema.Draft7Validator(schema)
    for row in output.records():
        assert [error.message for error in validator.iter_errors(row)] == []
        assert set(row) <= set(schema["properties"])


def test_a_stream_that_the_provider_does_not_have_is_refused_before_any_request(box):
    output = read(config(box), configured=catalog(STREAM, "close_meetings"))
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "config_error"
    assert "close_meetings is not a stream of provider salesloft" in output.errors[0]["message"]
    assert box.requests == []


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "source_meetings"],
        [sys.executable, "main.py"],
        [sys.executable, "-c", "from source_meetings.run import run; run()"],
    ],
    ids=["module", "main.py", "function"],
)
def test_the_connector_runs_as_a_process_and_prints_protocol_only(box, command):
    # Given
    box.salesloft.generate(count=250, seed=2)
    arguments = ["read"]
    arguments += ["--config", write_json(config(box)), "--catalog", write_json(catalog(STREAM))]
    # When
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    # Then every line is a message, and none shows the key
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert {message["type"] for message in messages} == {"LOG", "TRACE", "RECORD", "STATE"}
    assert sum(message["type"] == "RECORD" for message in messages) == 250
    assert messages[-1]["type"] in ("STATE", "LOG", "TRACE")
    assert "ak_sandbox" not in done.stdout + done.stderr


def test_a_failed_read_exits_with_status_1(box):
    # Given a catalog with a stream that does not exist
    arguments = ["--config", write_json(config(box)), "--catalog", write_json(catalog("nothing"))]
    # When
    done = subprocess.run(
        [sys.executable, "-m", "source_meetings", "read", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    # Then
    assert done.returncode == 1
    for line in done.stdout.splitlines():
        json.loads(line)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "7"])
def test_a_missing_or_malformed_configuration_file_is_a_config_error(tmp_path, text):
    # Given no file, or one that does not hold a JSON object
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    # When
    output = run_command(["discover", "--config", str(path)])
    # Then
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "config_error"
    assert str(path) in output.errors[0]["message"]


# -- usage and stack traces -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [[Path(sys.executable).parent / "source-meetings"], [sys.executable, "-m", "source_meetings"]],
    ids=["console script", "module"],
)
def test_without_a_command_the_usage_is_printed(command):
    # When
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # Then
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: ")
    assert all(name in done.stderr for name in ("spec", "check", "discover", "read"))
    assert "Traceback" not in done.stderr


def errors_of(box: Sandbox, case: str) -> Output:
    """Run a command that fails at this place."""
    if case == "configuration":
        return run_command(["discover", "--config", write_json({})])
    if case == "catalog":
        return read(config(box), configured=catalog("nothing"))
    box.salesloft.generate(count=250)
    box.fault("/meetings", 2, 99, kind="status", status=403)
    return read(config(box))


@pytest.mark.parametrize("case", ["configuration", "catalog", "refused"])
def test_an_error_that_the_user_can_fix_has_no_stack_trace(box, case):
    # When
    output = errors_of(box, case)
    # Then
    assert output.exit_code == 1
    (error,) = output.errors
    assert error["failure_type"] == "config_error"
    assert "stack_trace" not in error
    assert "Traceback" not in str(output.messages)


def test_an_error_of_the_connector_keeps_its_stack_trace(box, monkeypatch):
    # Given a bug in the connector itself
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    box.salesloft.insert()
    monkeypatch.setattr("source_meetings.sync.chain.Sync.read", broken)
    # When a stream is read
    output = read(config(box))
    # Then the error has the place in the code
    (error,) = output.errors
    assert error["failure_type"] == "system_error"
    assert "ZeroDivisionError" in error["stack_trace"]


# -- check ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/me", 401, "does not accept the API key"),
        ("/meetings", 403, "meetings:read"),
        ("/me", 404, "Leave base_url at its default"),
        ("/me", 500, "server error (status 500)"),
        ("/me", 429, "limit of 600 points"),
    ],
)
def test_check_says_what_is_wrong(box, path, status, words):
    # Given a provider that refuses every request
    headers = {"Retry-After": "0"}
    box.fault(path, times=9, kind="status", status=status, headers=headers)
    # When
    output = run_command(["check", "--config", write_json(config(box))])
    # Then
    answer = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert answer["status"] == "FAILED"
    assert words in answer["message"]
    assert len(box.requests) <= 3


def test_check_says_that_a_host_cannot_be_reached_after_two_tries(box):
    # Given an address where nothing listens
    unreachable = config(box)
    unreachable["provider"]["base_url"] = "http://127.0.0.1:9/v2"
    # When
    output = run_command(["check", "--config", write_json(unreachable)])
    # Then
    answer = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert answer["status"] == "FAILED"
    assert "127.0.0.1:9 could not be reached" in answer["message"]
    assert "Tried 2 times" in answer["message"]


def test_check_does_not_wait_for_a_provider_that_does_not_answer(box):
    # Given a provider that takes a minute for each answer
    box.fault("/me", times=9, kind="stall", seconds=60)
    # When
    output = run_command(["check", "--config", write_json(config(box))])
    # Then the check fails after two time-outs, and no answer has come by then
    answer = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert answer["status"] == "FAILED"
    assert "did not answer" in answer["message"]
    assert "Tried 2 times" in answer["message"]
    assert len(box.requests) == 2
