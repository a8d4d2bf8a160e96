"""Close: `GET /activity/meeting/`, `/event/`, `/outcome/`, `/me/` and the token endpoint.

The source of each behavior is noted next to it:
    [R]  the reference and its OpenAPI, https://developer.close.com/api/resources/activities/meetings
         and https://developer.close.com/api/resources/events
    [T]  its topics: pagination, rate limits, authentication, time zones (https://developer.close.com)
    [O]  observed: answers recorded or handled in public code and issues
    [A]  assumed: no source
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from threading import RLock
from typing import Any
from urllib.parse import urlencode

from sandbox.clock import Clock, parse_time, to_micros
from sandbox.close_events import Event, EventLog, Position
from sandbox.close_rows import (
    CALENDAR,
    DAY,
    HOUR,
    MINUTE,
    ORGANIZATION,
    SECOND,
    STATUSES_OF_TIME,
    iso,
    make_row,
    make_stamps,
    make_transcript,
    meeting_id,
    mix,
    number_of,
    outcome_id,
    status_at,
)
from sandbox.oauth import OAuth, OAuthError, authorize_page
from sandbox.side import Call, Reply, Row, Side
from sandbox.table import FOREVER, NULL, Table

STAMPS = ("starts_at", "created", "date_updated")
ACTIONS = ("created", "updated", "deleted", "scheduled", "started", "completed", "canceled")
MAX_LIMIT = 100  # [O] what clients ask for; [T] above the maximum of a resource: 400
MAX_EVENTS = 50  # [R]
MAX_URL = 2000  # [T]
LOG_DAYS = 30  # [R]
SCOPE = "all.full_access offline_access"
HOST = "https://api.close.com"

_EVENT_FILTERS = ("object_type", "object_id", "lead_id", "action", "user_id", "request_id")
# [R] the combinations the log supports, each with or without date_updated
_COMBINATIONS = {
    frozenset(names.split())
    for names in (
        "",  # [O] what public clients use
        "object_type object_id",
        "object_type action",
        "object_id action",
        "lead_id object_type",
        "lead_id object_type action",
        "lead_id user_id object_type",
        "lead_id user_id object_type action",
        "lead_id user_id",
        "user_id object_id",
        "user_id object_id action",
        "user_id object_type",
        "user_id object_type action",
        "lead_id",
        "user_id",
        "request_id",
    )
}
_CALENDAR_FILTERS = (
    "provider_calendar_event_id",
    "provider_calendar_id",
    "provider_calendar_type",
    "starts_at",
    "starts_at__gte",
    "starts_at__lt",
)


class _Refused(Exception):
    def __init__(self, status: int, payload: Any) -> None:
        self.reply = Reply(payload, status)


def _invalid(field: str, message: str) -> _Refused:
    return _Refused(400, {"errors": [], "field-errors": {field: message}})  # [O]


class Meetings(Mapping[str, Row]):
    """id -> row as served. A generated row is made on request; a written one is kept."""

    def __init__(self, table: Table, side: CloseSide) -> None:
        self._table = table
        self._side = side
        self._generated: list[tuple[range, int, int]] = []  # numbers, seed, when
        self.written: dict[int, Row] = {}

    def generated(self, numbers: range, seed: int, now: int) -> None:
        self._generated.append((numbers, seed, now))

    def number(self, id: object) -> int:
        number = number_of(id)
        if number is None or number not in self._table:
            raise KeyError(id)
        return number

    def row(self, number: int) -> Row:
        row = self.written.get(number)
        if row is None:
            seed, now = next((seed, now) for n, seed, now in self._generated if number in n)
            start, made, updated = (self._table.column(name)[number] for name in STAMPS)
            row = make_row(number, seed, start, made, updated, now)
        created = self._table.column(self._side.created_column)[number]
        return {**row, "date_created": iso(created)}

    def __getitem__(self, id: str) -> Row:
        return self.row(self.number(id))

    def __iter__(self) -> Iterator[str]:
        return (meeting_id(number) for number in self._table)

    def __len__(self) -> int:
        return len(self._table)


class CloseSide(Side):
    """The options are attributes; tests set them.

    date_created_means      "start": the scheduled start, moved by a reschedule and possibly in the
                            future [R, older page; O]; "created": when Close made the row [R, newer]
    date_filters            False: `date_created__*` are silently ignored [O]
    list_order              "newest" or "oldest" by date_created, or "shuffled" on every request
                            ([R] documents none; [O] newest)
    max_skip                the largest `_skip` ([T] there is one, but its value is not published)
    skip_message            "old" or "new": the text of the 400 for a larger one [O]
    transcripts_on_list     the list serves `transcripts` when `_fields` names them [A]
    events_forbidden        `/event/` answers 403
    event_delay             the most seconds an event takes to appear, which also disorders them
                            ([R] up to five minutes)
    consolidate             seconds within which an update is merged into the event before it [R]
    event_data              "full", "some" or "missing": which events have their data ([R] some
                            fields are shown for only an hour)
    cursor_keeps_bounds     a `_cursor` remembers the bounds of date_updated ([R] "supply any other
                            filters (except for date_updated)"); if not, it leads to older events
    status_events           "only": a start, end or cancel has only an event of its own kind;
                            "both": also an `updated` one [A]
    status_follows_clock    meetings start and end as the clock passes their times
    clock_offset            seconds by which the times of rows and events are ahead of the `Date`
                            header [A]
    rate_limit              requests per `rate_window` (real seconds), for each key and endpoint;
                            None: not enforced
    throttle                how many of the next requests get a 429 [T: unpredictably]
    rate_reset              how many seconds such a 429 asks to wait
    rate_body               "string", "object" or "absent": `error` of a 429 [O]
    rate_header             send `RateLimit` and `retry-after`
    rate_separator          "," or ";" between the parts of `RateLimit` [O]
    keys                    the API keys
    """

    name = "close"
    actions = (
        *Side.actions,
        "reschedule",
        "complete",
        "start_meeting",
        "add_transcript",
        "delete_lead",
        "merge_leads",
        "add_events",
        "add_outcome",
        "delete_outcome",
    )
    options = (
        "date_created_means",
        "date_filters",
        "list_order",
        "max_skip",
        "skip_message",
        "transcripts_on_list",
        "events_forbidden",
        "event_delay",
        "consolidate",
        "event_data",
        "cursor_keeps_bounds",
        "status_events",
        "status_follows_clock",
        "clock_offset",
        "rate_limit",
        "rate_window",
        "throttle",
        "rate_reset",
        "rate_body",
        "rate_header",
        "rate_separator",
    )

    def __init__(self, clock: Clock, lock: RLock) -> None:
        super().__init__(clock, lock)
        self.date_created_means = "start"
        self.date_filters = True
        self.list_order = "newest"
        self.max_skip = 10_000
        self.skip_message = "new"
        self.transcripts_on_list = True
        self.events_forbidden = False
        self.event_delay = 0.0
        self.consolidate = 60.0
        self.event_data = "some"
        self.cursor_keeps_bounds = True
        self.status_events = "only"
        self.status_follows_clock = False
        self.clock_offset = 0.0
        self.rate_limit: int | None = None
        self.rate_window = 1.0
        self.throttle = 0
        self.rate_reset = 0.5
        self.rate_body = "string"
        self.rate_header = True
        self.rate_separator = ","
        self.keys: set[str] = {"api_sandbox"}
        self.oauth = OAuth(clock, lifetime=3600, scope=SCOPE)
        self._table = Table(STAMPS, sorted_by=STAMPS[:2])
        self.meetings = Meetings(self._table, self)
        self.log = EventLog()
        self.deleted: set[str] = set()
        self._transcripts: dict[str, list[Row | None]] = {}
        now = to_micros(clock.now())
        self.outcomes = [_outcome(n, f"Outcome {n}", now) for n in range(3)]
        self._passed = now  # status_follows_clock: done up to here
        self._spent: dict[str, tuple[int, int]] = {}  # endpoint of a key -> window, requests
        self._lists_served = 0

    @property
    def base_url(self) -> str:
        return f"{self.root}/api/v1"

    @property
    def token_url(self) -> str:
        return f"{self.root}/oauth2/token/"

    @property
    def created_column(self) -> str:
        return "starts_at" if self.date_created_means == "start" else "created"

    def _now(self) -> int:
        return self.clock.micros() + int(self.clock_offset * SECOND)

    def _tick(self) -> int:
        self.clock.tick()
        return self._now()

    # ------------------------------------------------------------------ data

    def generate(
        self, count: int = 1000, seed: int = 1, years: float = 3, events: bool = True
    ) -> int:
        """Add meetings that Close made in the `years` before now, and the events of their last 30
        days. The same seed gives the same ones."""
        with self.lock:
            now = self._now()
            stamps = make_stamps(count, seed, years, now)
            numbers = self._table.extend(count, vars(stamps))
            self.meetings.generated(numbers, seed, now)
            if events:
                self._generate_events(numbers, now)
            return count

    def _generate_events(self, numbers: range, now: int) -> None:
        created, updated = self._table.column("created"), self._table.column("date_updated")
        oldest = now - LOG_DAYS * DAY
        found: list[tuple[int, str, int]] = []
        for n in numbers:
            if created[n] >= oldest:
                found.append((created[n], "created", n))
            if updated[n] >= oldest and updated[n] > created[n] + 10 * SECOND:
                found.append((updated[n], "completed", n))
        for moment, action, n in sorted(found):
            row = self.meetings.row(n)
            if action != "created" and row["status"] != action:
                action = "canceled" if row["status"] == "canceled" else "updated"
            self._event(action, row, moment=moment, data=None, delay=0)

    def insert(self, *, emit_event: bool = True, **fields: Any) -> str:
        """Times not given follow from `starts_at` (in a week) and `duration` (1800 seconds)."""
        with self.lock:
            now = self._tick()
            start = now + 7 * DAY
            start -= start % (30 * MINUTE)
            number = self._table.add(dict.fromkeys(STAMPS, NULL))
            row = make_row(number, 0, start, now, now, now)
            row |= {"status": "upcoming", "outcome_id": None, "summary": None}
            if "starts_at" in fields:
                start = to_micros(parse_time(fields["starts_at"]))
                length = fields.get("duration", 1800) * SECOND
                row |= {"starts_at": iso(start), "ends_at": iso(start + length)}
                row["status"] = status_at(start, start + length, now)
            row["duration"] = fields.get("duration", 1800)
            self._write(number, {**row, "date_created": iso(now)}, fields)
            if emit_event:
                row = self.meetings.row(number)
                self._event("created", row)
                if row["status"] == "upcoming":
                    self._event("scheduled", row)
            return meeting_id(number)

    def edit(
        self, id: str, *, emit_event: bool = True, action: str = "updated", **fields: Any
    ) -> None:
        """Change fields. `date_updated` is now, unless it is one of them."""
        with self.lock:
            number = self.meetings.number(id)
            row = self.meetings.row(number)
            now = iso(self._tick())
            self._write(number, row, {"date_updated": now, **fields})
            if emit_event:
                names = list(fields)
                self._event(action, self.meetings.row(number), names, previous=row)
                if action in ("started", "completed", "canceled") and self.status_events == "both":
                    self._event("updated", self.meetings.row(number), names, previous=row)

    def reschedule(self, id: str, starts_at: str) -> None:
        """[A] `upcoming`, `in-progress` and `completed` follow the new times."""
        start = to_micros(parse_time(starts_at))
        with self.lock:
            row = self.meetings[id]
            end = start + row["duration"] * SECOND
            fields: dict[str, Any] = {"starts_at": iso(start), "ends_at": iso(end)}
            status = status_at(start, end, self._now())
            if row["status"] in STATUSES_OF_TIME and row["status"] != status:
                fields["status"] = status
            self.edit(id, **fields)

    def start_meeting(self, id: str) -> None:
        self.edit(id, action="started", status="in-progress")

    def complete(self, id: str) -> None:
        self.edit(id, action="completed", status="completed")

    def cancel(self, id: str) -> None:
        """[R] A cancelled meeting is still a row, with another status."""
        self.edit(id, action="canceled", status="canceled")

    def delete(self, id: str, emit_event: bool = True) -> None:
        """[R] The row is gone everywhere. Only the log still shows it."""
        with self.lock:
            number = self.meetings.number(id)
            row = self.meetings.row(number)
            self._tick()
            self._table.remove(number)
            self.meetings.written.pop(number, None)
            self._transcripts.pop(id, None)
            self.deleted.add(id)
            if emit_event:
                self._event("deleted", row, data={}, previous=row)

    def delete_lead(self, lead_id: str) -> int:
        """[R] A lead's activities are deleted with it, each with an event of its own."""
        with self.lock:
            ids = [id for id, row in self.meetings.items() if row["lead_id"] == lead_id]
            for id in ids:
                self.delete(id)
            self._log("deleted", "lead", lead_id, lead_id=lead_id)
            return len(ids)

    def merge_leads(self, source: str, destination: str) -> int:
        """[R] Their activities move, with `updated` events whose meta names both leads."""
        with self.lock:
            ids = [id for id, row in self.meetings.items() if row["lead_id"] == source]
            meta = {"merge_source_lead_id": source, "merge_destination_lead_id": destination}
            for id in ids:
                self.edit(id, emit_event=False, lead_id=destination)
                self._event("updated", self.meetings[id], ["lead_id"], meta=meta)
            self._log("deleted", "lead", source, lead_id=source, meta=meta)
            return len(ids)

    def add_transcript(self, id: str, emit_event: bool = False, text: str = "What's up?") -> None:
        """The notetaker is done: transcript and summary are there. [A] Possibly nothing shows
        that: neither an event nor `date_updated`."""
        with self.lock:
            number = self.meetings.number(id)
            row = self.meetings.row(number)
            self._transcripts.setdefault(id, []).append(make_transcript(text))
            fields: dict[str, Any] = {
                "notetaker_id": f"note_{number:08}",
                "summary": {"html": "<p>Summary</p>", "text": "Summary"},
            }
            if emit_event:
                self.edit(id, **fields)
            else:
                self._tick()
                self._write(number, row, fields)

    def add_events(self, count: int = 1, object_type: str = "activity.note") -> None:
        """Add events of other objects. A real log is full of them."""
        with self.lock:
            for _ in range(count):
                moment = self._tick()
                self._log("created", object_type, f"acti_other{moment}", lead_id="lead_other")

    def add_outcome(self, name: str) -> str:
        with self.lock:
            self.outcomes.append(_outcome(len(self.outcomes) + 100, name, self._tick()))
            return str(self.outcomes[-1]["id"])

    def delete_outcome(self, id: str) -> None:
        """[R] Meetings still name it."""
        with self.lock:
            self.outcomes.remove(next(row for row in self.outcomes if row["id"] == id))

    def _write(self, number: int, row: Row, fields: dict[str, Any]) -> None:
        """A `date_created` in the fields is when Close made the row."""
        if "id" in fields:
            raise ValueError("the server assigns ids")
        stamps = {"created": self._table.column("created")[number]}
        if stamps["created"] == NULL or "date_created" in fields:
            stamps["created"] = to_micros(parse_time({**row, **fields}["date_created"]))
        row = {**row, **fields}
        for name in ("starts_at", "date_updated"):
            stamps[name] = to_micros(parse_time(row[name]))
        if "activity_at" not in fields:
            row["activity_at"] = row["starts_at"]  # [R] its default
        self._table.move(number, stamps)
        self.meetings.written[number] = row

    def _event(
        self,
        action: str,
        row: Row,
        changed: list[str] | None = None,
        *,
        moment: int | None = None,
        **more: Any,
    ) -> None:
        self._log(
            action,
            "activity.meeting",
            row["id"],
            moment=self._now() if moment is None else moment,
            changed=changed or [],
            lead_id=row["lead_id"],
            user_id=row["user_id"],
            **{"data": row, **more},
        )

    def _log(self, action: str, object_type: str, object_id: str, **more: Any) -> None:
        defaults = {
            "moment": self._now(),
            "delay": self.event_delay,
            "consolidate": self.consolidate,
        }
        self.log.add(action, object_type, object_id, **{**defaults, **more})

    def _pass_time(self) -> None:
        """[O] The end of a meeting changes its status and `date_updated`, seconds later."""
        now, since = self._now(), self._passed
        self._passed = now
        if not self.status_follows_clock or now <= since:
            return
        bounds = {"starts_at": (since - DAY, now + 1)}
        found = self._table.select("starts_at", bounds)
        flips: list[tuple[int, int, str, str]] = []
        for number in found.page(0, len(found)):
            row = self.meetings.row(number)
            if row["status"] not in ("upcoming", "in-progress"):
                continue
            start, end = (to_micros(parse_time(row[name])) for name in ("starts_at", "ends_at"))
            if since < start <= now:
                flips.append((start, number, "started", "in-progress"))
            if since < end <= now:
                flips.append((end, number, "completed", "completed"))
        for moment, number, action, status in sorted(flips):
            row = self.meetings.row(number)
            moment = min(now, moment + mix(number, 6) % (4 * SECOND))
            self._write(number, row, {"status": status, "date_updated": iso(moment)})
            row = self.meetings.row(number)
            self._event(action, row, ["status"], moment=moment)
            if self.status_events == "both":
                self._event("updated", row, ["status"], moment=moment)

    def truth(self) -> dict[str, Row]:
        with self.lock:
            self._pass_time()
            return {id: {**row, "is_deleted": False} for id, row in self.meetings.items()}

    def transcripts(self) -> dict[str, list[Row | None]]:
        """Meeting id -> its transcripts, of those meetings that have any."""
        with self.lock:
            found = {id: self._transcripts_of(row) for id, row in self.meetings.items()}
            return {id: transcripts for id, transcripts in found.items() if transcripts}

    def set_transcripts(self, id: str, transcripts: list[Row | None]) -> None:
        """Give a meeting these transcripts. Nothing else changes, and nothing shows it."""
        with self.lock:
            self._transcripts[id] = transcripts

    def _transcripts_of(self, row: Row) -> list[Row | None]:
        if row["id"] in self._transcripts:
            return self._transcripts[row["id"]]
        return [make_transcript(row["title"])] if row.get("notetaker_id") else []

    def sizes(self) -> dict[str, int]:
        return {
            "meetings": len(self.meetings),
            "events": len(self.log.events),
            "outcomes": len(self.outcomes),
        }

    # ------------------------------------------------------------------ requests

    def answer(self, call: Call) -> Reply:
        self._pass_time()
        try:
            # [T] the length of a URL is limited; the sandbox's own host does not count
            query = call.query or urlencode(call.params)
            if len(f"{HOST}{call.path}?{query}") > MAX_URL:
                raise _Refused(414, b"<html><h1>414 Request-URI Too Large</h1></html>")
            if not call.path.endswith("/"):  # [O] every path ends in a slash
                location = f"{self.root}{call.path}/" + (f"?{query}" if query else "")
                return Reply(b"", 301, {"location": location}, "text/html")
            if (call.method, call.path) == ("POST", "/oauth2/token/"):
                return self._token(call)
            if (call.method, call.path) == ("GET", "/oauth2/authorize/"):
                return authorize_page(self.oauth, call)
            call = _overridden(call)
            headers = self._spend(call, self._authenticate(call))
            reply = self._route(call)
            reply.headers |= headers
            return reply
        except _Refused as refusal:
            if isinstance(refusal.reply.payload, bytes):
                refusal.reply.content_type = "text/html"
            return refusal.reply

    def _route(self, call: Call) -> Reply:
        path = call.path.removeprefix("/api/v1")
        one = re.fullmatch(r"/(activity/meeting|event)/([^/]+)/", path)
        if one is None and path not in ("/me/", "/activity/meeting/", "/event/", "/outcome/"):
            raise _Refused(404, {"error": "Not Found"})
        if call.method != "GET":
            raise _Refused(405, {"error": "Method Not Allowed"})
        if path == "/me/":
            return Reply(
                {
                    "id": "user_0001",
                    "email": CALENDAR,
                    "first_name": "Eric",
                    "last_name": "Engoron",
                    "organizations": [{"id": ORGANIZATION, "name": "Sandbox"}],
                }
            )
        if path == "/outcome/":
            return self._outcome_list(call)
        if "/event/" in path and self.events_forbidden:
            raise _Refused(403, {"error": "You do not have permission to access the event log."})
        if path == "/event/":
            return self._event_list(call)
        if path == "/activity/meeting/":
            return self._list(call)
        assert one is not None
        kind, id = one.groups()
        if kind == "event":
            return self._one_event(id)
        if id not in self.meetings:
            raise _Refused(404, {"error": "Not Found"})
        return Reply(self._selected(self.meetings[id], _fields(call)))

    def _authenticate(self, call: Call) -> str:
        """[T] Basic with the API key and an empty password, or an OAuth token."""
        token = call.bearer()
        if token is not None and self.oauth.accepts(token):
            return token
        scheme, _, value = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                key, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                key = password = ""
            if key in self.keys and not password:
                return key
        raise _Refused(401, {"error": "The authentication credentials are not valid."})  # [A]

    def _spend(self, call: Call, key: str) -> dict[str, str]:
        """[T] Count a request for its key and endpoint. Returns the headers of the reply."""
        endpoint = re.sub(r"/(acti_|ev_)[^/]+/", "/{id}/", call.path)
        window = int(time.time() // self.rate_window)
        held, spent = self._spent.get(f"{key} {endpoint}", (window, 0))
        spent = spent + 1 if held == window else 1
        limit = 100 if self.rate_limit is None else self.rate_limit
        reset = (window + 1) * self.rate_window - time.time()
        over = self.rate_limit is not None and spent > self.rate_limit
        if self.throttle > 0:
            self.throttle -= 1
            over, reset = True, self.rate_reset
        else:
            self._spent[f"{key} {endpoint}"] = (window, spent)
        remaining = max(0, limit - spent) if self.rate_limit is not None else limit - 1
        parts = (f"limit={limit}", f"remaining={remaining}", f"reset={reset:.3f}")
        headers = {"RateLimit": f"{self.rate_separator} ".join(parts)} if self.rate_header else {}
        if not over:
            return headers
        facts = {"rate_reset": reset, "rate_limit": limit, "rate_window": self.rate_window}
        message = "API call count exceeded for this window"
        payloads: dict[str, Row] = {
            "string": {"error": message, **facts},
            "object": {"error": {"message": message, **facts}},
            "absent": facts,
        }
        refusal = _Refused(429, payloads[self.rate_body])
        if self.rate_header:
            refusal.reply.headers = {**headers, "retry-after": str(math.ceil(reset))}
        raise refusal

    def _token(self, call: Call) -> Reply:
        """[T] Answers with a new refresh token. The old one must be discarded."""
        try:
            pair = self.oauth.grant(call.form())
        except OAuthError as error:
            return Reply(
                {"error": error.error, "error_description": error.description}, error.status
            )
        return Reply(
            {
                "token_type": "Bearer",
                "access_token": pair.access,
                "expires_in": self.oauth.lifetime,
                "refresh_token": pair.refresh,
                "scope": SCOPE,
                "organization_id": ORGANIZATION,
                "user_id": "user_0001",
            }
        )

    # ------------------------------------------------------------------ GET /activity/meeting/

    def _list(self, call: Call) -> Reply:
        limit, skip = self._page(call)
        among = None
        if ids := _csv(call, "id__in"):
            numbers = (number_of(id) for id in ids)
            among = {number for number in numbers if number is not None}
        keep = self._filters(call)
        # [R] there is no filter on date_updated; like any unknown name, it is silently ignored [A]
        bounds = {}
        if self.date_filters and (bound := _bounds(call, "date_created", SECOND)):
            bounds[self.created_column] = bound
        if bound := _bounds(call, "activity_at", SECOND):
            # [R] only in the order of activity_at, which only a single lead can have
            leads = _csv(call, "lead_id")
            if _one(call, "_order_by") not in ("activity_at", "-activity_at") or len(leads) != 1:
                raise _invalid("activity_at", "Needs _order_by=-activity_at and a single lead_id.")
            low, high = bounds.get("starts_at", (NULL, FOREVER))
            bounds["starts_at"] = (max(low, bound[0]), min(high, bound[1]))
        token = str(sorted(call.params))
        found = self._table.select(self.created_column, bounds, keep, among, token)
        self._lists_served += 1
        if self.list_order == "shuffled":
            numbers_found = found.page(0, len(found))
            Random(self._lists_served).shuffle(numbers_found)
            page = numbers_found[skip : skip + limit]
        else:
            page = found.page(skip, limit, descending=self.list_order == "newest")
        fields = _fields(call)
        if not self.transcripts_on_list and fields is not None:
            fields = fields - {"transcripts"}
        rows = [self._selected(self.meetings.row(number), fields) for number in page]
        return Reply({"data": rows, "has_more": skip + len(rows) < len(found)})

    def _page(self, call: Call) -> tuple[int, int]:
        limit, skip = _integer(call, "_limit", MAX_LIMIT), _integer(call, "_skip", 0)
        if limit > MAX_LIMIT:
            raise _invalid("_limit", f"Value must be less than or equal to {MAX_LIMIT}.")
        if limit < 1 or skip < 0:
            raise _invalid("_limit" if limit < 1 else "_skip", "Value is too small.")
        if skip > self.max_skip:
            if self.skip_message == "old":  # [O]
                message = (
                    "The skip you set is larger than the maximum skip for this resource "
                    f"(max_skip = {self.max_skip}). Please refine your search query."
                )
                raise _Refused(400, {"error": message})
            raise _invalid("_skip", f"Value must be less than or equal to {self.max_skip}.")  # [O]
        return limit, skip

    def _filters(self, call: Call) -> Callable[[int], bool] | None:
        checks: list[Callable[[Row], bool]] = []

        def among(parameter: str, field: str) -> None:
            if wanted := _csv(call, parameter):
                checks.append(lambda row: row[field] in wanted)

        for name in ("lead_id", "contact_id", "user_id", "organization_id", "_type"):
            among(name, name)

        if any(_one(call, name) for name in _CALENDAR_FILTERS):
            event = _one(call, "provider_calendar_event_id")
            if not event:  # [R] "you will receive an error"
                message = "This field is required when searching by provider calendar fields."
                raise _invalid("provider_calendar_event_id", message)
            checks.append(lambda row: row.get("provider_calendar_event_id") == event)
            if calendar := _one(call, "provider_calendar_id"):
                checks.append(lambda row: calendar in row.get("provider_calendar_ids", ()))
            if kind := _one(call, "provider_calendar_type"):
                if kind not in ("google", "microsoft"):
                    raise _invalid("provider_calendar_type", "Must be google or microsoft.")
                checks.append(lambda row: row.get("provider_calendar_type") == kind)
            exact = _moment(call, "starts_at")
            low, high = _moment(call, "starts_at__gte"), _moment(call, "starts_at__lt")

            def in_time(row: Row) -> bool:
                start = to_micros(parse_time(row["starts_at"]))
                return (
                    (exact is None or start == exact)
                    and (low is None or start >= low)
                    and (high is None or start < high)
                )

            checks.append(in_time)
        if not checks:
            return None

        def keep(number: int) -> bool:
            row = self.meetings.row(number)
            return all(check(row) for check in checks)

        return keep

    def _selected(self, row: Row, fields: set[str] | None) -> Row:
        """[R] Only the `_fields` are served, if given. `transcripts` must be named."""
        if fields is None:
            return row
        found = {name: value for name, value in row.items() if name in fields}
        if "transcripts" in fields:
            found["transcripts"] = self._transcripts_of(row)
        return found

    # ------------------------------------------------------------------ GET /outcome/

    def _outcome_list(self, call: Call) -> Reply:
        limit, skip = self._page(call)
        fields = _fields(call)
        rows = self.outcomes[skip : skip + limit]
        data = [{k: v for k, v in row.items() if fields is None or k in fields} for row in rows]
        return Reply({"data": data, "has_more": skip + len(rows) < len(self.outcomes)})

    # ------------------------------------------------------------------ GET /event/

    def _event_list(self, call: Call) -> Reply:
        wanted = {name: value for name in _EVENT_FILTERS if (value := _one(call, name))}
        if frozenset(wanted) not in _COMBINATIONS:
            raise _invalid("_schema", f"Unsupported combination of filters: {', '.join(wanted)}.")
        if _one(call, "_skip") is not None:
            raise _invalid("_skip", "Not supported; use _cursor.")  # [R]; the status is [A]
        limit = _integer(call, "_limit", MAX_EVENTS)
        if limit < 1:
            raise _invalid("_limit", "Value is too small.")
        limit = min(MAX_EVENTS, limit)  # [R] capped
        before: Position | None = None
        low, high = _bounds(call, "date_updated", 1) or (NULL, FOREVER)
        if cursor := _one(call, "_cursor"):
            before, low, high = _decoded(cursor)
            if not self.cursor_keeps_bounds:
                low = NULL
        now = self._now()

        def keep(event: Event) -> bool:
            return all(getattr(event, name) == value for name, value in wanted.items())

        versions, following = self.log.page(
            keep, max(low, now - LOG_DAYS * DAY), high, before, limit, now
        )
        rows = [version.event.as_row(version, self._with_data(version)) for version in versions]
        next_cursor = None if following is None else _encoded(following, low, high)
        return Reply({"data": rows, "cursor_next": next_cursor, "cursor_previous": None})

    def _one_event(self, id: str) -> Reply:
        now = self._now()
        event = self.log.events.get(id)
        shown = [version for version in event.versions if version.shown(now)] if event else []
        if event is None or not shown or shown[0].date_updated < now - LOG_DAYS * DAY:
            raise _Refused(404, {"error": "Not Found"})
        return Reply(event.as_row(shown[0], self._with_data(shown[0])))

    def _with_data(self, version: Any) -> bool:
        if self.event_data != "some":
            return self.event_data == "full"
        fresh = self._now() - version.date_updated < HOUR
        return fresh and mix(version.number, 8) % 4 > 0


def _outcome(number: int, name: str, now: int) -> Row:
    return {
        "id": outcome_id(number),
        "name": name,
        "description": None if number % 2 else f"About {name}",
        "organization_id": ORGANIZATION,
        "type": "custom",
        "applies_to": ["calls", "meetings"],
        "created_by": None,
        "updated_by": None,
        "date_created": iso(now),
        "date_updated": iso(now),
    }


def _overridden(call: Call) -> Call:
    """[T] A request too long for a URL is a POST whose `_params` are those of a GET."""
    if call.method != "POST" or call.headers.get("x-http-method-override", "").upper() != "GET":
        return call
    try:
        given = json.loads(call.body)["_params"]
        params = [
            (name, ",".join(map(str, value)) if isinstance(value, list) else str(value))
            for name, value in given.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _Refused(400, {"error": "The body must be JSON with _params."}) from None
    return replace(call, method="GET", params=params)


def _encoded(position: Position, low: int, high: int) -> str:
    return base64.urlsafe_b64encode(array("q", [*position, low, high]).tobytes()).decode()


def _decoded(cursor: str) -> tuple[Position, int, int]:
    values = array("q")
    try:
        values.frombytes(base64.urlsafe_b64decode(cursor))
        moment, number, low, high = values
    except ValueError:
        raise _invalid("_cursor", "Invalid cursor.") from None
    return (moment, number), low, high


def _bounds(call: Call, field: str, precision: int) -> tuple[int, int] | None:
    """From (inclusive), to (exclusive). [O] date_created is compared by the second."""
    low, high = NULL, FOREVER
    found = False
    for operator in ("gt", "gte", "lt", "lte"):
        stamp = _moment(call, f"{field}__{operator}")
        if stamp is None:
            continue
        found = True
        stamp -= stamp % precision
        if operator in ("gt", "gte"):
            low = max(low, stamp + (precision if operator == "gt" else 0))
        else:
            high = min(high, stamp + (precision if operator == "lte" else 0))
    return (low, high) if found else None


def _moment(call: Call, name: str) -> int | None:
    """[T] A time without an offset is in the zone of `x-tz-offset` (hours). Default: UTC."""
    value = _one(call, name)
    if not value:
        return None
    try:
        moment = to_micros(parse_time(value))
        if not re.search(r"T.*(Z|[+-]\d\d:?\d\d)$", value.replace(" ", "T", 1)):
            moment -= int(float(call.headers.get("x-tz-offset", "0")) * HOUR)
    except ValueError:
        raise _invalid(name, f"Not a valid date: {value}") from None
    return moment


def _fields(call: Call) -> set[str] | None:
    return _csv(call, "_fields") or None


def _csv(call: Call, name: str) -> set[str]:
    return {part.strip() for part in (_one(call, name) or "").split(",") if part.strip()}


def _one(call: Call, name: str) -> str | None:
    values = [value for key, value in call.params if key == name]
    return values[-1] if values else None


def _integer(call: Call, name: str, default: int) -> int:
    value = _one(call, name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        raise _invalid(name, "Not a valid integer.") from None
