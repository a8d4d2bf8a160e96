"""Reads ExpoPlatform's export. Its request is documented, its answer is not.

Documented (https://help.expoplatform.com/admin-home/meetings-api): JSON; one record for each
participant of a meeting; the words "Meeting ID", "Creation Time" and "Last Modified". Everything
else in this module is assumed: the envelope, the style of the keys, the format of the times. The
unchanged row stays in ``raw``, so a wrong guess about a column loses nothing. A row without a
recognizable meeting or participant, and an answer without rows, are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property, lru_cache
from typing import Any

from source_meetings import timestamps

Json = dict[str, Any]

_ROW_KEYS = ("data", "items", "meetings", "results", "rows", "records", "result")
_TOTAL_KEYS = ("totalitems", "total", "totalcount", "totalrecords", "totalrows", "recordstotal")
_PAGE_KEYS = ("totalpages", "pagestotal", "lastpage", "pagecount", "pages")
_TOTALS_IN = ("meta", "metadata", "pagination", "paging", "pager", "pageinfo")

# Columns with the same meaning, ignoring case, blanks and underscores. The first one present
# counts.
_MEETING = ("meetingid",)
_ACCOUNT = ("accountid", "participantaccountid", "participantid")
_EMAIL = ("accountemail", "participantemail", "email", "emailaddress")
_STATUS = ("status", "meetingstatus", "participantstatus", "participationstatus")
_CREATED = (
    "creationtime",
    "createdat",
    "creationdatetime",
    "creationdate",
    "created",
    "createdtime",
    "createddate",
    "datecreated",
    "createdon",
)
_MODIFIED = (
    "lastmodified",
    "lastmodifiedat",
    "lastmodifiedtime",
    "lastmodifieddatetime",
    "lastmodifieddate",
    "modifiedat",
    "modified",
    "modificationtime",
    "modificationdate",
    "updatedat",
    "updated",
    "lastupdated",
)
_STARTS = (
    "appointmenttime",
    "appointmentdatetime",
    "appointmentstarttime",
    "appointmentstart",
    "appointmentdate",
    "starttime",
    "startsat",
    "start",
    "timefrom",
    "meetingtime",
    "meetingdate",
    "date",
)
_ENDS = ("appointmentendtime", "appointmentend", "endtime", "endsat", "end", "timeto")

_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})([T ]00:00(:00)?)?")
_COUNT = re.compile(r"\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"\d{6,17}(\.\d+)?")
_WITH_ZONE = re.compile(r":\d{2}(\.\d+)?\s?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$", re.IGNORECASE)
_MILLISECONDS_FROM = 1e11  # in seconds that is the year 5138
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_KINDS = {type(None): "null", str: "a text", list: "a list", bool: "true or false"}
_FURTHEST_ZONE = timedelta(hours=14)


class UnknownShape(ValueError):
    """An answer or a row has no plausible form. The message names keys, never values."""


@dataclass(frozen=True)
class Moment:
    """A point in time, UTC. Without ``zoned``, it was written without a zone and assumed UTC."""

    at: datetime
    zoned: bool

    @cached_property
    def text(self) -> str:
        """The moment as it is in a record: UTC, ISO 8601."""
        return timestamps.iso(self.at)

    @property
    def at_the_earliest(self) -> datetime:
        """The earliest point in time that it can mean, whatever the zone. For watermarks."""
        ancient = self.at < _EPOCH  # not a watermark, and maybe the first day of the calendar
        return self.at if self.zoned or ancient else self.at - _FURTHEST_ZONE


@dataclass(frozen=True)
class Page:
    """The unchanged rows of one answer, and its totals if it has any."""

    rows: list[Json]
    total: int | None = None
    pages: int | None = None


@lru_cache(maxsize=4096)
def _squashed(key: str) -> str:
    return re.sub(r"[\W_]+", "", key).lower()


def keys_of(value: Any) -> str:
    """Name the keys of an answer or a row, for messages."""
    if not isinstance(value, dict):
        return f"no object ({_KINDS.get(type(value), 'a number')})"
    return "keys " + ", ".join(sorted(str(key)[:40] for key in value)[:30])


# -- the answer ---------------------------------------------------------------------------------


def read_page(body: Any) -> Page:
    """Return the rows and totals of an answer.

    Raises UnknownShape if it has no rows in a plausible place, or reports an error with status 200.
    """
    if isinstance(body, list):
        return Page(_objects(body))
    if not isinstance(body, dict):
        raise UnknownShape(f"the answer is {keys_of(body)}")
    _refuse_errors(body)
    known = {_squashed(str(key)): value for key, value in body.items()}
    inner = [known[key] for key in (*_TOTALS_IN, *_ROW_KEYS) if isinstance(known.get(key), dict)]
    counters = [body, *inner]
    total, pages = _count(counters, _TOTAL_KEYS), _count(counters, _PAGE_KEYS)
    rows = _find_rows(body)
    if rows is None and total == 0:
        rows = []
    if rows is None:
        raise UnknownShape(f"the answer has {keys_of(body)}, and no list of meetings among them")
    return Page(_objects(rows), total, pages)


def _find_rows(body: Json, nested: bool = False) -> Iterable[Any] | None:
    known = {_squashed(str(key)): value for key, value in body.items()}
    for key in _ROW_KEYS:
        value = known.get(key)
        if isinstance(value, list):
            return value
        if isinstance(value, dict):
            found = _indexed(value)
            if found is None and not nested:
                found = _find_rows(value, nested=True)
            if found is not None:
                return found
    return _indexed(body) if body and not nested else None


def _indexed(value: Json) -> Iterable[Any] | None:
    """The rows of an object whose keys are indexes, as PHP encodes an array with gaps."""
    if all(str(key).isdigit() and isinstance(row, dict) for key, row in value.items()):
        return list(value.values())
    return None


def _objects(rows: Iterable[Any]) -> list[Json]:
    listed = list(rows)
    for row in listed:
        if not isinstance(row, dict):
            raise UnknownShape(f"a row is {keys_of(row)}")
    return listed


def _refuse_errors(body: Json) -> None:
    known = {_squashed(str(key)): value for key, value in body.items()}
    failed = known.get("success") is False or str(known.get("status")).lower() in (
        "error",
        "fail",
        "failed",
    )
    if failed or known.get("error") or known.get("errors"):
        raise UnknownShape(f"the answer reports an error; it has {keys_of(body)}")


def _count(places: list[Json], names: tuple[str, ...]) -> int | None:
    for place in places:
        known = {_squashed(str(key)): value for key, value in place.items()}
        for name in names:
            value = known.get(name)
            if isinstance(value, str) and _COUNT.fullmatch(value.strip()):
                return int(value)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
    return None


# -- a row --------------------------------------------------------------------------------------


def normalise(raw: Mapping[str, Any], event_id: int) -> Json:
    """Return the record of a row: only the columns that the stream's schema declares.

    They are ``event_id`` (as requested), ``meeting_id``, ``account_id`` (text; the e-mail address
    if the row has no account), ``status``, ``created_at``, ``last_modified_at``, ``modified_at``
    (the later of the two), ``starts_at``, ``ends_at`` (all UTC, ISO 8601) and ``raw``, the row as
    received. A time that cannot be read is None. The row's own columns are in ``raw`` only: no
    destination makes a column that the schema does not declare.

    Raises UnknownShape if the row has no meeting id or no participant.
    """
    columns = _columns(raw)
    meeting = _identifier(columns, _MEETING) or _identifier(_nested(columns, "meeting"), ("id",))
    if meeting is None:
        raise UnknownShape(f"a row has no meeting id; it has {keys_of(raw)}")
    account = (
        _identifier(columns, _ACCOUNT)
        or _identifier(_nested(columns, "account", "participant"), ("id", *_ACCOUNT))
        or _identifier(columns, _EMAIL)
        or _identifier(_nested(columns, "account", "participant"), _EMAIL)
    )
    if account is None:
        raise UnknownShape(
            f"a row has neither an account id nor an e-mail address; it has {keys_of(raw)}"
        )
    made, changed = _moment(columns, _CREATED), _moment(columns, _MODIFIED)
    latest = changed if made is None or (changed and changed.at > made.at) else made
    return {
        "event_id": event_id,
        "meeting_id": meeting,
        "account_id": account,
        "status": _text(columns, _STATUS),
        "created_at": _iso(made),
        "last_modified_at": _iso(changed),
        "modified_at": _iso(latest),
        "starts_at": _iso(_moment(columns, _STARTS)),
        "ends_at": _iso(_moment(columns, _ENDS)),
        "raw": raw,
    }


def created_at(raw: Mapping[str, Any]) -> Moment | None:
    """Return when a row was created, if it says so."""
    return _moment(_columns(raw), _CREATED)


def last_modified_at(raw: Mapping[str, Any]) -> Moment | None:
    """Return when a row was last modified, if it says so."""
    return _moment(_columns(raw), _MODIFIED)


def moment(value: Any) -> Moment | None:
    """Read one time: epoch seconds or milliseconds, a number or a text, or ISO 8601 and similar.

    Returns None if the value is not a point in time, for example ``0`` or ``0000-00-00``.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _from_number(value)
    return None


@lru_cache(maxsize=4096)  # the participants of a meeting have its times in common
def _from_number(value: float) -> Moment | None:
    try:
        if not math.isfinite(value) or value <= 0:
            return None
        seconds = value / 1000 if value > _MILLISECONDS_FROM else value
        return Moment(_EPOCH + timedelta(seconds=seconds), zoned=True)
    except OverflowError:
        return None


@lru_cache(maxsize=4096)
def _from_text(text: str) -> Moment | None:
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _from_number(float(text))
    zoned = _WITH_ZONE.search(text) is not None
    text = re.sub(r"\s?(Z|UTC|GMT)$", "+00:00", text, flags=re.IGNORECASE) if zoned else text
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return Moment(at.astimezone(timezone.utc), zoned)
    except (ValueError, OverflowError):
        pass
    # pendulum reads a time of day as today, and a bare number as a year
    parsed = timestamps.parse_or_none(text) if re.match(r"\d{4}-\d{2}", text) else None
    return Moment(parsed, zoned) if parsed else None


@lru_cache(maxsize=256)
def _names_of(keys: tuple[Any, ...]) -> tuple[str, ...] | None:
    """Return the normalized names of a row's keys, or None if two are equal.

    All rows have the same keys.
    """
    names = tuple(_squashed(str(key)) for key in keys)
    return names if len(set(names)) == len(names) else None


def _columns(raw: Mapping[str, Any]) -> Json:
    names = _names_of(tuple(raw))
    if names is not None:
        return dict(zip(names, raw.values()))
    columns: Json = {}
    for key, value in raw.items():
        name = _squashed(str(key))
        if columns.get(name) in (None, ""):
            columns[name] = value
    return columns


def _nested(columns: Json, *names: str) -> Json:
    for name in names:
        if isinstance(columns.get(name), dict):
            return _columns(columns[name])
    return {}


def _identifier(columns: Json, names: tuple[str, ...]) -> str | None:
    for name in names:
        value = columns.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def _text(columns: Json, names: tuple[str, ...]) -> str | None:
    found = next((columns[name] for name in names if columns.get(name) is not None), None)
    return found if found is None or isinstance(found, str) else str(found)


def _moment(columns: Json, names: tuple[str, ...]) -> Moment | None:
    """Return the first of the columns that is a point in time, or a separate date and time."""
    for name in names:
        value = columns.get(name)
        if value in (None, ""):
            continue
        whole = _with_its_other_half(columns, name, value)
        found = moment(whole)
        if found is not None:
            return found
    return None


def _with_its_other_half(columns: Json, name: str, value: Any) -> Any:
    """Join ``Creation Date`` and ``Creation Time`` if the product keeps them in two columns."""
    if not isinstance(value, str):
        return value
    date, time_of_day = value, value
    if _TIME_OF_DAY.fullmatch(value.strip()):
        stem = name.removesuffix("time")
        found = columns.get(f"{stem}date") or columns.get(f"{stem.removesuffix('at')}date")
        date = found if isinstance(found, str) else ""
    elif _DATE.fullmatch(value.strip()):
        stem = name.removesuffix("date")
        found = columns.get(f"{stem}time")
        time_of_day = found if isinstance(found, str) else ""
    else:
        return value
    day = _DATE.fullmatch(date.strip())
    if day and _TIME_OF_DAY.fullmatch(time_of_day.strip()):
        hour, _, rest = time_of_day.strip().partition(":")
        return f"{day.group(1)} {hour.zfill(2)}:{rest}"
    return value


def _iso(found: Moment | None) -> str | None:
    return found.text if found else None
