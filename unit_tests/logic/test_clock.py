"""Which timestamps can be trusted, by the provider's own clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_meetings.sync.clock import ahead_in_words, clamped, is_ahead, reached
from unit_tests.logic.fakes import NOW, at

MICROSECOND = timedelta(microseconds=1)


def test_a_time_within_the_current_second_of_the_clock_is_not_in_the_future() -> None:
    # Given a Date header, which has no fraction of a second
    moments = [at(days=-9), NOW, at(seconds=1) - MICROSECOND, at(seconds=1), at(days=9)]
    # Then any fraction of that second counts as past, and the next second as future
    assert reached(moments, NOW) == moments[:3]


def test_rows_without_a_time_are_left_out() -> None:
    assert reached([None, NOW, None], NOW) == [NOW]


def test_a_moment_before_1970_means_none() -> None:
    # Given what some programs write for "never", which has no look-back before it
    never = datetime(1, 1, 1, tzinfo=timezone.utc)
    begin = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert reached([never, begin - MICROSECOND, begin], NOW) == [begin]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (at(days=-9), at(days=-9)),
        (NOW, NOW),
        (at(seconds=1), at(seconds=1)),
        (at(seconds=1) + MICROSECOND, at(seconds=1)),
        (at(days=9), at(seconds=1)),
    ],
)
def test_a_time_in_the_future_becomes_the_end_of_the_clocks_second(
    moment: datetime, expected: datetime
) -> None:
    assert clamped(moment, NOW) == expected


@given(st.floats(-1e6, 1e6).map(lambda seconds: at(seconds=seconds)))
def test_a_time_in_the_past_is_never_changed(moment: datetime) -> None:
    if reached([moment], NOW):
        assert clamped(moment, NOW) == moment


@pytest.mark.parametrize(
    ("moment", "ahead"),
    [
        (NOW, False),
        (at(hours=23), False),
        (at(days=1), False),
        (at(days=1) + MICROSECOND, True),
        (at(days=-30), False),
    ],
)
def test_a_state_is_ahead_when_it_is_more_than_a_day_in_the_future(
    moment: datetime, ahead: bool
) -> None:
    assert is_ahead(moment, NOW) is ahead


def test_the_message_about_a_state_that_is_ahead_has_the_clock_and_what_is_read() -> None:
    # Then everything is read again, or only the part that the state belongs to
    assert ahead_in_words("Acme", NOW) == (
        "the saved state is ahead of Acme's clock (2026-06-01T12:00:00.000000Z); reading "
        "everything again."
    )
    assert ahead_in_words("Acme", NOW, "event 7") == (
        "the saved state of event 7 is ahead of Acme's clock (2026-06-01T12:00:00.000000Z); "
        "reading event 7 again."
    )
