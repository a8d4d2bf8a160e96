"""Real clients run the connector: PyAirbyte and dlt, as the examples use them, and the CDK's own.

The clients' environment comes from `make clients`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.test import entrypoint_wrapper
from airbyte_cdk.test.entrypoint_wrapper import EntrypointOutput

from demo.compare import column, differences
from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS, Account
from source_meetings import timestamps
from source_meetings.source import SourceMeetings
from unit_tests.harness import catalog, cursor_of, key_of

CHECKOUT = Path(__file__).parent.parent
CLIENTS = CHECKOUT / ".venv-clients" / "bin" / "python"
CONNECTOR = Path(sys.executable).parent / "source-meetings"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in CHECKOUT.glob("schemas/*.json")}

Tables = dict[str, Any]


@pytest.fixture(params=ACCOUNTS)
def account(request: pytest.FixtureRequest, box: Sandbox) -> Account:
    return ACCOUNTS[request.param].sample(box)


def config_file(account: Account, folder: Path) -> Path:
    """Write a configuration for all streams, with OAuth if possible. Tokens soon expire."""
    if account.has_oauth:
        account.side.oauth.after_uses = account.token_uses
    path = folder / "config.json"
    path.write_text(json.dumps(account.config(account.has_oauth)))
    return path


@contextmanager
def pyairbyte(config: Path, folder: Path) -> Iterator[Callable[[], Tables]]:
    """Yield a function that reads the account into DuckDB and returns the tables."""
    environment = {
        **os.environ,
        "AIRBYTE_PROJECT_DIR": str(folder),
        "AIRBYTE_LOGGING_ROOT": str(folder / "logs"),
    }
    command = [CLIENTS, CHECKOUT / "integration_tests" / "pyairbyte_reader.py"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [*command, config, folder / "meetings.duckdb", CONNECTOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):

        def read() -> Tables:
            assert process.stdin and process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, (folder / "log").read_text()[-4000:]
            tables: Tables = json.loads(answer)
            return tables

        yield read
        assert process.stdin
        process.stdin.close()


def duckdb_type(schema: dict[str, Any]) -> str:
    """Return the column type of a property: a key with one type, or nullable with two types."""
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    (kind,) = set(kinds) - {"null"}
    if schema.get("format") == "date-time":
        return "TIMESTAMP WITH TIME ZONE"
    return {
        "string": "VARCHAR",
        "integer": "BIGINT",
        "number": "DECIMAL(38,9)",
        "boolean": "BOOLEAN",
    }.get(kind, "JSON")


def cells(table: Tables) -> list[dict[str, Any]]:
    """Return the rows of a table, with times parsed."""
    times = [name for name, kind in table["types"].items() if kind == "TIMESTAMP WITH TIME ZONE"]
    return [
        {
            name: datetime.fromisoformat(value) if value and name in times else value
            for name, value in row.items()
        }
        for row in table["rows"]
    ]


def assert_equal_to_truth(tables: Tables, account: Account) -> None:
    assert tables.keys() == account.tables.keys()
    for stream, rows in account.tables.items():
        found = cells(tables[stream])
        if stream == "close_meeting_transcripts":
            # Meetings without a transcript have a row too, and only close_meetings has deletions.
            deleted = account.side.deleted
            found = [row for row in found if row["transcripts"] not in (None, "[]")]
            found = [row for row in found if row["id"] not in deleted]
        assert differences(rows(), found, key_of(stream)) == [], stream


@pytest.mark.usefixtures("clients")
def test_pyairbyte_keeps_duckdb_equal_to_the_provider(account, box, tmp_path):
    # Given an account whose OAuth tokens, if it has any, expire after a few requests
    config = config_file(account, tmp_path)
    with pyairbyte(config, tmp_path) as read:
        # When every stream is read into DuckDB
        tables = read()
        # Then every table has the provider's rows, and the columns and types of the schema
        assert_equal_to_truth(tables, account)
        for stream, table in tables.items():
            expected = {
                column(name): duckdb_type(schema)
                for name, schema in SCHEMAS[stream]["properties"].items()
            }
            own = {
                name: kind
                for name, kind in table["types"].items()
                if not name.startswith("_airbyte")
            }
            assert own == expected
        # When meetings are edited, cancelled, deleted and created, and the account is read again
        box.clock.advance(minutes=10)
        account.change_for_demo()
        # Then the tables equal the provider's data again
        assert_equal_to_truth(read(), account)
    # And PyAirbyte logs no warning
    log = (tmp_path / "log").read_text()
    assert "Could not determine airbyte type" not in log and "Error" not in log
    # And the configuration file has the newest refresh token for the next run
    if account.has_oauth:
        oauth = account.side.oauth
        assert oauth.refreshes >= 2
        stored = json.loads(config.read_text())["provider"]["credentials"]
        assert stored["refresh_token"] == oauth.refresh_token


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize("provider", ["close", "highlevel"])
def test_dlt_keeps_duckdb_equal_to_the_provider(provider, box, tmp_path):
    # Given an account
    account = ACCOUNTS[provider].sample(box)
    config = config_file(account, tmp_path)
    database = tmp_path / "meetings.duckdb"
    stream, started = account.streams[0], account.columns.start
    only = [f"--stream={stream}"] if provider == "highlevel" else []
    for _ in range(2):
        # When the example's pipeline runs, and runs again after meetings have changed
        load_with_dlt(config, database, tmp_path, only)
        # Then the table of meetings equals the provider's data, and its times have a zone
        truth = account.side.truth()
        live = [
            row
            for row in dlt_rows(database, stream, tmp_path)
            if row.get("is_deleted") in (None, False)
        ]
        assert {row["id"] for row in live} == truth.keys()
        for row in live:
            moment = datetime.fromisoformat(row["start"])
            assert moment == timestamps.parse(truth[row["id"]][started]), row["id"]
            assert row["title"] == truth[row["id"]]["title"]
        box.clock.advance(minutes=10)
        account.change_for_demo()


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize(
    ("example", "option"), [("pyairbyte_duckdb.py", "--schema"), ("dlt_pipeline.py", "--dataset")]
)
def test_two_accounts_in_one_database_stay_apart(example, option, box, tmp_path):
    # Given two accounts of a provider, read into the same database but another schema
    stream = "expoplatform_meeting_participants"
    database = tmp_path / "meetings.duckdb"
    where = [database] if option == "--schema" else ["--database", database]
    environment = {
        **os.environ,
        "AIRBYTE_PROJECT_DIR": str(tmp_path),
        "AIRBYTE_LOGGING_ROOT": str(tmp_path / "logs"),
        "DLT_DATA_DIR": str(tmp_path),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    with Sandbox(clock="2026-06-01T00:00:00Z") as second:
        for schema, where_from in (("meetings_us", box), ("meetings_eu", second)):
            account = ACCOUNTS["expoplatform"].sample(where_from)
            meeting = account.side.insert(101, accounts=(7,), meeting_id=schema)
            # When the example reads each of them
            done = subprocess.run(
                [
                    *(CLIENTS, CHECKOUT / "examples" / example, config_file(account, tmp_path)),
                    *(*where, option, schema, "--connector", CONNECTOR),
                ],
                capture_output=True,
                text=True,
                env=environment,
                cwd=tmp_path,
            )
            assert done.returncode == 0, done.stderr[-4000:]
            # Then its schema has all of its rows
            query = f"SELECT meeting_id FROM {schema}.{stream}"
            found = [meeting for (meeting,) in rows_of(database, query, tmp_path)]
            assert len(found) == len(account.side.rows)
            assert meeting in found


def load_with_dlt(config: Path, database: Path, folder: Path, only: list[str]) -> None:
    example = CHECKOUT / "examples" / "dlt_pipeline.py"
    done = subprocess.run(
        [CLIENTS, example, config, "--database", database, "--connector", CONNECTOR, *only],
        capture_output=True,
        text=True,
        env={**os.environ, "DLT_DATA_DIR": str(folder), "RUNTIME__DLTHUB_TELEMETRY": "false"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def dlt_rows(database: Path, stream: str, folder: Path) -> list[dict[str, Any]]:
    """Return the id, title and start of the rows that dlt loaded."""
    start, deleted = ("starts_at", "is_deleted") if "close" in stream else ("start_time", "NULL")
    query = f"SELECT id, title, {start}, {deleted} FROM meetings_raw.{stream}"
    names = ("id", "title", "start", "is_deleted")
    return [dict(zip(names, row)) for row in rows_of(database, query, folder)]


def rows_of(database: Path, query: str, folder: Path) -> list[list[Any]]:
    code = """if True:
        import duckdb, json, sys
        connection = duckdb.connect(sys.argv[1])
        connection.execute("SET TimeZone='UTC'")
        print(json.dumps(connection.sql(sys.argv[2]).fetchall(), default=str))"""
    done = subprocess.run(
        [CLIENTS, "-c", code, database, query], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    found: list[list[Any]] = json.loads(done.stdout)
    return found


def test_the_cdks_own_reader_continues_from_the_state_of_the_first_read(account):
    # Given a first read with the CDK's test reader
    config = account.config()
    first = entrypoint_read(config, [])
    # When it reads again with the state of that read, without changes
    again = entrypoint_read(config, [message.state for message in first.state_messages])
    # Then the first read has every row, and the second one only those of the look-back
    assert not first.errors and not again.errors
    assert len(first.records) > 30
    incremental = [one for one in again.records if cursor_of(one.record.stream)]
    assert len(incremental) <= len(first.records) / 10


def entrypoint_read(config: dict[str, Any], state: list[Any]) -> EntrypointOutput:
    found = catalog(SourceMeetings(config=config), None, "incremental")
    configured = ConfiguredAirbyteCatalogSerializer.load(found)
    source = SourceMeetings(catalog=configured, config=config, state=state)
    return entrypoint_wrapper.read(source, config, configured, state)
