"""What the tests share: a sandbox with a clock that stands still, and hypothesis' profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest
from airbyte_cdk.sources.declarative import concurrent_declarative_source
from hypothesis import HealthCheck, settings

from sandbox import Sandbox

# The same examples on every run, so that a red build is red on every machine. To search for new
# ones: HYPOTHESIS_PROFILE=search.
settings.register_profile(
    "default", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "search", max_examples=300, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# At each start the CDK parses the 5,000 lines of YAML that manifests are checked against.
concurrent_declarative_source.get_declarative_component_schema = cache(
    concurrent_declarative_source.get_declarative_component_schema
)

# The connector's own waits and time-outs, a twentieth as long; see source_meetings/waits.py.
os.environ.setdefault("SOURCE_MEETINGS_PATIENCE", "0.05")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        yield box
