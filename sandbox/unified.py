"""How accounts describe what the two dbt models should contain for their meetings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import parse_time
from sandbox.side import Row


@dataclass(frozen=True)
class Meeting:
    """`id`: the provider's. `event`: ExpoPlatform's event. The id is unique only within it.

    `row`: the columns of `meetings` that are not null. `people`: rows of `meeting_attendees`, see
    `person`.
    """

    id: str
    row: Row
    people: list[Row] = field(default_factory=list)
    event: str = ""


def person(
    answer: str,
    raw: str | None,
    email: str | None = None,
    name: str | None = None,
    organizer: bool | None = None,
    id: Any = None,
) -> Row:
    """Someone who was invited. `answer` is in the words of the model, `raw` in the provider's."""
    return {
        "email": email.lower() if email else None,
        "name": name or None,
        "is_organizer": organizer,
        "response": answer,
        "response_raw": raw,
        "provider_person_id": None if id is None else str(id),
    }


def moment(text: str | None) -> str | None:
    """The time as the warehouse returns it: in UTC, without a zone."""
    return str(parse_time(text).replace(tzinfo=None)) if text else None


def seconds(row: Row, start: str, end: str) -> int | None:
    if not row.get(start) or not row.get(end):
        return None
    return int((parse_time(row[end]) - parse_time(row[start])).total_seconds())


def link(text: str | None) -> str | None:
    return text if text and text.startswith(("http://", "https://")) else None


def first(items: Iterable[Any] | None) -> Any:
    return next(iter(items or ()), None)
