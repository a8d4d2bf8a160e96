"""The facts about a provider that tests get from its account, in one form for all providers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.side import Row


@dataclass(frozen=True)
class Change:
    """One write of the demo, not made yet. `words` describe it to people.

    `key`: that of the row it changes, or None if it adds one.
    """

    words: str
    make: Callable[[], object]
    key: str | None = None


@dataclass(frozen=True)
class Columns:
    """The names of a meeting's fields in the truth.

    `edited`: the field that a random edit changes. `typed`: a field that holds whatever people
    type. `stamps`: the times in the API's answers that the connector relies on.
    """

    start: str
    updated: str
    stamps: tuple[str, ...]
    end: str | None = None
    created: str | None = None
    edited: str = "title"
    typed: str = "title"


@dataclass(frozen=True)
class Statuses:
    """The statuses that depend on a meeting's time. `of` returns the status of a row of the truth.

    `ahead`: those that a meeting can have only before it begins. `begun`: only after that.
    `marked`: those of `begun` that someone enters, which changes the row.
    `moved`: fields for `insert` besides a start in the past, and the status of that meeting once
    it has been moved to the future.
    """

    of: Callable[[Row], Any]
    ahead: frozenset[str]
    begun: frozenset[str]
    marked: frozenset[str]
    moved: tuple[tuple[Row, str], ...]


@dataclass(frozen=True)
class ShortPage:
    """A page whose missing rows are noticed, because the answer or request says how many there are.

    `request`: a regular expression for such pages. `later`: only a later sync requests them.
    """

    request: str
    nth: int
    later: bool = False


@dataclass(frozen=True)
class EndlessPages:
    """A way in which pages can go on forever. `spoil` alters each page, and `ignored` is a
    parameter that the provider ignores. `later`: only a later sync has to notice."""

    spoil: Callable[[Row], None]
    ignored: str = "_cursor"
    later: bool = False
