"""Credentials are sent unchanged, renewed once, stored, and never shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from sandbox import Sandbox
from sandbox.account import without_nulls
from sandbox.accounts import ACCOUNTS, Account
from sandbox.side import Call, Reply
from unit_tests.harness import (
    Json,
    Output,
    Table,
    read,
    run_command,
    secrets_in,
    write_json,
)

LIST = "/salesloft/v2/meetings"
TOKEN = "/salesloft/oauth/token"


def with_key(box: Sandbox, key: str) -> Json:
    config = ACCOUNTS["salesloft"](box).config()
    config["provider"]["credentials"]["api_key"] = key
    return config


def with_oauth(box: Sandbox, **credentials: str) -> Json:
    config = ACCOUNTS["salesloft"](box).config(oauth=True)
    config["provider"]["credentials"].update(credentials)
    return {**config, "num_workers": 8}


def renewals(output: Output) -> list[Json]:
    return [
        message["control"]["connectorConfig"]["config"]["provider"]["credentials"]
        for message in output.of("CONTROL")
    ]


def assert_whole(box: Sandbox, output: Output) -> None:
    assert output.exit_code == 0, output.errors
    table = Table("salesloft_meetings")
    table.load(output)
    truth = {id: without_nulls(row) for id, row in box.salesloft.truth().items()}
    assert table.rows == truth


@pytest.mark.parametrize(
    "key", ["1_000", "1e5", "0x10", "None", "True", "'x'", '"x"', "[1]", "007", "{{config}}", "a:b"]
)
def test_a_key_that_looks_like_another_type_is_sent_unchanged(box, key):
    box.salesloft.keys = {key: {"meetings:read"}}
    box.salesloft.insert(title="one")
    assert_whole(box, read(with_key(box, key)))
    assert {request.headers["authorization"] for request in box.requests} == {f"Bearer {key}"}


@pytest.mark.parametrize("value", ["1_000", "1e5", "None", "'x'"])
def test_oauth_client_credentials_that_look_like_another_type_are_sent_unchanged(box, value):
    side = box.salesloft
    side.oauth.client_id = side.oauth.client_secret = value
    side.insert(title="one")
    assert_whole(box, read(with_oauth(box)))
    assert box.requests[0].path == TOKEN


def test_a_token_is_requested_once_with_the_documented_fields(box):
    # Given a connection without an access token
    box.salesloft.generate(count=300, seed=1)
    config = with_oauth(box)
    # When
    output = read(config)
    # Then one request asks for a token
    assert_whole(box, output)
    tokens = [request for request in box.requests if request.path == TOKEN]
    assert len(tokens) == 1
    given = config["provider"]["credentials"]
    form = dict(part.split("=") for part in tokens[0].body.decode().split("&"))
    assert form == {
        "grant_type": "refresh_token",
        "client_id": given["client_id"],
        "client_secret": given["client_secret"],
        "refresh_token": given["refresh_token"],
    }
    # And one CONTROL message has the new pair, before the first record
    (renewed,) = renewals(output)
    assert renewed["refresh_token"] == box.salesloft.oauth.refresh_token != form["refresh_token"]
    assert renewed["access_token"].startswith("sandbox-access-")
    assert renewed["token_expiry_date"].endswith("Z")
    kinds = [message["type"] for message in output.messages]
    assert kinds.index("CONTROL") < kinds.index("RECORD")


def test_a_token_that_is_still_valid_is_not_renewed(box):
    # Given an access token that expires in the far future
    pair = box.salesloft.oauth.issue()
    box.salesloft.insert()
    config = with_oauth(
        box, access_token=pair.access, token_expiry_date="2999-01-01T00:00:00.000000Z"
    )
    # When
    output = read(config)
    # Then
    assert_whole(box, output)
    assert renewals(output) == []
    assert {request.path for request in box.requests} == {LIST}


@pytest.mark.parametrize("nth", [1, 3, 7])
def test_tokens_that_expire_during_a_sync_are_renewed_once_by_one_of_the_workers(box, nth):
    # Given access tokens that expire before one of the requests
    side = box.salesloft
    side.generate(count=1200, seed=2)
    box.before(LIST, nth, side.oauth.expire_all)
    # When
    output = read(with_oauth(box))
    # Then
    assert_whole(box, output)
    assert len(renewals(output)) == side.oauth.refreshes == 2


def test_tokens_that_expire_after_a_few_uses_are_renewed_each_time(box):
    # Given access tokens that are valid for four requests
    side = box.salesloft
    side.generate(count=1500, seed=3)
    side.oauth.after_uses = 4
    # When
    output = read(with_oauth(box))
    # Then
    assert_whole(box, output)
    assert len(renewals(output)) == side.oauth.refreshes > 4
    # And each CONTROL message has a new token, and the last one is the valid one
    announced = [credentials["refresh_token"] for credentials in renewals(output)]
    assert len(set(announced)) == len(announced)
    assert announced[-1] == side.oauth.refresh_token


def test_a_walk_continues_after_its_token_has_expired(box):
    # Given a later sync whose token expires before its third page
    side = box.salesloft
    side.generate(count=600, seed=4)
    config = with_oauth(box)
    first = read(config)
    table = Table("salesloft_meetings")
    table.load(first)
    for id in list(side.meetings)[:350]:
        side.edit(id, title="changed")
    box.before("sort_by=updated_at", 3, lambda: box.clock.advance(hours=3))
    config["provider"]["credentials"] = renewals(first)[-1]
    # When
    second = read(config, first.last_states())
    # Then it renews the token once and reads every change
    assert second.exit_code == 0, second.errors
    assert len(renewals(second)) == 1
    table.load(second)
    truth = {id: without_nulls(row) for id, row in side.truth().items()}
    assert table.rows == truth


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_new_tokens_are_written_to_the_configuration_file_for_the_next_run(box, tmp_path, mode):
    # Given a configuration file with a setting that the connector does not know
    box.salesloft.insert()
    path = tmp_path / "config.json"
    config = {**with_oauth(box), "kept": {"as": "it is"}}
    path.write_text(json.dumps(config))
    path.chmod(mode)
    # When two syncs run, and all tokens expire after each
    for _ in range(2):  # the second run starts with what the first one wrote
        output = read(config, config_path=str(path))
        assert_whole(box, output)
        box.salesloft.oauth.expire_all()
        # Then the file has the newest tokens and is otherwise unchanged
        stored = json.loads(path.read_text())
        assert stored["provider"]["credentials"]["refresh_token"] == (
            box.salesloft.oauth.refresh_token
        )
        assert stored["kept"] == {"as": "it is"}
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_symbolic_link_to_the_configuration_file_is_kept(box, tmp_path):
    # Given a symbolic link to a configuration file
    box.salesloft.insert()
    target, link = tmp_path / "real.json", tmp_path / "config.json"
    target.write_text(json.dumps(with_oauth(box)))
    link.symlink_to(target)
    # When a sync renews the tokens
    assert_whole(box, read(with_oauth(box), config_path=str(link)))
    # Then the file has them, and the link is still a link
    assert link.is_symlink()
    credentials = json.loads(target.read_text())["provider"]["credentials"]
    assert credentials["refresh_token"] == box.salesloft.oauth.refresh_token


def test_a_refused_renewal_says_what_to_do(box):
    # Given a refresh token that is no longer valid
    box.salesloft.insert()
    # When
    output = read(with_oauth(box, refresh_token="revoked-long-ago"))
    # Then the error says what to do and shows no token
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "config_error"
    assert "Authenticate again" in output.errors[0]["message"]
    assert {request.path for request in box.requests} == {TOKEN}
    assert "revoked-long-ago" not in json.dumps(output.messages)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429},
        {"kind": "drop"},
        {"kind": "html"},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_request_to_a_failing_token_endpoint_is_retried(box, fault):
    box.salesloft.insert()
    box.fault(TOKEN, **fault)
    output = read(with_oauth(box))
    assert_whole(box, output)
    assert len(renewals(output)) == 1


def test_a_401_despite_new_tokens_ends_the_sync_after_two_renewals(box):
    # Given a list that refuses every token
    box.salesloft.insert()
    box.fault(LIST, times=99, kind="status", status=401)
    # When
    output = read(with_oauth(box))
    # Then
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "config_error"
    assert len([request for request in box.requests if request.path == LIST]) == 3


# -- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("status", [200, 401, 403, 422])
def test_no_message_shows_a_key_even_in_debug_mode(box, status, debug):
    # Given a key, and a provider that may repeat it in a refusal
    key = "ak_very/secret+key="
    box.salesloft.keys = {key: {"meetings:read"}}
    box.salesloft.generate(count=200, seed=5)
    if status != 200:
        body = {"error": f"Bearer {key} is not welcome"}
        box.fault(LIST, nth=3, times=9, kind="status", status=status, body=body)
    # When
    output = read(with_key(box, key), debug=debug)
    # Then no message has it
    assert (output.exit_code == 0) == (status == 200)
    assert key not in json.dumps(output.messages)


@pytest.mark.parametrize("debug", [False, True])
def test_only_control_messages_show_a_token(box, debug):
    # Given tokens that are renewed again and again
    side = box.salesloft
    side.generate(count=400, seed=6)
    side.oauth.after_uses = 3
    config = with_oauth(box)
    # When
    output = read(config, debug=debug)
    # Then only CONTROL messages have one of them
    assert_whole(box, output)
    printed = json.dumps([m for m in output.messages if m["type"] not in ("CONTROL", "RECORD")])
    secrets = [config["provider"]["credentials"][name] for name in ("client_secret",)]
    for credentials in [config["provider"]["credentials"], *renewals(output)]:
        secrets += [credentials["refresh_token"], credentials.get("access_token", "")]
    for secret in filter(None, secrets):
        assert secret not in printed


def test_check_shows_no_key(box):
    # Given an invalid key
    key = "ak_wrong_and_secret"
    path = write_json(with_key(box, key))
    # When the connection is checked
    output = run_command(["check", "--config", path, "--debug"])
    # Then the message says that it is invalid, without the key
    status = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert status["status"] == "FAILED"
    assert "does not accept the API key" in status["message"]
    assert key not in json.dumps(output.messages)
    Path(path).unlink()


# -- every provider and every refusal -------------------------------------------------------------


def assert_complete(account: Account, output: Output) -> None:
    stream = account.streams[0]
    assert output.exit_code == 0, output.errors
    table = Table(stream)
    table.load(output)
    assert account.differences(table) == {"missing": [], "stale": [], "too many": []}


WITH_OAUTH = [name for name, account in ACCOUNTS.items() if account.has_oauth]


@pytest.mark.parametrize("name", WITH_OAUTH)
def test_a_token_that_expires_with_many_workers_is_renewed_once_for_all_streams(box, name):
    # Given eight workers, and tokens that expire while their requests are in flight
    account = ACCOUNTS[name].with_rows(box, 240)
    box.before(account.path, 5, account.side.oauth.expire_all)
    config = {**account.config(oauth=True), "num_workers": 8}
    output = read(config)
    # Then there was one renewal at the start and one on expiry, each with one CONTROL message
    assert_complete(account, output)
    assert len(renewals(output)) == account.side.oauth.refreshes == 2
    assert renewals(output)[-1]["refresh_token"] == account.side.oauth.refresh_token


@pytest.mark.parametrize("name", WITH_OAUTH)
@pytest.mark.parametrize(
    ("fault", "failure_type", "words", "requests"),
    [
        ({"status": 400, "body": {"error": "invalid_grant"}}, "config_error", "put the new", 1),
        ({"status": 401, "body": {"error": "invalid_client"}}, "config_error", "client_secret", 1),
        ({"status": 403, "body": "<html>"}, "config_error", "Authenticate again", 1),
        ({"status": 404, "body": "<html>"}, "config_error", "provider.token_url", 1),
        ({"status": 302, "headers": {"location": "/x"}}, "config_error", "provider.token_url", 1),
        ({"status": 500}, "transient_error", "status 500, 4 times", 4),
        ({"status": 429, "headers": {"Retry-After": "0"}}, "transient_error", "status 429", 4),
        ({"status": 200, "body": "<html>"}, "transient_error", "without an access token", 4),
        ({"status": 200, "body": {"token": "x"}}, "transient_error", "without an access token", 4),
        ({"status": 200, "body": []}, "transient_error", "without an access token", 4),
        (
            {"status": 200, "body": {"access_token": "secret\nsecret"}},
            "transient_error",
            "without an access token",
            4,
        ),
    ],
)
def test_a_refusal_by_the_token_endpoint_is_reported_with_its_reason_and_not_retried(
    box, name, fault, failure_type, words, requests
):
    # Given a token endpoint that refuses every request, or always gives an unusable answer
    account = ACCOUNTS[name].with_rows(box, 240)
    tokens = "oauth2?/token"
    box.fault(tokens, 1, 99, kind="status", **fault)
    output = read({**account.config(oauth=True), "num_workers": 8}, debug=True)
    # Then each stream has one error that says what to do, and no request went to the API
    assert output.exit_code == 1
    streams = [error["stream_descriptor"]["name"] for error in output.errors]
    assert sorted(streams) == sorted(output.statuses)
    for error in output.errors:
        assert error["failure_type"] == failure_type
        assert words in error["message"]
    assert all("token" in request.path for request in box.requests)
    # And refusals are final, but after other faults each stream asks the endpoint again
    assert len(box.requests) <= requests * (1 if requests == 1 else len(streams))


@pytest.mark.parametrize(
    "lifetime", [None, "7200", 7200.5, "soon", 0, -1, 10**12, True, {}, "nan", "inf", 30, 3]
)
def test_any_lifetime_of_a_token_is_understood(box, lifetime):
    # Given answers of the token endpoint with the lifetime in one of several forms
    side = box.salesloft
    side.generate(count=400, seed=1)
    box.rewrite(TOKEN, lambda _, reply: reply.payload.update(expires_in=lifetime))
    output = read(with_oauth(box))
    # Then no token is renewed before it is about to expire
    assert_whole(box, output)
    assert len(renewals(output)) == 1
    assert renewals(output)[0]["token_expiry_date"].endswith("Z")


def test_a_refresh_token_that_is_not_replaced_is_kept(box, tmp_path):
    # Given a token endpoint that issues no new refresh tokens
    side = box.salesloft
    side.insert()
    side.oauth.rotates = False
    box.rewrite(TOKEN, lambda _, reply: reply.payload.pop("refresh_token"))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(with_oauth(box)))
    # When two syncs run
    for _ in range(2):
        output = read(with_oauth(box), config_path=str(path))
        assert_whole(box, output)
        side.oauth.expire_all()
        # Then the file still has the valid one
        stored = json.loads(path.read_text())["provider"]["credentials"]
        assert stored["refresh_token"] == side.oauth.refresh_token


def test_a_read_only_configuration_file_is_left_unchanged_with_one_warning(box, tmp_path):
    # Given a read-only configuration file
    side = box.salesloft
    side.generate(count=300, seed=2)
    side.oauth.after_uses = 2
    path = tmp_path / "config.json"
    before = json.dumps(with_oauth(box))
    path.write_text(before)
    path.chmod(0o444)
    # When tokens are renewed several times
    output = read(with_oauth(box), config_path=str(path))
    # Then the file is unchanged, and one log line says where the tokens are
    assert_whole(box, output)
    assert path.read_text() == before
    assert len(renewals(output)) > 1
    (line,) = [line for line in output.logs if "could not be written" in line]
    assert "take the new one from the last CONTROL message" in line


@pytest.mark.parametrize("taken", ["key", "access"])
@pytest.mark.parametrize("name", ACCOUNTS)
def test_check_and_read_have_a_message_of_their_own_for_each_problem_with_a_key(box, name, taken):
    account = ACCOUNTS[name].with_rows(box, 240)
    config = account.config()
    # Given a key that was revoked, or that may not read meetings
    if taken == "key":
        account.take_key()
        words = account.key_words
    else:
        account.take_access()
        words = account.access_words
    # When the connection is checked, then it fails after few requests, with its own message
    path = write_json(config)
    checked = run_command(["check", "--config", path, "--debug"])
    Path(path).unlink()
    status = checked.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert status["status"] == "FAILED"
    assert words in status["message"]
    assert len(box.requests) <= 3
    box.forget_requests()
    # And so does a sync
    output = read(config, streams=[account.streams[0]], debug=True)
    (error,) = output.errors
    assert error["failure_type"] == "config_error"
    assert words in error["message"]
    assert account.streams[0] in error["message"]
    assert len(box.requests) <= 10


@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_sync_whose_credentials_are_revoked_fails_and_the_next_run_continues(box, name):
    account = ACCOUNTS[name].with_rows(box, 240)
    config = account.config()
    stream = account.streams[0]
    box.before(account.path, 4, account.take_key)
    output = read(config, streams=[stream])
    (error,) = output.errors
    assert error["failure_type"] == "config_error"
    assert output.statuses == {stream: "INCOMPLETE"}
    table = Table(stream)
    table.load(output)
    # When they are valid again
    account.give_key_back()
    after = read(config, output.last_states(), [stream])
    assert after.exit_code == 0, after.errors
    table.load(after)
    assert account.differences(table) == {"missing": [], "stale": [], "too many": []}


@pytest.mark.parametrize("name", ACCOUNTS)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_credentials_that_an_answer_repeats_are_not_in_a_message(box, name, status):
    # Given answers that repeat the credentials of the request in several encodings
    account = ACCOUNTS[name].with_rows(box, 240)
    config = account.config()

    def repeat(call: Call, reply: Reply) -> None:
        sent = call.headers["authorization"]
        reply.payload = {
            "error": f"not welcome: {sent}",
            "message": sent,
            "errors": [quote(sent, safe="")],
            "detail": json.dumps(sent).replace("/", "\\/"),
        }
        reply.status = status

    box.rewrite(account.path, repeat)
    secrets = secrets_in(config["provider"]) | secrets_in(config["provider"].get("credentials", {}))
    output = read(config, debug=True)
    assert output.exit_code == 1
    written = {quote(secret, safe="") for secret in secrets} | secrets
    assert not [secret for secret in written if secret in str(output.messages)]
