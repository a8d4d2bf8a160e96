"""What HighLevel's streams need beyond the manifest and the strategies."""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.types import StreamSlice

from source_meetings import timestamps
from source_meetings.cdk.requester import ApiRequester
from source_meetings.errors import config_error
from source_meetings.providers.highlevel.calendars import calendar_ids


@dataclass
class EventsCheck:
    """For ``check``: lists the calendars, then requests one minute of events from one of them.

    The token has separate scopes for the two, so one request cannot replace the other.
    """

    calendars: ApiRequester
    events: ApiRequester
    config: Mapping[str, Any]

    def run(self) -> None:
        """Raises AirbyteTracedException if HighLevel refuses, or lacks a configured calendar."""
        provider = self.config["provider"]
        location = {"locationId": provider["location_id"]}
        listed = self.calendars.ask({**location, "showDrafted": "true"})
        known = calendar_ids(listed)
        unknown = [id for id in provider.get("calendar_ids") or [] if id not in known]
        if unknown:
            raise config_error(
                f"HighLevel: the location has no calendar {', '.join(unknown)}. Correct "
                "provider.calendar_ids, or leave it empty to read every calendar."
            )
        if known:
            now = timestamps.millis(listed.clock)
            window = {"startTime": str(now), "endTime": str(now + 60_000)}
            calendar = (provider.get("calendar_ids") or known)[0]
            self.events.ask({**location, "calendarId": calendar, **window})


@dataclass
class EventFields(RecordTransformation):
    """Fills ``appointmentStatus`` from its misspelled twin, and makes ``isRecurring`` a boolean.

    ``appoinmentStatus`` and a legacy ``status`` were observed instead of ``appointmentStatus``. The
    specification's example of ``isRecurring`` is the text "true".
    """

    def transform(
        self,
        record: MutableMapping[str, Any],
        config: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> None:
        if not record.get("appointmentStatus"):
            status = record.get("appoinmentStatus") or record.get("status")
            if status:
                record["appointmentStatus"] = status
        recurring = record.get("isRecurring")
        if isinstance(recurring, str) and recurring.lower() in ("true", "false"):
            record["isRecurring"] = recurring.lower() == "true"
