"""Credentials: sent byte for byte, renewed once, stored, and never shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from sandbox import Sandbox
from unit_tests.harness import Json, Output, Table, read, run_command, without_nulls, write_json

LIST = "/salesloft/v2/meetings"
TOKEN = "/salesloft/oauth/token"


def with_key(box: Sandbox, key: str) -> Json:
    credentials = {"auth_type": "api_key", "api_key": key}
    provider = {"name": "salesloft", "base_url": box.salesloft.base_url, "credentials": credentials}
    return {"provider": provider}


def with_oauth(box: Sandbox, **credentials: str) -> Json:
    side = box.salesloft
    return {
        "provider": {
            "name": "salesloft",
            "base_url": side.base_url,
            "token_url": side.token_url,
            "credentials": {
                "auth_type": "oauth2.0",
                "client_id": side.oauth.client_id,
                "client_secret": side.oauth.client_secret,
                "refresh_token": side.oauth.refresh_token,
                **credentials,
            },
        },
        "num_workers": 8,
    }


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
    assert table.by_id() == truth


@pytest.mark.parametrize(
    "key", ["1_000", "1e5", "0x10", "None", "True", "'x'", '"x"', "[1]", "007", "{{config}}", "a:b"]
)
def test_a_key_that_looks_like_something_else_is_sent_unchanged(box, key):
    box.salesloft.keys = {key: {"meetings:read"}}
    box.salesloft.insert(title="one")
    assert_whole(box, read(with_key(box, key)))
    assert {request.headers["authorization"] for request in box.requests} == {f"Bearer {key}"}


@pytest.mark.parametrize("value", ["1_000", "1e5", "None", "'x'"])
def test_an_oauth_client_that_looks_like_something_else_is_sent_unchanged(box, value):
    side = box.salesloft
    side.oauth.client_id = side.oauth.client_secret = value
    side.insert(title="one")
    assert_whole(box, read(with_oauth(box)))
    assert box.requests[0].path == TOKEN


def test_a_token_is_asked_for_once_with_the_fields_of_a_refresh(box):
    box.salesloft.generate(count=300, seed=1)
    config = with_oauth(box)
    output = read(config)
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
    # One CONTROL message with the new pair, before the first record
    (renewed,) = renewals(output)
    assert renewed["refresh_token"] == box.salesloft.oauth.refresh_token != form["refresh_token"]
    assert renewed["access_token"].startswith("sandbox-access-")
    assert renewed["token_expiry_date"].endswith("Z")
    kinds = [message["type"] for message in output.messages]
    assert kinds.index("CONTROL") < kinds.index("RECORD")


def test_a_token_that_is_still_good_is_used_without_asking_for_another(box):
    pair = box.salesloft.oauth.issue()
    box.salesloft.insert()
    config = with_oauth(
        box, access_token=pair.access, token_expiry_date="2999-01-01T00:00:00.000000Z"
    )
    output = read(config)
    assert_whole(box, output)
    assert renewals(output) == []
    assert {request.path for request in box.requests} == {LIST}


@pytest.mark.parametrize("nth", [1, 3, 7])
def test_tokens_that_end_in_mid_sync_are_renewed_once_by_whichever_worker(box, nth):
    side = box.salesloft
    side.generate(count=1200, seed=2)
    box.before(LIST, nth, side.oauth.expire_all)
    output = read(with_oauth(box))
    assert_whole(box, output)
    assert len(renewals(output)) == side.oauth.refreshes == 2


def test_tokens_that_end_after_a_few_uses_are_renewed_as_often_as_it_takes(box):
    side = box.salesloft
    side.generate(count=1500, seed=3)
    side.oauth.after_uses = 4
    output = read(with_oauth(box))
    assert_whole(box, output)
    assert len(renewals(output)) == side.oauth.refreshes > 4
    # Each announces another token, and the last one is the one that is good
    announced = [credentials["refresh_token"] for credentials in renewals(output)]
    assert len(set(announced)) == len(announced)
    assert announced[-1] == side.oauth.refresh_token


def test_a_walk_goes_on_after_its_token_has_ended(box):
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
    second = read(config, first.last_states())
    assert second.exit_code == 0, second.errors
    assert len(renewals(second)) == 1
    table.load(second)
    truth = {id: without_nulls(row) for id, row in side.truth().items()}
    assert table.by_id() == truth


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_new_tokens_are_written_into_the_configuration_file_and_work_next_time(box, tmp_path, mode):
    box.salesloft.insert()
    path = tmp_path / "config.json"
    config = {**with_oauth(box), "kept": {"as": "it is"}}
    path.write_text(json.dumps(config))
    path.chmod(mode)
    for _ in range(2):  # the second run begins with what the first one has written
        output = read(config, config_path=str(path))
        assert_whole(box, output)
        box.salesloft.oauth.expire_all()
        stored = json.loads(path.read_text())
        assert stored["provider"]["credentials"]["refresh_token"] == (
            box.salesloft.oauth.refresh_token
        )
        assert stored["kept"] == {"as": "it is"}
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_configuration_file_behind_a_link_stays_behind_it(box, tmp_path):
    box.salesloft.insert()
    target, link = tmp_path / "real.json", tmp_path / "config.json"
    target.write_text(json.dumps(with_oauth(box)))
    link.symlink_to(target)
    assert_whole(box, read(with_oauth(box), config_path=str(link)))
    assert link.is_symlink()
    credentials = json.loads(target.read_text())["provider"]["credentials"]
    assert credentials["refresh_token"] == box.salesloft.oauth.refresh_token


def test_a_refused_renewal_says_what_to_do(box):
    box.salesloft.insert()
    output = read(with_oauth(box, refresh_token="revoked-long-ago"))
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
def test_a_token_endpoint_in_trouble_is_asked_again(box, fault):
    box.salesloft.insert()
    box.fault(TOKEN, **fault)
    output = read(with_oauth(box))
    assert_whole(box, output)
    assert len(renewals(output)) == 1


def test_a_401_in_spite_of_a_new_token_ends_the_sync_after_one_renewal(box):
    box.salesloft.insert()
    box.fault(LIST, times=99, kind="status", status=401)
    output = read(with_oauth(box))
    assert output.exit_code == 1
    assert output.errors[0]["failure_type"] == "config_error"
    assert len([request for request in box.requests if request.path == LIST]) == 2


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("status", [200, 401, 403, 422])
def test_no_message_shows_a_key_not_even_while_debugging(box, status, debug):
    key = "ak_very/secret+key="
    box.salesloft.keys = {key: {"meetings:read"}}
    box.salesloft.generate(count=200, seed=5)
    if status != 200:
        body = {"error": f"Bearer {key} is not welcome"}
        box.fault(LIST, nth=3, times=9, kind="status", status=status, body=body)
    output = read(with_key(box, key), debug=debug)
    assert (output.exit_code == 0) == (status == 200)
    assert key not in json.dumps(output.messages)


@pytest.mark.parametrize("debug", [False, True])
def test_no_message_but_control_shows_a_token(box, debug):
    side = box.salesloft
    side.generate(count=400, seed=6)
    side.oauth.after_uses = 3
    config = with_oauth(box)
    output = read(config, debug=debug)
    assert_whole(box, output)
    printed = json.dumps([m for m in output.messages if m["type"] not in ("CONTROL", "RECORD")])
    secrets = [config["provider"]["credentials"][name] for name in ("client_secret",)]
    for credentials in [config["provider"]["credentials"], *renewals(output)]:
        secrets += [credentials["refresh_token"], credentials.get("access_token", "")]
    for secret in filter(None, secrets):
        assert secret not in printed


def test_check_shows_no_key_either(box):
    key = "ak_wrong_and_secret"
    path = write_json(with_key(box, key))
    output = run_command(["check", "--config", path, "--debug"])
    status = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert status["status"] == "FAILED"
    assert "does not accept the API key" in status["message"]
    assert key not in json.dumps(output.messages)
    Path(path).unlink()
