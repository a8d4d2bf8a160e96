"""For a configuration that cannot work, an error names the field before any request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from airbyte_cdk.sources.concurrent_source.concurrent_source import ConcurrentSource

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings.config import unknown_settings
from source_meetings.manifest import manifest_of, providers, spec
from unit_tests.harness import Json, Output, read, run_command, write_json

KEY = {"auth_type": "api_key", "api_key": "ak_sandbox"}
TOKEN = {"auth_type": "private_integration_token", "access_token": "pit_sandbox"}
EXPO = {"name": "expoplatform", "base_url": "https://a.example", "api_key": "a", "event_ids": [1]}
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
def test_a_wrong_provider_option_is_refused_and_named_before_any_request(box, provider, field):
    # When the connection is checked or its streams are discovered
    for command in ("check", "discover"):
        output = run_command([command, "--config", write_json(config(box, provider))])
        if command == "check":
            message = refusal(output)
        else:
            assert output.exit_code == 1
            assert output.errors[0]["failure_type"] == "config_error"
            message = output.errors[0]["message"]
        # Then
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
def test_a_wrong_common_option_is_refused_and_named_before_any_request(box, common, field):
    assert field in refusal(check(config(box, **common)))
    assert box.requests == []


KEY_FORM = '{"name": "salesloft", "credentials": {"auth_type": "api_key", "api_key": "…"}}'
CLOSE_FORM = KEY_FORM.replace("salesloft", "close")
EXPO_FORM = (
    '{"name": "expoplatform", "base_url": "https://api-yourshow.expoplatform.com", '
    '"api_key": "…", "event_ids": [101, 102]}'
)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("salesloft", f"provider must be an object like this: {KEY_FORM}."),
        ("Salesloft", f"provider must be an object like this: {KEY_FORM}."),
        ("expoplatform", f"provider must be an object like this: {EXPO_FORM}."),
        (
            ["ak_secret"],
            f"provider must be an object like this: {CLOSE_FORM}.",
        ),
        (
            None,
            "provider is missing; add it like this: "
            + KEY_FORM.replace("salesloft", "close")
            + ".",
        ),
        (
            {},
            f"provider.name is missing; choose one of: {', '.join(providers())}.",
        ),
        (
            {"name": "salesforce"},
            f"provider.name is not a provider; choose one of: {', '.join(providers())}.",
        ),
        (
            {"name": "salesloft"},
            "provider.credentials is missing; add it like this: "
            '{"auth_type": "api_key", "api_key": "…"}.',
        ),
        (
            {"name": "salesloft", "credentials": "ak_secret"},
            "provider.credentials must be an object like this: "
            '{"auth_type": "api_key", "api_key": "…"}.',
        ),
        (
            {"name": "highlevel", "credentials": {}},
            "provider.credentials.auth_type is missing; choose one of: "
            "private_integration_token, oauth2.0.",
        ),
        (
            {"name": "highlevel", "credentials": {"auth_type": "api_key"}},
            "provider.credentials.auth_type is not a known value; choose one of: "
            "private_integration_token, oauth2.0.",
        ),
        (
            {"name": "close", "credentials": {"auth_type": ["oauth2.0"]}},
            "provider.credentials.auth_type is not a known value; choose one of: "
            "api_key, oauth2.0.",
        ),
        (
            {"name": "close", "credentials": {"auth_type": "oauth2.0", "client_id": "a"}},
            "provider.credentials is missing 'client_secret', 'refresh_token'.",
        ),
        ({"name": "highlevel", "credentials": TOKEN}, "provider is missing 'location_id'."),
        (
            {"name": "close", "credentials": KEY, "calendar_events": [{"event": "b"}]},
            "entry 1 of provider.calendar_events must be a string.",
        ),
        (
            {**EXPO, "event_ids": [101, 0]},
            "entry 2 of provider.event_ids must be at least 1.",
        ),
        ({**EXPO, "event_ids": 101}, "provider.event_ids must be a list."),
        ({**EXPO, "event_ids": []}, "provider.event_ids must not be empty."),
        ({**EXPO, "base_url": "https://a..b"}, "provider.base_url does not name a valid host."),
        (
            {**EXPO, "api_key": "two words"},
            "provider.api_key must have this form: exactly as it was shown to you, without spaces.",
        ),
    ],
)
def test_the_error_says_what_is_wrong_with_the_provider(value, message):
    assert refusal(check({"provider": value})) == f"Configuration: {message}"


def test_for_a_configuration_without_a_provider_the_error_shows_a_valid_one():
    message = refusal(check({}))
    assert message.startswith("Configuration: provider is missing; add it like this: {")


# -- unknown settings -----------------------------------------------------------------------------


def warnings(output: Output) -> list[str]:
    levels = [message["log"] for message in output.of("LOG")]
    return [log["message"] for log in levels if log["level"] == "WARN"]


def unknown(path: str, advice: str = "") -> str:
    return f"Configuration: {path} is not a known setting and is ignored.{advice}"


@pytest.mark.parametrize(
    ("provider", "common", "expected"),
    [
        ({}, {"start_dte": "s3cret"}, [unknown("start_dte", " Did you mean start_date?")]),
        ({}, {"startDate": "s3cret"}, [unknown("startDate", " Did you mean start_date?")]),
        ({}, {"unheard-of": "s3cret"}, [unknown("unheard-of")]),
        (
            {"start_date": "s3cret"},
            {},
            [unknown("provider.start_date", " It belongs next to provider, not in it.")],
        ),
        (
            {"strat_date": "s3cret"},
            {},
            [unknown("provider.strat_date", " Did you mean start_date?")],
        ),
        (
            {"api_key": "s3cret"},
            {},
            [unknown("provider.api_key", " It belongs in provider.credentials.")],
        ),
        (
            {"apikey": "s3cret"},
            {},
            [unknown("provider.apikey", " Did you mean provider.credentials.api_key?")],
        ),
        (
            {"credentials": {**KEY, "num_workers": 8, "base_url": "s3cret"}},
            {},
            [
                unknown(
                    "provider.credentials.num_workers", " It belongs next to provider, not in it."
                ),
                unknown("provider.credentials.base_url", " It belongs in provider."),
            ],
        ),
        ({}, {"credentials": "s3cret"}, [unknown("credentials", " It belongs in provider.")]),
        ({"calendar_ids": ["s3cret"]}, {}, [unknown("provider.calendar_ids")]),
        (
            {"credentials": {**KEY, "client_id": "s3cret"}},
            {},
            [unknown("provider.credentials.client_id")],
        ),
        ({}, {"a\u2028b": "s3cret"}, [unknown("a\u2028b")]),
        ({}, {"\ud800": "s3cret"}, [unknown("?")]),
        ({"__injected": 1, "credentials": {**KEY, "__other": 2}}, {"__airbyte": {}}, []),
    ],
)
def test_an_unknown_setting_is_named_with_the_closest_known_one(box, provider, common, expected):
    # Given a configuration with unknown settings
    box.salesloft.insert()
    given = config(box, provider, **common)
    for command in ("check", "discover"):
        # When a command is run with it
        output = run_command([command, "--config", write_json(given)])
        # Then the command works as it does without them
        assert output.exit_code == 0
        assert "FAILED" not in str(output.messages)
        # And the log has the name of each, and never its value
        assert warnings(output) == expected
        assert "s3cret" not in str(output.messages)


def test_an_unknown_setting_of_any_provider_is_named_by_every_command(box):
    # Given a configuration of HighLevel with a misspelt setting
    box.highlevel.generate(count=5, calendars=2)
    given = ACCOUNTS["highlevel"](box).config()
    given["provider"]["calender_ids"] = ["a"]
    # When it is checked, discovered and read
    path = write_json(given)
    outputs = [run_command([command, "--config", path]) for command in ("check", "discover")]
    outputs.append(read(given, streams=["highlevel_calendars"]))
    # Then each command names it once
    expected = unknown("provider.calender_ids", " Did you mean provider.calendar_ids?")
    assert [warnings(output) for output in outputs] == [[expected]] * 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"provider": {"nmae": "salesloft"}},
            [unknown("provider.nmae", " Did you mean provider.name?")],
        ),
        (
            {"provider": {"name": "salesloft", "credentials": {"auth_typ": "api_key"}}},
            [
                unknown(
                    "provider.credentials.auth_typ",
                    " Did you mean provider.credentials.auth_type?",
                )
            ],
        ),
        (
            {"provider": "salesloft", "api_key": "s3cret", "event_ids": []},
            [
                unknown("api_key", " It belongs in provider.credentials."),
                unknown("event_ids", " It belongs in provider."),
            ],
        ),
        (
            {"provider": {"name": "salesloft", "api_key": "s3cret"}},
            [unknown("provider.api_key", " It belongs in provider.credentials.")],
        ),
    ],
)
def test_settings_are_also_named_when_the_configuration_is_refused(value, expected):
    output = check(value)
    assert refusal(output)
    assert warnings(output) == expected


def test_every_setting_of_every_form_is_known(box):
    # Given the options of each provider, with every field in its form
    form = spec()["connection_specification"]
    for option in form["properties"]["provider"]["oneOf"]:
        fields = option["properties"]
        for way in fields.get("credentials", {}).get("oneOf", [{"properties": {}}]):
            credentials = {
                name: field.get("const", "x") for name, field in way["properties"].items()
            }
            provider = dict.fromkeys(fields, "x") | {"name": fields["name"]["const"]}
            if credentials:
                provider["credentials"] = credentials
            # When all are filled in
            given = dict.fromkeys(form["properties"], "x") | {"provider": provider}
            # Then none is reported as unknown
            assert list(unknown_settings(given, form)) == []


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
def test_common_options_that_the_form_allows_are_accepted(box, common):
    box.salesloft.insert()
    output = check(config(box, **common))
    assert output.of("CONNECTION_STATUS")[0]["connectionStatus"]["status"] == "SUCCEEDED"


@pytest.mark.parametrize("name", ACCOUNTS)
@pytest.mark.parametrize("workers", [None, 2, 5, 40])
def test_the_number_of_workers_is_the_configured_one_or_the_providers_default(
    box, name, workers, monkeypatch
):
    # Given a number of workers, or none, which means the provider's default
    config = ACCOUNTS[name](box).config()
    if workers is not None:
        config["num_workers"] = workers
    # When the connection is synced
    asked: list[int] = []
    create = ConcurrentSource.create

    def counted(num_workers: int, *rest: Any, **options: Any) -> ConcurrentSource:
        asked.append(num_workers)
        return create(num_workers, *rest, **options)

    monkeypatch.setattr(ConcurrentSource, "create", counted)
    assert read(config, None, ACCOUNTS[name].streams).exit_code == 0
    # Then that number of workers is used
    default = manifest_of(name)["concurrency_level"]["default_concurrency"]
    assert asked == [workers or int(*re.findall(r"\d+", default))]


def test_the_form_hides_every_secret_and_every_url_for_tests():
    # Given the form of a provider with a key and OAuth
    (message,) = run_command(["spec"]).of("SPEC")
    options = message["spec"]["connectionSpecification"]["properties"]["provider"]["oneOf"]
    salesloft = next(o for o in options if o["properties"]["name"]["const"] == "salesloft")
    properties = salesloft["properties"]
    # Then the URLs are hidden fields, and the values of both credentials are marked as secret
    assert properties["base_url"]["airbyte_hidden"] and properties["token_url"]["airbyte_hidden"]
    key, oauth = (option["properties"] for option in properties["credentials"]["oneOf"])
    assert key["api_key"]["airbyte_secret"]
    for name in ("client_id", "client_secret", "refresh_token", "access_token"):
        assert oauth[name]["airbyte_secret"]
