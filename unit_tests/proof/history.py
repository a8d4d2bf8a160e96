"""Checks what became of a stream over several syncs: what was written, emitted, saved and kept.

A *history* is one list of what happened, in order: writes at the provider, and for each sync its
beginning, the rows and states that it printed, and whether the process died. ``problems`` says what
is wrong with it:

1. A row was emitted that the provider never had.
2. An older version of a row took the place of a newer one at the destination. (It is replaced by
   what comes later, unless that has an older cursor.)
3. A tombstone came for a row that exists.
4. A state promises a row that the rows before it have not brought into the table: no later sync
   would read it.
5. After quiet syncs the table lacks a row, has an old version of it, or has one that is known to be
   gone.
6. A sync emitted what an earlier one had emitted, although its state promised it. Or a sync after a
   long rest emitted more than its share again.
7. A sync began with a state that no sync before it had saved.

What a state promises is the stream's own business: see ``Rules``. The module knows no strategy, no
API and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from source_meetings import timestamps

Row = dict[str, Any]
State = dict[str, Any]


@dataclass(frozen=True)
class Wrote:
    """A row got this version. ``row`` is None if it was deleted; then ``last`` is what it was.

    ``at`` is the stamp of the change. ``revealed``: whether the API shows that a row is gone.
    """

    key: Hashable
    row: Row | None
    at: datetime
    last: Row | None = None
    revealed: bool = True


@dataclass(frozen=True)
class Began:
    """A sync began with a state. ``rested``: two syncs have found nothing new for a long time."""

    state: State
    rested: bool = False


@dataclass(frozen=True)
class Emitted:
    """A row was printed."""

    row: Row


@dataclass(frozen=True)
class Saved:
    """A state was printed."""

    state: State


@dataclass(frozen=True)
class Died:
    """The process was killed. Rows after the last state may be loaded by the destination or not."""


@dataclass(frozen=True)
class Quiet:
    """Two syncs could see all that was written: the table has to equal the truth now."""


Entry = Wrote | Began | Emitted | Saved | Died | Quiet


@dataclass(frozen=True)
class Rules:
    """What one stream promises.

    ``key`` tells rows apart, and ``cursor_field`` has their time of change. ``promises`` says
    whether a state promises a version: no later sync will read it, so it has to have been emitted.
    ``expects`` says whether the table has to have a row. ``repeats`` says whether a sync after a
    long rest may emit a version again, given those that were emitted so far of rows that exist.
    ``ties``: lists that are read in parallel may show two versions with one stamp in any order.
    The cursor does not decide between them, so a later sync has to.
    """

    key: Callable[[Row], Hashable]
    cursor_field: str
    promises: Callable[[State, Wrote], bool]
    expects: Callable[[Row], bool] = lambda row: True
    repeats: Callable[[Wrote, list[Wrote]], bool] = lambda version, known: False
    ties: bool = False

    def cursor(self, row: Row) -> datetime:
        return timestamps.parse_or_none(row.get(self.cursor_field)) or timestamps.EPOCH


@dataclass
class _Destination:
    """Versions by number: those that were emitted, and those that the table holds."""

    emitted: set[tuple[Hashable, int]] = field(default_factory=set)
    held: dict[Hashable, tuple[datetime, int]] = field(default_factory=dict)

    def copy(self) -> _Destination:
        return _Destination(set(self.emitted), dict(self.held))

    def load(self, key: Hashable, number: int, cursor: datetime) -> bool:
        """Take a version in. Returns whether it took the place of a newer one."""
        self.emitted.add((key, number))
        before = self.held.get(key)
        if before is not None and cursor < before[0]:
            return False
        self.held[key] = cursor, number
        return before is not None and number < before[1]


class _Check:
    def __init__(self, rules: Rules, loses: bool) -> None:
        self.rules = rules
        self.loses = loses
        self.found: list[str] = []
        self.versions: dict[Hashable, list[Wrote]] = {}
        self.now = _Destination()
        self.committed = _Destination()
        self.earlier: frozenset[tuple[Hashable, int]] = frozenset()
        self.saved: list[State] = [{}]
        self.began = Began({})

    def take(self, entry: Entry) -> None:
        if isinstance(entry, Wrote):
            self.versions.setdefault(entry.key, []).append(entry)
        elif isinstance(entry, Began):
            if entry.state not in self.saved:
                self.found.append("a sync began with a state that nobody saved")
            self.began, self.earlier = entry, frozenset(self.now.emitted)
        elif isinstance(entry, Emitted):
            self._emitted(entry.row)
        elif isinstance(entry, Saved):
            self._saved(entry.state)
        elif isinstance(entry, Quiet):
            self.compare()
        elif self.loses:
            self.now = self.committed.copy()

    def _emitted(self, row: Row) -> None:
        key = self.rules.key(row)
        versions = self.versions.get(key, [])
        if row.get("is_deleted"):
            number = len(versions) - 1
            if not versions or versions[-1].row is not None:
                self.found.append(f"{key}: a tombstone for a row that exists")
                return
        else:
            number = next((n for n, one in enumerate(versions) if one.row == row), -1)
            if number < 0:
                self.found.append(f"{key}: a row that the provider never had: {row}")
                return
        version = versions[number]
        if (key, number) in self.earlier:
            if self.began.state and self.rules.promises(self.began.state, version):
                self.found.append(f"{key}: emitted again, although its state promised it")
            if self.began.rested and not self._is_share_after_rest(version):
                self.found.append(f"{key}: emitted again after a rest")
        if self.now.load(key, number, self.rules.cursor(row)) and not self.rules.ties:
            self.found.append(f"{key}: an older version took the place of a newer one")

    def _is_share_after_rest(self, version: Wrote) -> bool:
        there = {key for key, versions in self.versions.items() if versions[-1].row}
        known = [self.versions[key][number] for key, number in self.now.emitted if key in there]
        return self.rules.repeats(version, known)

    def _saved(self, state: State) -> None:
        for key, versions in self.versions.items():
            version, number = versions[-1], len(versions) - 1
            _, known = self.now.held.get(key, (None, -1))
            if known >= number:
                continue
            # Nobody needs to hear that a row is gone that was never there.
            needed = self.rules.expects(version.row) if version.row else version.revealed
            needed = needed and (version.row is not None or known >= 0)
            if needed and self.rules.promises(state, version):
                self.found.append(f"{key}: promised and not emitted: {version.row}; {state}")
        self.saved.append(state)
        self.committed = self.now.copy()

    def compare(self) -> None:
        """Compare the table with the truth."""
        for key, versions in self.versions.items():
            last = versions[-1]
            held = self.now.held.get(key)
            if last.row is None:
                if last.revealed and held is not None and held[1] < len(versions) - 1:
                    self.found.append(f"{key}: is in the table and gone at the provider")
            elif not self.rules.expects(last.row):
                continue
            elif held is None:
                self.found.append(f"{key}: missing at the end")
            elif held[1] < len(versions) - 1:
                self.found.append(f"{key}: version {held[1]} of {len(versions) - 1} at the end")


def problems(history: Iterable[Entry], rules: Rules) -> list[str]:
    """Return a sentence for each problem of a history; an empty list if there is none.

    The table is compared with the truth at each ``Quiet``, and at the end. A history in which the
    process dies is looked at twice: as if the destination keeps the rows that came after the last
    state, and as if it loses them.
    """
    entries = list(history)
    found: list[str] = []
    dies = any(isinstance(entry, Died) for entry in entries)
    for loses in (False, True) if dies else (False,):
        check = _Check(rules, loses)
        for entry in entries:
            check.take(entry)
        check.compare()
        found += check.found
    return list(dict.fromkeys(found))
