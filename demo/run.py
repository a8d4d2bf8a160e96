"""The demo: PyAirbyte runs the connector against the sandbox, into a DuckDB file.

demo.sh installs what this needs and starts it with PyAirbyte's interpreter. Exit status 1: a
command failed, or a table differs from what the sandbox holds.

`--svg FILE` also draws the output for the first provider: `make demo SVG=docs/demo.svg`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

Row = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / ".demo"
BIN = FOLDER / "connector" / "bin"
DBT = FOLDER / "pyairbyte" / "bin" / "dbt"
DATABASE = FOLDER / "meetings.duckdb"
LOG = FOLDER / "demo.log"

arguments = argparse.ArgumentParser(prog="make demo", description=__doc__)
arguments.add_argument("--svg", type=Path, help="draw the first provider's part in this file")
svg: Path | None = arguments.parse_args().svg

# Read when PyAirbyte is imported: no telemetry, no connector registry, nothing outside .demo.
os.environ.update(
    AIRBYTE_OFFLINE_MODE="1",
    DO_NOT_TRACK="1",
    AIRBYTE_PROJECT_DIR=str(FOLDER),
    AIRBYTE_LOGGING_ROOT=str(FOLDER / "logs"),
)
# PyAirbyte and its libraries print a lot. That goes into a file, so the terminal is the demo's.
terminal = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
with LOG.open("w") as log:
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
print("Starting PyAirbyte …", file=terminal, flush=True)  # its import takes seconds
sys.path.append(str(CHECKOUT / "examples"))

import airbyte as ab  # noqa: E402
import duckdb  # noqa: E402
from airbyte import types  # noqa: E402
from compare import column, differences, key_of  # noqa: E402
from pyairbyte_duckdb import PointInTime  # noqa: E402
from rich.box import SIMPLE_HEAD  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.markup import escape  # noqa: E402
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402
from rich.terminal_theme import MONOKAI  # noqa: E402

WIDTH = 100  # of the picture, and of output that does not go to a terminal
console = Console(
    file=terminal,
    width=WIDTH if svg or not terminal.isatty() else None,
    highlight=False,
    record=svg is not None,
)


def draw(file: Path) -> None:
    """Write what was printed since the last call, with a mark of the script that printed it.

    `unit_tests/test_demo.py` compares the mark, so that the picture is drawn anew after a change.
    """
    mark = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    drawing = console.export_svg(title="make demo", theme=MONOKAI, unique_id="demo")
    drawing = re.sub(r"@font-face {.*?}", "", drawing, flags=re.DOTALL)  # from another server
    file.write_text(f"<!-- demo/run.py: {mark} -->\n{drawing}", encoding="utf-8")


class Sandbox:
    """The sandbox's process and its control interface."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the sandbox did not start")
        ready = json.loads(line)
        self.url: str = ready["url"]
        self.accounts: dict[str, Row] = ready["providers"]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_sandbox/{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, arguments: Row) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_sandbox/{path}", json.dumps(arguments).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Started on a free port of the loopback interface; stopped whatever happens."""
    process = subprocess.Popen(
        [BIN / "python", "-m", "sandbox", "--port", "0"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Sandbox(process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Meter:
    """Requests, points and seconds of one step, asked of the sandbox and the clock."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        box.post("requests/forget", {})
        self._began = time.monotonic()

    def read(self) -> tuple[str, str, str]:
        seconds = time.monotonic() - self._began
        counts = self._box.get("requests")
        points = str(counts["points"] or "–")  # Salesloft alone has them
        return str(counts["count"]), points, f"{seconds:.1f} s"


def rows_of(cache: ab.DuckDBCache, stream: str) -> list[Row]:
    return cache.run_sql_query(f'SELECT * FROM "{stream}"')


def shown(value: Any) -> str:
    if isinstance(value, datetime):
        value = value.astimezone(timezone.utc) if value.tzinfo else value
        return f"{value:%Y-%m-%d %H:%M}"
    return "–" if value is None else escape(str(value))


def short(id: str) -> str:
    return id if len(id) <= 24 else f"{id[:12]}…{id[-8:]}"


NUMBERS = {"rows", "requests", "points", "time", "in DuckDB", "providers", "people", "in all"}
NUMBERS |= {"accepted", "tentative", "declined", "open", "attended", "no-show", "unknown"}
NUMBERS |= {"past", "held", "cancelled"}


def table(*columns: str, title: str = "") -> Table:
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in columns:
        made.add_column(name, justify="right" if name in NUMBERS else "left", overflow="fold")
    return made


@contextmanager
def step(words: str) -> Iterator[None]:
    """Say what is being done; on a terminal, with something that moves."""
    console.print(f"[bold cyan]→[/] {words}")
    # Rich would print on the terminal, too, what goes to sys.stdout meanwhile: not here.
    moving = Progress(
        SpinnerColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
    with moving:
        moving.add_task("")
        yield


def changed_cells(
    changes: list[Row], before: dict[str, Row], after: dict[str, Row], shown_names: list[str]
) -> Iterator[list[str]]:
    """What the changes have done in DuckDB: key, change, column, before, after."""
    for change in changes:
        key = change["key"]
        if key is None:
            continue
        old, new = before.get(key, {}), after.get(key, {})
        names = [name for name in shown_names if old.get(column(name)) != new.get(column(name))]
        if new.get("is_deleted"):
            names = ["is_deleted"]
        for name in names or ["(nothing)"]:
            cells = (shown(row.get(column(name))) for row in (old, new))
            yield [short(key), change["words"], name, *cells]
    for key in after.keys() - before.keys():
        cells = ", ".join(shown(after[key].get(column(name))) for name in shown_names[:2])
        yield [short(key), "booked", "(new row)", "–", cells]


def primary_key(source: ab.Source, stream: str) -> list[str]:
    """The fields of a stream's primary key, as the connector names them."""
    (found,) = (one for one in source.discovered_catalog.streams if one.name == stream)
    return [name for (name,) in found.source_defined_primary_key]


def demonstrate(name: str, box: Sandbox, cache: ab.DuckDBCache) -> bool:
    """One provider from `spec` to the comparison; whether the table equals the truth."""
    account = box.accounts[name]
    title, stream, columns = account["title"], account["stream"], account["shown"]
    console.rule(f"[bold]{title}", align="left")
    box.post(f"{name}/account/generate", {"count": 1000})
    source = ab.get_source(
        "source-meetings",
        config=account["config"],
        local_executable=BIN / "source-meetings",
        install_if_missing=False,
    )

    commands = table("command", "answer", "requests", "points", "time")
    with step("spec, check and discover"):
        meter = Meter(box)
        fields = source.config_spec["properties"]
        commands.add_row("spec", "settings: " + ", ".join(fields), *meter.read())
        meter = Meter(box)
        source.check()
        commands.add_row("check", "the connection works", *meter.read())
        meter = Meter(box)
        streams = source.get_available_streams()
        commands.add_row("discover", "streams: " + ", ".join(streams), *meter.read())
    console.print(commands)
    fields_of_key = primary_key(source, stream)
    key = "|".join(fields_of_key)

    reads = table("sync", "rows", "in DuckDB", "requests", "points", "time")
    with step(f"read {stream}: the first sync"):
        meter = Meter(box)
        count = source.read(cache=cache, streams=[stream]).processed_records
        measured = meter.read()
        before = {key_of(row, fields_of_key): row for row in rows_of(cache, stream)}
        reads.add_row("first", f"{count:,}", f"{len(before):,}", *measured)
    sample = table(key, *columns, title=f"{stream}: 5 of {len(before):,} rows")
    for id, row in list(before.items())[-5:]:
        sample.add_row(short(id), *(shown(row[column(name)]) for name in columns))
    console.print(sample)

    with step(f"Changes in the sandbox, as people make them in {title}"):
        changes = box.post(f"{name}/account/change_for_demo", {})
    with step(f"read {stream}: the incremental sync, from the state of the first"):
        meter = Meter(box)
        count = source.read(cache=cache, streams=[stream]).processed_records
        measured = meter.read()
        after = {key_of(row, fields_of_key): row for row in rows_of(cache, stream)}
        reads.add_row("incremental", f"{count:,}", f"{len(after):,}", *measured)
    changed = table(key, "change", "column", "before", "after", title="Changed in DuckDB")
    for cells in changed_cells(changes, before, after, columns):
        changed.add_row(*cells)
    console.print(changed)
    console.print(reads)

    truth = box.get(f"{name}/truth")
    wrong = differences(truth, rows_of(cache, stream), fields_of_key)
    if wrong:
        console.print(f"[bold red]✗ {stream} is not what the sandbox holds:[/]")
        for words in wrong[:10]:
            console.print(f"    {escape(words)}")
        console.print(f"  {len(wrong)} differences in all\n")
    else:
        width = len(next(iter(truth.values()), {}))
        console.print(
            f"[bold green]✓[/] {stream} equals what the sandbox holds: "
            f"{len(truth):,} rows, every one of their {width} fields compared.\n"
        )
    return not wrong


MODELS = """
SELECT 'meetings' AS model, count(*) AS rows, count(DISTINCT provider) AS providers
FROM unified_meetings.meetings
UNION ALL
SELECT 'meeting_attendees', count(*), count(DISTINCT provider)
FROM unified_meetings.meeting_attendees
"""
# Three of each provider, from Monday to Sunday
NEXT_WEEK = """
WITH people AS (
    SELECT meeting_key, count(*) AS people FROM unified_meetings.meeting_attendees GROUP BY ALL
)
SELECT provider, starts_at, title, status, coalesce(people, 0) AS people,
    count(*) OVER (PARTITION BY provider) AS "in all"
FROM unified_meetings.meetings LEFT JOIN people USING (meeting_key)
WHERE date_trunc('week', starts_at) = date_trunc('week', now() AT TIME ZONE 'UTC') + INTERVAL 7 DAY
    AND NOT is_deleted
QUALIFY row_number() OVER (PARTITION BY provider ORDER BY starts_at, meeting_key) <= 3
ORDER BY starts_at, provider
"""
ATTENDANCE = """
SELECT provider, count(*) AS people,
    count(*) FILTER (response = 'accepted') AS accepted,
    count(*) FILTER (response = 'tentative') AS tentative,
    count(*) FILTER (response = 'declined') AS declined,
    count(*) FILTER (response = 'needs_action') AS open,
    count(*) FILTER (response = 'attended') AS attended,
    count(*) FILTER (response = 'no_show') AS "no-show",
    count(*) FILTER (response = 'unknown') AS unknown
FROM unified_meetings.meeting_attendees
GROUP BY provider
ORDER BY provider
"""
# Only what a provider says: the clock tells that a meeting is past, not that it was held.
OUTCOMES = """
SELECT provider, count(*) AS past,
    count(*) FILTER (outcome = 'held') AS held,
    count(*) FILTER (outcome = 'no_show') AS "no-show",
    count(*) FILTER (outcome = 'cancelled') AS cancelled,
    count(*) FILTER (outcome = 'unknown') AS unknown
FROM unified_meetings.meetings
WHERE is_past AND NOT is_deleted
GROUP BY provider
ORDER BY provider
"""


def unify() -> None:
    """Make one table of all providers' meetings with dbt, and show what can be asked of it."""
    console.rule("[bold]One table of meetings", align="left")
    with (
        step("dbt build: the package in dbt/, on the tables that PyAirbyte has written"),
        LOG.open("a") as log,
    ):
        subprocess.run(
            [DBT, "build", "--vars", "meetings_schema: main"],
            cwd=CHECKOUT / "dbt",
            env={
                **os.environ,
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                "DBT_TARGET_PATH": str(FOLDER / "dbt"),
                "DBT_LOG_PATH": str(FOLDER / "dbt"),
                "MEETINGS_DUCKDB": str(DATABASE),
                "MEETINGS_SCHEMA": "unified",
            },
            stdout=log,
            stderr=log,
            check=True,
        )
    with duckdb.connect(str(DATABASE), read_only=True) as database:
        for title, query in (
            ("", MODELS),
            ("Next week, UTC: three of each provider", NEXT_WEEK),
            ("Attendance", ATTENDANCE),
            ("Past meetings by outcome", OUTCOMES),
        ):
            found = database.execute(query)
            made = table(*(name for name, *_ in found.description or []), title=title)
            for row in found.fetchall():
                made.add_row(*map(shown, row))
            console.print(made)


def main() -> int:
    # A stopped demo unwinds like an interrupted one, so that the sandbox stops too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    for file in FOLDER.glob(DATABASE.name + "*"):
        file.unlink()
    try:
        with sandbox() as box:
            console.print(
                f"The data is the sandbox's: invented meetings, served by this machine "
                f"({box.url}) as the providers' documents say.\nNo account and no credentials "
                f"are used, and nothing is sent anywhere.\n"
            )
            types.CONVERSION_MAP["timestamp_with_timezone"] = PointInTime
            cache = ab.DuckDBCache(db_path=DATABASE)
            right = []
            for name in box.accounts:
                right.append(demonstrate(name, box, cache))
                if svg and len(right) == 1:
                    draw(svg)
            cache.close()
        unify()
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    except Exception as error:  # PyAirbyte's and the sandbox's: whatever it is, say where to look
        console.print(f"[bold red]✗ {escape(str(error))}[/]")
        console.print(f"All that PyAirbyte printed: {LOG.relative_to(CHECKOUT)}")
        return 1
    console.print("The tables are yours to query (the sandbox has stopped, the file stays):\n")
    query = (
        "SELECT provider, title, starts_at, status "
        "FROM unified_meetings.meetings ORDER BY updated_at DESC"
    )
    code = f"c = duckdb.connect('.demo/{DATABASE.name}'); c.sql('{query} LIMIT 5').show()"
    command = f'  .demo/pyairbyte/bin/python -c "import duckdb; {code}"\n'
    console.print(command, soft_wrap=True, markup=False)
    return 0 if all(right) else 1


if __name__ == "__main__":
    status = main()
    with suppress(BrokenPipeError):
        terminal.flush()
    sys.exit(status)
