"""Runs small cases: all of them up to a depth, and a sample of the deeper ones.

    python -m unit_tests.proof.explore --depth 1            # all with one disturbance
    python -m unit_tests.proof.explore --runs 100000        # and so many with two or three
    python -m unit_tests.proof.explore --seed 7 --stream close_meetings

Accounts have 0 to 4 rows, or up to 6 in the sample, and pages hold two. A disturbance is a write
(each kind of write to each row, seen at once or late) or an interruption (the process is killed, or
a request fails for good). It comes before any request of the first sync or of the two after it, or
after the last one. ``--depth`` runs every combination of so many, in every order. That is complete
for each *profile* of a stream: the profiles (``cases.PROFILES`` and the stream's own) say how time
passes and how the provider behaves, and are not complete.

How many cases there are grows with the power of the depth: some thousands with one disturbance for
each stream and profile, millions with two. So the deeper ones are drawn from a seed. The same seed
always draws the same cases. Each of them draws first what may happen in it at all: about half of
the kinds of writes and interruptions, of late and later ones, of turns that workers take at random,
and of the faults of ``workers.py``. So some cases have only deletions and kills, which would seldom
meet if all kinds came in all cases.

A failing case is printed as a script that runs it again, with as few disturbances as still fail.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from random import Random

from unit_tests.proof.cases import SUBJECTS, Case, Interruption, Outcome, Profile, Step, run
from unit_tests.proof.models import Model, Write
from unit_tests.proof.workers import FAULTS

ROWS = (0, 1, 2, 3, 4)
DRAWN = 600
_MOST_ROWS = 6
_MOST_FAILURES = 3
_CHUNK = 500


@dataclass
class Found:
    """What some cases came to."""

    cases: int = 0
    gave_up: int = 0
    seconds: float = 0.0
    failures: list[tuple[Case, list[str]]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        self.cases += other.cases
        self.gave_up += other.gave_up
        self.seconds += other.seconds
        self.failures += other.failures


def disturbances(model: type[Model], rows: int) -> Iterator[Write | Interruption]:
    """Yield what can happen before a request, with so many rows."""
    lates = (False, True) if model.delay else (False,)
    for late in lates:
        for kind in (*model.creates, "edit all"):
            yield Write(kind, late=late)
        for kind in model.changes:
            if not (late and kind in model.prompt):
                for which in range(rows):
                    yield Write(kind, which, late)
    yield Interruption("kill")
    yield Interruption("refuse")


def all_cases(subject: str, profile: int, rows: int, depth: int) -> Iterator[tuple[Case, Outcome]]:
    """Run every case up to a depth, and yield it with its outcome."""
    model = SUBJECTS[subject].model

    def after(case: Case) -> Iterator[tuple[Case, Outcome]]:
        outcome = run(case)
        yield case, outcome
        if len(case.script) == depth:
            return
        made = sum(isinstance(what, Write) for _, what in case.script)
        start = case.script[-1][0] if case.script else 1
        for at in range(start, outcome.requests + 2):
            for what in disturbances(model, rows + made):
                script = (*case.script, (at, what))
                if at > outcome.requests and isinstance(what, Interruption):
                    continue
                if is_possible(subject, profile, script):
                    yield from after(replace(case, script=script))

    yield from after(Case(subject, profile, rows))


def faults_of(model: type[Model]) -> tuple[str, ...]:
    """Return all that may happen in a case that is drawn."""
    kinds = (*model.creates, *model.changes, "edit all", "kill", "refuse")
    return (*kinds, "late", "later", "turns", *FAULTS)


def may_happen(what: Write | Interruption, faults: tuple[str, ...]) -> bool:
    """Return whether a disturbance is among those that may happen in a case."""
    late = isinstance(what, Write) and what.late
    return what.kind in faults and (not late or "late" in faults)


def is_possible(subject: str, profile: int, script: tuple[Step, ...]) -> bool:
    """Whether the API shows all that a script writes, and it has no interruption twice."""
    interrupted = [at for at, what in script if isinstance(what, Interruption)]
    if len(set(interrupted)) < len(interrupted):
        return False
    one = SUBJECTS[subject]
    return not one.impossible(one.profiles[profile], script)


def drawn(subject: str, seed: str, most_rows: int) -> Iterator[Case]:
    """Yield cases with two or three disturbances, without end."""
    one = SUBJECTS[subject]
    random = Random(f"{seed} {subject}")
    requests: dict[tuple[int, int], int] = {}
    while True:
        profile, rows = random.randrange(len(one.profiles)), random.randint(0, most_rows)
        if (profile, rows) not in requests:
            requests[profile, rows] = run(Case(subject, profile, rows)).requests
        faults = tuple(fault for fault in faults_of(one.model) if random.random() < 0.5)
        choices = [what for what in disturbances(one.model, rows + 1) if may_happen(what, faults)]
        if not choices:
            continue
        script: list[Step] = []
        number = random.choice((2, 2, 3))
        at = 0
        for _ in range(number):
            # Half of them come soon after the one before: that is where they meet.
            near = at and random.random() < 0.5
            at = at + random.randint(0, 2) if near else random.randint(1, requests[profile, rows])
            what = random.choice(choices)
            if isinstance(what, Write) and "later" in faults and random.random() < 0.6:
                what = what._replace(later=True)
            script.append((at, what))
        script.sort(key=lambda step: step[0])
        turns = random.randrange(10**6) if "turns" in faults else None
        case = Case(subject, profile, rows, tuple(script), turns, faults)
        if is_possible(subject, profile, case.script):
            yield case


def _is_failure(case: Case) -> bool:
    return bool(run(case).problems)


def shortened(case: Case) -> Case:
    """Leave out what a failing case does not need to fail."""
    shorter = True
    while shorter:
        shorter = False
        for number in range(len(case.script)):
            script = (*case.script[:number], *case.script[number + 1 :])
            smaller = replace(case, script=script)
            if is_possible(case.subject, case.profile, script) and _is_failure(smaller):
                case, shorter = smaller, True
                break
        for fault in case.faults:
            fewer = replace(case, faults=tuple(one for one in case.faults if one != fault))
            if not shorter and _is_failure(fewer):
                case, shorter = fewer, True
        if not shorter and case.rows and _is_failure(replace(case, rows=case.rows - 1)):
            case, shorter = replace(case, rows=case.rows - 1), True
    return case


def as_script(case: Case) -> str:
    """Return a program that runs a case again."""
    return f"""\
from unit_tests.proof.cases import SUBJECTS, Case, Interruption, run
from unit_tests.proof.models import Write

with SUBJECTS[{case.subject!r}].scaled_down():
    outcome = run({case!r})
for entry in outcome.model.history:
    print(entry)
print(*outcome.problems, sep="\\n")
"""


def check(outcomes: Iterable[tuple[Case, Outcome]]) -> Found:
    """Look at outcomes until a few of them have failed."""
    found = Found()
    began = time.process_time()
    for case, outcome in outcomes:
        found.cases += 1
        found.gave_up += outcome.gave_up
        if outcome.problems:
            case = shortened(case)
            found.failures.append((case, run(case).problems))
            if len(found.failures) == _MOST_FAILURES:
                break
    found.seconds = time.process_time() - began
    return found


@contextmanager
def silent() -> Iterator[None]:
    """Log nothing: what syncs say of a hundred thousand cases takes longer than they do."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def check_all(subject: str, profile: int, rows: int, depth: int) -> Found:
    """Run every case of a stream with one profile and so many rows."""
    with silent(), SUBJECTS[subject].scaled_down():
        return check(all_cases(subject, profile, rows, depth))


def check_drawn(subject: str, seed: str, runs: int, most_rows: int = _MOST_ROWS) -> Found:
    """Run so many cases that are drawn from a seed."""
    with silent(), SUBJECTS[subject].scaled_down():
        cases = islice(drawn(subject, seed, most_rows), runs)
        return check((case, run(case)) for case in cases)


def short_form(subject: str) -> Iterator[Found]:
    """Run what every test run does: a sample, and all with one disturbance in small accounts."""
    yield check_drawn(subject, "gate", DRAWN)
    for number, profile in enumerate(SUBJECTS[subject].profiles):
        for rows in (0, 1, 2, 3) if number == 0 else (profile.short,):
            yield check_all(subject, number, rows, 1)


def profiles_of(subject: str) -> tuple[Profile, ...]:
    return SUBJECTS[subject].profiles


def main() -> int:
    """Run what the command line says. Returns 1 if a case has failed."""
    parser = argparse.ArgumentParser(description="Run small cases of syncs, in parallel.")
    parser.add_argument("--stream", choices=SUBJECTS, help="only this one")
    parser.add_argument("--depth", type=int, default=1, help="all with so many disturbances")
    parser.add_argument("--runs", type=int, default=10_000, help="deeper ones for each stream")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    streams = [options.stream] if options.stream else list(SUBJECTS)
    failed = False
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = {
            stream: [
                *(
                    pool.submit(check_all, stream, profile, rows, options.depth)
                    for profile in range(len(profiles_of(stream)))
                    for rows in ROWS
                ),
                *(
                    pool.submit(check_drawn, stream, f"{options.seed}/{part}", _CHUNK)
                    for part in range(-(-options.runs // _CHUNK))
                ),
            ]
            for stream in streams
        }
        for stream, waiting in jobs.items():
            found = Found()
            for job in waiting:
                found.add(job.result())
            failed = failed or bool(found.failures)
            print(
                f"{stream}: {found.cases} cases, {found.seconds:.0f} s, "
                f"{found.gave_up} gave up, {len(found.failures)} failed",
                flush=True,
            )
            _report(found)
    return int(failed)


def _report(found: Found) -> None:
    said: Counter[str] = Counter()
    for case, problems in found.failures:
        words = problems[0].partition(": ")[2][:40]
        said[words] += 1
        if said[words] <= _MOST_FAILURES:
            print("\n".join(f"# {problem}" for problem in problems))
            print(as_script(case))


if __name__ == "__main__":
    sys.exit(main())
