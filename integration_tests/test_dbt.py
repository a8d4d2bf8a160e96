"""The dbt package: from the sandbox through the connector and a warehouse to the two models.

DuckDB is filled by PyAirbyte, PostgreSQL (a real server) in the form of Airbyte's own destination.
dbt and the clients come from `make clients`, PostgreSQL from Debian's package `postgresql`. Without
them these tests are skipped; with REQUIRE_ALL=1 they fail.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from integration_tests import unified
from integration_tests.accounts import ACCOUNTS
from sandbox import Sandbox
from source_meetings.source import SourceMeetings
from unit_tests.harness import catalog, read

CHECKOUT = Path(__file__).parent.parent
CLIENTS = CHECKOUT / ".venv-clients" / "bin"
CONNECTOR = Path(sys.executable).parent / "source-meetings"
WAREHOUSE = Path(__file__).parent / "warehouse.py"
PROVIDERS = ("close", "expoplatform", "highlevel", "salesloft")

Json = dict[str, Any]


def missing(reason: str) -> None:
    pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)


@pytest.fixture(autouse=True, scope="module")
def clients() -> None:
    if not (CLIENTS / "dbt").exists():
        missing("PyAirbyte and dbt are not installed: make clients")


# -- warehouses -----------------------------------------------------------------------------------


class Warehouse:
    """`variables`: how the clients find it. `sync` reads the accounts into its raw tables."""

    kind: str
    variables: dict[str, str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sync(self, box: Sandbox) -> None:
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.variables,
            "MEETINGS_SCHEMA": "unified",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_TARGET_PATH": str(self.folder / "target"),
            "DBT_LOG_PATH": str(self.folder / "logs"),
        }

    def sql(self, *statements: str) -> list[list[Json]]:
        """Run the statements; the rows of each."""
        done = subprocess.run(
            [CLIENTS / "python", WAREHOUSE, "sql", self.kind],
            input="".join(json.dumps(statement) + "\n" for statement in statements),
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    def dbt(self, *arguments: str, succeeds: bool = True, **variables: Any) -> str:
        """Run dbt in the package's folder; what it printed."""
        done = subprocess.run(
            [
                *(CLIENTS / "dbt", "--no-use-colors", *arguments),
                *(
                    "--target",
                    self.kind,
                    "--vars",
                    json.dumps({"meetings_schema": "raw", **variables}),
                ),
            ],
            cwd=CHECKOUT / "dbt",
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) is succeeds, done.stdout[-5000:] + done.stderr[-2000:]
        assert "Deprecat" not in done.stdout and "WARNING" not in done.stdout, done.stdout[-5000:]
        return done.stdout

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


class DuckDB(Warehouse):
    kind = "duckdb"

    def __init__(self, folder: Path, configs: dict[str, Json]) -> None:
        super().__init__(folder)
        self.variables = {"MEETINGS_DUCKDB": str(folder / "meetings.duckdb")}
        paths = []
        for provider, config in configs.items():
            paths.append(folder / f"{provider}.json")
            paths[-1].write_text(json.dumps(config))
        self._log = (folder / "pyairbyte.log").open("w+")
        self._pyairbyte = subprocess.Popen(
            [
                *(CLIENTS / "python", WAREHOUSE, "pyairbyte"),
                *(folder / "meetings.duckdb", CONNECTOR, *paths),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={
                **os.environ,
                "AIRBYTE_PROJECT_DIR": str(folder),
                "AIRBYTE_LOGGING_ROOT": str(folder / "logs"),
            },
        )

    def sync(self, box: Sandbox) -> None:
        assert self._pyairbyte.stdin and self._pyairbyte.stdout
        self._pyairbyte.stdin.write("\n")
        self._pyairbyte.stdin.flush()
        assert self._pyairbyte.stdout.readline(), Path(self._log.name).read_text()[-4000:]

    def close(self) -> None:
        self._pyairbyte.kill()
        self._pyairbyte.wait()
        self._log.close()


class PostgreSQL(Warehouse):
    kind = "postgres"

    def __init__(self, folder: Path, configs: dict[str, Json], port: int) -> None:
        super().__init__(folder)
        self.variables = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "meetings",
            "PGDATABASE": "postgres",
        }
        self._configs = configs
        self._states: dict[str, list[Json]] = {}

    def sync(self, box: Sandbox) -> None:
        for provider, config in self._configs.items():
            configured = catalog(SourceMeetings(config=config), None, "incremental")
            output = read(config, self._states.get(provider), configured=configured)
            assert output.exit_code == 0, output.errors
            self._states[provider] = output.last_states()
            lines = [configured, *output.messages]
            done = subprocess.run(
                [CLIENTS / "python", WAREHOUSE, "postgres"],
                input="".join(json.dumps(line) + "\n" for line in lines),
                env=self.environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr[-2000:]


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
            with open(f"{folder}/{program}.log", "w+") as log:  # the server keeps its output open
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


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(
    request: pytest.FixtureRequest, box: Sandbox, tmp_path: Path
) -> Iterator[Callable[[], Warehouse]]:
    """Yield what makes the warehouse, once the accounts are there."""
    opened: list[DuckDB] = []

    def configs() -> dict[str, Json]:
        made = {provider: ACCOUNTS[provider].config(box) for provider in PROVIDERS}
        for config in made.values():
            config.pop("start_date", None)
        return made

    def duckdb() -> Warehouse:
        opened.append(DuckDB(tmp_path, configs()))
        return opened[0]

    if request.param == "duckdb":
        yield duckdb
        for one in opened:
            one.close()
    else:
        with postgres_server() as port:
            yield lambda: PostgreSQL(tmp_path, configs(), port)


# -- the whole chain ------------------------------------------------------------------------------


def fill(box: Sandbox) -> None:
    """The accounts of the other tests, and what a model of meetings could get wrong."""
    for provider in PROVIDERS:
        ACCOUNTS[provider].fill(box)
    box.highlevel.delete_shows = True
    ids = list(box.close.meetings)
    box.close.edit(
        ids[5], attendees=[_of_close("Ada@Example.com", "yes"), _of_close("b@example.com")]
    )
    box.close.edit(ids[6], attendees=[_of_close("gone@example.com")])
    box.close.edit(
        ids[7], status="declined-by-org", conference_links=[], location="https://a.example"
    )
    for number, outcome in enumerate(box.close.outcomes):
        box.close.edit(ids[10 + number], outcome_id=outcome["id"])
    one, two, three = list(box.salesloft.meetings)[:3]
    box.salesloft.edit(
        one,
        attendees=[
            _of_salesloft("Ada@Example.com", organizer=True),
            _of_salesloft("b@example.com"),
        ],
        guests=["ada@example.com", "New@example.com"],
        recipient_email="new@example.com",
        recipient_name="New One",
    )
    box.salesloft.edit(two, attendees=[_of_salesloft("b@example.com")], guests=["b@example.com"])
    box.salesloft.edit(three, all_day=True, no_show=True, status="failed")
    box.highlevel.insert(
        startTime="2026-06-30T23:30:00-07:00",
        endTime="2026-07-01T00:15:00-07:00",
        contactName="Ada Adler",
        description="What it is about",
    )
    box.expoplatform.insert(
        101,
        accounts=(1, 2),
        meeting_id="90001",
        **{"Account Email": "Ada@Example.com", "Account Name": "Ada", "Meeting Role": "Initiator"},
    )
    box.expoplatform.insert(101, accounts=(1, 2), meeting_id="90002", status="Declined")


def change(box: Sandbox) -> None:
    for provider in PROVIDERS:
        ACCOUNTS[provider].change(box)
    ids = list(box.close.meetings)
    box.close.edit(ids[5], attendees=[_of_close("ada@example.com", "no")])  # one is taken out
    box.close.edit(ids[6], attendees=[])  # the last one is taken out
    box.close.reschedule(ids[8], "2026-06-09T10:00:00Z")
    box.close.delete(ids[9])
    box.close.delete_outcome(box.close.outcomes[0]["id"])
    box.close.outcomes[1]["name"] = "Renamed"
    one, two, *_ = list(box.salesloft.meetings)
    gone = {**_of_salesloft("b@example.com"), "deleted_at": "2026-06-01T00:00:00.000000Z"}
    box.salesloft.edit(
        one, attendees=[_of_salesloft("ada@example.com", status="declined")], guests=[]
    )
    box.salesloft.edit(two, attendees=[gone])
    events = list(box.highlevel.events)
    box.highlevel.delete(events[4])
    box.highlevel.edit(events[5], appointmentStatus="showed", users=[])
    box.expoplatform.cancel(101, "90001")
    box.expoplatform.edit(101, "90002", "1", status="Confirmed")


def _of_close(email: str, status: str = "noreply") -> Json:
    nobody = dict.fromkeys(("contact_id", "user_id", "name"))
    return {**nobody, "email": email, "status": status, "is_organizer": False}


def _of_salesloft(email: str, organizer: bool = False, status: str = "accepted") -> Json:
    nobody = dict.fromkeys(("person", "deleted_at"))
    person = {"email": email, "name": "", "organizer": organizer, "status": status}
    return {**person, "status_changed": False, **nobody}


def assert_models_equal_truth(warehouse: Warehouse, box: Sandbox, deleted: set[str]) -> None:
    meetings, attendees = warehouse.models()
    for id in deleted:  # of a deleted meeting of Close there is its key, and that it is deleted
        row = meetings.pop(("close", "", id))
        assert row["is_deleted"] and row["status"] == "unknown" and row["title"] is None
    expected = unified.meetings(box)
    assert meetings.keys() == expected.keys()
    for key, row in expected.items():
        if meetings[key]["has_transcript"] is None and not row["has_transcript"]:
            row = {**row, "has_transcript": None}  # not looked for
        assert meetings[key] == row, key
    assert attendees == unified.attendees(box)


def test_both_models_equal_the_sandbox_after_changes_and_after_a_full_refresh(warehouse, box):
    # Given an account of each provider, read into the warehouse
    fill(box)
    tables = warehouse()
    tables.sync(box)
    # When dbt makes the models for the first time (with its own tests of keys and values)
    tables.dbt("build")
    # Then they are what the sandbox holds
    assert_models_equal_truth(tables, box, deleted=set())
    # When meetings are edited, moved, cancelled, deleted and added, and people taken out of them
    box.clock.advance(minutes=10)
    change(box)
    tables.sync(box)
    # And dbt goes on with what was extracted since
    tables.dbt("build", meetings_look_back_hours=0)
    # Then the models are what the sandbox holds now
    assert_models_equal_truth(tables, box, deleted=box.close.deleted)
    went_on = tables.models()
    # And a full refresh makes no difference
    tables.dbt("run", "--full-refresh")
    assert tables.models() == went_on
