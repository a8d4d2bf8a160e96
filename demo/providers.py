"""What the demo does with each provider. To add one: a function of edits and an entry below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """`action` of the sandbox's control interface with `arguments`; `words` say it to people.

    `row`: the primary key of the row that it changes, None if it makes one.
    """

    words: str
    action: str
    arguments: Row
    row: str | None = None


@dataclass(frozen=True)
class Provider:
    """`name` is that of the configuration and of the sandbox; `stream` the one that is compared.

    `key`: its primary key. `shown`: the columns in the tables on the terminal.
    `generate`: what the sandbox is to hold. `note`: what a reader of the table should know.
    `settings`: from what the sandbox says of the provider, the `provider` of the configuration.
    `edits`: from the sandbox's rows by key, what to change between the two reads.
    """

    name: str
    title: str
    stream: str
    key: tuple[str, ...]
    shown: tuple[str, ...]
    settings: Callable[[Mapping[str, Any]], Row]
    edits: Callable[[dict[str, Row]], list[Edit]]
    note: str = ""
    generate: Row = field(default_factory=lambda: {"count": 1000})


def later(moment: str, **by: float) -> str:
    """RFC 3339 in UTC, moved on, written as `2026-06-01T09:30:00.000000Z`."""
    parsed = datetime.fromisoformat(moment.replace("Z", "+00:00")) + timedelta(**by)
    return parsed.isoformat(timespec="microseconds").replace("+00:00", "Z")


def with_key(state: Mapping[str, Any]) -> Row:
    credentials = {"auth_type": "api_key", "api_key": state["api_keys"][0]}
    return {"base_url": state["base_url"], "credentials": credentials}


def salesloft_edits(rows: dict[str, Row]) -> list[Edit]:
    ids = [row["id"] for row in rows.values() if not row["canceled_at"]]
    oldest, old, third, second, newest = ids[0], ids[len(ids) // 2], *ids[-3:]
    row = rows[str(newest)]
    moved = {name: later(row[name], days=1) for name in ("start_time", "end_time")}
    return [
        Edit("oldest: renamed", "edit", {"id": oldest, "title": "Renamed"}, str(oldest)),
        Edit("old: renamed", "edit", {"id": old, "title": "Renamed, too"}, str(old)),
        Edit("rescheduled", "edit", {"id": newest, **moved}, str(newest)),
        Edit("cancelled", "cancel", {"id": second}, str(second)),
        Edit("marked as no-show", "edit", {"id": third, "no_show": True}, str(third)),
        Edit("booked", "insert", {"title": "Newly booked"}),
    ]


def close_edits(rows: dict[str, Row]) -> list[Edit]:
    ids = list(rows)
    oldest, old, third, second, newest = ids[0], ids[len(ids) // 2], *ids[-3:]
    moved = later(rows[newest]["starts_at"], days=1)
    return [
        Edit("oldest: renamed", "edit", {"id": oldest, "title": "Renamed"}, oldest),
        Edit("old: deleted", "delete", {"id": old}, old),
        Edit("rescheduled", "reschedule", {"id": newest, "starts_at": moved}, newest),
        Edit("cancelled", "cancel", {"id": second}, second),
        Edit("deleted", "delete", {"id": third}, third),
        Edit("booked", "insert", {"title": "Newly booked"}),
    ]


def highlevel_settings(state: Mapping[str, Any]) -> Row:
    token = state["access_tokens"][0]
    credentials = {"auth_type": "private_integration_token", "access_token": token}
    return {
        "base_url": state["base_url"],
        "location_id": state["location_id"],
        "credentials": credentials,
    }


def highlevel_edits(rows: dict[str, Row]) -> list[Edit]:
    ids = [id for id, row in rows.items() if row["appointmentStatus"] == "confirmed"]
    oldest, old, second, newest = ids[0], ids[len(ids) // 2], *ids[-2:]
    moved = later(rows[newest]["startTime"], days=1)
    return [
        Edit("renamed", "edit", {"id": oldest, "title": "Renamed"}, oldest),
        Edit("renamed", "edit", {"id": old, "title": "Renamed, too"}, old),
        Edit("rescheduled", "reschedule", {"id": newest, "start": moved}, newest),
        Edit("cancelled", "cancel", {"id": second}, second),
        Edit("booked", "insert", {"title": "Newly booked"}),
    ]


def expoplatform_settings(state: Mapping[str, Any]) -> Row:
    return {"base_url": state["base_url"], "api_key": state["api_keys"][0], "event_ids": [101]}


def expoplatform_edits(rows: dict[str, Row]) -> list[Edit]:
    keys = [key for key, row in rows.items() if row["status"] == "Confirmed"]
    one, two, three = keys[0], keys[len(keys) // 2], keys[-1]

    def of(key: str) -> Row:
        return {name: rows[key][name] for name in ("event_id", "meeting_id", "account_id")}

    return [
        Edit("cancelled by one", "cancel", of(one), one),
        Edit("cancelled by one", "cancel", of(two), two),
        Edit("set back to pending", "edit", {**of(three), "status": "Pending"}, three),
        Edit("booked", "insert", {"event_id": 101}),
    ]


PROVIDERS = [
    Provider(
        name="close",
        title="Close",
        stream="close_meetings",
        key=("id",),
        shown=("title", "starts_at", "status", "is_deleted"),
        settings=with_key,
        edits=close_edits,
    ),
    Provider(
        name="salesloft",
        title="Salesloft",
        stream="salesloft_meetings",
        key=("id",),
        shown=("title", "start_time", "canceled_at", "no_show"),
        settings=with_key,
        edits=salesloft_edits,
    ),
    Provider(
        name="highlevel",
        title="HighLevel",
        stream="highlevel_calendar_events",
        key=("id",),
        shown=("title", "startTime", "appointmentStatus"),
        settings=highlevel_settings,
        edits=highlevel_edits,
    ),
    Provider(
        name="expoplatform",
        title="ExpoPlatform",
        stream="expoplatform_meeting_participants",
        key=("event_id", "meeting_id", "account_id"),
        shown=("status", "modified_at"),
        settings=expoplatform_settings,
        edits=expoplatform_edits,
        generate={"event_id": 101, "meetings": 500},
    ),
]
