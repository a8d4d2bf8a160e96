"""What the demo does with each provider. To add one: a function of edits and an entry below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """`action` of the sandbox's control interface with `arguments`; `words` say it to people."""

    words: str
    action: str
    arguments: Row


@dataclass(frozen=True)
class Provider:
    """`name` is that of the configuration and of the sandbox; `stream` the one that is compared.

    `key`: its primary key. `shown`: the columns in the tables on the terminal.
    `settings`: from what the sandbox says of the provider, the `provider` of the configuration.
    `edits`: from the sandbox's rows, in order of creation, what to change between the two reads.
    """

    name: str
    title: str
    stream: str
    key: str
    shown: tuple[str, ...]
    settings: Callable[[Mapping[str, Any]], Row]
    edits: Callable[[list[Row]], list[Edit]]
    generate: Row = field(default_factory=lambda: {"count": 1000})


def later(moment: str, **by: float) -> str:
    """RFC 3339 in UTC, moved on, written as `2026-06-01T09:30:00.000000Z`."""
    parsed = datetime.fromisoformat(moment.replace("Z", "+00:00")) + timedelta(**by)
    return parsed.isoformat(timespec="microseconds").replace("+00:00", "Z")


def salesloft_settings(state: Mapping[str, Any]) -> Row:
    credentials = {"auth_type": "api_key", "api_key": state["api_keys"][0]}
    return {"base_url": state["base_url"], "credentials": credentials}


def salesloft_edits(rows: list[Row]) -> list[Edit]:
    active = [row for row in rows if not row["canceled_at"]]
    oldest, middle, newest, second = active[0], active[len(active) // 2], active[-1], active[-2]
    moved = {name: later(newest[name], days=1) for name in ("start_time", "end_time")}
    return [
        Edit("oldest: renamed", "edit", {"id": oldest["id"], "title": "Kick-off (renamed)"}),
        Edit("old: renamed", "edit", {"id": middle["id"], "title": "Review, with notes"}),
        Edit("rescheduled", "edit", {"id": newest["id"], **moved}),
        Edit("cancelled", "cancel", {"id": second["id"]}),
        Edit("booked", "insert", {"title": "Newly booked"}),
    ]


PROVIDERS = [
    Provider(
        name="salesloft",
        title="Salesloft",
        stream="salesloft_meetings",
        key="id",
        shown=("title", "start_time", "canceled_at"),
        settings=salesloft_settings,
        edits=salesloft_edits,
    ),
]
