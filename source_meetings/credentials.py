"""How a request proves who sends it, and where renewed OAuth tokens are kept.

The CDK's authenticators are not used for two reasons, both measured with airbyte-cdk 7.39.1: they
evaluate credentials as Python literals (``1_000`` is sent as ``1000``), and they announce a rotated
refresh token without ever storing it, so that a second run by hand starts with a revoked one.
"""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
import base64
import json
import os
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from airbyte_cdk.config_observation import create_connector_config_control_message
from airbyte_cdk.models import AirbyteMessageSerializer, FailureType
from airbyte_cdk.sources.declarative.auth.declarative_authenticator import DeclarativeAuthenticator
from airbyte_cdk.utils.airbyte_secrets_utils import add_to_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.output import write_line

_REFRESH_AHEAD = timedelta(minutes=2)
_TIMEOUT_SECONDS = (10, 30)
_TRANSIENT_ATTEMPTS = 4


class ConnectionConfig(dict[str, Any]):
    """The connection's configuration; the one place where renewed tokens are written.

    ``path`` is the file the configuration was read from. It is written back when it is writable,
    because nobody else stores a rotated token when the connector is run by hand.
    """

    def __init__(self, config: Mapping[str, Any], path: str | None = None) -> None:
        super().__init__(json.loads(json.dumps(config)))
        self.path = Path(path) if path else None
        self.lock = threading.RLock()

    @property
    def credentials(self) -> dict[str, Any]:
        """The ``provider.credentials`` object, live."""
        credentials: dict[str, Any] = self["provider"]["credentials"]
        return credentials

    def store_tokens(self, tokens: Mapping[str, Any]) -> None:
        """Keep renewed tokens: in memory, in a CONTROL message at once, and in the file."""
        self.credentials.update(tokens)
        for secret in (tokens.get("access_token"), tokens.get("refresh_token")):
            if secret:
                add_to_secrets(str(secret))
        message = create_connector_config_control_message(dict(self))
        # Printed, not queued: whoever reads us must have the token even if we are killed next.
        line = json.dumps(AirbyteMessageSerializer.dump(message))
        write_line(line)
        self._write_file(tokens)

    def _write_file(self, tokens: Mapping[str, Any]) -> None:
        if self.path is None or not os.access(self.path, os.W_OK):
            return
        # A folder that cannot be written to, or a file that is mounted read-only, is no failure:
        # the CONTROL message has gone out already.
        with suppress(OSError, ValueError, KeyError, TypeError):
            target = self.path.resolve()
            stored = json.loads(target.read_text(encoding="utf-8"))
            stored["provider"]["credentials"].update(tokens)
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(stored, file, indent=2)
                    file.flush()
                    os.fsync(file.fileno())
                status = target.stat()
                os.chmod(temporary, status.st_mode & 0o7777)
                with suppress(PermissionError):
                    os.chown(temporary, status.st_uid, status.st_gid)
                os.replace(temporary, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise


@dataclass
class ProviderAuthenticator(DeclarativeAuthenticator):
    """Puts the configured credential, byte for byte, into the ``Authorization`` header.

    ``scheme`` is how the provider wants a static key: ``bearer`` (Salesloft, HighLevel), ``basic``
    (Close: key as the user name, empty password, https://developer.close.com/) or ``raw_basic``
    (ExpoPlatform: the word Basic and the key as it is,
    https://help.expoplatform.com/admin-home/api-keys). With ``auth_type: oauth2.0`` the access
    token is always sent as a bearer token, and renewed at ``token_url``.
    """

    config: Mapping[str, Any]
    parameters: InitVar[Mapping[str, Any] | None] = None
    scheme: str = "bearer"
    token_url: str | None = None
    token_request: Mapping[str, str] = field(default_factory=dict)
    where: str = "the provider"

    def __post_init__(self, parameters: Mapping[str, Any] | None) -> None:
        provider = self.config.get("provider") or {}
        self._credentials: Mapping[str, Any] = provider.get("credentials") or provider
        self._token_url = str(provider.get("token_url") or self.token_url or "")
        self.renewable = self._credentials.get("auth_type") == "oauth2.0"
        self.accepted: str | None = None  # the header value that was last answered well

    @property
    def auth_header(self) -> str:
        return "Authorization"

    @property
    def token(self) -> str:
        """The value of the header."""
        if self.renewable:
            return f"Bearer {self._access_token()}"
        credentials = self._credentials
        key = str(credentials.get("api_key") or credentials.get("access_token") or "")
        if self.scheme == "basic":
            return "Basic " + base64.b64encode(f"{key}:".encode()).decode("ascii")
        return f"Basic {key}" if self.scheme == "raw_basic" else f"Bearer {key}"

    def renew(self, rejected: str | None) -> bool:
        """Replace the access token behind the header value that a provider rejected.

        Returns whether there is now another token to try. When another worker has renewed it
        meanwhile, that one's token is used and no request is made.
        """
        if not self.renewable:
            return False
        with self._config.lock:
            if rejected != f"Bearer {self._credentials.get('access_token')}":
                return True
            self._refresh()
            return True

    @property
    def _config(self) -> ConnectionConfig:
        assert isinstance(
            self.config, ConnectionConfig
        )  # SourceMeetings hands it to every component
        return self.config

    def _access_token(self) -> str:
        # One lock for the whole connection: refresh tokens are single use, so two workers that
        # refresh at the same time would revoke each other's.
        with self._config.lock:
            expires = timestamps.parse_or_none(self._credentials.get("token_expiry_date"))
            token = self._credentials.get("access_token")
            if not token or expires is None or expires - _REFRESH_AHEAD <= timestamps.now():
                self._refresh()
            return str(self._credentials["access_token"])

    def _refresh(self) -> None:
        body = {
            "grant_type": "refresh_token",
            "client_id": str(self._credentials["client_id"]),
            "client_secret": str(self._credentials["client_secret"]),
            "refresh_token": str(self._credentials["refresh_token"]),
            **self.token_request,
        }
        answer = self._ask_for_token(body)
        lifetime = answer.get("expires_in")
        seconds = (
            float(lifetime) if isinstance(lifetime, (int, float, str)) and lifetime else 3600.0
        )
        self._config.store_tokens(
            {
                "access_token": str(answer["access_token"]),
                "refresh_token": str(answer.get("refresh_token") or body["refresh_token"]),
                "token_expiry_date": timestamps.iso(timestamps.now() + timedelta(seconds=seconds)),
            }
        )

    def _ask_for_token(self, body: Mapping[str, str]) -> Mapping[str, Any]:
        problem = ""
        for attempt in range(_TRANSIENT_ATTEMPTS):
            if attempt:
                # Short and few: a refresh that fails keeps every worker waiting.
                threading.Event().wait(2.0**attempt / 2)
            try:
                response = requests.post(
                    self._token_url, data=body, timeout=_TIMEOUT_SECONDS, allow_redirects=False
                )
            except requests.RequestException as error:
                problem = f"the token endpoint could not be reached ({type(error).__name__})"
                continue
            if response.status_code == 429 or response.status_code >= 500:
                problem = f"the token endpoint answered with status {response.status_code}"
                continue
            try:
                answer = response.json()
            except ValueError:
                answer = None
            if response.ok and isinstance(answer, dict) and answer.get("access_token"):
                return answer
            if response.ok:
                problem = "the token endpoint answered without an access token"
                continue
            raise AirbyteTracedException(
                message=(
                    f"{self.where} refused to renew the OAuth access token: the refresh token is "
                    "expired, revoked or already used elsewhere, or the client id or secret is "
                    "wrong. Authenticate again and put the new refresh token into "
                    "provider.credentials."
                ),
                internal_message=f"token endpoint answered with status {response.status_code}",
                failure_type=FailureType.config_error,
            )
        raise AirbyteTracedException(
            message=f"{self.where}: {problem}. Nothing was lost; run the sync again later.",
            internal_message=problem,
            failure_type=FailureType.transient_error,
        )
