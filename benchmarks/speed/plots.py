"""Plots the measurements, as SVG files next to the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.figures import CONNECTOR, START_UP, measured, middle, wall
from benchmarks.speed.results import Entry, Results

FOLDER = Path(__file__).parents[1]


def draw(results: Results, titles: Mapping[str, str]) -> list[str]:
    """Draw what was measured. Returns the names of the files."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "source-meetings", "font.size": 9})
    names = []
    firsts = [one for one in measured(results, "first") if one.case.meetings != START_UP]
    for latency in sorted({entry.case.latency for entry in firsts}):
        entries = [entry for entry in firsts if entry.case.latency == latency]
        name = f"first_syncs_{latency}_ms.svg"
        _draw(name, entries, titles, f"First sync at {latency} ms: seconds by meetings", _seconds)
        names.append(name)
    connector = [entry for entry in firsts if not entry.case.latency]
    if connector:
        _draw("memory.svg", connector, titles, "First sync: peak memory in MB by meetings", _peaks)
        names.append("memory.svg")
    if workers := measured(results, "workers"):
        _draw("workers.svg", workers, titles, "Rows a second by workers", _rates)
        names.append("workers.svg")
    return names


def _draw(
    name: str, entries: list[Entry], titles: Mapping[str, str], title: str, lines_of: Any
) -> None:
    from matplotlib import pyplot

    figure, places = pyplot.subplots(1, len(titles), figsize=(4 * len(titles), 3.6), squeeze=False)
    for place, (provider, words) in zip(places[0], titles.items()):
        lines: dict[str, dict[int, float]] = {}
        for entry in entries:
            if entry.case.provider == provider:
                label, x, y = lines_of(entry)
                lines.setdefault(label, {})[x] = y
        for label, points in lines.items():
            xs = sorted(points)
            width = 2.5 if label == CONNECTOR else 1.2
            place.plot(xs, [points[x] for x in xs], marker="o", linewidth=width, label=label)
        place.set_title(words)
        place.set_xscale("log", base=2 if lines_of is _rates else 10)
        if lines_of is _seconds:
            place.set_yscale("log")
        else:
            place.set_ylim(bottom=0)
        if lines_of is _rates:
            xs = sorted({x for points in lines.values() for x in points})
            place.set_xticks(xs, map(str, xs))
        place.grid(alpha=0.3)
        if lines:
            place.legend(fontsize=7)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(FOLDER / name, metadata={"Date": None})
    pyplot.close(figure)


def _seconds(entry: Entry) -> tuple[str, int, float]:
    return entry.case.program, entry.case.meetings, wall(entry)


def _peaks(entry: Entry) -> tuple[str, int, float]:
    return entry.case.program, entry.case.meetings, middle(entry, lambda one: one.peak) / 1e6


def _rates(entry: Entry) -> tuple[str, int, float]:
    rate = middle(entry, lambda one: one.records / one.wall)
    return f"{entry.case.latency} ms", entry.case.workers or 0, rate
