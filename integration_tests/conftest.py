"""The sandbox of the unit tests, and the environment that `make clients` creates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unit_tests.conftest import box

__all__ = ["box"]


@pytest.fixture(scope="session")
def clients() -> Path:
    """Return its interpreter. Without it, tests are skipped, or fail with REQUIRE_ALL=1."""
    python = Path(__file__).parent.parent / ".venv-clients" / "bin" / "python"
    if not python.exists():
        reason = "PyAirbyte and dlt are not installed: make clients"
        pytest.fail(reason) if os.environ.get("REQUIRE_ALL") == "1" else pytest.skip(reason)
    return python
