"""Dagster: one account's meetings in DuckDB, and dbt's tables made of them, in one graph.

    make clients dagster install
    export MEETINGS_CONFIG=secrets/config.json MEETINGS_DUCKDB=meetings.duckdb
    .venv-dagster/bin/dagster job execute -f examples/dagster_assets.py -j everything

For the web page and the hourly schedule, install dagster-webserver as well, and run
`dagster dev -f examples/dagster_assets.py`.

`raw_meetings` reads every stream with PyAirbyte, which keeps the state in the DuckDB file, so each
run reads what has changed. `meetings` and `meeting_attendees` are made by the dbt package. No
Airbyte platform is needed. Dagster, PyAirbyte and the connector need different versions of the same
libraries, so each has its own environment, and the assets start programs.
"""

# No "from __future__ import annotations" here: Dagster reads the annotation of `context`.
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

CHECKOUT = Path(__file__).resolve().parent.parent
CLIENTS = Path(os.environ.get("MEETINGS_CLIENTS", CHECKOUT / ".venv-clients" / "bin"))
CONNECTOR = Path(
    os.environ.get("MEETINGS_CONNECTOR", CHECKOUT / ".venv" / "bin" / "source-meetings")
)
CONFIG = Path(os.environ.get("MEETINGS_CONFIG", "secrets/config.json")).absolute()
DUCKDB = Path(os.environ.get("MEETINGS_DUCKDB", "meetings.duckdb")).absolute()


def run(log: dg.DagsterLogManager, *command: str | Path, **variables: str) -> str:
    """Run a program in the dbt project; return the last line it printed.

    Raises dagster.Failure with the end of its output if it fails.
    """
    done = subprocess.run(
        command,
        cwd=CHECKOUT / "dbt",
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log.info(done.stdout)
    if done.returncode:
        raise dg.Failure(f"{Path(command[0]).name} failed:\n{done.stdout[-2000:]}")
    return (done.stdout.strip().splitlines() or [""])[-1]


# Two runs at once would use the same refresh token, and the same DuckDB file.
@dg.asset(group_name="raw", pool="meetings")
def raw_meetings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Every stream of the account, one table each, in the schema `main`."""
    program = CHECKOUT / "examples" / "pyairbyte_duckdb.py"
    options = ["--connector", CONNECTOR]
    result = run(context.log, CLIENTS / "python", program, CONFIG, DUCKDB, *options)
    return dg.MaterializeResult(metadata={"result": result})


@dg.multi_asset(
    specs=[
        dg.AssetSpec("meetings", deps=[raw_meetings], group_name="unified"),
        dg.AssetSpec("meeting_attendees", deps=[raw_meetings], group_name="unified"),
    ],
    pool="meetings",
)
def unified_meetings(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """One table of meetings and one of their attendees, in the schema `unified_meetings`."""
    run(
        context.log,
        *(CLIENTS / "dbt", "build", "--vars", "meetings_schema: main"),
        MEETINGS_DUCKDB=str(DUCKDB),
        MEETINGS_SCHEMA="unified",
    )
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key)


everything = dg.define_asset_job("everything", selection="*")

defs = dg.Definitions(
    assets=[raw_meetings, unified_meetings],
    jobs=[everything],
    executor=dg.in_process_executor,  # one asset after the other
    schedules=[dg.ScheduleDefinition(job=everything, cron_schedule="5 * * * *")],
)
