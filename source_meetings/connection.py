"""The configuration in use, and what all components of a connection share.

The CDK hands the configuration to every component it builds. So the connection *is* the
configuration, and carries with it what has to be known once: the tokens in use, the pace that the
provider asks for, and how far each stream is.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import tempfile
import threading
import time
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

LONGEST_RENEWAL_AHEAD = timedelta(minutes=2)


@dataclass
class Tokens:
    """What the authenticators of a connection know of its OAuth tokens together.

    ``lock`` is held while tokens are renewed: refresh tokens are single use, so two workers that
    renew at the same time would revoke each other's. ``accepted`` has the headers that the provider
    has answered well. ``renew_ahead`` is how long before its end a token is renewed. ``failure`` is
    the last renewal that failed, and when (on the monotonic clock).
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    accepted: set[str] = field(default_factory=set)
    renew_ahead: timedelta = LONGEST_RENEWAL_AHEAD
    failure: tuple[float, AirbyteTracedException] | None = None


class Pace:
    """Holds all workers back while the provider's budget for an interval is spent.

    The budget in a manifest knows the documented limit. Other programs draw on the same one, and
    some accounts have less, so what the answers say has the last word.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._spent = False

    @property
    def seconds_left(self) -> float:
        """How many seconds no request may be made; 0 or less if one may be made now."""
        with self._lock:
            return self._until - time.monotonic()

    def hold(self, seconds: float) -> None:
        """Let nobody make a request for so many seconds."""
        with self._lock:
            self._until = time.monotonic() + seconds

    def note(self, spent: bool, seconds: float) -> None:
        """Take in whether an answer says that the budget is spent, and the length of the interval.

        A budget that is still spent after the wait cannot be waited for; what is wrong then shows
        as a 429.
        """
        with self._lock:
            newly, self._spent = spent and not self._spent, spent
        if newly:
            self.hold(seconds)


class Connection(dict[str, Any]):
    """The configuration of one connection, live.

    ``path`` is the file that the configuration was read from. Renewed tokens are written back to it
    when it is writable, because nobody else stores them when the connector is run by hand.
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
        """The ``provider.credentials`` object; ``provider`` itself where there is none."""
        credentials: dict[str, Any] = self.provider.get("credentials") or self.provider
        return credentials

    @property
    def streams(self) -> Mapping[str, Progress]:
        """How far each stream is."""
        return self._progress

    def progress_of(self, stream: str) -> Progress:
        """Return the progress of a stream, from now on the same one for all who ask."""
        return self._progress.setdefault(stream, Progress(stream))

    def forget_progress(self) -> None:
        """Begin to count anew."""
        self._progress.clear()

    def store_tokens(self, tokens: Mapping[str, Any]) -> None:
        """Keep renewed tokens: in memory, in a CONTROL message at once, and in the file."""
        self.credentials.update(tokens)
        message = create_connector_config_control_message(dict(self))
        # Printed, not queued: whoever reads us must have the token even if we are killed next.
        write_line(json.dumps(AirbyteMessageSerializer.dump(message)))
        if self.path is None:
            return
        try:
            _write_into(self.path.resolve(), tokens)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # No failure: the CONTROL message has gone out.
            self.path = None
            LOGGER.warning(
                "The renewed OAuth tokens could not be written into the configuration file (%s). "
                "The refresh token that stands there is used up: take the new one from the last "
                "CONTROL message.",
                getattr(error, "strerror", None) or type(error).__name__,
            )


def _write_into(file: Path, tokens: Mapping[str, Any]) -> None:
    """Write tokens into the credentials of a configuration file, in one step."""
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
