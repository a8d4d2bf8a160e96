"""Salesloft meetings made from a seed: timestamps at once, contents on request.

The shape is that of the vendor's reference and sample
(https://developers.salesloft.com/docs/api/meetings-index/ and
https://developers.salesloft.com/docs/platform/external-calendars/watch-for-meetings-created-through-salesloft/).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from sandbox.clock import iso_micros
from sandbox.side import Row
from sandbox.table import NULL

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_CONTENTS = 4096
_HREF = "https://api.salesloft.com/v2"
_GIVEN = ("Ada", "Björn", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Gus", "Hana", "Iñigo", "王芳")
_FAMILY = ("Adler", "Brooks", "Castillo", "Dubois", "Evans", "Fischer", "Grant", "O'Neill")
_TOPICS = ("Intro call", "Demo", "Pricing", "Kick-off", "Renewal", "Discovery", "Q&A", "")
_CALENDARS = ("gmail", "azure", "nylas", "linkedin_azure", "cerebro", "external")
_REPLIES = ("needsAction", "accepted", "tentative", "declined")
_STATUSES = ("booked",) * 13 + ("pending", "failed", "retry")


@dataclass(frozen=True)
class Stamps:
    """Timestamp columns in microseconds or NULL, in the order of `created_at`."""

    start_time: array[int]
    created_at: array[int]
    updated_at: array[int]
    canceled_at: array[int]


def make_stamps(count: int, seed: int, years: float, now: int) -> Stamps:
    random = Random(seed).random
    span = int(years * 365.25 * DAY)
    begin = now - span
    stamps = Stamps(*(array("q", bytes(8 * count)) for _ in range(4)))
    for index in range(count):
        created = begin + int(span * (index + random()) / count)
        start = created + int((1 + 30 * random() ** 2) * DAY)
        start -= start % (30 * MINUTE)  # meetings start on round times
        kind = random()
        updated = created + int((0.2 + 3 * random()) * SECOND)
        if kind < 0.4:  # touched once more when it was over
            over = start + HOUR + int(HOUR * random())
            updated = over if updated < over <= now else updated
        elif kind < 0.48:
            stamps.canceled_at[index] = updated = created + int((start - created) * random())
        stamps.start_time[index] = start if kind < 0.995 else NULL
        stamps.created_at[index] = created
        stamps.updated_at[index] = min(updated, now)
        if stamps.canceled_at[index]:
            stamps.canceled_at[index] = min(stamps.canceled_at[index], now)
    _touch_in_bulk(stamps, random, now)
    return stamps


def _touch_in_bulk(stamps: Stamps, random: Any, now: int) -> None:
    """Update a quarter of the rows in bulk, long after they were made.

    Observed in recorded output: two meetings of 2021-09 have an `updated_at` of 2022-07, 44 ms
    apart. Within one bulk update, the times are about a millisecond apart, or equal in batches,
    some of which are longer than a page.
    """
    count = len(stamps.created_at)
    run = min(count // 10, 2500)
    if run < 2:
        return
    batch = max(2, min(150, run // 2))
    for _ in range(max(1, count // (4 * run))):
        first = int(random() * (count - run))
        earliest = stamps.created_at[first + run - 1]
        when = earliest + int((now - earliest) * random())
        for index in range(first, first + run):
            if (index - first) % batch == 0:
                when += 1 + int(random() * 2000)
            stamps.updated_at[index] = min(when, now)


def make_row(
    id: int, seed: int, start: int, created: int, updated: int, canceled: int = NULL
) -> Row:
    """The meeting as the API shows it. Everything but the timestamps follows from id and seed.

    Read or copy the row, but do not change it: rows with the same contents share nested objects.
    """
    h = _hash(id, seed)
    row = _content(h % _CONTENTS).copy()
    row["id"] = id
    row["start_time"] = _iso(start)
    row["end_time"] = _iso(start + (30 + 30 * (h >> 33 & 1)) * MINUTE if start else NULL)
    row["created_at"] = _iso(created)
    row["updated_at"] = _iso(updated)
    row["canceled_at"] = _iso(canceled)
    if row["no_show"] and not NULL < start <= updated:
        row["no_show"] = False  # nobody has touched it since it began
    if h >> 42 & 15:
        row["event_id"] = f"evt{h:016x}"
        row["i_cal_uid"] = f"{h:016x}@example.com"
    # Documented as strings; observed as integers. Here it depends on the row.
    if h >> 25 & 3:
        row["task_id"] = 123_599 + id if id % 3 == 0 else str(123_599 + id)
    if id % 2 and row["account_id"] is not None:
        row["account_id"] = str(row["account_id"])
    if id % 5 and row["meeting_type_id"] is not None:
        row["meeting_type_id"] = str(row["meeting_type_id"])
    return row


@cache
def _content(number: int) -> Row:
    """What rows have in common: every field in the order of the reference, ids as integers."""
    h = _hash(number, 0)
    given, family = _GIVEN[h % 10], _FAMILY[h >> 4 & 7]
    person_id = 1_000_000 + number
    email = f"person{person_id}@example.com"
    calendar = f"user{h % 40}@example.com"
    internal = h >> 20 & 3 != 0
    meeting_type = None if h >> 27 & 3 == 0 else 40 + (h >> 29) % 6
    cadence = None if h >> 31 & 1 else 300 + (h >> 32) % 90
    row: Row = {
        "id": None,
        "title": _TOPICS[h >> 36 & 7],
        "start_time": None,
        "end_time": None,
        "calendar_id": calendar,
        "calendar_type": _CALENDARS[(h >> 39) % 6],
        "meeting_type_id": meeting_type,
        "meeting_type": None if meeting_type is None else f"Type {meeting_type}",
        "recipient_name": f"{given} {family}" if internal else None,
        "recipient_email": email if internal else None,
        "location": ("", f"https://meet.example.com/{number}", None)[h % 3],
        "description": ("", f"<p>Agenda with {given}</p>\n", None)[(h >> 5) % 3],
        "event_id": None,
        "account_id": None if h >> 22 & 7 == 0 else 2_000_000 + person_id % 800,
        "task_id": None,
        "created_at": None,
        "updated_at": None,
        "guests": [email] if h >> 45 & 1 else [],
        "attendees": [],
        "person": _link("people", person_id) if internal else None,
        "cadence": None if cadence is None else _link("cadences", cadence),
        "step": None if cadence is None else _link("steps", 10 * cadence + (h >> 46) % 7),
        "owned_by_user": _link("users", f"{h % 40:08x}-5a1e-4510-8f70-000000000000"),
        "booked_by_user": _link("users", f"{(h >> 14) % 40:08x}-5a1e-4510-8f70-000000000000"),
        "crm_references": None if h >> 47 & 1 else {"opportunity": f"006{number:012d}"},
        "crm": {} if h >> 48 & 1 else None,
        "crm_custom_fields": None if h >> 49 & 1 else {"Type": "Meeting", "Score": h % 100},
        "event_source": "internal" if internal else "external",
        "canceled_at": None,
        "all_day": h >> 50 & 31 == 0,
        "no_show": h >> 51 & 15 == 0,
        "strict_attribution": h >> 52 & 1 == 0,
        "i_cal_uid": None,
        "status": _STATUSES[h >> 53 & 15],
        "reschedule_status": "booked" if h >> 55 & 31 == 0 else None,
        "reschedule_guid": f"{h:016x}" if internal else None,
        "recurring": h >> 57 & 31 == 0,
        "last_occurrence_at": None,
        "undo_completion_count": 0,
        # Not in the reference; observed since 2025-08.
        "notes": None,
        "created_on_demand": False,
        "count_towards_meetings_attended_metric": True,
        "count_towards_meetings_booked_metric": internal,
    }
    for seat in range(h >> 58 & 3):
        reply = _REPLIES[(h + seat) & 3]
        row["attendees"].append(
            {
                "email": email if seat else calendar,
                "name": f"{given} {family}" if seat else "",
                "organizer": seat == 0,
                "status": reply,
                "status_changed": reply != "needsAction",
                "person": _link("people", person_id) if seat else None,
                "deleted_at": None,
            }
        )
    if row["recurring"]:  # both are omitted for single events
        row["recurrence"] = ["RRULE:FREQ=WEEKLY;COUNT=5"]
        row["recurring_interval"] = "Weekly"
    return row


def _link(resource: str, id: int | str) -> Row:
    return {"id": id, "_href": f"{_HREF}/{resource}/{id}"}


def _iso(micros: int) -> str | None:
    return None if micros == NULL else iso_micros(micros)


def _hash(id: int, seed: int) -> int:
    """64 bits that look random (splitmix64)."""
    h = (id + seed * 0x5851F42D4C957F2D) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    h = (h ^ h >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return h ^ h >> 31
