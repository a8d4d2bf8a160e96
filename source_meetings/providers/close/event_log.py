"""Close's event log: which meetings changed, and which were deleted.

- The log reaches 30 days back, lists the latest event first with at most 50 per page, requires
  ``action`` together with ``object_type``, and may show events up to five minutes late. An event
  may be changed in place, with a new ``date_updated``. Its times are UTC, without an offset:
  https://developer.close.com/api/resources/events
- A key may be allowed to read meetings but not the log (403), and the log without filters may be
  refused (400): assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from source_meetings import timestamps
from source_meetings.sync.clock import ahead_in_words, clamped, is_ahead
from source_meetings.sync.fingerprints import digest, unpack
from source_meetings.sync.look_back import LookBack
from source_meetings.sync.reading import (
    Answer,
    Api,
    ReadEverything,
    Row,
    State,
    Untrustworthy,
    UnusableState,
)

_MEETING = "activity.meeting"
# The most frequent action first: what it shows is known before the others are requested.
_ACTIONS = ("updated", "created", "deleted", "scheduled", "started", "completed", "canceled")
_MOST_IDLE_PAGES = 3  # in a row, that show nothing new
_A_MICROSECOND = timedelta(microseconds=1)
_CLOCK_SKEW = timedelta(minutes=10)


@dataclass
class Change:
    """The log's information on one meeting: its last event, or its deletion if there is one.

    ``moment`` is later than the meeting's own time of change, as far as the events show it, so that
    a tombstone outdates the row that is already in the table.
    """

    moment: datetime
    action: str | None = None
    lead_id: str | None = None
    organization_id: str | None = None

    @property
    def is_deletion(self) -> bool:
        return self.action == "deleted"

    def add(self, event: Row, moment: datetime) -> None:
        """Add an event of the same meeting. Events may arrive in any order."""
        for shown in (event.get("data"), event.get("previous_data")):
            updated = shown.get("date_updated") if isinstance(shown, dict) else None
            row_moment = timestamps.parse_or_none(updated)
            if row_moment is not None:
                moment = max(moment, row_moment + _A_MICROSECOND)
        self.moment = max(self.moment, moment)
        if not self.is_deletion:
            self.action = event.get("action")
            self.lead_id = event.get("lead_id")
            self.organization_id = event.get("organization_id")


class Changes:
    """The meetings that appear in events, by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, Change] = {}

    def add(self, event: Row) -> datetime | None:
        """Add an event. Returns its moment, or None if it is not about a meeting.

        Raises Untrustworthy if the event does not say when it happened, or what it is about.
        """
        moment, id = moment_of(event), event.get("object_id")
        if moment is None or not isinstance(id, str):
            raise Untrustworthy("an event has no usable date_updated or object_id.")
        if event.get("object_type", _MEETING) != _MEETING:
            return None
        self.by_id.setdefault(id, Change(moment)).add(event, moment)
        return moment


@dataclass(frozen=True)
class Newest:
    """The newest visible event, and Close's clock. ``closed``: no permission to read the log."""

    moment: datetime | None
    clock: datetime
    closed: bool = False


@dataclass
class LogReading:
    """What a sync has read of the log.

    ``closed``: no permission to read it. ``clock``: Close's time at the last answer. ``newest``:
    the newest event known. ``state``: the part of the next state that is about the log.

    ``overlapping`` are the versions of events that the next sync will see again. ``deletions`` are
    the meetings whose deletion is among these versions.
    """

    clock: datetime
    newest: datetime | None
    state: State
    closed: bool = False
    changes: dict[str, Change] = field(default_factory=dict)
    overlapping: list[bytes] = field(default_factory=list)
    deletions: dict[bytes, str] = field(default_factory=dict)


class _Closed(Exception):
    """The credentials may not read the log."""

    def __init__(self, clock: datetime) -> None:
        self.clock = clock


class EventLog:
    """Reads the log. ``days`` is how far back it is trusted to reach."""

    def __init__(self, api: Api, cursor_field: str, look_back: LookBack, days: int) -> None:
        self._api = api
        self._cursor_field = cursor_field
        self._look_back = look_back
        self._days = days

    def check(self, state: State) -> None:
        """Raise UnusableState if a state lacks what ``changes_since`` needs."""
        as_of = timestamps.parse_or_none(state.get(self._cursor_field))
        if as_of is None or as_of < timestamps.EPOCH or not isinstance(state.get("events"), dict):
            raise UnusableState

    def newest(self) -> Newest:
        """Return the stamp of the newest visible event, and Close's clock.

        The log without any filter is not a documented combination, though public connectors read
        it. If it is refused, the updates of meetings are read instead.
        """
        answer = self._api.get("log", {"_limit": "1"})
        if answer.status == HTTPStatus.BAD_REQUEST:
            answer = self._api.get("log", {**_of_action(_ACTIONS[0]), "_limit": "1"})
        if answer.body is None:
            return Newest(None, answer.clock, closed=answer.status == HTTPStatus.FORBIDDEN)
        stamps = [moment for event in answer.rows if (moment := moment_of(event)) is not None]
        return Newest(max(stamps, default=None), answer.clock)

    def state_at(self, newest: Newest) -> State:
        """Return the part of a state that says that everything up to ``newest`` is known."""
        events: State = {}
        if newest.moment is not None:
            moment = timestamps.iso(clamped(newest.moment, newest.clock))
            events = dict.fromkeys(_ACTIONS, moment)
        return {self._cursor_field: timestamps.iso(newest.clock), "events": events}

    def deletions(self) -> dict[str, Change]:
        """Return all deletions in the log, or none if the credentials may not read it."""
        changes = Changes()
        try:
            for page in self._pages("deleted", None):
                for event in page.rows:
                    changes.add(event)
        except _Closed:
            pass
        return changes.by_id

    def changes_since(self, state: State) -> LogReading:
        """Return what the log shows that a state does not include yet.

        An action's own newest event is a safe watermark. So is whatever another query had shown
        before this one was sent, because later events have later stamps.

        Raises ReadEverything if the log does not reach back that far.
        """
        known = {
            action: moment
            for action in _ACTIONS
            if (moment := timestamps.parse_or_none(state["events"].get(action))) is not None
        }
        before = shown = max(known.values(), default=None)
        reach = self._look_back.reach(state)
        seen_before = unpack(state.get("events_seen"))
        changes, old = Changes(), Changes()
        read: dict[bytes, datetime] = {}
        deletions: dict[bytes, str] = {}
        clocks: list[datetime] = []
        try:
            for action in _ACTIONS:
                bound = known[action] - reach if action in known else None
                newest = max(filter(None, (known.get(action), shown)), default=None)
                for page in self._pages(action, bound):
                    if not clocks:
                        self._refuse_old_state(state, page.clock)
                    clocks.append(page.clock)
                    for event in page.rows:
                        version = _version(event)
                        is_new = version not in seen_before
                        moment = (changes if is_new else old).add(event)
                        if moment is None:
                            continue
                        newest = max(filter(None, (newest, clamped(moment, page.clock))))
                        read[version] = moment
                        if is_new and event.get("action") == "deleted":
                            deletions[version] = event["object_id"]
                if newest is not None:
                    known[action] = shown = newest
        except _Closed as closed:
            return LogReading(closed.clock, before, dict(state), closed=True)
        self._refuse_a_gap(state, before, shown, clocks[-1])
        as_of = max(timestamps.parse(state[self._cursor_field]), clocks[-1])
        overlap = min(known.values(), default=as_of) - self._look_back.length
        return LogReading(
            clock=clocks[-1],
            newest=max(known.values(), default=None),
            state={
                self._cursor_field: timestamps.iso(as_of),
                "events": {action: timestamps.iso(moment) for action, moment in known.items()},
                **self._look_back.seen(
                    state, began=clocks[0], ended=clocks[-1], moved=before != shown
                ),
            },
            changes=changes.by_id,
            overlapping=[version for version, moment in read.items() if moment >= overlap],
            deletions=deletions,
        )

    def _pages(self, action: str, bound: datetime | None) -> Iterator[Answer]:
        """Yield pages of the meeting events of an action, latest first, down to ``bound``."""
        filters = _of_action(action)
        if bound is not None:
            filters["date_updated__gte"] = in_query(bound)
        cursor: str | None = None
        seen: set[bytes] = set()
        idle = 0
        while True:
            answer = self._api.get("log", filters, page=cursor)
            if answer.status == HTTPStatus.FORBIDDEN:
                raise _Closed(answer.clock)
            if answer.body is None:
                raise Untrustworthy("Close refused to list the events of one action (400).")
            yield answer
            cursor = answer.following
            moments = [moment for event in answer.rows if (moment := moment_of(event))]
            if not cursor or (bound and moments and max(moments) < bound):
                return
            shown = {_version(event) for event in answer.rows}
            idle = 0 if shown - seen else idle + 1
            if idle == _MOST_IDLE_PAGES:
                raise Untrustworthy("the pages of Close's event log do not end.")
            seen |= shown

    def _refuse_old_state(self, state: State, clock: datetime) -> None:
        as_of = timestamps.parse(state[self._cursor_field])
        if is_ahead(as_of, clock):
            raise ReadEverything(ahead_in_words(self._api.provider, clock))
        if as_of < clock - timedelta(days=self._days):
            raise ReadEverything(
                f"the last sync was {(clock - as_of).days} days ago and Close's event log reaches "
                "back 30 days; reading everything again. Meetings that were deleted before the "
                "log begins cannot be detected and stay in the table."
            )

    def _refuse_a_gap(
        self, state: State, before: datetime | None, newest: datetime | None, clock: datetime
    ) -> None:
        """Check the same with the events' own stamps, in case they follow a different clock."""
        if before is None or newest is None:
            return
        as_of = timestamps.parse(state[self._cursor_field])
        consistent = as_of - _CLOCK_SKEW <= newest <= clamped(newest, clock)
        if newest - before > timedelta(days=self._days) and not consistent:
            raise ReadEverything(
                "the events since the last sync span more than Close's event log holds; reading "
                "everything again."
            )


def in_query(moment: datetime) -> str:
    """Return a moment in the form of Close's own stamps, with the offset that its filters need.

    Without an offset, a filter uses the time zone of ``x-tz-offset``: https://developer.close.com/
    """
    return moment.astimezone(timestamps.UTC).isoformat()


def moment_of(event: Row) -> datetime | None:
    """Return when an event was last changed, if it says so."""
    return timestamps.since_1970(event.get("date_updated"))


def _version(event: Row) -> bytes:
    return digest([event.get("id"), event.get("date_updated")])


def _of_action(action: str) -> dict[str, Any]:
    return {"object_type": _MEETING, "action": action}
