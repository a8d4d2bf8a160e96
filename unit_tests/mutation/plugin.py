"""A pytest plugin for mutation testing, which runs the tests that reach a mutant in a new process.

- The quickest tests come first, and the first one that fails ends the run.
- A test that takes far longer than it does without a mutant ends the run as a time-out. Processor
  time counts, so that a busy machine makes no difference.
- Hypothesis does not look for a shorter example, which takes longer than to find the first one.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

_TIMED_OUT = 36  # an exit code that mutmut reads as a time-out
_SECONDS = 2.0  # for a test that takes no time without a mutant
_TIMES_AS_LONG = 5

settings.register_profile(
    "mutants",
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@cache
def _seconds() -> dict[str, float]:
    """Return how long each test takes without a mutant, by its name, once mutmut knows it."""
    found = Path("mutmut-stats.json")
    known: dict[str, float] = json.loads(found.read_text())["duration_by_test"]
    return known


def _is_known() -> bool:
    return Path("mutmut-stats.json").exists()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _is_known():
        items.sort(key=lambda item: _seconds().get(item.nodeid, 0.0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if not _is_known():
        return (yield)
    signal.signal(signal.SIGPROF, _give_up)
    most = _SECONDS + _TIMES_AS_LONG * _seconds().get(item.nodeid, 0.0)
    signal.setitimer(signal.ITIMER_PROF, most)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _give_up(*_: Any) -> None:
    os._exit(_TIMED_OUT)
