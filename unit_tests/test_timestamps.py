"""Times in a usual form are parsed fast, and all times are parsed as pendulum parses them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pendulum
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from source_meetings import timestamps

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31))
OFFSETS = st.sampled_from(["", "Z", "+00:00", "-00:00", "+05:30", "-11:00", "+14:00", "-0700"])
SECONDS = st.sampled_from(["seconds", "milliseconds", "microseconds"])
ALMOST_USUAL = st.from_regex(
    r"\d{4}-[01]\d-[0-3]\d[T ][0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,7})?(Z|[+-][0-2]\d:[0-6]\d)?",
    fullmatch=True,
)


def as_pendulum_reads(text: str) -> datetime | None:
    try:
        parsed = pendulum.parse(text, tz="UTC", exact=True)
        assert isinstance(parsed, datetime)
        there = parsed.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    whole_seconds = datetime(*there.timetuple()[:6], tzinfo=timezone.utc)
    return whole_seconds.replace(microsecond=there.microsecond)


@given(MOMENTS, OFFSETS, SECONDS)
def test_a_time_in_a_usual_form_is_parsed_as_by_pendulum(moment, offset, seconds):
    # Given a time as one of the providers writes it
    text = moment.isoformat(timespec=seconds) + offset
    # When it is parsed, then the result is what pendulum returns, in UTC
    read = timestamps.parse(text)
    assert read == as_pendulum_reads(text)
    assert read.tzinfo is timezone.utc


@given(ALMOST_USUAL)
@example("2026-02-30T10:00:00Z")
@example("2026-01-01T24:00:00Z")
@example("2026-01-01T10:00:60Z")
@example("0001-01-01T00:00:00+14:00")
@example("2026-01-01T10:00:00+24:00")
@example("2026-01-01T10:00:00.1234567Z")
def test_a_text_that_looks_like_a_time_is_valid_if_it_is_for_pendulum(text):
    assert timestamps.parse_or_none(text) == as_pendulum_reads(text)


@pytest.mark.parametrize("text", ["٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n", "", "now"])
def test_a_text_that_only_resembles_a_time_is_refused(text):
    assert timestamps.parse_or_none(text) is None


@pytest.mark.parametrize(
    ("text", "is_before"),
    [
        ("2026-05-31T23:59:59.999999Z", True),
        ("2026-06-01T00:00:00Z", False),
        ("2026-06-01T01:00:00+02:00", True),
        ("soon", False),
        (None, False),
    ],
)
def test_only_a_valid_time_can_be_before_a_bound(text, is_before):
    bound = datetime(2026, 6, 1, tzinfo=timezone.utc)
    assert timestamps.is_before(text, bound) is is_before
    assert timestamps.is_before(text, None) is False


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "soon", None])
def test_a_time_before_1970_means_that_there_is_none(text):
    assert timestamps.since_1970(text) is None
    assert timestamps.since_1970("1970-01-01T00:00:00Z") == timestamps.EPOCH


@given(MOMENTS, st.integers(-14, 14))
def test_a_time_is_written_in_utc_with_microseconds_and_read_back_unchanged(moment, hours):
    # Given a time in any zone
    zoned = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    # When it is written
    text = timestamps.iso(zoned)
    # Then the text has 27 characters and means the same time
    assert len(text) == 27 and text.endswith("Z")
    assert timestamps.parse(text) == zoned
