"""Answers of the sandbox, changed into what a provider could send as well.

A *case* is an account and a list of *changes*, as JSON, so that it can be kept in a file:

    {"provider": "close", "changes": [{"at": "list", "path": ["title"], "value": 0, "every": 3}]}

``at`` names a place in ``PLACES``. ``path`` leads to a value in a row, or in the answer itself if
``every`` is 0. Otherwise about every so many rows are changed, the same ones in each answer.
``value`` is JSON, or ``{"make": ...}`` for what is large, absent, or different in each row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple
from zlib import crc32

from sandbox import Sandbox
from sandbox.account import Account
from sandbox.accounts import ACCOUNTS
from sandbox.side import Call, Reply
from unit_tests.harness import Json, Output, definitions, read


class Place(NamedTuple):
    """Answers of one kind.

    ``request`` is an expression for the path and query. ``rows``: the keys under which an answer
    may have its rows, or its only one (``one``); without any, the answer is the row. ``stream``
    passes the rows through. ``tells`` are the fields that the connector itself reads, and
    ``around`` the paths of what an answer says beside its rows. ``typed`` are fields that the
    stream's schema does not have.
    """

    request: str
    rows: tuple[str, ...]
    stream: str | None = None
    one: bool = False
    tells: tuple[str, ...] = ()
    around: tuple[tuple[str, ...], ...] = ()
    typed: tuple[str, ...] = ()


_OF_A_MEETING = ("id", "date_created", "date_updated", "status", "starts_at", "ends_at", "summary")
_OF_A_CALENDAR = ("id", "isActive")
_OF_AN_EVENT = ("id", "startTime", "dateUpdated", "deleted", "isRecurring", "appointmentStatus")
_PAGING = ("per_page", "current_page", "next_page", "total_pages", "total_count")
PLACES: dict[str, dict[str, Place]] = {
    "close": {
        "list": Place(
            r"/activity/meeting/\?(?!.*provider_calendar)",
            ("data",),
            "close_meetings",
            tells=(*_OF_A_MEETING, "notetaker_id", "is_deleted"),
            around=(("data",), ("has_more",)),
        ),
        "of one calendar event": Place(
            r"/activity/meeting/\?.*provider_calendar",
            ("data",),
            "close_meetings_by_calendar_event",
            tells=_OF_A_MEETING,
            around=(("data",), ("has_more",)),
        ),
        "single": Place(
            "/activity/meeting/[^/?]+/",
            (),
            "close_meeting_transcripts",
            one=True,
            tells=(*_OF_A_MEETING, "transcripts"),
        ),
        "log": Place(
            r"/event/",
            ("data",),
            tells=(
                "id",
                "action",
                "object_type",
                "object_id",
                "date_updated",
                "lead_id",
                "organization_id",
                "data",
                "previous_data",
            ),
            around=(("data",), ("cursor_next",)),
        ),
        "outcomes": Place(
            r"/outcome/",
            ("data",),
            "close_outcomes",
            tells=("id",),
            around=(("data",), ("has_more",)),
        ),
    },
    "salesloft": {
        "list": Place(
            r"/v2/meetings\?",
            ("data",),
            "salesloft_meetings",
            tells=("id", "created_at", "updated_at", "canceled_at", "account_id", "task_id"),
            around=(
                ("data",),
                ("metadata",),
                *(("metadata", name) for name in ("filtering", "paging", "sorting")),
                *(("metadata", "paging", name) for name in _PAGING),
                ("metadata", "sorting", "sort_by"),
                ("metadata", "filtering", "show_deleted"),
            ),
        )
    },
    "highlevel": {
        "events": Place(
            r"/calendars/events\?",
            ("events",),
            "highlevel_calendar_events",
            tells=(*_OF_AN_EVENT, "calendarId"),
            around=(("events",), ("traceId",)),
        ),
        "single": Place(
            r"/calendars/events/appointments/",
            ("appointment", "event"),
            "highlevel_appointments",
            one=True,
            tells=_OF_AN_EVENT,
            around=(("appointment",), ("traceId",)),
        ),
        "calendars": Place(
            r"/calendars/\?",
            ("calendars",),
            "highlevel_calendars",
            tells=_OF_A_CALENDAR,
            around=(("calendars",),),
        ),
        "groups": Place(
            r"/calendars/groups",
            ("groups",),
            "highlevel_calendar_groups",
            tells=_OF_A_CALENDAR,
            around=(("groups",),),
        ),
    },
    "expoplatform": {
        "export": Place(
            r"/meetings/export",
            ("data",),
            "expoplatform_meeting_participants",
            tells=("Meeting ID", "Account ID", "Creation Time", "Last Modified"),
            around=(
                *((name,) for name in ("data", "total_items", "total_pages", "page", "limit")),
                *((name,) for name in ("success", "status", "error", "meta")),
            ),
            typed=("Status", "Appointment Time", "Account Email", "Meeting ID ", "meeting"),
        )
    },
}

# What the connector itself sets in a record.
_TOUCHED = {
    "close_meetings": ("is_deleted",),
    "salesloft_meetings": ("account_id", "task_id", "meeting_type_id"),
    "highlevel_calendar_events": ("appointmentStatus", "isRecurring"),
    "highlevel_appointments": ("appointmentStatus", "isRecurring"),
}

VALUES: tuple[Any, ...] = (
    None,
    {"make": "absent"},
    "",
    " ",
    0,
    1,
    -1,
    0.5,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    {"": None},
    {"id": 1},
    "null",
    "0",
    "²",
    "١٢٣٤٥٦",
    "\u0000",
    "\u2028\ufeff😀",
    "2026-13-45T99:99:99Z",
    "0000-00-00",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-06-01",
    "1e9",
    1e300,
    -1e300,
    2**63,
    -(2**63) - 1,
    {"make": "integer", "digits": 400},
    {"make": "digits", "digits": 5000},
    {"make": "text", "length": 20_000},
    {"make": "lists", "depth": 300},
    {"make": "objects", "depth": 300},
    {"make": "long list", "length": 500},
)

# Different in each row: for what identifies one.
IDENTITIES: tuple[Any, ...] = (
    {"make": "absent"},
    None,
    "",
    " ",
    0,
    True,
    *({"make": "own", "as": kind} for kind in ("number", "text", "long", "float", "odd")),
    *({"make": "own", "as": kind} for kind in ("list", "object", "huge", "negative", "path")),
)


# -- changes --------------------------------------------------------------------------------------


def _made(value: Any, number: int) -> Any:
    """Return what a value stands for, in the row of this number."""
    what = value.get("make") if isinstance(value, dict) else None
    if what == "integer":
        return int("9" * value["digits"])
    if what == "digits":
        return "9" * value["digits"]
    if what == "text":
        return "é" * value["length"]
    if what == "long list":
        return list(range(value["length"]))
    if what in ("lists", "objects"):
        made: Any = 1
        for _ in range(value["depth"]):
            made = [made] if what == "lists" else {"a": made}
        return made
    if what == "own":
        return {
            "number": number,
            "text": f"x{number}",
            "long": f"{'x' * 300}{number}",
            "float": number + 0.5,
            "odd": f"ä /?#%2F,;&=é{number}",
            "list": [number],
            "object": {"id": number},
            "huge": 10**40 + number,
            "negative": -number,
            "path": f"../{number}",
        }[value["as"]]
    return deepcopy(value)


def _set(holder: Any, path: list[Any], value: Any, number: int) -> bool:
    """Put a value in its place, if that can be reached. Returns whether it could."""
    for name in path[:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        return False
    if value == {"make": "absent"}:
        return holder.pop(path[-1], value) is not value
    holder[path[-1]] = _made(value, number)
    return True


def _number(row: Any) -> int:
    """Tell a row from others, in all answers, before it is changed."""
    row = row if isinstance(row, dict) else {}
    names = ("id", "Meeting ID", "Account ID")
    return crc32(str([row.get(name) for name in names]).encode())


def _rows_in(place: Place, answer: Any) -> list[Any]:
    if not isinstance(answer, dict):
        return []
    found = next((answer[name] for name in place.rows if name in answer), answer)
    if place.one:
        return [found]
    return found if isinstance(found, list) else []


# -- a run ----------------------------------------------------------------------------------------


def text_of(row: Json, stream: str) -> str:
    """Return what a stream has to pass through of a row, so that it can be compared."""
    leave = _TOUCHED.get(stream, ())
    kept = {name: row[name] for name in row if row[name] is not None and name not in leave}
    return json.dumps(kept, sort_keys=True)


@dataclass
class Fuzzed:
    """An account whose answers are changed, and what they have held since the last sync."""

    case: Json
    account: Account
    changed: int = 0
    held: dict[str, dict[str, Any]] = field(default_factory=dict)  # by stream, rows by their text
    asked: set[str] = field(default_factory=set)  # ids of appointments

    @classmethod
    def of(cls, box: Sandbox, case: Json) -> Fuzzed:
        account = ACCOUNTS[case["provider"]].sample(box)
        fuzzed = cls(case, account)
        box.rewrite(account.path, fuzzed._change)
        return fuzzed

    def _change(self, call: Call, reply: Reply) -> None:
        asked = f"{call.path}?{call.query}"
        places = PLACES[self.case["provider"]]
        found = [(name, one) for name, one in places.items() if re.search(one.request, asked)]
        if not found:
            return
        ((name, place),) = found
        if place.one:
            self.asked.add(call.path.partition("/appointments/")[2])
        if reply.status != 200:
            return
        answer = json.loads(reply.encode())
        for number, change in enumerate(self.case["changes"]):
            if change["at"] == name:
                answer = self._changed(answer, place, change, number)
        if place.stream:
            held = self.held.setdefault(place.stream, {})
            for row in _rows_in(place, answer):
                if isinstance(row, dict):
                    held[text_of(_as_held(row, place.stream), place.stream)] = row
        reply.payload = json.dumps(answer).encode()

    def _changed(self, answer: Any, place: Place, change: Json, number: int) -> Any:
        path, value, every = change["path"], change["value"], change["every"]
        if every == 0:
            if path:
                self.changed += _set(answer, path, value, 0)
                return answer
            self.changed += 1
            return _made(value, 0)
        rows = _rows_in(place, answer)
        for at, row in enumerate(list(rows)):
            own = _number(row)
            if crc32(f"{own} {number}".encode()) % every:
                continue
            if path:
                self.changed += _set(row, path, value, own)
            elif place.one:
                continue
            elif value == {"make": "twice"}:
                rows.append(deepcopy(row))
                self.changed += 1
            elif value == {"make": "backwards"}:
                reversed_row = dict(reversed(list(row.items())))
                row.clear()
                row.update(reversed_row)
                self.changed += 1
            else:
                rows[at] = _made(value, own)
                self.changed += 1
        return answer

    def streams(self) -> list[str]:
        return list(self.account.tables)

    def edit(self) -> None:
        """Change a few rows, so that a later sync has something to read."""
        self.account.box.clock.advance(hours=1)
        one, two, *_ = self.account.keys()[-5:]
        self.account.edit(one, **{self.account.columns.edited: "edited"})
        self.account.delete(two)
        self.account.insert(self.account.box.clock.now() + timedelta(days=1))


def _as_held(row: Json, stream: str) -> Json:
    return {"raw": row} if stream.startswith("expoplatform") else row


def _as_emitted(record: Json, stream: str) -> Json:
    return {"raw": record["raw"]} if stream.startswith("expoplatform") else record


_NO_WORDS = re.compile(
    r"went wrong|Traceback|(?<!JSON)[A-Z]\w+(Error|Exception)\b|unhashable|NoneType|not supported "
    r"between|object is not|not iterable|has no attribute|maximum recursion"
)


def problems(case: Json) -> list[str]:
    """Sync twice, with changes in between, and say what is wrong with the output."""
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        fuzzed = Fuzzed.of(box, case)
        emitted: dict[str, set[str]] = {stream: set() for stream in fuzzed.streams()}
        states: list[Json] | None = None
        found: list[str] = []
        for number in (1, 2):
            output = read(fuzzed.account.config(), states)
            states = output.last_states()
            found += [f"sync {number}: {one}" for one in _problems_of(output, fuzzed, emitted)]
            fuzzed.held.clear()
            fuzzed.edit()
    return found if fuzzed.changed else ["nothing was changed"]


def _problems_of(output: Output, fuzzed: Fuzzed, emitted: dict[str, set[str]]) -> Iterator[str]:
    failed: set[str] = set()
    for error in output.errors:
        stream = (error.get("stream_descriptor") or {}).get("name", "")
        if stream in failed:
            yield f"{stream} has two errors"
        failed.add(stream)
        message = str(error.get("message"))
        if _NO_WORDS.search(message) or len(message) < 40:
            yield f"{stream}: no words: {message} {error.get('internal_message')}"
    if output.exit_code != (1 if failed else 0):
        yield f"exit code {output.exit_code} with {len(failed)} errors"
    for stream, seen in emitted.items():
        records = output.records(stream)
        seen |= {text_of(_as_emitted(record, stream), stream) for record in records}
        status = output.statuses.get(stream)
        if stream in failed or "" in failed:
            if status == "COMPLETE":
                yield f"{stream}: complete, although it has an error"
            continue
        if status != "COMPLETE":
            yield f"{stream}: {status}, although it has no error"
        missing = [row for text, row in fuzzed.held.get(stream, {}).items() if text not in seen]
        if missing:
            yield f"{stream}: {len(missing)} rows were not emitted: {str(missing[0])[:300]}"
    events, single = "highlevel_calendar_events", "highlevel_appointments"
    if not failed & {events, single}:
        ids = {str(row["id"]) for row in fuzzed.held.get(events, {}).values()}
        if not ids <= fuzzed.asked:
            yield f"{single}: not requested: {str(ids - fuzzed.asked)[:300]}"


def fields_of(place: Place) -> Iterable[str]:
    """Return the fields of a place's rows that the connector passes through and does not read."""
    if place.stream is None:
        return ()
    schema = definitions()[place.stream]["schema_loader"]["schema"]["properties"]
    known = (*place.typed, *(() if place.typed else schema))
    return [name for name in known if name not in place.tells]
