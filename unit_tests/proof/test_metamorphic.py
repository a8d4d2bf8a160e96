"""One history, read in different ways: the table at the end is always the same, and the truth.

A history is an account and what is written between its syncs. Nothing is written during a sync, so
it must not matter how a sync goes about it: in which order an answer has its rows, how many rows
there are on a page, where windows are cut, how often the process is killed and resumed, which slice
is read first, and how many workers read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_meetings.providers.close import density, windows
from source_meetings.providers.highlevel import appointments, calendars
from source_meetings.providers.highlevel import windows as highlevel_windows
from source_meetings.providers.salesloft import created_windows
from source_meetings.sync.chain import Sync
from source_meetings.sync.reading import Answer, Row, Slice, State
from unit_tests.logic.fakes import Asked, Broken
from unit_tests.proof.cases import SUBJECTS, Killed, Subject
from unit_tests.proof.explore import silent
from unit_tests.proof.history import Wrote
from unit_tests.proof.models import START, HighLevelModel, Model, Write

HISTORIES = 24  # of each stream
MOST_ROWS = 30
_BETWEEN_SYNCS = timedelta(hours=3)  # longer than any change may be late
_MOST_INTERRUPTIONS = 4  # of a sync
_AFTER_REQUESTS = (1, 2, 3, 4, 6, 10, 15)
_MOST_WAITING = 6  # slices that are known and not begun


class History(NamedTuple):
    """An account, and what is written before each sync but the first.

    ``options`` are attributes of the model. ``rows``: the kind of each, and the seconds until the
    next one is created. ``seed`` decides what a way to read leaves open.
    """

    options: dict[str, Any]
    rows: list[tuple[str, float]]
    writes: list[list[Write]]
    seed: int


@dataclass(frozen=True)
class Way:
    """A way to read: so many rows on a page, and what else differs from reading straight through.

    ``permutes``: answers have their rows in another order, as far as the API documents none.
    ``recut``: windows have other boundaries. ``breaks``: syncs are interrupted and resumed.
    ``workers`` read slices in any order, if there are several.
    """

    size: int = 5
    permutes: bool = False
    recut: bool = False
    breaks: bool = False
    workers: int = 1


STRAIGHT = Way()
WAYS = {
    "rows in another order": Way(permutes=True),
    "smaller pages": Way(size=2),
    "larger pages": Way(size=11),
    "other windows": Way(recut=True),
    "interrupted and resumed": Way(breaks=True),
    "slices in another order": Way(workers=4),
    "all of this": Way(size=3, permutes=True, recut=True, breaks=True, workers=3),
}


@st.composite
def histories(draw: st.DrawFn, subject: Subject) -> History:
    model = subject.model
    profile = draw(st.sampled_from(subject.profiles))
    gap = st.sampled_from((0.0, 0.0, 0.3, 40.0, 3600.0, 86400.0 * 20))
    row = st.tuples(st.sampled_from(model.creates), gap)
    write = st.builds(
        Write,
        st.sampled_from((*model.creates, *model.changes, "edit all")),
        st.integers(0, MOST_ROWS),
        late=st.booleans() if model.delay else st.just(False),
        later=st.booleans(),
    ).map(lambda one: one._replace(late=one.late and one.kind not in model.prompt))
    count = draw(st.integers(0, MOST_ROWS))  # lists alone would mostly be short
    return History(
        dict(profile.options),
        draw(st.lists(row, min_size=count, max_size=count)),
        draw(st.lists(st.lists(write, max_size=6), min_size=1, max_size=3)),
        draw(st.integers(0, 10**6)),
    )


# -- one history, read in one way -----------------------------------------------------------------


class Account:
    """Reads one history in one way, and keeps the table."""

    def __init__(self, subject: Subject, history: History, way: Way) -> None:
        self.way = way
        self.subject = subject
        self.random = Random(history.seed)
        self.model = model = self._model_of(history)
        self.rules = subject.rules(model)
        self.state: State = {}
        self.table: dict[Any, Row] = {}
        self.committed: dict[Any, Row] = {}

    def _model_of(self, history: History) -> Any:
        model: Any = self.subject.model(page_size=self.way.size)
        for name, value in history.options.items():
            setattr(model, name, value)
        model.setup(tick=0.01, skew=0)
        model.size = self.way.size
        model.limit = 100_000
        if isinstance(model, HighLevelModel):
            model.cap = self.way.size
        model.now = START - timedelta(seconds=sum(gap for _, gap in history.rows))
        for kind, gap in history.rows:
            model.write(Write(kind))
            model.now += timedelta(seconds=gap)
        if self.way.permutes:
            model.answer = self._permuted(model)
        return model

    def _permuted(self, model: Model) -> Any:
        plain = model.answer

        def answer(asked: Asked) -> Answer:
            found = plain(asked)
            field = _documented_order(model, asked)
            rows = self.random.sample(found.rows, len(found.rows))
            if field is not None:  # rows that are equal in it may change places
                places = {row[field]: place for place, row in enumerate(found.rows)}
                rows.sort(key=lambda row: places[row[field]])
            return replace(found, rows=rows)

        return answer

    def sync(self) -> None:
        """Bring the table up to date, as often as that is interrupted."""
        for _ in range(_MOST_INTERRUPTIONS if self.way.breaks else 0):
            what = self.random.choice((Killed, Broken))
            number = len(self.model.asked) + self.random.choice(_AFTER_REQUESTS)
            self.model.before(number, lambda what=what: _raise(what))
            if self._ends():
                break
        self.model._writes.clear()  # noqa: SLF001
        assert self._ends()

    def _ends(self) -> bool:
        """Run one sync. Returns whether it comes to its end."""
        strategy: Any = self.subject.strategy(self.model)
        if self.way.recut and hasattr(strategy, "most_windows"):
            strategy.most_windows = 7
        sync = Sync(strategy, "rows", self.state, save=lambda: self._save(sync))
        whole = True
        try:
            for page in self._pages(sync):
                self._load(page)
        except Killed:
            if self.random.random() < 0.5:  # the destination loses what came after the last state
                self.table = dict(self.committed)
            return False
        except Broken:
            whole = False
        self._save(sync)
        return whole

    def _pages(self, sync: Sync) -> Iterator[list[Row]]:
        """Yield the pages of slices that are begun in any order and read in turns."""
        slices, several = sync.slices(), self.way.workers > 1
        waiting: list[Slice] = []
        busy: list[Iterator[list[Row]]] = []
        planned = False
        while busy or waiting or not planned:
            while len(waiting) < (_MOST_WAITING if several else 1) and not planned:
                slice = next(slices, None)
                planned = slice is None
                waiting += [slice] if slice is not None else []
            while waiting and len(busy) < self.way.workers:
                slice = waiting.pop(self.random.randrange(len(waiting)) if several else 0)
                busy.append(sync.read(slice))
            if busy:
                turn = self.random.randrange(len(busy)) if several else 0
                page = next(busy[turn], None)
                if page is None:
                    del busy[turn]
                else:
                    yield page

    def _save(self, sync: Sync) -> None:
        self.state = orjson.loads(orjson.dumps(sync.state()))
        self.committed = dict(self.table)

    def _load(self, page: list[Row]) -> None:
        for row in page:
            key = self.rules.key(row)
            before = self.table.get(key)
            if before is None or self.rules.cursor(row) >= self.rules.cursor(before):
                self.table[key] = dict(row)

    def rows(self) -> dict[Any, Row]:
        return {key: row for key, row in self.table.items() if not row.get("is_deleted")}


def _raise(what: type[BaseException]) -> None:
    raise what


def _documented_order(model: Model, asked: Asked) -> str | None:
    """Return the field that an answer is sorted by, if the API documents it."""
    if model.provider == "Salesloft":
        return asked.params.get("sort_by", "created_at")
    if model.provider == "Close":
        return "date_updated" if asked.endpoint == "log" else None
    return "updated_at" if asked.params.get("sort") == "-updated_at" else None


@contextmanager
def _scaled_down(subject: Subject, way: Way) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(subject.scaled_down())
        places: list[tuple[Any, str, Any]] = [(calendars, "_SUSPICIOUS", way.size)]
        if way.recut:
            places += [
                (density, "ROWS_AIMED_AT", 5),
                (windows, "ROWS_AIMED_AT", 5),
                (created_windows, "_FEWEST_WINDOWS", 2),
                (highlevel_windows, "_FIRST_WINDOW_DAYS", 3),
                (highlevel_windows, "_ROWS_PER_ANSWER", 7),
                (highlevel_windows, "_TELLING_ROWS", 2),
                (highlevel_windows, "_ROWS_OF_A_SMALL_CALENDAR", 4),
                (appointments, "_IDS_PER_SLICE", 3),
            ]
        for place, name, value in places:
            stack.enter_context(patch.object(place, name, value))
        yield


def _read(subject: Subject, history: History, way: Way) -> Account:
    with silent(), _scaled_down(subject, way):
        account = Account(subject, history, way)
        for number, writes in enumerate([[], *history.writes, [], []]):
            # So that the same write has the same stamp in all ways.
            account.model.now = START + number * _BETWEEN_SYNCS
            for write in writes:
                account.model.write(write)
            account.sync()
    return account


def _differences(account: Account) -> list[str]:
    """Say where a table differs from the truth."""
    last = {one.key: one for one in account.model.history if isinstance(one, Wrote)}
    rows = account.rows()
    found = [f"{key}: the provider never had it" for key in rows if key not in last]
    for key, one in last.items():
        if one.row is None:
            if one.revealed and key in rows:
                found.append(f"{key}: is gone at the provider")
        elif rows.get(key) != one.row:
            found.append(f"{key}: {rows.get(key)} instead of {one.row}")
    return found


@pytest.mark.parametrize("stream", SUBJECTS)
def test_the_table_does_not_depend_on_how_a_history_is_read(stream: str) -> None:
    subject = SUBJECTS[stream]

    @settings(max_examples=HISTORIES)
    @given(histories(subject))
    def check(history: History) -> None:
        # Given a history that is read straight through
        straight = _read(subject, history, STRAIGHT)
        assert _differences(straight) == []
        for name, way in WAYS.items():
            # When it is read in another way
            other = _read(subject, history, way)
            # Then the table is the truth, and the same where the API does not show the truth
            assert (name, _differences(other)) == (name, [])
            assert (name, other.rows()) == (name, straight.rows())

    check()
