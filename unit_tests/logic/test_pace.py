"""How long a connection waits after an answer has said that the budget is used up."""

from __future__ import annotations

import pytest

from source_meetings import connection
from source_meetings.connection import Pace


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(connection, "time", clock)
    return clock


def test_a_budget_that_this_connection_has_used_up_alone_is_renewed_an_interval_after_the_first(
    clock: Clock,
) -> None:
    # Given three requests within three seconds, which an older one precedes
    pace = Pace()
    for seconds in (0.0, 20.0, 1.0, 2.0):
        clock.seconds += seconds
        pace.sent()
    # When the answer to the last one says that nothing is left of three in ten seconds
    pace.note(True, 10.0, 3)
    # Then the first of the three is ten seconds old in seven seconds
    assert pace.seconds_left == 7.0


@pytest.mark.parametrize("limit", [4, None])
def test_a_budget_that_others_have_used_as_well_is_waited_for_as_long_as_it_can_take(
    clock: Clock, limit: int | None
) -> None:
    # Given fewer requests than the interval allows, or no word of how many that is
    pace = Pace()
    for _ in range(3):
        clock.seconds += 1.0
        pace.sent()
    pace.note(True, 10.0, limit)
    assert pace.seconds_left == 10.0


def test_requests_from_an_earlier_interval_do_not_shorten_the_wait(clock: Clock) -> None:
    # Given as many requests as the interval allows, but over more than an interval
    pace = Pace()
    for seconds in (0.0, 11.0, 0.0):
        clock.seconds += seconds
        pace.sent()
    pace.note(True, 10.0, 3)
    assert pace.seconds_left == 10.0


def test_only_the_first_of_several_answers_that_say_so_starts_a_wait(clock: Clock) -> None:
    pace = Pace()
    pace.note(True, 10.0)
    clock.seconds += 6.0
    # When an answer of another worker says the same, six seconds later
    pace.note(True, 10.0)
    assert pace.seconds_left == 4.0
    # Then an answer with something left ends the matter, and the next one starts a wait again
    pace.note(False, 10.0)
    pace.note(True, 10.0)
    assert pace.seconds_left == 10.0
