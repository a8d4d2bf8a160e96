"""Points in time: parsed on input, UTC inside, and formatted per provider on output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pendulum

UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # no state or start date is older
_USUAL = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{3}|\.\d{6})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII
)


def parse(value: Any) -> datetime:
    """Return the point in time of an ISO 8601 text, in UTC.

    A text without an offset is UTC: Close's event log sends those
    (https://developer.close.com/api/resources/events/list.md).

    Raises ValueError if the value is not a text or not a point in time.
    """
    if not isinstance(value, str) or not value[:1].isdigit():  # pendulum accepts "now"
        raise ValueError(f"not a date-time: {type(value).__name__}")
    if _USUAL.fullmatch(value):
        # The standard library parses it ten times as fast. Python 3.10 does not read "Z".
        try:
            text = f"{value[:-1]}+00:00" if value[-1] == "Z" else value
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is UTC:
                return moment
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            pass
    try:
        parsed = pendulum.parse(value, tz="UTC", exact=True)
    except Exception as error:  # pendulum raises ParserError, ValueError and OverflowError
        raise ValueError("not a date-time") from error
    if isinstance(parsed, datetime):
        try:
            return _plain(parsed.astimezone(timezone.utc))
        except OverflowError as error:
            raise ValueError("a date-time outside the calendar") from error
    if isinstance(parsed, pendulum.Date):
        return datetime(parsed.year, parsed.month, parsed.day, tzinfo=timezone.utc)
    raise ValueError("not a date-time")


def _plain(moment: datetime) -> datetime:
    """Return a standard datetime. Arithmetic on pendulum's drops a standard time zone."""
    return datetime(
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond,
        timezone.utc,
    )


def parse_or_none(value: Any) -> datetime | None:
    """Return the point in time in UTC, or None if the value is not one."""
    try:
        return parse(value)
    except ValueError:
        return None


def since_1970(value: Any) -> datetime | None:
    """Return the point in time, or None if it is not one, or before 1970.

    Some programs write ``0001-01-01`` for "none".
    """
    moment = parse_or_none(value)
    return None if moment is None or moment < EPOCH else moment


def is_before(value: Any, bound: datetime | None) -> bool:
    """Return whether a text names a point in time before a bound.

    False without a bound, and for a text that names none: a row that does not say when it changed
    is never too old.
    """
    if bound is None:
        return False
    moment = parse_or_none(value)
    return moment is not None and moment < bound


def iso(moment: datetime) -> str:
    """Return the moment in UTC with microseconds and ``Z``, as states and Salesloft write it."""
    utc = moment if moment.tzinfo is timezone.utc else moment.astimezone(timezone.utc)
    return utc.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def now() -> datetime:
    """Return this machine's time, in UTC."""
    return datetime.now(timezone.utc)


def server_time(headers: Mapping[str, str]) -> datetime:
    """Return the provider's time from the ``Date`` header, or this machine's time without one."""
    try:
        moment = parsedate_to_datetime(headers.get("Date") or "")
    except (TypeError, ValueError, IndexError):
        return now()
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(
        timezone.utc
    )


def micros(moment: datetime) -> int:
    """Return the moment in epoch microseconds."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the point in time that is so many microseconds after the epoch, UTC."""
    return EPOCH + timedelta(microseconds=micros)


def millis(moment: datetime) -> int:
    """Return the moment in epoch milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def millis_or_none(value: Any) -> int | None:
    """Return a text's point in time in epoch milliseconds, or None if it is not one."""
    moment = parse_or_none(value)
    return None if moment is None else millis(moment)
