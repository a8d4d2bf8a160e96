"""Looks up meetings by the calendar event they were made from.

Close documents how the links of Google Calendar and Outlook hold the ids, and that the search takes
``provider_calendar_event_id`` and, optionally, ``provider_calendar_id``:
https://developer.close.com/resources/activities/meetings/meeting-search
"""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from airbyte_cdk.sources.declarative.partition_routers.partition_router import PartitionRouter
from airbyte_cdk.sources.types import StreamSlice, StreamState

from source_meetings.errors import config_error

Params = dict[str, str]

_ID = re.compile(r"[\w.@:+/=%~-]+", re.ASCII)
_WITHOUT_SCHEME = re.compile(r"(www|calendar|outlook)\.[\w.-]+\.[a-z]+/\S+", re.IGNORECASE)


def parse_entry(entry: str, number: int = 1) -> Params:
    """Return the search parameters for an entry of ``calendar_events``.

    An entry is an event id, an event id and a calendar id separated by a space, or a link from
    Google Calendar or Outlook. ``number`` is its place in the list, from 1, for the message.

    Raises AirbyteTracedException (config_error) that quotes an entry in any other form.
    """
    found = _event(entry.strip())
    if found is None:
        raise config_error(
            f"Configuration: entry {number} of provider.calendar_events is not a calendar event: "
            f"{entry!r}. "
            "Enter an event id, an event id and a calendar id separated by a space, or the event's "
            "link as Google Calendar or Outlook shows it."
        )
    event, calendar = found
    params = {"provider_calendar_event_id": event}
    return {**params, "provider_calendar_id": calendar} if calendar else params


def _event(text: str) -> tuple[str, str | None] | None:
    """Return the event id and calendar id, or None if the text does not name an event."""
    if "://" in text or _WITHOUT_SCHEME.fullmatch(text):
        return _linked_event(text if "://" in text else f"https://{text}")
    parts = text.split()
    if not 1 <= len(parts) <= 2 or not all(_ID.fullmatch(part) for part in parts):
        return None
    if len(parts) == 2 and "@" not in parts[1] and len(parts[1]) < 20:
        return None  # two words; calendar ids are addresses (Google) or long (Microsoft)
    return parts[0], parts[1] if len(parts) == 2 else None


def _linked_event(link: str) -> tuple[str, str | None] | None:
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https"):
        return None
    # Not parse_qs: it would turn plus signs, which are part of these ids, into spaces.
    query = {
        name: unquote(value)
        for name, _, value in (field.partition("=") for field in parts.query.split("&"))
    }
    path = parts.path.rstrip("/").split("/")
    last = unquote(path[-1])
    if query.get("eid"):
        return _google_event(query["eid"])
    if query.get("itemid"):
        return _outlook_event(query["itemid"])
    if len(path) > 1 and path[-2] == "eventedit":
        return _google_event(last)
    if len(path) > 1 and path[-2] == "item":
        return _outlook_event(last)
    return None


def _google_event(encoded: str) -> tuple[str, str | None] | None:
    """Google strips the padding of base64. The decoded text is "event id, space, calendar id"."""
    text = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    event, separator, calendar = decoded.partition(" ")
    if not separator or not _ID.fullmatch(event) or not _ID.fullmatch(calendar):
        return None
    return event, calendar


def _outlook_event(item: str) -> tuple[str, str | None] | None:
    event = item.replace("/", "-").replace("+", "_")
    return (event, None) if _ID.fullmatch(event) else None


@dataclass
class CalendarEvents(PartitionRouter):
    """One slice per entry of ``provider.calendar_events``, sent as its search parameters."""

    config: Mapping[str, Any]
    parameters: InitVar[Mapping[str, Any] | None] = None

    def stream_slices(self) -> Iterable[StreamSlice]:
        seen: list[Params] = []
        for entry in self.config["provider"].get("calendar_events") or []:
            params = parse_entry(entry)
            if params not in seen:
                seen.append(params)
                yield StreamSlice(partition=params, cursor_slice={})

    def get_request_params(
        self,
        *,
        stream_state: StreamState | None = None,
        stream_slice: StreamSlice | None = None,
        next_page_token: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """Return the search parameters of the slice."""
        return dict(stream_slice.partition) if stream_slice else {}

    def get_request_headers(self, **_: Any) -> Mapping[str, Any]:
        return {}

    def get_request_body_data(self, **_: Any) -> Mapping[str, Any]:
        return {}

    def get_request_body_json(self, **_: Any) -> Mapping[str, Any]:
        return {}

    def get_stream_state(self) -> Mapping[str, StreamState] | None:
        return None
