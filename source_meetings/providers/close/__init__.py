"""Close: the meetings of an organization, https://developer.close.com/api/resources/activities/meetings"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from source_meetings.providers.close.calendar_events import parse_entry


def validate_options(options: Mapping[str, Any]) -> None:
    """Refuse ``calendar_events`` entries that do not name an event, before any request.

    Raises AirbyteTracedException (config_error) that quotes the entry.
    """
    for number, entry in enumerate(options.get("calendar_events") or [], 1):
        parse_entry(entry, number)
