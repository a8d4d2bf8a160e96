"""What tests, benchmarks and the demo know about a provider: its account in the sandbox.

To add a provider, write its side (`sandbox/<name>.py`) and its account
(`sandbox/accounts/<name>.py`). Everything that runs per provider then includes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sandbox.facts import Change, Columns, EndlessPages, ShortPage, Statuses
from sandbox.side import Row, Side
from sandbox.unified import Meeting

if TYPE_CHECKING:
    from typing_extensions import Self

    from sandbox.server import Sandbox

Rows = Mapping[str, Row]


class Copy(Protocol):
    """A stream's table at a destination. `rows` are by key."""

    stream: str
    rows: dict[str, Row]


class Account(ABC):
    """One account of a provider. A row is identified by its primary key as text, with its parts
    joined by `|`. The class attributes describe the provider:

    name, title     in a configuration, and as people write it
    side_type       the provider's side of the sandbox
    auth_type       of a key that does not expire; None: the key is in `provider` itself
    key_field       the option that holds this key
    key_words       what the message must contain when the key is not accepted
    access_words    what it must contain when the key may not read meetings
    has_oauth       whether users can also sign in with OAuth
    token_uses      how many requests a token may last: fewer than a sync of `fill` makes
    streams         the streams with all meetings; the demo shows the first
    slow_streams    those of `streams` that take one request per row
    other_lists     the streams that are read without `list_path`
    list_path       the path of the list that a first sync reads, below the sandbox's URL
    kinds           by stream, a regular expression for each kind of request of a later sync
    short_pages     pages whose missing rows are noticed
    endless_pages   ways in which pages can go on forever
    columns         the names of fields
    statuses        the statuses that depend on the time
    shown           the columns that the demo shows
    quick           options of the side for tests: short limit intervals, small pages
    days            the range in which random meetings start, in days from now
    limit           the documented rate limit: how many requests or points, in how many seconds
    enforced        options of the side that enforce this limit as the provider does
    most_cpu        the most CPU time a row may take, as a multiple of a plain loop's
    """

    name: ClassVar[str]
    title: ClassVar[str]
    side_type: ClassVar[type[Side]]
    auth_type: ClassVar[str | None] = "api_key"
    key_field: ClassVar[str] = "api_key"
    key_words: ClassVar[str]
    access_words: ClassVar[str]
    has_oauth: ClassVar[bool] = True
    token_uses: ClassVar[int] = 3
    streams: ClassVar[tuple[str, ...]]
    slow_streams: ClassVar[tuple[str, ...]] = ()
    other_lists: ClassVar[tuple[str, ...]] = ()
    list_path: ClassVar[str]
    kinds: ClassVar[dict[str, dict[str, str]]]
    short_pages: ClassVar[tuple[ShortPage, ...]] = ()
    endless_pages: ClassVar[tuple[EndlessPages, ...]] = ()
    columns: ClassVar[Columns]
    statuses: ClassVar[Statuses]
    shown: ClassVar[tuple[str, ...]]
    quick: ClassVar[Row] = {}
    days: ClassVar[tuple[float, float]] = (-900, 300)
    limit: ClassVar[tuple[int, int] | None] = None
    enforced: ClassVar[Row] = {}
    most_cpu: ClassVar[float] = 2.5

    # What the control interface may call.
    actions: ClassVar[tuple[str, ...]] = ("generate", "fill", "change", "change_for_demo")

    def __init__(self, box: Sandbox, seed: int = 1) -> None:
        self.box = box
        self.side: Any = box.sides[self.name]
        self.chance = Random(seed)
        self._gone: set[str] = set()
        self._texts = 0

    @classmethod
    def with_rows(cls, box: Sandbox, count: int, seed: int = 1) -> Self:
        """An account for a test, with about `count` random rows in the main table."""
        account = cls(box, seed)
        account.make_quick()
        account.generate(count)
        return account

    @classmethod
    def sample(cls, box: Sandbox) -> Self:
        """An account for a test, with a small sample of every stream."""
        account = cls(box)
        account.make_quick()
        account.fill()
        return account

    # ------------------------------------------------------------------ configuration

    def config(self, oauth: bool = False) -> Row:
        """A configuration for every stream, with a key or with the current refresh token.

        The refresh token can be used once.
        """
        provider = {"name": self.name, "base_url": self.side.base_url, **self.options()}
        if oauth:
            provider["token_url"] = self.side.token_url
            provider["credentials"] = {
                "auth_type": "oauth2.0",
                "client_id": self.side.oauth.client_id,
                "client_secret": self.side.oauth.client_secret,
                "refresh_token": self.side.oauth.refresh_token,
            }
        else:
            key = {self.key_field: next(iter(self.side.keys))}
            in_place = {"credentials": {"auth_type": self.auth_type, **key}}
            provider |= in_place if self.auth_type else key
        return {"provider": provider}

    def options(self) -> Row:
        """What `provider` needs besides its name, URLs and credentials."""
        return {}

    def take_key(self) -> None:
        """Accept no key until `give_key_back`."""
        self._keys = self.side.keys
        self.side.keys = type(self._keys)()

    def give_key_back(self) -> None:
        self.side.keys = self._keys

    @abstractmethod
    def take_access(self) -> None:
        """Take away every key's right to read meetings."""

    def described(self) -> Row:
        """For people and the demo: what to configure, what to look at, and the sizes."""
        return {
            "title": self.title,
            "base_url": self.side.base_url,
            "config": self.config(),
            "stream": self.streams[0],
            "shown": self.shown,
            **self.side.sizes(),
        }

    # ------------------------------------------------------------------ rows

    @abstractmethod
    def generate(self, count: int) -> None:
        """Add about `count` random rows to the main stream's table."""

    @abstractmethod
    def fill(self) -> None:
        """Add a small sample with rows of every stream. It is the same each time."""

    def hold(self, count: int) -> None:
        """Serve `count` rows of the main stream, using almost no memory."""
        self.generate(count)

    def make_quick(self) -> None:
        """Shorten what would only slow tests down."""
        self.side.configure(**self.quick)

    @abstractmethod
    def keys(self) -> list[str]:
        """The keys of all meetings, in the order they were made."""

    @abstractmethod
    def insert(self, start: datetime, **fields: Any) -> str:
        """Add a meeting; return the key of its row, or of one of them."""

    def edit(self, key: str, **fields: Any) -> None:
        self.side.edit(*self.place(key), **fields)

    def reschedule(self, key: str, start: datetime) -> None:
        self.side.reschedule(*self.place(key), start.isoformat())

    def cancel(self, key: str) -> None:
        self.side.cancel(*self.place(key))

    def delete(self, key: str) -> None:
        self.side.delete(*self.place(key))

    def place(self, key: str) -> tuple[Any, ...]:
        """The arguments that identify a key's row in the side's writes."""
        return (key,)

    def change(self) -> None:
        """One write of a random kind to a random meeting."""
        kind = self.chance.choice(("edit", "insert", "cancel", "delete", "reschedule"))
        start = self.box.clock.now() + timedelta(days=self.chance.uniform(*self.days))
        keys = self.keys()
        if kind == "insert" or len(keys) < 3:
            self.insert(start)
            return
        key = self.chance.choice(keys)
        if kind == "edit":
            self._texts += 1
            self.edit(key, **{self.columns.edited: f"change {self._texts}"})
        elif kind == "reschedule":
            self.reschedule(key, start)
        elif kind == "cancel":
            self.cancel(key)
        else:
            self.delete(key)

    @abstractmethod
    def demo_changes(self) -> list[Change]:
        """One write of every kind that people make, to suitable meetings. One adds a meeting."""

    def change_for_demo(self) -> list[Row]:
        """Make the demo's changes. Returns the words and the key of each."""
        changes = self.demo_changes()
        for change in changes:
            change.make()
        return [{"words": change.words, "key": change.key} for change in changes]

    # ------------------------------------------------------------------ truth

    @property
    @abstractmethod
    def tables(self) -> dict[str, Callable[[], Rows]]:
        """For every stream, the function that lists the rows its table should hold now."""

    def truth(self, stream: str | None = None) -> dict[str, Row]:
        """The rows that a stream's table should hold now, by key. Default: the main stream."""
        rows = self.tables[stream or self.streams[0]]()
        return {key: without_nulls(row) for key, row in rows.items()}

    def comparable(self, stream: str, rows: Rows) -> Rows:
        """A table's rows in the form of the truth."""
        return rows

    def unseen(self, stream: str) -> set[str]:
        """Keys of the rows that may stay in a table, because nothing shows that they are gone."""
        return self._gone

    def differences(self, copy: Copy) -> dict[str, list[str]]:
        """Keys of rows that are missing, stale, or in the table but not at the provider."""
        truth = self.truth(copy.stream)
        table = self.comparable(copy.stream, copy.rows)
        rows = {key: without_nulls(row) for key, row in table.items()}
        return {
            "missing": sorted(set(truth) - set(rows)),
            "stale": sorted(key for key in truth if key in rows and rows[key] != truth[key]),
            "too many": sorted(set(rows) - set(truth) - self.unseen(copy.stream)),
        }

    def served(self, row: Row, key: str) -> bool:
        """Whether a row from the API is the one with this key."""
        return str(row.get("id")) == key

    def typed(self, record: Row) -> Any:
        """A record's value in the field that people type into."""
        return record.get(self.columns.typed)

    # ------------------------------------------------------------------ requests

    @property
    def path(self) -> str:
        """A regular expression for requests to this provider, except those for tokens."""
        return rf"^/{self.name}/(?!oauth2?/token)"

    def aim_of_first_sync(self, rows: int, slices: int) -> str:
        """The most requests that a first sync should take, or nothing without an aim."""
        return ""

    def aim_of_later_sync(self, changes: int) -> str:
        return ""

    # ------------------------------------------------------------------ dbt

    @abstractmethod
    def add_awkward(self) -> None:
        """Add cases to `fill` that a model of meetings could get wrong."""

    @abstractmethod
    def change_awkward(self) -> None:
        """Change those cases, as people do."""

    @abstractmethod
    def unified(self) -> Iterator[Meeting]:
        """What the models should say about each meeting."""

    def tombstones(self) -> set[str]:
        """Keys of the meetings that the models should only show as deleted."""
        return set()


def without_nulls(row: Row) -> Row:
    """The connector leaves nulls out of records, except inside other values."""
    return {name: value for name, value in row.items() if value is not None}
