"""Known rows are recognized, with a state that stays small."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_meetings.sync import fingerprints
from source_meetings.sync.fingerprints import (
    ChangedSince,
    Emitted,
    SeenRow,
    SeenRows,
    digest,
    pack,
    unpack,
)

START = datetime(2026, 6, 1, tzinfo=timezone.utc)


def row(number: int, version: int = 0) -> SeenRow:
    at = START + timedelta(minutes=10 * number)
    return SeenRow(f"id{number}", at, {"id": f"id{number}", "version": version})


def saved(rows: list[SeenRow]) -> Any:
    seen = SeenRows()
    for one in rows:
        seen.add(one)
    return json.loads(json.dumps(seen.state()))  # as a state file returns it


def picked(state: object, rows: list[SeenRow], page_size: int = 7) -> set[str]:
    changed = ChangedSince(state)
    found: list[SeenRow] = []
    latest_first = rows[::-1]
    for at in range(0, len(rows), page_size):
        found += changed.pick(latest_first[at : at + page_size])
    return {one.id for one in found + changed.rest()}


# -- digests --------------------------------------------------------------------------------------


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest({"a": 1})) == 6


def test_values_that_the_fast_library_refuses_have_digests_too() -> None:
    # An integer beyond 64 bits, and a value that is nested too deeply for the library
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert digest({"a": 2**80, "b": 1}) == digest({"b": 1, "a": 2**80})
    assert digest({"a": 2**80}) != digest({"a": 2**80 + 1})
    assert digest([deep]) != digest(deep)


def test_a_digest_is_the_same_in_every_process() -> None:
    # Digests are saved, so they may not depend on Python's hash seed.
    assert digest({"id": 1, "title": "ä"}).hex() == "94ed8ef1b035"


@given(st.frozensets(st.binary(min_size=6, max_size=6)))
def test_packed_digests_can_be_unpacked(digests: frozenset[bytes]) -> None:
    assert unpack(pack(digests)) == digests


@pytest.mark.parametrize("text", [None, 7, "", "no base64!", ["AAAA"], {}])
def test_any_other_value_in_a_state_counts_as_no_digests(text: Any) -> None:
    assert unpack(text) == frozenset()


def test_equal_sets_of_digests_are_packed_alike() -> None:
    first, second = digest(1), digest(2)
    assert pack([first, second]) == pack([second, first])
    assert len(pack([first, second])) == 16


# -- rows of a window -----------------------------------------------------------------------------


def test_for_a_row_that_was_seen_twice_the_last_version_counts() -> None:
    state = saved([row(1), row(2), row(1, version=1)])
    assert picked(state, [row(1), row(2)]) == {"id1"}
    assert picked(state, [row(1, version=1), row(2)]) == set()


def test_a_row_that_is_forgotten_counts_as_new() -> None:
    # Given two known rows
    seen = SeenRows()
    for one in (row(1), row(2)):
        seen.add(one)
    # When one of them is forgotten
    seen.discard(row(1))
    seen.discard(row(3))  # which was never known
    # Then
    assert picked(seen.state(), [row(1), row(2)]) == {"id1"}


def test_rows_without_a_time_are_recognized_too() -> None:
    timeless = SeenRow("a", None, {"id": "a"})
    other = SeenRow("b", None, {"id": "b"})
    assert picked(saved([timeless]), [timeless, other]) == {"b"}


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_few_rows_are_recognized_individually(
    before: set[int], after: set[int], page_size: int
) -> None:
    # Given known rows, and current rows of which some are new and every seventh has changed
    state = saved([row(number) for number in sorted(before)])
    now = [row(number, version=int(number % 7 == 3)) for number in sorted(after)]
    # Then the new and changed rows are picked, and no others
    expected = {f"id{n}" for n in after if n not in before or n % 7 == 3}
    assert picked(state, now, page_size) == expected


@given(
    st.integers(1, 400),
    st.sets(st.integers(0, 399), max_size=4),
    st.sets(st.integers(0, 399), max_size=4),
    st.integers(1, 100),
)
def test_among_many_rows_every_change_is_picked_with_few_others(
    count: int, edited: set[int], gone: set[int], page_size: int
) -> None:
    # Given more rows than a state can have digests
    with patch.object(fingerprints, "_MOST_DIGESTS", 20):
        state = saved([row(number) for number in range(count)])
        # When some are edited and some are deleted
        now = [row(n, version=int(n in edited)) for n in range(count) if n not in gone]
        found = picked(state, now, page_size)
    # Then all edited rows are picked, and of the others only those that share a digest with an edit
    present = {f"id{n}" for n in edited if n < count and n not in gone}
    assert present <= found
    changes = len({n for n in edited | gone if n < count})
    if not changes:
        assert found == set()
    assert len(found) <= changes * 20 * state["rows_each"]


def test_the_size_of_a_state_is_bounded_and_without_changes_no_row_is_picked() -> None:
    for count in (10, 5_000, 5_001, 80_000):
        # Given a number of rows below, at or above the number of digests in a state
        rows = [row(number) for number in range(count)]
        state = saved(rows)
        # Then the state is small, and without changes no row is picked
        assert len(json.dumps(state)) < 50_000
        assert picked(state, rows, 100) == set()
        # And one change picks only few others
        one = Random(count).randrange(count)
        rows[one] = row(one, version=1)
        found = picked(state, rows, 100)
        assert f"id{one}" in found
        assert len(found) <= 20 * state["rows_each"]


def test_rows_may_have_any_order_on_their_page(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given rows of which several share a digest
    monkeypatch.setattr(fingerprints, "_MOST_DIGESTS", 20)
    rows = [row(number) for number in range(100)]
    state = saved(rows)
    assert state["rows_each"] == 5
    # When the pages come from the latest to the earliest, each with its rows in any order
    pages = [Random(at).sample(rows[at : at + 10], 10) for at in range(90, -1, -10)]
    changed = ChangedSince(state)
    # Then no row counts as changed
    assert [changed.pick(page) for page in pages] == [[]] * 10
    assert changed.rest() == []


def test_a_window_that_moves_picks_only_the_rows_at_its_edges() -> None:
    # Given a window of 20,000 rows
    state = saved([row(number) for number in range(20_000)])
    # When the next window starts and ends a little later
    found = picked(state, [row(number) for number in range(500, 20_500)], 100)
    # Then the new rows are picked, with few others
    assert {f"id{n}" for n in range(20_000, 20_500)} <= found
    assert len(found) <= 500 + 200


@pytest.mark.parametrize(
    "state", [None, 7, "", [], {"rows_each": "x"}, {"digests": 7}, {"rows_each": 0}]
)
def test_with_an_unusable_state_every_row_counts_as_changed(state: Any) -> None:
    assert picked(state, [row(1), row(2)]) == {"id1", "id2"}


# -- rows of one sync -----------------------------------------------------------------------------


def test_each_version_of_a_row_is_emitted_once() -> None:
    emitted = Emitted()
    # Then the first version is new once
    assert emitted.add("a", b"first")
    assert not emitted.add("a", b"first")
    # And another version is new, and so is the same version of another row
    assert emitted.add("a", b"second")
    assert emitted.add("b", b"second")
    # And so is an earlier version that returns, because the table has the one in between
    assert emitted.add("a", b"first")


def test_if_there_are_too_many_rows_to_remember_some_are_emitted_twice_and_none_is_left_out() -> (
    None
):
    # Given a memory of two rows at least
    emitted = Emitted(limit=2)
    first = [emitted.add(key, b"v") for key in "abcde"]
    # When all rows come again
    again = [emitted.add(key, b"v") for key in "edcba"]
    # Then the forgotten ones count as new, but none of the last two
    assert first == [True, True, True, True, True]
    assert again == [False, False, False, True, True]


def test_the_latest_version_counts_for_a_row_that_was_emitted_long_before() -> None:
    # Given a row that others have followed
    emitted = Emitted(limit=1)
    assert [emitted.add(key, b"first") for key in "ab"] == [True, True]
    # When it comes in another version, then that one is remembered instead
    assert emitted.add("a", b"second")
    assert not emitted.add("a", b"second")
    assert emitted.add("a", b"first")
