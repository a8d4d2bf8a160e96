"""Entries of ``calendar_events``, as people copy them from their calendars.

The links are the examples of
https://developer.close.com/resources/activities/meetings/meeting-search
"""

from __future__ import annotations

import pytest
from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.providers.close.calendar_events import parse_entry

GOOGLE = "ZDYzOWZhMWM3ZWEzNDRjNzk3ZGYxZDBmNTE2MDMxMTMgZXhhbXBsZUBjbG9zZS5jb2"
GOOGLE_EVENT = "d639fa1c7ea344c797df1d0f51603113"
OUTLOOK = (
    "AAMkADdiYzg5OGRlLTY1MjktNDc2Ni05YmVkLWMxMzFlNTQ0MzU3YQBGAAAAAACi9RQWB%2FSNTZBuALM6KIOs"
    "BwBtf4g8yY%2BzTZgZh6x0X%2F50AAAAAAENAABtf4g8yY%2BzTZgZh6x0X%2F50AAL"
)
OUTLOOK_EVENT = (
    "AAMkADdiYzg5OGRlLTY1MjktNDc2Ni05YmVkLWMxMzFlNTQ0MzU3YQBGAAAAAACi9RQWB-SNTZBuALM6KIOs"
    "BwBtf4g8yY_zTZgZh6x0X-50AAAAAAENAABtf4g8yY_zTZgZh6x0X-50AAL"
)


@pytest.mark.parametrize(
    ("entry", "event", "calendar"),
    [
        # Google's link, with the shortened id of the documentation, and the edit link
        (f"https://www.google.com/calendar/event?eid={GOOGLE}", GOOGLE_EVENT, "example@close.co"),
        (
            f"https://calendar.google.com/calendar/u/1/r/eventedit/{GOOGLE}0",
            GOOGLE_EVENT,
            "example@close.com",
        ),
        (
            "https://www.google.com/calendar/event?eid="
            "NzlrNGRoMmk5bm9jZDEwOGtjMmY3Y2RzODggZXJpY0BjbG9zZS5pbw",
            "79k4dh2i9nocd108kc2f7cds88",
            "eric@close.io",
        ),
        # With a plus sign of base64, which links replace, and a slash at the end
        ("https://www.google.com/calendar/event?eid=fn5-IH5-fkBiLnRlc3Q", "~~~", "~~~@b.test"),
        (
            f"https://calendar.google.com/calendar/u/1/r/eventedit/{GOOGLE}0/",
            GOOGLE_EVENT,
            "example@close.com",
        ),
        # Outlook's web link and details link
        (
            f"https://outlook.office365.com/owa/?itemid={OUTLOOK}LI4%2FVAAA%3D&exvsurl=1"
            "&path=/calendar/item",
            f"{OUTLOOK_EVENT}LI4-VAAA=",
            None,
        ),
        (
            f"https://outlook.office.com/calendar/item/{OUTLOOK}mRd2BAAA%3D",
            f"{OUTLOOK_EVENT}mRd2BAAA=",
            None,
        ),
        # With surrounding spaces, with padding, and without the scheme
        (
            f"  https://www.google.com/calendar/event?eid={GOOGLE}0= \n",
            GOOGLE_EVENT,
            "example@close.com",
        ),
        (f"www.google.com/calendar/event?eid={GOOGLE}0", GOOGLE_EVENT, "example@close.com"),
        # Ids
        (GOOGLE_EVENT, GOOGLE_EVENT, None),
        (f"{GOOGLE_EVENT} example@close.com", GOOGLE_EVENT, "example@close.com"),
        ("abc_20230919T150000Z", "abc_20230919T150000Z", None),
        (f"{OUTLOOK_EVENT}LI4-VAAA=", f"{OUTLOOK_EVENT}LI4-VAAA=", None),
    ],
)
def test_an_entry_has_an_event_and_optionally_a_calendar(
    entry: str, event: str, calendar: str | None
) -> None:
    found = {"provider_calendar_event_id": event}
    if calendar:
        found["provider_calendar_id"] = calendar
    assert parse_entry(entry) == found


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "my meeting with Bruce",
        "hello world",
        "https://example.com/meeting",
        "https://www.google.com/calendar/event?eid=%%%",
        "https://www.google.com/calendar/event?eid=YWJj",  # decodes to one word
        "https://www.google.com/calendar/event?eid=YWIgYyBk",  # to three
        "https://www.google.com/calendar/event?eid=YSFiIGNk",  # to "a!b cd"
        "https://www.google.com/calendar/event?eid=YWIgYyFk",  # to "ab c!d"
        "https://www.google.com/calendar/event?eid=YW....IgY2Q",  # "ab cd", but for the dots
        "https://www.google.com?eid=",
        "https://calendar.google.com/calendar/u/0/r",
        "https://outlook.office.com/calendar/item/",
        "https://outlook.office.com/calendar/item/a%21b",
        "ftp://www.google.com/calendar/event?eid=" + GOOGLE,
    ],
)
def test_an_entry_without_an_event_is_a_config_error_that_quotes_it(entry: str) -> None:
    with pytest.raises(AirbyteTracedException) as raised:
        parse_entry(entry, 3)
    assert raised.value.failure_type == FailureType.config_error
    assert repr(entry) in str(raised.value.message)
    assert "entry 3 of provider.calendar_events" in str(raised.value.message)
