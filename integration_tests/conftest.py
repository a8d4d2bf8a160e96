"""The same sandbox as that of the unit tests."""

from unit_tests.conftest import box

__all__ = ["box"]
