"""The account of Close."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sandbox.account import Account, Rows
from sandbox.clock import parse_time
from sandbox.close import CloseSide
from sandbox.facts import Change, Columns, EndlessPages, ShortPage, Statuses
from sandbox.side import Row
from sandbox.unified import Meeting, first, link, moment, person

EVENT = "d639fa1c7ea344c797df1d0f51603113"  # the calendar event in the configuration
TRANSCRIPTS = "close_meeting_transcripts"


def _more_and_empty(page: Row) -> None:
    if "has_more" in page:
        page.update(data=[], has_more=True)


def _more_and_the_same(page: Row) -> None:
    if "has_more" in page:
        page.update(has_more=True)


def _another_cursor_and_no_event(page: Row) -> None:
    if "cursor_next" in page:
        page.update(data=[], cursor_next=f"c{next(_CURSORS)}")


def _another_cursor_and_the_same_events(page: Row) -> None:
    if "cursor_next" in page:
        page["cursor_next"] = f"c{next(_CURSORS)}"


def _the_same_cursor(page: Row) -> None:
    if "cursor_next" in page:
        page["cursor_next"] = "always"


_CURSORS = itertools.count()


class CloseAccount(Account):
    name, title = "close", "Close"
    side_type = CloseSide
    side: CloseSide
    key_words = "Settings > Developer > API Keys"
    access_words = "may not read this"
    token_uses = 40  # each of eight workers begins with a request
    streams = ("close_meetings",)
    other_lists = ("close_outcomes",)
    list_path = "/close/api/v1/activity/meeting/"
    kinds = {
        "close_meetings": {"log": "/event/", "ids": "id__in", "windows": "date_created__gte"},
        TRANSCRIPTS: {"single": "/activity/meeting/acti"},
    }
    short_pages = (ShortPage("id__in", 1, later=True),)
    endless_pages = (
        EndlessPages(_more_and_empty),
        EndlessPages(_more_and_the_same),
        EndlessPages(_another_cursor_and_no_event, later=True),
        EndlessPages(_another_cursor_and_the_same_events, later=True),
        EndlessPages(_the_same_cursor, later=True),
    )
    columns = Columns(
        start="starts_at",
        end="ends_at",
        updated="date_updated",
        stamps=("date_updated", "date_created"),
    )
    statuses = Statuses(
        of=lambda row: row["status"],
        ahead=frozenset({"upcoming"}),
        begun=frozenset({"in-progress", "completed"}),
        marked=frozenset(),
        moved=(({}, "upcoming"), ({"status": "canceled"}, "canceled")),
    )
    shown = ("title", "starts_at", "status", "is_deleted")
    days = (-900, 400)

    def options(self) -> Row:
        return {"calendar_events": [EVENT]}

    def take_access(self) -> None:
        self.box.fault("/activity/meeting", 1, 99, kind="status", status=403)

    # ------------------------------------------------------------------ rows

    def generate(self, count: int) -> None:
        self.side.generate(count=count, seed=self.chance.randrange(1000))

    def fill(self) -> None:
        self.side.generate(count=150, years=0.5)
        for days in (1, 8):
            start = (self.box.clock.now() + timedelta(days=days)).isoformat()
            self.side.insert(provider_calendar_event_id=EVENT, starts_at=start)

    def hold(self, count: int) -> None:
        self.side.generate(count=count, events=False)

    def keys(self) -> list[str]:
        return list(self.side.meetings)

    def insert(self, start: datetime, **fields: Any) -> str:
        return self.side.insert(starts_at=start.isoformat(), **fields)

    def change(self) -> None:
        """Sometimes add a past meeting, whose transcript appears without a trace."""
        if self.chance.random() < 0.15:
            start = self.box.clock.now() - timedelta(days=self.chance.uniform(0.1, 10))
            self.side.add_transcript(self.insert(start))
        else:
            super().change()

    def demo_changes(self) -> list[Change]:
        rows, now = self.side.meetings, self.box.clock.now()
        ids = list(rows)
        ahead = [
            id
            for id in ids
            if rows[id]["status"] == "upcoming" and parse_time(rows[id]["starts_at"]) > now
        ]
        oldest, old = ids[0], ids[len(ids) // 2]
        *_, third, second, newest = ahead
        moved = parse_time(rows[newest]["starts_at"]) + timedelta(days=1)
        return [
            Change("oldest: renamed", lambda: self.edit(oldest, title="Renamed"), oldest),
            Change("old: deleted", lambda: self.delete(old), old),
            Change("rescheduled", lambda: self.reschedule(newest, moved), newest),
            Change("cancelled", lambda: self.cancel(second), second),
            Change("deleted", lambda: self.delete(third), third),
            Change("booked", lambda: self.side.insert(title="Newly booked")),
            Change("outcome added", lambda: self.side.add_outcome("Next step agreed")),
        ]

    # ------------------------------------------------------------------ truth

    @property
    def tables(self) -> dict[str, Callable[[], Rows]]:
        return {
            "close_meetings": self.side.truth,
            TRANSCRIPTS: self._transcripts,
            "close_meetings_by_calendar_event": self._by_calendar_event,
            "close_outcomes": lambda: {row["id"]: row for row in self.side.outcomes},
        }

    def _transcripts(self) -> Rows:
        meetings = self.side.meetings
        return {
            id: {"id": id, "title": meetings[id]["title"], "transcripts": found}
            for id, found in self.side.transcripts().items()
            if self._is_over(meetings[id])
        }

    def _is_over(self, row: Row) -> bool:
        return row["status"] == "completed" or parse_time(row["ends_at"]) <= self.box.clock.now()

    def _by_calendar_event(self) -> Rows:
        rows = self.side.meetings.items()
        return {id: row for id, row in rows if row.get("provider_calendar_event_id") == EVENT}

    def comparable(self, stream: str, rows: Rows) -> Rows:
        if stream == TRANSCRIPTS:  # rows of meetings without one do not count
            names = ("id", "title", "transcripts")
            with_one = {key: row for key, row in rows.items() if row.get("transcripts")}
            return {key: {name: row.get(name) for name in names} for key, row in with_one.items()}
        return {key: row for key, row in rows.items() if not row.get("is_deleted")}

    def unseen(self, stream: str) -> set[str]:
        """Only `close_meetings` shows deletions."""
        if stream == TRANSCRIPTS:  # also keeps those of meetings moved to the future
            return self.side.deleted | set(self.side.transcripts())
        return set() if stream == "close_meetings" else self.side.deleted

    # ------------------------------------------------------------------ requests

    def aim_of_first_sync(self, rows: int, slices: int) -> str:
        return str(math.floor(2.2 * rows / 100) + 40)

    def aim_of_later_sync(self, changes: int) -> str:
        return f"{7 + changes // 50 + math.ceil(changes / 30)} + the windows"

    # ------------------------------------------------------------------ dbt

    def add_awkward(self) -> None:
        ids = self.keys()
        self.edit(ids[5], attendees=[_guest("Ada@Example.com", "yes"), _guest("b@example.com")])
        self.edit(ids[6], attendees=[_guest("gone@example.com")])
        self.edit(
            ids[7], status="declined-by-org", conference_links=[], location="https://a.example"
        )
        self.side.outcomes[2]["name"] = "No-Show"
        for number, outcome in enumerate(self.side.outcomes):
            self.edit(ids[10 + number], status="completed", outcome_id=outcome["id"])
        self.edit(ids[13], status="canceled", outcome_id=self.side.outcomes[2]["id"])

    def change_awkward(self) -> None:
        ids = self.keys()
        self.edit(ids[5], attendees=[_guest("ada@example.com", "no")])  # one is removed
        self.edit(ids[6], attendees=[])  # the last one is removed
        self.reschedule(ids[8], parse_time("2026-06-09T10:00:00Z"))
        self.delete(ids[9])
        self.side.outcomes[1]["name"] = "No show"

    def unified(self) -> Iterator[Meeting]:
        outcomes = {outcome["id"]: outcome["name"] for outcome in self.side.outcomes}
        transcripts = self.side.transcripts()
        for id, row in self.side.meetings.items():
            found = transcripts.get(id) if self._is_over(row) else None
            summary = (row.get("summary") or {}).get("text")
            outcome = outcomes.get(row.get("outcome_id"), row.get("outcome_id"))
            links = first(row.get("conference_links")) or {}
            columns = {
                "title": row["title"],
                "description": row["note"],
                "status": _STATUSES[row["status"]],
                "status_raw": row["status"],
                "starts_at": moment(row["starts_at"]),
                "ends_at": moment(row["ends_at"]),
                "duration_seconds": row["duration"],
                "location": row["location"],
                "conference_url": links.get("url") or link(row["location"]),
                "owner_id": row["user_id"],
                "owner_name": row["user_name"],
                "account_id": row["lead_id"],
                "contact_id": row["contact_id"],
                "calendar_id": first(row.get("provider_calendar_ids")),
                "calendar_provider": row.get("provider_calendar_type"),
                "provider_calendar_event_id": row.get("provider_calendar_event_id"),
                "ical_uid": first(row.get("calendar_event_uids")),
                "is_recurring": row["is_recurring"],
                "outcome": _outcome(row["status"], outcome),
                "outcome_name": outcome,
                "has_transcript": bool(found),
                "transcript_summary": summary or (first(found) or {}).get("summary_text"),
                "updated_at": moment(row["date_updated"]),
            }
            people = {
                one["email"].lower(): person(
                    _ANSWERS[one["status"]],
                    one["status"],
                    one["email"],
                    one["name"],
                    one["is_organizer"],
                    one["contact_id"] or one["user_id"],
                )
                for one in row["attendees"]
            }
            yield Meeting(id, columns, list(people.values()))

    def tombstones(self) -> set[str]:
        return self.side.deleted


_STATUSES = {
    "upcoming": "scheduled",
    "in-progress": "in_progress",
    "completed": "completed",
    "canceled": "cancelled",
    "declined-by-org": "declined",
    "declined-by-lead": "declined",
}
_ANSWERS = {
    "noreply": "needs_action",
    "yes": "accepted",
    "no": "declined",
    "maybe": "tentative",
}


def _outcome(status: str, name: str | None) -> str:
    """A meeting's outcome. A no-show is recognized by the name of the outcome people chose."""
    if _STATUSES[status] in ("cancelled", "declined"):
        return "cancelled"
    if (name or "").lower() in ("no show", "no-show"):
        return "no_show"
    return "held" if status == "completed" else "unknown"


def _guest(email: str, status: str = "noreply") -> Row:
    nobody = dict.fromkeys(("contact_id", "user_id", "name"))
    return {**nobody, "email": email, "status": status, "is_organizer": False}
