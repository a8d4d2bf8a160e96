"""Whatever a provider sends is emitted unchanged, or ends the stream with a clear error.

Every row of each answer arrives unchanged, or its stream ends with one error that says what to do.
Cases that have failed are kept in ``samples/fuzz``, and run first. To search for new ones for
minutes: HYPOTHESIS_PROFILE=search. ``fuzzing.py`` says what a case is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from source_meetings.providers.salesloft import meetings
from unit_tests import fuzzing
from unit_tests.fuzzing import IDENTITIES, PLACES, VALUES, Place, fields_of, problems
from unit_tests.harness import Json, Output, read

Kind = Callable[[str, Place], st.SearchStrategy[Json]]
CORPUS = sorted((Path(__file__).parent / "samples" / "fuzz").glob("*.json"))
# Cases of each kind for each provider
MOST = 300 if os.environ.get("HYPOTHESIS_PROFILE") == "search" else 6


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.01")


def _passed_through(name: str, place: Place) -> st.SearchStrategy[Json]:
    """A change of fields that the connector does not read, to many rows."""
    fields = [*fields_of(place), "", "__proto__", "type", "new field", "{{ config }}"]
    kinds = [
        st.tuples(st.sampled_from(fields).map(lambda name: [name]), st.sampled_from(VALUES)),
        st.tuples(st.just([]), st.sampled_from([{"make": "twice"}, {"make": "backwards"}])),
    ]
    return st.builds(
        lambda change, every: {
            "at": name,
            "path": change[0],
            "value": change[1],
            "every": every,
        },
        st.one_of(kinds),
        st.integers(1, 9),
    )


def _read_by_the_connector(name: str, place: Place) -> st.SearchStrategy[Json]:
    """A change of what the connector itself reads, in a few rows or in the answer."""
    identities = ("id", "Meeting ID", "Account ID", "object_id")
    in_rows = st.sampled_from(place.tells).flatmap(
        lambda field: st.builds(
            lambda value, every: {"at": name, "path": [field], "value": value, "every": every},
            st.sampled_from(IDENTITIES if field in identities else VALUES),
            st.sampled_from((1, 3, 10, 30)),
        )
    )
    of_rows = st.builds(
        lambda value: {"at": name, "path": [], "value": value, "every": 10},
        st.sampled_from((None, [], {}, "", 0, [None], {"id": None})),
    )
    around = st.builds(
        lambda path, value: {"at": name, "path": path, "value": value, "every": 0},
        st.sampled_from([[], *map(list, place.around)]),
        st.sampled_from(VALUES),
    )
    return st.one_of(in_rows, in_rows, of_rows, around)


def _changes(provider: str, kind: Kind, least: int, most: int) -> st.SearchStrategy[Json]:
    places = PLACES[provider].items()
    change = st.one_of([kind(name, place) for name, place in places])
    return st.lists(change, min_size=least, max_size=most).map(
        lambda changes: {"provider": provider, "changes": changes}
    )


def _check(case: Json) -> None:
    found = [one for one in problems(case) if one != "nothing was changed"]
    note(f"as a file of the corpus: {json.dumps(case)}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_failed_once_is_emitted_or_an_error_in_words(path: Path) -> None:
    assert problems(json.loads(path.read_text())) == []


@pytest.mark.parametrize("provider", PLACES)
def test_whatever_stands_in_fields_that_are_passed_through_arrives(provider: str) -> None:
    @settings(max_examples=MOST)
    @given(_changes(provider, _passed_through, 5, 40))
    def check(case: Json) -> None:
        _check(case)

    check()


@pytest.mark.parametrize("provider", PLACES)
def test_whatever_stands_in_what_the_connector_reads_arrives_or_is_an_error(provider: str) -> None:
    @settings(max_examples=MOST)
    @given(_changes(provider, _read_by_the_connector, 1, 3))
    def check(case: Json) -> None:
        _check(case)

    check()


# -- the check itself -----------------------------------------------------------------------------

CASE = {"at": "list", "path": ["title"], "value": 0, "every": 2}


def _problems_with(spoil: Callable[[Output], object], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    def spoilt(config: Json, states: list[Json] | None) -> Output:
        output = read(config, states)
        spoil(output)
        return output

    monkeypatch.setattr(fuzzing, "read", spoilt)
    return problems({"provider": "salesloft", "changes": [CASE]})


def test_a_row_that_is_left_out_without_a_word_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a connector that leaves out the last row
    def leave_out(output: Output) -> None:
        output.messages.remove(output.of("RECORD")[-1])

    # Then that is said of each sync
    one, two = _problems_with(leave_out, monkeypatch)
    assert one.startswith("sync 1: salesloft_meetings: 1 rows were not emitted")
    assert two.startswith("sync 2: salesloft_meetings: 1 rows were not emitted")


def test_a_value_that_is_changed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a connector that turns a number into text
    def change(output: Output) -> None:
        for message in output.of("RECORD"):
            message["record"]["data"]["title"] = str(message["record"]["data"].get("title"))

    # Then the rows with a number there are missing
    found = _problems_with(change, monkeypatch)
    assert "rows were not emitted: {'id'" in found[0] and "'title': 0" in found[0]


def test_an_error_in_the_words_of_python_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a connector that stumbles over a row
    def stumble(rows: list[Json], *_: object) -> list[Json]:
        raise KeyError("title")

    monkeypatch.setattr(meetings, "_rows_since", stumble)
    # Then its message is not written for people
    found = problems({"provider": "salesloft", "changes": [CASE]})
    assert "KeyError" in found[0] and "no words" in found[0]


def test_a_case_that_changes_nothing_is_found() -> None:
    nowhere = {**CASE, "path": ["nowhere", "title"]}
    assert problems({"provider": "salesloft", "changes": [nowhere]}) == ["nothing was changed"]
