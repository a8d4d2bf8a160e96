"""Reads ExpoPlatform's export. Its request is documented, its answer is not.

Documented (https://help.expoplatform.com/admin-home/meetings-api): JSON; one record for each
participant of a meeting; the words "Meeting ID", "Creation Time" and "Last Modified". Everything
else in this module is assumed: the envelope, the style of the keys, the format of the times. The
unchanged row stays in ``raw``, so a wrong guess about a column loses nothing. A row without a
recognizable meeting or participant, and an answer without rows, are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from source_meetings.providers.expoplatform.moments import Moment, joined, moment

Json = dict[str, Any]

_ROW_KEYS = ("data", "items", "meetings", "results", "rows", "records", "result")
_TOTAL_KEYS = ("totalitems", "total", "totalcount", "totalrecords", "totalrows", "recordstotal")
_PAGE_KEYS = ("totalpages", "pagestotal", "lastpage", "pagecount", "pages")
_TOTALS_IN = ("meta", "metadata", "pagination", "paging", "pager", "pageinfo")

# Columns with the same meaning, ignoring case, blanks and underscores. The first one present
# counts.
_ID = ("id",)
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

_COUNT = re.compile(r"\d{1,18}", re.ASCII)
_KINDS = {type(None): "null", str: "a text", list: "a list", bool: "true or false"}


class UnknownShape(ValueError):
    """An answer or a row has no plausible form. The message names keys, never values."""


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
        return f"not an object ({_KINDS.get(type(value), 'a number')})"
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


class Record(dict[str, Any]):
    """The record of a row, and when the row was ``created`` and ``modified``, if it says so.

    The record has these times too, but only as text.
    """

    __slots__ = ("created", "modified")

    created: Moment | None
    modified: Moment | None


class _Time(NamedTuple):
    """A column with a time. If it is only a date or a time of day, others have its other half."""

    key: str
    dates: list[str]
    times: list[str]


class _Columns(NamedTuple):
    """The keys of a row by what they mean, the best one first. Found once: most rows are alike."""

    meeting: list[str]
    account: list[str]
    email: list[str]
    status: list[str]
    created: list[_Time]
    modified: list[_Time]
    starts: list[_Time]
    ends: list[_Time]
    nested_meeting: list[str]
    nested_account: list[str]


def normalise(raw: Mapping[str, Any], event_id: int) -> Record:
    """Return the record of a row: only the columns that the stream's schema declares.

    They are ``event_id`` (as requested), ``meeting_id``, ``account_id`` (text; the e-mail address
    if the row has no account), ``status``, ``created_at``, ``last_modified_at``, ``modified_at``
    (the later of the two), ``starts_at``, ``ends_at`` (all UTC, ISO 8601) and ``raw``, the row as
    received. A column that the row does not have is left out, and so is a time that cannot be read.
    The row's own columns are in ``raw`` only: no destination makes a column that the schema does
    not declare.

    Raises UnknownShape if the row has no meeting id or no participant.
    """
    row, columns = _read(raw)
    meeting = _identifier(row, columns.meeting) or _identifier_in(row, columns.nested_meeting, _ID)
    if meeting is None:
        raise UnknownShape(f"a row has no meeting id; it has {keys_of(raw)}")
    account = (
        _identifier(row, columns.account)
        or _identifier_in(row, columns.nested_account, (*_ID, *_ACCOUNT))
        or _identifier(row, columns.email)
        or _identifier_in(row, columns.nested_account, _EMAIL)
    )
    if account is None:
        raise UnknownShape(
            f"a row has neither an account id nor an e-mail address; it has {keys_of(raw)}"
        )
    record = Record(event_id=event_id, meeting_id=meeting, account_id=account)
    status = _text(row, columns.status)
    if status is not None:
        record["status"] = status
    record.created = made = _moment(row, columns.created)
    if made is not None:
        record["created_at"] = made.text
    record.modified = changed = _moment(row, columns.modified)
    if changed is not None:
        record["last_modified_at"] = changed.text
    latest = changed if made is None or (changed and changed.micros > made.micros) else made
    if latest is not None:
        record["modified_at"] = latest.text
    starts, ends = _moment(row, columns.starts), _moment(row, columns.ends)
    if starts is not None:
        record["starts_at"] = starts.text
    if ends is not None:
        record["ends_at"] = ends.text
    record["raw"] = raw
    return record


def _read(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], _Columns]:
    """Return a row and its columns. If two keys have the same name, the first value counts."""
    columns = _columns_of(tuple(raw))
    if columns is not None:
        return raw, columns
    row = _by_name(raw)
    columns = _columns_of(tuple(row))
    assert columns is not None
    return row, columns


def _by_name(raw: Mapping[str, Any]) -> Json:
    row: Json = {}
    for key, value in raw.items():
        name = _squashed(key)
        if row.get(name) in (None, ""):
            row[name] = value
    return row


@lru_cache(maxsize=256)
def _columns_of(keys: tuple[str, ...]) -> _Columns | None:
    """Return what the keys of a row mean, or None if two of them have the same name."""
    known = {_squashed(key): key for key in keys}
    if len(known) < len(keys):
        return None

    def present(names: Iterable[str]) -> list[str]:
        return [known[name] for name in names if name in known]

    def times(names: tuple[str, ...]) -> list[_Time]:
        return [
            _Time(
                known[name],
                # "Creation Date" for "Creation Time", and "Created Date" for "Created At Time"
                present((f"{stem}date", f"{stem.removesuffix('at')}date")),
                present((f"{name.removesuffix('date')}time",)),
            )
            for name in names
            if name in known
            for stem in (name.removesuffix("time"),)
        ]

    return _Columns(
        meeting=present(_MEETING),
        account=present(_ACCOUNT),
        email=present(_EMAIL),
        status=present(_STATUS),
        created=times(_CREATED),
        modified=times(_MODIFIED),
        starts=times(_STARTS),
        ends=times(_ENDS),
        nested_meeting=present(("meeting",)),
        nested_account=present(("account", "participant")),
    )


def _identifier(row: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    for key in keys:
        value = row[key]
        if type(value) is int:
            return str(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            text = str(value).strip()
            if text:
                return text
    return None


def _identifier_in(row: Mapping[str, Any], keys: list[str], names: tuple[str, ...]) -> str | None:
    """Return an identifier from the first of the columns that is an object."""
    nested = next((row[key] for key in keys if isinstance(row[key], dict)), None)
    if nested is None:
        return None
    known = _by_name(nested)
    return _identifier(known, [name for name in names if name in known])


def _text(row: Mapping[str, Any], keys: list[str]) -> str | None:
    for key in keys:
        value = row[key]
        if value is not None:
            return value if isinstance(value, str) else str(value)
    return None


def _moment(row: Mapping[str, Any], columns: list[_Time]) -> Moment | None:
    """Return the first of the columns that is a point in time, or a separate date and time."""
    for key, dates, times in columns:
        value = row[key]
        if (dates or times) and isinstance(value, str):
            value = joined(value, _texts(row, dates), _texts(row, times))
        found = moment(value)
        if found is not None:
            return found
    return None


def _texts(row: Mapping[str, Any], keys: list[str]) -> list[str]:
    return [row[key] for key in keys if isinstance(row[key], str)]
