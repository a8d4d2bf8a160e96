"""What a sync reads once more, because changes may become visible late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_meetings import timestamps
from source_meetings.sync.look_back import LookBack
from source_meetings.sync.reading import State
from unit_tests.logic.fakes import NOW, at, text

MINUTES = LookBack(timedelta(minutes=5), timedelta(seconds=1))


def test_the_look_back_reaches_back_for_its_length_until_it_is_settled() -> None:
    assert MINUTES.reach({}) == timedelta(minutes=5)
    assert MINUTES.reach({"seen_at": text()}) == timedelta(minutes=5)
    assert MINUTES.reach({"seen_at": text(), "settled": True}) == timedelta(seconds=1)
    assert LookBack(timedelta(minutes=5)).reach({"settled": True}) == timedelta()


def test_a_watermark_that_moved_was_seen_when_the_sync_ended() -> None:
    # Given a state that was settled
    before = {"seen_at": text(days=-1), "settled": True}
    # When the watermark moves
    after = MINUTES.seen(before, began=NOW, ended=at(seconds=40), moved=True)
    # Then it is no longer, and the wait begins with the last answer
    assert after == {"seen_at": text(seconds=40)}


@pytest.mark.parametrize("seen_at", [None, 7, "", "yesterday"])
def test_a_state_that_does_not_say_since_when_it_is_known_counts_as_new(seen_at: Any) -> None:
    before = {} if seen_at is None else {"seen_at": seen_at, "settled": True}
    after = MINUTES.seen(before, began=NOW, ended=at(seconds=40), moved=False)
    assert after == {"seen_at": text(seconds=40)}


@pytest.mark.parametrize(
    ("began", "settled"),
    [
        (at(minutes=4), False),
        (at(minutes=5), False),  # less than five minutes, if the first fraction was the greater one
        (at(minutes=5, seconds=1), True),
        (at(days=1), True),
    ],
)
def test_a_sync_that_begins_later_than_the_length_after_the_watermark_settles_it(
    began: datetime, settled: bool
) -> None:
    before = {"seen_at": text()}
    after = MINUTES.seen(before, began=began, ended=at(days=2), moved=False)
    assert after == {"seen_at": text(), **({"settled": True} if settled else {})}


def test_what_is_settled_stays_so_while_the_watermark_does_not_move() -> None:
    before = {"seen_at": text(), "settled": True}
    assert MINUTES.seen(before, began=NOW, ended=NOW, moved=False) == before


@pytest.mark.parametrize("settled", [1, "yes", False, None])
def test_only_true_means_settled(settled: Any) -> None:
    before = {"seen_at": text(), "settled": settled}
    assert "settled" not in MINUTES.seen(before, began=NOW, ended=NOW, moved=False)


# -- what it is good for --------------------------------------------------------------------------

LENGTH = 5


@dataclass(frozen=True)
class Change:
    """A change is stamped at one second, and becomes visible so many seconds later."""

    stamp: int
    late: int

    @property
    def visible(self) -> int:
        return self.stamp + self.late


changes = st.lists(st.builds(Change, st.integers(0, 40), st.integers(0, LENGTH)), max_size=8)
syncs = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=8)


@given(changes, syncs, st.floats(0, 0.999))
def test_no_change_is_missed_that_becomes_visible_within_the_length(
    made: list[Change], runs: list[tuple[int, int]], fraction: float
) -> None:
    # Given a look-back of five seconds, and syncs that ask for what is stamped since the watermark.
    # Each runs for a while: its first answer decides on the watermark, its last one comes later
    look_back = LookBack(timedelta(seconds=LENGTH))
    state: State = {}
    watermark, found, now = -1, set[Change](), fraction

    def sync(pause: float, runs_for: float) -> None:
        nonlocal state, watermark, now
        now += pause
        began = now
        since = watermark - look_back.reach(state).total_seconds()
        seen = {one for one in made if one.visible <= now and one.stamp >= since}
        now += runs_for
        newest = max([watermark, *(one.stamp for one in seen)])
        state = look_back.seen(
            state, began=header(began), ended=header(now), moved=newest != watermark
        )
        watermark = newest
        found.update(seen)

    for pause, runs_for in runs:
        sync(pause, runs_for)
    # When everything has become visible, and one more sync has run
    sync(60, 0)
    # Then every change has been read
    assert found == set(made)
    # And after two quiet ones nothing but the watermark itself is read again
    sync(60, 0)
    assert (look_back.reach(state) == timedelta()) or not state


def header(seconds: float) -> datetime:
    """The Date header has whole seconds."""
    return at(seconds=int(seconds))


def test_the_times_in_a_state_are_read_back_as_they_were() -> None:
    after = MINUTES.seen({}, began=NOW, ended=NOW + timedelta(microseconds=7), moved=False)
    assert timestamps.parse(after["seen_at"]) == NOW + timedelta(microseconds=7)
