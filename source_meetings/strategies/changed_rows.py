"""Finds the rows that changed, for an API that can neither filter nor sort by time of change.

Every sync reads everything, and this module decides what is new.

What may be saved. A row can change after its list was read. Such a change is stamped later than
everything that the provider had stamped by the first answer. So the next sync must emit everything
stamped at or after the *bound*: the newest stamp in that first answer, or the newest stamp that any
earlier sync has seen. Neither depends on which clock is right. A stamp in the future of the
provider's clock never becomes a bound. Stamps may have whole seconds only, so the bound does too.

Because the bound is so cautious, two syncs see the rows at or after it. Their digests are saved (at
most a thousand), so that they are not emitted twice. A row that was seen in two versions is left
out: equal stamps do not show which is newer, and the older one may have been emitted last.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from source_meetings import timestamps
from source_meetings.sync.clock import reached
from source_meetings.sync.fingerprints import Emitted, digest, pack, unpack, version
from source_meetings.sync.reading import Answer, Row, State

_MOST_DIGESTS = 1000
_MOST_RECENT = 4 * _MOST_DIGESTS  # rows that are kept in memory to choose from
_LAST_MOMENT = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class RowFields:
    """The names of the fields that matter: a row's key, its time of change, and its start."""

    key: str
    changed: str
    start: str


@dataclass(frozen=True)
class Before:
    """What the previous sync has seen.

    ``bound``: rows that changed before it are not new. None: everything is new. ``newest``: the
    newest stamp on any row. ``emitted``: digests of rows at or after the bound. ``read_from`` and
    ``read_to``: the start times that it covered, in epoch milliseconds. ``partitions``: the lists
    that it read, or None if unknown.
    """

    bound: datetime | None = None
    newest: datetime = timestamps.EPOCH
    emitted: frozenset[bytes] = frozenset()
    read_from: int = 0
    read_to: int = 0
    partitions: frozenset[str] | None = None

    @classmethod
    def of(cls, state: State, cursor_field: str) -> Before:
        """Return what a state says. Its cursor must be a point in time."""
        bound = timestamps.parse(state[cursor_field])
        edges = [state.get("read_from"), state.get("read_to")]
        read_from, read_to = (edge if isinstance(edge, int) else 0 for edge in edges)
        partitions = state.get("partitions")
        return cls(
            bound,
            timestamps.parse_or_none(state.get("newest")) or bound,
            unpack(state.get("emitted")),
            read_from,
            read_to,
            frozenset(map(str, partitions)) if isinstance(partitions, list) else None,
        )


class ChangedRows:
    """Picks the new rows of one sync. Any thread may use it."""

    def __init__(self, fields: RowFields, before: Before, clock: datetime) -> None:
        """``clock`` is the provider's time before the first answer."""
        self._fields = fields
        self._before = before
        self._newest = min(clock, before.newest)
        self._bound = self._newest.replace(microsecond=0)
        self._recent: dict[Any, dict[bytes, datetime | None]] = {}  # versions, by key
        self._forgotten: set[int] = set()  # hashes of keys
        self._lock = threading.Lock()

    def begin(self, answer: Answer) -> bool:
        """Process the first answer. Call this before another one is requested.

        Returns whether there is a bound now.
        """
        self._newest = max([self._newest, *reached(map(self._stamp, answer.rows), answer.clock)])
        self._bound = self._newest.replace(microsecond=0)
        return self._newest > timestamps.EPOCH

    def take(self, answer: Answer, partition: str, emitted: Emitted) -> list[Row]:
        """Return the new rows of an answer.

        ``partition`` is the list they come from. ``emitted`` is what was already emitted of it.
        """
        known = self._before.partitions
        is_new_partition = known is not None and partition not in known
        stamps = [self._stamp(row) for row in answer.rows]
        new: list[Row] = []
        recent: list[tuple[Any, bytes, datetime | None]] = []
        for row, stamp in zip(answer.rows, stamps):
            key = row[self._fields.key]
            if stamp is None or stamp >= self._bound:
                recent.append((key, digest(row), stamp))
            is_new = is_new_partition or self._is_new(row, stamp)
            if is_new and emitted.add(key, version(row)):
                new.append(row)
        with self._lock:
            for key, seen, stamp in recent:
                if hash(key) in self._forgotten:
                    continue
                self._recent.setdefault(key, {})[seen] = stamp
            if len(self._recent) > _MOST_RECENT:
                self._keep_newest()
            self._newest = max([self._newest, *reached(stamps, answer.clock)])
        return new

    def _keep_newest(self) -> None:
        """Forget the versions of rows that are too old to be among those of the state.

        A row may be seen again, in a newer version. It is left out then, as one that was seen in
        two versions.
        """
        by_stamp = sorted(
            self._recent.items(),
            key=lambda one: max(stamp or _LAST_MOMENT for stamp in one[1].values()),
            reverse=True,
        )
        self._recent = dict(by_stamp[:_MOST_DIGESTS])
        self._forgotten.update(hash(key) for key, _ in by_stamp[_MOST_DIGESTS:])

    def _is_new(self, row: Row, stamp: datetime | None) -> bool:
        before = self._before
        if before.bound is None:
            return True
        if stamp is not None and stamp < before.bound and self._was_covered(row):
            return False
        return digest(row) not in before.emitted

    def _was_covered(self, row: Row) -> bool:
        """Return whether the previous sync looked where a row starts.

        It did not if time has moved on, or if the configuration has changed.
        """
        before = self._before
        start = timestamps.millis_or_none(row.get(self._fields.start))
        return start is None or before.read_from <= start < before.read_to

    def _stamp(self, row: Row) -> datetime | None:
        """Return a row's time of change, if it has one."""
        return timestamps.since_1970(row.get(self._fields.changed))

    def state(
        self, cursor_field: str, read_from: int, read_to: int, partitions: Collection[str]
    ) -> State:
        """Return the state once everything has been read."""
        with self._lock:
            known = [next(iter(one.items())) for one in self._recent.values() if len(one) == 1]
            known.sort(key=lambda one: one[1] or _LAST_MOMENT, reverse=True)
            return {
                cursor_field: timestamps.iso(self._bound),
                "newest": timestamps.iso(self._newest),
                "emitted": pack(seen for seen, _ in known[:_MOST_DIGESTS]),
                "read_from": read_from,
                "read_to": read_to,
                "partitions": list(partitions),
            }
