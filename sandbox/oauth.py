"""OAuth 2.0 with rotating refresh tokens, as in Close, Salesloft and HighLevel.

The authorization-code flow follows https://www.rfc-editor.org/rfc/rfc6749#section-4.1. The user
always agrees at once. Section 5.2 names the errors of the token endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from sandbox.clock import Clock
from sandbox.side import Call, Reply


class Pair(NamedTuple):
    access: str
    refresh: str


@dataclass
class _Access:
    expires: datetime
    uses_left: int | None


class OAuthError(Exception):
    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


class OAuth:
    """The tokens of one authorized app.

    lifetime            seconds an access token lives, on the sandbox clock
    rotates             a refresh answers with a new refresh token and revokes the old one
    grace               seconds for which the old one still works, and returns the same pair
    revokes_access      a refresh also revokes earlier access tokens
    after_uses          an access token also ends after this many requests (None: it does not)
    denies              the user denies access
    """

    def __init__(
        self,
        clock: Clock,
        *,
        lifetime: int,
        scope: str,
        rotates: bool = True,
        grace: float = 0,
        revokes_access: bool = False,
    ) -> None:
        self.clock = clock
        self.client_id = "sandbox-client"
        self.client_secret = "sandbox-secret"
        self.lifetime = lifetime
        self.scope = scope
        self.rotates = rotates
        self.grace = grace
        self.revokes_access = revokes_access
        self.after_uses: int | None = None
        self.denies = False
        self.refreshes = 0
        self._codes: dict[str, str] = {}  # code: the redirect URL that it was issued for
        self._issued = 0
        self._access: dict[str, _Access] = {}
        self._spent: dict[str, tuple[datetime, Pair]] = {}
        self.refresh_token = self._new("refresh")

    def _new(self, kind: str) -> str:
        self._issued += 1
        return f"sandbox-{kind}-{self._issued:04d}"

    def _new_access(self) -> str:
        access = self._new("access")
        expires = self.clock.now() + timedelta(seconds=self.lifetime)
        self._access[access] = _Access(expires, self.after_uses)
        return access

    def issue(self) -> Pair:
        """Issue a new pair, as when the user authorizes the app. Older refresh tokens end."""
        if self.revokes_access:
            self._access.clear()
        if self.rotates:
            self.refresh_token = self._new("refresh")
        return Pair(self._new_access(), self.refresh_token)

    def authorize(self, query: Mapping[str, str]) -> str:
        """The URL to send the browser to after the user's decision. OAuthError if there is none."""
        if query.get("client_id") != self.client_id or not query.get("redirect_uri"):
            raise OAuthError("invalid_client", "client_id or redirect_uri is not registered")
        answer = {"state": query["state"]} if "state" in query else {}
        if self.denies:
            answer |= {"error": "access_denied", "error_description": "The user denied access"}
        elif query.get("response_type") != "code":
            answer |= {"error": "unsupported_response_type"}
        elif not set(self.scope.split()) <= set(query.get("scope", "").split()):
            answer |= {"error": "invalid_scope"}
        else:
            answer["code"] = self._new("code")
            self._codes[answer["code"]] = query["redirect_uri"]
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def grant(self, form: Mapping[str, str]) -> Pair:
        """Answer a token request. OAuthError if it is refused."""
        if form.get("grant_type") not in ("refresh_token", "authorization_code"):
            words = "grant_type must be refresh_token or authorization_code"
            raise OAuthError("unsupported_grant_type", words)
        if (form.get("client_id"), form.get("client_secret")) != (
            self.client_id,
            self.client_secret,
        ):
            raise OAuthError("invalid_client", "Client authentication failed", 401)
        if form["grant_type"] == "refresh_token":
            return self._refresh(form)
        redirect = self._codes.pop(form.get("code", ""), None)  # valid once
        if redirect is None or redirect != form.get("redirect_uri"):
            raise OAuthError("invalid_grant", "The code is invalid or was issued for another URL")
        return self.issue()

    def _refresh(self, form: Mapping[str, str]) -> Pair:
        token = form.get("refresh_token", "")
        if token in self._spent:
            when, pair = self._spent[token]
            if self.clock.now() < when + timedelta(seconds=self.grace):
                return pair
        if token != self.refresh_token:
            raise OAuthError(
                "invalid_grant",
                "The refresh token is invalid, expired or revoked, or was issued to another client",
            )
        pair = self.issue()
        self.refreshes += 1
        if self.rotates:
            self._spent[token] = (self.clock.now(), pair)
        return pair

    def accepts(self, access: str) -> bool:
        """Whether an access token is valid now. Counts as one use."""
        held = self._access.get(access)
        if held is None or self.clock.now() >= held.expires or held.uses_left == 0:
            return False
        if held.uses_left is not None:
            held.uses_left -= 1
        return True

    def expire_all(self) -> None:
        """End every access token. The refresh token stays valid."""
        self._access.clear()


def authorize_page(oauth: OAuth, call: Call) -> Reply:
    """The page on which a user allows access. It redirects at once."""
    try:
        return Reply(b"", 302, {"location": oauth.authorize(dict(call.params))}, "text/html")
    except OAuthError as error:
        return Reply({"error": error.error, "error_description": error.description}, error.status)
