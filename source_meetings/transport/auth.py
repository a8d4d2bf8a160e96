"""How a request proves who sends it.

The CDK's authenticators are not used, for two reasons, both measured with airbyte-cdk 7.39.1: they
evaluate credentials as Python literals (``1_000`` is sent as ``1000``), and they announce a rotated
refresh token but never store it, so a second run by hand starts with a revoked one.
"""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.declarative.auth.declarative_authenticator import DeclarativeAuthenticator
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.connection import LONGEST_RENEWAL_AHEAD, Connection
from source_meetings.transport.waits import back_off_seconds, retry_after_seconds, time_out_seconds

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0
_TRANSIENT_ATTEMPTS = 4
_TRANSIENT_STATUSES = (408, 425, 429)
_LONGEST_WAIT_SECONDS = 60.0
_MOST_RENEWALS = 5  # for one request
_USUAL_LIFETIME = timedelta(hours=1)
_LONGEST_LIFETIME = timedelta(days=3650).total_seconds()


def hide(secret: str) -> None:
    """Replace a secret with stars in every message, however it is written there."""
    forms = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
    for form in {*forms, secret.replace("/", "\\/")} - {""}:
        add_to_secrets(form)


@dataclass
class ProviderAuthenticator(DeclarativeAuthenticator):
    """Puts the configured credential, byte for byte, into the ``Authorization`` header.

    ``scheme`` is how the provider expects a static key: ``bearer`` (Salesloft, HighLevel),
    ``basic`` (Close: key as the user name, empty password, https://developer.close.com/) or
    ``raw_basic`` (ExpoPlatform: the word Basic and the unencoded key,
    https://help.expoplatform.com/admin-home/api-keys). With ``auth_type: oauth2.0``, the access
    token is always sent as a bearer token, and renewed at ``token_url``.
    """

    config: Mapping[str, Any]
    parameters: InitVar[Mapping[str, Any] | None] = None
    scheme: str = "bearer"
    token_url: str | None = None
    token_request: Mapping[str, str] = field(default_factory=dict)
    provider: str = "the provider"

    def __post_init__(self, parameters: Mapping[str, Any] | None) -> None:
        assert isinstance(self.config, Connection)  # SourceMeetings passes it to every component
        self._connection = self.config
        self._tokens = self.config.tokens
        self._token_url = str(self.config.provider.get("token_url") or self.token_url or "")
        self._renewable = self._credentials.get("auth_type") == "oauth2.0"
        self._hidden: set[str] = set()

    @property
    def _credentials(self) -> Mapping[str, Any]:
        return self._connection.credentials

    @property
    def auth_header(self) -> str:
        return "Authorization"

    @property
    def token(self) -> str:
        """The value of the header. Renews an access token that has expired, or is about to.

        Raises AirbyteTracedException if it cannot be renewed.
        """
        value = self._value()
        self._hide(value.partition(" ")[2])
        return value

    def _value(self) -> str:
        if self._renewable:
            return f"Bearer {self._access_token()}"
        key = str(self._credentials.get("api_key") or self._credentials.get("access_token") or "")
        self._hide(key)
        if self.scheme == "basic":
            return "Basic " + base64.b64encode(f"{key}:".encode()).decode("ascii")
        return f"Basic {key}" if self.scheme == "raw_basic" else f"Bearer {key}"

    def _hide(self, secret: str) -> None:
        if secret not in self._hidden:
            self._hidden.add(secret)
            hide(secret)

    def accepted(self, value: str) -> None:
        """Note that the provider accepted this header, for all streams and workers."""
        self._tokens.accepted.add(value)

    def renew(self, rejected: str, renewals: int) -> bool:
        """Replace the access token in a header that a provider answered with 401.

        ``renewals`` is how often this was done for the same request. Returns whether there is now
        another token to try. A token that was accepted before has expired since; one that never was
        accepted is refused. But a new token may have served other workers, whose answers are still
        on their way here, so the first two are replaced in any case. If another worker has renewed
        the token meanwhile, that token is used and no request is made.
        """
        if not self._renewable or renewals >= _MOST_RENEWALS:
            return False
        if renewals > 1 and rejected not in self._tokens.accepted:
            return False
        begun = time.monotonic()
        with self._tokens.lock:
            if rejected == f"Bearer {self._credentials.get('access_token')}":
                self._refresh(begun)
            return True

    def _access_token(self) -> str:
        begun = time.monotonic()
        with self._tokens.lock:
            expires = timestamps.parse_or_none(self._credentials.get("token_expiry_date"))
            token = self._credentials.get("access_token")
            ahead = self._tokens.renew_ahead
            if not token or expires is None or expires - ahead <= timestamps.now():
                self._refresh(begun)
            return str(self._credentials["access_token"])

    def _refresh(self, begun: float) -> None:
        """Get new tokens. The caller holds the lock, and began to wait for it at ``begun``."""
        failure = self._tokens.failure
        # If another worker was refused during the wait, this one need not be refused as well, nor
        # wait as long again for an endpoint that does not answer.
        if failure and (failure[1].failure_type == FailureType.config_error or begun < failure[0]):
            raise failure[1]
        try:
            self._renew_tokens()
        except AirbyteTracedException as error:
            self._tokens.failure = (time.monotonic(), error)
            raise

    def _renew_tokens(self) -> None:
        body = {
            "grant_type": "refresh_token",
            "client_id": str(self._credentials["client_id"]),
            "client_secret": str(self._credentials["client_secret"]),
            "refresh_token": str(self._credentials["refresh_token"]),
            **self.token_request,
        }
        for name in ("client_secret", "refresh_token"):
            self._hide(body[name])
        answer = self._ask_for_token(body)
        lifetime = _lifetime(answer.get("expires_in"))
        self._tokens.renew_ahead = min(LONGEST_RENEWAL_AHEAD, lifetime / 10)
        tokens = {
            "access_token": str(answer["access_token"]),
            # Not every answer has a new one. Then the old one stays valid.
            "refresh_token": str(answer.get("refresh_token") or body["refresh_token"]),
            "token_expiry_date": timestamps.iso(timestamps.now() + lifetime),
        }
        for name in ("access_token", "refresh_token"):
            hide(tokens[name])
        self._connection.store_tokens(tokens)

    def _ask_for_token(self, body: Mapping[str, str]) -> Mapping[str, Any]:
        problem, wait = "", 0.0
        for attempt in range(_TRANSIENT_ATTEMPTS):
            if attempt:
                # Only a few: a refresh that fails keeps every worker waiting.
                time.sleep(wait)
            wait = back_off_seconds(attempt + 1)
            try:
                response = requests.post(
                    self._token_url,
                    data=body,
                    timeout=(time_out_seconds(_CONNECT_SECONDS), time_out_seconds(_READ_SECONDS)),
                    allow_redirects=False,
                )
            except (requests.RequestException, ValueError) as error:
                problem = f"the token endpoint could not be reached ({type(error).__name__})"
                continue
            status = response.status_code
            if status in _TRANSIENT_STATUSES or status >= 500:
                problem = f"the token endpoint answered with status {status}"
                asked = retry_after_seconds(response.headers)
                wait = min(_LONGEST_WAIT_SECONDS, max(wait, asked or 0.0))
                continue
            answer = _json_object(response)
            if response.ok and not response.is_redirect:
                if _is_token(answer.get("access_token")):
                    return answer
                problem = "the token endpoint answered without an access token"
                continue
            raise self._refused(status, str(answer.get("error") or ""))
        raise AirbyteTracedException(
            message=f"{self.provider}, renewing the OAuth access token: {problem}, "
            f"{_TRANSIENT_ATTEMPTS} times. Nothing was lost; run the sync again later.",
            internal_message=problem,
            failure_type=FailureType.transient_error,
        )

    def _refused(self, status: int, error: str) -> AirbyteTracedException:
        """Return the error for a refusal: https://www.rfc-editor.org/rfc/rfc6749#section-5.2."""
        if error == "invalid_client":
            cure = (
                "the client id or the client secret is wrong. Correct client_id and "
                "client_secret in provider.credentials."
            )
        elif error == "invalid_grant":
            cure = (
                "the refresh token is expired, revoked or already used elsewhere. Authenticate "
                "again and put the new refresh token into provider.credentials.refresh_token."
            )
        elif status in (400, 401, 403):
            cure = (
                "the refresh token is expired, revoked or already used elsewhere, or the client id "
                "or secret is wrong. Authenticate again and put the new refresh token into "
                "provider.credentials."
            )
        else:
            cure = (
                f"the token endpoint answered with status {status}. Leave provider.token_url at "
                "its default."
            )
        return AirbyteTracedException(
            message=f"{self.provider} refused to renew the OAuth access token: {cure}",
            internal_message=f"token endpoint answered with status {status}",
            failure_type=FailureType.config_error,
        )


def _json_object(response: requests.Response) -> Mapping[str, Any]:
    try:
        value = response.json()
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_token(value: Any) -> bool:
    """Return whether a header can hold a value. http.client would quote any other in its error."""
    return isinstance(value, str) and re.fullmatch(r"[!-~]+", value) is not None


def _lifetime(value: Any) -> timedelta:
    """Return ``expires_in`` in seconds, from a number or a text. An hour if it is missing.

    A token that expires earlier is renewed at its next 401.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return _USUAL_LIFETIME
    return timedelta(seconds=min(seconds, _LONGEST_LIFETIME)) if seconds > 0 else _USUAL_LIFETIME
