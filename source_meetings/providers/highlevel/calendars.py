"""The calendars of a location, and the lists of their events.

- ``GET /calendars/events`` takes ``locationId``, ``calendarId``, and ``startTime`` and ``endTime``
  in epoch milliseconds; it has no pages, no total, and no filter on ``dateUpdated``:
  https://github.com/GoHighLevel/highlevel-api-docs (apps/calendars.json)
- It returns events that start after ``endTime``, leaves ``events`` out of an empty answer, and
  returns nothing for ISO times (observed in public code). One project suspects that answers
  silently end at a hundred events (not proven).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from source_meetings.sync.reading import Answer, Api, Misconfigured, Row
from source_meetings.timestamps import millis_or_none

LOGGER = logging.getLogger("airbyte.source_meetings")

_SUSPICIOUS = 100  # answers with a multiple of this may be truncated


@dataclass(frozen=True)
class Calendars:
    """The calendars of the configured location.

    ``ids`` are those to read, active ones first: the first answer of a sync should contain recent
    changes. ``clock`` is HighLevel's time when they were listed.
    """

    ids: list[str]
    clock: datetime


class Location:
    """Requests the data of the configured location. ``stream`` is a name for the log."""

    def __init__(self, api: Api, config: Mapping[str, Any], stream: str) -> None:
        self._api = api
        self._provider: Mapping[str, Any] = config["provider"]
        self._chosen: list[str] = self._provider.get("calendar_ids") or []
        self._stream = stream

    def calendars(self) -> Calendars:
        """List the calendars, including inactive ones.

        They are listed even if the configuration names calendars. This shows configured names that
        do not exist, and HighLevel's own clock.
        """
        answer = self._get("calendars", {"showDrafted": "true"})
        listed = calendar_ids(answer)
        for id in self._chosen:
            if id not in listed:
                LOGGER.warning(
                    "Stream %s: the location lists no calendar %s; its events are requested "
                    "anyway. Correct provider.calendar_ids if it is a mistake.",
                    self._stream,
                    id,
                )
        if not listed and not self._chosen:
            LOGGER.warning("Stream %s: the location has no calendars.", self._stream)
        return Calendars(list(dict.fromkeys(self._chosen or listed)), answer.clock)

    def events(self, calendar: str, start: int, end: int) -> Answer:
        """List the events of a calendar that start in a window, in epoch milliseconds.

        Raises Misconfigured if the calendar does not exist.
        """
        window = {"calendarId": calendar, "startTime": str(start), "endTime": str(end)}
        answer = self._get("events", window)
        if answer.body is None and not self._is_gone(calendar):
            raise Misconfigured(
                "the calendar or endpoint does not exist (404). Check provider.calendar_ids, and "
                "leave base_url at its default."
            )
        return answer

    def all_events(
        self, calendar: str, start: int, end: int, known: Answer | None = None
    ) -> Iterator[Answer]:
        """Yield the answer for a window. If it may be truncated, also yield those for its halves.

        The window is cut at the median of the starts that were shown. If the answer was truncated,
        one of the halves must show other events. If it does, the halves are cut again. ``known`` is
        the answer for the whole window, if it was already requested.
        """
        whole = known or self.events(calendar, start, end)
        yield whole
        if not whole.rows or len(whole.rows) % _SUSPICIOUS:
            return
        middle = _middle(whole.rows, start, end)
        if middle is None:
            return
        shown = {row["id"] for row in whole.rows}
        windows = ((start, middle), (middle, end))
        halves = [self.events(calendar, *window) for window in windows]
        if all(row["id"] in shown for half in halves for row in half.rows):
            return
        LOGGER.info(
            "Stream %s: HighLevel cut an answer off at %d events; reading shorter windows.",
            self._stream,
            len(whole.rows),
        )
        for window, half in zip(windows, halves):
            yield from self.all_events(calendar, *window, known=half)

    def _is_gone(self, calendar: str) -> bool:
        """Return whether a calendar listed at first is gone now: deleted, with its events."""
        if calendar in self._chosen or calendar in self.calendars().ids:
            return False
        LOGGER.info(
            "Stream %s: calendar %s was deleted meanwhile; skipped.", self._stream, calendar
        )
        return True

    def _get(self, endpoint: str, params: Mapping[str, str]) -> Answer:
        return self._api.get(endpoint, {"locationId": self._provider["location_id"], **params})


def calendar_ids(answer: Answer) -> list[str]:
    """Return the ids of an answer's calendars, active ones first."""
    active_first = sorted(answer.rows, key=lambda calendar: calendar.get("isActive") is False)
    return [str(calendar["id"]) for calendar in active_first]


def _middle(rows: list[Row], start: int, end: int) -> int | None:
    """Return where to cut a window: just after the median start, so that each half has rows."""
    starts = sorted(begins for row in rows if (begins := millis_or_none(row.get("startTime"))))
    median = starts[len(starts) // 2] if starts else (start + end) // 2
    for cut in (median + 1, median):
        if start < cut < end:
            return cut
    return None
