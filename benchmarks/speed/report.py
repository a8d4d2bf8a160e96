"""Renders the measurements as `benchmarks/RESULTS.md`. Pure: no file, no process, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.speed.figures import (
    CONNECTOR,
    ENOUGH_ROWS,
    START_UP,
    cpu_per_row,
    measured,
    median,
    middle,
    over_the_limit,
    targets,
    times_ours,
    times_the_loop,
    wall,
)
from benchmarks.speed.results import Entry, Results

ABOUT = """# Speed and cost

Written by `make bench`, which compares this connector with other programs that read the same
meetings. They read from the sandbox, which runs in another process and caches its encoded replies,
so the figures do not include the server. The programs take turns, and each figure is the median of
the runs. The connector runs without its own pacing, except under the rate limit.

- **seconds**: from the start of the process to its end.
- **CPU s**: user and system time of the program's process.
- **rows per CPU s**: for at least {enough:,} meetings, without the CPU time of a sync of {start}.
- **× loop**: CPU time per row, as a multiple of the plain loop's.
- **× ours**: seconds, as a multiple of this connector's.
- **states**: all state messages together.
"""
Cell = str


@dataclass(frozen=True)
class Facts:
    """What the report needs to know about the providers and programs. The mappings are by name."""

    titles: dict[str, str]
    most_cpu: dict[str, float]
    limits: dict[str, tuple[int, int] | None]
    how: dict[str, str]


def render(results: Results, facts: Facts, plots: Sequence[str]) -> str:
    """Return the whole report."""
    parts = [
        ABOUT.format(enough=ENOUGH_ROWS, start=START_UP),
        "## Machine and versions\n",
        f"{results.machine}.\n",
        _days(results.entries),
        _load(results.entries),
        _versions(results, facts.how),
        "## Targets\n",
        _targets(results, facts),
        "## First syncs\n",
        *(f"![{plot}]({plot})\n" for plot in plots if "workers" not in plot),
    ]
    for name, title in facts.titles.items():
        parts += [f"### {title}\n", _first_syncs(results, name)]
    parts += ["## First syncs under the provider's rate limit\n", _limited(results, facts)]
    parts += ["## Later syncs\n", _later(results, facts.titles)]
    parts += ["## Commands\n", _commands(results, facts.titles)]
    parts += ["## Workers\n", *(f"![{plot}]({plot})\n" for plot in plots if "workers" in plot)]
    parts += [_workers(results, facts.titles)]
    parts += ["## Left out\n", _left_out(results, facts.titles)]
    return "\n".join(parts)


def table(head: Sequence[Cell], rows: Iterable[Sequence[Cell]], text_columns: int = 1) -> str:
    """A Markdown table. Columns after the first ``text_columns`` are aligned to the right."""
    lines = list(rows)
    if not lines:
        return "Not measured.\n"
    rule = ["---"] * text_columns + ["---:"] * (len(head) - text_columns)
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *lines))


def _days(entries: Iterable[Entry]) -> str:
    days = sorted({entry.day for entry in entries})
    if not days:
        return "Nothing has been measured yet.\n"
    return (
        f"Measured on {days[0]}.\n"
        if len(days) == 1
        else f"Measured from {days[0]} to {days[-1]}.\n"
    )


def _load(entries: Iterable[Entry]) -> str:
    samples = [sample for entry in entries for sample in entry.samples]
    loads = [sample.load for sample in samples if sample.load]
    if not loads:
        return ""
    noted = f" in the {len(loads)} of {len(samples)} runs that recorded it"
    if len(loads) == len(samples):
        noted = ""
    return (
        f"The load average was {min(loads):.1f} to {max(loads):.1f} (median {median(loads):.1f})"
        f"{noted}. If it exceeds the number of processors, seconds say little, and CPU seconds "
        "are higher than on an idle machine.\n"
    )


def _versions(results: Results, how: Mapping[str, str]) -> str:
    rows = [(name, words, how.get(name, "")) for name, words in results.versions.items()]
    rows += [(name, "", f"Not run: {why}.") for name, why in results.missing.items()]
    return table(("program", "versions", "how it is run"), rows, text_columns=3)


def _targets(results: Results, facts: Facts) -> str:
    words = {True: "met", False: "**missed**", None: "–"}
    found = targets(results, facts.most_cpu, facts.limits, facts.titles)
    rows = ((one.words, one.figure, words[one.met]) for one in found)
    return table(("target", "measured", ""), rows, text_columns=3)


def _first_syncs(results: Results, provider: str) -> str:
    head = (
        "program|meetings|latency|records|seconds|× ours|requests|points|CPU s|rows per CPU s|"
        "× loop|peak MB|states KB|runs"
    )
    entries = [
        entry for entry in measured(results, "first", provider) if entry.case.meetings != START_UP
    ]
    entries.sort(key=lambda one: (one.case.meetings, one.case.latency))
    return table(head.split("|"), (_first_sync(results, entry) for entry in entries))


def _first_sync(results: Results, entry: Entry) -> list[Cell]:
    case = entry.case
    per_row = times = None
    if case.latency == 0 and case.meetings >= ENOUGH_ROWS:
        per_row = cpu_per_row(results, case.provider, case.program, case.meetings)
        times = times_the_loop(results, case.provider, case.program, case.meetings)
    ours = times_ours(results, entry)
    return [
        _bold(case.program),
        f"{case.meetings:,}",
        f"{case.latency} ms",
        f"{middle(entry, lambda one: one.records):,.0f}",
        f"{wall(entry):.1f}",
        "" if ours is None or case.program == CONNECTOR else f"{ours:.1f}",
        f"{middle(entry, lambda one: one.requests):,.0f}",
        _or_nothing(middle(entry, lambda one: one.points)),
        f"{middle(entry, lambda one: one.cpu):.2f}",
        "" if per_row is None else f"{1 / per_row:,.0f}",
        "" if times is None else f"{times:.2f}",
        f"{middle(entry, lambda one: one.peak) / 1e6:.0f}",
        f"{middle(entry, lambda one: one.states) / 1e3:.1f}",
        str(len(entry.samples)),
    ]


def _limited(results: Results, facts: Facts) -> str:
    rows = []
    for entry in measured(results, "limited"):
        limit = facts.limits[entry.case.provider]
        if limit is None:
            continue
        allowed, times = over_the_limit(results, entry, limit)
        rows.append(
            [
                facts.titles[entry.case.provider],
                f"{limit[0]} in {limit[1]} s",
                f"{entry.case.meetings:,}",
                f"{middle(entry, lambda one: one.requests):,.0f}",
                _or_nothing(middle(entry, lambda one: one.points)),
                f"{allowed:.0f}",
                f"{wall(entry):.1f}",
                "" if times is None else f"{times:.2f}",
            ]
        )
    head = "provider|limit|meetings|requests|points|seconds allowed|seconds|× allowed"
    without = [title for name, title in facts.titles.items() if facts.limits[name] is None]
    note = (
        "The sandbox enforces the limit on requests or points. The seconds allowed are the least "
        "time for which the limit holds requests back, plus the start of the program. Sizes that "
        f"take more than a few minutes are left out. No fixed limit: {', '.join(without)}.\n"
    )
    return f"{note}\n{table(head.split('|'), rows, text_columns=2)}"


def _later(results: Results, titles: Mapping[str, str]) -> str:
    head = (
        "provider|program|meetings|edits|edits read|records|requests|points|seconds|CPU s|states KB"
    )
    note = (
        "A sync after some edits, from the state of the first sync. A program without a state for "
        "meetings reads everything again.\n"
    )
    rows = (
        [
            titles[entry.case.provider],
            _bold(entry.case.program),
            f"{entry.case.meetings:,}",
            f"{entry.case.edits:,}",
            f"{middle(entry, lambda one: one.edited):,.0f}",
            f"{middle(entry, lambda one: one.records):,.0f}",
            f"{middle(entry, lambda one: one.requests):,.0f}",
            _or_nothing(middle(entry, lambda one: one.points)),
            f"{wall(entry):.2f}",
            f"{middle(entry, lambda one: one.cpu):.2f}",
            f"{middle(entry, lambda one: one.states) / 1e3:.1f}",
        ]
        for entry in _by_provider(measured(results, "later"), titles)
    )
    return f"{note}\n{table(head.split('|'), rows, text_columns=2)}"


def _commands(results: Results, titles: Mapping[str, str]) -> str:
    head = "provider|program|command|seconds|CPU s|peak MB|requests|runs"
    rows = (
        [
            titles[entry.case.provider],
            _bold(entry.case.program),
            f"`{entry.case.command}`",
            f"{wall(entry):.2f}",
            f"{middle(entry, lambda one: one.cpu):.2f}",
            f"{middle(entry, lambda one: one.peak) / 1e6:.0f}",
            f"{middle(entry, lambda one: one.requests):,.0f}",
            str(len(entry.samples)),
        ]
        for entry in _by_provider(measured(results, "command"), titles)
    )
    return table(head.split("|"), rows, text_columns=3)


def _workers(results: Results, titles: Mapping[str, str]) -> str:
    note = "Rows per second, including the start, by number of workers. The minimum is 2 workers.\n"
    entries = measured(results, "workers")
    counts = sorted({entry.case.workers or 0 for entry in entries})
    head = ["provider", "meetings", "latency", *(f"{count} workers" for count in counts)]
    by_place: dict[tuple[str, int, int], dict[int, str]] = {}
    for entry in _by_provider(entries, titles):
        place = (titles[entry.case.provider], entry.case.meetings, entry.case.latency)
        rate = middle(entry, lambda one: one.records / one.wall)
        by_place.setdefault(place, {})[entry.case.workers or 0] = f"{rate:,.0f}"
    rows = (
        [title, f"{size:,}", f"{latency} ms", *(rates.get(count, "") for count in counts)]
        for (title, size, latency), rates in by_place.items()
    )
    return f"{note}\n{table(head, rows)}"


def _left_out(results: Results, titles: Mapping[str, str]) -> str:
    lines = [
        f"- {titles[case.provider]}, {case.program}, {_place(entry)}: {entry.left_out}.\n"
        for entry in results.entries
        if entry.left_out and (case := entry.case)
    ]
    return "".join(lines) or "Nothing.\n"


def _place(entry: Entry) -> str:
    case = entry.case
    if case.command:
        return f"`{case.command}`"
    edits = "" if case.edits is None else f", {case.edits:,} edits"
    return f"{case.meetings:,} meetings at {case.latency} ms{edits}"


def _by_provider(entries: Iterable[Entry], titles: Mapping[str, str]) -> list[Entry]:
    order = list(titles)
    return sorted(entries, key=lambda entry: order.index(entry.case.provider))


def _bold(program: str) -> str:
    return f"**{program}**" if program == CONNECTOR else program


def _or_nothing(number: float) -> str:
    return f"{number:,.0f}" if number else ""
