"""Small cases: one account, a few syncs, and writes and interruptions between their requests.

A case has three syncs that may be disturbed, and then quiet ones. What happens is a *script*: for
each disturbance, before which request it comes, counted over all of the disturbed syncs. A write
whose number is never reached happens before the first quiet sync. An interruption ends its sync.
That sync does not count: another one follows, from the last saved state.

After the script, time passes until every write can be seen. Two quiet syncs follow, and then the
table must equal the truth. A third one comes after a rest, and must find almost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import orjson

from source_meetings import timestamps
from source_meetings.providers.close import density, windows
from source_meetings.providers.close.meetings import MeetingsStrategy as CloseStrategy
from source_meetings.providers.close.transcripts import TranscriptsStrategy
from source_meetings.providers.expoplatform.components import ParticipantsStrategy
from source_meetings.providers.highlevel import appointments, calendars
from source_meetings.providers.highlevel import windows as highlevel_windows
from source_meetings.providers.highlevel.appointments import AppointmentsStrategy
from source_meetings.providers.highlevel.events import EventsStrategy
from source_meetings.providers.salesloft.meetings import MeetingsStrategy as SalesloftStrategy
from source_meetings.strategies.updated_since import UpdatedSince
from source_meetings.sync.chain import Sync
from source_meetings.sync.fingerprints import digest, unpack
from source_meetings.sync.reading import Row, State, Strategy, Untrustworthy
from unit_tests.logic.fakes import Broken, config_of_highlevel
from unit_tests.proof.history import (
    Began,
    Died,
    Emitted,
    Quiet,
    Rules,
    Saved,
    Wrote,
    problems,
)
from unit_tests.proof.models import (
    CloseModel,
    Endless,
    HighLevelModel,
    Model,
    ParticipantsModel,
    RowsModel,
    SalesloftModel,
    TranscriptsModel,
    Write,
)
from unit_tests.proof.workers import Workers

SYNCS = 3
_MOST_REQUESTS = 400


class Profile(NamedTuple):
    """What an account and its provider are like.

    ``tick``: seconds between two requests. ``pause``: seconds between two syncs. ``age``: seconds
    between the creations of rows that are there at first, ``tied`` of which come at a time; with
    two, they are on different pages. ``skew``: hours by which the Date header is ahead. ``workers``
    read a page each in turn. ``cancelled``: the first row is cancelled from the start. ``options``
    are attributes of the model. ``short``: how many rows there are in the short form.
    """

    tick: float = 1
    pause: float = 30
    age: float = 3600
    skew: float = 0
    workers: int = 1
    options: Mapping[str, Any] = {}
    tied: int = 2
    cancelled: bool = False
    short: int = 1


class Interruption(NamedTuple):
    """The process is killed at a request (``kill``), or the request fails for good (``refuse``)."""

    kind: str


Step = tuple[int, Write | Interruption]


@dataclass(frozen=True)
class Subject:
    """A stream: the model of its API, its strategy, and what it promises."""

    name: str
    model: type[Model]
    strategy: Callable[[Any], Strategy]
    rules: Callable[[Any], Rules]
    profiles: tuple[Profile, ...]
    patches: tuple[tuple[Any, str, Any], ...] = ()
    impossible: Callable[[Profile, tuple[Step, ...]], bool] = lambda profile, script: False

    @contextmanager
    def scaled_down(self) -> Iterator[None]:
        """Let pages and windows be so small that a few rows fill several.

        Times are the same few in all cases, so that they are parsed once.
        """
        with ExitStack() as stack:
            stack.enter_context(patch.object(timestamps, "parse", _parse))
            for place, name, value in self.patches:
                stack.enter_context(patch.object(place, name, value))
            yield


_read = lru_cache(maxsize=100_000)(timestamps.parse)


def _parse(value: Any) -> datetime:
    return _read(value if isinstance(value, str) else None)


class Killed(BaseException):
    """The process is killed: nothing catches it."""


@dataclass(frozen=True)
class Case:
    """One case of a stream. ``profile`` is a number; ``rows`` are there at first.

    With ``turns``, a seed, two or three workers take turns at random: before each page it is drawn
    whose slice goes on. ``faults`` are what may happen in this case. Those of ``workers.FAULTS``
    do, as the seed says; the others are in the script, if they were drawn.
    """

    subject: str
    profile: int = 0
    rows: int = 0
    script: tuple[Step, ...] = ()
    turns: int | None = None
    faults: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What became of a case. ``requests``: how many the disturbed syncs took."""

    problems: list[str] = field(default_factory=list)
    requests: int = 0
    gave_up: bool = False
    model: Any = None


class Run:
    """Runs one case."""

    def __init__(self, case: Case) -> None:
        self.subject = SUBJECTS[case.subject]
        self.profile = profile = self.subject.profiles[case.profile]
        self.model = self.subject.model(page_size=2)
        for name, value in profile.options.items():
            setattr(self.model, name, value)
        self.model.setup(profile.tick, profile.skew)
        self.model.now -= timedelta(seconds=profile.age * case.rows)
        for number in range(case.rows):
            creates = self.model.creates
            self.model.write(Write(creates[number % len(creates)]))
            if profile.cancelled and number == 0:
                self.model.write(Write("cancel"))
            if number % profile.tied == 0:
                self.model.now += timedelta(seconds=profile.age)
        self.script = case.script
        self.faults = case.faults
        self.state: State = {}
        self.outcome = Outcome(model=self.model)
        self.turns = None if case.turns is None else Random(case.turns)
        self.workers = self.turns.choice((2, 3)) if self.turns else profile.workers
        self.may_fail = True

    def run(self) -> Outcome:
        model, profile = self.model, self.profile
        for at, what in self.script:
            model.before(at, partial(self._disturb, what))
        syncs = SYNCS + sum(isinstance(what, Interruption) for _, what in self.script)
        for _ in range(syncs):
            self.sync()
            model.now += timedelta(seconds=profile.pause)
        self.outcome.requests = len(model.asked)
        self.may_fail = False
        for at, what in self.script:
            if at > self.outcome.requests and isinstance(what, Write):
                model.write(what)
        model._writes.clear()  # noqa: SLF001
        for _ in range(2):
            model.now += model.delay + timedelta(seconds=2 + profile.pause)
            self.sync()
        model.history.append(Quiet())
        model.now += model.delay + timedelta(seconds=2)
        # A Date header behind the stamps never lets a sync be sure that it has seen the newest one.
        self.sync(rested=profile.skew >= 0)
        rules = self.subject.rules(model)
        rules = replace(rules, ties=rules.ties or self.workers > 1)
        self.outcome.problems += problems(model.history, rules)
        return self.outcome

    def _disturb(self, what: Write | Interruption) -> None:
        if isinstance(what, Write):
            self.model.write(what)
        elif what.kind == "kill":
            raise Killed
        else:
            raise Broken

    def sync(self, rested: bool = False) -> None:
        model, history = self.model, self.model.history
        strategy = self.subject.strategy(model)
        history.append(Began(self.state, rested))
        sync = Sync(strategy, "rows", self.state, save=lambda: self._save(sync))
        model.limit = len(model.asked) + _MOST_REQUESTS
        workers = Workers(
            sync,
            self.workers,
            self.turns,
            self.faults,
            self._next,
            lambda page: history.extend(Emitted(dict(row)) for row in page),
        )
        model.meanwhile = workers.meanwhile
        try:
            workers.run()
        except Endless:
            self.outcome.problems.append("a sync does not end")
            return
        except Killed:
            history.append(Died())
            return
        self._save(sync)

    def _save(self, sync: Sync) -> None:
        state = orjson.loads(orjson.dumps(sync.state()))
        self.model.history.append(Saved(state))
        self.state = state

    def _next(self, steps: Iterator[Any]) -> Any:
        try:
            return next(steps, None)
        except Broken:
            return None
        except Untrustworthy as error:
            self.outcome.gave_up = True
            if not self.may_fail:
                self.outcome.problems.append(f"a quiet sync failed: {error}")
            return None
        except Exception as error:  # noqa: BLE001
            self.outcome.problems.append(f"{type(error).__name__}: {error}")
            return None


def run(case: Case) -> Outcome:
    """Run one case of a stream that is scaled down."""
    return Run(case).run()


# -- what the streams promise ---------------------------------------------------------------------


def _moment(value: Any) -> datetime:
    return timestamps.parse(value)


def _split(state: State) -> tuple[State, list[State]]:
    """Return the state that is led to, and what is left before it."""
    scan = state.get("scan")
    return (scan["then"], scan["pending"]) if scan else (state, [])


def _salesloft_promises(state: State, version: Wrote) -> bool:
    then, pending = _split(state)
    row = version.row or version.last
    if "updated_at" not in then or row is None:
        return False
    for left in pending:
        end = left["created_at_lt"] or "Z"
        if left["created_at_gte"] <= row["created_at"] < end:
            return False
    back = timedelta() if then.get("settled") else timedelta(minutes=10)
    return version.at < _moment(then["updated_at"]) - back


def _rows_promise(
    filters: Mapping[str, str], partition: Callable[[Row], str], state: State, version: Wrote
) -> bool:
    then, pending = _split(state)
    row = version.row or version.last
    if row is None or "partitions" not in then:
        return False
    known = then["partitions"].get(partition(row))
    if not known or {"partition": partition(row)} in pending:
        return False
    back = timedelta(seconds=1 if known.get("settled") else 120)
    return all(_moment(row[field]) < _moment(known[name]) - back for name, field in filters.items())


def _salesloft_repeats(version: Wrote, known: list[Wrote]) -> bool:
    """The newest change of a meeting that is not cancelled, and what is newer.

    A version that a killed sync has emitted, and that was cancelled since, says nothing.
    """
    last: dict[Any, datetime] = {}
    for one in known:
        last[one.key] = max(one.at, last.get(one.key, one.at))
    listed = [one for one in known if one.row and not one.row["canceled_at"]]
    newest = [one.at for one in listed if one.at == last[one.key]]
    return version.at >= max(newest, default=version.at)


def _rows_repeat(
    fields: tuple[str, ...], partition: Callable[[Row], Any], version: Wrote, known: list[Wrote]
) -> bool:
    """The last second before the newest stamp of each filter, for each partition."""
    row = version.row or {}
    beside = [one.row for one in known if one.row and partition(one.row) == partition(row)]
    second = timedelta(seconds=1)
    return any(
        _moment(row[name]) >= max(_moment(one[name]) for one in beside) - second for name in fields
    )


def _highlevel_promises(state: State, version: Wrote) -> bool:
    then, pending = _split(state)
    row = version.row
    if row is None or "dateUpdated" not in then:
        return False
    start = timestamps.millis(_moment(row["startTime"]))
    for left in pending:
        inside = int(left["startTime"]) <= start <= int(left["endTime"])
        if inside and left["calendarId"] == row["calendarId"]:
            return False
    if digest(row) in unpack(then["emitted"]):
        return True
    return version.at < _moment(then["dateUpdated"])


def _close_promises(state: State, version: Wrote) -> bool:
    """The window that every sync reads again is left out: what it holds is looked at again."""
    then, pending = _split(state)
    row = version.row or version.last
    if not then.get("events") or row is None:
        return False
    for left in pending:
        if "ids" in left:
            if row["id"] in left["ids"]:
                return False
            continue
        first, end = left["date_created__gte"] or "", left["date_created__lt"] or "Z"
        if first <= row["date_created"] < end:
            return False
    watermark = min(map(_moment, then["events"].values()))
    far = _moment(row["date_created"]) < watermark - timedelta(days=20)
    return far and version.at < watermark - timedelta(minutes=5)


# -- the streams ----------------------------------------------------------------------------------


def _with(profile: Profile, **options: Any) -> Profile:
    return profile._replace(options={**profile.options, **options})


FAST = Profile(tick=0, pause=0, age=0)  # everything bears the same stamp
YOUNG = Profile(tick=1, pause=0, age=0)
PLAIN = Profile(tick=1, pause=30, age=3600)
SLOW = Profile(tick=70, pause=400, age=60, short=2)
CRAWLING = Profile(tick=400, pause=1000, age=0)
AHEAD = Profile(tick=1, pause=150, age=90, skew=2, short=2)
BEHIND = Profile(tick=20, pause=700, age=90, skew=-2)
PROFILES = (PLAIN, YOUNG, FAST, SLOW, CRAWLING, AHEAD, BEHIND)


def _writes(script: tuple[Step, ...]) -> list[tuple[int, Write]]:
    return [(at, what) for at, what in script if isinstance(what, Write)]


def _no_tombstones_beside_what_is_late(profile: Profile, script: tuple[Step, ...]) -> bool:
    """A total that falls and grows at once shows neither."""
    writes = _writes(script)
    deletes = any(one.kind == "delete" for _, one in writes)
    late = any(one.late for _, one in writes)
    return deletes and (late or profile.options.get("shuffles", False))


def _hidden_from_totals(profile: Profile, script: tuple[Step, ...]) -> bool:
    """A row vanishes where nothing counts rows, or one comes before the same request; and without
    any totals, as many rows come at once as a page holds."""
    counts = profile.options.get("counts", "rows")
    if counts == "token":
        return False
    writes = _writes(script)
    if any(one.kind == "delete" for _, one in writes):
        places = [at for at, _ in writes]
        alone = len(set(places)) == len(places) and not any(one.late for _, one in writes)
        return counts != "rows" or not alone
    if counts == "nothing":
        places = [at for at, _ in writes]
        many = any(one.late or one.kind == "edit all" for _, one in writes)
        return many or len(set(places)) < len(places)
    return False


def _salesloft(model: Any) -> Strategy:
    return SalesloftStrategy("meetings", "updated_at", {"provider": {}}, model)


def _updated_since(model: Any) -> Strategy:
    return UpdatedSince(
        "rows",
        "updated_at",
        {"provider": {}},
        model,
        key=("id",),
        filters=({"parameter": "updated_since", "fields": ["updated_at"]},),
        newest={"sort": "-updated_at"} if model.lists_newest else None,
    )


def _participants(model: Any) -> Strategy:
    return ParticipantsStrategy(
        "participants",
        "modified_at",
        {"provider": {"event_ids": [0, 1]}},
        model,
        key=("meeting_id", "account_id"),
        endpoint="export",
        partitions={"option": "event_ids", "parameter": "event_id", "what": "event"},
        filters=(
            {"parameter": "created_from", "fields": ["created_at"], "format": "epoch_seconds"},
            {
                "parameter": "last_modified_from",
                "fields": ["created_at", "last_modified_at"],
                "format": "epoch_seconds",
            },
        ),
    )


def _close(kind: type[CloseStrategy]) -> Callable[[Any], Strategy]:
    ahead = 0 if kind is TranscriptsStrategy else 90
    return lambda model: kind(
        "meetings", "date_updated", {"provider": {}}, model, most_windows=4, days_ahead=ahead
    )


def _highlevel(kind: type[EventsStrategy]) -> Callable[[Any], Strategy]:
    return lambda model: kind("events", "dateUpdated", config_of_highlevel(), model)


def _rules(
    key: Callable[[Row], Any],
    cursor_field: str,
    promises: Callable[[State, Wrote], bool],
    repeats: Callable[[Wrote, list[Wrote]], bool] = lambda version, known: False,
    ties: bool = False,
) -> Callable[[Any], Rules]:
    rules = Rules(key, cursor_field, promises, repeats=repeats, ties=ties)
    return lambda model: rules


def _id(row: Row) -> Any:
    return row["id"]


_HIGHLEVEL_PATCHES = (
    # Workers that take turns in one thread must not wait for each other.
    (highlevel_windows, "threading", SimpleNamespace(Lock=nullcontext)),
    (calendars, "_SUSPICIOUS", 2),
    (highlevel_windows, "_ROWS_PER_ANSWER", 2),
    (highlevel_windows, "_ROWS_OF_A_SMALL_CALENDAR", 1),
    (appointments, "_IDS_PER_SLICE", 2),
)
_CLOSE_PATCHES = ((density, "ROWS_AIMED_AT", 2), (windows, "ROWS_AIMED_AT", 2))
_CLOSE_PROFILES = (
    *PROFILES,
    _with(PLAIN, shuffles=True),
    _with(YOUNG, log="filtered"),
    _with(SLOW, ignores_dates=True),
    SLOW._replace(workers=2),
)
_HIGHLEVEL_PROFILES = (
    *PROFILES,
    _with(PLAIN, hides=True),
    _with(SLOW, whole_seconds=True),
    _with(FAST, overhang=86_400_000 * 30),
    SLOW._replace(workers=2),
)
_ROWS_PROFILES = (
    *PROFILES,
    _with(YOUNG, counts="pages"),
    _with(SLOW, counts="nothing"),
    _with(YOUNG, counts="token"),
    _with(SLOW, excludes=True, lists_newest=False),
    _with(FAST, lists_newest=False),
)

SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject(
            "salesloft_meetings",
            SalesloftModel,
            _salesloft,
            _rules(_id, "updated_at", _salesloft_promises, _salesloft_repeats),
            (
                *PROFILES,
                _with(YOUNG, hides_cancelled=True)._replace(short=2),
                _with(PLAIN, hides_cancelled=True)._replace(cancelled=True, short=3),
                _with(FAST, shuffles=True)._replace(short=3),
                _with(CRAWLING, shuffles=True)._replace(short=3),
                _with(PLAIN, shuffles=True)._replace(tied=5, short=6),
                SLOW._replace(workers=2),
            ),
            impossible=_no_tombstones_beside_what_is_late,
        ),
        Subject(
            "updated_since",
            RowsModel,
            _updated_since,
            _rules(
                _id,
                "updated_at",
                partial(_rows_promise, {"updated_since": "updated_at"}, lambda row: ""),
                partial(_rows_repeat, ("updated_at",), lambda row: ""),
            ),
            _ROWS_PROFILES,
            impossible=_hidden_from_totals,
        ),
        Subject(
            "expoplatform_meeting_participants",
            ParticipantsModel,
            _participants,
            _rules(
                lambda row: row["account_id"],
                "modified_at",
                partial(
                    _rows_promise,
                    {"created_from": "created_at", "last_modified_from": "last_modified_at"},
                    lambda row: str(row["event_id"]),
                ),
                partial(
                    _rows_repeat, ("created_at", "last_modified_at"), lambda row: row["event_id"]
                ),
            ),
            (*_ROWS_PROFILES, SLOW._replace(workers=2)),
            impossible=_hidden_from_totals,
        ),
        Subject(
            "close_meetings",
            CloseModel,
            _close(CloseStrategy),
            _rules(_id, "date_updated", _close_promises),
            _CLOSE_PROFILES,
            _CLOSE_PATCHES,
        ),
        Subject(
            "close_meeting_transcripts",
            TranscriptsModel,
            _close(TranscriptsStrategy),
            _rules(_id, "date_updated", _close_promises),
            _CLOSE_PROFILES,
            _CLOSE_PATCHES,
        ),
        Subject(
            "highlevel_calendar_events",
            HighLevelModel,
            _highlevel(EventsStrategy),
            _rules(_id, "dateUpdated", _highlevel_promises, ties=True),
            _HIGHLEVEL_PROFILES,
            _HIGHLEVEL_PATCHES,
        ),
        Subject(
            "highlevel_appointments",
            HighLevelModel,
            _highlevel(AppointmentsStrategy),
            _rules(_id, "dateUpdated", _highlevel_promises, ties=True),
            _HIGHLEVEL_PROFILES,
            _HIGHLEVEL_PATCHES,
        ),
    )
}
