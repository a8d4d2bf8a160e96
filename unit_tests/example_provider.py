"""The example provider: its API in the sandbox, and a connector with it as a fifth provider."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from sandbox import Sandbox
from sandbox.clock import Clock, iso_micros, parse_time, to_micros
from sandbox.side import Call, Reply, Row, Side
from unit_tests.harness import Json, Output, assert_no_secret, write_json

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "provider"
API_KEY = "acme_key_0123456789"
STREAMS = ("acme_meetings", "acme_notes")


class _Version(NamedTuple):
    """A row after a change. Requests see it from `visible` on (microseconds)."""

    visible: int
    stamp: int
    row: Row


class AcmeSide(Side):
    """Two lists, ordered by id. New rows can appear anywhere; deleted rows stay, marked as deleted.

    With `sort=-updated_at`, the first page has the newest changes.

    `page_cap`: the largest page that is served. `totals`: whether an answer has the total of rows.
    `exclusive`: whether rows that changed exactly at `updated_since` are left out.
    `whole_seconds`: whether stamps have no fraction. `lag`: the most seconds until a change becomes
    visible. `stamp_lag`: seconds by which stamps are behind the `Date` header.
    """

    name = "acme"
    actions = ("insert", "edit", "delete")
    options = ("page_cap", "totals", "exclusive", "whole_seconds", "lag", "stamp_lag")

    def __init__(self, clock: Clock, lock: threading.RLock, seed: int = 1) -> None:
        super().__init__(clock, lock)
        self.page_cap = 100
        self.totals = True
        self.exclusive = False
        self.whole_seconds = False
        self.lag = 0
        self.stamp_lag = 0
        self.chance = Random(seed)
        self.lists: dict[str, dict[str, list[_Version]]] = {"meetings": {}, "notes": {}}

    # -- writes -----------------------------------------------------------------------------------

    def generate(self, count: int) -> None:
        """Add this many rows to each list, a minute apart, the oldest first."""
        for number in range(count):
            self.clock.advance(minutes=1)
            for what in self.lists:
                self.insert(what, id=f"{number << 16:08x}")
        self.clock.advance(hours=1)

    def insert(self, what: str = "meetings", **fields: Any) -> str:
        id = f"{self.chance.getrandbits(32):08x}"
        own = {"title": "…"} if what == "meetings" else {"text": "…"}
        self._put(what, {"id": id, **own, "deleted": False, **fields})
        return id

    def edit(self, what: str, id: str, **fields: Any) -> None:
        self._put(what, {**self.lists[what][id][-1].row, **fields})

    def delete(self, what: str, id: str) -> None:
        self.edit(what, id, deleted=True)

    def change(self) -> None:
        """Make a random kind of write to a random row of each list."""
        for what, rows in self.lists.items():
            kind = self.chance.choice(("insert", "edit", "edit", "delete"))
            if kind == "insert" or not rows:
                self.insert(what)
            elif kind == "edit":
                words = f"change {self.chance.random()}"
                self.edit(what, self.chance.choice(list(rows)), **{_words(what): words})
            else:
                self.delete(what, self.chance.choice(list(rows)))

    def _put(self, what: str, row: Row) -> None:
        with self.lock:
            micros = to_micros(self.clock.tick())
            stamp = micros - self.stamp_lag * 1_000_000
            stamp -= stamp % 1_000_000 if self.whole_seconds else 0
            version = {**row, "updated_at": iso_micros(stamp)}
            visible = micros + self.chance.choice((0, self.lag)) * 1_000_000
            self.lists[what].setdefault(row["id"], []).append(_Version(visible, stamp, version))

    # -- what the API shows -----------------------------------------------------------------------

    def answer(self, call: Call) -> Reply:
        if call.bearer() != API_KEY:
            return Reply({"error": "unauthorized"}, 401)
        what = call.path.strip("/")
        if call.method != "GET" or what not in self.lists:
            return Reply({"error": "not found"}, 404)
        params = dict(call.params)
        try:
            since = parse_time(params["updated_since"]) if "updated_since" in params else None
        except ValueError:
            return Reply({"error": "updated_since is not a time"}, 422)
        rows = self._rows(what, None if since is None else to_micros(since))
        if params.get("include_deleted") != "true":
            rows = [row for row in rows if not row["deleted"]]
        if params.get("sort") == "-updated_at":
            rows.sort(key=lambda row: str(row["updated_at"]), reverse=True)
        return Reply(self._numbered(rows, params) if what == "meetings" else _keyed(rows, params))

    def _rows(self, what: str, since: int | None = None) -> list[Row]:
        now = self.clock.micros()
        found = []
        for versions in self.lists[what].values():
            shown = next((one for one in reversed(versions) if one.visible <= now), None)
            if shown and (since is None or shown.stamp >= since + self.exclusive):
                found.append(shown.row)
        return sorted(found, key=lambda row: str(row["id"]))

    def _numbered(self, rows: list[Row], params: dict[str, str]) -> Json:
        size = min(int(params.get("per_page", 20)), self.page_cap)
        start = (int(params.get("page", 1)) - 1) * size
        page: Json = {"meetings": rows[start : start + size]}
        return {**page, "total": len(rows)} if self.totals else page

    def truth(self, what: str = "meetings") -> dict[str, Row]:
        with self.lock:
            return {row["id"]: row for row in self._rows(what)}

    def sizes(self) -> dict[str, int]:
        return {what: len(rows) for what, rows in self.lists.items()}

    @property
    def base_url(self) -> str:
        return self.root


def _words(what: str) -> str:
    return "title" if what == "meetings" else "text"


def _keyed(rows: list[Row], params: dict[str, str]) -> Json:
    """The page after the row that the token names: the last row of the previous page."""
    after = urlsafe_b64decode(params.get("page_token", "")).decode()
    rest = [row for row in rows if row["id"] > after]
    page = rest[: int(params.get("limit", 20))]
    more = len(rest) > len(page)
    token = urlsafe_b64encode(page[-1]["id"].encode()).decode() if more else None
    return {"notes": page, "next_page_token": token}


def add_acme(box: Sandbox, seed: int = 1) -> AcmeSide:
    side = AcmeSide(box.clock, box.lock, seed)
    side.root = f"{box.url}/{side.name}"
    box.sides[side.name] = side
    return side


# -- the connector with the example in it ---------------------------------------------------------

# Forks a process for each command, to save the time of the imports. Each line of standard input has
# the arguments and the file for the output. The answer is a line with the process id, then one with
# its exit code.
_SERVER = """
import json, os, sys
from source_meetings.run import run

for line in sys.stdin:
    arguments, output = json.loads(line)
    process = os.fork()
    if not process:
        os.dup2(os.open(output, os.O_WRONLY), 1)
        code = 0
        try:
            run(arguments)
        except SystemExit as error:
            code = error.code or 0
        sys.stdout.flush()
        os._exit(code)
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


class Connector:
    """The connector as pip installs it, with the files copied as docs/adding-a-provider.md says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        package = folder / "source_meetings"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "source_meetings", package, ignore=ignored)
        shutil.copytree(ROOT / "schemas", package / "schemas", ignore=ignored)
        self.manifest = package / "providers" / "acme" / "manifest.yaml"
        self.manifest.parent.mkdir()
        shutil.copy(EXAMPLE / "manifest.yaml", self.manifest)
        shutil.copytree(EXAMPLE / "schemas", package / "schemas", dirs_exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=30)

    def run(
        self,
        *arguments: str,
        stop_after_lines: int | None = None,
        started: Callable[[Callable[[], None]], None] | None = None,
    ) -> Output:
        """Run a command and return the complete lines that it printed.

        `stop_after_lines`: kill the process with SIGKILL after this many lines. `started` gets a
        function that kills it, at any time and from any thread.
        """
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin is not None and stdout is not None
        pipe = self.folder / "output"
        os.mkfifo(pipe)
        stdin.write(f"{json.dumps([arguments, str(pipe)])}\n")
        stdin.flush()
        process = int(stdout.readline())

        def kill() -> None:
            os.kill(process, signal.SIGKILL)

        if started is not None:
            started(kill)
        messages: list[Json] = []
        with pipe.open("rb") as lines:
            pipe.unlink()
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # an incomplete line
                messages.append(json.loads(line))
                if len(messages) == stop_after_lines:
                    kill()
        output = Output(messages, int(stdout.readline()))
        assert_no_secret(output, {API_KEY})
        return output


class Copy:
    """The tables of a destination and the saved states: what remains if the connector is killed."""

    def __init__(self, connector: Connector, box: Sandbox, **options: Any) -> None:
        self._connector, self._box, self._options = connector, box, options
        self._side: Any = box.sides["acme"]
        provider = {"name": "acme", "api_key": API_KEY, "base_url": self._side.root}
        self.config: Json = {"provider": provider, **options}
        self.tables: dict[str, dict[str, Json]] = {stream: {} for stream in STREAMS}
        self.states: list[Json] = []
        self._streams: list[Json] = []

    def command(self, *command: str, **options: Any) -> Output:
        path = write_json(self.config)
        try:
            return self._connector.run(*command, "--config", path, **options)
        finally:
            os.unlink(path)

    def discover(self) -> list[Json]:
        """Return the streams; discover is run only once."""
        if not self._streams:
            (message,) = self.command("discover").of("CATALOG")
            self._streams = message["catalog"]["streams"]
        return self._streams

    def read(self, mode: str = "incremental", **options: Any) -> Output:
        """Sync both streams, whether that succeeds or not."""
        configured = [
            {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append_dedup"}
            for stream in self.discover()
        ]
        paths = [write_json({"streams": configured}), write_json(self.states)]
        try:
            output = self.command("read", "--catalog", paths[0], "--state", paths[1], **options)
        finally:
            for path in paths:
                os.unlink(path)
        for stream, table in self.tables.items():
            for row in output.records(stream):
                # Deduplicates like a destination: the row with the greatest cursor stays.
                if table.get(row["id"], row)["updated_at"] <= row["updated_at"]:
                    table[row["id"]] = row
        last = {state["stream"]["stream_descriptor"]["name"]: state for state in self.states}
        for state in output.last_states():
            last[state["stream"]["stream_descriptor"]["name"]] = state
        self.states = list(last.values())
        return output

    def sync(self, mode: str = "incremental") -> Output:
        """Sync both streams, which must succeed."""
        output = self.read(mode)
        assert output.exit_code == 0, output.errors
        return output

    def empty(self) -> Copy:
        """Return a new, empty destination of the same connection."""
        return Copy(self._connector, self._box, **self._options)

    def state_of(self, stream: str, states: list[Json] | None = None) -> Json:
        """Return the state of a stream: among the given states, or the current one."""
        (found,) = (
            state["stream"]["stream_state"]
            for state in (self.states if states is None else states)
            if state["stream"]["stream_descriptor"]["name"] == stream
        )
        return dict(found)

    def rows(self) -> dict[str, dict[str, Json]]:
        return {stream: dict(table) for stream, table in self.tables.items()}

    def truth(self) -> dict[str, dict[str, Json]]:
        return {stream: self._side.truth(stream.removeprefix("acme_")) for stream in STREAMS}

    def assert_equal_to_truth(self) -> None:
        assert self.rows() == self.truth()
