"""The deterministic scheduler: what a seed lets happen, and that a printed case runs it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

import pytest

from source_meetings.sync import chain
from source_meetings.sync.reading import Row, Slice
from unit_tests.proof import explore
from unit_tests.proof.cases import SUBJECTS, run
from unit_tests.proof.explore import as_script, faults_of, may_happen
from unit_tests.proof.workers import FAULTS, Workers

SEEDS = 100
ASKS, ANSWERED, HANDS_OVER = "asks", "is answered", "hands over"


class Noting:
    """A sync of three slices with two requests each, which notes what happens."""

    def __init__(self, seed: int | None, *faults: str, workers: int = 2) -> None:
        self.noted: list[tuple[str, str]] = []
        turns = None if seed is None else Random(seed)
        sync: Any = self
        self.workers = Workers(
            sync,
            workers,
            turns,
            faults,
            lambda steps: next(steps, None),
            lambda page: self.noted.append((HANDS_OVER, page[0]["id"])),
        )
        self.workers.run()

    def slices(self) -> Iterator[Slice]:
        for name in "abc":
            yield Slice({"name": name})

    def read(self, slice: Slice) -> Iterator[list[Row]]:
        for number in "12":
            name = slice.values["name"] + number
            self.noted.append((ASKS, name))
            self.workers.meanwhile()
            self.noted.append((ANSWERED, name))
            self.workers.meanwhile()
            yield [{"id": name}]

    def between(self, first: str, last: str) -> set[str]:
        """What others have done between two things that a worker does."""
        found: set[str] = set()
        for at, (what, name) in enumerate(self.noted):
            if what == first:
                end = self.noted.index((last, name))
                found |= {did for did, who in self.noted[at:end] if who[0] != name[0]}
        return found


ALL = {ASKS, ANSWERED, HANDS_OVER}


@pytest.mark.parametrize("seed", [None, *range(SEEDS)])
def test_without_a_fault_a_worker_asks_and_hands_over_before_another_goes_on(
    seed: int | None,
) -> None:
    for faults in (), FAULTS[: 2 if seed is None else 0]:
        noting = Noting(seed, *faults)
        assert noting.between(ASKS, HANDS_OVER) == set()
        # And each page is handed over once
        handed = sorted(name for what, name in noting.noted if what == HANDS_OVER)
        assert handed == ["a1", "a2", "b1", "b2", "c1", "c2"]


@pytest.mark.parametrize(
    ("fault", "stopped"),
    [
        ("late answers", [(ASKS, ANSWERED), (ANSWERED, HANDS_OVER)]),
        ("late pages", [(ANSWERED, HANDS_OVER)]),
    ],
)
def test_others_read_and_hand_over_while_a_worker_is_stopped(
    fault: str, stopped: list[tuple[str, str]]
) -> None:
    # Given many seeds with one fault
    runs = [Noting(seed, fault, workers=3) for seed in range(SEEDS)]
    # Then others do all that they can do, wherever a worker is stopped
    for first, last in stopped:
        assert set.union(*(one.between(first, last) for one in runs)) == ALL
    # And each slice's pages are handed over once, in their order
    for one in runs:
        handed = [name for what, name in one.noted if what == HANDS_OVER]
        assert sorted(handed) == ["a1", "a2", "b1", "b2", "c1", "c2"]
        assert all(handed.index(f"{name}1") < handed.index(f"{name}2") for name in "abc")


def test_late_pages_alone_leave_requests_whole() -> None:
    for seed in range(SEEDS):
        assert Noting(seed, "late pages", workers=3).between(ASKS, ANSWERED) == set()


def test_the_same_seed_stops_the_same_workers() -> None:
    one, again, other = (Noting(seed, *FAULTS).noted for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("stream", SUBJECTS)
def test_each_case_that_is_drawn_has_some_of_the_faults(stream: str) -> None:
    # Given many cases
    cases = list(islice(explore.drawn(stream, "swarm", 4), 200))
    for fault in faults_of(SUBJECTS[stream].model):
        # Then each fault may happen in many of them, and not in many others
        may = sum(fault in case.faults for case in cases)
        assert 50 < may < 150, fault
    for case in cases:
        # And no other happens
        assert all(may_happen(what, case.faults) for _, what in case.script)
        assert (case.turns is not None) == ("turns" in case.faults)
        # And they are in the script that is printed
        assert f"faults={case.faults!r}" in as_script(case)
    kinds = {what.kind for case in cases for _, what in case.script}
    assert {"kill", "refuse", "edit all"} <= kinds


def printed_by(script: str) -> list[str]:
    printed: list[str] = []
    exec(script, {"print": lambda *words, sep=" ": printed.extend(map(str, words))})
    return printed


def test_a_failure_that_takes_a_late_answer_is_found_and_printed_as_a_script_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a sync that assumes that no other slice is read during a request: it marks the slice
    # that was read last as complete
    read, finish = chain.Sync.read, chain._Course.finish  # noqa: SLF001
    last: list[Slice] = []

    def careless_read(sync: chain.Sync, slice: Slice) -> Iterator[list[Row]]:
        pages = read(sync, slice)
        while True:
            last[:] = [slice]
            page = next(pages, None)
            if page is None:
                return
            yield page

    def careless_finish(course: Any, slice: Slice) -> bool:
        left = [one for one in (last[0], slice) if id(one) in course._left]  # noqa: SLF001
        return bool(left) and finish(course, left[0])

    monkeypatch.setattr(chain.Sync, "read", careless_read)
    monkeypatch.setattr(chain._Course, "finish", careless_finish)  # noqa: SLF001
    # When cases are drawn
    found = explore.check_drawn("close_meeting_transcripts", "careless", 600)
    # Then some fail, and need the late answer for it
    assert found.failures
    for case, problems in found.failures:
        assert "late answers" in case.faults and case.turns is not None
        on_time = tuple(fault for fault in case.faults if fault != "late answers")
        with SUBJECTS[case.subject].scaled_down():
            assert run(replace(case, faults=on_time)).problems == []
        # And the script that is printed has the same problems
        assert printed_by(as_script(case))[-len(problems) :] == problems
        # And it passes once the sync is as it was
        with monkeypatch.context() as mended, SUBJECTS[case.subject].scaled_down():
            mended.setattr(chain.Sync, "read", read)
            mended.setattr(chain._Course, "finish", finish)  # noqa: SLF001
            assert run(case).problems == []
