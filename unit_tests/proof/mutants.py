"""Judges the small cases: faults are put into a copy of the connector, and each has to be found.

    python -m unit_tests.proof.mutants              # all of them; some minutes
    python -m unit_tests.proof.mutants look_back    # those in files whose name has this word

A fault is a small change of the text of a file of the connector. It is found if the short form of
``explore`` fails for a stream that uses the file.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SALESLOFT = ("salesloft_meetings",)
ROWS = ("updated_since", "expoplatform_meeting_participants")
CLOSE = ("close_meetings", "close_meeting_transcripts")
HIGHLEVEL = ("highlevel_calendar_events", "highlevel_appointments")
ALL = (*SALESLOFT, *ROWS, *CLOSE, *HIGHLEVEL)
QUICK = (*SALESLOFT, *ROWS[:1], *HIGHLEVEL[:1])


_MOST_SECONDS = 600


class Mutant(NamedTuple):
    """One fault: in a file, ``old`` becomes ``new``. ``streams`` are those that could show it."""

    file: str
    old: str
    new: str
    streams: tuple[str, ...]


MUTANTS = (
    # sync/
    Mutant(
        "sync/look_back.py",
        "return self.settled if state.get",
        "return self.settled if True or state.get",
        ALL[:3],
    ),
    Mutant("sync/look_back.py", "began - seen_at > self.length", "True", ALL[:5]),
    Mutant("sync/look_back.py", "began - seen_at > self.length", "False", ALL[:3]),
    Mutant("sync/look_back.py", "if moved or seen_at is None", "if seen_at is None", ALL[:3]),
    Mutant("sync/chain.py", "if self.reading.resumable and left:", "if False:", QUICK),
    Mutant("sync/chain.py", "if reading.sees_changes:\n                return", "return", QUICK),
    Mutant(
        "sync/chain.py", "        yield from slices\n", "        yield from slices[:1]\n", QUICK
    ),
    Mutant(
        "sync/chain.py",
        "if self._failed:\n            return",
        "if False:\n            return",
        QUICK,
    ),
    Mutant(
        "sync/chain.py",
        "            if self._is_first_failure():\n                raise\n            return\n"
        "        with self._lock:\n            due",
        "            if self._is_first_failure():\n                raise\n"
        "        with self._lock:\n            due",
        QUICK,
    ),
    Mutant("sync/clock.py", "EPOCH <= one < end]", "EPOCH <= one]", (*SALESLOFT, *ROWS)),
    Mutant("sync/fingerprints.py", "not in self._digests]", "in self._digests]", CLOSE),
    # UpdatedSince and its pages
    Mutant("strategies/updated_since.py", "since = bound - reach if", "since = bound if", ROWS),
    Mutant(
        "strategies/updated_since.py",
        "return min(max(known), first.clock)",
        "return first.clock",
        ROWS,
    ),
    Mutant(
        "strategies/updated_since.py",
        "if one not in marks.safe and filter in (None, one):",
        "if filter in (None, one):",
        ROWS,
    ),
    Mutant("strategies/updated_since.py", "if emitted.add(", "if True or emitted.add(", ROWS),
    Mutant(
        "strategies/updated_since.py",
        "return list(self._strategy.filters)",
        "return list(self._strategy.filters)[:1]",
        ROWS[1:],
    ),
    Mutant("strategies/paging.py", "if more_rows < 0:", "if False:", ROWS),
    Mutant(
        "strategies/paging.py",
        "to = max(1, self.number - 1 - fallen // max(self._size, 1))",
        "to = self.number",
        ROWS,
    ),
    Mutant("strategies/paging.py", "return read >= page.total", "return True", ROWS),
    Mutant("strategies/paging.py", "if listed[0] >= (total", "if True or (total", ROWS),
    Mutant("strategies/paging.py", "return self.number >= page.pages", "return True", ROWS),
    # newest first
    Mutant("strategies/newest_first.py", "last < self._bound", "last <= self._bound", SALESLOFT),
    Mutant(
        "strategies/newest_first.py", "            if fallen:", "            if False:", SALESLOFT
    ),
    Mutant(
        "strategies/newest_first.py",
        "        if not self._changes_explain_repeats():\n            raise",
        "        if False:\n            raise",
        SALESLOFT,
    ),
    Mutant(
        "strategies/newest_first.py",
        "page = max(1, self._counted_page + 1 - -(-fallen // self._page_size))",
        "page = max(1, page - 0 * fallen)",
        SALESLOFT,
    ),
    Mutant(
        "strategies/newest_first.py",
        "            if not self._read.take(answer.rows):\n                raise",
        "            if not self._read.take(answer.rows) and False:\n                raise",
        SALESLOFT,
    ),
    # changed rows
    Mutant(
        "strategies/changed_rows.py", "stamp < before.bound", "stamp <= before.bound", HIGHLEVEL
    ),
    Mutant(
        "strategies/changed_rows.py",
        "return digest(row) not in before.emitted",
        "return True",
        HIGHLEVEL,
    ),
    Mutant(
        "strategies/changed_rows.py",
        "cursor_field: timestamps.iso(self._bound)",
        "cursor_field: timestamps.iso(self._newest)",
        HIGHLEVEL,
    ),
    Mutant("strategies/changed_rows.py", "if len(one) == 1]", "]", HIGHLEVEL),
    Mutant(
        "strategies/changed_rows.py",
        "self._newest = min(clock, before.newest)",
        "self._newest = clock",
        HIGHLEVEL,
    ),
    # Salesloft
    Mutant(
        "providers/salesloft/created_windows.py",
        "        else:\n            start = last\n",
        "        else:\n            start = last + _MICROSECOND\n",
        SALESLOFT,
    ),
    Mutant(
        "providers/salesloft/created_windows.py",
        "ends: list[datetime | None] = [*edges[1:], None]",
        "ends: list[datetime | None] = [*edges[1:], last]",
        SALESLOFT,
    ),
    Mutant(
        "providers/salesloft/created_windows.py",
        "if total is not None and known >= 0 and len(seen) >= total:",
        "if True:",
        SALESLOFT,
    ),
    Mutant("timestamps.py", "None and moment < bound", "None and moment <= bound", SALESLOFT),
    Mutant(
        "providers/salesloft/meetings.py", "if number == page == 0:", "if page == 0:", SALESLOFT
    ),
    Mutant(
        "providers/salesloft/meetings.py",
        'return ["false", "true"] if state.get("cancelled") == "apart" else [None]',
        "return [None]",
        SALESLOFT,
    ),
    # Close
    Mutant(
        "providers/close/event_log.py",
        "bound = known[action] - reach",
        "bound = known[action]",
        CLOSE,
    ),
    Mutant(
        "providers/close/event_log.py",
        "newest = max(filter(None, (known.get(action), shown)), default=None)",
        "newest = page_clock = self._api.get('log', {'_limit': '1'}).clock",
        CLOSE,
    ),
    Mutant("providers/close/event_log.py", "if moment >= overlap]", "]", CLOSE),
    Mutant("providers/close/event_log.py", "- self._look_back.length", "", CLOSE),
    Mutant(
        "providers/close/meetings.py",
        "            if version not in deletions or deletions[version] in self.output.gone\n",
        "",
        CLOSE,
    ),
    Mutant(
        "providers/close/windows.py",
        "        yield from self._read(cut, end, now)\n",
        "        yield from self._read(cut + _SECOND, end, now)\n",
        CLOSE,
    ),
    Mutant("providers/close/list_pages.py", "step = max(1, len(rows) - 1)", "step = 3", CLOSE),
    Mutant(
        "providers/close/transcripts.py",
        "            self.seen.discard(row)\n",
        "            pass\n",
        CLOSE[1:],
    ),
    Mutant(
        "providers/close/transcripts.py",
        "            self._waits[_waits(row)] = None\n",
        "            pass\n",
        CLOSE[1:],
    ),
    # HighLevel
    Mutant(
        "providers/highlevel/calendars.py",
        "if not whole.rows or len(whole.rows) % _SUSPICIOUS:",
        "if True:",
        HIGHLEVEL,
    ),
    Mutant(
        "providers/highlevel/windows.py",
        "            if changed.begin(answer):\n",
        "            if not changed.begin(answer) or True:\n",
        HIGHLEVEL,
    ),
    Mutant(
        "providers/highlevel/windows.py",
        "end, known, turn = start,",
        "end, known, turn = start - 1,",
        HIGHLEVEL,
    ),
    Mutant(
        "providers/highlevel/appointments.py",
        "whole = Stretch(stretch.calendar, stretch.start, stretch.end + 1)",
        "whole = Stretch(stretch.calendar, stretch.start, stretch.end)",
        HIGHLEVEL[1:],
    ),
    Mutant(
        "providers/highlevel/appointments.py",
        "same_calendar and batch.number == before.number + 1",
        "same_calendar",
        HIGHLEVEL[1:],
    ),
)


def is_found(mutant: Mutant, root: Path) -> bool:
    """Return whether the short form fails on a copy of the connector with this fault."""
    place = root / "source_meetings" / mutant.file
    text = place.read_text()
    if text.count(mutant.old) < 1:
        raise LookupError(f"{mutant.file} has no {mutant.old!r}")
    changed = text.replace(mutant.old, mutant.new, 1)
    compile(changed, mutant.file, "exec")
    place.write_text(changed)
    process = get_context("fork").Process(target=_run_short_form, args=(root, mutant.streams))
    try:
        process.start()
        process.join(_MOST_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode != 0
    finally:
        place.write_text(text)


def _run_short_form(root: Path, streams: tuple[str, ...]) -> None:
    """Exit with 1 if a case fails. Only the connector is the copy's."""
    sys.path.insert(0, str(root))
    explore = import_module("unit_tests.proof.explore")
    failed = any(found.failures for one in streams for found in explore.short_form(one))
    sys.stdout.flush()
    os._exit(int(failed))


def main() -> int:
    """Print the faults that were not found. Returns 1 if there are any."""
    sys.dont_write_bytecode = True
    import_module("airbyte_cdk.sources.declarative.requesters")  # once, for all processes
    words = sys.argv[1:]
    wanted = [one for one in MUTANTS if all(word in one.file for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "source_meetings", root / "source_meetings", ignore=ignored)
        for number, mutant in enumerate(wanted):
            found = is_found(mutant, root)
            missed += not found
            print(
                "found " if found else "MISSED", number, mutant.file, repr(mutant.new), flush=True
            )
    print(f"{len(wanted) - missed} of {len(wanted)} faults were found")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
