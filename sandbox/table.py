"""A compact index over millions of rows: timestamp columns by row number, some of them sorted.

A row number is a positive integer that is never reused. Timestamps are microseconds since 1970.
`NULL` is a missing timestamp. The owner has the rows themselves. It can make them on request from
the row number, so a million rows take no memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

NULL = 0
FOREVER = 1 << 62
Bounds = Mapping[str, tuple[int, int]]  # column -> from (inclusive), to (exclusive)

_SHIFT = 32  # an index entry is `timestamp << 32 | row number`: one int sorts by both
_MASK = (1 << _SHIFT) - 1
_CACHED_SELECTIONS = 16


@dataclass(frozen=True)
class Selection:
    """The result of a query: the entries `start` to `stop` of a sorted list, ascending."""

    entries: list[int]
    start: int
    stop: int

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def page(self, offset: int, size: int, descending: bool = False) -> list[int]:
        """Row numbers of one page."""
        if descending:
            stop = self.stop - offset
            start = max(self.start, stop - size)
            found = self.entries[start:stop][::-1] if stop > start else []
        else:
            start = self.start + offset
            found = self.entries[start : min(self.stop, start + size)]
        return [entry & _MASK for entry in found]

    def reordered_ties(self, salt: int) -> Selection:
        """The same rows, but `salt` decides the order of those with equal timestamps."""
        entries = self.entries[self.start : self.stop]
        entries.sort(key=lambda entry: (entry >> _SHIFT, hash((entry, salt))))
        return Selection(entries, 0, len(entries))


class Table:
    def __init__(self, columns: Sequence[str], sorted_by: Sequence[str]) -> None:
        self._columns = {name: array("q", [NULL]) for name in columns}  # row 0 does not exist
        self._sorted: dict[str, list[int]] = {name: [] for name in sorted_by}
        self._live = bytearray(1)
        self._count = 0
        self._cache: dict[Hashable, Selection] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and 0 < row < len(self._live) and bool(self._live[row])

    def __iter__(self) -> Iterator[int]:
        return (row for row in range(1, len(self._live)) if self._live[row])

    def column(self, name: str) -> array[int]:
        """Timestamps by row number."""
        return self._columns[name]

    def extend(self, count: int, stamps: Mapping[str, Sequence[int]]) -> range:
        """Add `count` rows at once. `stamps` has a sequence of that length for every column."""
        rows = range(len(self._live), len(self._live) + count)
        for name, column in self._columns.items():
            column.extend(stamps[name])
        for name, entries in self._sorted.items():
            entries.extend(stamp << _SHIFT | row for stamp, row in zip(stamps[name], rows))
            entries.sort()
        self._live.extend(b"\1" * count)
        self._count += count
        self._cache.clear()
        return rows

    def add(self, stamps: Mapping[str, int]) -> int:
        row = len(self._live)
        for name, column in self._columns.items():
            column.append(stamps[name])
        for name, entries in self._sorted.items():
            insort(entries, stamps[name] << _SHIFT | row)
        self._live.append(1)
        self._count += 1
        self._cache.clear()
        return row

    def move(self, row: int, stamps: Mapping[str, int]) -> None:
        """Change a row's timestamps. Columns that are left out keep theirs."""
        for name, stamp in stamps.items():
            if name in self._sorted and stamp != self._columns[name][row]:
                self._forget(name, row)
                insort(self._sorted[name], stamp << _SHIFT | row)
            self._columns[name][row] = stamp
        self._cache.clear()

    def remove(self, row: int) -> None:
        for name in self._sorted:
            self._forget(name, row)
        self._live[row] = 0
        self._count -= 1
        self._cache.clear()

    def _forget(self, name: str, row: int) -> None:
        entries = self._sorted[name]
        del entries[bisect_left(entries, self._columns[name][row] << _SHIFT | row)]

    def _range(self, name: str, bounds: Bounds) -> Selection:
        entries = self._sorted[name]
        low, high = bounds.get(name, (NULL, FOREVER))
        return Selection(
            entries, bisect_left(entries, low << _SHIFT), bisect_left(entries, high << _SHIFT)
        )

    def select(
        self,
        sort_by: str,
        bounds: Bounds,
        keep: Callable[[int], bool] | None = None,
        among: Collection[int] | None = None,
        token: Hashable = None,
    ) -> Selection:
        """Rows within `bounds` for which `keep(row number)` holds, in the order of `sort_by`.

        If one index has the answer, it is a slice of that index. Otherwise it is a scan of `among`
        or the shortest range, cached until the next write by `token`, which identifies `keep` and
        `among`.
        """
        if keep is None and among is None and not set(bounds) - {sort_by}:
            return self._range(sort_by, bounds)
        cache_key = (sort_by, tuple(sorted(bounds.items())), token)
        if cache_key not in self._cache:
            if among is None:
                ranges = (self._range(name, bounds) for name in bounds or (sort_by,))
                shortest = min(ranges, key=len)
                among = shortest.page(0, len(shortest))
            sort_column = self._columns[sort_by]
            checks = [(self._columns[name], low, high) for name, (low, high) in bounds.items()]
            entries = [
                sort_column[row] << _SHIFT | row
                for row in among
                if row in self
                and all(low <= column[row] < high for column, low, high in checks)
                and (keep is None or keep(row))
            ]
            entries.sort()
            if len(self._cache) >= _CACHED_SELECTIONS:
                del self._cache[next(iter(self._cache))]
            self._cache[cache_key] = Selection(entries, 0, len(entries))
        return self._cache[cache_key]
