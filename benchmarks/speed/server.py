"""A benchmark's server, as the measuring process sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """Runs `serve` in its own process, for one account. A context manager.

    `account`: what the server says about the account. See `serve.Server.described`.
    """

    def __init__(self, provider: str, meetings: int, limited: bool = False) -> None:
        options = ["--limited"] if limited else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.serve", provider, str(meetings), *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.provider = provider
        self.meetings = meetings
        self.account: dict[str, Any] = self._line()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def latency(self, seconds: float) -> None:
        self._ask("latency", seconds=seconds)

    def forget(self) -> None:
        self._ask("forget")

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self._ask("counts")
        return found

    def gets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("gets")
        return found

    def edit(self, count: int) -> None:
        self._ask("edit", count=count)

    def _ask(self, name: str, **options: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, options]) + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the benchmark's server ended early; its error is above")
        return json.loads(line)
