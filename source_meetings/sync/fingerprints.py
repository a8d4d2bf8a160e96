"""Recognizes rows from an earlier sync by digests that fit into a state.

A state is kept below 100 kilobytes. So with thousands of rows, several rows that follow each other
in time share one digest. A change to one of them emits all of them again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import orjson

from source_meetings.sync.reading import Row, State

_BYTES = 6
_MOST_DIGESTS = 5_000  # approximate; eight characters each
_FIRST_MOMENT = datetime.min.replace(tzinfo=timezone.utc)


def digest(value: Any) -> bytes:
    """Return six bytes that differ for two versions of a row.

    The order of keys does not matter. Among 10,000 rows, one change in 28 billion is missed.
    """
    return hashlib.blake2b(_text_of(value, sort_keys=True), digest_size=_BYTES).digest()


def version(value: Any) -> int:
    """Return a number that differs for two versions of a row, within this process.

    It costs a third of a digest. If only the order of keys changes, the number may differ too.
    """
    return hash(_text_of(value, sort_keys=False))


def _text_of(value: Any, *, sort_keys: bool) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:  # an integer beyond 64 bits, or nested deeply
        return json.dumps(value, sort_keys=sort_keys).encode("ascii")


def pack(digests: Iterable[bytes]) -> str:
    """Return digests as text for a state: eight characters each."""
    return base64.b64encode(b"".join(sorted(digests))).decode("ascii")


def unpack(text: Any) -> frozenset[bytes]:
    """Return the digests in a state, or none if the value is not such a text."""
    try:
        packed = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return frozenset()
    return frozenset(packed[at : at + _BYTES] for at in range(0, len(packed), _BYTES))


@dataclass(eq=False)
class SeenRow:
    """A row, its id, and the point in time that orders it among the others."""

    id: str
    at: datetime | None
    row: Row

    @cached_property
    def version(self) -> bytes:
        """The row's digest. It is made when first needed: most rows of a first sync need none."""
        return digest(self.row)

    @property
    def place(self) -> tuple[datetime, str]:
        return self.at or _FIRST_MOMENT, self.id


def _ends_block(id: str, rows_each: int) -> bool:
    """Return whether a row is the last one of its block.

    Only the row itself decides, so a row that is added or removed affects only its own block.
    """
    return rows_each == 1 or int.from_bytes(digest(id)[:4], "big") % rows_each == 0


def _block(versions: list[bytes]) -> bytes:
    return versions[0] if len(versions) == 1 else digest(b"".join(versions).hex())


class SeenRows:
    """The rows seen in a window that the next sync reads again."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[tuple[datetime, str], bytes]] = {}

    def add(self, row: SeenRow) -> None:
        """Note a row. The latest version counts."""
        self._rows[row.id] = (row.place, row.version)

    def discard(self, row: SeenRow) -> None:
        """Forget a row."""
        self._rows.pop(row.id, None)

    def state(self) -> State:
        """Return what to save: digests of the rows, or of blocks of them."""
        rows_each = max(1, -(-len(self._rows) // _MOST_DIGESTS))
        digests: list[bytes] = []
        block: list[bytes] = []
        for (_, id), version in sorted(self._rows.values()):
            block.append(version)
            if _ends_block(id, rows_each):
                digests.append(_block(block))
                block = []
        if block:
            digests.append(_block(block))
        return {"rows_each": rows_each, "digests": pack(digests)}


class ChangedSince:
    """Picks the rows that differ from what was seen before.

    ``seen`` is what ``SeenRows.state`` returned. If several rows share a digest, pages must arrive
    from the latest to the earliest. Otherwise more rows are picked than have changed.
    """

    def __init__(self, seen: Any) -> None:
        known = seen if isinstance(seen, dict) else {}
        self._digests = unpack(known.get("digests"))
        each = known.get("rows_each")
        self._rows_each = each if isinstance(each, int) and each > 0 else 1
        self._block: list[SeenRow] = []

    def pick(self, page: list[SeenRow]) -> list[SeenRow]:
        """Return the rows of a page that are already known to have changed."""
        if self._rows_each == 1:
            return [row for row in page if row.version not in self._digests]
        changed: list[SeenRow] = []
        for row in sorted(page, key=lambda one: one.place, reverse=True):
            if _ends_block(row.id, self._rows_each):
                changed += self.rest()  # it ends the block of the rows before it
            self._block.append(row)
        return changed

    def rest(self) -> list[SeenRow]:
        """Return the changed rows among those that were still undecided."""
        block, self._block = self._block[::-1], []
        if not block or _block([row.version for row in block]) in self._digests:
            return []
        return block


class Emitted:
    """The latest versions of the rows that a sync has emitted, for pages that overlap.

    At least the last ``limit`` rows are remembered, and at most twice as many: emitting a row twice
    does no harm.
    """

    def __init__(self, limit: int = 5_000) -> None:
        self._limit = limit
        self._versions: dict[Hashable, Hashable] = {}
        self._earlier: dict[Hashable, Hashable] = {}

    def add(self, key: Hashable, version: Hashable) -> bool:
        """Return whether this version of a row was not emitted yet, and remember it."""
        known = self._versions.get(key)
        if known is None:
            known = self._earlier.get(key)
        if known == version:
            return False
        if len(self._versions) >= self._limit:
            self._earlier, self._versions = self._versions, {}
        self._versions[key] = version
        return True
