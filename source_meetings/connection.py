"""The configuration in use, and what all components of a connection share.

The CDK passes the configuration to every component it builds. So the connection *is* the
configuration. It also carries the shared data: the tokens in use, the provider's pace, and the
progress of each stream.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from airbyte_cdk.config_observation import create_connector_config_control_message
from airbyte_cdk.models import AirbyteMessageSerializer
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.output import write_line
from source_meetings.progress import Progress

LOGGER = logging.getLogger("airbyte.source_meetings")

_MOST_SENT = 1_000  # more than any interval allows
LONGEST_RENEWAL_AHEAD = timedelta(minutes=2)


@dataclass
class Tokens:
    """The OAuth token data that the authenticators of a connection share.

    ``lock`` is held while tokens are renewed. Refresh tokens are single use, so two workers that
    renew at the same time would revoke each other's token. ``accepted`` has the headers that the
    provider has accepted. ``renew_ahead`` is how long before it expires a token is renewed.
    ``failure`` is the last failed renewal, and when it failed (on the monotonic clock).
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    accepted: set[str] = field(default_factory=set)
    renew_ahead: timedelta = LONGEST_RENEWAL_AHEAD
    failure: tuple[float, AirbyteTracedException] | None = None


class Pace:
    """Holds all workers back while the provider's budget for an interval is used up.

    The budget in a manifest is the documented limit. Other programs share it, and some accounts
    have less, so the answers take precedence.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._spent = False
        self._sent: deque[float] = deque(maxlen=_MOST_SENT)

    @property
    def seconds_left(self) -> float:
        """Return the seconds until a request may be made: 0 or less if one may be made now."""
        with self._lock:
            return self._until - time.monotonic()

    def hold(self, seconds: float) -> None:
        """Block all requests for this many seconds."""
        with self._lock:
            self._until = time.monotonic() + seconds

    def sent(self) -> None:
        """Note that a request is being sent."""
        with self._lock:
            self._sent.append(time.monotonic())

    def note(self, spent: bool, seconds: float, limit: int | None = None) -> None:
        """Note whether an answer says that the budget is used up.

        ``seconds`` is the length of the interval, and ``limit`` is how many requests it allows. If
        this connection has sent that many within it, the interval ends as soon as the first of them
        is that old. Otherwise other programs share the budget, and only a whole interval is safe.

        If the budget is still used up after the wait, waiting does not help. The real problem then
        shows as a 429.
        """
        with self._lock:
            newly, self._spent = spent and not self._spent, spent
            if limit and len(self._sent) >= limit:
                age = time.monotonic() - self._sent[-limit]
                seconds -= age if age < seconds else 0.0
        if newly:
            self.hold(seconds)


class Connection(dict[str, Any]):
    """The live configuration of one connection.

    ``path`` is the file that the configuration was read from. Renewed tokens are written back to it
    if it is writable, because nothing else stores them when the connector is run by hand.
    """

    def __init__(self, config: Mapping[str, Any], path: str | None = None) -> None:
        super().__init__(json.loads(json.dumps(config)))
        self.path = Path(path) if path else None
        self.tokens = Tokens()
        self.pace = Pace()
        self._progress: dict[str, Progress] = {}

    @property
    def provider(self) -> dict[str, Any]:
        """The ``provider`` object."""
        provider: dict[str, Any] = self["provider"]
        return provider

    @property
    def credentials(self) -> dict[str, Any]:
        """The ``provider.credentials`` object, or ``provider`` itself if it has none."""
        credentials: dict[str, Any] = self.provider.get("credentials") or self.provider
        return credentials

    @property
    def streams(self) -> Mapping[str, Progress]:
        """The progress of each stream."""
        return self._progress

    def progress_of(self, stream: str) -> Progress:
        """Return the progress of a stream. Every caller gets the same object."""
        return self._progress.setdefault(stream, Progress(stream))

    def forget_progress(self) -> None:
        """Reset all counts."""
        self._progress.clear()

    def store_tokens(self, tokens: Mapping[str, Any]) -> None:
        """Store renewed tokens in memory, in a CONTROL message (sent at once), and in the file."""
        self.credentials.update(tokens)
        message = create_connector_config_control_message(dict(self))
        # Printed, not queued: the reader must have the token even if this process is killed next.
        write_line(json.dumps(AirbyteMessageSerializer.dump(message)))
        if self.path is None:
            return
        try:
            _write_into(self.path.resolve(), tokens)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # Not an error: the CONTROL message has been sent.
            self.path = None
            LOGGER.warning(
                "The renewed OAuth tokens could not be written into the configuration file (%s). "
                "The refresh token in that file has been used: take the new one from the last "
                "CONTROL message.",
                getattr(error, "strerror", None) or type(error).__name__,
            )


def _write_into(file: Path, tokens: Mapping[str, Any]) -> None:
    """Write tokens into the credentials of a configuration file, atomically."""
    status = file.stat()
    if not (status.st_mode & 0o222 and os.access(file, os.W_OK)):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    stored = json.loads(file.read_text(encoding="utf-8"))
    stored["provider"]["credentials"].update(tokens)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    copy = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as written:
            json.dump(stored, written, indent=2)
            written.flush()
            os.fsync(written.fileno())
        copy.chmod(status.st_mode & 0o7777)
        with suppress(PermissionError):
            os.chown(copy, status.st_uid, status.st_gid)
        copy.replace(file)
    except BaseException:
        with suppress(OSError):
            copy.unlink()
        raise
