"""The dbt package: from the sandbox through the connector and a warehouse to the two models.

PyAirbyte fills DuckDB and PostgreSQL (a real server), and PostgreSQL is filled once more as by a
destination that keeps the names and types of the schemas. dbt and the clients come from `make
clients`, dbt for BigQuery and Snowflake from `make warehouses`, PostgreSQL from Debian's package
`postgresql`. Without them these tests are skipped; with REQUIRE_ALL=1 they fail.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from integration_tests import unified
from integration_tests.unified import Accounts
from sandbox.accounts import ACCOUNTS
from source_meetings.source import SourceMeetings
from unit_tests.harness import catalog, read

CHECKOUT = Path(__file__).parent.parent
CLIENTS = CHECKOUT / ".venv-clients" / "bin"
COMPILERS = CHECKOUT / ".venv-warehouses" / "bin"
CONNECTOR = Path(sys.executable).parent / "source-meetings"
WAREHOUSE = Path(__file__).parent / "warehouse.py"

Json = dict[str, Any]

pytestmark = pytest.mark.xdist_group("dbt")  # they share a process, but for the two long ones


def missing(reason: str) -> None:
    pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)


@pytest.fixture(autouse=True, scope="module")
def clients() -> None:
    if not (CLIENTS / "dbt").exists():
        missing("PyAirbyte and dbt are not installed: make clients")


# -- warehouses -----------------------------------------------------------------------------------


class Warehouse:
    """A process of the clients and the warehouse that `variables` lead it to.

    `sync` reads the accounts into the schema `raw`; dbt makes its models in `unified`.
    """

    kind = "duckdb"

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [CLIENTS / "python", WAREHOUSE],
                cwd=CHECKOUT / "dbt",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={
                    **os.environ,
                    "AIRBYTE_OFFLINE_MODE": "1",
                    "DO_NOT_TRACK": "1",
                    "AIRBYTE_PROJECT_DIR": str(folder),
                    "AIRBYTE_LOGGING_ROOT": str(folder / "logs"),
                    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                    "DBT_TARGET_PATH": str(folder / "target"),
                    "DBT_LOG_PATH": str(folder / "logs"),
                    "MEETINGS_SCHEMA": "unified",
                    "MEETINGS_DUCKDB": str(folder / "meetings.duckdb"),
                    **(variables or {}),
                },
            )

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str, *arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        outcome = json.loads(line or '{"failed": "it ended"}')
        assert "failed" not in outcome, line + self._log.read_text()[-4000:]
        return outcome["answer"]

    def sync(self, configs: Mapping[str, Json]) -> None:
        self.ask("pyairbyte", self.kind, str(CONNECTOR), list(configs.values()))

    def sql(self, *statements: str) -> list[list[Json]]:
        """Run the statements; the rows of each."""
        rows: list[list[Json]] = self.ask("sql", self.kind, statements)
        return rows

    def dbt(self, *arguments: str, succeeds: bool = True, **variables: Any) -> str:
        """Run dbt with the variables of the package; its messages."""
        variables = {"meetings_schema": "raw", "meetings_look_back_hours": 0, **variables}
        options = ["--target", self.kind, "--vars", json.dumps(variables)]
        done = self.ask("dbt", [*arguments, *options])
        messages: str = done["messages"]
        assert done["success"] is succeeds, messages[-5000:]
        assert "eprecat" not in messages, messages[-5000:]
        return messages

    def models(self) -> tuple[dict[unified.Key, Json], dict[unified.Key, list[Json]]]:
        """The rows of both models, as `unified` has them."""
        meetings, attendees = self.sql(
            "select * from unified.meetings", "select * from unified.meeting_attendees"
        )
        keys: dict[str, unified.Key] = {}
        found: dict[unified.Key, Json] = {}
        for row in meetings:
            event = row["calendar_id"] if row["provider"] == "expoplatform" else ""
            key = (row["provider"], event, row["provider_meeting_id"])
            assert key not in found
            keys[row["meeting_key"]] = key
            found[key] = {name: row[name] for name in unified.COLUMNS}
        people: dict[unified.Key, list[Json]] = {}
        for row in attendees:
            names = ("email", "name", "is_organizer", "response", "response_raw")
            person = {name: row[name] for name in (*names, "provider_person_id")}
            people.setdefault(keys[row["meeting_key"]], []).append(person)
        return found, {key: unified.in_order(rows) for key, rows in people.items()}


class PostgreSQL(Warehouse):
    kind = "postgres"

    def __init__(self, folder: Path, port: int) -> None:
        variables = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "meetings"}
        super().__init__(folder, {**variables, "PGDATABASE": "postgres"})


class Destination(PostgreSQL):
    """Filled with the names and types of the schemas."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port)
        self._states: dict[str, list[Json]] = {}

    def sync(self, configs: Mapping[str, Json]) -> None:
        for provider, config in configs.items():
            configured = catalog(SourceMeetings(config=config), None, "incremental")
            output = read(config, self._states.get(provider), configured=configured)
            assert output.exit_code == 0, output.errors
            self._states[provider] = output.last_states()
            self.ask("postgres", configured, output.messages)


@contextmanager
def postgres_server() -> Iterator[int]:
    """A server of its own on a free port, without root's rights; yields the port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        missing("PostgreSQL is not installed: apt-get install postgresql")
    user: Json = {}
    with tempfile.TemporaryDirectory() as folder:
        if os.getuid() == 0:  # which PostgreSQL refuses
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        data = f"{folder}/data"
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        setup = [
            "--username=meetings",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]

        def run(program: str, *arguments: str) -> None:
            with Path(folder, f"{program}.log").open(
                "w+"
            ) as log:  # the server keeps its output open
                done = subprocess.run(
                    [programs[-1] / program, f"--pgdata={data}", *arguments],
                    stdout=log,
                    stderr=log,
                    cwd=folder,
                    **user,
                )
                log.seek(0)
                assert done.returncode == 0, log.read()

        run("initdb", *setup)
        run("pg_ctl", "start", "--wait", f"--log={folder}/server.log", f"--options={options}")
        try:
            yield port
        finally:
            run("pg_ctl", "stop", "--mode=immediate")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One for all tests: dbt takes seconds to start and to read the package."""
    with Warehouse(tmp_path_factory.mktemp("duckdb")) as warehouse:
        yield warehouse


@pytest.fixture
def duckdb(process: Warehouse) -> Warehouse:
    """An empty DuckDB."""
    schemas = ("raw", "other", "unified")
    process.sql(*(f"drop schema if exists {schema} cascade" for schema in schemas))
    return process


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[Warehouse]:
    with postgres_server() as port, PostgreSQL(tmp_path, port) as warehouse:
        yield warehouse


@pytest.fixture
def destination(tmp_path: Path) -> Iterator[Warehouse]:
    with postgres_server() as port, Destination(tmp_path, port) as warehouse:
        yield warehouse


# -- the whole chain ------------------------------------------------------------------------------


def assert_models_equal_truth(warehouse: Warehouse, accounts: Accounts) -> None:
    meetings, attendees = warehouse.models()
    for provider, account in accounts.items():
        for id in account.tombstones() & {id for _, _, id in meetings}:
            row = meetings.pop((provider, "", id))
            assert row["is_deleted"] and row["status"] == "unknown" and row["title"] is None
    expected = unified.meetings(accounts)
    assert meetings.keys() == expected.keys()
    for key, row in expected.items():
        if meetings[key]["has_transcript"] is None and not row["has_transcript"]:
            row = {**row, "has_transcript": None}  # not looked for
        assert meetings[key] == row, key
    assert attendees == unified.attendees(accounts)


WAREHOUSES = ("duckdb", "postgresql", "destination")


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in WAREHOUSES],
)
def test_both_models_equal_the_sandbox_after_changes_and_after_a_full_refresh(kind, request, box):
    # Given an account of each provider, read into the warehouse
    warehouse: Warehouse = request.getfixturevalue(kind)
    accounts = {name: account.sample(box) for name, account in ACCOUNTS.items()}
    for account in accounts.values():
        account.add_awkward()
    configs = {name: account.config() for name, account in accounts.items()}
    warehouse.sync(configs)
    # When dbt makes the models for the first time (with its own tests of keys and values)
    warehouse.dbt("build")
    # Then they are what the sandbox holds
    assert_models_equal_truth(warehouse, accounts)
    # When meetings are edited, moved, cancelled, deleted and added, and people taken out of them
    box.clock.advance(minutes=10)
    for account in accounts.values():
        account.change_for_demo()
        account.change_awkward()
    if kind == "destination":  # PyAirbyte keeps what a full refresh no longer has
        box.close.delete_outcome(box.close.outcomes[0]["id"])
    warehouse.sync(configs)
    # And dbt goes on with what was extracted since
    warehouse.dbt("run")
    # Then the models are what the sandbox holds now
    assert_models_equal_truth(warehouse, accounts)
    went_on = warehouse.models()
    # And a full refresh makes no difference
    warehouse.dbt("run", "--full-refresh")
    assert warehouse.models() == went_on


# -- what may be there and what not ---------------------------------------------------------------

SALESLOFT = (
    "create schema raw; create table raw.salesloft_meetings as select * from (values {}) as {}"
)
COLUMNS = "_(id, title, start_time, status, _airbyte_extracted_at)"


def salesloft(*rows: str) -> str:
    return SALESLOFT.format(", ".join(f"({row})" for row in rows), COLUMNS)


def test_absent_tables_and_columns_are_empty_and_null(duckdb):
    # Given a warehouse with one stream, whose table lacks most columns
    duckdb.sql(
        salesloft(
            "7, 'Demo', timestamptz '2026-06-30 23:30:00-07:00', 'booked', timestamp '2026-06-01'"
        )
    )
    # When dbt makes the models
    duckdb.dbt("build")
    # Then there is that meeting, in UTC, and null where nothing is known
    ((meeting,), attendees) = duckdb.sql(
        "select * from unified.meetings", "select * from unified.meeting_attendees"
    )
    known = {name: value for name, value in meeting.items() if value is not None}
    assert attendees == []
    assert len(known.pop("meeting_key")) == 32
    assert known == {
        "provider": "salesloft",
        "connection": "default",
        "provider_meeting_id": "7",
        "title": "Demo",
        "status": "scheduled",
        "status_raw": "booked",
        "starts_at": "2026-07-01 06:30:00",
        "is_deleted": False,
        "extracted_at": "2026-06-01 00:00:00",
    }
    # And its freshness can be asked for: it is too old by far
    freshness = duckdb.dbt("source", "freshness", "--select", "source:salesloft", succeeds=False)
    assert "ERROR STALE freshness of salesloft.salesloft_meetings" in freshness
    # And the documentation builds
    duckdb.dbt("docs", "generate")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"meetings_schema": "elsewhere"},
            "there is no raw table. Set the variable meetings_schema",
        ),
        ({"meetings_providers": ["salesforce"]}, "meetings_providers names 'salesforce'"),
    ],
)
def test_a_wrong_variable_is_named_instead_of_making_empty_models(duckdb, variables, words):
    # Given a raw table, and a variable that leads elsewhere
    duckdb.sql(salesloft("7, 'Demo', timestamp '2026-06-01', 'booked', timestamp '2026-06-01'"))
    # When dbt runs, Then it fails and names the variable
    assert words in duckdb.dbt("run", succeeds=False, **variables)


def test_an_incremental_run_takes_what_was_extracted_since_less_the_look_back(duckdb):
    # Given two meetings in the models, in a table that keeps every version of a row
    duckdb.sql(
        salesloft(
            "1, 'One', timestamp '2026-06-01', 'booked', timestamp '2026-06-10 12:00:00'",
            "2, 'Two', timestamp '2026-06-01', 'booked', timestamp '2026-06-10 12:00:00'",
            "2, 'Old', timestamp '2026-06-01', 'booked', timestamp '2026-06-10 11:00:00'",
        )
    )
    duckdb.dbt("run")
    # When a version arrives late, extracted before what the models have seen, and a row is gone
    duckdb.sql(
        "update raw.salesloft_meetings set title = 'Late', _airbyte_extracted_at = timestamp "
        "'2026-06-10 10:30:00' where id = 1",
        "delete from raw.salesloft_meetings where id = 2",
    )
    titles = "select title from unified.meetings"
    # Then a look-back of one hour does not reach it, and one of two does; what is gone is gone
    duckdb.dbt("run", meetings_look_back_hours=1)
    assert duckdb.sql(titles) == [[{"title": "One"}]]
    duckdb.dbt("run", meetings_look_back_hours=2)
    assert duckdb.sql(titles) == [[{"title": "Late"}]]


def test_accounts_of_several_schemas_are_told_apart_by_connection(duckdb):
    # Given two accounts of one provider in two schemas, with the same id in both
    row = "1, '{}', timestamp '2026-06-01 09:00:00', 'booked', timestamp '2026-06-10'"
    duckdb.sql(salesloft(row.format("Here")))
    duckdb.sql(salesloft(row.format("There")).replace("raw", "other"))
    # When dbt is told of both
    here, there = {"name": "here"}, {"name": "there", "schema": "other"}
    duckdb.dbt("build", meetings_connections=[here, there])
    # Then both meetings are there, each with its connection and a key of its own
    (rows,) = duckdb.sql(
        "select connection, title from unified.meetings order by connection, meeting_key"
    )
    assert rows == [
        {"connection": "here", "title": "Here"},
        {"connection": "there", "title": "There"},
    ]


def test_clock_times_without_an_offset_are_read_in_the_zone_of_the_location(duckdb):
    # Given a time of HighLevel whose offset was dropped, and one of Salesloft, which is UTC
    duckdb.sql(
        salesloft("1, '', timestamp '2026-06-30 23:30:00', 'booked', timestamp '2026-06-10'")
    )
    duckdb.sql(
        "create table raw.highlevel_calendar_events as select 'a' as id, "
        "timestamp '2026-06-30 23:30:00' as starttime, timestamp '2026-06-10' as dateupdated"
    )
    # When dbt is told the zone of the location
    duckdb.dbt("run", highlevel_time_zone="America/Los_Angeles")
    # Then the former is that point in time, and the latter is as it was
    (rows,) = duckdb.sql("select provider, starts_at from unified.meetings order by provider")
    assert rows == [
        {"provider": "highlevel", "starts_at": "2026-07-01 06:30:00"},
        {"provider": "salesloft", "starts_at": "2026-06-30 23:30:00"},
    ]
    # And a provider that is switched off has no rows any more
    duckdb.dbt("run", meetings_providers=["highlevel"])
    assert duckdb.sql("select provider from unified.meetings") == [[{"provider": "highlevel"}]]


# -- warehouses that are only compiled for --------------------------------------------------------

PLACES = {
    "bigquery": {"method": "oauth-secrets", "token": "none", "project": "p", "dataset": "unified"},
    "snowflake": {
        **dict.fromkeys(("account", "user", "password", "warehouse"), "none"),
        "database": "d",
        "schema": "unified",
    },
}


@pytest.mark.parametrize("kind", PLACES)
def test_the_models_compile_to_the_warehouse_s_sql(kind, process, tmp_path):
    if not (COMPILERS / "dbt").exists():
        missing("dbt for BigQuery and Snowflake is not installed: make warehouses")
    # Given a warehouse that cannot be reached
    profile = {"target": kind, "outputs": {kind: {"type": kind, "threads": 1, **PLACES[kind]}}}
    (tmp_path / "profiles.yml").write_text(json.dumps({"meetings": profile}))
    # When dbt compiles the models, with every raw table and column taken for existing
    variables = {"meetings_schema": "raw", "meetings_introspect": False}
    done = subprocess.run(
        [
            *(COMPILERS / "dbt", "compile", "--no-introspect", "--no-populate-cache"),
            *("--profiles-dir", tmp_path, "--target-path", tmp_path, "--log-path", tmp_path),
            *("--vars", json.dumps(variables)),
        ],
        cwd=CHECKOUT / "dbt",
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        capture_output=True,
        text=True,
    )
    # Then it does, and what comes of every model is SQL of that warehouse
    assert done.returncode == 0, done.stdout[-4000:]
    models = list((tmp_path / "compiled" / "meetings" / "models").glob("*/*.sql"))
    assert len(models) == len(list((CHECKOUT / "dbt" / "models").glob("*/*.sql")))
    assert {process.ask("parse", kind, str(file)) for file in models} == {1}
