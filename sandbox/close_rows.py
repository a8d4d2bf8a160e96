"""Close meetings made from a seed: timestamps at once, contents on request.

The shape is that of the vendor's OpenAPI and sample
(https://developer.close.com/api/resources/activities/meetings) and of recorded answers.
"""

from __future__ import annotations

import base64
from array import array
from dataclasses import dataclass
from functools import cache
from random import Random

from sandbox.clock import iso_micros
from sandbox.side import Row

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ORGANIZATION = "orga_RbREgmiiwcr1w2b4cOnCMQaQPSIFxMqAD2Dh243uxcH"
CALENDAR = "eric@example.com"
# Observed: a row recorded in 2023 has none of these, though the reference calls them required.
NEWER_FIELDS = (
    "actual_duration",
    "attached_call_ids",
    "calendar_event_link",
    "comment_summary",
    "conference_links",
    "conversation_type_id",
    "conversation_type_reason",
    "notetaker_id",
    "outcome_autofill_confidence",
    "outcome_autofill_reasoning",
    "outcome_id",
    "outcome_reason",
    "playbook_id",
    "playbook_reason",
    "provider_calendar_event_id",
    "provider_calendar_ids",
    "provider_calendar_type",
    "summary",
    "user_note",
    "user_note_date_updated",
    "user_note_html",
    "user_note_mentions",
    "_paused_subscriptions",
)

STATUSES_OF_TIME = ("upcoming", "in-progress", "completed")

_CONTENTS = 4096
_GIVEN = ("Ada", "Björn", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Gus", "Hana", "Iñigo", "王芳")
_TOPICS = ("Intro call", "Demo", "Pricing", "Kick-off", "Renewal", "Discovery", "Q&A", "")
_REPLIES = ("noreply", "yes", "no", "maybe")
_LINKS = ("ZOOM", "GOOGLE_MEET", "MICROSOFT_TEAMS", "WEBEX")


@dataclass(frozen=True)
class Stamps:
    """Timestamp columns in microseconds, in the order of `created`, when Close made the row."""

    starts_at: array[int]
    created: array[int]
    date_updated: array[int]


def make_stamps(count: int, seed: int, years: float, now: int) -> Stamps:
    random = Random(seed).random
    span = int(years * 365.25 * DAY)
    begin = now - span
    stamps = Stamps(*(array("q", bytes(8 * count)) for _ in range(3)))
    for index in range(count):
        created = begin + int(span * (index + random()) / count)
        start = created + int((0.1 + 40 * random() ** 2) * DAY)
        kind = random()
        if kind < 0.05:  # the calendar was connected later: Close learns of a past meeting
            start = created - int(60 * DAY * random())
        start -= start % (30 * MINUTE)  # meetings start on round times, many at the same moment
        updated = created + int((0.2 + 3 * random()) * SECOND)
        over = start + HOUR + 3 * SECOND + int(SECOND * random())
        if kind > 0.2 and updated < over <= now:  # observed: the end of a meeting updates it
            updated = over
        if kind > 0.95:
            updated -= updated % SECOND  # a time without a fraction is served without one
        stamps.starts_at[index] = start
        stamps.created[index] = created
        stamps.date_updated[index] = min(updated, now)
    return stamps


def meeting_id(number: int) -> str:
    return f"acti_{mix(number, 1):016x}{mix(number, 2):016x}{number:011}"


def number_of(id: object) -> int | None:
    """The row number inside a meeting's id; None if no meeting ever has that id."""
    if not isinstance(id, str) or not id[-11:].isdecimal():
        return None
    number = int(id[-11:])
    return number if id == meeting_id(number) else None


def make_row(number: int, seed: int, start: int, created: int, updated: int, now: int) -> Row:
    """The meeting as the API shows it, except for `date_created`.

    `now` is when it was generated. It decides what is over and what is old. Read or copy the row,
    but do not change it: rows with the same contents share nested objects.
    """
    h = mix(number, seed)
    row = _content(h % _CONTENTS).copy()
    long = h >> 33 & 1
    end = start + (HOUR if long else 30 * MINUTE)
    event = f"evt{(h >> 40) % 50:04}" if row["is_recurring"] else f"evt{h:016x}"
    link = base64.urlsafe_b64encode(f"{event} {CALENDAR}".encode()).decode().rstrip("=")
    row["id"] = meeting_id(number)
    row["starts_at"] = row["activity_at"] = iso(start)
    row["ends_at"] = iso(end)
    row["duration"] = (end - start) // SECOND
    row["date_updated"] = iso(updated)
    row["status"] = (
        "canceled"
        if h >> 44 & 15 == 0
        else "declined-by-lead"
        if h >> 48 & 31 == 0
        else status_at(start, end, now)
    )
    row["calendar_event_uids"] = [event]
    if row["provider_calendar_type"]:
        row["provider_calendar_event_id"] = event
        row["calendar_event_link"] = f"https://www.google.com/calendar/event?eid={link}"
    if row["status"] == "completed" and h >> 53 & 1:
        row["actual_duration"] = row["duration"] - 60
        row["outcome_id"] = outcome_id(h % 3)
        row["outcome_reason"] = "user-selected"
    if row["status"] == "completed" and h >> 54 & 3 == 0:
        row["notetaker_id"] = f"note_{h:016x}"
        row["summary"] = {"html": "<p>Summary</p>", "text": "Summary"}
    if created < now - 400 * DAY or h >> 56 & 15 == 0:
        for name in NEWER_FIELDS:
            row.pop(name, None)
    return row


def status_at(start: int, end: int, now: int) -> str:
    return "upcoming" if now < start else "in-progress" if now < end else "completed"


def make_transcript(text: str) -> Row:
    """https://developer.close.com/api/resources/activities/meetings/get"""
    words = [{"text": word, "start": 0.1, "end": None} for word in text.split()]
    return {
        "id": f"trsc_{mix(len(text), 7):016x}",
        "has_speaker_labels": True,
        "summary_text": "Summary text",
        "summary_html": "<p>Summary text</p>",
        "speakers": [
            {
                "speaker_label": "John Lead",
                "speaker_side": "contact",
                "talk_percentage": 100.0,
                "talk_time": 1.1,
            }
        ],
        "utterances": [
            {
                "speaker_label": "John Lead",
                "speaker_side": "contact",
                "start": 0.1,
                "end": 1.2,
                "text": text,
                "words": words,
            }
        ],
    }


def outcome_id(number: int) -> str:
    return f"outcome_{mix(number, 11):016x}"


@cache
def _content(number: int) -> Row:
    """What rows have in common: every field of the reference."""
    h = mix(number, 0)
    user = f"user_{h % 40:04}Ova4RGFG7pztSeJiiMFdN7O2MFl71nD0uGO3bIO"
    contact = f"cont_{number:08}" if h >> 4 & 1 else None
    calendar = h >> 5 & 7 != 0
    invited = [
        {
            "contact_id": None,
            "email": CALENDAR,
            "is_organizer": True,
            "name": None,
            "status": "yes",
            "user_id": user,
        },
        {
            "contact_id": contact,
            "email": f"person{number}@example.com",
            "is_organizer": False,
            "name": _GIVEN[h % 10] if contact else None,
            "status": _REPLIES[h >> 8 & 3],
            "user_id": None,
        },
    ]
    url = f"https://meet.example.com/j/{number}"
    return {
        "id": None,
        "_type": "Meeting",
        "organization_id": ORGANIZATION,
        "lead_id": None if h >> 10 & 63 == 0 else f"lead_{h % 2000:08}sHR5",
        "contact_id": contact,
        "user_id": user,
        "user_name": "Eric Engoron",
        "users": [user],
        "title": _TOPICS[h >> 16 & 7],
        "note": ("", "──────────\nEric is inviting you\n──────────")[h >> 19 & 1],
        "location": (None, "", url)[h % 3],  # observed: null, though required
        "status": None,
        "source": "calendar" if calendar else "manual",
        "starts_at": None,
        "ends_at": None,
        "duration": None,
        "actual_duration": None,
        "activity_at": None,
        "date_updated": None,
        "created_by": user if h >> 20 & 1 else None,
        "created_by_name": "Eric Engoron" if h >> 20 & 1 else None,
        "updated_by": user if h >> 21 & 1 else None,
        "updated_by_name": "Eric Engoron" if h >> 21 & 1 else None,
        "is_recurring": h >> 22 & 15 == 0,
        "attendees": invited[: 1 + (h >> 26 & 1)],
        "attached_call_ids": [],
        "calendar_event_link": None,
        "calendar_event_uids": [],
        "conference_links": [{"type": _LINKS[h >> 27 & 3], "url": url}] if h >> 29 & 1 else [],
        "connected_account_id": "emailacct_OoSyqxjm1HbuxcRs" if calendar else None,
        "provider_calendar_event_id": None,
        "provider_calendar_ids": [CALENDAR] if calendar else [],
        "provider_calendar_type": "google" if calendar else None,
        "integrations": [],
        "notetaker_id": None,
        "summary": None,
        "outcome_id": None,
        "outcome_reason": None,
        "outcome_autofill_confidence": None,
        "outcome_autofill_reasoning": None,
        "playbook_id": None,
        "playbook_reason": None,
        "conversation_type_id": None,
        "conversation_type_reason": None,
        "user_note": None,
        "user_note_html": None,
        "user_note_date_updated": None,
        "user_note_mentions": [],
        "comment_summary": {"comment_count": 1, "thread_id": "th_1"} if h >> 30 & 7 == 0 else None,
        "_paused_subscriptions": [],
    }


def iso(micros: int) -> str:
    """Observed: `2022-11-12T18:00:00+00:00`, and with six digits where there is a fraction."""
    return iso_micros(micros)[:-1].removesuffix(".000000") + "+00:00"


def mix(number: int, seed: int) -> int:
    """64 bits that look random (splitmix64)."""
    h = (number + seed * 0x5851F42D4C957F2D) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    h = (h ^ h >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return h ^ h >> 31
