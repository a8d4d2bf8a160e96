"""HighLevel: calendars, calendar groups, events, single appointments and the token endpoint.

The source of each behavior is noted next to it:
    [D]  the vendor's specification, https://github.com/GoHighLevel/highlevel-api-docs
         (apps/calendars.json, apps/v3/calendars-v3.json, apps/oauth.json, docs/oauth/)
    [O]  observed: handled, tested or reported in public code and issues
    [A]  assumed: no source
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from random import Random
from threading import RLock
from typing import Any

from sandbox.clock import Clock, parse_time
from sandbox.oauth import OAuth, OAuthError, authorize_page
from sandbox.side import Call, Reply, Row, Side

# [D] apps/calendars.json and apps/v3/calendars-v3.json each allow one value of the header.
# They differ in `deleted`, which only v3 lists. [A] The answers are otherwise the same.
VERSIONS = ("2021-04-15", "v3")
CALENDARS = "calendars.readonly"
GROUPS = "calendars/groups.readonly"
EVENTS = "calendars/events.readonly"
SCOPES = (CALENDARS, GROUPS, EVENTS)
# Statuses of an event: before it begins; after that, if it was updated since then, for example when
# someone marked it; and after that without an update.
AHEAD = ("confirmed",) * 8 + ("new", "new", "cancelled", "invalid")
MARKED = ("confirmed",) * 2 + ("showed",) * 6 + ("noshow",) * 2 + ("cancelled", "invalid")
UNMARKED = ("confirmed",) * 10 + ("cancelled", "invalid")
INTERVAL_MS = 10_000  # [D]
DAILY_LIMIT = 200_000  # [D]

_STATUS_NAMES = ("appointmentStatus", "appoinmentStatus")
_TITLES = ("Intro call", "Demo", "Strategy session", "Renewal", "Besprechung, kurz", "")
_OFFSETS = (-240, 0, 330, 60)  # minutes; a row keeps its own


class _Refused(Exception):
    def __init__(self, status: int, message: Any, error: str | None = None) -> None:
        payload = {"statusCode": status, "message": message}
        self.reply = Reply(payload | ({"error": error} if error else {}), status)


class HighLevelSide(Side):
    """The options are attributes; tests set them.

    loose_hours         also list rows that start up to this long after the requested end [O]
    events_when_empty   send `events` in an empty answer; if not, only `traceId` [O]
    delete_shows        a deleted event stays, with `deleted: true`; if not, it vanishes [O: both]
    cap                 the most events in an answer; the rest is silently missing (None: no cap)
                        [O, unproven]
    envelope            "appointment" [O], "event" [D] or "bare" [O]: of a single appointment
    interval_ms         length of the interval in which requests are counted [D]
    rate_limit          requests per interval; None: counted against 100, not enforced [D]
    daily_limit         requests per day; None: counted against 200,000, not enforced [D]
    rate_clock          "sandbox" or "real": the clock of the intervals
    keys                private integration token -> its scopes
    list_events         the function that lists the events of some calendars that start between two
                        times (epoch milliseconds); replace it to make events on request
    """

    name = "highlevel"
    actions = ("generate", "insert", "edit", "reschedule", "cancel", "delete", "add_calendar")
    options = (
        "loose_hours",
        "events_when_empty",
        "delete_shows",
        "cap",
        "envelope",
        "interval_ms",
        "rate_limit",
        "daily_limit",
        "rate_clock",
    )

    def __init__(self, clock: Clock, lock: RLock) -> None:
        super().__init__(clock, lock)
        self.loose_hours = 24.0
        self.events_when_empty = False
        self.delete_shows = False
        self.cap: int | None = None
        self.envelope = "appointment"
        self.interval_ms = INTERVAL_MS
        self.rate_limit: int | None = None
        self.daily_limit: int | None = None
        self.rate_clock = "real"
        self.location_id = "loc0SandboxLocation1"
        self.keys: dict[str, set[str]] = {"pit-sandbox": set(SCOPES)}
        # [D] a token lives for a day; [D] concurrent refreshes within 30 s get the same pair
        self.oauth = OAuth(clock, lifetime=86_399, scope=" ".join(SCOPES), grace=30)
        self.list_events: Callable[[Iterable[str], int, int], list[Row]] = self._between
        self.calendars: dict[str, Row] = {}
        self.groups: dict[str, Row] = {}
        self.events: dict[str, Row] = {}
        self._starts: dict[str, dict[str, int]] = {}  # calendar -> event -> epoch ms
        self._interval = -1
        self._spent = 0
        self._spent_today = 0
        self._traces = 0
        self._made = 0

    @property
    def base_url(self) -> str:
        return self.root

    @property
    def token_url(self) -> str:
        return f"{self.root}/oauth/token"

    # ------------------------------------------------------------------ data

    def generate(
        self, count: int = 1000, seed: int = 1, years: float = 3, calendars: int = 20
    ) -> int:
        """Add events that start in the `years` before now and up to 60 days after it."""
        with self.lock:
            random = Random(seed)
            while len(self.calendars) < calendars:
                self.add_calendar()
            ids = list(self.calendars)
            now = self.clock.now()
            for number in range(count):
                age = random.random() * (years * 365.25 + 60) - 60
                start = now - timedelta(days=age)
                start = start.replace(minute=start.minute // 30 * 30, second=0, microsecond=0)
                added = min(start - timedelta(days=1 + 20 * random.random()), now)
                updated = min(added + timedelta(days=25 * random.random() ** 2), now)
                calendar = ids[number % len(ids)] if number < len(ids) else random.choice(ids)
                self._put(self._new_row(random, calendar, start, added, updated, now))
            return count

    def add_calendar(self, **fields: Any) -> str:
        """Add a calendar. Every fourth is inactive, and every five share a group."""
        with self.lock:
            number = len(self.calendars)
            group = f"grp{number // 5:017d}"
            self.groups.setdefault(
                group,
                {
                    "id": group,
                    "locationId": self.location_id,
                    "name": f"Group {number // 5}",
                    "description": "",
                    "slug": f"group-{number // 5}",
                    "isActive": True,
                },
            )
            row = {
                "id": f"cal{number:017d}",
                "locationId": self.location_id,
                "groupId": group,
                "name": f"Calendar {number}",
                "description": "",
                "slug": f"calendar-{number}",
                "calendarType": ("round_robin", "event", "personal")[number % 3],
                "eventTitle": "{{contact.name}}",
                "eventColor": "#039be5",
                "isActive": number % 4 != 3,
                "slotDuration": 30,
                "slotDurationUnit": "mins",
                "appoinmentPerSlot": 1,  # the vendor's spelling [D]
                "openHours": [],
                "teamMembers": [{"userId": "usr00000000000000001", "priority": 0.5}],
                "autoConfirm": True,
                **fields,
            }
            self.calendars[row["id"]] = row
            self._starts.setdefault(row["id"], {})
            return str(row["id"])

    def insert(self, calendarId: str | None = None, **fields: Any) -> str:  # noqa: N803
        """Add an event. It starts in a week unless `startTime` is one of the fields."""
        with self.lock:
            now = self.clock.tick()
            calendar = calendarId or next(iter(self.calendars), None) or self.add_calendar()
            start = (now + timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
            if "startTime" in fields:
                start = parse_time(fields["startTime"])
            row = self._new_row(Random(self._made), calendar, start, now, now, now)
            self._put({**row, **fields})
            return str(fields.get("id", row["id"]))

    def edit(self, id: str, **fields: Any) -> None:
        """Change fields. `dateUpdated` is now, unless it is one of them."""
        with self.lock:
            row = self.events[id]
            now = self.clock.tick()
            self._forget(row)
            self._put({**row, "dateUpdated": _like(row["dateUpdated"], now), **fields})

    def reschedule(self, id: str, start: str | datetime) -> None:
        """Move an event to another start. Its length stays the same.

        [A] Moving it confirms it for its new time, unless it is cancelled or invalid.
        """
        with self.lock:
            row = self.events[id]
            moment = parse_time(start) if isinstance(start, str) else start
            length = parse_time(row["endTime"]) - parse_time(row["startTime"])
            name = _status_name(row)
            status = row.get(name)
            self.edit(
                id,
                **{name: status if status in ("cancelled", "invalid") else "confirmed"},
                startTime=_like(row["startTime"], moment),
                endTime=_like(row["startTime"], moment + length),
            )

    def cancel(self, id: str) -> None:
        """A cancelled appointment is still a row [O]."""
        with self.lock:
            self.edit(id, **{_status_name(self.events[id]): "cancelled"})

    def delete(self, id: str) -> None:
        with self.lock:
            if self.delete_shows:
                self.edit(id, deleted=True)
                return
            self.clock.tick()
            self._forget(self.events[id])
            del self.events[id]

    def events_of(self, calendar: str) -> list[str]:
        """Ids of the events of one calendar."""
        return list(self._starts[calendar])

    def truth(self) -> dict[str, Row]:
        with self.lock:
            return {id: _normalised(row) for id, row in self.events.items()}

    def sizes(self) -> dict[str, int]:
        return {"calendars": len(self.calendars), "events": len(self.events)}

    def _put(self, row: Row) -> None:
        if row["calendarId"] not in self.calendars:
            raise KeyError(row["calendarId"])
        self.events[row["id"]] = row
        self._starts[row["calendarId"]][row["id"]] = _millis(parse_time(row["startTime"]))

    def _forget(self, row: Row) -> None:
        del self._starts[row["calendarId"]][row["id"]]

    def _new_row(
        self,
        random: Random,
        calendar: str,
        start: datetime,
        added: datetime,
        updated: datetime,
        now: datetime,
    ) -> Row:
        """An event in one of the shapes that occur: sparse, recurring, misspelled."""
        self._made += 1
        number = self._made
        offset = random.choice(_OFFSETS)
        master = f"evt{number:017d}"
        length = random.choice((15, 30, 60))
        statuses = AHEAD if start > now else MARKED if updated >= start else UNMARKED
        row: Row = {
            "id": master,
            "title": random.choice(_TITLES),
            "calendarId": calendar,
            "locationId": self.location_id,
            "contactId": f"con{number % 700:017d}",
            "groupId": self.calendars[calendar]["groupId"],
            "appointmentStatus": random.choice(statuses),
            "assignedUserId": f"usr{number % 9:017d}",
            "users": [f"usr{number % 9:017d}"],
            "address": f"https://meet.example.com/{number}",
            "notes": "",
            "isRecurring": False,
            "startTime": _with_offset(start, offset),
            "endTime": _with_offset(start + timedelta(minutes=length), offset),
            # Lists show whole seconds with an offset, an issue shows milliseconds with Z [O].
            "dateAdded": _with_millis(added) if number % 3 == 0 else _with_offset(added, offset),
            "dateUpdated": _with_millis(updated)
            if number % 3 == 0
            else _with_offset(updated, offset),
            "assignedResources": [],
            "createdBy": {"userId": None, "source": "booking_widget"},
        }
        kind = random.random()
        if kind < 0.1:  # [D] `<master>_<start in epoch ms>_<duration>`, [O] in seconds
            row["id"] = f"{master}_{_millis(start)}_{length * 60}"
            row["masterEventId"] = master
            row["isRecurring"] = "true" if number % 2 else True  # [D] the example is text
            row["rrule"] = "RRULE:FREQ=DAILY;INTERVAL=1;COUNT=5"
        elif kind < 0.2:  # [O] the misspelled twin
            row["appoinmentStatus"] = row.pop("appointmentStatus")
        elif kind < 0.25:  # [O] sparse
            for name in ("contactId", "assignedUserId", "title", "address"):
                row[name] = None
            for name in ("users", "notes", "groupId", "createdBy", "assignedResources"):
                del row[name]
        return row

    # ------------------------------------------------------------------ requests

    def answer(self, call: Call) -> Reply:
        if call.path == "/oauth/token" and call.method == "POST":
            return self._token(call)
        if call.path == "/v2/oauth/chooselocation" and call.method == "GET":
            return authorize_page(self.oauth, call)
        try:
            scopes = self._authenticate(call)
            self._spend()
            reply = self._route(call, scopes)
        except _Refused as refusal:
            reply = refusal.reply
        if isinstance(reply.payload, dict) and reply.status == 200:
            self._traces += 1
            reply.payload["traceId"] = f"trace-{self._traces:06d}"  # [D] with every response
        reply.headers |= self._rate_headers()
        return reply

    def page_rows(self, payload: Any) -> list[Any]:
        return payload.get("events", []) if isinstance(payload, dict) else []

    def _route(self, call: Call, scopes: set[str]) -> Reply:
        path = call.path
        if call.method != "GET" or not path.startswith("/calendars/"):
            return Reply(b"", 404)  # [O] an unknown path: an empty body
        if path == "/calendars/":
            self._need(scopes, CALENDARS)
            self._check_location(call)
            rows = list(self.calendars.values())
            if _one(call, "showDrafted") == "false":
                rows = [row for row in rows if row["isActive"]]
            return Reply({"calendars": rows})
        if path == "/calendars/groups":
            self._need(scopes, GROUPS)
            self._check_location(call)
            return Reply({"groups": list(self.groups.values())})
        if path == "/calendars/events":
            self._need(scopes, EVENTS)
            self._check_location(call)
            return self._list(call)
        if path.startswith("/calendars/events/appointments/"):
            self._need(scopes, EVENTS)
            return self._appointment(path.rsplit("/", 1)[1])
        return Reply(b"", 404)

    def _authenticate(self, call: Call) -> set[str]:
        token = call.bearer()
        if token in self.keys:
            return self.keys[token or ""]
        if token and self.oauth.accepts(token):
            return set(self.oauth.scope.split())
        raise _Refused(401, "Invalid token: access token is invalid", "Unauthorized")  # [D]

    def _need(self, scopes: set[str], scope: str) -> None:
        if scope not in scopes:  # [O] 401, not 403
            raise _Refused(401, "The token is not authorized for this scope.", "Unauthorized")

    def _check_location(self, call: Call) -> None:
        if _one(call, "locationId") != self.location_id:  # [O] missing or another one
            raise _Refused(403, "The token does not have access to this location.", "Forbidden")

    def _list(self, call: Call) -> Reply:
        """[D] By start time, between two epoch milliseconds. No pages, no other filter by time."""
        problems = [
            f"{name} should not be empty"
            for name in ("startTime", "endTime")
            if not _one(call, name)
        ]
        if not any(_one(call, name) for name in ("calendarId", "groupId", "userId")):
            problems.append("Either of calendarId, userId or groupId is required")  # [O]
        if problems:
            raise _Refused(422, problems, "Unprocessable Entity")
        start, end = _one(call, "startTime") or "", _one(call, "endTime") or ""
        rows: list[Row] = []
        # [O] another Version, or ISO times: an empty answer, no error
        if call.headers.get("version") in VERSIONS and start.isdigit() and end.isdigit():
            rows = self.list_events(self._asked_calendars(call), int(start), int(end))
        if not rows and not self.events_when_empty:
            return Reply({})
        return Reply({"events": rows[: self.cap]})

    def _between(self, calendars: Iterable[str], start: int, end: int) -> list[Row]:
        latest = end + int(self.loose_hours * 3_600_000)
        found = [
            (millis, id)
            for calendar in calendars
            for id, millis in self._starts[calendar].items()
            if start <= millis < latest
        ]
        return [self.events[id].copy() for _, id in sorted(found)]

    def _asked_calendars(self, call: Call) -> Iterable[str]:
        calendar, group = _one(call, "calendarId"), _one(call, "groupId")
        if calendar:
            return [calendar] if calendar in self.calendars else []  # [A]
        return [row["id"] for row in self.calendars.values() if row["groupId"] == group]

    def _appointment(self, id: str) -> Reply:
        if id not in self.events:
            message = f"Appointment with id {id} not found"
            return Reply({"error": message, "status": 404}, 404)  # [O] the shape of such bodies
        row = self.events[id].copy()
        return Reply(row if self.envelope == "bare" else {self.envelope: row})

    # ------------------------------------------------------------------ limits and tokens

    def _spend(self) -> None:
        """[O] The 429 has no Retry-After."""
        self._roll()
        limit, daily = self.rate_limit, self.daily_limit
        if (limit is not None and self._spent >= limit) or (
            daily is not None and self._spent_today >= daily
        ):
            raise _Refused(429, "Too Many Requests")
        self._spent += 1
        self._spent_today += 1

    def _roll(self) -> None:
        now = time.time() if self.rate_clock == "real" else self.clock.now().timestamp()
        interval = int(now * 1000) // self.interval_ms
        if interval != self._interval:
            self._interval, self._spent = interval, 0

    def _rate_headers(self) -> dict[str, str]:
        limit = 100 if self.rate_limit is None else self.rate_limit
        daily = DAILY_LIMIT if self.daily_limit is None else self.daily_limit
        return {
            "X-RateLimit-Limit-Daily": str(daily),
            "X-RateLimit-Daily-Remaining": str(max(0, daily - self._spent_today)),
            "X-RateLimit-Interval-Milliseconds": str(self.interval_ms),
            "X-RateLimit-Max": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - self._spent)),
        }

    def _token(self, call: Call) -> Reply:
        """[D] A form; refresh tokens are single use."""
        form = call.form()
        if form.get("user_type") != "Location":
            message = "Invalid parameter: userType"
            return Reply({"statusCode": 400, "message": message}, 400)
        try:
            pair = self.oauth.grant(form)
        except OAuthError as error:
            words = "Invalid grant: refresh token is invalid"
            message = words if error.error == "invalid_grant" else str(error)
            return Reply({"statusCode": error.status, "message": message}, error.status)
        return Reply(
            {
                "access_token": pair.access,
                "token_type": "Bearer",
                "expires_in": self.oauth.lifetime,
                "refresh_token": pair.refresh,
                "scope": self.oauth.scope,
                "userType": "Location",
                "locationId": self.location_id,
            }
        )


def _one(call: Call, name: str) -> str | None:
    return next((value for key, value in call.params if key == name), None)


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _with_offset(moment: datetime, minutes: int) -> str:
    zone = timezone(timedelta(minutes=minutes))
    return moment.astimezone(zone).isoformat(timespec="seconds")


def _with_millis(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _like(text: str | None, moment: datetime) -> str:
    """The moment in the format of the row's own time."""
    if not text or text[-3] != ":":
        return _with_millis(moment)
    sign = -1 if text[-6] == "-" else 1
    return _with_offset(moment, sign * (int(text[-5:-3]) * 60 + int(text[-2:])))


def _status_name(row: Row) -> str:
    """The name of the field with the row's status."""
    return next((name for name in _STATUS_NAMES if row.get(name)), _STATUS_NAMES[0])


def _normalised(row: Row) -> Row:
    status = row.get("appointmentStatus") or row.get("appoinmentStatus") or row.get("status")
    recurring = row.get("isRecurring")
    return {
        **row,
        "appointmentStatus": status,
        "isRecurring": recurring == "true" if isinstance(recurring, str) else recurring,
    }
