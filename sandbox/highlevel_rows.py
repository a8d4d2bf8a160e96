"""HighLevel events that are made on request, so a million events take no memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from sandbox.side import Row

_YEARS, _DAYS_AHEAD = 3, 60


class ManyEvents:
    """`count` events in these calendars, evenly spaced from 3 years before `now` to 60 days after.

    Set `HighLevelSide.list_events` to `between`.
    """

    def __init__(self, calendars: dict[str, Row], count: int, now: datetime) -> None:
        self._calendars, self._now = calendars, now
        first = int((now - timedelta(days=_YEARS * 365)).timestamp() * 1000)
        last = int((now + timedelta(days=_DAYS_AHEAD)).timestamp() * 1000)
        self._starts = range(first, last, (last - first) * len(calendars) // count)

    def between(self, calendars: Iterable[str], start: int, end: int) -> list[Row]:
        first, step = self._starts.start, self._starts.step
        numbers = range(max(0, -(-(start - first) // step)), max(0, -(-(end - first) // step)))
        return [
            self._row(calendar, number)
            for calendar in calendars
            for number in numbers
            if number < len(self._starts)
        ]

    def _row(self, id: str, number: int) -> Row:
        calendar = self._calendars[id]
        start = datetime.fromtimestamp(self._starts[number] / 1000, timezone.utc)
        changed = min(start - timedelta(days=3), self._now).isoformat(timespec="seconds")
        return {
            "id": f"evt{id[-4:]}{number:012d}",
            "title": "Intro call",
            "calendarId": id,
            "locationId": calendar["locationId"],
            "contactId": f"con{number:017d}",
            "groupId": calendar["groupId"],
            "appointmentStatus": "confirmed",
            "assignedUserId": f"usr{number % 9:017d}",
            "users": [f"usr{number % 9:017d}"],
            "address": f"https://meet.example.com/{number}",
            "notes": "",
            "isRecurring": False,
            "startTime": start.isoformat(timespec="seconds"),
            "endTime": (start + timedelta(minutes=30)).isoformat(timespec="seconds"),
            "dateAdded": changed,
            "dateUpdated": changed,
            "assignedResources": [],
            "createdBy": {"userId": None, "source": "booking_widget"},
        }
