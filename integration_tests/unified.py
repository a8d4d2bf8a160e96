"""The rows that the two dbt models should have for some accounts.

The key of `meetings` is (provider, event of ExpoPlatform, provider's id). That of
`meeting_attendees` also has the person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from sandbox.accounts import Account

Json = dict[str, Any]
Key = tuple[str, ...]
Accounts = Mapping[str, Account]

COLUMNS = [
    "title",
    "description",
    "status",
    "status_raw",
    "outcome",
    "outcome_name",
    "starts_at",
    "ends_at",
    "is_past",
    "duration_seconds",
    "is_all_day",
    "location",
    "conference_url",
    "owner_id",
    "owner_name",
    "account_id",
    "contact_id",
    "calendar_id",
    "calendar_provider",
    "provider_calendar_event_id",
    "ical_uid",
    "is_recurring",
    "recurring_meeting_id",
    "has_transcript",
    "transcript_summary",
    "created_at",
    "updated_at",
    "cancelled_at",
    "is_deleted",
]


def meetings(accounts: Accounts) -> dict[Key, Json]:
    empty = {**dict.fromkeys(COLUMNS), "is_deleted": False}
    return {
        (name, meeting.event, meeting.id): {**empty, **meeting.row, "is_past": is_past(meeting.row)}
        for name, account in accounts.items()
        for meeting in account.unified()
    }


def is_past(row: Json) -> bool | None:
    """Return whether a meeting has ended by this machine's clock, which the warehouse uses too."""
    last = row.get("ends_at") or row.get("starts_at")
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    return datetime.fromisoformat(last) < now if last else None


def attendees(accounts: Accounts) -> dict[Key, list[Json]]:
    """Return the people of each meeting, in the order of their addresses and ids."""
    return {
        (name, meeting.event, meeting.id): in_order(meeting.people)
        for name, account in accounts.items()
        for meeting in account.unified()
        if meeting.people
    }


def in_order(people: Iterable[Json]) -> list[Json]:
    return sorted(people, key=lambda row: (row["email"] or "", row["provider_person_id"] or ""))
