"""Compares this connector with other programs: `make bench BENCH="--quick"`.

Earlier measurements that are not repeated stay in the report, unless the machine or the program's
version has changed. `--report` only writes the report again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.speed import plots
from benchmarks.speed.peers import peers
from benchmarks.speed.programs import Connector, Loop, Program, installed
from benchmarks.speed.report import Facts, render
from benchmarks.speed.results import FILE, Entry, Results, load, this_machine
from benchmarks.speed.scenarios import (
    Plan,
    commands,
    first_syncs,
    later_syncs,
    limited_syncs,
    numbers_of_workers,
)
from sandbox.accounts import ACCOUNTS

SCENARIOS = ("first", "limited", "later", "command", "workers")
QUICK = Plan(sizes=(5_000,), latencies=(0,), runs=1)
QUICK_SCENARIOS = ("first", "command")
REPORT = FILE.with_name("RESULTS.md")


def measure(
    provider: str, scenarios: Sequence[str], programs: Sequence[Program], plan: Plan
) -> Iterator[Entry]:
    """Yield the measurements for one provider."""
    known = [program for program in programs if program.knows(provider)]
    if "first" in scenarios:
        yield from first_syncs(provider, known, plan)
    if "limited" in scenarios:
        yield from limited_syncs(provider, plan, ACCOUNTS[provider].limit)
    if "later" in scenarios:
        yield from later_syncs(provider, known, plan)
    if "command" in scenarios:
        yield from commands(provider, known, plan)
    if "workers" in scenarios:
        yield from numbers_of_workers(provider, plan)


def facts(programs: Sequence[Program]) -> Facts:
    """What the report needs to know about the providers and programs."""
    return Facts(
        titles={name: account.title for name, account in ACCOUNTS.items()},
        most_cpu={name: account.most_cpu for name, account in ACCOUNTS.items()},
        limits={name: account.limit for name, account in ACCOUNTS.items()},
        how={program.name: program.how for program in programs},
    )


def write_report(results: Results, programs: Sequence[Program]) -> None:
    known = facts(programs)
    REPORT.write_text(render(results, known, plots.draw(results, known.titles)))


def main() -> None:
    arguments = _arguments()
    programs: list[Program] = [Connector(), Loop(), *peers()]
    results = load()
    if not arguments.report:
        chosen = [one for one in programs if one.name in (arguments.programs or [one.name])]
        found, missing = installed(chosen)
        versions = {program.name: program.versions() for program in found}
        results = results.on(this_machine()).with_versions(versions, missing)
        started = time.monotonic()
        for provider in arguments.providers:
            for entry in measure(provider, arguments.scenarios, found, _plan(arguments)):
                results = results.with_entries([entry])
                results.save()
        print(f"{(time.monotonic() - started) / 60:.1f} minutes", file=sys.stderr)
    write_report(results, programs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure less, in about two minutes")
    parser.add_argument("--report", action="store_true", help="only write the report again")
    parser.add_argument("--providers", nargs="+", choices=ACCOUNTS, default=list(ACCOUNTS))
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS)
    parser.add_argument("--programs", nargs="+", help="names, as in the report; all by default")
    parser.add_argument("--sizes", type=int, nargs="+", help="meetings in first syncs")
    parser.add_argument("--latencies", type=int, nargs="+", help="in first syncs, in ms")
    parser.add_argument("--runs", type=int, help="per program")
    parser.add_argument("--once", type=float, help="seconds above which one run is enough")
    parser.add_argument("--longest", type=float, help="seconds above which a run is left out")
    parser.add_argument("--limited-sizes", type=int, nargs="+", help="meetings at the rate limit")
    arguments = parser.parse_args()
    arguments.scenarios = arguments.scenarios or (QUICK_SCENARIOS if arguments.quick else SCENARIOS)
    return arguments


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else Plan()
    names = ("sizes", "latencies", "runs", "once", "longest", "limited_sizes")
    given: dict[str, Any] = {}
    for name in names:
        if value := getattr(arguments, name):
            given[name] = tuple(value) if isinstance(value, list) else value
    return replace(plan, **given)


if __name__ == "__main__":
    main()
