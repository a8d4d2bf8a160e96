"""Reads the times of ExpoPlatform's export, whose format is not documented.

Any plausible form is read: epoch seconds or milliseconds as a number or a text, ISO 8601 and
similar, with or without a zone.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, NamedTuple

from source_meetings import timestamps

_NUMBER = re.compile(r"\d{6,17}(\.\d+)?")
_WITH_ZONE = re.compile(r":\d{2}(\.\d+)?\s?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$", re.IGNORECASE)
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})([T ]00:00(:00)?)?")
_MILLISECONDS_FROM = 1e11  # in seconds that is the year 5138
_FURTHEST_ZONE = 14 * 3_600_000_000  # in microseconds
_SECONDS_OF_DAY = 86_400
_MINUTES = [f"T{hour:02}:{minute:02}:" for hour in range(24) for minute in range(60)]
_SECONDS = [f"{second:02}.000000Z" for second in range(60)]
_FIRST_DAY = timestamps.EPOCH.date()
_new_tuple = tuple.__new__  # what a NamedTuple's own constructor calls, in twice the time


class Moment(NamedTuple):
    """A point in time in epoch microseconds, UTC, and its ``text`` in a record: ISO 8601.

    A time that was written without a zone is assumed UTC. ``earliest`` is the earliest time that it
    can mean, whatever the zone. For watermarks.
    """

    micros: int
    text: str
    earliest: int


def moment(value: Any) -> Moment | None:
    """Read one time: epoch seconds or milliseconds, a number or a text, or ISO 8601 and similar.

    Returns None if the value is not a point in time, for example ``0`` or ``0000-00-00``.
    """
    kind = type(value)
    if kind is str:
        return _from_text(value)
    if kind is int and 0 < value <= _MILLISECONDS_FROM:  # most rows have several
        micros = value * 1_000_000
        return _new_tuple(Moment, (micros, _text_of(value), micros))
    return _from_number(value) if kind is int or kind is float else None


def _text_of(seconds: int) -> str:
    """Return a time in epoch seconds as ``timestamps.iso`` would, in a fifth of the time."""
    of_day = seconds % _SECONDS_OF_DAY
    return _day(seconds // _SECONDS_OF_DAY) + _MINUTES[of_day // 60] + _SECONDS[of_day % 60]


@lru_cache(4096)
def _day(number: int) -> str:
    return (_FIRST_DAY + timedelta(days=number)).isoformat()


def joined(value: str, dates: list[str], times: list[str]) -> str:
    """Join a date and a time of day that the product keeps in two columns.

    ``value`` is one of the two. ``dates`` and ``times`` are the texts that may be its other half.
    Returns ``value`` unchanged if it is neither, or if its other half is missing.
    """
    value = value.strip()
    if _TIME_OF_DAY.fullmatch(value):
        times = [value]
    elif _DATE.fullmatch(value):
        dates = [value]
    else:
        return value
    day = _DATE.fullmatch(dates[0].strip()) if dates else None
    time_of_day = times[0].strip() if times else ""
    if not day or not _TIME_OF_DAY.fullmatch(time_of_day):
        return value
    hour, _, rest = time_of_day.partition(":")
    return f"{day.group(1)} {hour.zfill(2)}:{rest}"


def _from_number(value: float) -> Moment | None:
    try:
        if not math.isfinite(value) or value <= 0:
            return None
        seconds = value / 1000 if value > _MILLISECONDS_FROM else value
        at = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):  # beyond the calendar
        return None
    return _utc(at)


@lru_cache(4096)  # the participants of a meeting share its times
def _from_text(text: str) -> Moment | None:
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _from_number(float(text))
    zoned = _WITH_ZONE.search(text) is not None
    text = re.sub(r"\s?(Z|UTC|GMT)$", "+00:00", text, flags=re.IGNORECASE) if zoned else text
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return _utc(at.astimezone(timezone.utc), zoned)
    except (ValueError, OverflowError):
        pass
    # pendulum reads a time of day as today, and a bare number as a year
    parsed = timestamps.parse_or_none(text) if re.match(r"\d{4}-\d{2}", text) else None
    return _utc(parsed, zoned) if parsed else None


def _utc(at: datetime, zoned: bool = True) -> Moment:
    micros = timestamps.micros(at)
    text = timestamps.iso(at) if at.microsecond else _text_of(micros // 1_000_000)
    return Moment(micros, text, micros if zoned else micros - _FURTHEST_ZONE)
