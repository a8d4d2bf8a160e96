"""The account of HighLevel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sandbox.account import Account, Rows
from sandbox.clock import parse_time
from sandbox.facts import Change, Columns, Statuses
from sandbox.highlevel import CALENDARS, HighLevelSide
from sandbox.highlevel_rows import ManyEvents
from sandbox.side import Row
from sandbox.unified import Meeting, link, moment, person, seconds


class HighLevelAccount(Account):
    name, title = "highlevel", "HighLevel"
    side_type = HighLevelSide
    side: HighLevelSide
    auth_type, key_field = "private_integration_token", "access_token"
    key_words = "Settings > Private Integrations"
    access_words = "calendars/events.readonly"
    token_uses = 15
    streams = ("highlevel_calendar_events", "highlevel_appointments")
    slow_streams = ("highlevel_appointments",)
    other_lists = ("highlevel_calendars", "highlevel_calendar_groups")
    list_path = "/highlevel/calendars/events"
    kinds = {
        "highlevel_calendar_events": {"calendars": "/calendars/$", "events": "/calendars/events"},
        "highlevel_appointments": {"single": "/appointments/"},
    }
    columns = Columns(
        start="startTime",
        end="endTime",
        updated="dateUpdated",
        created="dateAdded",
        stamps=("dateUpdated", "startTime"),
    )
    statuses = Statuses(
        of=lambda row: row["appointmentStatus"],
        ahead=frozenset({"new"}),
        begun=frozenset({"showed", "noshow"}),
        marked=frozenset({"showed", "noshow"}),
        moved=(
            ({"appointmentStatus": "showed"}, "confirmed"),
            ({"appointmentStatus": "noshow"}, "confirmed"),
            ({"appointmentStatus": "cancelled"}, "cancelled"),
        ),
    )
    shown = ("title", "startTime", "appointmentStatus")
    quick = {"interval_ms": 50}
    limit = (100, 10)
    enforced = {"rate_limit": 100, "rate_clock": "real"}

    def options(self) -> Row:
        return {"location_id": self.side.location_id}

    def take_access(self) -> None:
        self.side.keys = {key: {CALENDARS} for key in self.side.keys}

    # ------------------------------------------------------------------ rows

    def generate(self, count: int) -> None:
        self.side.generate(count=count, seed=self.chance.randrange(1000), calendars=4)

    def fill(self) -> None:
        self.side.generate(count=40, calendars=3, years=0.5)

    def hold(self, count: int) -> None:
        for _ in range(20):
            self.side.add_calendar()
        now = self.box.clock.now()
        self.side.list_events = ManyEvents(self.side.calendars, count, now).between

    def keys(self) -> list[str]:
        return list(self.side.events)

    def insert(self, start: datetime, **fields: Any) -> str:
        calendar = self.chance.choice(list(self.side.calendars) or [None])
        return self.side.insert(calendar, startTime=start.isoformat(timespec="seconds"), **fields)

    def delete(self, key: str) -> None:
        super().delete(key)
        self._gone |= {key} - set(self.side.events)

    def demo_changes(self) -> list[Change]:
        now, rows = self.box.clock.now(), self.side.truth()
        confirmed = {
            key: parse_time(row["startTime"])
            for key, row in rows.items()
            if row["appointmentStatus"] == "confirmed"
        }
        begun = [key for key, start in confirmed.items() if start <= now]
        *_, second, last = [key for key, start in confirmed.items() if start > now]
        oldest, old = begun[0], begun[len(begun) // 2]
        moved = confirmed[last] + timedelta(days=1)
        return [
            Change("renamed", lambda: self.edit(oldest, title="Renamed"), oldest),
            Change("renamed", lambda: self.edit(old, title="Renamed, too"), old),
            Change("rescheduled", lambda: self.reschedule(last, moved), last),
            Change("cancelled", lambda: self.cancel(second), second),
            Change("booked", lambda: self.side.insert(title="Newly booked")),
            Change("calendar added", lambda: self.side.add_calendar()),
        ]

    # ------------------------------------------------------------------ truth

    @property
    def tables(self) -> dict[str, Callable[[], Rows]]:
        return {
            "highlevel_calendar_events": self.side.truth,
            "highlevel_appointments": self.side.truth,
            "highlevel_calendars": lambda: self.side.calendars,
            "highlevel_calendar_groups": lambda: self.side.groups,
        }

    # ------------------------------------------------------------------ dbt

    def add_awkward(self) -> None:
        self.side.delete_shows = True
        self.side.insert(
            startTime="2026-06-30T23:30:00-07:00",
            endTime="2026-07-01T00:15:00-07:00",
            contactName="Ada Adler",
            description="What it is about",
        )

    def change_awkward(self) -> None:
        keys = self.keys()
        self.delete(keys[4])
        self.edit(keys[5], appointmentStatus="showed", users=[])

    def unified(self) -> Iterator[Meeting]:
        for id, row in self.side.truth().items():
            columns = {
                "title": row["title"],
                "description": row.get("description") or row.get("notes"),
                "status": _STATUSES.get(row["appointmentStatus"], "unknown"),
                "status_raw": row["appointmentStatus"],
                "outcome": _OUTCOMES.get(row["appointmentStatus"], "unknown"),
                "starts_at": moment(row["startTime"]),
                "ends_at": moment(row["endTime"]),
                "duration_seconds": seconds(row, "startTime", "endTime"),
                "location": row.get("address"),
                "conference_url": link(row.get("address")),
                "owner_id": row["assignedUserId"],
                "contact_id": row["contactId"],
                "calendar_id": row["calendarId"],
                "is_recurring": row["isRecurring"],
                "recurring_meeting_id": row.get("masterEventId"),
                "created_at": moment(row["dateAdded"]),
                "updated_at": moment(row["dateUpdated"]),
                "is_deleted": bool(row.get("deleted")),
            }
            yield Meeting(id, columns, _people(row))


_STATUSES = {
    "new": "scheduled",
    "confirmed": "scheduled",
    "showed": "completed",
    "completed": "completed",
    "cancelled": "cancelled",
    "noshow": "no_show",
}
_OUTCOMES = {
    "showed": "held",
    "completed": "held",
    "cancelled": "cancelled",
    "noshow": "no_show",
}
_ANSWERS = {
    "new": "needs_action",
    "confirmed": "accepted",
    "showed": "attended",
    "noshow": "no_show",
}


def _people(row: Row) -> list[Row]:
    """The contact, the host and other users."""
    status, found = row["appointmentStatus"], {}
    if contact := row["contactId"]:
        answer, name = _ANSWERS.get(status, "unknown"), row.get("contactName")
        found[contact] = person(answer, status, name=name, organizer=False, id=contact)
    if user := row["assignedUserId"]:
        found.setdefault(user, person("unknown", None, organizer=True, id=user))
    for user in row.get("users") or []:
        found.setdefault(user, person("unknown", None, organizer=False, id=user))
    return list(found.values())
