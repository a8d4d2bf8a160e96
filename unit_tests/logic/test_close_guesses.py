"""How wide Close's windows are, and when their width is guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from source_meetings.providers.close.density import Density, whole_seconds
from source_meetings.providers.close.guesses import Experience, Guesses
from source_meetings.providers.close.list_pages import MeetingList
from source_meetings.providers.close.windows import Window, WindowReader
from unit_tests.logic.fakes import FakeClose, at

TEN_AN_HOUR = Density(rows=10, seconds=3600)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


# -- how wide a window is -------------------------------------------------------------------------


def test_without_any_meetings_nearby_a_window_takes_all_that_remains() -> None:
    assert Density().width(hours(5)) == hours(5)


def test_a_window_is_as_wide_as_eighty_meetings_in_equal_parts_of_what_remains() -> None:
    assert Density().after(10, hours(1)) == TEN_AN_HOUR
    # Given ten meetings an hour, eight hours are enough, or a part of what remains
    density = TEN_AN_HOUR
    assert density.width(hours(8)) == hours(8)
    assert density.width(hours(16)) == hours(8)
    assert density.width(hours(17)) == timedelta(seconds=17 * 1200)
    assert density.width(hours(3)) == hours(3)
    assert density.width(timedelta(seconds=57_601)) == timedelta(seconds=19_201)


def test_recent_windows_count_for_more() -> None:
    assert TEN_AN_HOUR.after(0, hours(1)) == Density(rows=8, seconds=0.8 * 3600 + 3600)


def test_a_dense_window_has_at_least_a_second_and_is_not_rounded_up() -> None:
    assert Density(rows=80, seconds=5.9).width(hours(1)) == timedelta(seconds=5)
    assert Density(rows=800, seconds=5.9).width(hours(1)) == timedelta(seconds=1)
    few = timedelta(seconds=3)
    assert Density(rows=80, seconds=5.9).width(few) == few
    assert Density(rows=80, seconds=10).width(timedelta(seconds=25)) == timedelta(seconds=9)


def test_a_window_that_is_too_full_makes_the_next_ones_smaller() -> None:
    density = TEN_AN_HOUR.after_too_full()
    assert density == Density(rows=10, seconds=3600, share=0.9)
    assert density.width(hours(14.4)) == hours(7.2)
    # And each that fits a little larger again, up to eighty meetings
    assert density.after(10, hours(1)).share == 0.9 + 1 / 80
    assert Density(share=0.999).after(10, hours(1)).share == 1
    # They are never smaller than for twenty
    for _ in range(50):
        density = density.after_too_full()
    assert density.share == 0.25


def test_the_nearer_half_of_a_page_tells_the_density_without_its_nearest_moment() -> None:
    # Given meetings of which one is at the nearest moment, two and one an hour beyond it
    moments = [at(hours=-hour) for hour in (0, 1, 1, 3, 9, 9, 9)]
    density = Density(share=0.5).beside(moments)
    assert density == Density(rows=3, seconds=3 * 3600, share=0.5)
    # And the same of a page that begins at the other end
    assert Density().beside([at(hours=hour) for hour in (0, 1, 1, 3, 9, 9, 9)]).rows == 3


def test_meetings_on_the_half_hour_are_as_dense_as_they_are_on_average() -> None:
    # Given twelve meetings on each half hour, of which a page shows seven and five of the last one
    moments = [at(hours=-number / 2) for number in range(8) for _ in range(12)][7:]
    density = Density().beside(moments)
    assert density.rows / density.seconds == 12 / 1800


def test_all_meetings_tell_if_the_nearer_half_is_at_one_moment() -> None:
    moments = [at()] * 5 + [at(seconds=-30), at(minutes=-1)]
    assert Density().beside(moments) == Density(rows=2, seconds=60)


def test_meetings_at_one_moment_do_not_tell_how_dense_others_are() -> None:
    assert TEN_AN_HOUR.beside([at(), at()]) == TEN_AN_HOUR


def test_meetings_within_a_second_are_counted_as_if_they_took_a_second() -> None:
    moments = [at(), at(microseconds=5), at(microseconds=9)]
    assert Density().beside(moments) == Density(rows=1, seconds=1)


def test_less_than_a_quarter_of_the_expected_meetings_are_few() -> None:
    assert TEN_AN_HOUR.are_few(19)
    assert not TEN_AN_HOUR.are_few(20)
    assert not Density(share=0.5).are_few(10)
    assert Density(share=0.5).are_few(9)


def test_lengths_are_rounded_up_to_seconds_and_are_never_nothing() -> None:
    assert whole_seconds(timedelta(seconds=2)) == timedelta(seconds=2)
    assert whole_seconds(timedelta(seconds=2, microseconds=1)) == timedelta(seconds=3)
    assert whole_seconds(timedelta()) == timedelta(seconds=1)


# -- when the width is guessed --------------------------------------------------------------------


def guesses(saved: float = 4.0) -> tuple[Guesses, Experience]:
    experience = Experience(saved, density=TEN_AN_HOUR)
    return Guesses(experience), experience


def test_widths_are_guessed_as_long_as_something_is_left_of_what_guesses_have_saved() -> None:
    assert guesses(saved=1)[0].width(hours(16)) == hours(8)
    assert guesses(saved=0.99)[0].width(hours(16)) == hours(16)


def test_a_guess_earns_a_request_for_48_meetings_and_costs_the_one_it_took() -> None:
    stretch, experience = guesses(saved=2)
    stretch.has_read(72, hours(8), requests=1, guessed=True)
    assert experience.saved == 2.5
    stretch.has_read(24, hours(8), requests=1, guessed=True)
    assert experience.saved == 2
    # And no more than four requests are kept
    stretch.has_read(480, hours(8), requests=1, guessed=True)
    assert experience.saved == 4


def test_where_two_requests_read_fewer_meetings_a_guess_earns_more() -> None:
    # Given meetings at so few times that two requests read 60 of them
    stretch, experience = guesses(saved=1)
    for _ in range(30):
        stretch.has_read(60, hours(6), requests=2, guessed=False)
    # Then a guess with 45 has saved half a request
    before = experience.saved
    stretch.has_read(45, hours(6), requests=1, guessed=True)
    assert experience.saved - before == pytest.approx(0.5, abs=0.01)


def test_windows_that_turn_out_to_be_empty_do_not_make_a_guess_worth_anything() -> None:
    stretch, experience = guesses(saved=0)
    for _ in range(5_000):
        stretch.has_read(0, hours(6), requests=2, guessed=False)
    stretch.has_read(0, hours(6), requests=1, guessed=True)
    assert experience.saved == 3
    # And two requests are never expected to read more than a page has
    for _ in range(50):
        stretch.has_read(400, hours(6), requests=5, guessed=False)
    assert experience.rows_of_two == 96


@pytest.mark.parametrize("guessed", [True, False])
def test_guesses_come_back_after_enough_pages_that_took_two_requests(guessed: bool) -> None:
    # Given guesses that have wasted what they had saved
    stretch, experience = guesses(saved=0.5)
    # When pages are read with two requests each, as without any guess
    for page in range(17):
        assert stretch.width(hours(16)) == hours(16), page
        stretch.has_read(90, hours(9), requests=2, guessed=guessed)
    # Then there is a guess again
    assert experience.saved == pytest.approx(0.5 + 17 * 0.03)
    assert stretch.width(hours(16)) < hours(16)


def test_a_guess_that_was_too_wide_costs_nothing_and_makes_the_next_one_smaller() -> None:
    stretch, experience = guesses(saved=3)
    stretch.has_read(90, hours(9), requests=2, guessed=True)
    assert experience.saved == 3.03
    assert stretch.width(hours(14.4)) == hours(7.2)


def test_what_follows_a_gap_is_not_guessed() -> None:
    # Given a guess with few meetings
    stretch, _ = guesses()
    stretch.has_read(3, hours(8), requests=1, guessed=True)
    # Then all that remains is requested, to get beyond the gap
    assert stretch.width(hours(16)) == hours(16)
    # And after that the density is again what it was before the gap
    stretch.has_read(90, hours(90), requests=2, guessed=False)
    assert stretch.width(hours(16)) == hours(8)


def test_a_stretch_begins_with_the_density_of_the_one_that_was_read_last() -> None:
    first, experience = guesses()
    other = Guesses(experience)
    first.saw_full_page([at(), at(hours=-1), at(hours=-2)])
    first.has_read(90, hours(9), requests=2, guessed=False)
    # Then one that has already begun keeps its own
    assert Guesses(experience).width(hours(160)) == hours(80)
    assert other.width(hours(160)) == hours(8)


# -- how many requests that takes -----------------------------------------------------------------


def on_half_hours(rows: int) -> list[datetime]:
    """18 meetings on each half hour."""
    return [at(minutes=-30 * (number // 18)) for number in range(rows)]


def in_office_hours(rows: int) -> list[datetime]:
    """62 meetings on each half hour of eight hours a day."""
    slots = [
        at(days=-day, minutes=-30 * slot)
        for day in range(rows // 62 // 16 + 1)
        for slot in range(16)
    ]
    return [slots[number // 62] for number in range(rows)]


def denser_and_denser(rows: int) -> list[datetime]:
    """A hundred times as many in the last days as in the first ones."""
    found, gap = [at()], timedelta(minutes=1)
    for _ in range(rows - 1):
        found.append(found[-1] - gap)
        gap *= 1 + 4.6 / rows
    return found


def in_bursts(rows: int) -> list[datetime]:
    """150 meetings in ten seconds, once a day."""
    return [at(days=-(number // 150), seconds=-(number % 150) // 15) for number in range(rows)]


@pytest.mark.parametrize(
    ("spread", "most"),
    [(on_half_hours, 1.5), (in_office_hours, 2.3), (denser_and_denser, 1.9), (in_bursts, 2.5)],
)
def test_many_meetings_take_few_requests(
    spread: Callable[[int], list[datetime]], most: float
) -> None:
    # Given four thousand meetings, the latest one first
    api = FakeClose(page_size=100)
    for moment in spread(4_000):
        api.insert(moment)
    api.shuffle = lambda id: int(id[1:])
    # When they are read
    reader = WindowReader(MeetingList(api))
    found = Counter(row["id"] for one in reader.read(STRETCH) for row in one.rows)
    # Then each is read once, with so many requests per hundred meetings
    assert found == Counter(list(api.meetings))
    assert len(api.asked) <= most * 4_000 / 100


STRETCH = Window(at(days=-2000), at(days=1), at())
