"""What the two dbt models should hold, told in Python from what the sandbox holds.

A row of `meetings` by (provider, calendar of ExpoPlatform, provider's id); one of
`meeting_attendees` by that and the person.
"""

from __future__ import annotations

from typing import Any

from sandbox import Sandbox
from source_meetings import timestamps

Json = dict[str, Any]
Key = tuple[str, ...]

COLUMNS = [
    "title",
    "description",
    "status",
    "status_raw",
    "starts_at",
    "ends_at",
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
    "outcome",
    "has_transcript",
    "transcript_summary",
    "created_at",
    "updated_at",
    "cancelled_at",
    "is_deleted",
]

CLOSE = {
    "upcoming": "scheduled",
    "in-progress": "in_progress",
    "completed": "completed",
    "canceled": "cancelled",
    "declined-by-org": "declined",
    "declined-by-lead": "declined",
}
CLOSE_ANSWERS = {
    "noreply": "needs_action",
    "yes": "accepted",
    "no": "declined",
    "maybe": "tentative",
}
SALESLOFT = {"booked": "scheduled", "pending": "scheduled", "retry": "scheduled"}
SALESLOFT_ANSWERS = {
    "needsAction": "needs_action",
    "accepted": "accepted",
    "tentative": "tentative",
    "declined": "declined",
}
HIGHLEVEL = {
    "new": "scheduled",
    "confirmed": "scheduled",
    "showed": "completed",
    "completed": "completed",
    "cancelled": "cancelled",
    "noshow": "no_show",
}
HIGHLEVEL_ANSWERS = {
    "new": "needs_action",
    "confirmed": "accepted",
    "showed": "attended",
    "noshow": "no_show",
}
EXPOPLATFORM_ANSWERS = {
    "Pending": "needs_action",
    "Incoming": "needs_action",
    "Confirmed": "accepted",
    "Cancelled": "declined",
    "Declined": "declined",
    "Completed": "attended",
}


def moment(text: str | None) -> str | None:
    """As the warehouse's answer has it: UTC, without a zone."""
    return str(timestamps.parse(text).replace(tzinfo=None)) if text else None


def seconds(row: Json, start: str, end: str) -> int | None:
    if not row.get(start) or not row.get(end):
        return None
    return int((timestamps.parse(row[end]) - timestamps.parse(row[start])).total_seconds())


def link(text: str | None) -> str | None:
    return text if text and text.startswith(("http://", "https://")) else None


def first(items: Any) -> Any:
    return items[0] if items else None


def meetings(box: Sandbox) -> dict[Key, Json]:
    rows: dict[Key, Json] = {}
    outcomes = {outcome["id"]: outcome["name"] for outcome in box.close.outcomes}
    transcripts = box.close.transcripts()
    for id, row in box.close.truth().items():
        over = timestamps.parse(row["ends_at"]) <= box.clock.now()
        found = transcripts.get(id) if over or row["status"] == "completed" else None
        summary = (row.get("summary") or {}).get("text")
        rows["close", "", id] = {
            "title": row["title"],
            "description": row["note"],
            "status": CLOSE[row["status"]],
            "status_raw": row["status"],
            "starts_at": moment(row["starts_at"]),
            "ends_at": moment(row["ends_at"]),
            "duration_seconds": row["duration"],
            "location": row["location"],
            "conference_url": (first(row.get("conference_links")) or {}).get("url")
            or link(row["location"]),
            "owner_id": row["user_id"],
            "owner_name": row["user_name"],
            "account_id": row["lead_id"],
            "contact_id": row["contact_id"],
            "calendar_id": first(row.get("provider_calendar_ids")),
            "calendar_provider": row.get("provider_calendar_type"),
            "provider_calendar_event_id": row.get("provider_calendar_event_id"),
            "ical_uid": first(row.get("calendar_event_uids")),
            "is_recurring": row["is_recurring"],
            "outcome": outcomes.get(row.get("outcome_id"), row.get("outcome_id")),
            "has_transcript": bool(found),
            "transcript_summary": summary or (found[0] or {}).get("summary_text")
            if found
            else summary,
            "updated_at": moment(row["date_updated"]),
        }
    for id, row in box.salesloft.truth().items():
        rows["salesloft", "", id] = {
            "title": row["title"],
            "description": row["description"],
            "status": "cancelled"
            if row["canceled_at"]
            else "no_show"
            if row["no_show"]
            else SALESLOFT.get(row["status"], "unknown"),
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
    for id, row in box.highlevel.truth().items():
        rows["highlevel", "", id] = {
            "title": row["title"],
            "description": row.get("description") or row.get("notes"),
            "status": HIGHLEVEL.get(row["appointmentStatus"], "unknown"),
            "status_raw": row["appointmentStatus"],
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
    for event, id, participants in expoplatform(box):
        answers = {EXPOPLATFORM_ANSWERS.get(row["status"], "unknown") for row in participants}
        statuses = {row["status"] for row in participants}
        rows["expoplatform", event, id] = {
            "status": "scheduled"
            if answers & {"accepted", "needs_action"}
            else "completed"
            if "attended" in answers
            else "unknown"
            if "unknown" in answers
            else "cancelled"
            if "Cancelled" in statuses
            else "declined",
            "status_raw": ", ".join(sorted(statuses)),
            "starts_at": moment(participants[0]["starts_at"]),
            "calendar_id": event,
            "created_at": moment(participants[0]["created_at"]),
            "updated_at": moment(max(row["modified_at"] for row in participants)),
        }
    for row in rows.values():
        row.setdefault("is_deleted", False)
        for name in COLUMNS:
            row.setdefault(name, None)
    return rows


def expoplatform(box: Sandbox) -> list[tuple[str, str, list[Json]]]:
    """Event, meeting, and its participants."""
    found: dict[tuple[str, str], list[Json]] = {}
    for row in box.expoplatform.truth().values():
        key = (str(row["event_id"]), row["meeting_id"])
        found.setdefault(key, []).append(row)
    return [(*key, rows) for key, rows in found.items()]


def person(
    answer: str,
    raw: str | None,
    email: str | None = None,
    name: str | None = None,
    organizer: bool | None = None,
    id: Any = None,
) -> Json:
    return {
        "email": email.lower() if email else None,
        "name": name or None,
        "is_organizer": organizer,
        "response": answer,
        "response_raw": raw,
        "provider_person_id": None if id is None else str(id),
    }


def attendees(box: Sandbox) -> dict[Key, list[Json]]:
    """By meeting, its people in the order of their addresses and ids."""
    people: dict[Key, dict[str, Json]] = {}
    for id, row in box.close.truth().items():
        for one in row["attendees"]:
            people.setdefault(("close", "", id), {})[one["email"].lower()] = person(
                CLOSE_ANSWERS[one["status"]],
                one["status"],
                one["email"],
                one["name"],
                one["is_organizer"],
                one["contact_id"] or one["user_id"],
            )
    for id, row in box.salesloft.truth().items():
        there: dict[str, Json] = {}
        removed = set()
        for one in row["attendees"]:
            if one["deleted_at"]:
                removed.add(one["email"].lower())
                continue
            found = person(
                SALESLOFT_ANSWERS[one["status"]],
                one["status"],
                one["email"],
                one["name"],
                one["organizer"],
                (one["person"] or {}).get("id"),
            )
            there.setdefault(one["email"].lower(), found)
        recipient = (row["recipient_email"], row["recipient_name"], (row["person"] or {}).get("id"))
        for email, name, person_id in [
            recipient,
            *((guest, None, None) for guest in row["guests"]),
        ]:
            if email and email.lower() not in removed:
                found = person("unknown", None, email, name, None, person_id)
                there.setdefault(email.lower(), found)
        people["salesloft", "", id] = there
    for id, row in box.highlevel.truth().items():
        status = row["appointmentStatus"]
        there = {}
        if row["contactId"]:
            there[row["contactId"]] = person(
                HIGHLEVEL_ANSWERS.get(status, "unknown"),
                status,
                name=row.get("contactName"),
                organizer=False,
                id=row["contactId"],
            )
        if row["assignedUserId"]:
            found = person("unknown", None, organizer=True, id=row["assignedUserId"])
            there.setdefault(row["assignedUserId"], found)
        for user in row.get("users") or []:
            there.setdefault(user, person("unknown", None, organizer=False, id=user))
        people["highlevel", "", id] = there
    for event, id, participants in expoplatform(box):
        for row in participants:
            fields = box.expoplatform.rows[int(event), id, row["account_id"]].fields
            people.setdefault(("expoplatform", event, id), {})[row["account_id"]] = person(
                EXPOPLATFORM_ANSWERS.get(row["status"], "unknown"),
                row["status"],
                fields.get("Account Email"),
                fields.get("Account Name"),
                {"Initiator": True, "Receiver": False}.get(fields.get("Meeting Role", "")),
                row["account_id"],
            )
    return {key: in_order(there.values()) for key, there in people.items() if there}


def in_order(people: Any) -> list[Json]:
    return sorted(people, key=lambda row: (row["email"] or "", row["provider_person_id"] or ""))
