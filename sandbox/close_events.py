"""Close's event log. Its events may change in place, appear late, and expire after 30 days.

https://developer.close.com/api/resources/events and its list page.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import iso_micros
from sandbox.close_rows import ORGANIZATION, SECOND, mix
from sandbox.side import Row

Position = tuple[int, int]  # date_updated in microseconds, number of the version


@dataclass(eq=False)
class Version:
    """An event as it was at one `date_updated`, shown from `visible` on."""

    date_updated: int
    number: int
    visible: int
    event: Event
    changed_fields: list[str]
    data: Row | None
    previous_data: Row

    @property
    def position(self) -> Position:
        return self.date_updated, self.number

    def shown(self, now: int) -> bool:
        """Whether the log now shows this version of its event."""
        if self.visible > now:
            return False
        newer = self.event.versions[self.event.versions.index(self) + 1 :]
        return not any(version.visible <= now for version in newer)


@dataclass(eq=False)
class Event:
    id: str
    action: str
    object_type: str
    object_id: str
    lead_id: str | None
    user_id: str | None
    request_id: str
    date_created: int
    meta: Row
    versions: list[Version] = field(default_factory=list)

    def as_row(self, version: Version, with_data: bool) -> Row:
        """Observed: the times of events have no offset, unlike all other times."""
        row: dict[str, Any] = {
            "id": self.id,
            "action": self.action,
            "object_type": self.object_type,
            "object_id": self.object_id,
            "lead_id": self.lead_id,
            "organization_id": ORGANIZATION,
            "user_id": self.user_id,
            "request_id": self.request_id,
            "api_key_id": None,
            "oauth_client_id": None,
            "oauth_scope": None,
            "date_created": iso_micros(self.date_created)[:-1],
            "date_updated": iso_micros(version.date_updated)[:-1],
            "changed_fields": version.changed_fields,
            "meta": self.meta,
        }
        if with_data and version.data is not None:
            row |= {"data": version.data, "previous_data": version.previous_data}
        return row


class EventLog:
    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self._versions: list[Version] = []  # ascending by position
        self._last: dict[str, Event] = {}  # the last event of each object
        self._numbers = 0

    def add(
        self,
        action: str,
        object_type: str,
        object_id: str,
        *,
        moment: int,
        lead_id: str | None = None,
        user_id: str | None = None,
        changed: Iterable[str] = (),
        data: Row | None = None,
        previous: Row | None = None,
        meta: Row | None = None,
        delay: float = 0,
        consolidate: float = 0,
    ) -> Event:
        """`delay`: the most seconds it takes to appear. `consolidate`: seconds within which an
        update is merged into the last update's event, which keeps its id and `date_created`."""
        self._numbers += 1
        number = self._numbers
        event = self._last.get(object_id)
        names = list(changed)
        if (
            event is not None
            and event.action == action == "updated"
            and 0 <= moment - event.versions[-1].date_updated <= consolidate * SECOND
        ):
            names = list(dict.fromkeys([*event.versions[-1].changed_fields, *names]))
        else:
            event = Event(
                f"ev_{mix(number, 3):016x}{number:08}",
                action,
                object_type,
                object_id,
                lead_id,
                user_id,
                f"req_{mix(number, 4):016x}",
                moment,
                meta or {"request_method": "PUT", "request_path": "/api/v1/activity/meeting/"},
            )
            self.events[event.id] = event
            self._last[object_id] = event
        visible = moment + mix(number, 5) % (int(delay * SECOND) + 1)
        version = Version(moment, number, visible, event, names, data, previous or {})
        event.versions.append(version)
        insort(self._versions, version, key=lambda version: version.position)
        return event

    def page(
        self,
        keep: Callable[[Event], bool],
        low: int,
        high: int,
        before: Position | None,
        limit: int,
        now: int,
    ) -> tuple[list[Version], Position | None]:
        """Versions with `low <= date_updated < high`, newest first, and the next page's bound."""
        stop = (high, 0) if before is None else min(before, (high, 0))
        index = bisect_left(self._versions, stop, key=lambda version: version.position)
        found: list[Version] = []
        while index > 0:
            index -= 1
            version = self._versions[index]
            if version.date_updated < low:
                break
            if keep(version.event) and version.shown(now):
                if len(found) == limit:
                    return found, found[-1].position
                found.append(version)
        return found, None
