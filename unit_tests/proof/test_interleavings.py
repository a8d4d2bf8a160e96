"""The short form of ``explore``: all cases with one disturbance, and some with two or three.

All are those of an ordinary account of 0 to 3 rows, and of one of one or two rows for each other
profile. ``make explore`` runs every profile with every number of rows, and more of the deeper ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from unit_tests.proof import explore
from unit_tests.proof.cases import SUBJECTS, Case, Interruption, run
from unit_tests.proof.explore import Found, as_script
from unit_tests.proof.models import Write
from unit_tests.proof.mutants import MUTANTS, ROOT, Mutant

# The least number of cases. Fewer would mean that something is no longer disturbed.
CASES = {
    "salesloft_meetings": 4000,
    "updated_since": 1400,
    "expoplatform_meeting_participants": 2200,
    "close_meetings": 6500,
    "close_meeting_transcripts": 6000,
    "highlevel_calendar_events": 3000,
    "highlevel_appointments": 3000,
}


def said(found: Found) -> str:
    return "\n".join(
        "\n".join([*(f"# {problem}" for problem in problems), as_script(case)])
        for case, problems in found.failures
    )


@pytest.mark.parametrize("stream", SUBJECTS)
def test_whatever_disturbs_three_syncs_the_next_two_make_the_table_equal_to_the_truth(
    stream: str,
) -> None:
    total = Found()
    for found in explore.short_form(stream):
        assert not found.failures, said(found)
        total.add(found)
    assert total.cases >= CASES[stream]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: f"{one.file} {one.new[:30]}")
def test_each_fault_that_judges_the_cases_still_has_its_place(mutant: Mutant) -> None:
    assert mutant.old in (ROOT / "source_meetings" / mutant.file).read_text()


def test_the_same_seed_draws_the_same_cases() -> None:
    first, again, other = (
        [case for case, _ in zip(explore.drawn("salesloft_meetings", seed, 4), range(20))]
        for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_a_failing_case_loses_what_it_does_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a case that fails as soon as the first row is edited
    edit = (3, Write("edit"))
    script = ((1, Write("create")), edit, (4, Interruption("kill")))
    monkeypatch.setattr(explore, "_is_failure", lambda case: edit in case.script and case.rows > 0)
    # Then one row and the edit are left
    found = explore.shortened(Case("salesloft_meetings", 0, 3, script))
    assert found == Case("salesloft_meetings", 0, 1, (edit,))


def test_a_failing_case_is_printed_as_a_program_that_runs_it_again() -> None:
    script = ((2, Write("edit", 1, late=True)), (3, Interruption("kill")))
    case = Case("updated_since", 1, 2, script)
    known: dict[str, Any] = {"print": lambda *words, sep="": None}
    exec(as_script(case), known)
    with SUBJECTS[case.subject].scaled_down():
        outcome = run(case)
    assert known["outcome"].model.history == outcome.model.history


def test_a_meeting_that_only_a_killed_sync_has_emitted_is_no_bound_once_it_is_cancelled() -> None:
    # Given an edit that only a killed sync has seen, and a cancellation before the next one
    edit, cancel = Write("edit", 3, later=True), Write("cancel", 3, later=True)
    script = ((12, edit), (14, Interruption("kill")), (15, cancel))
    case = Case("salesloft_meetings", 8, 5, script, turns=1)
    # Then the newest meeting that is not cancelled may still come again after a rest
    with SUBJECTS[case.subject].scaled_down():
        assert run(case).problems == []
