"""Runs the connector in its own process, which can be killed at any moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from source_meetings.run import run
from unit_tests.harness import Json, Output, write_json

# Forked from a process that has already imported the connector, which saves a second per start.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["source_meetings.run"])


def _main(arguments: list[str], output: Connection) -> None:
    os.dup2(output.fileno(), 1)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]
    run(arguments)


def read_in_a_process(
    config: Json,
    catalog: Json,
    state: list[Json] | None,
    stop_after_lines: int | None = None,
    started: Callable[[Any], None] | None = None,
    config_path: str | None = None,
) -> Output:
    """Run `read` to its end or until it is killed, and return the complete lines that it printed.

    `stop_after_lines`: kill it with SIGKILL after this many lines. `started` gets the process,
    whose `kill()` may be called at any time, from any thread.
    """
    paths = [config_path or write_json(config), write_json(catalog), write_json(state or [])]
    arguments = ["read", "--config", paths[0], "--catalog", paths[1], "--state", paths[2]]
    reader, writer = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_main, args=(arguments, writer))
    process.start()
    writer.close()
    if started is not None:
        started(process)
    messages: list[Json] = []
    with open(os.dup(reader.fileno()), "rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break  # an incomplete line
            messages.append(json.loads(line))
            if len(messages) == stop_after_lines:
                process.kill()
    reader.close()
    process.join()
    for path in paths if config_path is None else paths[1:]:
        os.unlink(path)
    return Output(messages, process.exitcode)
