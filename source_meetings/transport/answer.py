"""What an endpoint answers: where its rows are, and what else an answer says about them.

A manifest describes this under ``answer`` of a requester. If an answer has a different shape, the
request is repeated, and then it is an error. It is never treated as an empty page.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from source_meetings.sync.reading import Row


@dataclass(frozen=True)
class Content:
    """The contents of an accepted body. They become part of a ``sync.reading.Answer``."""

    rows: list[Row]
    total: int | None = None
    pages: int | None = None
    more: bool | None = None
    following: str | None = None


class AnswerShape(ABC):
    """The documented shape of an endpoint's answers."""

    @abstractmethod
    def problem(self, body: Any) -> str | None:
        """Say what is wrong with a body, without its values. Returns None if nothing is."""

    @abstractmethod
    def content(self, body: Any, params: Mapping[str, Any]) -> Content:
        """Return the contents of a valid body. ``params`` are those of the request."""


@dataclass(frozen=True)
class AnyObject(AnswerShape):
    """Any JSON object, for endpoints where it only matters that they answer."""

    def problem(self, body: Any) -> str | None:
        return None if isinstance(body, dict) else "it is not an object"

    def content(self, body: Any, params: Mapping[str, Any]) -> Content:
        return Content([])


@dataclass(frozen=True)
class OneRecord(AnswerShape):
    """An object that is a record itself, or has it under one of the keys in ``under``.

    ``key`` is the record's id. ``beside`` names keys that are not part of the record when the
    object is the record itself.
    """

    key: str = "id"
    under: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def problem(self, body: Any) -> str | None:
        if not isinstance(body, dict):
            return "it is not an object"
        return None if _is_key(self._record(body).get(self.key)) else f"it has no '{self.key}'"

    def content(self, body: Any, params: Mapping[str, Any]) -> Content:
        return Content([self._record(body)])

    def _record(self, body: Row) -> Row:
        for name in self.under:
            if name in body:
                record = body[name]
                return record if isinstance(record, dict) else {}
        return {name: value for name, value in body.items() if name not in self.beside}


@dataclass(frozen=True)
class ListOfRows(AnswerShape):
    """An object with a list of records.

    ``rows`` is the key of the list. ``key`` is the id that each record must have, a text or an
    integer (None: not checked). An empty answer may omit the list if its only keys are those in
    ``empty``.

    ``total``, ``pages``, ``more`` and ``following`` are paths (``metadata.paging.total_count``) to
    what the answer says about other pages. ``required`` names those that every answer must have.
    (``following`` may still be null then, on the last page.)
    """

    rows: str
    key: str | None = "id"
    empty: tuple[str, ...] | None = None
    total: str | None = None
    pages: str | None = None
    more: str | None = None
    following: str | None = None
    required: tuple[str, ...] = ()

    def problem(self, body: Any) -> str | None:
        if not isinstance(body, dict):
            return "it is not an object"
        rows = body.get(self.rows)
        if not isinstance(rows, list):
            if self.empty is not None and self.rows not in body and set(body) == set(self.empty):
                return None
            return f"'{self.rows}' is not a list"
        if not all(isinstance(row, dict) for row in rows):
            return f"a record in '{self.rows}' is not an object"
        if self.key and not all(_is_key(row.get(self.key)) for row in rows):
            return f"a record in '{self.rows}' has no '{self.key}'"
        for name in self.required:
            path = getattr(self, name)
            value = getattr(self.content(body, {}), name)
            if value is None and not (name == "following" and _has(body, path)):
                return f"it does not have '{path}'"
        if not _is_token(_at(body, self.following)):
            return f"'{self.following}' is not a token"
        return None

    def content(self, body: Any, params: Mapping[str, Any]) -> Content:
        following = _at(body, self.following)
        return Content(
            body.get(self.rows) or [],
            total=_count(_at(body, self.total)),
            pages=_count(_at(body, self.pages)),
            more=_flag(_at(body, self.more)),
            following=None if following in (None, "") else str(following),
        )


def _has(body: Any, path: str) -> bool:
    place, _, name = path.rpartition(".")
    inner = _at(body, place) if place else body
    return isinstance(inner, dict) and name in inner


def _is_key(value: Any) -> bool:
    """Return whether a value can tell a record from others: rows are looked up by it."""
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _is_token(value: Any) -> bool:
    """Return whether a value is a token or null."""
    return value is None or (isinstance(value, (str, int)) and not isinstance(value, bool))


def _at(body: Any, path: str | None) -> Any:
    for name in path.split(".") if path else ():
        body = body.get(name) if isinstance(body, dict) else None
    return body if path else None


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
