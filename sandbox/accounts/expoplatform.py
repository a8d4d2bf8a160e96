"""The account of ExpoPlatform, with two events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from sandbox.account import Account, Rows
from sandbox.expoplatform import ExpoPlatformSide
from sandbox.expoplatform_rows import ManyParticipants
from sandbox.facts import Change, Columns, EndlessPages, ShortPage, Statuses
from sandbox.side import Row
from sandbox.unified import Meeting, moment, person


def _no_rows_of_many(page: Row) -> None:
    page.update(data=[], total_items=5000)


def _one_page_of_many(page: Row) -> None:
    page.update(total_items=5000)


class ExpoPlatformAccount(Account):
    """If a row vanishes during an export, others may move to an earlier page and be missed. The
    totals show that, so rows are deleted at any time here too."""

    name, title = "expoplatform", "ExpoPlatform"
    side_type = ExpoPlatformSide
    side: ExpoPlatformSide
    auth_type = None
    key_words = "switched off after each show"
    access_words = "may not see event 10"
    has_oauth = False
    streams = ("expoplatform_meeting_participants",)
    list_path = "/expoplatform/api/v2/meetings/export"
    kinds = {
        "expoplatform_meeting_participants": {
            "created": "[?&]created_from",
            "modified": "[?&]last_modified_from",
        }
    }
    short_pages = (ShortPage("page=2&", 1),)
    endless_pages = (
        EndlessPages(_no_rows_of_many),
        EndlessPages(_one_page_of_many, ignored="page"),
    )
    columns = Columns(
        start="starts_at",
        updated="modified_at",
        created="created_at",
        stamps=("Last Modified", "Creation Time"),
        edited="status",
        typed="Remark",
    )
    statuses = Statuses(
        of=lambda row: row["status"],
        ahead=frozenset({"Pending", "Incoming"}),
        begun=frozenset({"Completed"}),
        marked=frozenset({"Completed"}),
        moved=(({"status": "Completed"}, "Confirmed"), ({"status": "Cancelled"}, "Cancelled")),
    )
    shown = ("status", "starts_at", "modified_at")
    quick = {"page_cap": 50}
    days = (1, 60)
    most_cpu = 3.0  # its rows are normalized
    events: tuple[int, ...] = (101, 102)

    def options(self) -> Row:
        return {"event_ids": list(self.events)}

    def take_access(self) -> None:
        self.side.keys = {key: {999} for key in self.side.keys}

    # ------------------------------------------------------------------ rows

    def generate(self, count: int) -> None:
        """Add half as many meetings, each with two participants."""
        for event in self.events:
            self.side.generate(event, count // 2 // len(self.events), self.chance.randrange(1000))

    def fill(self) -> None:
        for event in self.events:
            self.side.generate(event, meetings=30)

    def hold(self, count: int) -> None:
        self.events = (101,)
        rows = ManyParticipants(101, count, int(self.box.clock.now().timestamp()))
        self.side.list_rows = lambda *_: rows

    def keys(self) -> list[str]:
        return ["|".join(map(str, key)) for key in self.side.rows]

    def place(self, key: str) -> tuple[Any, ...]:
        event, meeting, account = key.split("|")
        return int(event), meeting, account

    def insert(self, start: datetime, **fields: Any) -> str:
        event = self.chance.choice(self.events)
        accounts = self.chance.sample(range(1000, 1100), 2)
        fields["starts"] = int(start.timestamp())
        return f"{event}|{self.side.insert(event, accounts, **fields)}|{accounts[0]}"

    def reschedule(self, key: str, start: datetime) -> None:
        event, meeting, _ = self.place(key)
        self.side.reschedule(event, meeting, int(start.timestamp()))

    def delete(self, key: str) -> None:
        self.side.delete_participant(*self.place(key))
        self._gone.add(key)

    def change(self) -> None:
        self.box.clock.advance(seconds=self.chance.uniform(0, 2))  # stamps are whole seconds
        super().change()

    def demo_changes(self) -> list[Change]:
        now = self.box.clock.now().timestamp()
        keys = [
            key
            for key, row in zip(self.keys(), self.side.rows.values())
            if row.status == "Confirmed" and row.starts > now
        ]
        one, two, three, last = keys[0], keys[len(keys) // 2], keys[-2], keys[-1]
        moved = self.side.rows[self.place(last)].starts + 86_400
        start = datetime.fromtimestamp(moved, timezone.utc)
        return [
            Change("cancelled by one", lambda: self.cancel(one), one),
            Change("cancelled by one", lambda: self.cancel(two), two),
            Change("set back to pending", lambda: self.edit(three, status="Pending"), three),
            Change("rescheduled", lambda: self.reschedule(last, start), last),
            Change("booked", lambda: self.side.insert(101)),
        ]

    # ------------------------------------------------------------------ truth

    @property
    def tables(self) -> dict[str, Callable[[], Rows]]:
        return {"expoplatform_meeting_participants": self.side.truth}

    def comparable(self, stream: str, rows: Rows) -> Rows:
        """Only the columns of the truth, without `raw` and other fields read from it."""
        return {key: {name: row.get(name) for name in _COLUMNS} for key, row in rows.items()}

    def served(self, row: Row, key: str) -> bool:
        meeting, account = (row.get(name) for name in ("Meeting ID", "Account ID"))
        return f"{meeting}|{account}" == key.partition("|")[2]

    def typed(self, record: Row) -> Any:
        return record["raw"][self.columns.typed]

    # ------------------------------------------------------------------ requests

    def aim_of_first_sync(self, rows: int, slices: int) -> str:
        return str(math.ceil(rows / 500) + len(self.events))

    def aim_of_later_sync(self, changes: int) -> str:
        return str(2 * len(self.events) + changes // 500)

    # ------------------------------------------------------------------ dbt

    def add_awkward(self) -> None:
        person = {"Account Email": "Ada@Example.com", "Account Name": "Ada"}
        who = {**person, "Meeting Role": "Initiator"}
        self.side.insert(101, accounts=(1, 2), meeting_id="90001", **who)
        self.side.insert(101, accounts=(1, 2), meeting_id="90002", status="Declined")

    def change_awkward(self) -> None:
        self.side.cancel(101, "90001")
        self.side.edit(101, "90002", "1", status="Confirmed")

    def unified(self) -> Iterator[Meeting]:
        meetings: dict[tuple[str, str], list[Row]] = {}
        for row in self.side.truth().values():
            meetings.setdefault((str(row["event_id"]), row["meeting_id"]), []).append(row)
        for (event, id), rows in meetings.items():
            columns = {
                "status": _status(rows),
                "outcome": _outcome(rows),
                "status_raw": ", ".join(sorted({row["status"] for row in rows})),
                "starts_at": moment(rows[0]["starts_at"]),
                "calendar_id": event,
                "created_at": moment(rows[0]["created_at"]),
                "updated_at": moment(max(row["modified_at"] for row in rows)),
            }
            yield Meeting(id, columns, [self._person(row) for row in rows], event)

    def _person(self, row: Row) -> Row:
        fields = self.side.rows[row["event_id"], row["meeting_id"], row["account_id"]].fields
        return person(
            _ANSWERS.get(row["status"], "unknown"),
            row["status"],
            fields.get("Account Email"),
            fields.get("Account Name"),
            {"Initiator": True, "Receiver": False}.get(fields.get("Meeting Role", "")),
            row["account_id"],
        )


_COLUMNS = (
    "event_id",
    "meeting_id",
    "account_id",
    "status",
    "created_at",
    "last_modified_at",
    "modified_at",
    "starts_at",
)
_ANSWERS = {
    "Pending": "needs_action",
    "Incoming": "needs_action",
    "Confirmed": "accepted",
    "Cancelled": "declined",
    "Declined": "declined",
    "Completed": "attended",
}


def _status(rows: list[Row]) -> str:
    """A meeting's status, from those of its participants."""
    statuses = {row["status"] for row in rows}
    answers = {_ANSWERS.get(status, "unknown") for status in statuses}
    if answers & {"accepted", "needs_action"}:
        return "scheduled"
    if "attended" in answers:
        return "completed"
    if "unknown" in answers:
        return "unknown"
    return "cancelled" if "Cancelled" in statuses else "declined"


def _outcome(rows: list[Row]) -> str:
    """A meeting's outcome. It was held if it was held for one participant."""
    if any(_ANSWERS.get(row["status"]) == "attended" for row in rows):
        return "held"
    return "cancelled" if _status(rows) in ("cancelled", "declined") else "unknown"
