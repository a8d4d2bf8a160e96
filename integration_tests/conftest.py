"""The same sandbox as that of the unit tests, and the environment that `make clients` makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unit_tests.conftest import box

__all__ = ["box"]


@pytest.fixture(scope="session")
def clients() -> Path:
    """Its interpreter. Without it a test is skipped; with REQUIRE_ALL=1 it fails."""
    python = Path(__file__).parent.parent / ".venv-clients" / "bin" / "python"
    if not python.exists():
        reason = "PyAirbyte and dlt are not installed: make clients"
        pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)
    return python
