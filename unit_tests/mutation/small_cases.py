"""A sample of the small cases for mutation testing: the short form would take too long.

Pytest collects this file only if it is named. Half of what a stream does is cheap to judge, so the
first few cases are a test of their own: most mutants end there.
"""

from __future__ import annotations

import pytest

from unit_tests.proof import explore
from unit_tests.proof.cases import SUBJECTS

_DRAWN = {"first": 10, "second": 150}


@pytest.mark.parametrize("seed", _DRAWN)
@pytest.mark.parametrize("stream", SUBJECTS)
def test_two_or_three_disturbances_leave_the_table_equal_to_the_truth(
    stream: str, seed: str
) -> None:
    assert not explore.check_drawn(stream, seed, _DRAWN[seed]).failures


@pytest.mark.parametrize("stream", SUBJECTS)
def test_any_one_disturbance_leaves_the_table_equal_to_the_truth(stream: str) -> None:
    assert not explore.check_all(stream, 0, 1, 1).failures
