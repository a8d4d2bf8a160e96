"""Shared by the tests of the logic: an API in memory, rows that change, and a table.

No HTTP and no CDK. A test decides what is written between any two requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from source_meetings import timestamps
from source_meetings.sync.chain import Sync
from source_meetings.sync.reading import Answer, Reading, Row, Slice, State, Strategy

NOW = datetime(2026, 6, 1, 12, tzinfo=timestamps.UTC)


def at(**delta: float) -> datetime:
    """Return the time that many days, hours, minutes or seconds after ``NOW``."""
    return NOW + timedelta(**delta)


def text(**delta: float) -> str:
    """Return the same time as a string."""
    return timestamps.iso(at(**delta))


class Broken(Exception):
    """A request failed permanently."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    endpoint: str
    params: dict[str, str]
    page: str | int | None = None
    partition: dict[str, Any] = field(default_factory=dict)


class FakeApi:
    """An API in memory. Subclasses answer; tests write between two requests.

    ``now`` is the provider's time. It advances by ``tick`` with each request. The clock that
    strategies see is a ``Date`` header: in whole seconds, and ``skew`` ahead of ``now``.
    """

    provider = "Acme"

    def __init__(self, *, page_size: int = 2, tick: timedelta = timedelta(seconds=1)) -> None:
        self.asked: list[Asked] = []
        self.now = NOW
        self.tick = tick
        self.skew = timedelta()
        self.size = page_size
        self._writes: dict[int, list[Callable[[], object]]] = {}
        self._broken: set[int] = set()

    @property
    def clock(self) -> datetime:
        return (self.now + self.skew).replace(microsecond=0)

    def before(self, number: int, write: Callable[[], object]) -> None:
        """Run ``write`` before the request with this number (from 1) is answered."""
        self._writes.setdefault(number, []).append(write)

    def breaks_at(self, number: int) -> None:
        """Make the request with this number fail."""
        self._broken.add(number)

    def repair(self) -> None:
        """Make no further request fail."""
        self._broken.clear()

    def forget(self) -> None:
        """Start counting requests from one again."""
        self.asked = []

    def get(
        self,
        endpoint: str,
        params: Mapping[str, str] | None = None,
        *,
        page: str | int | None = None,
        partition: Mapping[str, Any] | None = None,
    ) -> Answer:
        asked = Asked(endpoint, dict(params or {}), page, dict(partition or {}))
        self.asked.append(asked)
        self.now += self.tick
        for write in self._writes.pop(len(self.asked), []):
            write()
        if len(self.asked) in self._broken:
            raise Broken(str(asked))
        return self.answer(asked)

    def answer(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def page_size(self, endpoint: str) -> int:
        return self.size

    def pages_by_token(self, endpoint: str) -> bool:
        return False

    def url(self, endpoint: str) -> str:
        return f"https://api.acme.test/v1/{endpoint}/"


class ScriptedApi(FakeApi):
    """Gives the answers of a test, in order, and then repeats the last one."""

    def __init__(self, *answers: Answer, page_size: int = 2) -> None:
        super().__init__(page_size=page_size)
        self._answers = list(answers)

    def answer(self, asked: Asked) -> Answer:
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


@dataclass
class Table:
    """The table of a deduplicating destination: per key, the row with the greatest cursor."""

    cursor_field: str
    key: tuple[str, ...] = ("id",)
    rows: dict[Any, Row] = field(default_factory=dict)

    def load(self, rows: Iterable[Row]) -> None:
        for row in rows:
            key = tuple(row[name] for name in self.key)
            old = self.rows.get(key)
            if old is not None and self._stamp(row) < self._stamp(old):
                continue
            self.rows[key] = dict(row)

    def _stamp(self, row: Row) -> datetime:
        return timestamps.parse_or_none(row.get(self.cursor_field)) or timestamps.EPOCH

    def by_id(self) -> dict[Any, Row]:
        return {key[0]: row for key, row in self.rows.items()}


@dataclass
class Course:
    """The result of a sync: its pages in order, the saved states, and the error, if any."""

    pages: list[list[Row]] = field(default_factory=list)
    saved: list[State] = field(default_factory=list)
    state: State = field(default_factory=dict)
    error: Exception | None = None

    @property
    def rows(self) -> list[Row]:
        return [row for page in self.pages for row in page]


def synced(
    strategy: Strategy,
    given: State | None = None,
    table: Table | None = None,
    *,
    workers: int = 1,
    pages_at_most: int | None = None,
    full_refresh: bool = False,
) -> Course:
    """Run a sync to its end, and load its rows into ``table``.

    The ``workers`` take turns: each reads a page, then the next one does. With ``pages_at_most``,
    the sync is killed after that many pages, and its state is the last one that was saved.
    """
    course = Course()
    sync = Sync(
        strategy,
        "rows",
        given or {},
        full_refresh=full_refresh,
        save=lambda: course.saved.append(sync.state()),
    )
    course.saved.append(dict(given or {}))
    for number, page in enumerate(_pages(sync, workers, course)):
        if pages_at_most is not None and number >= pages_at_most:
            course.state = course.saved[-1]
            return course
        course.pages.append([dict(row) for row in page])
        if table is not None:
            table.load(page)
    course.state = sync.state()
    return course


def _pages(sync: Sync, workers: int, course: Course) -> Iterator[list[Row]]:
    slices = sync.slices()
    busy: list[Iterator[list[Row]]] = []
    planned = False
    while busy or not planned:
        while len(busy) < workers and not planned:
            slice: Slice | None = _next(slices, course)
            planned = slice is None
            if slice is not None:
                busy.append(sync.read(slice))
        for reader in list(busy):
            page: list[Row] | None = _next(reader, course)
            if page is None:
                busy.remove(reader)
            else:
                yield page


def _next(steps: Iterator[Any], course: Course) -> Any:
    """Return the next item, or None at the end or after a failure."""
    try:
        return next(steps, None)
    except Exception as error:
        assert course.error is None, "a stream fails once"
        course.error = error
        return None


# -- scripted strategies -------------------------------------------------------------------------

BEFORE: State = {"changed": "before"}
AFTER: State = {"changed": "after"}
START: State = {"changed": "start date"}


@dataclass
class ScriptedReading(Reading):
    """A reading with the given slices, of two pages each, and a state before and after.

    An exception in ``names`` is raised at its turn. Slices in ``broken`` fail after their first
    page. Slices in ``unsaved`` are not listed in a state.
    """

    names: Sequence[str | Exception]
    before: State = field(default_factory=dict)
    after: State = field(default_factory=lambda: dict(AFTER))
    resumable: bool = False
    sees_changes: bool = False
    broken: Sequence[str] = ()
    unsaved: Sequence[str] = ()

    def slices(self) -> Iterator[Slice]:
        for name in self.names:
            if isinstance(name, Exception):
                raise name
            yield Slice({"name": name}, saved=name not in self.unsaved)

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        name = slice.values["name"]
        yield [{"id": f"{name}1"}]
        if name in self.broken:
            raise RuntimeError(f"slice {name} broke")
        yield [{"id": f"{name}2"}]

    def state(self, whole: bool) -> State:
        return self.after if whole else self.before


Answered = Reading | Exception
"""What a strategy returns, or raises."""


class ScriptedStrategy(Strategy):
    """A strategy that returns the given readings and records the calls."""

    cursor_field = "changed"

    def __init__(
        self,
        first: Answered | None = None,
        resume: Answered | None = None,
        changes: Answered | dict[str, Answered] | None = None,
        start: State | None = None,
    ) -> None:
        """``changes`` may be a mapping from the cursor value of the given state."""
        self.asked: list[tuple[Any, ...]] = []
        self._first = first
        self._resume = resume
        self._changes = changes
        self._start = start

    def start(self) -> State | None:
        return self._start

    def first(self, since: State | None) -> Reading:
        self.asked.append(("first", since))
        return answered(self._first)

    def resume(self, state: State, pending: list[State]) -> Reading:
        self.asked.append(("resume", state, pending))
        return answered(self._resume)

    def changes(self, state: State) -> Reading:
        self.asked.append(("changes", state))
        if isinstance(self._changes, dict):
            return answered(self._changes[str(state.get("changed"))])
        return answered(self._changes)


def answered(answer: Answered | None) -> Reading:
    assert answer is not None, "the strategy should not be asked for this"
    if isinstance(answer, Exception):
        raise answer
    return answer


def everything(*names: str, **options: Any) -> ScriptedReading:
    """Return a first reading."""
    return ScriptedReading(names, before=dict(AFTER), resumable=True, **options)


def the_changes(*names: str | Exception, **options: Any) -> ScriptedReading:
    """Return a reading of the changes since ``BEFORE``."""
    return ScriptedReading(names, before=dict(BEFORE), after={"changed": "now"}, **options)


def unfinished(*names: str, then: State = AFTER) -> State:
    """Return the state of a first sync with these unread slices."""
    return {"scan": {"then": then, "pending": [{"name": name} for name in names]}}


class Noting:
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def slices_are(self, left: int) -> None:
        self.said.append(left)

    def slice_done(self) -> None:
        self.said.append("done")


# -- providers in memory --------------------------------------------------------------------------


LOCATION = "location"


def config_of_highlevel(*, start_date: str | None = None, **options: Any) -> dict[str, Any]:
    return {"start_date": start_date, "provider": {"location_id": LOCATION, **options}}


class FakeHighLevel(FakeApi):
    """The parts of HighLevel that the strategies use: calendars and their events.

    ``calendars``: whether each is active. ``cap``: the most events in an answer, which silently has
    the first ones by start time. ``overhang``: for how many milliseconds after the end of a window
    it lists events. ``whole_seconds``: whether stamps have no fraction.
    """

    provider = "HighLevel"

    def __init__(self, *calendars: str, tick: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(tick=tick)
        self.calendars = dict.fromkeys(calendars or ("one",), True)
        self.events: dict[str, Row] = {}
        self.cap: int | None = None
        self.overhang = 0
        self.whole_seconds = False
        self._ids = count(1)

    def insert(self, calendar: str, starts: datetime, **fields: Any) -> str:
        id = f"e{next(self._ids)}"
        self.events[id] = {"id": id, "calendarId": calendar, "v": 0}
        self.edit(id, startTime=timestamps.iso(starts), **fields)
        return id

    def edit(self, id: str, **fields: Any) -> None:
        stamp = self.now.replace(microsecond=0) if self.whole_seconds else self.now
        row = self.events[id]
        changed = {"dateUpdated": timestamps.iso(stamp), "v": row["v"] + 1}
        self.events[id] = {**row, **changed, **fields}

    def windows(self) -> list[tuple[str, int, int]]:
        """Return the windows that were requested: calendar, start and end."""
        return [
            (one.params["calendarId"], int(one.params["startTime"]), int(one.params["endTime"]))
            for one in self.asked
            if one.endpoint == "events"
        ]

    def answer(self, asked: Asked) -> Answer:
        if asked.endpoint == "calendars":
            listed = [{"id": id, "isActive": active} for id, active in self.calendars.items()]
            return Answer(listed, self.clock, body={})
        if asked.endpoint == "appointment":
            row = self.events.get(asked.partition["eventId"])
            return Answer([dict(row)] if row else [], self.clock, body={} if row else None)
        assert asked.endpoint == "events"
        calendar = asked.params["calendarId"]
        if calendar not in self.calendars:
            return Answer([], self.clock, body=None, status=404)
        first, end = int(asked.params["startTime"]), int(asked.params["endTime"])
        found = [
            (start, id)
            for id, row in self.events.items()
            if row["calendarId"] == calendar
            and first
            <= (start := timestamps.millis(timestamps.parse(row["startTime"])))
            < end + self.overhang
        ]
        shown = sorted(found)[: self.cap]
        return Answer([dict(self.events[id]) for _, id in shown], self.clock, body={})


class FakeClose(FakeApi):
    """The parts of Close that the strategy uses: meetings and the event log.

    ``log``: ``open``, ``closed`` (403), or ``filtered`` (400 without filters). ``ignores_dates``:
    whether the date filters of the list do nothing. ``shuffle`` changes the order of meetings with
    every request. Events have a time at which they become visible.
    """

    provider = "Close"

    def __init__(self, *, page_size: int = 3, tick: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(page_size=page_size, tick=tick)
        self.meetings: dict[str, Row] = {}
        self.log = "open"
        self.ignores_dates = False
        self.shuffle: Callable[[str], Any] = lambda id: id
        self._events: list[tuple[datetime, Row]] = []
        self._ids = count(1)
        self._event_ids = count(1)

    def insert(self, starts: datetime, **event: Any) -> str:
        id = f"m{next(self._ids)}"
        self.meetings[id] = {"id": id, "date_created": timestamps.iso(starts), "v": 0}
        self._change(id, "created", {}, **event)
        return id

    def edit(self, id: str, *, action: str = "updated", **event: Any) -> None:
        """Change a meeting. ``late``: how long it takes until its event becomes visible."""
        self._change(id, action, {}, **event)

    def reschedule(self, id: str, starts: datetime) -> None:
        self._change(id, "updated", {"date_created": timestamps.iso(starts)})

    def add_in_silence(self, id: str) -> None:
        """Change a meeting without an event and without a new stamp."""
        self.meetings[id] = {**self.meetings[id], "v": self.meetings[id]["v"] + 1}

    def delete(self, id: str, **event: Any) -> None:
        self._tell(id, "deleted", self.meetings.pop(id), **event)

    def change_last_event(self) -> None:
        """Change the last event in place, as Close does when the same meeting changes again."""
        if self._events:
            visible, event = self._events[-1]
            self._events[-1] = (visible, {**event, "date_updated": self._stamp()})

    def _change(self, id: str, action: str, fields: Row, **event: Any) -> None:
        row = self.meetings[id]
        changed = {"date_updated": self._stamp(), "v": row["v"] + 1, **fields}
        self.meetings[id] = {**row, **changed}
        self._tell(id, action, self.meetings[id], **event)

    def _tell(self, id: str, action: str, row: Row, late: timedelta = timedelta()) -> None:
        event = {
            "id": f"ev{next(self._event_ids)}",
            "object_type": "activity.meeting",
            "object_id": id,
            "action": action,
            "date_updated": self._stamp(),
            "lead_id": "lead",
            "organization_id": "organization",
            "data": {"date_updated": row["date_updated"]},
        }
        self._events.append((self.now + late, event))

    def _stamp(self) -> str:
        return self.now.replace(tzinfo=None).isoformat(timespec="microseconds")

    def answer(self, asked: Asked) -> Answer:
        assert asked.endpoint in ("log", "meetings")
        return self._log(asked) if asked.endpoint == "log" else self._list(asked)

    def _log(self, asked: Asked) -> Answer:
        params = asked.params
        if self.log == "closed":
            return Answer([], self.clock, status=403)
        if self.log == "filtered" and "action" not in params:
            return Answer([], self.clock, status=400)
        since = timestamps.parse(params.get("date_updated__gte", "1970-01-01"))
        before = asked.page or "9999"
        found = [
            event
            for visible, event in self._events
            if visible <= self.now
            and params.get("action") in (None, event["action"])
            and timestamps.parse(event["date_updated"]) >= since
            and _place(event) < before
        ]
        found.sort(key=_place, reverse=True)
        size = int(params.get("_limit", self.size))
        following = _place(found[size - 1]) if len(found) > size else None
        return Answer(found[:size], self.clock, body={}, following=following)

    def _list(self, asked: Asked) -> Answer:
        params = asked.params
        rows = list(self.meetings.values())
        if "id__in" in params:
            rows = [row for row in rows if row["id"] in params["id__in"].split(",")]
        first, end = params.get("date_created__gte"), params.get("date_created__lt")
        if not self.ignores_dates:
            if first is not None:
                rows = [row for row in rows if _second(row) >= timestamps.parse(first)]
            if end is not None:
                rows = [row for row in rows if _second(row) < timestamps.parse(end)]
        rows.sort(key=lambda row: self.shuffle(row["id"]))
        skip, size = int(asked.page or 0), int(params.get("_limit", self.size))
        shown = [dict(row) for row in rows[skip : skip + size]]
        return Answer(shown, self.clock, body={}, more=skip + size < len(rows))


def _place(event: Row) -> str:
    return f"{event['date_updated']} {event['id']}"


def _second(row: Row) -> datetime:
    return timestamps.parse(row["date_created"]).replace(microsecond=0)
