"""A sync as a chain of readings: what is read when, and what the state promises at each moment.

The strategies here are scripted, without API, HTTP and CDK.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from source_meetings.sync.chain import Sync
from source_meetings.sync.reading import (
    ReadEverything,
    Reading,
    Row,
    Slice,
    State,
    Strategy,
    UnusableState,
)
from unit_tests.logic.fakes import (
    AFTER,
    BEFORE,
    START,
    Answered,
    Noting,
    ScriptedReading,
    ScriptedStrategy,
    everything,
    the_changes,
    unfinished,
)


class Driven:
    """A sync that a test runs step by step."""

    def __init__(
        self, strategy: Strategy, given: State | None = None, *, full_refresh: bool = False
    ) -> None:
        self.saved: list[State] = []
        self.sync = Sync(
            strategy,
            "meetings",
            given or {},
            full_refresh=full_refresh,
            save=lambda: self.saved.append(self.sync.state()),
        )
        self.slices = self.sync.slices()

    @property
    def state(self) -> State:
        return self.sync.state()

    def plan(self) -> str | None:
        """Get the next slice and return its name."""
        slice = self.plan_slice()
        return None if slice is None else str(slice.values["name"])

    def plan_slice(self) -> Slice | None:
        return next(self.slices, None)

    def open(self) -> Iterator[list[Row]]:
        """Get the next slice and start to read it."""
        slice = self.plan_slice()
        assert slice is not None
        return self.sync.read(slice)

    def read_one(self) -> list[str]:
        """Get the next slice and read it to its end."""
        return ids(self.open())

    def run(self) -> list[str]:
        """Read each slice as soon as it is known."""
        found: list[str] = []
        while (slice := self.plan_slice()) is not None:
            found += ids(self.sync.read(slice))
        return found


def ids(pages: Iterator[list[Row]]) -> list[str]:
    return [str(row["id"]) for page in pages for row in page]


# -- the readings of a sync -----------------------------------------------------------------------


def test_without_a_state_everything_is_read() -> None:
    strategy = ScriptedStrategy(first=everything("a", "b"))
    sync = Driven(strategy)
    assert sync.run() == ["a1", "a2", "b1", "b2"]
    assert strategy.asked == [("first", None)]
    assert sync.state == AFTER


def test_with_a_complete_state_the_changes_since_then_are_read() -> None:
    strategy = ScriptedStrategy(changes=the_changes("a"))
    sync = Driven(strategy, BEFORE)
    assert sync.run() == ["a1", "a2"]
    assert strategy.asked == [("changes", BEFORE)]
    assert sync.state == {"changed": "now"}


def test_a_start_date_is_used_if_there_is_no_state() -> None:
    strategy = ScriptedStrategy(changes=the_changes("a"), start=START)
    assert Driven(strategy).run() == ["a1", "a2"]
    assert strategy.asked == [("changes", START)]


def test_a_saved_state_takes_precedence_over_the_start_date() -> None:
    strategy = ScriptedStrategy(changes=the_changes("a"), start=START)
    Driven(strategy, BEFORE).run()
    assert strategy.asked == [("changes", BEFORE)]


def test_the_unread_slices_of_an_interrupted_sync_are_read_before_the_changes_since_its_state() -> (
    None
):
    # Given the state of a first sync with two unread slices
    strategy = ScriptedStrategy(resume=everything("b", "c"), changes=the_changes("d"))
    sync = Driven(strategy, unfinished("b", "c"))
    # When it is run
    found = sync.run()
    # Then the slices come first, and then the changes since the state that follows from them
    assert found == ["b1", "b2", "c1", "c2", "d1", "d2"]
    assert strategy.asked == [
        ("resume", AFTER, [{"name": "b"}, {"name": "c"}]),
        ("changes", AFTER),
    ]
    assert sync.state == {"changed": "now"}


def test_the_changes_are_not_requested_before_the_unread_slices_are_handed_out() -> None:
    strategy = ScriptedStrategy(resume=everything("b", "c"), changes=the_changes("d"))
    sync = Driven(strategy, unfinished("b", "c"))
    assert [sync.plan(), sync.plan()] == ["b", "c"]
    assert [call[0] for call in strategy.asked] == ["resume"]


def test_a_resumed_reading_that_sees_changes_is_the_whole_sync() -> None:
    strategy = ScriptedStrategy(resume=everything("b", sees_changes=True))
    sync = Driven(strategy, unfinished("b"))
    assert sync.run() == ["b1", "b2"]
    assert [call[0] for call in strategy.asked] == ["resume"]
    assert sync.state == AFTER


def test_when_the_changes_cannot_be_listed_everything_is_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given
    caplog.set_level(logging.INFO)
    reason = ReadEverything("the log does not reach back that far.")
    strategy = ScriptedStrategy(changes=reason, first=everything("a"), start=START)
    # When
    found = Driven(strategy, BEFORE).run()
    # Then the first reading gets what is already known, and the log says why
    assert found == ["a1", "a2"]
    assert strategy.asked == [("changes", BEFORE), ("first", BEFORE)]
    assert "Stream meetings: the log does not reach back that far." in caplog.messages


@pytest.mark.parametrize("start", [START, None])
def test_an_unusable_state_is_replaced_by_the_start_date(start: State | None) -> None:
    reason = ReadEverything("the state is ahead of the clock", from_start=True)
    strategy = ScriptedStrategy(changes=reason, first=everything("a"), start=start)
    Driven(strategy, BEFORE).run()
    assert strategy.asked == [("changes", BEFORE), ("first", start)]


@pytest.mark.parametrize("from_start", [False, True])
def test_everything_is_read_if_there_turn_out_to_be_too_many_changes(from_start: bool) -> None:
    # Given changes that can only be listed in part
    reason = ReadEverything("more changed than is worth listing", from_start=from_start)
    strategy = ScriptedStrategy(
        changes=the_changes("c", "d", reason), first=everything("a", "b"), start=START
    )
    sync = Driven(strategy, BEFORE)
    # When one of their slices has been read and another one is being read
    assert sync.read_one() == ["c1", "c2"]
    late = sync.open()
    next(late)
    assert sync.state == BEFORE
    # Then everything is read, and the state lists all of its slices
    assert sync.plan() == "a"
    assert strategy.asked[1:] == [("first", START if from_start else BEFORE)]
    assert sync.state == unfinished("a", "b")
    # And slices of the changes that are still being read do not change that state
    states = len(sync.saved)
    assert ids(late) == ["d2"]
    assert sync.state == unfinished("a", "b")
    assert len(sync.saved) == states


def test_everything_is_read_if_the_changes_after_a_resumed_sync_cannot_be_listed() -> None:
    # Given an interrupted sync, and changes that cannot be listed any more
    strategy = ScriptedStrategy(
        resume=everything("b"), changes=ReadEverything("too late"), first=everything("x")
    )
    sync = Driven(strategy, unfinished("b"))
    # When it is resumed, then everything is read after the unread slices
    assert sync.run() == ["b1", "b2", "x1", "x2"]
    assert strategy.asked[1:] == [("changes", AFTER), ("first", AFTER)]
    assert sync.state == AFTER


# -- states that cannot be used -------------------------------------------------------------------


def test_a_state_of_another_stream_is_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given the state of another stream
    strategy = ScriptedStrategy(
        changes=UnusableState(),
        first=everything("a"),
    )
    sync = Driven(strategy, {"other": 1})
    # When nothing has been read yet, then no part of it is saved again
    assert sync.plan() == "a"
    assert sync.state == unfinished("a")
    assert strategy.asked == [("changes", {"other": 1}), ("first", None)]
    assert caplog.messages == [
        "Stream meetings: the saved state does not belong to this stream; reading from the start."
    ]


def test_a_state_of_another_stream_is_not_saved_again_if_nothing_can_be_read() -> None:
    strategy = ScriptedStrategy(changes=UnusableState(), first=RuntimeError("no network"))
    sync = Driven(strategy, {"other": 1})
    with pytest.raises(RuntimeError, match="no network"):
        sync.run()
    assert sync.state == {}


def test_after_a_state_of_another_stream_the_start_date_is_used() -> None:
    changes: dict[str, Answered] = {"None": UnusableState(), "start date": the_changes("a")}
    strategy = ScriptedStrategy(changes=changes, start=START)
    assert Driven(strategy, {"other": 1}).run() == ["a1", "a2"]
    assert strategy.asked == [("changes", {"other": 1}), ("changes", START)]


def test_a_state_of_another_stream_is_not_passed_to_the_first_reading() -> None:
    # Given an unusable state, and a start date since which the changes cannot be listed
    changes: dict[str, Answered] = {
        "None": UnusableState(),
        "start date": ReadEverything("too long ago"),
    }
    strategy = ScriptedStrategy(changes=changes, first=everything("a"), start=START)
    # When
    Driven(strategy, {"other": 1}).run()
    # Then the first reading gets the start date
    assert strategy.asked[-1] == ("first", START)


def test_unread_slices_of_another_stream_are_ignored_like_its_state() -> None:
    # Given a strategy that refuses the slices and the cursor in the state
    strategy = ScriptedStrategy(
        resume=UnusableState(), changes=UnusableState(), first=everything("a")
    )
    given = unfinished("z")
    # When
    assert Driven(strategy, given).run() == ["a1", "a2"]
    # Then it was called with both, and everything is read
    assert strategy.asked == [
        ("resume", AFTER, [{"name": "z"}]),
        ("changes", given),
        ("first", None),
    ]


@pytest.mark.parametrize(
    "scan",
    [
        None,
        7,
        "pending",
        [],
        {},
        {"then": AFTER},
        {"pending": []},
        {"then": "after", "pending": []},
        {"then": AFTER, "pending": {"name": "a"}},
        {"then": AFTER, "pending": ["a"]},
        {"then": AFTER, "pending": [{"name": "a"}, None]},
    ],
)
def test_a_scan_of_another_form_is_not_resumed(scan: Any) -> None:
    strategy = ScriptedStrategy(changes=UnusableState(), first=everything("a"))
    Driven(strategy, {"scan": scan}).run()
    assert strategy.asked == [("changes", {"scan": scan}), ("first", None)]


# -- full refresh ---------------------------------------------------------------------------------


def test_a_full_refresh_reads_everything_whatever_was_read_before() -> None:
    strategy = ScriptedStrategy(first=everything("a"))
    sync = Driven(strategy, BEFORE, full_refresh=True)
    assert sync.state == {}
    assert sync.run() == ["a1", "a2"]
    assert strategy.asked == [("first", None)]


def test_a_full_refresh_with_a_start_date_reads_the_changes_since_then() -> None:
    strategy = ScriptedStrategy(changes=the_changes("a"), start=START)
    Driven(strategy, BEFORE, full_refresh=True).run()
    assert strategy.asked == [("changes", START)]


def test_a_full_refresh_resumes_an_interrupted_attempt() -> None:
    strategy = ScriptedStrategy(resume=everything("b"), changes=the_changes("c"))
    sync = Driven(strategy, unfinished("b"), full_refresh=True)
    assert sync.run() == ["b1", "b2", "c1", "c2"]
    assert [call[0] for call in strategy.asked] == ["resume", "changes"]


# -- what a state promises ------------------------------------------------------------------------


def test_before_anything_is_planned_the_state_is_the_given_one() -> None:
    assert Driven(ScriptedStrategy(), BEFORE).state == BEFORE
    assert Driven(ScriptedStrategy(), unfinished("a")).state == unfinished("a")
    assert Driven(ScriptedStrategy()).state == {}


def test_a_state_lists_the_unread_slices_in_order() -> None:
    # Given a first sync of three slices, of which two are being read
    sync = Driven(ScriptedStrategy(first=everything("a", "b", "c")))
    first, second = sync.open(), sync.open()
    next(first)
    next(second)
    assert sync.state == unfinished("a", "b", "c")
    # When the second one has been read, then it is not listed
    ids(second)
    assert sync.state == unfinished("a", "c")
    # And neither is the first one after it was read, but the one that nobody started still is
    ids(first)
    assert sync.state == unfinished("c")
    sync.read_one()
    assert sync.state == AFTER


def test_a_slice_is_unread_until_the_page_after_its_last_one_is_requested() -> None:
    # Given a slice whose last page the reader has just received
    sync = Driven(ScriptedStrategy(first=everything("a")))
    pages = sync.open()
    assert next(pages) + next(pages) == [{"id": "a1"}, {"id": "a2"}]
    # Then nothing shows yet that the reader passed it on
    assert sync.state == unfinished("a")
    assert next(pages, None) is None
    assert sync.state == AFTER


def test_a_slice_that_is_abandoned_halfway_is_unread() -> None:
    sync = Driven(ScriptedStrategy(first=everything("a")))
    pages = sync.open()
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert sync.state == unfinished("a")


def test_all_slices_are_listed_before_the_first_one_is_handed_out() -> None:
    sync = Driven(ScriptedStrategy(first=everything("a", "b", "c")))
    sync.plan()
    assert sync.saved == [unfinished("a", "b", "c")]


def test_a_reading_may_list_fewer_larger_slices() -> None:
    # Given a reading that saves the number of unread slices instead of their values
    @dataclass
    class Counting(ScriptedReading):
        def pending(self, slices: Sequence[Slice]) -> list[State]:
            return [{"left": [slice.values["name"] for slice in slices]}]

    reading = Counting(["a", "b", "c"], before=dict(AFTER), resumable=True)
    sync = Driven(ScriptedStrategy(first=reading))
    sync.read_one()
    assert sync.state == {"scan": {"then": AFTER, "pending": [{"left": ["b", "c"]}]}}


def test_slices_that_are_not_to_be_saved_are_not_listed() -> None:
    # Given a resumed reading with a slice that the next sync would read anyway
    reading = everything("b", "c", unsaved=["c"], sees_changes=True)
    reading.before, reading.after = dict(BEFORE), dict(AFTER)
    sync = Driven(ScriptedStrategy(resume=reading), unfinished("b", then=BEFORE))
    slice_b, slice_c = sync.open(), sync.open()
    assert sync.state == unfinished("b", then=BEFORE)
    # When only that one is unread, then the state is complete and promises nothing about it
    ids(slice_b)
    assert sync.state == BEFORE
    ids(slice_c)
    assert sync.state == AFTER


def test_changes_are_promised_once_all_have_been_read_and_no_more_can_come() -> None:
    # Given changes whose slices become known one after the other
    sync = Driven(ScriptedStrategy(changes=the_changes("a", "b")), BEFORE)
    first = sync.open()
    assert sync.state == BEFORE
    ids(first)
    # Then after all known slices have been read, nothing is promised, as more may come
    assert sync.state == BEFORE
    second = sync.open()
    assert sync.plan() is None
    assert sync.state == BEFORE
    ids(second)
    assert sync.state == {"changed": "now"}


def test_changes_without_a_slice_are_promised_at_once() -> None:
    sync = Driven(ScriptedStrategy(changes=the_changes()), BEFORE)
    assert sync.plan() is None
    assert sync.state == {"changed": "now"}


def test_a_first_reading_without_a_slice_is_promised_at_once() -> None:
    sync = Driven(ScriptedStrategy(first=everything()))
    assert sync.plan() is None
    assert (sync.state, sync.saved) == (AFTER, [AFTER])


def test_changes_are_not_promised_before_the_unread_slices_of_a_resumed_sync() -> None:
    # Given a resumed sync whose slice takes longer than all changes
    strategy = ScriptedStrategy(resume=everything("b"), changes=the_changes("c"))
    sync = Driven(strategy, unfinished("b"))
    slow = sync.open()
    next(slow)
    sync.read_one()
    assert sync.plan() is None
    # Then the state does not advance before that slice is read
    assert sync.state == unfinished("b")
    ids(slow)
    assert sync.state == {"changed": "now"}


@pytest.mark.parametrize("begun", ["before the plan", "during the plan", "after the plan"])
def test_a_resumed_sync_that_ends_while_a_first_reading_is_planned_promises_no_unread_row(
    begun: str,
) -> None:
    # Given a resumed sync whose last slice is being read, and changes that cannot be listed. One
    # thread plans a first reading, and another one finishes the slice before, during or after that
    planning, go_on = threading.Event(), threading.Event()

    @dataclass
    class Slow(ScriptedReading):
        def slices(self) -> Iterator[Slice]:
            planning.set()
            assert go_on.wait(10)
            yield from super().slices()

    anew = Slow(["x", "y"], before={"changed": "anew"}, after={"changed": "anew"}, resumable=True)
    strategy = ScriptedStrategy(
        resume=everything("b"), changes=ReadEverything("too late"), first=anew
    )
    sync = Driven(strategy, unfinished("b"))
    last = sync.open()
    assert ids_of_a_page(last) == ["b1"]
    assert ids_of_a_page(last) == ["b2"]
    planned: list[str | None] = []
    planner = threading.Thread(target=lambda: planned.append(sync.plan()))
    # When
    if begun == "before the plan":
        assert next(last, None) is None
    planner.start()
    assert planning.wait(10)
    if begun == "during the plan":
        assert sync.state == unfinished("b")
        assert next(last, None) is None
    if begun != "after the plan":
        # Then the state promises what the resumed sync read, and no row of the new reading
        assert sync.state == AFTER
    go_on.set()
    planner.join(10)
    # And when the first reading is planned, the state lists all of its slices
    anew_left = {"scan": {"then": {"changed": "anew"}, "pending": [{"name": "x"}, {"name": "y"}]}}
    assert (planned, sync.state) == (["x"], anew_left)
    states = len(sync.saved)
    if begun == "after the plan":
        # And the end of the old slice does not change that
        assert next(last, None) is None
        assert sync.state == anew_left
        assert len(sync.saved) == states
    assert all(state in (unfinished("b"), AFTER, anew_left) for state in sync.saved)


def ids_of_a_page(pages: Iterator[list[Row]]) -> list[str]:
    return [str(row["id"]) for row in next(pages)]


# -- failures -------------------------------------------------------------------------------------


def test_a_stream_fails_once_and_slices_that_have_not_started_stay_unread() -> None:
    # Given three slices that are being read, two of which fail, and one that has not started
    sync = Driven(ScriptedStrategy(first=everything("a", "b", "c", "d", "e", broken=["a", "b"])))
    slices = [sync.plan_slice() for _ in range(4)]
    a, b, c, d = (sync.sync.read(slice) for slice in slices if slice is not None)
    for reader in (a, b, c):
        next(reader)
    # When the first one fails
    with pytest.raises(RuntimeError, match="slice a broke"):
        next(a)
    # Then the second failure is not raised, and the third slice is read to its end
    assert ids(b) == []
    assert ids(c) == ["c2"]
    # And no other slice is started or handed out
    assert ids(d) == []
    assert sync.plan() is None
    assert sync.state == unfinished("a", "b", "d", "e")


def test_changes_that_fail_promise_nothing() -> None:
    # Given changes, the second slice of which fails
    sync = Driven(ScriptedStrategy(changes=the_changes("a", "b", broken=["b"])), BEFORE)
    # When
    sync.read_one()
    with pytest.raises(RuntimeError):
        sync.read_one()
    assert sync.plan() is None
    # Then
    assert sync.state == BEFORE


def test_changes_promise_nothing_if_the_last_slice_fails_after_it_is_known_to_be_the_last() -> None:
    # Given changes that consist of one slice
    sync = Driven(ScriptedStrategy(changes=the_changes("a", broken=["a"])), BEFORE)
    # When it fails after the list of slices has ended
    last = sync.open()
    assert sync.plan() is None
    with pytest.raises(RuntimeError):
        ids(last)
    # Then
    assert sync.state == BEFORE


def test_a_failure_while_slices_are_listed_is_the_only_error_of_the_stream() -> None:
    # Given changes whose list fails after the first slice, which then fails too
    reading = the_changes("a", RuntimeError("the list broke"), broken=["a"])
    sync = Driven(ScriptedStrategy(changes=reading), BEFORE)
    first = sync.open()
    with pytest.raises(RuntimeError, match="the list broke"):
        sync.plan()
    assert ids(first) == []
    # Then none of these changes is promised
    assert sync.state == BEFORE


def test_no_more_slices_are_listed_after_one_has_failed() -> None:
    # Given a list of slices that would fail at the next one
    reading = the_changes("a", RuntimeError("the list broke"), broken=["a"])
    sync = Driven(ScriptedStrategy(changes=reading), BEFORE)
    with pytest.raises(RuntimeError, match="slice a broke"):
        sync.read_one()
    # Then the second failure is not raised
    assert sync.plan() is None
    assert sync.state == BEFORE


def test_if_a_first_reading_cannot_be_planned_the_given_state_stays() -> None:
    # Given a first reading whose slices cannot all be listed
    failing = everything("a")
    failing.names = ["a", RuntimeError("no")]
    strategy = ScriptedStrategy(changes=ReadEverything("why"), first=failing)
    sync = Driven(strategy, BEFORE)
    # When
    with pytest.raises(RuntimeError, match="no"):
        sync.plan()
    # Then
    assert (sync.state, sync.saved) == (BEFORE, [])


# -- when states are saved ------------------------------------------------------------------------


def saves_of(slices: int) -> tuple[int, int]:
    """Return the number of states that a first sync saves, and of slices that they list."""
    sync = Driven(ScriptedStrategy(first=everything(*(f"s{n}-" for n in range(slices)))))
    sync.run()
    listed = [len(state["scan"]["pending"]) if "scan" in state else 0 for state in sync.saved]
    assert listed == sorted(listed, reverse=True)
    assert (listed[0], listed[-1]) == (slices, 0)
    return len(listed), sum(listed)


@pytest.mark.parametrize("slices", [1, 2, 49, 50])
def test_a_state_is_saved_when_all_slices_are_known_and_after_each_of_up_to_fifty(
    slices: int,
) -> None:
    assert saves_of(slices)[0] == 1 + slices


@pytest.mark.parametrize("slices", [51, 100, 1000, 5000])
def test_with_thousands_of_slices_each_is_listed_in_at_most_fifty_states(slices: int) -> None:
    states, listed = saves_of(slices)
    assert listed <= (50 + 1) * slices
    assert states >= 50


def test_a_state_is_saved_after_each_fiftieth_of_the_unread_slices() -> None:
    # Given a thousand slices
    sync = Driven(ScriptedStrategy(first=everything(*(f"s{n}" for n in range(1000)))))
    # When they are read one by one
    lefts = []
    for number in range(1000):
        saved = len(sync.saved)
        sync.read_one()
        if len(sync.saved) > max(saved, 1):
            lefts.append(1000 - number - 1)
    # Then a state is saved at these numbers of unread slices
    assert lefts[:3] == [980, 960, 941]
    assert lefts[-3:] == [2, 1, 0]


def test_changes_save_no_state_of_their_own() -> None:
    # The CDK requests one at the end, and nothing can be promised before that
    sync = Driven(ScriptedStrategy(changes=the_changes("a", "b", "c")), BEFORE)
    sync.run()
    assert sync.saved == []


# -- progress -------------------------------------------------------------------------------------


def test_an_observer_is_told_the_number_of_slices_and_when_one_is_done() -> None:
    # Given two unread slices, and one slice of changes
    observer = Noting()
    strategy = ScriptedStrategy(resume=everything("b", "c"), changes=the_changes("d"))
    sync = Sync(strategy, "meetings", unfinished("b", "c"), observer=observer)
    # When
    for slice in sync.slices():
        list(sync.read(slice))
    # Then
    assert observer.said == [2, "done", "done", "done", 0]


def test_an_observer_is_told_about_slices_that_end_after_all_are_known() -> None:
    # Given two slices that are being read
    observer = Noting()
    sync = Sync(ScriptedStrategy(changes=the_changes("a", "b")), "m", BEFORE, observer=observer)
    readers = [sync.read(slice) for slice in sync.slices()]
    assert observer.said == [2]
    # When they have been read
    for reader in readers:
        list(reader)
    # Then
    assert observer.said == [2, "done", "done"]


def test_a_slice_that_fails_is_not_reported_as_done() -> None:
    # Given a slice that fails
    observer = Noting()
    sync = Sync(ScriptedStrategy(first=everything("a", broken=["a"])), "m", {}, observer=observer)
    slice = next(sync.slices())
    # When
    with pytest.raises(RuntimeError):
        list(sync.read(slice))
    # Then
    assert observer.said == [1]


# -- any order of steps ---------------------------------------------------------------------------


@dataclass
class World:
    """Rows are numbers, each created at the time of its number. ``fails``: fail the next page."""

    newest: int
    fails: bool = False
    refuses: list[str] = field(default_factory=list)

    def refusal(self, *kinds: str) -> str | None:
        """Return the next call that the strategy refuses, if it is one of these."""
        if self.refuses and self.refuses[0] in kinds:
            return self.refuses.pop(0)
        return None


class WorldReading(Reading):
    """Reads rows page by page, with one row per page."""

    def __init__(
        self,
        world: World,
        slices: Callable[[], Iterator[Slice]],
        before: State,
        after: State,
        *,
        resumable: bool = False,
        sees_changes: bool = False,
    ) -> None:
        self._world = world
        self._slices = slices
        self._before = before
        self._after = after
        self.resumable = resumable
        self.sees_changes = sees_changes

    def slices(self) -> Iterator[Slice]:
        return self._slices()

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        for row in slice.values["rows"]:
            if self._world.fails:
                self._world.fails = False
                raise RuntimeError("broken")
            yield [{"id": row}]

    def state(self, whole: bool) -> State:
        return self._after if whole else self._before


class WorldStrategy(Strategy):
    """A state ``{"changed": n}`` promises all rows up to ``n``."""

    cursor_field = "changed"

    def __init__(self, world: World, rows_a_slice: int, start: int | None, sees: bool) -> None:
        self._world = world
        self._each = rows_a_slice
        self._start = start
        self._sees = sees

    def start(self) -> State | None:
        return None if self._start is None else {"changed": self._start}

    def first(self, since: State | None) -> Reading:
        newest = self._world.newest
        promised = {"changed": newest}
        return WorldReading(
            self._world,
            lambda: self._cut((self._start or 0) + 1, newest),
            promised,
            promised,
            resumable=True,
        )

    def resume(self, state: State, pending: list[State]) -> Reading:
        if self._world.refusal("resume"):
            raise UnusableState()
        left = [Slice(values) for values in pending]
        if not self._sees:
            return WorldReading(self._world, lambda: iter(left), state, state, resumable=True)
        newest = self._world.newest
        new = [
            Slice(slice.values, saved=False) for slice in self._cut(state["changed"] + 1, newest)
        ]
        return WorldReading(
            self._world,
            lambda: iter([*left, *new]),
            state,
            {"changed": newest},
            resumable=True,
            sees_changes=True,
        )

    def changes(self, state: State) -> Reading:
        if "changed" not in state:
            raise UnusableState()
        if refusal := self._world.refusal("everything", "from start", "state"):
            if refusal == "state" and state != self.start():
                raise UnusableState()
            raise ReadEverything("refused", from_start=refusal != "everything")
        newest = self._world.newest
        slices = self._cut(state["changed"] + 1, newest)
        return WorldReading(
            self._world, lambda: self._as_they_come(slices), state, {"changed": newest}
        )

    def _as_they_come(self, slices: Iterator[Slice]) -> Iterator[Slice]:
        for slice in slices:
            if refusal := self._world.refusal("midway", "midway from start"):
                raise ReadEverything("refused", from_start=refusal != "midway")
            yield slice

    def _cut(self, first: int, last: int) -> Iterator[Slice]:
        for row in range(first, last + 1, self._each):
            rows = list(range(row, min(row + self._each, last + 1)))
            yield Slice({"rows": rows})


REFUSALS = ["resume", "everything", "from start", "state", "midway", "midway from start"]


class AnyOrderOfSteps(RuleBasedStateMachine):
    """In any order of steps, no state promises a row that was not handed over before."""

    @initialize(
        rows=st.integers(0, 9),
        each=st.integers(1, 3),
        start=st.none() | st.integers(0, 2),
        sees=st.booleans(),
        full_refresh=st.booleans(),
    )
    def begin(
        self, rows: int, each: int, start: int | None, sees: bool, full_refresh: bool
    ) -> None:
        self.world = World(rows)
        self.strategy = WorldStrategy(self.world, each, start, sees)
        self.oldest = (start or 0) + 1
        self.full_refresh = full_refresh
        self.handed_over: set[int] = set()
        self.saved: State = {}
        self.start_sync()

    def start_sync(self) -> None:
        if self.full_refresh and "scan" not in self.saved:
            self.handed_over = set()  # the destination starts with an empty table
        self.sync = Sync(
            self.strategy,
            "rows",
            self.saved,
            full_refresh=self.full_refresh,
            save=self.save,
        )
        self.slices = self.sync.slices()
        self.readers: list[Iterator[list[Row]]] = []
        self.planned = self.failed = False

    def save(self) -> None:
        self.saved = self.sync.state()
        self.check(self.saved)

    def check(self, state: State) -> None:
        """Check that every row that a state promises has been handed over."""
        scan = state.get("scan", {"then": state, "pending": []})
        left = {row for values in scan["pending"] for row in values["rows"]}
        promised = set(range(self.oldest, scan["then"].get("changed", 0) + 1)) - left
        assert promised <= self.handed_over

    @rule()
    def plan(self) -> None:
        if self.planned:
            return
        try:
            slice = next(self.slices, None)
        except RuntimeError:
            self.fail()
            return
        self.planned = slice is None
        if slice is not None:
            self.readers.append(self.sync.read(slice))

    @rule(number=st.integers(0, 5))
    def read_a_page(self, number: int) -> None:
        if not self.readers:
            return
        reader = self.readers[number % len(self.readers)]
        try:
            self.handed_over |= {row["id"] for row in next(reader)}
        except StopIteration:
            self.readers.remove(reader)
        except RuntimeError:
            self.readers.remove(reader)
            self.fail()

    def fail(self) -> None:
        assert not self.failed, "a stream fails once"
        self.failed = True

    @rule()
    def next_page_fails(self) -> None:
        self.world.fails = True

    @rule(kind=st.sampled_from(REFUSALS))
    def strategy_refuses(self, kind: str) -> None:
        self.world.refuses = [kind]

    @rule()
    def row_comes(self) -> None:
        self.world.newest += 1

    @precondition(lambda self: self.planned and not self.readers)
    @rule()
    def sync_ends(self) -> None:
        self.save()  # as the CDK does, even after a failure
        self.start_sync()

    @rule()
    def is_killed(self) -> None:
        self.start_sync()

    @invariant()
    def no_state_promises_too_much(self) -> None:
        if hasattr(self, "sync"):
            self.check(self.sync.state())

    def teardown(self) -> None:
        if not hasattr(self, "sync"):
            return
        # In the end, two syncs without failures must have handed over every row.
        self.world.fails, self.world.refuses = False, []
        for _ in range(2):
            self.is_killed()
            while not self.planned or self.readers:
                self.plan()
                self.read_a_page(0)
            assert not self.failed
            self.save()
        assert self.handed_over >= set(range(self.oldest, self.world.newest + 1))
        assert self.saved == {"changed": self.world.newest}


AnyOrderOfSteps.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestAnyOrderOfSteps = AnyOrderOfSteps.TestCase


def test_states_that_many_threads_save_promise_no_unread_row() -> None:
    # Given a resumed sync, followed by too many changes to list
    world = World(60, refuses=["midway"])
    strategy = WorldStrategy(world, 2, None, sees=False)
    pending = [{"rows": [row, row + 1]} for row in range(1, 60, 2)]
    given = {"scan": {"then": {"changed": 60}, "pending": pending}}
    world.newest = 90
    handed_over: set[int] = set()
    wrong: list[State] = []

    def save() -> None:
        state = sync.state()
        scan = state.get("scan", {"then": state, "pending": []})
        left = {row for values in scan["pending"] for row in values["rows"]}
        if not set(range(1, scan["then"]["changed"] + 1)) - left <= handed_over:
            wrong.append(state)

    sync = Sync(strategy, "rows", given, save=save)
    slices, turn = sync.slices(), threading.Lock()

    def work() -> None:
        while True:
            with turn:
                slice = next(slices, None)
            if slice is None:
                return
            for page in sync.read(slice):
                handed_over.update(row["id"] for row in page)

    # When eight threads read it
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # Then
    assert wrong == []
    assert handed_over == set(range(1, 91))
    assert sync.state() == {"changed": 90}
