"""An account of each provider in the sandbox: what it holds, how it is configured, what is true."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import Sandbox
from source_meetings import timestamps

Json = dict[str, Any]
Rows = Mapping[str, Json]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Account:
    """`fill` puts rows into the sandbox; `change` edits, cancels, deletes and adds some.

    `settings`: what the sample configuration lacks to work here. `truth`: by stream and primary
    key (parts joined by `|`), the rows that a table should hold now.
    """

    provider: str
    fill: Callable[[Sandbox], object]
    change: Callable[[Sandbox], object]
    settings: Callable[[Sandbox], Json]
    truth: Callable[[Sandbox], dict[str, Rows]]

    def config(self, box: Sandbox) -> Json:
        """The provider's sample configuration, pointed at the sandbox, with a key good for it."""
        config = self.sample("sample_config.json")
        config["provider"].update(self.settings(box))
        return config

    def invalid_config(self, box: Sandbox) -> Json:
        """The same with the sample's key that is good for nothing."""
        config = self.sample("invalid_config.json")
        config["provider"] = {**self.settings(box), **_credentials(config["provider"])}
        config["provider"]["name"] = self.provider
        return config

    def oauth_config(self, box: Sandbox) -> Json:
        """The same, signed in with a refresh token that the sandbox has just issued."""
        side = getattr(box, self.provider)
        config = self.config(box)
        config["provider"]["token_url"] = side.token_url
        config["provider"]["credentials"] = {
            "auth_type": "oauth2.0",
            "client_id": side.oauth.client_id,
            "client_secret": side.oauth.client_secret,
            "refresh_token": side.oauth.refresh_token,
        }
        return config

    def sample(self, name: str) -> Any:
        """The content of one of the provider's files beside this module."""
        return json.loads((FOLDER / self.provider / name).read_text())


def _credentials(provider: Json) -> Json:
    return {name: provider[name] for name in ("credentials", "api_key") if name in provider}


def _key(side: Any) -> Json:
    return {
        "base_url": side.base_url,
        "credentials": {"auth_type": "api_key", "api_key": side.state()["api_keys"][0]},
    }


def _by_id(rows: Any) -> Rows:
    return {str(row["id"]): row for row in rows}


# -- Close ----------------------------------------------------------------------------------------

_CALENDAR_EVENT = "d639fa1c7ea344c797df1d0f51603113"


def _fill_close(box: Sandbox) -> None:
    box.close.generate(count=150)
    for days in (1, 8):
        box.close.insert(
            provider_calendar_event_id=_CALENDAR_EVENT, starts_at=f"2026-06-{days:02}T09:00:00Z"
        )


def _change_close(box: Sandbox) -> None:
    ids = list(box.close.meetings)
    box.close.edit(ids[3], title="Renamed")
    box.close.cancel(ids[-3])
    box.close.delete(ids[70])
    box.close.insert(title="Newly booked")
    box.close.add_outcome("Next step agreed")


def _truth_of_close(box: Sandbox) -> dict[str, Rows]:
    meetings = box.close.truth()
    now = box.clock.now()
    transcripts = {
        id: {"id": id, "title": meetings[id]["title"], "transcripts": found}
        for id, found in box.close.transcripts().items()
        if meetings[id]["status"] == "completed" or timestamps.parse(meetings[id]["ends_at"]) <= now
    }
    looked_up = [
        {name: value for name, value in row.items() if name != "is_deleted"}
        for row in meetings.values()
        if row.get("provider_calendar_event_id") == _CALENDAR_EVENT
    ]
    return {
        "close_meetings": meetings,
        "close_meeting_transcripts": transcripts,
        "close_meetings_by_calendar_event": _by_id(looked_up),
        "close_outcomes": _by_id(box.close.outcomes),
    }


# -- Salesloft ------------------------------------------------------------------------------------


def _change_salesloft(box: Sandbox) -> None:
    ids = list(box.salesloft.meetings)
    box.salesloft.edit(ids[0], title="Renamed")
    box.salesloft.cancel(ids[-1])
    box.salesloft.insert(title="Newly booked")


# -- HighLevel ------------------------------------------------------------------------------------


def _fill_highlevel(box: Sandbox) -> None:
    box.highlevel.interval_ms = 50  # a spent budget is waited for, and tests are many
    box.highlevel.generate(count=20, calendars=3)


def _change_highlevel(box: Sandbox) -> None:
    ids = list(box.highlevel.events)
    box.highlevel.edit(ids[0], title="Renamed")
    box.highlevel.reschedule(ids[1], "2026-07-01T09:00:00Z")
    box.highlevel.cancel(ids[2])
    box.highlevel.insert(title="Newly booked")
    box.highlevel.add_calendar()


def _settings_of_highlevel(box: Sandbox) -> Json:
    return {
        "base_url": box.highlevel.base_url,
        "location_id": box.highlevel.location_id,
        "credentials": {
            "auth_type": "private_integration_token",
            "access_token": next(iter(box.highlevel.tokens)),
        },
    }


def _truth_of_highlevel(box: Sandbox) -> dict[str, Rows]:
    return {
        "highlevel_calendars": box.highlevel.calendars,
        "highlevel_calendar_groups": box.highlevel.groups,
        "highlevel_calendar_events": box.highlevel.truth(),
        "highlevel_appointments": box.highlevel.truth(),
    }


# -- ExpoPlatform ---------------------------------------------------------------------------------


def _change_expoplatform(box: Sandbox) -> None:
    (_, first, account), (_, last, _) = (list(box.expoplatform.rows)[place] for place in (0, -1))
    box.expoplatform.cancel(101, first, account)
    box.expoplatform.reschedule(101, last)
    box.expoplatform.insert(101)


def _settings_of_expoplatform(box: Sandbox) -> Json:
    side = box.expoplatform
    return {"base_url": side.base_url, "api_key": side.state()["api_keys"][0], "event_ids": [101]}


ACCOUNTS = {
    account.provider: account
    for account in (
        Account(
            "close",
            _fill_close,
            _change_close,
            lambda box: {**_key(box.close), "calendar_events": [_CALENDAR_EVENT]},
            _truth_of_close,
        ),
        Account(
            "expoplatform",
            lambda box: box.expoplatform.generate(meetings=60),
            _change_expoplatform,
            _settings_of_expoplatform,
            lambda box: {"expoplatform_meeting_participants": box.expoplatform.truth()},
        ),
        Account(
            "highlevel",
            _fill_highlevel,
            _change_highlevel,
            _settings_of_highlevel,
            _truth_of_highlevel,
        ),
        Account(
            "salesloft",
            lambda box: box.salesloft.generate(count=150),
            _change_salesloft,
            lambda box: _key(box.salesloft),
            lambda box: {"salesloft_meetings": box.salesloft.truth()},
        ),
    )
}
