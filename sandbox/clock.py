"""The sandbox's own clock. The providers use it for every timestamp, expiry and limit."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
TICK = timedelta(microseconds=10_007)

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?"
)


def parse_time(text: str) -> datetime:
    """An ISO 8601 date or date-time in UTC. Without an offset, it is UTC. ValueError if malformed.

    (In Python 3.10, `datetime.fromisoformat` accepts neither `Z` nor fractions of any length.)
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"not an ISO 8601 time: {text!r}")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    moment = datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "0")[:6].ljust(6, "0")),
        tzinfo=timezone.utc,
    )
    if zone and zone != "Z":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        moment -= offset if zone[0] == "+" else -offset
    return moment


def to_micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def iso_micros(micros: int) -> str:
    """Microseconds since 1970 as `2021-09-17T07:15:00.000000Z`.

    This is half the work of making a page, so the text of each hour is cached.
    """
    hour, rest = divmod(micros, 3_600_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    return f"{_hour(hour)}{seconds // 60:02}:{seconds % 60:02}.{fraction:06}Z"


@lru_cache(maxsize=100_000)
def _hour(hours: int) -> str:
    return (EPOCH + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:")


class Clock:
    """Either fixed (moved only by `advance`, `set` and one tick per write) or real with an offset.

    `Clock("2026-06-01T00:00:00Z")` is fixed. `Clock("real")` follows the machine's clock.
    """

    def __init__(self, start: str = "real") -> None:
        self.real = start == "real"
        self._offset = timedelta()
        self._fixed = EPOCH if self.real else parse_time(start)

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + self._offset if self.real else self._fixed

    def micros(self) -> int:
        return to_micros(self.now())

    def tick(self) -> datetime:
        """The time of a write, later than that of the write before it."""
        if not self.real:
            self._fixed += TICK
        return self.now()

    def advance(self, **amount: float) -> datetime:
        """Move the clock forward by the arguments of a `timedelta`: `advance(days=1, hours=2)`."""
        return self.set(self.now() + timedelta(**amount))

    def set(self, moment: str | datetime) -> datetime:
        moment = parse_time(moment) if isinstance(moment, str) else moment
        if self.real:
            self._offset += moment - self.now()
        else:
            self._fixed = moment
        return self.now()
