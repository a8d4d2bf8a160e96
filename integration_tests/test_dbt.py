"""The dbt package: from the sandbox through the connector and a warehouse to the two models.

PyAirbyte fills DuckDB and PostgreSQL (a real server). PostgreSQL is also filled as a destination
would that keeps the names and types of the schemas. dbt and the clients come from `make clients`,
dbt for BigQuery and Snowflake from `make warehouses`, the oldest dbt that the package supports from
`make oldest-dbt`, PostgreSQL from Debian's package `postgresql`. Without them these tests are
skipped; with REQUIRE_ALL=1 they fail.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration_tests import unified
from integration_tests.unified import Accounts
from sandbox.accounts import ACCOUNTS
from source_meetings.source import SourceMeetings
from unit_tests.harness import catalog, read

CHECKOUT = Path(__file__).parent.parent
PACKAGE = CHECKOUT / "dbt"
CLIENTS = CHECKOUT / ".venv-clients" / "bin"
OLDEST = CHECKOUT / ".venv-oldest-dbt" / "bin"
COMPILERS = CHECKOUT / ".venv-warehouses" / "bin"
CONNECTOR = Path(sys.executable).parent / "source-meetings"
WAREHOUSE = Path(__file__).parent / "warehouse.py"

MARTS = "unified_meetings"  # the schema of the tables

Json = dict[str, Any]

pytestmark = pytest.mark.xdist_group("dbt")  # they share a process, except for the two long ones


def missing(reason: str) -> None:
    pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)


@pytest.fixture(autouse=True, scope="module")
def clients() -> None:
    if not (CLIENTS / "dbt").exists():
        missing("PyAirbyte and dbt are not installed: make clients")


# -- warehouses -----------------------------------------------------------------------------------


class Warehouse:
    """A process of the clients, and the warehouse that `variables` select.

    `sync` reads the accounts into the schema `raw`. dbt creates its models in schemas whose names
    start with `unified`. `environment` is the one with Python and dbt.
    """

    kind = "duckdb"

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        environment: Path = CLIENTS,
    ) -> None:
        self.folder = folder
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [environment / "python", WAREHOUSE],
                cwd=PACKAGE,
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
        """Run the statements and return the rows of each."""
        rows: list[list[Json]] = self.ask("sql", self.kind, statements)
        return rows

    def dbt(self, *arguments: str, succeeds: bool = True, **variables: Any) -> str:
        """Run dbt with the variables of the package and return its messages."""
        variables = {"meetings_schema": "raw", "meetings_look_back_hours": 0, **variables}
        options = ["--target", self.kind, "--vars", json.dumps(variables)]
        return self.run([*arguments, *options], succeeds=succeeds)

    def run(self, arguments: Sequence[str], succeeds: bool = True) -> str:
        """Run dbt with only these arguments and return its messages."""
        done = self.ask("dbt", arguments)
        messages: str = done["messages"]
        assert done["success"] is succeeds, messages[-5000:]
        warnings = messages.replace("This version of dbt is deprecated", "")  # a message of dbt 1.8
        assert "eprecat" not in warnings, messages[-5000:]
        return messages

    def models(self) -> tuple[dict[unified.Key, Json], dict[unified.Key, list[Json]]]:
        """Return the rows of both models, in the form of `unified`."""
        meetings, attendees = self.sql(
            f"select * from {MARTS}.meetings", f"select * from {MARTS}.meeting_attendees"
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
    """PostgreSQL, filled with the names and types of the schemas."""

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
    """Run a server on a free port, without root's rights, and yield the port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        missing("PostgreSQL is not installed: apt-get install postgresql")
    user: Json = {}
    with tempfile.TemporaryDirectory() as folder:
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
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
    """One process for all tests, because dbt takes seconds to start and to read the package."""
    with Warehouse(tmp_path_factory.mktemp("duckdb")) as warehouse:
        yield warehouse


@pytest.fixture
def duckdb(process: Warehouse) -> Warehouse:
    """Return an empty DuckDB."""
    empty(process)
    return process


def empty(warehouse: Warehouse) -> None:
    (found,) = warehouse.sql(
        "select distinct schema_name as name from information_schema.schemata where "
        "catalog_name = current_database() and "
        "(schema_name in ('raw', 'other') or schema_name like 'unified%')"
    )
    warehouse.sql(*(f"drop schema {schema['name']} cascade" for schema in found))


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
            assert row["is_deleted"] and row["status"] == row["outcome"] == "unknown"
            assert row["title"] is None and row["is_past"] is None
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
    # Given an account of each provider, synced to the warehouse
    warehouse: Warehouse = request.getfixturevalue(kind)
    accounts = {name: account.sample(box) for name, account in ACCOUNTS.items()}
    for account in accounts.values():
        account.add_awkward()
    configs = {name: account.config() for name, account in accounts.items()}
    warehouse.sync(configs)
    # When dbt builds the models for the first time, and runs its own tests of keys and values
    warehouse.dbt("build")
    # Then they equal the sandbox's data
    assert_models_equal_truth(warehouse, accounts)
    # When meetings are edited, moved, cancelled, deleted and created, and lose attendees
    box.clock.advance(minutes=10)
    for account in accounts.values():
        account.change_for_demo()
        account.change_awkward()
    if kind == "destination":  # PyAirbyte keeps rows that a full refresh no longer has
        box.close.delete_outcome(box.close.outcomes[0]["id"])
    warehouse.sync(configs)
    # And dbt adds what was extracted since
    warehouse.dbt("run")
    # Then the models equal the sandbox's current data
    assert_models_equal_truth(warehouse, accounts)
    went_on = warehouse.models()
    # And a full refresh makes no difference
    warehouse.dbt("run", "--full-refresh")
    assert warehouse.models() == went_on


# -- what may be missing --------------------------------------------------------------------------

SALESLOFT = (
    "create schema raw; create table raw.salesloft_meetings as select * from (values {}) as {}"
)
COLUMNS = "_(id, title, start_time, status, _airbyte_extracted_at)"


def salesloft(*rows: str) -> str:
    return SALESLOFT.format(", ".join(f"({row})" for row in rows), COLUMNS)


def test_missing_tables_and_columns_are_empty_and_null(duckdb):
    # Given a warehouse with one stream, whose table lacks most columns
    duckdb.sql(
        salesloft(
            "7, 'Demo', timestamptz '2026-06-30 23:30:00-07:00', 'booked', timestamp '2026-06-01'"
        )
    )
    # When dbt builds the models and runs its own tests
    duckdb.dbt("build")
    # Then the models have that meeting, in UTC, with null for everything that is missing
    ((meeting,), attendees) = duckdb.sql(
        f"select * from {MARTS}.meetings", f"select * from {MARTS}.meeting_attendees"
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
        "outcome": "unknown",
        "is_past": True,
        "starts_at": "2026-07-01 06:30:00",
        "is_deleted": False,
        "extracted_at": "2026-06-01 00:00:00",
    }
    # And dbt can check its freshness, which is far too old
    freshness = duckdb.dbt("source", "freshness", "--select", "source:salesloft", succeeds=False)
    assert "ERROR STALE freshness of salesloft.salesloft_meetings" in freshness
    # And the documentation describes exactly the existing columns
    duckdb.dbt("docs", "generate")
    manifest, catalog = (
        json.loads((duckdb.folder / "target" / f"{name}.json").read_text())
        for name in ("manifest", "catalog")
    )
    models = {id: node for id, node in manifest["nodes"].items() if id.startswith("model.")}
    assert len(models) == len(list((PACKAGE / "models").rglob("*.sql")))
    for id, node in models.items():
        described = [name for name, column in node["columns"].items() if column["description"]]
        assert described == list(catalog["nodes"][id]["columns"]), id
    # And the key of every model, which is its first column, is tested
    tested = {
        (node["attached_node"], node["column_name"], node["test_metadata"]["name"])
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
    }
    keys = {(id, next(iter(node["columns"]))) for id, node in models.items()}
    assert {(*key, test) for key in keys for test in ("unique", "not_null")} <= tested
    # And both tables have a contract
    contracts = {node["alias"] for node in models.values() if node["contract"]["enforced"]}
    assert contracts == {"meetings", "meeting_attendees"}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"meetings_schema": "elsewhere"},
            "there is no raw table. Set the variable meetings_schema",
        ),
        (
            {f"using_{provider}": False for provider in ACCOUNTS},
            "the variables using_... switch every provider off",
        ),
    ],
)
def test_a_wrong_variable_is_named_instead_of_making_empty_models(duckdb, variables, words):
    # Given a raw table, and a variable that names another place
    duckdb.sql(salesloft("7, 'Demo', timestamp '2026-06-01', 'booked', timestamp '2026-06-01'"))
    # When dbt runs, then it fails and names the variable
    assert words in duckdb.dbt("run", succeeds=False, **variables)


def test_an_incremental_run_reads_rows_extracted_since_the_look_back_before_the_last_run(duckdb):
    # Given two meetings in the models, and a raw table that keeps every version of a row
    duckdb.sql(
        salesloft(
            "1, 'One', timestamp '2026-06-01', 'booked', timestamp '2026-06-10 12:00:00'",
            "2, 'Two', timestamp '2026-06-01', 'booked', timestamp '2026-06-10 12:00:00'",
            "2, 'Old', timestamp '2026-06-01', 'booked', timestamp '2026-06-10 11:00:00'",
        )
    )
    duckdb.dbt("run")
    # When a version arrives that was extracted before the last run, and a row vanishes
    duckdb.sql(
        "update raw.salesloft_meetings set title = 'Late', _airbyte_extracted_at = timestamp "
        "'2026-06-10 10:30:00' where id = 1",
        "delete from raw.salesloft_meetings where id = 2",
    )
    titles = f"select title from {MARTS}.meetings"
    # Then a look-back of two hours reads it, one of one hour does not, and the vanished row is gone
    duckdb.dbt("run", meetings_look_back_hours=1)
    assert duckdb.sql(titles) == [[{"title": "One"}]]
    duckdb.dbt("run", meetings_look_back_hours=2)
    assert duckdb.sql(titles) == [[{"title": "Late"}]]


def test_a_meeting_is_past_once_it_has_ended_even_without_new_rows(duckdb):
    # Given a past and an upcoming meeting, and models in which neither is past
    duckdb.sql(
        salesloft(
            "1, 'Over', timestamp '2026-06-01', 'booked', timestamp '2026-05-10'",
            "2, 'To come', timestamp '2999-06-01', 'booked', timestamp '2026-06-10'",
        )
    )
    duckdb.dbt("run")
    past = f"select title, is_past, outcome from {MARTS}.meetings order by title"
    made = duckdb.sql(past)
    duckdb.sql(f"update {MARTS}.meetings set is_past = false")
    # When dbt runs again, without new rows
    duckdb.dbt("run")
    # Then the first one is past again, and its outcome is still unknown
    assert duckdb.sql(past) == made
    assert made == [
        [
            {"title": "Over", "is_past": True, "outcome": "unknown"},
            {"title": "To come", "is_past": False, "outcome": "unknown"},
        ]
    ]


def test_accounts_in_several_schemas_have_different_connections(duckdb):
    # Given two accounts of one provider in two schemas, with the same id in both
    row = "1, '{}', timestamp '2026-06-01 09:00:00', 'booked', timestamp '2026-06-10'"
    duckdb.sql(salesloft(row.format("Here")))
    duckdb.sql(salesloft(row.format("There")).replace("raw", "other"))
    # When dbt reads both
    here, there = {"name": "here"}, {"name": "there", "schema": "other"}
    duckdb.dbt("build", meetings_connections=[here, there])
    # Then it has both meetings, each with its connection and its own key
    (rows,) = duckdb.sql(
        f"select connection, title from {MARTS}.meetings order by connection, meeting_key"
    )
    assert rows == [
        {"connection": "here", "title": "Here"},
        {"connection": "there", "title": "There"},
    ]


def test_clock_times_without_an_offset_are_read_in_the_zone_of_the_location(duckdb):
    # Given a time of HighLevel without its offset, and one of Salesloft, which is UTC
    duckdb.sql(
        salesloft("1, '', timestamp '2026-06-30 23:30:00', 'booked', timestamp '2026-06-10'")
    )
    duckdb.sql(
        "create table raw.highlevel_calendar_events as select 'a' as id, "
        "timestamp '2026-06-30 23:30:00' as starttime, timestamp '2026-06-10' as dateupdated"
    )
    # When the variable for the zone of the location is set
    duckdb.dbt("run", highlevel_time_zone="America/Los_Angeles")
    # Then the first time is read in that zone, and the second one is unchanged
    (rows,) = duckdb.sql(f"select provider, starts_at from {MARTS}.meetings order by provider")
    assert rows == [
        {"provider": "highlevel", "starts_at": "2026-07-01 06:30:00"},
        {"provider": "salesloft", "starts_at": "2026-06-30 23:30:00"},
    ]
    # And a provider that is switched off has no more rows
    duckdb.dbt("run", using_salesloft=False)
    assert duckdb.sql(f"select provider from {MARTS}.meetings") == [[{"provider": "highlevel"}]]


# -- the README's commands, in a project that has models of the same names -------------------------

README = (PACKAGE / "README.md").read_text()
OWN_MODELS = {
    "meetings": "select 'ours' as room",
    "meeting_attendees": "select 'ours' as room from {{ ref('meetings') }}",
    "stg_close__meetings": "select 'ours' as room",
}
# The streams that are on with the README's variables, and a stale one that they switch off
RAW_TABLES = """
create schema airbyte_raw;
create table airbyte_raw.salesloft_meetings as
    select 1 as id, 'Kickoff' as title, 'booked' as status, now() as _airbyte_extracted_at;
create table airbyte_raw.close_meetings as
    select 'acti_1' as id, 'Demo' as title, 'completed' as status, 'outcome_1' as outcome_id,
        now() as _airbyte_extracted_at;
create table airbyte_raw.close_outcomes as
    select 'outcome_1' as id, 'No show' as name, now() as _airbyte_extracted_at;
create table airbyte_raw.close_meeting_transcripts as
    select 'acti_1' as id, json '[{}]' as transcripts,
        timestamp '2020-01-01' as _airbyte_extracted_at
"""


def section(heading: str) -> str:
    """Return the README's section with this heading of the second level."""
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the dbt commands in a text, each as a list of arguments."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(dbt [a-z][^`]*)`", text)
    found = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in found if line[:1] == ["dbt"]]


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    done = subprocess.run(["git", *author, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def repository(folder: Path, tag: str) -> None:
    """Create a repository with the current package in the folder `dbt`, with this tag."""
    skip = shutil.ignore_patterns("target", "logs", "dbt_packages", "*.duckdb", ".user.yml")
    shutil.copytree(PACKAGE, folder / "dbt", ignore=skip)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--no-verify", "--message=The package")
    git(folder, "tag", tag)


def test_every_command_in_the_readme_is_run_by_a_test():
    # Given the commands that the tests below run
    run = [*commands(section("Install")), *commands(section("Try it"))]
    # Then the README has no others; sentences may shorten them, as in `dbt build`
    assert [
        one for one in commands(README) if one not in [known[: len(one)] for known in run]
    ] == []


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(CLIENTS, id="newest"),
        pytest.param(OLDEST, id="oldest", marks=pytest.mark.xdist_group("oldest")),
    ],
)
def test_the_readme_s_commands_run_in_a_project_with_models_of_the_same_names(
    environment, tmp_path
):
    if not (environment / "dbt").exists():
        missing("the oldest dbt is not installed: make oldest-dbt")
    # Given the README's packages.yml and variables in a project with models of its own
    install = section("Install")
    packages, variables = blocks(install, "yaml")
    (package,) = yaml.safe_load(packages)["packages"]
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "packages.yml").write_text(packages)
    (project / "profiles.yml").write_text((PACKAGE / "profiles.yml").read_text())
    header = "name: shop\nprofile: meetings\nversion: '1.0'\n"
    (project / "dbt_project.yml").write_text(header + variables)
    for name, select in OWN_MODELS.items():
        (project / "models" / f"{name}.sql").write_text(select)
    # And the package, in the repository that packages.yml names
    remote = tmp_path / "remote"
    repository(remote, tag=package["revision"])
    instead = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{remote}.insteadOf",
        "GIT_CONFIG_VALUE_0": package["git"],
    }
    # When every command in the README is run in order
    with Warehouse(tmp_path, instead, environment) as warehouse:
        warehouse.sql(*RAW_TABLES.split(";"))
        places = ["--project-dir", str(project), "--profiles-dir", str(project)]
        for arguments in commands(install):
            warehouse.run([*arguments, *places])
        # And the project's own models are built
        warehouse.run(["run", "--select", "package:shop", *places])
        # Then each has its own tables
        theirs, made, staged = warehouse.sql(
            "select * from unified.meetings",
            f"select provider, title, outcome, outcome_name, has_transcript from {MARTS}.meetings "
            "order by provider",
            "select id from unified_meetings_staging.stg_meetings__close_meetings",
        )
        assert theirs == [{"room": "ours"}]
        assert made == [
            {
                "provider": "close",
                "title": "Demo",
                "outcome": "no_show",
                "outcome_name": "No show",
                "has_transcript": None,  # the stream is switched off
            },
            {
                "provider": "salesloft",
                "title": "Kickoff",
                "outcome": "unknown",
                "outcome_name": None,
                "has_transcript": None,
            },
        ]
        assert staged == [{"id": "acti_1"}]


def test_the_readme_s_trial_runs_in_the_folder_of_the_package(process):
    # Given raw tables where the README's command looks for them
    process.sql("create table main.salesloft_meetings as select 1 as id, 'Demo' as title")
    # When it is run
    for arguments in commands(section("Try it")):
        process.run(arguments)
    # Then the table exists
    assert process.sql(f"select title from {MARTS}.meetings") == [[{"title": "Demo"}]]
    process.sql("drop table main.salesloft_meetings")


def test_every_example_query_runs_on_the_models(duckdb):
    # Given models with an upcoming and a past meeting
    duckdb.sql(
        salesloft(
            "1, 'Over', now() - interval 2 day, 'booked', timestamp '2026-06-10'",
            "2, 'To come', now() + interval 2 day, 'booked', timestamp '2026-06-10'",
        )
    )
    duckdb.dbt("run")
    # When the example queries are compiled and run
    duckdb.dbt("compile", "--select", "resource_type:analysis")
    folder = duckdb.folder / "target" / "compiled" / "meetings" / "analyses"
    queries = {file.stem: file.read_text() for file in sorted(folder.glob("*.sql"))}
    rows = dict(zip(queries, duckdb.sql(*queries.values())))
    # Then each returns the expected one
    assert {name: len(found) for name, found in rows.items()} == {
        "next_week": 1,
        "outcomes_by_owner": 1,
        "past_without_outcome": 1,
    }
    assert rows["next_week"][0]["title"] == "To come"
    assert rows["past_without_outcome"][0]["without_outcome"] == 1


# -- compilation for other warehouses -------------------------------------------------------------

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
    # When dbt compiles the models, as if every raw table and column existed
    variables = {"meetings_schema": "raw", "meetings_introspect": False}
    done = subprocess.run(
        [
            *(COMPILERS / "dbt", "compile", "--no-introspect", "--no-populate-cache"),
            *("--profiles-dir", tmp_path, "--target-path", tmp_path, "--log-path", tmp_path),
            *("--vars", json.dumps(variables)),
        ],
        cwd=PACKAGE,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        capture_output=True,
        text=True,
    )
    # Then it succeeds, and every model is valid SQL of that warehouse
    assert done.returncode == 0, done.stdout[-4000:]
    compiled = tmp_path / "compiled" / "meetings"
    models = [
        compiled / path.relative_to(PACKAGE)
        for folder in ("models", "analyses")
        for path in (PACKAGE / folder).rglob("*.sql")
    ]
    assert {process.ask("parse", kind, str(file)) for file in models} == {1}
