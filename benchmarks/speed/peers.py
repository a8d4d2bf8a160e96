"""The peers: the versions that are compared, and the configuration of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.speed.environments import Environment
from benchmarks.speed.programs import (
    EVER,
    AirbytePeer,
    Connection,
    Peer,
    RestApi,
    SingerTap,
)

Account = Mapping[str, Any]
_HEADER = {"type": "api_key", "name": "Authorization", "location": "header"}


def peers() -> list[Peer]:
    """All peers. Each one knows some of the providers."""
    return [
        AirbytePeer(
            Environment(
                "airbyte-source-close-com", ("airbyte-source-close-com==0.5.30",), python310=True
            ),
            "close",
            Connection(
                "source_close_com",
                "SourceCloseCom",
                "https://api.close.com/api/v1",
                "meeting_activities",
                lambda account: {"api_key": _key(account), "start_date": EVER},
                ("spec", "check"),
                "Its paths lack the final slash, so each page takes a redirect and a request. "
                "`discover` asks for custom fields, which the sandbox does not have.",
            ),
        ),
        AirbytePeer(
            Environment(
                "airbyte-source-salesloft", ("airbyte-source-salesloft==1.2.24",), python310=True
            ),
            "salesloft",
            Connection(
                "source_salesloft",
                "SourceSalesloft",
                "https://api.salesloft.com/v2",
                "meetings",
                lambda account: {
                    "credentials": {"auth_type": "api_key", "api_key": _key(account)},
                    "start_date": f"{EVER}T00:00:00Z",
                },
                ("spec", "discover"),
                "`check` asks for users, which the sandbox does not have. Each sync reads all "
                "meetings again.",
                resumes=False,
            ),
        ),
        SingerTap(Environment("tap-closeio", ("tap-closeio==1.6.6",)), ("close",)),
        RestApi(
            Environment("dlt", ("dlt==1.31.0", "orjson")),
            {
                "close": _close,
                "salesloft": _salesloft,
                "highlevel": _highlevel,
                "expoplatform": _expoplatform,
            },
        ),
    ]


def _key(account: Account) -> str:
    return str(account["config"]["provider"]["credentials"]["api_key"])


def _close(account: Account) -> dict[str, Any]:
    return {
        "client": {
            "base_url": account["base_url"],
            "auth": {"type": "http_basic", "username": _key(account), "password": ""},
            "paginator": {
                "type": "offset",
                "limit": 100,
                "offset_param": "_skip",
                "limit_param": "_limit",
                "total_path": None,
                "has_more_path": "has_more",
            },
        },
        "resources": [_meetings("activity/meeting/", "data")],
    }


def _salesloft(account: Account) -> dict[str, Any]:
    next_page = "metadata.paging.next_page"
    return {
        "client": {
            "base_url": account["base_url"],
            "auth": {"type": "bearer", "token": _key(account)},
            "paginator": {"type": "cursor", "cursor_path": next_page, "cursor_param": "page"},
        },
        "resources": [_meetings("meetings", "data", per_page=100)],
    }


def _highlevel(account: Account) -> dict[str, Any]:
    """One request per calendar, for all events until 2100."""
    provider = account["config"]["provider"]
    location = {"locationId": provider["location_id"]}
    asked = {
        **location,
        "calendarId": "{resources.calendars.id}",
        "startTime": 0,
        "endTime": 4_102_444_800_000,
    }
    return {
        "client": {
            "base_url": account["base_url"],
            "headers": {"Version": "2021-04-15"},
            "auth": {"type": "bearer", "token": provider["credentials"]["access_token"]},
            "paginator": "single_page",
        },
        "resources": [
            {
                "name": "calendars",
                "selected": False,
                "endpoint": {
                    "path": "calendars/",
                    "params": location,
                    "data_selector": "calendars",
                },
            },
            _meetings("calendars/events", "events", **asked),
        ],
    }


def _expoplatform(account: Account) -> dict[str, Any]:
    provider = account["config"]["provider"]
    path = "api/v2/meetings/export"
    return {
        "client": {
            "base_url": account["base_url"],
            "auth": {**_HEADER, "api_key": f"Basic {provider['api_key']}"},
            "paginator": {
                "type": "page_number",
                "base_page": 1,
                "page_param": "page",
                "total_path": None,
            },
        },
        "resources": [
            {**_meetings(path, "data", event_id=event, per_page=500), "name": f"meetings_{event}"}
            for event in provider["event_ids"]
        ],
    }


def _meetings(path: str, rows: str, **params: Any) -> dict[str, Any]:
    endpoint = {"path": path, "params": params, "data_selector": rows}
    return {"name": "meetings", "endpoint": endpoint}
