"""The interfaces between a sync, the strategies of the providers, and their APIs.

A *strategy* knows how to keep a stream equal to its provider. For each sync it makes *readings*: a
first reading reads everything, a later one reads what changed, and an interrupted one is resumed. A
reading lists its *slices*, reads each slice page by page through an *API*, and knows the *state*
that may be saved. Several threads read slices at the same time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

Row = dict[str, Any]
State = dict[str, Any]  # a JSON object


@dataclass(frozen=True)
class Answer:
    """One accepted answer of a provider.

    ``rows``: its records. ``clock``: the provider's time (the ``Date`` header, in whole seconds),
    UTC. ``body``: the whole JSON, or None if the endpoint accepts a refusal with this ``status`` as
    an answer.

    ``total``: the number of rows on all pages. ``pages``: the number of pages. ``more``: whether
    more rows follow. ``following``: the token of the next page. Each is None if the answer does not
    say.
    """

    rows: list[Row]
    clock: datetime
    body: Any = None
    status: int = 200
    total: int | None = None
    pages: int | None = None
    more: bool | None = None
    following: str | None = None


class Api(Protocol):
    """The endpoints that a stream's manifest entry names.

    ``provider`` is the provider's name in messages.
    """

    @property
    def provider(self) -> str: ...

    def get(
        self,
        endpoint: str,
        params: Mapping[str, str] = ...,
        *,
        page: str | int | None = None,
        partition: Mapping[str, Any] = ...,
    ) -> Answer:
        """Request a page, with retries until an answer can be accepted.

        ``params`` are added to those of the manifest, or replace them. ``page`` is what the
        endpoint's paginator sends (a page number, an offset or a token). None requests the first
        page. ``partition`` fills placeholders of the path.
        """
        ...

    def page_size(self, endpoint: str) -> int:
        """Return how many rows per page the endpoint's paginator requests."""
        ...

    def pages_by_token(self, endpoint: str) -> bool:
        """Return whether each answer has the token of the next page, instead of page numbers."""
        ...

    def url(self, endpoint: str) -> str:
        """Return the URL of the endpoint, without parameters."""
        ...


@dataclass(frozen=True, eq=False)
class Slice:
    """A part of a reading, which one worker reads.

    ``values`` describe it, as a JSON object. ``held`` stays in memory, for example a page that was
    already fetched. ``saved``: whether states list it until it has been read, if its reading is
    resumable.
    """

    values: State
    held: Any = field(default=None, repr=False)
    saved: bool = True


class Reading(ABC):
    """One pass of one sync over a stream. It is used once.

    ``resumable``: unread slices are saved in the state, so the next sync can resume with them.
    ``sees_changes``: a resumed reading also shows what changed since the state was saved.
    """

    resumable: bool = False
    sees_changes: bool = False

    @abstractmethod
    def slices(self) -> Iterable[Slice]:
        """Return the slices to read. One thread calls this, and it may make requests.

        Raises ReadEverything, at any time, if the whole stream must be read instead.
        """

    @abstractmethod
    def read(self, slice: Slice) -> Iterator[list[Row]]:
        """Yield the rows of a slice to emit, page by page."""

    @abstractmethod
    def state(self, whole: bool) -> State:
        """Return the state that may be saved.

        ``whole``: every slice has been read. Otherwise, this is the state that already holds. For a
        resumable reading it is the state it leads to, saved together with the slices that are left.
        """

    def pending(self, slices: Sequence[Slice]) -> list[State]:
        """Return what to save for the slices that are left, in order.

        They may be merged into fewer, larger ones, so that a state stays small.
        """
        return [slice.values for slice in slices]


class Strategy(ABC):
    """How a stream is kept equal to its provider. Built from the manifest; keeps no sync data.

    A complete state has the stream's cursor field at its top level. The methods that return a
    reading may make requests to find out what to read.
    """

    cursor_field: str

    def start(self) -> State | None:
        """Return the state for the configured start date, or None."""
        return None

    @abstractmethod
    def first(self, since: State | None) -> Reading:
        """Return a reading of everything.

        ``since`` is the state whose changes could not be read, if there was one.
        """

    @abstractmethod
    def resume(self, state: State, pending: list[State]) -> Reading:
        """Return a reading of the slices that were left, which leads to ``state``.

        Raises UnusableState, before any request, if they do not belong to this stream.
        """

    @abstractmethod
    def changes(self, state: State) -> Reading:
        """Return a reading of what changed since a complete state.

        Raises UnusableState, before any request, if the state does not belong to this stream.
        Raises ReadEverything if the whole stream must be read instead.
        """


class UnusableState(Exception):
    """A saved state, or a slice in it, is not this stream's. The stream is read from the start."""


class ReadEverything(Exception):
    """The changes can no longer be listed, or only at a higher cost. The text says why.

    ``from_start``: the state is of no use at all, not even for leaving out older rows.
    """

    def __init__(self, reason: str, *, from_start: bool = False) -> None:
        super().__init__(reason)
        self.from_start = from_start


class Untrustworthy(Exception):
    """Answers that contradict each other, or that leave rows out. The text says what was seen."""


class Misconfigured(Exception):
    """The provider lacks something that the configuration names. The text says how to fix it."""
