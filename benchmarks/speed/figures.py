"""Computes the report's figures from the measurements. Pure: no file, no process, no clock."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.speed.results import Case, Entry, Results, Sample

CONNECTOR, LOOP = "source-meetings", "plain loop"
START_UP = 20  # meetings in a sync that takes little more than its start
ENOUGH_ROWS = 50_000  # at least, to measure the CPU time per row
SECONDS_TO_FIRST_RECORD = 0.3  # plus two requests
ROWS_PER_CPU_SECOND = 20_000
TIMES_AS_FAST = 5.0
MOST_OVER_THE_LIMIT = 1.1
MOST_MEMORY = 120e6


@dataclass(frozen=True)
class Target:
    """One line of the table of targets. ``met`` is None if nothing was measured."""

    words: str
    figure: str
    met: bool | None


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def middle(entry: Entry, figure: Callable[[Sample], float]) -> float:
    """The median of a figure over the samples of an entry."""
    return median(map(figure, entry.samples))


def wall(entry: Entry) -> float:
    return middle(entry, lambda sample: sample.wall)


def measured(results: Results, scenario: str, provider: str | None = None) -> list[Entry]:
    """The entries of a scenario that have samples."""
    return [
        entry
        for entry in results.entries
        if entry.samples
        and entry.case.scenario == scenario
        and provider in (None, entry.case.provider)
    ]


def find(results: Results, case: Case) -> Entry | None:
    """The entry of a case, if it has samples."""
    return next((one for one in results.entries if one.case == case and one.samples), None)


def cpu_per_row(results: Results, provider: str, program: str, meetings: int) -> float | None:
    """CPU seconds per row, without latency and without those of the start."""
    large = find(results, Case("first", provider, program, meetings))
    small = find(results, Case("first", provider, program, START_UP))
    if large is None or small is None:
        return None
    seconds = middle(large, lambda one: one.cpu) - middle(small, lambda one: one.cpu)
    rows = middle(large, lambda one: one.records) - middle(small, lambda one: one.records)
    return seconds / rows if rows > 0 and seconds > 0 else None


def times_the_loop(results: Results, provider: str, program: str, meetings: int) -> float | None:
    """A program's CPU time per row, as a multiple of the loop's."""
    its = cpu_per_row(results, provider, program, meetings)
    least = cpu_per_row(results, provider, LOOP, meetings)
    return None if its is None or least is None else its / least


def largest(results: Results, provider: str) -> int | None:
    """The largest first sync without latency from which the CPU time per row is known."""
    sizes = [
        entry.case.meetings
        for entry in measured(results, "first", provider)
        if entry.case.meetings >= ENOUGH_ROWS
        and cpu_per_row(results, provider, CONNECTOR, entry.case.meetings) is not None
        and cpu_per_row(results, provider, LOOP, entry.case.meetings) is not None
    ]
    return max(sizes, default=None)


def times_ours(results: Results, entry: Entry) -> float | None:
    """The time another program took, as a multiple of the connector's for the same case."""
    case = entry.case
    ours = find(results, Case(case.scenario, case.provider, CONNECTOR, case.meetings, case.latency))
    return None if ours is None else wall(entry) / wall(ours)


def seconds_allowed(requests: float, limit: tuple[int, int]) -> float:
    """The least time for which a rate limit holds back this many requests or points."""
    count, seconds = limit
    return max(0, math.ceil(requests / count) - 1) * seconds


def over_the_limit(
    results: Results, entry: Entry, limit: tuple[int, int]
) -> tuple[float, float | None]:
    """The seconds that the limit and the start allow, and the time it took as a multiple of them.

    The multiple is None if the limit holds nothing back, or the start was not measured.
    """
    spent = middle(entry, lambda one: one.points or one.requests)
    held_back = seconds_allowed(spent, limit)
    start = find(results, Case("first", entry.case.provider, CONNECTOR, START_UP))
    if not held_back or start is None:
        return held_back, None
    allowed = held_back + wall(start)
    return allowed, wall(entry) / allowed


def targets(
    results: Results,
    most_cpu: dict[str, float],
    limits: dict[str, tuple[int, int] | None],
    titles: dict[str, str],
) -> list[Target]:
    """All targets, provider by provider. The mappings are by provider."""
    found: list[Target] = []
    for name, title in titles.items():
        found += _cpu_targets(results, name, title, most_cpu[name])
        found += _peer_targets(results, name, title)
        found += _limit_targets(results, name, title, limits[name])
        found += _memory_targets(results, name, title)
        found += _first_record_targets(results, name, title)
    return found


def _cpu_targets(results: Results, name: str, title: str, most: float) -> Iterator[Target]:
    words = f"{title}: CPU time per row, as a multiple of the plain loop's: at most {most:.1f}"
    per_second = f"{title}: rows per CPU second: at least {ROWS_PER_CPU_SECOND:,}"
    size = largest(results, name)
    if size is None:
        yield Target(words, "not measured", None)
        return
    ratio = times_the_loop(results, name, CONNECTOR, size)
    seconds = cpu_per_row(results, name, CONNECTOR, size)
    assert ratio is not None and seconds is not None
    yield Target(words, f"{ratio:.2f} ({size:,} meetings)", ratio <= most)
    rows = 1 / seconds
    yield Target(per_second, f"{rows:,.0f}", rows >= ROWS_PER_CPU_SECOND)


def _peer_targets(results: Results, name: str, title: str) -> Iterator[Target]:
    for at_least, latency, without, words in (
        (1.0, 0, (CONNECTOR, LOOP), f"{title}: no peer is faster at 0 ms"),
        (TIMES_AS_FAST, 100, (CONNECTOR,), f"{title}: five times as fast as the rest at 100 ms"),
    ):
        ratios = {
            entry: ratio
            for entry in measured(results, "first", name)
            if entry.case.program not in without
            and entry.case.latency == latency
            and entry.case.meetings != START_UP
            and (ratio := times_ours(results, entry)) is not None
        }
        sizes = sorted({entry.case.meetings for entry in ratios})
        if not sizes:
            yield Target(words, "not measured", None)
        for size in sizes:
            of_size = {e.case.program: r for e, r in ratios.items() if e.case.meetings == size}
            closest = min(of_size, key=lambda program: of_size[program])
            figure = f"{of_size[closest]:.1f} times as fast as {closest}, the fastest of them"
            met = of_size[closest] >= at_least
            yield Target(f"{words}, {size:,} meetings", figure, met)


def _limit_targets(
    results: Results, name: str, title: str, limit: tuple[int, int] | None
) -> Iterator[Target]:
    words = f"{title}: within 10% of the time that its rate limit allows"
    if limit is None:
        return
    held = [
        (one, over_the_limit(results, one, limit)) for one in measured(results, "limited", name)
    ]
    told = [(one, allowed, times) for one, (allowed, times) in held if times is not None]
    if not told:
        yield Target(words, "not measured", None)
    for entry, allowed, times in told:
        figure = f"{wall(entry):.0f} s, {allowed:.0f} s allowed"
        yield Target(
            f"{words}, {entry.case.meetings:,} meetings", figure, times <= MOST_OVER_THE_LIMIT
        )


def _memory_targets(results: Results, name: str, title: str) -> Iterator[Target]:
    entries = [one for one in measured(results, "first", name) if one.case.program == CONNECTOR]
    words = f"{title}: at most {MOST_MEMORY / 1e6:.0f} MB of memory"
    if not entries:
        yield Target(words, "not measured", None)
        return
    size = max(entry.case.meetings for entry in entries)
    of_size = [entry for entry in entries if entry.case.meetings == size]
    peak = max(sample.peak for entry in of_size for sample in entry.samples)
    yield Target(f"{words}, {size:,} meetings", f"{peak / 1e6:.0f} MB", peak <= MOST_MEMORY)


def _first_record_targets(results: Results, name: str, title: str) -> Iterator[Target]:
    entries = [
        entry
        for entry in measured(results, "first", name)
        if entry.case.program == CONNECTOR and entry.case.meetings != START_UP
    ]
    words = f"{title}: first record after the imports"
    if not entries:
        yield Target(words, "not measured", None)
    for entry in _largest_at_each_latency(entries):
        most = SECONDS_TO_FIRST_RECORD + 2 * entry.case.latency / 1000
        seconds = middle(entry, lambda one: one.first_record or 0.0)
        place = f"{entry.case.meetings:,} meetings, {entry.case.latency} ms"
        yield Target(f"{words}, {place}: at most {most:.1f} s", f"{seconds:.2f} s", seconds <= most)


def _largest_at_each_latency(entries: list[Entry]) -> Iterable[Entry]:
    by_size = sorted(entries, key=lambda entry: entry.case.meetings)
    return {entry.case.latency: entry for entry in by_size}.values()
