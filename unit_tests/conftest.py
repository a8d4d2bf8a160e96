"""Shared by all tests: a sandbox whose clock does not run, and the profiles of Hypothesis."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from sandbox import Sandbox

# The default uses the same examples on every run, so a failure shows on every machine. To search
# for new examples, set HYPOTHESIS_PROFILE=search.
settings.register_profile(
    "default", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "search", max_examples=300, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Shortens the connector's own waits to a twentieth, and its time-outs; see transport/waits.py.
os.environ.setdefault("SOURCE_MEETINGS_PATIENCE", "0.05")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        yield box
