"""How long to wait before a request is sent again."""

from __future__ import annotations

import math
import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any

from source_meetings import timestamps
from source_meetings.transport.parsing import parse_json

Headers = Mapping[str, str]

_LONGEST_BACK_OFF_SECONDS = 60.0
_LONGEST_ANNOUNCED_SECONDS = 300.0
_LONGEST_INTERVAL_SECONDS = 60.0
_SHORTEST_TIME_OUT_SECONDS = 2.0
_INTERVAL_SECONDS = 10.0  # HighLevel's, if the header is missing
_RESET = re.compile(r"\breset\s*=\s*\"?(\d+(?:\.\d+)?)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


def patience() -> float:
    """Return the factor for time-outs and for waits that the connector chooses, usually 1.

    The environment variable ``SOURCE_MEETINGS_PATIENCE`` sets it: higher for a slow network, lower
    for tests. It does not affect waits that a provider asks for.
    """
    try:
        factor = float(os.environ.get("SOURCE_MEETINGS_PATIENCE") or 1)
    except ValueError:
        return 1.0
    return factor if 0 < factor <= 100 else 1.0


def time_out_seconds(seconds: float) -> float:
    """Return a time-out with :func:`patience` applied.

    It is at least two seconds. On a busy machine, even a good answer can take one.
    """
    return max(_SHORTEST_TIME_OUT_SECONDS, seconds * patience())


def back_off_seconds(tries: int) -> float:
    """Return the wait after this many tries: 1, 2, 4 … 60 seconds, plus up to half of that."""
    seconds = min(_LONGEST_BACK_OFF_SECONDS, 2.0 ** (tries - 1)) * patience()
    return seconds * random.uniform(1.0, 1.5)


def jitter_seconds() -> float:
    """Return a random extra wait, so that workers do not all return at the same moment."""
    return random.uniform(0.05, 0.5) * patience()


def retry_after_seconds(headers: Headers) -> float | None:
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


class SpentForToday(Exception):
    """The daily limit is reached, so no reasonable wait can help.

    The text is the limit, as the provider announces it.
    """


@dataclass(frozen=True)
class RateLimit:
    """A provider's rate limit, and how its answers announce it. All parts are optional.

    ``words``: the limit, for messages ("600 points a minute").

    ``reset_headers``: headers of a 429 with the seconds to wait, as a number or after ``reset=``.
    ``reset_key``: the key with the seconds in the body of a 429, or in its ``error``.

    ``remaining_in_minute``: the header with what is left of a budget that is renewed with each full
    minute of the provider's clock. ``cost``: the header with what a request takes from it.

    ``interval``: the header with the length of the interval in which requests are counted, in
    milliseconds. ``remaining_in_interval``: the header with how many are left in it.
    ``most_in_interval``: the header with how many it allows.

    ``remaining_today`` and ``limit_today``: the headers of a daily limit.
    """

    words: str | None = None
    reset_headers: tuple[str, ...] = ()
    reset_key: str | None = None
    remaining_in_minute: str | None = None
    cost: str | None = None
    interval: str | None = None
    remaining_in_interval: str | None = None
    most_in_interval: str | None = None
    remaining_today: str | None = None
    limit_today: str | None = None

    def seconds(self, headers: Headers, content: bytes, tries: int) -> float | None:
        """Return how many seconds a 429 asks to wait, or None if it does not say.

        ``tries`` is how often the request has been refused. Raises SpentForToday.
        """
        if self.remaining_today and _number(headers, self.remaining_today) == 0:
            raise SpentForToday(headers.get(self.limit_today or "") or "unknown")
        if self.interval:
            return self.interval_seconds(headers)
        if self.remaining_in_minute:
            return self._to_the_next_minute(headers, tries)
        for name in self.reset_headers:
            value = headers.get(name) or ""
            found = _RESET.search(value) or _NUMBER.fullmatch(value.strip())
            if found:
                return min(float(found[1]), _LONGEST_ANNOUNCED_SECONDS)
        return self._in_body(content) if self.reset_key else None

    def interval_seconds(self, headers: Headers) -> float:
        """Return the length of the interval in which requests are counted."""
        milliseconds = _number(headers, self.interval or "")
        seconds = _INTERVAL_SECONDS if milliseconds is None else milliseconds / 1000
        return min(_LONGEST_INTERVAL_SECONDS, max(0.0, seconds))

    def is_spent(self, headers: Headers) -> bool:
        """Return whether an answer says that nothing is left in the interval."""
        name = self.remaining_in_interval
        return name is not None and _number(headers, name) == 0

    def most(self, headers: Headers) -> int | None:
        """Return how many requests the interval allows, or None if the answer does not say."""
        number = _number(headers, self.most_in_interval or "")
        return int(number) if number and number >= 1 else None

    def _to_the_next_minute(self, headers: Headers, tries: int) -> float | None:
        """Return the wait until the budget is renewed, at the next full minute.

        If enough of the budget is left, the budget was not the reason. If the answer says nothing,
        one early try costs less than a wait of up to a minute.
        """
        left = _number(headers, self.remaining_in_minute or "")
        cost = _number(headers, self.cost or "") or 1
        if (left is None and tries <= 1) or (left is not None and left >= cost):
            return None
        return 60.0 - timestamps.server_time(headers).second

    def _in_body(self, content: bytes) -> float | None:
        try:
            body = parse_json(content)
        except ValueError:
            return None
        for place in (body.get("error"), body) if isinstance(body, dict) else ():
            reset: Any = place.get(self.reset_key) if isinstance(place, dict) else None
            try:
                seconds = float(reset) if isinstance(reset, (int, float, str)) else -1.0
            except ValueError:
                continue
            if 0 <= seconds < float("inf"):
                return min(seconds, _LONGEST_ANNOUNCED_SECONDS)
        return None


def _number(headers: Headers, name: str) -> float | None:
    try:
        number = float((headers.get(name) or "").strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None
