"""The time before the watermark that a sync reads again, as changes may become visible late."""

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


def test_the_look_back_has_its_full_length_until_it_is_settled() -> None:
    assert MINUTES.reach({}) == timedelta(minutes=5)
    assert MINUTES.reach({"seen_at": text()}) == timedelta(minutes=5)
    assert MINUTES.reach({"seen_at": text(), "settled": True}) == timedelta(seconds=1)
    assert LookBack(timedelta(minutes=5)).reach({"settled": True}) == timedelta()


def test_a_watermark_that_advanced_counts_as_known_since_the_end_of_the_sync() -> None:
    # Given a settled state
    before = {"seen_at": text(days=-1), "settled": True}
    # When the watermark advances
    after = MINUTES.seen(before, began=NOW, ended=at(seconds=40), moved=True)
    # Then it is not settled any more, and is known since the last answer
    assert after == {"seen_at": text(seconds=40)}


@pytest.mark.parametrize("seen_at", [None, 7, "", "yesterday"])
def test_a_state_without_the_time_since_which_it_is_known_counts_as_new(seen_at: Any) -> None:
    before = {} if seen_at is None else {"seen_at": seen_at, "settled": True}
    after = MINUTES.seen(before, began=NOW, ended=at(seconds=40), moved=False)
    assert after == {"seen_at": text(seconds=40)}


@pytest.mark.parametrize(
    ("began", "settled"),
    [
        (at(minutes=4), False),
        (at(minutes=5), False),  # less than five minutes, if the first time had the larger fraction
        (at(minutes=5, seconds=1), True),
        (at(days=1), True),
    ],
)
def test_a_sync_that_starts_more_than_the_look_back_after_the_watermark_settles_it(
    began: datetime, settled: bool
) -> None:
    before = {"seen_at": text()}
    after = MINUTES.seen(before, began=began, ended=at(days=2), moved=False)
    assert after == {"seen_at": text(), **({"settled": True} if settled else {})}


def test_a_settled_watermark_stays_settled_until_it_advances() -> None:
    before = {"seen_at": text(), "settled": True}
    assert MINUTES.seen(before, began=NOW, ended=NOW, moved=False) == before


@pytest.mark.parametrize("settled", [1, "yes", False, None])
def test_only_true_means_settled(settled: Any) -> None:
    before = {"seen_at": text(), "settled": settled}
    assert "settled" not in MINUTES.seen(before, began=NOW, ended=NOW, moved=False)


# -- the promise ----------------------------------------------------------------------------------

LENGTH = 5


@dataclass(frozen=True)
class Change:
    """A change is stamped at one second and becomes visible a number of seconds later."""

    stamp: int
    late: int

    @property
    def visible(self) -> int:
        return self.stamp + self.late


changes = st.lists(st.builds(Change, st.integers(0, 40), st.integers(0, LENGTH)), max_size=8)
syncs = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=8)


@given(changes, syncs, st.floats(0, 0.999))
def test_no_change_that_becomes_visible_within_the_look_back_is_missed(
    made: list[Change], runs: list[tuple[int, int]], fraction: float
) -> None:
    # Given a look-back of five seconds, and syncs that request changes since the watermark. Each
    # sync takes a while: its first answer determines the watermark, and its last one comes later
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
    # When every change is visible and one more sync has run
    sync(60, 0)
    # Then every change has been read
    assert found == set(made)
    # And after two syncs without changes, only the time of the watermark itself is read again
    sync(60, 0)
    assert (look_back.reach(state) == timedelta()) or not state


def header(seconds: float) -> datetime:
    """Return the time as a Date header has it, in whole seconds."""
    return at(seconds=int(seconds))


def test_the_times_in_a_state_are_read_back_unchanged() -> None:
    after = MINUTES.seen({}, began=NOW, ended=NOW + timedelta(microseconds=7), moved=False)
    assert timestamps.parse(after["seen_at"]) == NOW + timedelta(microseconds=7)
