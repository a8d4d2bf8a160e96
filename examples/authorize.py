"""Sign in to Close, Salesloft or HighLevel with OAuth, and write the connector's configuration.

    python3 examples/authorize.py close secrets/config.json --client-id YOUR_CLIENT_ID

It needs Python 3.10 or later and nothing else. Register the redirect URL
http://localhost:8766/callback for your OAuth application first. The client secret is read from the
environment variable CLIENT_SECRET, or asked for. If the file exists, only the credentials in it are
replaced.
"""

from __future__ import annotations

import argparse
import getpass
import hmac
import json
import os
import secrets
import sys
import threading
import webbrowser
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

Json = dict[str, Any]
Query = dict[str, str]

LOOPBACK = ("localhost", "127.0.0.1")
MINUTES = 10  # to sign in


@dataclass(frozen=True)
class Provider:
    """Where a provider's users allow access, and where it issues tokens."""

    authorize_url: str
    token_url: str
    scope: str
    token_request: Query = field(default_factory=dict)  # what the token endpoint needs besides


PROVIDERS = {
    # https://developer.close.com/api/overview/oauth-authentication
    "close": Provider(
        "https://app.close.com/oauth2/authorize/",
        "https://api.close.com/oauth2/token/",
        "all.full_access offline_access",
    ),
    # https://developers.salesloft.com/docs/platform/api-basics/oauth-authentication/
    "salesloft": Provider(
        "https://accounts.salesloft.com/oauth/authorize",
        "https://accounts.salesloft.com/oauth/token",
        "meetings:read",
    ),
    # https://github.com/GoHighLevel/highlevel-api-docs (docs/oauth/Authorization.md)
    "highlevel": Provider(
        "https://marketplace.gohighlevel.com/v2/oauth/chooselocation",
        "https://services.leadconnectorhq.com/oauth/token",
        "calendars.readonly calendars/groups.readonly calendars/events.readonly",
        {"user_type": "Location"},
    ),
}


class Problem(Exception):
    """Something that the user can correct. Its text never has a secret in it."""


def sign_in(url: str, redirect_uri: str) -> Query:
    """Have the user allow access at `url`; return the query with which the provider redirects.

    Listens at `redirect_uri` if that is on this machine. Otherwise the user pastes the address.
    """
    place = urlsplit(redirect_uri)
    if place.hostname not in LOOPBACK:
        print(f"Open this address in your browser, and allow access:\n\n{url}\n")
        pasted = input("Then paste the address that the browser shows: ")
        return _query(pasted.strip())

    arrived = threading.Event()
    received: list[Query] = []

    class Callback(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = urlsplit(self.path).path == (place.path or "/")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            if found:
                self.wfile.write(b"You can close this page and go back to the terminal.\n")
                received.append(_query(self.path))
                arrived.set()

        def log_message(self, *_: object) -> None:
            pass  # the address has the code in it

    try:
        server = ThreadingHTTPServer(("127.0.0.1", place.port or 80), Callback)
    except OSError as error:
        raise Problem(
            f"cannot listen at {redirect_uri}: {error.strerror}. Stop the program that uses this "
            "port, or register another redirect URL and pass it with --redirect-uri."
        ) from None
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"Allow access in your browser. If it does not open, go to:\n\n{url}\n", flush=True)
        webbrowser.open(url)
        try:
            if not arrived.wait(MINUTES * 60):
                raise Problem(f"nobody allowed access within {MINUTES} minutes.")
        finally:
            server.shutdown()
    return received[0]


def _query(address: str) -> Query:
    return {name: values[-1] for name, values in parse_qs(urlsplit(address).query).items()}


def code_of(answer: Query, state: str) -> str:
    """Return the code with which the provider redirected; raises Problem if it did not give one."""
    if not hmac.compare_digest(answer.get("state", "").encode(), state.encode()):
        raise Problem("the answer does not belong to this sign-in (state). Start again.")
    if "error" in answer:
        words = answer.get("error_description", answer["error"])
        raise Problem(f"the provider did not allow access: {words}")
    if not answer.get("code"):
        raise Problem("the provider's answer has no code. Start again.")
    return answer["code"]


def exchange(token_url: str, form: Query) -> Json:
    """Return the tokens that the provider issues for the form; raises Problem if it does not."""
    request = Request(token_url, urlencode(form).encode(), {"Accept": "application/json"})
    try:
        with urlopen(request, timeout=30) as response:
            tokens = json.load(response)
    except HTTPError as error:
        raise Problem(
            f"{token_url} answered with status {error.code}{_reason(error)}. Check the client id, "
            "the client secret and the redirect URL of your OAuth application."
        ) from None
    except (URLError, TimeoutError, ValueError) as error:
        raise Problem(f"{token_url} could not be read: {error}") from None
    if not isinstance(tokens, dict) or not tokens.get("refresh_token"):
        raise Problem("the provider issued no refresh token. Check the scopes of the application.")
    return tokens


def _reason(error: HTTPError) -> str:
    """What the provider calls the error: `error` (RFC 6749) or `message` (HighLevel)."""
    try:
        answer = json.load(error)
        return f" ({answer.get('error') or answer['message']})"
    except (ValueError, LookupError, AttributeError):
        return ""


def configuration(file: Path, name: str) -> Json:
    """Return the configuration in the file, or a new one; raises Problem if it is not usable."""
    if not file.exists():
        return {"provider": {"name": name}}
    try:
        config = json.loads(file.read_text())
        found = config["provider"]["name"]
    except (ValueError, LookupError, TypeError):
        raise Problem(f"{file} exists and is not a configuration of the connector.") from None
    if found != name:
        raise Problem(f"{file} is the configuration of {found}. Choose another file.")
    return dict(config)


def write(file: Path, config: Json) -> None:
    """Replace the file as a whole; only its owner can read and write it (mode 0600)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as opened:
        opened.write(json.dumps(config, indent=2) + "\n")
    new.replace(file)


def authorize(arguments: argparse.Namespace) -> None:
    """Sign in and write the configuration; raises Problem if that is not possible."""
    provider = PROVIDERS[arguments.provider]
    config = configuration(arguments.file, arguments.provider)
    token_url = config["provider"].get("token_url", provider.token_url)
    secret = os.environ.get("CLIENT_SECRET") or getpass.getpass("Client secret: ")
    if not secret:
        raise Problem("there is no client secret.")

    state = secrets.token_urlsafe(32)
    query = {
        "response_type": "code",
        "client_id": arguments.client_id,
        "redirect_uri": arguments.redirect_uri,
        "scope": provider.scope,
        "state": state,
    }
    url = f"{arguments.authorize_url or provider.authorize_url}?{urlencode(query)}"
    code = code_of(sign_in(url, arguments.redirect_uri), state)
    client = {"client_id": arguments.client_id, "client_secret": secret}
    tokens = exchange(
        token_url,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": arguments.redirect_uri,
            **client,
            **provider.token_request,
        },
    )
    config["provider"]["credentials"] = {
        "auth_type": "oauth2.0",
        **client,
        "refresh_token": tokens["refresh_token"],
    }
    if arguments.provider == "highlevel" and tokens.get("locationId"):
        config["provider"]["location_id"] = tokens["locationId"]
    write(arguments.file, config)
    print(f"Wrote {arguments.file}. Next: source-meetings check --config {arguments.file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("provider", choices=PROVIDERS)
    parser.add_argument("file", type=Path, help="the configuration file to write")
    parser.add_argument("--client-id", required=True, help="of your OAuth application")
    parser.add_argument(
        "--redirect-uri",
        default="http://localhost:8766/callback",
        help="as registered for the application (default: %(default)s)",
    )
    parser.add_argument("--authorize-url", help="only for tests and white-label domains")
    try:
        authorize(parser.parse_args())
    except Problem as problem:
        sys.exit(f"authorize: {problem}")
    except KeyboardInterrupt:
        sys.exit("\nStopped; nothing was written.")


if __name__ == "__main__":
    main()
