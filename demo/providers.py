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
    `edits`: from the sandbox's rows by key and the time, what to change between the two reads.
    """

    name: str
    title: str
    stream: str
    key: tuple[str, ...]
    shown: tuple[str, ...]
    settings: Callable[[Mapping[str, Any]], Row]
    edits: Callable[[dict[str, Row], datetime], list[Edit]]
    note: str = ""
    generate: Row = field(default_factory=lambda: {"count": 1000})


def parsed(moment: str) -> datetime:
    """An RFC 3339 time; Python 3.10 does not read the `Z`."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00"))


def ahead(moment: str | None, now: datetime) -> bool:
    """Whether a meeting that starts then is still to begin."""
    return moment is not None and parsed(moment) > now


def day_later(moment: str) -> str:
    return (parsed(moment) + timedelta(days=1)).isoformat()


def with_key(state: Mapping[str, Any]) -> Row:
    credentials = {"auth_type": "api_key", "api_key": state["api_keys"][0]}
    return {"base_url": state["base_url"], "credentials": credentials}


def salesloft_edits(rows: dict[str, Row], now: datetime) -> list[Edit]:
    kept = [row for row in rows.values() if row["start_time"] and not row["canceled_at"]]
    begun = [row["id"] for row in kept if not ahead(row["start_time"], now)]
    *_, second, newest = [row["id"] for row in kept if ahead(row["start_time"], now)]
    oldest, old = begun[0], begun[len(begun) // 2]
    missed = [id for id in begun if not rows[str(id)]["no_show"]][-1]
    moved = day_later(rows[str(newest)]["start_time"])
    return [
        Edit("oldest: renamed", "edit", {"id": oldest, "title": "Renamed"}, str(oldest)),
        Edit("old: renamed", "edit", {"id": old, "title": "Renamed, too"}, str(old)),
        Edit("rescheduled", "reschedule", {"id": newest, "start_time": moved}, str(newest)),
        Edit("cancelled", "cancel", {"id": second}, str(second)),
        Edit("marked as no-show", "edit", {"id": missed, "no_show": True}, str(missed)),
        Edit("booked", "insert", {"title": "Newly booked"}),
    ]


def close_edits(rows: dict[str, Row], now: datetime) -> list[Edit]:
    ids = list(rows)
    oldest, old = ids[0], ids[len(ids) // 2]
    *_, third, second, newest = [
        id for id in ids if rows[id]["status"] == "upcoming" and ahead(rows[id]["starts_at"], now)
    ]
    moved = day_later(rows[newest]["starts_at"])
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


def highlevel_edits(rows: dict[str, Row], now: datetime) -> list[Edit]:
    confirmed = [id for id, row in rows.items() if row["appointmentStatus"] == "confirmed"]
    begun = [id for id in confirmed if not ahead(rows[id]["startTime"], now)]
    *_, second, last = [id for id in confirmed if ahead(rows[id]["startTime"], now)]
    oldest, old = begun[0], begun[len(begun) // 2]
    moved = day_later(rows[last]["startTime"])
    return [
        Edit("renamed", "edit", {"id": oldest, "title": "Renamed"}, oldest),
        Edit("renamed", "edit", {"id": old, "title": "Renamed, too"}, old),
        Edit("rescheduled", "reschedule", {"id": last, "start": moved}, last),
        Edit("cancelled", "cancel", {"id": second}, second),
        Edit("booked", "insert", {"title": "Newly booked"}),
    ]


def expoplatform_settings(state: Mapping[str, Any]) -> Row:
    return {"base_url": state["base_url"], "api_key": state["api_keys"][0], "event_ids": [101]}


def expoplatform_edits(rows: dict[str, Row], now: datetime) -> list[Edit]:
    keys = [
        key
        for key, row in rows.items()
        if row["status"] == "Confirmed" and ahead(row["starts_at"], now)
    ]
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
