"""How long to wait before a request is sent again."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

from source_meetings import timestamps

_LONGEST_BACK_OFF_SECONDS = 60.0


def patience() -> float:
    """Return the factor on time-outs and waits of the connector's own choosing, usually 1.

    The environment variable ``SOURCE_MEETINGS_PATIENCE`` sets it: more for a slow network, less
    for tests. What a provider asks to wait is not touched by it.
    """
    try:
        factor = float(os.environ.get("SOURCE_MEETINGS_PATIENCE") or 1)
    except ValueError:
        return 1.0
    return factor if 0 < factor <= 100 else 1.0


def back_off_seconds(tries: int) -> float:
    """Return the wait after so many tries: 1, 2, 4 … 60 seconds and up to half as much again."""
    seconds = min(_LONGEST_BACK_OFF_SECONDS, 2.0 ** (tries - 1)) * patience()
    return seconds * random.uniform(1.0, 1.5)


def jitter_seconds() -> float:
    """Return a moment to add to what a provider asks for, so that workers do not come as one."""
    return random.uniform(0.05, 0.5) * patience()


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return what ``Retry-After`` asks for, in seconds: a number or an HTTP date (RFC 9110)."""
    value = (headers.get("Retry-After") or "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
        return seconds if 0 <= seconds < float("inf") else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - timestamps.server_time(headers)).total_seconds())
