"""The interfaces between a sync, the strategies of the providers, and their APIs.

A *strategy* knows how a stream is kept equal to its provider. For each sync it makes *readings*: a
first one reads everything, a later one reads what changed, and one that was interrupted is resumed.
A reading says which *slices* there are, reads each of them page by page through an *API*, and knows
the *state* that may be saved then. Several threads read slices at the same time.
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

    ``rows``: the records in it. ``clock``: the provider's time (its ``Date`` header, which has
    whole seconds), UTC. ``body``: the whole JSON, or None if the endpoint takes a refusal with this
    ``status`` for an answer.

    ``total``: how many rows there are on all pages. ``pages``: how many pages there are. ``more``:
    whether there are rows after these. ``following``: the token of the next page. Each is None if
    the answer does not say.
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
        """Ask once, and as often as it takes to get an answer that can be accepted.

        ``params`` are sent beside those of the manifest, or in their place. ``page`` is what the
        endpoint's paginator sends (a page number, an offset or a token); None asks for the first
        page. ``partition`` fills placeholders of the path.
        """
        ...

    def page_size(self, endpoint: str) -> int:
        """Return how many rows the endpoint's paginator asks for."""
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

    ``values`` describe it, as a JSON object. ``held`` stays in memory: a page that was fetched
    already, for example. ``saved``: whether a state lists it until it has been read, if its reading
    is resumable.
    """

    values: State
    held: Any = field(default=None, repr=False)
    saved: bool = True


class Reading(ABC):
    """One pass of one sync over a stream. It is used once.

    ``resumable``: slices that have not been read go into the state, to be resumed from there.
    ``sees_changes``: a resumed reading also shows what changed since the state was saved.
    """

    resumable: bool = False
    sees_changes: bool = False

    @abstractmethod
    def slices(self) -> Iterable[Slice]:
        """Return the slices to read. One thread calls this, and it may make requests.

        Raises ReadEverything, at any time, if the stream has to be read whole instead.
        """

    @abstractmethod
    def read(self, slice: Slice) -> Iterator[list[Row]]:
        """Yield the rows of a slice to emit, page by page."""

    @abstractmethod
    def state(self, whole: bool) -> State:
        """Return the state that may be promised.

        ``whole``: every slice has been read. Otherwise it is the state that holds before, which for
        a resumable reading is the one it leads to, and is saved beside the slices that are left.
        """

    def pending(self, slices: Sequence[Slice]) -> list[State]:
        """Return what is saved for slices that are left, in their order. It may be fewer, larger
        ones, so that a state stays small."""
        return [slice.values for slice in slices]


class Strategy(ABC):
    """How a stream is kept equal to its provider. Made from the manifest; holds nothing of a sync.

    A complete state has the stream's cursor field at its top level. The methods that return a
    reading may make requests, to find out what there is to read.
    """

    cursor_field: str

    def start(self) -> State | None:
        """Return the state that the configured start date stands for, or None."""
        return None

    @abstractmethod
    def first(self, since: State | None) -> Reading:
        """Return a reading of everything.

        ``since`` is the state from which the changes could not be read, if there was one.
        """

    @abstractmethod
    def resume(self, state: State, pending: list[State]) -> Reading:
        """Return a reading of the slices that were left, which leads to ``state``.

        Raises UnusableState, before any request, if they are not this stream's.
        """

    @abstractmethod
    def changes(self, state: State) -> Reading:
        """Return a reading of what changed since a complete state.

        Raises UnusableState, before any request, if the state is not this stream's, and
        ReadEverything if the stream has to be read whole instead.
        """


class UnusableState(Exception):
    """A saved state, or a slice in it, is not one of this stream's: it is read from the start."""


class ReadEverything(Exception):
    """The changes can no longer be listed, or only at a higher price; the text says why.

    ``from_start``: the state is of no use at all, not even to leave out older rows.
    """

    def __init__(self, reason: str, *, from_start: bool = False) -> None:
        super().__init__(reason)
        self.from_start = from_start


class Untrustworthy(Exception):
    """Answers that cannot all be true, or that leave rows out; the text says what was seen."""


class Misconfigured(Exception):
    """The provider does not have what the configuration names; the text says how to correct it."""
