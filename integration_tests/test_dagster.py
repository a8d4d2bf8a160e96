"""The example for Dagster: the connector into DuckDB, then dbt, in one graph.

`make dagster` creates the environment of Dagster, `make clients` that of PyAirbyte and dbt.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS

CHECKOUT = Path(__file__).parent.parent
DAGSTER = CHECKOUT / ".venv-dagster" / "bin" / "dagster"


@pytest.fixture
def dagster() -> Path:
    if not DAGSTER.exists():
        reason = "Dagster is not installed: make dagster"
        pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)
    return DAGSTER


def materialize(
    dagster: Path, config: Path, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Materialize every asset, as a user does from the command line."""
    example = CHECKOUT / "examples" / "dagster_assets.py"
    return subprocess.run(
        [dagster, "job", "execute", "-f", example, "-j", "everything"],
        cwd=folder,
        env={
            **os.environ,
            "MEETINGS_CONFIG": str(config),
            "MEETINGS_CONNECTOR": str(Path(sys.executable).parent / "source-meetings"),
            "AIRBYTE_PROJECT_DIR": str(folder),
            "AIRBYTE_LOGGING_ROOT": str(folder / "logs"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            **variables,
        },
        capture_output=True,
        text=True,
    )


def titles(clients: Path, database: Path) -> dict[str, str]:
    """Return the titles by id of the meetings in dbt's table that are not deleted."""
    query = "SELECT provider_meeting_id, title FROM unified_meetings.meetings WHERE NOT is_deleted"
    code = """if True:
        import duckdb, json, sys
        connection = duckdb.connect(sys.argv[1], read_only=True)
        print(json.dumps(connection.sql(sys.argv[2]).fetchall()))"""
    done = subprocess.run([clients, "-c", code, database, query], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_graph_creates_a_table_of_meetings_that_equals_the_provider(
    dagster: Path, clients: Path, box: Sandbox, tmp_path: Path
) -> None:
    # Given an account
    account = ACCOUNTS["close"].sample(box)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(account.config()))
    # When every asset is made
    done = materialize(dagster, config, tmp_path)
    # Then dbt's table has the provider's meetings
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    expected = {key: row["title"] for key, row in account.side.truth().items()}
    assert titles(clients, tmp_path / "meetings.duckdb") == expected


def test_if_the_connector_fails_the_asset_fails_with_its_message_and_dbt_is_not_run(
    dagster: Path, tmp_path: Path
) -> None:
    # Given clients that record that they were started, and fail
    for name in ("python", "dbt"):
        script = tmp_path / name
        script.write_text(
            f"#!/bin/sh\necho {name} >> {tmp_path}/started; echo words of it; exit 1\n"
        )
        script.chmod(0o755)
    # When every asset is made
    done = materialize(dagster, tmp_path / "config.json", tmp_path, MEETINGS_CLIENTS=str(tmp_path))
    # Then the run fails with the message of the connector
    assert done.returncode != 0
    assert "python failed:\nwords of it" in done.stdout + done.stderr
    # And dbt is not run
    assert (tmp_path / "started").read_text().split() == ["python"]
