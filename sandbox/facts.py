"""The facts of a provider that tests get from its account, in one form for all providers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.side import Row


@dataclass(frozen=True)
class Change:
    """One write of the demo, not made yet. `words` say it to people.

    `key`: of the row that it changes; None if it makes one.
    """

    words: str
    make: Callable[[], object]
    key: str | None = None


@dataclass(frozen=True)
class Columns:
    """The names of a meeting's fields in the truth.

    `edited`: what a random edit writes to. `typed`: where the API takes whatever people type.
    `stamps`: in the API's answers, the times that the connector goes by.
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
    """Which statuses depend on the time of a meeting. `of` takes a row of the truth.

    `ahead`: what a meeting can be only before it begins. `begun`: what it can be only after that.
    `marked`: those of the latter that somebody enters, which changes the row.
    `moved`: what `insert` takes beside a start in the past, and the status of that meeting once it
    has been moved into the future.
    """

    of: Callable[[Row], Any]
    ahead: frozenset[str]
    begun: frozenset[str]
    marked: frozenset[str]
    moved: tuple[tuple[Row, str], ...]


@dataclass(frozen=True)
class ShortPage:
    """A page whose missing rows show, because the answer or the request says how many there are.

    `request`: an expression for such pages. `later`: a later sync asks for them, not a first one.
    """

    request: str
    nth: int
    later: bool = False


@dataclass(frozen=True)
class EndlessPages:
    """A way in which pages can go on for ever: `spoil` alters each, and `ignored` is a parameter
    that the provider does not go by. `later`: only a later sync need notice."""

    spoil: Callable[[Row], None]
    ignored: str = "_cursor"
    later: bool = False
