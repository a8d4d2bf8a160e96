"""The measurements, in `benchmarks/results.json`. A case that is measured again is replaced."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.speed.process import Run
from benchmarks.speed.server import ROOT

FILE = ROOT / "benchmarks" / "results.json"


@dataclass(frozen=True)
class Case:
    """What one program was asked to do.

    ``scenario``: first, limited, later, command or workers. ``latency``: in milliseconds.
    ``edits`` is for later syncs, ``command`` for commands, ``workers`` for the scenario workers.
    """

    scenario: str
    provider: str
    program: str
    meetings: int = 0
    latency: int = 0
    edits: int | None = None
    command: str | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Sample:
    """One run of a case. See `process.Run` for the figures that both have.

    ``load``: the machine's load average at the end of the run.
    """

    wall: float
    cpu: float
    peak: int
    records: int
    states: int
    largest_state: int
    edited: int
    first_record: float | None
    requests: int
    points: int
    load: float = 0.0

    @classmethod
    def of(cls, run: Run, counts: Mapping[str, int]) -> Sample:
        first = None if run.first_record is None else round(run.first_record, 3)
        return cls(
            wall=round(run.wall, 3),
            cpu=round(run.cpu, 3),
            peak=run.peak,
            records=run.records,
            states=run.states,
            largest_state=run.largest_state,
            edited=run.edited,
            first_record=first,
            requests=counts["requests"],
            points=counts["points"],
            load=round(os.getloadavg()[0], 1),
        )


@dataclass(frozen=True)
class Entry:
    """A case, the day it was measured, and its samples, or why it was left out."""

    case: Case
    day: str
    samples: tuple[Sample, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class Results:
    """All measurements. ``machine``: its description.

    ``versions``: by program. ``missing``: by program, why it cannot be run.
    """

    machine: str
    versions: dict[str, str] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)

    def with_entries(self, new: Iterable[Entry]) -> Results:
        """The same with new entries, which replace those of the same cases."""
        by_case = {entry.case: entry for entry in (*self.entries, *new)}
        return replace(self, entries=tuple(by_case.values()))

    def on(self, machine: str) -> Results:
        """The same on this machine. Figures of another one do not compare, so they are dropped."""
        return self if self.machine == machine else Results(machine)

    def with_versions(
        self, versions: Mapping[str, str], missing: Mapping[str, str] | None = None
    ) -> Results:
        """The same with these versions. Figures of a program at another version are dropped."""
        changed = {
            name for name in versions if self.versions.get(name, versions[name]) != versions[name]
        }
        kept = tuple(entry for entry in self.entries if entry.case.program not in changed)
        lacking = {name: why for name, why in self.missing.items() if name not in versions}
        return replace(
            self,
            versions={**self.versions, **versions},
            entries=kept,
            missing={**lacking, **(missing or {})},
        )

    def save(self, file: Path = FILE) -> None:
        entries = ",\n".join(json.dumps(asdict(entry)) for entry in self.entries)
        known = {"machine": self.machine, "versions": self.versions, "missing": self.missing}
        head = json.dumps(known, indent=1)
        file.write_text(f'{head[:-2]},\n "entries": [\n{entries}\n]}}\n')


def load(file: Path = FILE) -> Results:
    """Return what was saved, or empty results for this machine."""
    if not file.is_file():
        return Results(this_machine())
    found = json.loads(file.read_text())
    entries = tuple(map(_entry, found["entries"]))
    return Results(found["machine"], found["versions"], entries, found["missing"])


def _entry(found: dict[str, Any]) -> Entry:
    samples = tuple(Sample(**sample) for sample in found["samples"])
    return Entry(Case(**found["case"]), found["day"], samples, found["left_out"])


def this_machine() -> str:
    """Describe the machine: its processors, memory and system."""
    name = platform.processor() or platform.machine()
    cpuinfo, pages = Path("/proc/cpuinfo"), "SC_PHYS_PAGES"
    if cpuinfo.is_file():
        models = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    memory = ""
    if pages in os.sysconf_names:
        memory = f", {os.sysconf(pages) * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB of memory"
    return f"{name}, {os.cpu_count()} processors{memory}, {platform.system()}"
