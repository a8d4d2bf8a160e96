"""Finding the rows that changed if every sync reads everything."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_meetings import timestamps
from source_meetings.strategies import changed_rows
from source_meetings.strategies.changed_rows import Before, ChangedRows, RowFields
from source_meetings.sync.fingerprints import Emitted, digest, pack
from source_meetings.sync.reading import Answer, Row, State
from unit_tests.logic.fakes import NOW, Table, at, text

FIELDS = RowFields("id", "changed", "start")
READ_FROM, READ_TO = timestamps.millis(at(days=-30)), timestamps.millis(at(days=30))
LATER = at(hours=1)


def row(id: str, changed: Any, start: Any = None, **fields: Any) -> Row:
    return {"id": id, "changed": changed, "start": start or text(), **fields}


def rows(changes: ChangedRows, *answers: Iterable[Row], clock: datetime = LATER) -> list[str]:
    """Begin with the first of these answers, take all, and return the ids of the new rows."""
    taken = [Answer(list(one), clock) for one in answers]
    changes.begin(taken[0])
    emitted = Emitted()
    return [found["id"] for answer in taken for found in changes.take(answer, "list", emitted)]


def state_of(changes: ChangedRows, *lists: str) -> State:
    return changes.state("changed", READ_FROM, READ_TO, lists or ("list",))


def first(*answers: Iterable[Row], clock: datetime = LATER) -> State:
    """Return the state of a first sync with these answers."""
    changes = ChangedRows(FIELDS, Before(), clock)
    rows(changes, *answers, clock=clock)
    return state_of(changes)


def then(state: State, *answers: Iterable[Row], clock: datetime = LATER) -> list[str]:
    """Return the ids of the rows that are new to the next sync."""
    return rows(ChangedRows(FIELDS, Before.of(state, "changed"), clock), *answers, clock=clock)


# -- the bound ------------------------------------------------------------------------------------


def test_the_bound_is_the_newest_stamp_of_the_first_answer_in_whole_seconds() -> None:
    # Given a newer stamp in the second answer
    state = first(
        [row("a", "2026-06-01T12:00:07.900Z"), row("b", text(seconds=3))], [row("c", text(hours=1))]
    )
    # Then it is not the bound, because a row of the first list may have changed before it
    assert state["changed"] == text(seconds=7)
    # And it is saved, because the next sync can use it
    assert state["newest"] == text(hours=1)


def test_a_row_that_changes_after_its_list_was_read_is_new_to_the_next_sync() -> None:
    # Given that a changes at 12:10, after the first answer, and b at 12:20, before the second one
    state = first([row("a", text())], [row("b", text(minutes=20))])
    # When both lists are read again
    found = then(state, [row("a", text(minutes=10)), row("b", text(minutes=20))])
    # Then only a is new
    assert found == ["a"]


def test_the_newest_stamp_of_the_previous_sync_can_become_the_bound() -> None:
    # Given a sync that saw a newer stamp after its first answer
    state = first([row("a", text())], [row("b", text(minutes=20))])
    changes = ChangedRows(FIELDS, Before.of(state, "changed"), LATER)
    # When the first answer of the next sync has no newer one
    rows(changes, [row("a", text())])
    # Then that stamp becomes the bound
    assert state_of(changes)["changed"] == text(minutes=20)


@pytest.mark.parametrize("stamp", [text(days=400), text(hours=1, seconds=1)])
def test_a_stamp_ahead_of_the_providers_clock_does_not_become_the_bound(stamp: str) -> None:
    state = first([row("a", stamp), row("b", text())], [row("c", stamp)])
    assert (state["changed"], state["newest"]) == (text(), text())


def test_a_saved_stamp_ahead_of_the_clock_is_set_back_to_the_clock() -> None:
    # Given a state from a time when the provider's clock was an hour ahead
    state = {**first([row("a", text())]), "newest": text(hours=2)}
    changes = ChangedRows(FIELDS, Before.of(state, "changed"), LATER)
    rows(changes, [row("a", text())])
    assert state_of(changes)["newest"] == timestamps.iso(LATER)


def test_the_bound_is_a_whole_second_even_if_there_was_no_answer() -> None:
    # Given a sync that had no list to read
    state = {**first([row("a", text())]), "newest": "2026-06-01T12:00:07.900Z"}
    changes = ChangedRows(FIELDS, Before.of(state, "changed"), LATER)
    # Then the bound has no fraction, so a row stamped with that whole second would be new
    assert state_of(changes)["changed"] == text(seconds=7)


@pytest.mark.parametrize(
    ("known", "stamp", "found"),
    [
        (Before(), text(), True),
        (Before(), "soon", False),
        (Before(), text(days=400), False),
        (Before(NOW, NOW), "soon", True),
    ],
)
def test_begin_says_whether_there_is_a_bound(known: Before, stamp: str, found: bool) -> None:
    changes = ChangedRows(FIELDS, known, LATER)
    assert changes.begin(Answer([row("a", stamp)], LATER)) is found


def test_without_any_stamp_every_row_since_the_epoch_is_new() -> None:
    state = first([row("a", None)])
    assert state["changed"] == timestamps.iso(timestamps.EPOCH)
    assert then(state, [row("b", text(days=-9000))]) == ["b"]


# -- what is new ----------------------------------------------------------------------------------


def test_everything_is_new_to_a_first_sync() -> None:
    changes = ChangedRows(FIELDS, Before(), LATER)
    found = rows(changes, [row("a", text(days=-900)), row("b", None), row("c", text(days=900))])
    assert found == ["a", "b", "c"]


def test_each_version_of_a_row_is_emitted_once_per_sync() -> None:
    changes = ChangedRows(FIELDS, Before(), LATER)
    same, edited = row("a", text()), row("a", text(), title="new")
    assert rows(changes, [same], [same], [edited], [edited]) == ["a", "a"]


def test_in_the_second_of_the_bound_only_changed_rows_are_new() -> None:
    # Given two rows of one second, and one of the second before
    known = [row("a", text()), row("b", text()), row("old", text(seconds=-1))]
    state = first(known)
    # When one of them is edited within that second, and another row with that stamp appears, then
    # both are new
    edited = row("b", text(), title="new")
    found = then(state, [known[0], edited, known[2], row("c", text())])
    assert found == ["b", "c"]
    # And a row with a stamp before the bound is not compared
    assert then(state, [row("old", text(seconds=-1), title="new")]) == []


def test_a_row_without_a_readable_stamp_is_new_if_it_changed() -> None:
    state = first([row("a", "soon"), row("b", text())])
    assert then(state, [row("a", "soon"), row("b", text())]) == []
    assert then(state, [row("a", "soon", title="new")]) == ["a"]


@pytest.mark.parametrize(
    ("start", "is_new"),
    [
        (READ_FROM - 1, True),
        (READ_FROM, False),
        (READ_TO - 1, False),
        (READ_TO, True),
    ],
)
def test_a_row_outside_the_range_of_the_previous_sync_is_new_however_old_it_is(
    start: int, is_new: bool
) -> None:
    # Given a row that changed long before the bound
    begins = timestamps.iso(timestamps.EPOCH + timedelta(milliseconds=start))
    state = first([row("b", text())])
    # When it is read, then it is new if its start was outside the previous range
    assert then(state, [row("a", text(days=-900), begins)]) == (["a"] if is_new else [])


def test_a_row_without_a_start_is_judged_by_its_stamp() -> None:
    state = first([row("b", text())])
    assert then(state, [row("a", text(days=-1), "soon"), row("c", text(days=1), "soon")]) == ["c"]


def test_all_rows_of_a_list_that_was_not_read_before_are_new() -> None:
    changes = ChangedRows(FIELDS, Before.of(first([row("a", text())]), "changed"), LATER)
    answer = Answer([row("a", text()), row("old", text(days=-9))], LATER)
    changes.begin(answer)
    assert [one["id"] for one in changes.take(answer, "another", Emitted())] == ["a", "old"]
    assert changes.take(answer, "list", Emitted()) == []


def test_no_list_counts_as_new_if_the_state_does_not_say_which_lists_were_read() -> None:
    state = first([row("a", text())])
    del state["partitions"]
    assert then(state, [row("old", text(days=-9))]) == []


# -- the state ------------------------------------------------------------------------------------


def test_the_state_has_the_bound_the_digests_and_the_range() -> None:
    # Given a row of the second of the bound, and one from the second before
    changes = ChangedRows(FIELDS, Before(), LATER)
    rows(changes, [row("a", text()), row("old", text(seconds=-1))])
    # Then the state has a digest of the first only: the second one can be told by its stamp
    assert state_of(changes, "one", "two") == {
        "changed": text(),
        "newest": text(),
        "emitted": pack([digest(row("a", text()))]),
        "read_from": READ_FROM,
        "read_to": READ_TO,
        "partitions": ["one", "two"],
    }


def test_the_state_keeps_the_newest_digests_and_those_of_rows_without_a_stamp() -> None:
    # Given more rows at or after the bound than the state can have digests
    known = [row("bound", text())]
    others = [row(f"r{n}", text(seconds=n)) for n in range(1, 5)] + [row("unstamped", "soon")]
    with patch.object(changed_rows, "_MOST_DIGESTS", 3):
        state = first(known, others)
    # Then the oldest of them are emitted again, which does no harm
    assert then(state, known + others) == ["bound", "r1", "r2"]


def test_a_row_that_was_too_old_for_the_state_is_left_out_when_a_newer_version_comes() -> None:
    # Given so many rows after the bound that the versions of the oldest ones are forgotten
    known, aged = [row("bound", text())], row("aged", text(seconds=1))
    others = [row(f"r{n}", text(seconds=n)) for n in range(2, 6)]
    newer = row("aged", text(minutes=1))
    with (
        patch.object(changed_rows, "_MOST_DIGESTS", 3),
        patch.object(changed_rows, "_MOST_RECENT", 4),
    ):
        # When one of them comes again in a newer version, perhaps from another list
        state = first(known, [aged, *others], [newer])
    # Then it has no digest, because its older version may have been emitted last
    assert state["emitted"] == pack(digest(one) for one in others[1:])
    assert then(state, [newer, *others]) == ["aged", "r2"]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ({"newest": None}, {"newest": NOW}),
        ({"newest": "soon"}, {"newest": NOW}),
        ({"emitted": 7}, {"emitted": frozenset()}),
        ({"read_from": "x", "read_to": None}, {"read_from": 0, "read_to": 0}),
        ({"partitions": "list"}, {"partitions": None}),
        ({"partitions": [7]}, {"partitions": frozenset({"7"})}),
    ],
)
def test_unusable_parts_of_a_state_count_as_unknown(
    damage: State, expected: dict[str, Any]
) -> None:
    before = Before.of({**first([row("a", text())]), **damage}, "changed")
    assert {name: getattr(before, name) for name in expected} == expected


# -- the promise ----------------------------------------------------------------------------------

writes = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.3, 1.0, 70.0])), max_size=3)
syncs = st.lists(st.lists(writes, min_size=3, max_size=3), min_size=2, max_size=4)


@given(
    script=syncs,
    whole_seconds=st.booleans(),
    skew=st.sampled_from([-timedelta(hours=3), timedelta(), timedelta(hours=3)]),
)
def test_whatever_changes_between_two_answers_is_in_the_table_after_the_next_sync(
    script: list[list[list[tuple[int, float]]]], whole_seconds: bool, skew: timedelta
) -> None:
    # Given two lists of three rows. Their stamps may have a fraction, and come from another clock
    # than the Date header
    now, version = NOW, 0
    truth: dict[str, Row] = {}

    def write(number: int, later: float) -> None:
        nonlocal now, version
        version += 1
        now += timedelta(seconds=later)
        stamp = now.replace(microsecond=0) if whole_seconds else now
        id = f"r{number}"
        truth[id] = {**row(id, timestamps.iso(stamp)), "v": version, "list": str(number % 2)}

    def answer(of: str) -> Answer:
        clock = (now + skew).replace(microsecond=0)
        return Answer([dict(one) for one in truth.values() if one["list"] == of], clock)

    table = Table("changed")
    state: State | None = None
    for gaps in [*script, [[], [], []]]:
        # When rows are written before and during each sync but the last
        before_the_clock, before_the_first, before_the_second = (iter(gap) for gap in gaps)
        for one in before_the_clock:
            write(*one)
        before = Before() if state is None else Before.of(state, "changed")
        changes = ChangedRows(FIELDS, before, answer("0").clock)
        for one in before_the_first:
            write(*one)
        asked = answer("0")
        changes.begin(asked)
        for one in before_the_second:
            write(*one)
        table.load(changes.take(answer("1"), "1", Emitted()))
        table.load(changes.take(asked, "0", Emitted()))
        state = state_of(changes, "0", "1")
    # Then the table is correct
    assert table.by_id() == truth
