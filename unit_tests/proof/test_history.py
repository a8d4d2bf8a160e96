"""The history checker accepts what is right, and refuses each wrong history that it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from source_meetings import timestamps
from unit_tests.logic.fakes import at, text
from unit_tests.proof.history import (
    Began,
    Died,
    Emitted,
    Entry,
    Quiet,
    Row,
    Rules,
    Saved,
    State,
    Wrote,
    problems,
)


def promises(state: State, version: Wrote) -> bool:
    """Whatever changed before the state's moment."""
    return version.at < timestamps.parse(state["changed"])


RULES = Rules(
    key=lambda row: row["id"],
    cursor_field="changed",
    promises=promises,
    expects=lambda row: not row.get("ignored"),
    repeats=lambda version, known: version.at == max(one.at for one in known),
)
EMPTY = Began({})


def row(id: str, minute: float = 0, **fields: Any) -> Row:
    return {"id": id, "changed": text(minutes=minute), **fields}


def wrote(id: str, minute: float = 0, **fields: Any) -> Wrote:
    return Wrote(id, row(id, minute, **fields), at(minutes=minute))


def emitted(id: str, minute: float = 0, **fields: Any) -> Emitted:
    return Emitted(row(id, minute, **fields))


def gone(id: str, minute: float, **options: Any) -> Wrote:
    return Wrote(id, None, at(minutes=minute), **options)


def saved(minute: float) -> Saved:
    return Saved({"changed": text(minutes=minute)})


def began(minute: float, **options: Any) -> Began:
    return Began({"changed": text(minutes=minute)}, **options)


A, B = wrote("a"), wrote("b", 1)
FIRST: list[Entry] = [A, B, EMPTY, emitted("a"), emitted("b", 1), saved(1)]
EDITED = wrote("a", 5)

RIGHT: dict[str, list[Entry]] = {
    "nothing happened": [],
    "an empty account": [EMPTY, Saved({})],
    "a first sync": FIRST,
    "an edit": [*FIRST, EDITED, began(1), emitted("a", 5), saved(5)],
    "what the state does not promise comes again": [*FIRST, began(1), emitted("b", 1), saved(1)],
    "an older version with an older cursor": [A, EDITED, EMPTY, emitted("a", 5), emitted("a")],
    "an edit during the sync that the next one reads": [
        *(A, B, EMPTY, emitted("a"), EDITED, emitted("b", 1), saved(1)),
        *(began(1), emitted("a", 5), saved(5)),
    ],
    "a tombstone": [
        *(*FIRST, gone("a", 5), began(1)),
        *(Emitted(row("a", 5, is_deleted=True)), saved(5)),
    ],
    "a deletion that the API does not show": [*FIRST, gone("a", 5, revealed=False)],
    "a row that is gone before it was read": [A, gone("a", 1), EMPTY, saved(5)],
    "a row that the stream does not have": [wrote("a", ignored=True), EMPTY, saved(5)],
    "a death between two states": [
        *(A, B, EMPTY, emitted("a"), saved(0.5), emitted("b", 1), Died()),
        *(began(0.5), emitted("b", 1), saved(1)),
    ],
    "the newest moment after a rest": [
        *(*FIRST, began(1), saved(1), began(1, rested=True), emitted("b", 1), saved(1))
    ],
}

TWICE: list[Entry] = [A, wrote("a", 0, v=2), EMPTY]  # two versions with the same stamp

WRONG: dict[str, tuple[str, list[Entry]]] = {
    "an unknown row": ("never had", [*FIRST, began(1), emitted("z"), saved(1)]),
    "an unknown version": ("never had", [*FIRST, began(1), emitted("a", 7), saved(1)]),
    "a version from the future": ("never had", [A, EMPTY, emitted("a", 5), EDITED]),
    "an older version with the same cursor": (
        "older version took the place",
        [*TWICE, emitted("a", v=2), emitted("a"), saved(1)],
    ),
    "an older version in a later sync": (
        "older version took the place",
        [*TWICE, emitted("a", v=2), saved(0), began(0), emitted("a")],
    ),
    "a tombstone for a row that exists": (
        "tombstone",
        [*FIRST, began(1), Emitted(row("a", 5, is_deleted=True)), saved(1)],
    ),
    "a tombstone for a row that never was": (
        "tombstone",
        [EMPTY, Emitted(row("z", 5, is_deleted=True)), saved(1)],
    ),
    "a state before its rows": ("promised", [A, B, EMPTY, emitted("a"), saved(2), emitted("b", 1)]),
    "a state that passes an edit by": (
        "promised",
        [*FIRST, EDITED, began(1), saved(6), began(6), emitted("a", 5)],
    ),
    "a state that promises a row that came before another state and was lost": (
        "promised",
        [
            *(A, B, EMPTY, emitted("a"), saved(0.5), emitted("b", 1), Died()),
            *(began(0.5), saved(2), began(2), emitted("b", 1)),
        ],
    ),
    "a state that promises a deletion": (
        "promised",
        [*FIRST, gone("a", 5), began(1), saved(6), Emitted(row("a", 5, is_deleted=True))],
    ),
    "a row is missing": ("missing at the end", [A, B, EMPTY, emitted("a"), saved(1)]),
    "a row is stale": ("version 0 of 1", [*FIRST, EDITED, began(1), saved(5)]),
    "a newer version has an older cursor": (
        "version 0 of 1",
        [*FIRST, wrote("a", -5), began(1), emitted("a", -5)],
    ),
    "a deleted row stays": ("gone at the provider", [*FIRST, gone("a", 5), began(1), saved(5)]),
    "a row that is stale when all is quiet and right later": (
        "version 0 of 1",
        [*FIRST, EDITED, began(1), saved(5), Quiet(), began(5), emitted("a", 5), saved(5)],
    ),
    "more is emitted again than the state leaves open": (
        "although its state promised it",
        [*FIRST, began(1), emitted("a"), saved(1)],
    ),
    "more is emitted again after a rest": (
        "after a rest",
        [*FIRST[:-1], saved(-9), began(-9), saved(-9), began(-9, rested=True), emitted("a")],
    ),
    "a state out of nowhere": ("nobody saved", [*FIRST, began(0.5), emitted("b", 1), saved(1)]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_history_is_accepted(name: str) -> None:
    assert problems(RIGHT[name], RULES) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_history_is_refused(name: str) -> None:
    words, entries = WRONG[name]
    found = problems(entries, RULES)
    assert any(words in problem for problem in found), found


def test_what_a_death_may_lose_is_checked_with_and_without_it() -> None:
    # Given a row that only a destination without commits would have
    entries: list[Entry] = [
        A,
        EMPTY,
        emitted("a"),
        Died(),
        EMPTY,
        Saved({"changed": text(minutes=-1)}),
    ]
    assert problems(entries, RULES) == ["a: missing at the end"]


def test_a_stream_that_may_repeat_nothing_after_a_rest_repeats_nothing() -> None:
    strict = Rules(RULES.key, RULES.cursor_field, RULES.promises)
    found = problems(RIGHT["the newest moment after a rest"], strict)
    assert found == ["b: emitted again after a rest"]


def test_versions_with_one_stamp_may_come_in_any_order_if_no_state_promises_them() -> None:
    # Given two lists, one of which shows a row as it was and is emitted last
    tied = Rules(RULES.key, RULES.cursor_field, RULES.promises, ties=True)
    entries = [*TWICE, emitted("a", v=2), emitted("a"), saved(0)]
    # Then a later sync has to emit it again
    assert problems(entries, tied) == ["a: version 0 of 1 at the end"]
    assert problems([*entries, began(0), emitted("a", v=2)], tied) == []
    # and the state may not promise it
    found = problems([*entries, saved(1), began(0), emitted("a", v=2)], tied)
    assert [problem.partition(": {")[0] for problem in found] == ["a: promised and not emitted"]
