"""Rows that were seen before are recognized, in a state that stays small."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_meetings import fingerprints
from source_meetings.fingerprints import ChangedSince, SeenRow, SeenRows, digest, pack, unpack

START = datetime(2026, 6, 1, tzinfo=timezone.utc)


def row(number: int, version: int = 0) -> SeenRow:
    at = START + timedelta(minutes=10 * number)
    return SeenRow(f"id{number}", at, digest([number, version]), {"id": f"id{number}"})


def saved(rows: list[SeenRow]) -> dict:
    seen = SeenRows()
    for one in rows:
        seen.add(one)
    state: dict = json.loads(json.dumps(seen.state()))  # as it comes back from a state file
    return state


def picked(state: object, rows: list[SeenRow], page_size: int = 7) -> set[str]:
    changed = ChangedSince(state)
    found: list[SeenRow] = []
    for at in range(0, len(rows), page_size):
        found += changed.pick(rows[at : at + page_size])
    return {one.id for one in found + changed.rest()}


# ------------------------------------------------------------------ digests


def test_the_order_of_keys_does_not_change_a_digest_and_a_value_does():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest({"a": 2**80}) != digest({"a": 2**80 + 1})


@given(st.frozensets(st.binary(min_size=6, max_size=6)))
def test_packed_digests_come_back(digests):
    assert unpack(pack(digests)) == digests


@pytest.mark.parametrize("text", [None, 7, "", "no base64!", ["AAAA"], {}])
def test_anything_else_in_a_state_holds_no_digests(text):
    assert unpack(text) == frozenset()


# ------------------------------------------------------------------ rows of a window


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_few_rows_are_told_apart_one_by_one(before, after, page_size):
    # Given rows that were seen, and rows now: some are new, and every seventh has changed
    state = saved([row(number) for number in sorted(before)])
    now = [row(number, version=int(number % 7 == 3)) for number in sorted(after)]
    # Then what is new or changed is picked, and nothing else
    expected = {f"id{n}" for n in after if n not in before or n % 7 == 3}
    assert picked(state, now, page_size) == expected


@given(
    st.integers(1, 400),
    st.sets(st.integers(0, 399), max_size=4),
    st.sets(st.integers(0, 399), max_size=4),
    st.integers(1, 100),
)
def test_of_many_rows_every_change_is_picked_with_few_others(count, edited, gone, page_size):
    # Given more rows than there can be digests
    before = fingerprints._MOST_DIGESTS
    fingerprints._MOST_DIGESTS = 20
    try:
        state = saved([row(number) for number in range(count)])
        # When some are edited and some are gone
        now = [row(n, version=int(n in edited)) for n in range(count) if n not in gone]
        found = picked(state, now, page_size)
    finally:
        fingerprints._MOST_DIGESTS = before
    # Then all edits are picked, and of the others only those that share a digest with a change
    present = {f"id{n}" for n in edited if n < count and n not in gone}
    assert present <= found
    changes = len({n for n in edited | gone if n < count})
    if not changes:
        assert found == set()
    assert len(found) <= changes * 20 * state["rows_each"]


def test_the_size_of_a_state_is_bounded_and_a_quiet_sync_picks_nothing():
    for count in (10, 5_000, 5_001, 40_000, 200_000):
        rows = [row(number) for number in range(count)]
        state = saved(rows)
        assert len(json.dumps(state)) < 50_000
        assert picked(state, rows, 100) == set()
        # And one change brings few others
        one = Random(count).randrange(count)
        rows[one] = row(one, version=1)
        found = picked(state, rows, 100)
        assert f"id{one}" in found
        assert len(found) <= 20 * state["rows_each"]


def test_a_window_that_moves_on_brings_no_more_than_the_rows_at_its_edges():
    # Given a window of 20,000 rows
    state = saved([row(number) for number in range(20_000)])
    # When the next one begins and ends a little later
    found = picked(state, [row(number) for number in range(500, 20_500)], 100)
    # Then the new rows are picked, and few others
    assert {f"id{n}" for n in range(20_000, 20_500)} <= found
    assert len(found) <= 500 + 200


@pytest.mark.parametrize(
    "state", [None, 7, "", [], {"rows_each": "x"}, {"digests": 7}, {"rows_each": 0}]
)
def test_a_state_that_is_none_makes_every_row_count_as_changed(state):
    assert picked(state, [row(1), row(2)]) == {"id1", "id2"}
