"""A configuration that cannot work is refused by name of the field, before any request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox import Sandbox
from source_meetings.source import SourceMeetings
from unit_tests.accounts import ACCOUNTS
from unit_tests.harness import Json, Output, run_command, write_json

KEY = {"auth_type": "api_key", "api_key": "ak_sandbox"}
OAUTH = {"auth_type": "oauth2.0", "client_id": "a", "client_secret": "b", "refresh_token": "c"}


def config(box: Sandbox, provider: Json | None = None, **common: Any) -> Json:
    base = {"name": "salesloft", "base_url": box.salesloft.base_url, "credentials": KEY}
    return {"provider": {**base, **(provider or {})}, **common}


def check(config: Any) -> Output:
    return run_command(["check", "--config", write_json(config)])


def refusal(output: Output) -> str:
    status = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert status["status"] == "FAILED"
    message: str = status["message"]
    return message


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ({"name": "salesforce"}, "provider.name"),
        ({"name": 7}, "provider.name"),
        ({"credentials": None}, "provider.credentials"),
        ({"credentials": {}}, "provider.credentials"),
        ({"credentials": {"auth_type": "password"}}, "provider.credentials.auth_type"),
        ({"credentials": {"auth_type": "api_key"}}, "'api_key'"),
        ({"credentials": {**KEY, "api_key": ""}}, "provider.credentials.api_key"),
        ({"credentials": {**KEY, "api_key": 12}}, "provider.credentials.api_key"),
        ({"credentials": {**KEY, "api_key": "two words"}}, "provider.credentials.api_key"),
        ({"credentials": {**KEY, "api_key": "ak\nX-Evil: 1"}}, "provider.credentials.api_key"),
        ({"credentials": {**OAUTH, "refresh_token": ""}}, "provider.credentials.refresh_token"),
        ({"credentials": {"auth_type": "oauth2.0", "client_id": "a"}}, "'client_secret'"),
        ({"base_url": "http://api.salesloft.com/v2"}, "provider.base_url"),
        ({"base_url": "ftp://127.0.0.1/v2"}, "provider.base_url"),
        ({"base_url": "https://user:pw@example.com"}, "provider.base_url"),
        ({"base_url": "http://127.0.0.1.example.com/v2"}, "provider.base_url"),
        ({"base_url": "http://localhost.example.com/v2"}, "provider.base_url"),
        ({"token_url": "http://example.com/token"}, "provider.token_url"),
    ],
)
def test_a_wrong_provider_option_is_refused_by_name_before_any_request(box, provider, field):
    for command in ("check", "discover"):
        output = run_command([command, "--config", write_json(config(box, provider))])
        if command == "check":
            message = refusal(output)
        else:
            assert output.exit_code == 1
            assert output.errors[0]["failure_type"] == "config_error"
            message = output.errors[0]["message"]
        assert field in message
    assert box.requests == []


@pytest.mark.parametrize(
    ("common", "field"),
    [
        ({"start_date": "2024-01-01"}, "start_date"),
        ({"start_date": "2024-02-30T00:00:00Z"}, "start_date"),
        ({"start_date": "2999-01-01T00:00:00Z"}, "start_date"),
        ({"start_date": 20240101}, "start_date"),
        ({"num_workers": 1}, "num_workers must be at least 2"),
        ({"num_workers": 41}, "num_workers"),
        ({"num_workers": "8"}, "num_workers"),
    ],
)
def test_a_wrong_common_option_is_refused_by_name_before_any_request(box, common, field):
    assert field in refusal(check(config(box, **common)))
    assert box.requests == []


@pytest.mark.parametrize("value", [{}, {"provider": None}, {"provider": "salesloft"}])
def test_a_configuration_without_a_provider_is_refused(value):
    assert "provider" in refusal(check(value))


def test_a_refusal_holds_no_value_that_may_be_a_secret(box):
    output = check(config(box, {"credentials": {**KEY, "api_key": "my secret key"}}))
    assert "my secret key" not in json.dumps(output.messages)


@pytest.mark.parametrize(
    "common",
    [
        {"start_date": "2024-01-01T00:00:00Z"},
        {"start_date": "2024-01-01T00:00:00.123456+02:00"},
        {"num_workers": 2},
        {"num_workers": 40},
        {"unknown": "is ignored"},
    ],
)
def test_what_the_form_allows_is_accepted(box, common):
    box.salesloft.insert()
    output = check(config(box, **common))
    assert output.of("CONNECTION_STATUS")[0]["connectionStatus"]["status"] == "SUCCEEDED"


@pytest.mark.parametrize("name", ["close", "expoplatform", "highlevel", "salesloft"])
@pytest.mark.parametrize("workers", [None, 2, 5, 40])
def test_as_many_workers_are_used_as_the_configuration_says(box, name, workers):
    # Given a number of workers, or none, which means the provider's default
    config = ACCOUNTS[name](box, 1).config()
    if workers is not None:
        config["num_workers"] = workers
    # When the source is made
    source = SourceMeetings(config=config)
    # Then it has so many
    default = 3 if name == "expoplatform" else 8
    assert source._concurrent_source._threadpool._threadpool._max_workers == (workers or default)


def test_the_form_hides_every_secret_and_every_url_for_tests():
    (message,) = run_command(["spec"]).of("SPEC")
    options = message["spec"]["connectionSpecification"]["properties"]["provider"]["oneOf"]
    salesloft = next(o for o in options if o["properties"]["name"]["const"] == "salesloft")
    properties = salesloft["properties"]
    assert properties["base_url"]["airbyte_hidden"] and properties["token_url"]["airbyte_hidden"]
    key, oauth = (option["properties"] for option in properties["credentials"]["oneOf"])
    assert key["api_key"]["airbyte_secret"]
    for name in ("client_id", "client_secret", "refresh_token", "access_token"):
        assert oauth[name]["airbyte_secret"]
