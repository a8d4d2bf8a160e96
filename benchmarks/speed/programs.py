"""The programs that are compared: this connector, the plain loop, and the peers.

A peer's fixed URL is replaced with the sandbox's in the least invasive way. `how` describes it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.environments import VERSIONS, Environment, Missing
from benchmarks.speed.process import Run
from benchmarks.speed.server import ROOT, ServerProcess

RUNNERS = ROOT / "benchmarks" / "speed" / "runners"
EVER = "2017-01-01"


class Program(ABC):
    """A program that can read meetings.

    ``commands``: those it has besides reading. ``how``: how it is pointed at the sandbox, and other
    notes for the report. ``resumes``: whether a later sync starts from a state.
    """

    commands: tuple[str, ...] = ()
    how = ""
    resumes = True

    def __init__(self, name: str, providers: Sequence[str] | None = None) -> None:
        self.name = name
        self._providers = providers

    def knows(self, provider: str) -> bool:
        return self._providers is None or provider in self._providers

    def make(self) -> None:  # noqa: B027 - most need nothing
        """Install what it needs. Raises Missing."""

    @abstractmethod
    def versions(self) -> str:
        """The versions in use, for people."""

    @abstractmethod
    def read(self, server: ServerProcess, folder: Path) -> list[str]:
        """The command line of a first sync. Its files are written to the folder."""

    def read_again(self, server: ServerProcess, folder: Path, last: Run) -> list[str]:
        """The command line of the sync after the run ``last``."""
        return self.read(server, folder)

    def command(self, name: str, server: ServerProcess, folder: Path) -> list[str]:
        """The command line of one of `commands`."""
        raise NotImplementedError


class Connector(Program):
    """Ours. ``paced``: within the provider's rate limit. ``workers``: None for the default."""

    commands = ("spec", "check", "discover")
    how = "As it is. To read at full speed, a small runner removes its pacing."

    def __init__(self, paced: bool = False, workers: int | None = None) -> None:
        super().__init__("source-meetings")
        self._paced = paced
        self._workers = workers

    def versions(self) -> str:
        names = ("source-meetings", "airbyte-cdk", "requests", "orjson")
        return _output([sys.executable, "-c", VERSIONS, *names]).strip()

    def read(self, server: ServerProcess, folder: Path) -> list[str]:
        stream = server.account["stream"]
        config = self._config(server, folder)
        catalog = _catalog([*self._start(), "discover", "--config", config], stream, folder)
        return [*self._start(), "read", "--config", config, "--catalog", catalog]

    def read_again(self, server: ServerProcess, folder: Path, last: Run) -> list[str]:
        return [*self.read(server, folder), "--state", _airbyte_state(last, folder)]

    def command(self, name: str, server: ServerProcess, folder: Path) -> list[str]:
        config = [] if name == "spec" else ["--config", self._config(server, folder)]
        return [sys.executable, "-m", "source_meetings", name, *config]

    def _start(self) -> list[str]:
        module = "source_meetings" if self._paced else "benchmarks.speed.runners.connector"
        return [sys.executable, "-m", module]

    def _config(self, server: ServerProcess, folder: Path) -> str:
        workers = {} if self._workers is None else {"num_workers": self._workers}
        return _file(folder / "config.json", {**server.account["config"], **workers})


class Loop(Program):
    """Repeats the GETs that the connector made. The server must still know them."""

    how = "It makes the same GETs, one after another, and prints the same rows."

    def __init__(self) -> None:
        super().__init__("plain loop")

    def versions(self) -> str:
        return _output([sys.executable, "-c", VERSIONS, "requests", "orjson"]).strip()

    def read(self, server: ServerProcess, folder: Path) -> list[str]:
        task = {"stream": server.account["stream"], "gets": server.gets()}
        file = _file(folder / "loop.json", task)
        return [sys.executable, "-m", "benchmarks.speed.runners.loop", file]


class Peer(Program):
    """Someone else's program, in its own environment."""

    def __init__(self, environment: Environment, providers: Sequence[str]) -> None:
        super().__init__(environment.name, providers)
        self._environment = environment

    def make(self) -> None:
        self._environment.make()

    def versions(self) -> str:
        return self._environment.versions()

    def _start(self, runner: str, *arguments: str) -> list[str]:
        return [self._environment.python, str(RUNNERS / runner), *arguments]


@dataclass(frozen=True)
class Connection:
    """How to run an Airbyte connector: its class, the URL in it, its configuration and the stream.

    ``commands``: those whose endpoints the sandbox has. ``note``: what is special about it.
    """

    module: str
    class_name: str
    url: str
    stream: str
    config: Callable[[Mapping[str, Any]], dict[str, Any]]
    commands: tuple[str, ...]
    note: str
    resumes: bool = True


class AirbytePeer(Peer):
    def __init__(self, environment: Environment, provider: str, connection: Connection) -> None:
        super().__init__(environment, (provider,))
        self._connection = connection
        self.commands = connection.commands
        self.resumes = connection.resumes
        self.how = f"A small runner replaces the URL of each request. {connection.note}"

    def read(self, server: ServerProcess, folder: Path) -> list[str]:
        start, config = self._start_at(server), self._config(server, folder)
        if "discover" in self.commands:
            catalog = _catalog([*start, "discover", "--config", config], self._stream, folder)
        else:
            modes = ["full_refresh", "incremental"]
            known = {"name": self._stream, "json_schema": {}, "supported_sync_modes": modes}
            catalog = _configured(known, folder)
        return [*start, "read", "--config", config, "--catalog", catalog]

    @property
    def _stream(self) -> str:
        return self._connection.stream

    def read_again(self, server: ServerProcess, folder: Path, last: Run) -> list[str]:
        return [*self.read(server, folder), "--state", _airbyte_state(last, folder)]

    def command(self, name: str, server: ServerProcess, folder: Path) -> list[str]:
        config = [] if name == "spec" else ["--config", self._config(server, folder)]
        return [*self._start_at(server), name, *config]

    def _start_at(self, server: ServerProcess) -> list[str]:
        it, url = self._connection, server.account["base_url"]
        return self._start("airbyte_peer.py", it.module, it.class_name, it.url, url)

    def _config(self, server: ServerProcess, folder: Path) -> str:
        return _file(folder / "config.json", self._connection.config(server.account))


class SingerTap(Peer):
    commands = ("discover",)
    how = (
        "A small runner replaces two constants: its URL, and the list of all activities with that "
        "of meetings."
    )
    _STREAM = "activities"

    def read(self, server: ServerProcess, folder: Path) -> list[str]:
        command = self._command(server, folder)
        catalog = json.loads(_output([*command, "--discover"]))
        streams = [one for one in catalog["streams"] if one["stream"] == self._STREAM]
        for metadata in streams[0]["metadata"]:
            metadata["metadata"]["selected"] = True
        streams[0]["schema"]["selected"] = True
        return [*command, "--catalog", _file(folder / "catalog.json", {"streams": streams})]

    def read_again(self, server: ServerProcess, folder: Path, last: Run) -> list[str]:
        state = json.loads(last.lines_of_state[-1])["value"]
        return [*self.read(server, folder), "--state", _file(folder / "state.json", state)]

    def command(self, name: str, server: ServerProcess, folder: Path) -> list[str]:
        return [*self._command(server, folder), f"--{name}"]

    def _command(self, server: ServerProcess, folder: Path) -> list[str]:
        key = server.account["config"]["provider"]["credentials"]["api_key"]
        config = _file(folder / "config.json", {"api_key": key, "start_date": f"{EVER}T00:00:00Z"})
        url = server.account["base_url"]
        return [*self._start("singer_tap_closeio.py", url), "--config", config]


class RestApi(Peer):
    how = (
        "Its configuration names the URL. A small runner prints the rows. Normalizing and loading "
        "them, which dlt does next, is left out. Each sync reads everything again."
    )
    resumes = False

    def __init__(
        self, environment: Environment, configs: Mapping[str, Callable[[Any], dict[str, Any]]]
    ) -> None:
        super().__init__(environment, tuple(configs))
        self._configs = configs

    def read(self, server: ServerProcess, folder: Path) -> list[str]:
        account = server.account
        task = {"stream": account["stream"], "rest_api": self._configs[server.provider](account)}
        return self._start("dlt_rest_api.py", _file(folder / "rest_api.json", task))


def installed(programs: Sequence[Program]) -> tuple[list[Program], dict[str, str]]:
    """The programs that can be run here, and why the others cannot."""
    found: list[Program] = []
    missing = {}
    for program in programs:
        reason = _missing(program)
        if reason:
            missing[program.name] = reason
        else:
            found.append(program)
    return found, missing


def _missing(program: Program) -> str:
    try:
        program.make()
    except Missing as error:
        return str(error)
    return ""


def _airbyte_state(last: Run, folder: Path) -> str:
    states = {}
    for line in last.lines_of_state:
        state = json.loads(line)["state"]
        states[state["stream"]["stream_descriptor"]["name"]] = state
    return _file(folder / "state.json", list(states.values()))


def _catalog(discover: list[str], stream: str, folder: Path) -> str:
    messages = map(json.loads, _output(discover).splitlines())
    catalog = next(one["catalog"] for one in messages if one["type"] == "CATALOG")
    (found,) = [one for one in catalog["streams"] if one["name"] == stream]
    return _configured(found, folder)


def _configured(stream: dict[str, Any], folder: Path) -> str:
    incremental = "incremental" in stream["supported_sync_modes"]
    configured = {
        "stream": stream,
        "sync_mode": "incremental" if incremental else "full_refresh",
        "destination_sync_mode": "append",
    }
    return _file(folder / "catalog.json", {"streams": [configured]})


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return done.stdout


def _file(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)
