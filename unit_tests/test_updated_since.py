"""`UpdatedSince`, as the example provider's manifest configures it, request by request.

Without HTTP and the CDK: the strategy calls the example's side of the sandbox directly, and tests
can write between any two requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import count
from random import Random
from threading import RLock
from typing import Any

import pytest
import yaml

from sandbox.clock import Clock
from sandbox.side import Call
from source_meetings import timestamps
from source_meetings.components import build
from source_meetings.strategies.paging import all_tokens
from source_meetings.strategies.updated_since import UpdatedSince
from source_meetings.sync.chain import Sync
from source_meetings.sync.reading import Answer, Row, State, Untrustworthy
from source_meetings.transport.answer import ListOfRows
from unit_tests.example_provider import API_KEY, EXAMPLE, AcmeSide

BOTH = pytest.mark.parametrize("what", ["meetings", "notes"])
HEADERS = {"authorization": f"Bearer {API_KEY}"}


@cache
def manifest() -> Any:
    return yaml.safe_load((EXAMPLE / "manifest.yaml").read_text())


class Killed(Exception):
    """The process is killed at a request."""


@dataclass
class AcmeApi:
    """One endpoint of the example's manifest, without its requester.

    `before` is called before each request with the number of previous requests.
    """

    side: AcmeSide
    what: str
    size: int = 3
    before: Callable[[int], object] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    provider: str = "Acme"

    def __post_init__(self) -> None:
        self.endpoint = manifest()["definitions"][f"{self.what}_endpoint"]
        self.shape: ListOfRows = build(self.endpoint["answer"], ListOfRows)

    def page_size(self, endpoint: str) -> int:
        return self.size

    def pages_by_token(self, endpoint: str) -> bool:
        return self.what == "notes"

    def url(self, endpoint: str) -> str:
        raise NotImplementedError

    def get(
        self,
        endpoint: str,
        params: Mapping[str, str] | None = None,
        *,
        page: str | int | None = None,
        partition: Mapping[str, Any] | None = None,
    ) -> Answer:
        if self.before is not None:
            self.before(len(self.asked))
        numbered = self.what == "meetings"
        sent = dict(self.endpoint["request_parameters"])
        sent |= {"per_page" if numbered else "limit": str(self.size)}
        sent |= {} if page is None else {"page" if numbered else "page_token": str(page)}
        sent |= params or {}
        self.asked.append(sent)
        call = Call("acme", "GET", f"/{self.what}", list(sent.items()), HEADERS, b"")
        reply = self.side.answer(call)
        assert reply.status == 200, reply.payload
        assert self.shape.problem(reply.payload) is None
        content = self.shape.content(reply.payload, sent)
        clock = self.side.clock.now().replace(microsecond=0)
        return Answer(
            content.rows,
            clock,
            total=content.total,
            pages=content.pages,
            following=content.following,
        )


class Copy:
    """A destination's table, and the last saved state."""

    def __init__(self, api: AcmeApi, start_date: str | None = None, **options: Any) -> None:
        self.api = api
        self.start_date = start_date or ""
        self.rows: dict[str, Row] = {}
        self.state: State = {}
        (entry,) = (one for one in manifest()["streams"] if one["name"] == f"acme_{api.what}")
        self.strategy: UpdatedSince = build(
            {**entry["retriever"]["strategy"], **options},
            UpdatedSince,
            stream=entry["name"],
            cursor_field=entry["retriever"]["cursor_field"],
            config={"provider": {"room_ids": [7, 8]}, "start_date": start_date},
            api=api,
        )

    def sync(self) -> int:
        """Run a sync until it ends, `before` kills the process, or the list changes too fast.

        Returns the number of requests.
        """
        self.api.asked.clear()
        sync: Sync = Sync(self.strategy, "acme", self.state, save=lambda: self._save(sync))
        try:
            for slice in sync.slices():
                for rows in sync.read(slice):
                    self._load(rows)
            self._save(sync)
        except (Killed, Untrustworthy):
            assert self.api.before is not None
        return len(self.api.asked)

    def _save(self, sync: Sync) -> None:
        self.state = sync.state()

    def _load(self, rows: list[Row]) -> None:
        for row in rows:
            old = self.rows.get(row["id"])
            if old is None or old["updated_at"] <= row["updated_at"]:
                self.rows[row["id"]] = row


def account(seed: int | str, what: str) -> tuple[Random, AcmeSide, Copy]:
    """Return an account of a random kind, with a few rows in pages of at most three."""
    chance = Random(f"{seed} {what}")
    side = AcmeSide(Clock("2026-06-01T00:00:00Z"), RLock(), chance.randrange(10**6))
    side.page_cap = chance.choice((1, 2, 3))
    side.exclusive = chance.random() < 0.5
    side.whole_seconds = chance.random() < 0.5
    side.lag = chance.choice((0, 0, 30, 110))
    side.stamp_lag = chance.choice((0, 0, 7200))
    side.generate(chance.randrange(9))
    options: dict[str, Any] = {} if chance.random() < 0.5 else {"newest": None}
    moments = [row["updated_at"] for row in side.truth(what).values()]
    if moments and chance.random() < 0.3:
        options["start_date"] = chance.choice(moments)
    return chance, side, Copy(AcmeApi(side, what, chance.choice((1, 2, 3))), **options)


def change(side: AcmeSide, chance: Random) -> None:
    """Maybe write, and let time pass: none, a little, or more than the look-back."""
    for _ in range(3):
        if chance.random() < 0.6:
            side.change()
            if chance.random() < 0.5:
                side.clock.advance(seconds=chance.choice((0.3, 1, 40, 130)))


def disturbance(side: AcmeSide, chance: Random) -> Callable[[int], None]:
    """Write before each request, and in half of the syncs, kill the process before one of them."""
    fatal = chance.randrange(1, 12) if chance.random() < 0.5 else None

    def before(made: int) -> None:
        if made < 12:  # otherwise the list could grow faster than it is read
            change(side, chance)
        if made == fatal:
            raise Killed

    return before


@BOTH
@pytest.mark.parametrize("part", range(5))
def test_after_any_writes_during_and_between_syncs_the_table_becomes_correct(what, part):
    for seed in range(part, 400, 5):
        # Given a random account
        chance, side, copy = account(seed, what)
        # When there are writes during syncs, some of which are killed, and between them
        for _ in range(chance.randrange(1, 6)):
            copy.api.before = disturbance(side, chance)
            copy.sync()
            change(side, chance)
        # And then none, until every change is visible
        copy.api.before = None
        side.clock.advance(seconds=side.lag)
        copy.sync()
        # Then the table has what the API shows since the start date
        truth = {
            id: row for id, row in side.truth(what).items() if row["updated_at"] >= copy.start_date
        }
        assert copy.rows == truth, f"seed {seed}"


@BOTH
def test_the_sync_after_the_first_one_reads_almost_nothing_again(what):
    # Given a list whose newest changes are on the last page, and a first sync
    side = AcmeSide(Clock("2026-06-01T00:00:00Z"), RLock())
    side.generate(30)
    copy = Copy(AcmeApi(side, what))
    copy.sync()
    # When it is synced again
    requests = copy.sync()
    # Then it sends one request, from two minutes before the newest change on
    (newest,) = sorted(row["updated_at"] for row in copy.rows.values())[-1:]
    since = timestamps.iso(timestamps.parse(newest) - timedelta(minutes=2))
    assert [asked["updated_since"] for asked in copy.api.asked] == [since]
    assert requests == 1


def test_the_newest_change_of_each_partition_is_requested():
    # Given a list for each room
    side = AcmeSide(Clock("2026-06-01T00:00:00Z"), RLock())
    side.generate(1)
    rooms = {"option": "room_ids", "parameter": "room_id", "what": "room"}
    copy = Copy(AcmeApi(side, "meetings"), partitions=rooms)
    # When they are read for the first time
    copy.sync()
    # Then the newest change of each is requested, and then all of its rows
    asked = [(one["room_id"], one["sort"]) for one in copy.api.asked]
    assert asked == [("7", "-updated_at"), ("7", "id"), ("8", "-updated_at"), ("8", "id")]


def test_endless_page_tokens_are_an_error():
    # Given a provider that always sends another token
    numbers = count()

    def ask(token: str | None) -> Answer:
        return Answer([], timestamps.EPOCH, following=str(next(numbers)))

    # When its pages are read, then that ends with an error
    with pytest.raises(Untrustworthy, match="Acme lists more than 100000 pages."):
        for _ in all_tokens(ask, provider="Acme"):
            assert next(numbers) < 1_000_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"newst": {"sort": "-updated_at"}}, "UpdatedSince has no newst"),
        ({"filters": [{"parameter": "since", "fields": ["at"], "format": "epoch"}]}, "epoch"),
        ({"filters": [{"parameter": "since", "field": "at"}]}, "Filter has no field"),
        ({"partitions": {"option": "ids", "param": "id", "what": "x"}}, "Partitions has no param"),
    ],
)
def test_a_misspelt_option_in_a_manifest_is_refused_when_the_stream_is_built(options, words):
    side = AcmeSide(Clock("2026-06-01T00:00:00Z"), RLock())
    with pytest.raises(ValueError, match=words):
        Copy(AcmeApi(side, "meetings"), **options)
