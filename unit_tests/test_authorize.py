"""`examples/authorize.py` signs in to the sandbox with OAuth and writes a configuration."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings.manifest import manifest_of
from unit_tests.harness import run_command

CHECKOUT = Path(__file__).parent.parent
PROGRAM = CHECKOUT / "examples" / "authorize.py"
PAGES = {
    "close": "oauth2/authorize/",
    "salesloft": "oauth/authorize",
    "highlevel": "v2/oauth/chooselocation",
}
# A browser that follows redirects. The program opens it as it would open a real one.
BROWSER = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def authorize(
    box: Sandbox,
    provider: str,
    file: Path,
    redirect: str | None = None,
    browser: str = BROWSER,
) -> subprocess.CompletedProcess[str]:
    script = file.parent / "browser.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(browser)
    redirect = redirect or f"http://localhost:{free_port()}/callback"
    return subprocess.run(
        [
            *(sys.executable, str(PROGRAM), provider, str(file), "--client-id=sandbox-client"),
            f"--authorize-url={box.url}/{provider}/{PAGES[provider]}",
            f"--redirect-uri={redirect}",
        ],
        env={
            **os.environ,
            "CLIENT_SECRET": "sandbox-secret",
            "BROWSER": f"{sys.executable} {script} %s",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def existing(box: Sandbox, provider: str, folder: Path, **settings: Any) -> Path:
    """Write a configuration for the sandbox, with a key, that any user can read."""
    config = ACCOUNTS[provider].sample(box).config()
    config["provider"]["token_url"] = getattr(box, provider).token_url
    file = folder / "config.json"
    file.write_text(json.dumps({**config, **settings}))
    file.chmod(0o644)
    return file


def token_requests(box: Sandbox) -> list[dict[str, str]]:
    return [dict(parse_qsl(one.body.decode())) for one in box.requests if one.method == "POST"]


@pytest.mark.parametrize("provider", PAGES)
def test_after_signing_in_the_connector_works_with_the_file(provider, box, tmp_path):
    # Given a configuration with a key and a start date
    file = existing(box, provider, tmp_path, start_date="2020-01-01T00:00:00Z")
    before = json.loads(file.read_text())
    # When the user signs in and allows access in the browser
    done = authorize(box, provider, file)
    # Then the code was exchanged once, with the redirect URL that is registered
    assert done.returncode == 0, done.stderr
    (form,) = token_requests(box)
    assert form["grant_type"] == "authorization_code"
    assert form["redirect_uri"].endswith("/callback")
    assert form.get("user_type") == ("Location" if provider == "highlevel" else None)
    # And the file has the new credentials, is otherwise unchanged, and only its owner can read it
    after = json.loads(file.read_text())
    credentials = after["provider"].pop("credentials")
    before["provider"].pop("credentials")
    assert after == before
    assert credentials == {
        "auth_type": "oauth2.0",
        "client_id": "sandbox-client",
        "client_secret": "sandbox-secret",
        "refresh_token": getattr(box, provider).oauth.refresh_token,
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # And no secret is printed
    assert "sandbox-secret" not in done.stdout + done.stderr
    assert credentials["refresh_token"] not in done.stdout + done.stderr
    # And the connector can use the file
    (status,) = run_command(["check", "--config", str(file)]).of("CONNECTION_STATUS")
    assert status["connectionStatus"]["status"] == "SUCCEEDED"


def test_a_new_file_names_the_provider_and_its_location(box, tmp_path, monkeypatch):
    # Given no configuration, and HighLevel's token endpoint in the sandbox
    authorizer = load()
    real = authorizer.PROVIDERS["highlevel"]
    local = authorizer.Provider(
        f"{box.url}/highlevel/v2/oauth/chooselocation",
        box.highlevel.token_url,
        real.scope,
        real.token_request,
    )
    monkeypatch.setitem(authorizer.PROVIDERS, "highlevel", local)
    monkeypatch.setenv("CLIENT_SECRET", "sandbox-secret")
    monkeypatch.setattr(authorizer.webbrowser, "open", open_page)
    file = tmp_path / "secrets" / "config.json"
    redirect = f"http://127.0.0.1:{free_port()}/callback"
    options = ["--client-id=sandbox-client", f"--redirect-uri={redirect}"]
    monkeypatch.setattr(sys, "argv", ["authorize.py", "highlevel", str(file), *options])
    # When the user signs in
    authorizer.main()
    # Then the file has the provider and the location that the user chose
    provider = json.loads(file.read_text())["provider"]
    assert provider.keys() == {"name", "credentials", "location_id"}
    assert (provider["name"], provider["location_id"]) == ("highlevel", box.highlevel.location_id)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_with_a_redirect_url_on_another_machine_the_user_pastes_the_address(box, tmp_path):
    # Given a redirect URL that is not on this machine
    file = existing(box, "salesloft", tmp_path)
    redirect = "https://example.com/callback"
    options = ["--client-id=sandbox-client", f"--redirect-uri={redirect}"]
    with subprocess.Popen(
        [
            *(sys.executable, str(PROGRAM), "salesloft", str(file), *options),
            f"--authorize-url={box.url}/salesloft/oauth/authorize",
        ],
        env={**os.environ, "CLIENT_SECRET": "sandbox-secret", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        url = next(line.strip() for line in process.stdout if line.startswith("http"))
        # When the user allows access and pastes the address that the browser then shows
        process.stdin.write(redirected(url) + "\n")
        process.stdin.close()
        process.wait(timeout=30)
    # Then the file has the credentials
    assert process.returncode == 0
    assert json.loads(file.read_text())["provider"]["credentials"]["auth_type"] == "oauth2.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"denies": True}, "the provider did not allow access: The user denied access"),
        ({"client_secret": "another"}, "answered with status 401 (invalid_client)"),
        ({"scope": "of another application"}, "the provider did not allow access: invalid_scope"),
    ],
)
def test_a_refusal_by_the_provider_is_reported_and_nothing_is_written(change, words, box, tmp_path):
    # Given a provider that refuses the sign-in
    file = existing(box, "close", tmp_path)
    before = file.read_text()
    for name, value in change.items():
        setattr(box.close.oauth, name, value)
    # When the user signs in
    done = authorize(box, "close", file)
    # Then the output has the reason, no traceback and no secret, and the file is unchanged
    assert done.returncode == 1 and words in done.stderr
    assert "Traceback" not in done.stderr and "sandbox-secret" not in done.stderr
    assert file.read_text() == before


def test_an_answer_to_another_sign_in_is_refused(box, tmp_path):
    # Given a malicious page that makes the browser open the redirect URL with another code
    file = existing(box, "close", tmp_path)
    before = file.read_text()
    forged = (
        "import sys, urllib.request, urllib.parse as p\n"
        "query = dict(p.parse_qsl(p.urlsplit(sys.argv[1]).query))\n"
        "urllib.request.urlopen(query['redirect_uri'] + '?code=forged&state=forged').read()\n"
    )
    # When that request arrives
    done = authorize(box, "close", file, browser=forged)
    # Then its code is not used
    assert done.returncode == 1 and "does not belong to this sign-in" in done.stderr
    assert token_requests(box) == [] and file.read_text() == before


def test_a_code_can_be_exchanged_once_and_with_one_redirect_url_only(box):
    # Given codes that were issued for a redirect URL
    oauth = box.close.oauth
    query = {"client_id": "sandbox-client", "response_type": "code", "scope": oauth.scope}
    form = {
        "grant_type": "authorization_code",
        "client_id": "sandbox-client",
        "client_secret": "sandbox-secret",
        "redirect_uri": "http://localhost/a",
    }

    def code() -> str:
        location = oauth.authorize({**query, "redirect_uri": "http://localhost/a"})
        return re.findall("code=([^&]*)", location)[0]

    first, second = code(), code()
    # When a code is exchanged, then it works once, and not with another URL
    assert oauth.grant({**form, "code": first}).refresh == oauth.refresh_token
    for wrong in ({"code": first}, {"code": second, "redirect_uri": "http://localhost/b"}):
        with pytest.raises(Exception, match="invalid_grant"):
            oauth.grant({**form, **wrong})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a configuration of the connector"),
        ("[]", "is not a configuration of the connector"),
        ('{"provider": {"name": "salesloft"}}', "is the configuration of salesloft"),
    ],
)
def test_a_file_that_is_not_a_configuration_of_the_provider_is_not_overwritten(
    content, words, box, tmp_path
):
    # Given a file that is not a configuration of Close
    file = tmp_path / "config.json"
    file.write_text(content)
    # When the user signs in to Close
    done = authorize(box, "close", file)
    # Then the program stops before the sign-in, and the file is unchanged
    assert done.returncode == 1 and words in done.stderr and box.requests == []
    assert file.read_text() == content


def test_a_port_in_use_is_reported_with_a_cure(box, tmp_path):
    # Given another program that uses the port of the redirect URL
    file = existing(box, "close", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # When the user signs in
        done = authorize(box, "close", file, redirect=f"http://localhost:{port}/callback")
    # Then the message names the option to change
    assert done.returncode == 1 and "--redirect-uri" in done.stderr


def test_the_program_and_the_connector_use_the_same_token_endpoints():
    # Given the URLs and parameters of the program and those of the connector
    for name, provider in load().PROVIDERS.items():
        authenticator = manifest_of(name)["definitions"]["authenticator"]
        # Then they are the same
        assert provider.token_url == authenticator["token_url"]
        assert provider.token_request == authenticator.get("token_request", {})
        # And the documentation for users names each scope
        page = (CHECKOUT / "docs" / "meetings.md").read_text()
        assert all(scope in page for scope in provider.scope.split())


def load() -> Any:
    spec = importlib.util.spec_from_file_location("authorize", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["authorize"] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def open_page(url: str) -> bool:
    subprocess.run([sys.executable, "-c", BROWSER, url], check=True)
    return True


def redirected(url: str) -> str:
    """Return the URL to which the provider's page sends the browser."""
    code = """if True:
        import http.client, sys
        from urllib.parse import urlsplit
        place = urlsplit(sys.argv[1])
        connection = http.client.HTTPConnection(place.netloc)
        connection.request("GET", f"{place.path}?{place.query}")
        print(connection.getresponse().headers["location"])"""
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True)
    return done.stdout.strip()
