"""The account of Salesloft."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sandbox.account import Account, Rows
from sandbox.clock import parse_time
from sandbox.facts import Change, Columns, EndlessPages, ShortPage, Statuses
from sandbox.salesloft import MINUTE_BUDGET, SalesloftSide
from sandbox.side import Row
from sandbox.unified import Meeting, link, moment, person, seconds


def _always_a_next_page(page: Row) -> None:
    if "metadata" in page:
        page["metadata"]["paging"]["next_page"] = 1


def _always_a_next_page_and_no_rows(page: Row) -> None:
    if "metadata" in page:
        page["data"].clear()
        page["metadata"]["paging"]["next_page"] = 2


class SalesloftAccount(Account):
    name, title = "salesloft", "Salesloft"
    side_type = SalesloftSide
    side: SalesloftSide
    key_words = "Your Applications > API Keys"
    access_words = "the scope meetings:read"
    streams = ("salesloft_meetings",)
    list_path = "/salesloft/v2/meetings"
    kinds = {"salesloft_meetings": {"pages": "sort_by=updated_at"}}
    short_pages = (
        ShortPage("created_at%5Bgte%5D", 2),
        ShortPage("sort_by=updated_at", 1, later=True),
    )
    endless_pages = (
        EndlessPages(_always_a_next_page),
        EndlessPages(_always_a_next_page_and_no_rows),
    )
    columns = Columns(
        start="start_time",
        end="end_time",
        updated="updated_at",
        created="created_at",
        stamps=("updated_at", "start_time"),
    )
    statuses = Statuses(
        of=lambda row: "no-show" if row["no_show"] else "",
        ahead=frozenset(),
        begun=frozenset({"no-show"}),
        marked=frozenset({"no-show"}),
        moved=(({"no_show": True}, ""),),
    )
    shown = ("title", "start_time", "canceled_at", "no_show")
    days = (-400, 60)
    limit = (MINUTE_BUDGET, 60)
    enforced = {"rate_limit": MINUTE_BUDGET, "rate_clock": "real"}
    most_cpu = 2.0

    def take_access(self) -> None:
        self.side.keys = {key: set() for key in self.side.keys}

    # ------------------------------------------------------------------ rows

    def generate(self, count: int) -> None:
        self.side.generate(count=count, seed=self.chance.randrange(1000))

    def fill(self) -> None:
        self.side.generate(count=150, years=0.5)

    def keys(self) -> list[str]:
        return [str(id) for id in self.side.meetings]

    def place(self, key: str) -> tuple[Any, ...]:
        return (int(key),)

    def insert(self, start: datetime, **fields: Any) -> str:
        return str(self.side.insert(start_time=start.isoformat(), **fields))

    def delete(self, key: str) -> None:
        super().delete(key)
        self._gone.add(key)

    def demo_changes(self) -> list[Change]:
        now = self.box.clock.now()
        starts = {
            str(id): parse_time(row["start_time"])
            for id, row in self.side.meetings.items()
            if row["start_time"] and not row["canceled_at"]
        }
        begun = [key for key, start in starts.items() if start <= now]
        *_, second, newest = [key for key, start in starts.items() if start > now]
        oldest, old = begun[0], begun[len(begun) // 2]
        missed = [key for key in begun if not self.side.meetings[int(key)]["no_show"]][-1]
        moved = starts[newest] + timedelta(days=1)
        return [
            Change("oldest: renamed", lambda: self.edit(oldest, title="Renamed"), oldest),
            Change("old: renamed", lambda: self.edit(old, title="Renamed, too"), old),
            Change("rescheduled", lambda: self.reschedule(newest, moved), newest),
            Change("cancelled", lambda: self.cancel(second), second),
            Change("marked as no-show", lambda: self.edit(missed, no_show=True), missed),
            Change("booked", lambda: self.side.insert(title="Newly booked")),
        ]

    # ------------------------------------------------------------------ truth

    @property
    def tables(self) -> dict[str, Callable[[], Rows]]:
        return {"salesloft_meetings": self.side.truth}

    # ------------------------------------------------------------------ requests

    def aim_of_first_sync(self, rows: int, slices: int) -> str:
        return str(math.floor(1.05 * rows / 100) + slices)

    def aim_of_later_sync(self, changes: int) -> str:
        return str(math.ceil(changes / 100) + 1)

    # ------------------------------------------------------------------ dbt

    def add_awkward(self) -> None:
        one, two, three, *_ = self.keys()
        self.edit(
            one,
            attendees=[_guest("Ada@Example.com", organizer=True), _guest("b@example.com")],
            guests=["ada@example.com", "New@example.com"],
            recipient_email="new@example.com",
            recipient_name="New One",
        )
        self.edit(two, attendees=[_guest("b@example.com")], guests=["b@example.com"])
        self.edit(three, all_day=True, no_show=True, status="failed")

    def change_awkward(self) -> None:
        one, two, *_ = self.keys()
        gone = {**_guest("b@example.com"), "deleted_at": "2026-06-01T00:00:00.000000Z"}
        self.edit(one, attendees=[_guest("ada@example.com", status="declined")], guests=[])
        self.edit(two, attendees=[gone])

    def unified(self) -> Iterator[Meeting]:
        for id, row in self.side.truth().items():
            unmet = "cancelled" if row["canceled_at"] else "no_show" if row["no_show"] else None
            columns = {
                "title": row["title"],
                "description": row["description"],
                "status": unmet or _STATUSES.get(row["status"], "unknown"),
                "outcome": unmet or "unknown",
                "status_raw": row["status"],
                "starts_at": moment(row["start_time"]),
                "ends_at": moment(row["end_time"]),
                "duration_seconds": seconds(row, "start_time", "end_time"),
                "is_all_day": row["all_day"],
                "location": row["location"],
                "conference_url": link(row["location"]),
                "owner_id": row["owned_by_user"]["id"],
                "account_id": row["account_id"],
                "contact_id": str(row["person"]["id"]) if row["person"] else None,
                "calendar_id": row["calendar_id"],
                "calendar_provider": row["calendar_type"],
                "provider_calendar_event_id": row["event_id"],
                "ical_uid": row["i_cal_uid"],
                "is_recurring": row["recurring"],
                "created_at": moment(row["created_at"]),
                "updated_at": moment(row["updated_at"]),
                "cancelled_at": moment(row["canceled_at"]),
            }
            yield Meeting(id, columns, _people(row))


_STATUSES = {"booked": "scheduled", "pending": "scheduled", "retry": "scheduled"}
_ANSWERS = {
    "needsAction": "needs_action",
    "accepted": "accepted",
    "tentative": "tentative",
    "declined": "declined",
}


def _people(row: Row) -> list[Row]:
    """The attendees, then the recipient and guests who neither are nor were attendees."""
    found: dict[str, Row] = {}
    removed = {one["email"].lower() for one in row["attendees"] if one["deleted_at"]}
    for one in row["attendees"]:
        if not one["deleted_at"]:
            id = (one["person"] or {}).get("id")
            answer = _ANSWERS[one["status"]]
            there = person(answer, one["status"], one["email"], one["name"], one["organizer"], id)
            found.setdefault(one["email"].lower(), there)
    recipient = (row["recipient_email"], row["recipient_name"], (row["person"] or {}).get("id"))
    for email, name, id in [recipient, *((guest, None, None) for guest in row["guests"])]:
        if email and email.lower() not in removed:
            found.setdefault(email.lower(), person("unknown", None, email, name, None, id))
    return list(found.values())


def _guest(email: str, organizer: bool = False, status: str = "accepted") -> Row:
    nobody = dict.fromkeys(("person", "deleted_at"))
    person = {"email": email, "name": "", "organizer": organizer, "status": status}
    return {**person, "status_changed": False, **nobody}
