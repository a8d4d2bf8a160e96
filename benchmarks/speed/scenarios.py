"""The scenarios. Each function yields an entry for every case, and the programs take turns."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from benchmarks.speed.figures import START_UP, median
from benchmarks.speed.process import Run, run
from benchmarks.speed.programs import Connector, Loop, Program
from benchmarks.speed.results import Case, Entry, Sample
from benchmarks.speed.server import ServerProcess

EDITS = (0, 10, 1_000)


@dataclass(frozen=True)
class Plan:
    """What to measure, and how long it may take.

    A program that takes more than ``once`` seconds is run only once. It is left out if the size
    before suggests more than ``longest`` seconds.
    """

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    latencies: tuple[int, ...] = (0, 100)
    runs: int = 3
    once: float = 25
    longest: float = 300
    later_size: int = 10_000
    limited_sizes: tuple[int, ...] = (10_000, 100_000)
    workers: tuple[int, ...] = (2, 4, 8, 16)
    worker_latencies: tuple[int, ...] = (20, 100, 400)
    worker_size: int = 10_000


Action = Callable[[], tuple[Run, Sample]]


def first_syncs(provider: str, programs: Sequence[Program], plan: Plan) -> Iterator[Entry]:
    """First syncs of each size at each latency. The smallest one measures the start."""
    expected: dict[tuple[str, int], tuple[int, float]] = {}
    start_up = (START_UP,) if 0 in plan.latencies else ()
    for size in (*start_up, *sorted(plan.sizes)):
        with _serving(provider, size) as (server, folder):
            commands = _prepared(programs, server, folder)
            for latency in plan.latencies if size != START_UP else (0,):
                server.latency(latency / 1000)
                cases = {name: Case("first", provider, name, size, latency) for name in commands}
                actions = {
                    cases[name]: _reading(server, command) for name, command in commands.items()
                }
                short: dict[Case, Action] = {}
                for case, action in actions.items():
                    before, seconds = expected.get((case.program, latency), (size, 0.0))
                    if seconds * size / before > plan.longest:
                        minutes = seconds * size / before / 60
                        yield _left_out(case, f"it would take about {minutes:.0f} minutes")
                    else:
                        short[case] = action
                for entry in _alternating(short, plan):
                    yield entry
                    if entry.samples and size != START_UP:
                        seconds = median(sample.wall for sample in entry.samples)
                        expected[entry.case.program, latency] = (size, seconds)


def limited_syncs(provider: str, plan: Plan, limit: tuple[int, int] | None) -> Iterator[Entry]:
    """First syncs by the connector at the provider's rate limit, once each."""
    for size in sorted(plan.limited_sizes) if limit else ():
        with _serving(provider, size, limited=True) as (server, folder):
            program = Connector(paced=True)
            action = _reading(server, program.read(server, folder))
            case = Case("limited", provider, program.name, size)
            yield from _alternating({case: action}, replace(plan, runs=1))


def later_syncs(provider: str, programs: Sequence[Program], plan: Plan) -> Iterator[Entry]:
    """Syncs after some edits, each from the state of a first sync before them."""
    programs = [program for program in programs if not isinstance(program, Loop)]
    for edits in EDITS:
        with _serving(provider, plan.later_size) as (server, folder):
            commands = {}
            for program in programs:
                place = _folder(folder, program)
                command = program.read(server, place)
                if program.resumes and (first := run(command)).status == 0:
                    command = program.read_again(server, place, first)
                commands[program.name] = command
            server.edit(edits)
            actions = {
                Case("later", provider, name, plan.later_size, edits=edits): _reading(server, one)
                for name, one in commands.items()
            }
            yield from _alternating(actions, plan)


def commands(provider: str, programs: Sequence[Program], plan: Plan) -> Iterator[Entry]:
    """Each command except `read`, in a new process."""
    with _serving(provider, 1_000) as (server, folder):
        for name in ("spec", "check", "discover"):
            actions = {
                Case("command", provider, program.name, command=name): _reading(
                    server, program.command(name, server, _folder(folder, program))
                )
                for program in programs
                if name in program.commands
            }
            yield from _alternating(actions, plan)


def numbers_of_workers(provider: str, plan: Plan) -> Iterator[Entry]:
    """First syncs by the connector with different numbers of workers, once each."""
    with _serving(provider, plan.worker_size) as (server, folder):
        run(Connector().read(server, folder))  # so the server has its replies
        for latency in plan.worker_latencies:
            server.latency(latency / 1000)
            actions = {}
            for workers in plan.workers:
                program = Connector(workers=workers)
                place = _folder(folder, program, f"-{workers}")
                case = Case("workers", provider, program.name, plan.worker_size, latency)
                action = _reading(server, program.read(server, place))
                actions[replace(case, workers=workers)] = action
            yield from _alternating(actions, replace(plan, runs=1))


@contextmanager
def _serving(
    provider: str, meetings: int, limited: bool = False
) -> Iterator[tuple[ServerProcess, Path]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(provider, meetings, limited) as server,
    ):
        yield server, Path(folder)


def _prepared(
    programs: Sequence[Program], server: ServerProcess, folder: Path
) -> dict[str, list[str]]:
    """The command lines of a first sync. The connector reads once: the loop repeats its GETs."""
    found = {}
    for program in programs:
        if isinstance(program, Connector):
            found[program.name] = program.read(server, _folder(folder, program))
            server.forget()
            run(found[program.name])
    for program in programs:
        if program.name not in found:
            found[program.name] = program.read(server, _folder(folder, program))
    return found


def _folder(folder: Path, program: Program, more: str = "") -> Path:
    path = folder / f"{program.name}{more}".replace(" ", "-")
    path.mkdir(exist_ok=True)
    return path


def _reading(server: ServerProcess, command: list[str]) -> Action:
    def action() -> tuple[Run, Sample]:
        server.forget()
        done = run(command)
        return done, Sample.of(done, server.counts())

    return action


def _alternating(actions: dict[Case, Action], plan: Plan) -> Iterator[Entry]:
    """Run each action in turn, ``plan.runs`` times. Yields the entries."""
    day = date.today().isoformat()
    found: dict[Case, Entry] = {case: Entry(case, day) for case in actions}
    for _ in range(plan.runs):
        for case, action in actions.items():
            entry = found[case]
            if entry.left_out or any(sample.wall > plan.once for sample in entry.samples):
                continue
            done, sample = action()
            _show(case, done, sample)
            if done.status:
                found[case] = _left_out(case, f"it failed: {done.error}")
            else:
                found[case] = replace(entry, samples=(*entry.samples, sample))
    yield from found.values()


def _left_out(case: Case, reason: str) -> Entry:
    return Entry(case, date.today().isoformat(), left_out=reason)


def _show(case: Case, done: Run, sample: Sample) -> None:
    parts = [str(part) for part in vars(case).values() if part is not None]
    print(
        f"{' '.join(parts)}: {sample.wall:.2f} s, CPU {sample.cpu:.2f} s, "
        f"{sample.peak / 1e6:.0f} MB, {sample.records:,} records, {sample.requests:,} requests"
        + (f", FAILED: {done.error}" if done.status else ""),
        file=sys.stderr,
        flush=True,
    )
