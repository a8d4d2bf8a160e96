"""The sandbox's HighLevel has every trap that the documentation and bug reports describe."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests

from sandbox import Sandbox
from sandbox.highlevel import VERSIONS

LIST = "/calendars/events"
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)


def get(
    box: Sandbox,
    path: str = LIST,
    token: str = "pit-sandbox",
    version: str = VERSIONS[0],
    **params: Any,
) -> requests.Response:
    side = box.highlevel
    query = {"locationId": side.location_id, **params}
    headers = {"authorization": f"Bearer {token}", "version": version}
    return requests.get(f"{side.base_url}{path}", query, headers=headers, timeout=10)


def millis(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def listed(box: Sandbox, calendar: str, days: int = 1200, **params: Any) -> Any:
    bounds = {
        "startTime": millis(NOW - timedelta(days=days)),
        "endTime": millis(NOW + timedelta(days=365)),
    }
    return get(box, **{"calendarId": calendar, **bounds, **params}).json()


def test_the_calendars_together_list_every_event_in_the_providers_own_form(box):
    side = box.highlevel
    side.generate(count=200, calendars=6)
    # When each calendar is read
    rows = [row for calendar in side.calendars for row in listed(box, calendar)["events"]]
    # Then every event is there, some with a misspelt key, a boolean as text or a key left out
    truth = side.truth()
    assert {row["id"] for row in rows} == set(truth)
    assert any("appoinmentStatus" in row and "appointmentStatus" not in row for row in rows)
    assert any(row["isRecurring"] == "true" for row in rows)
    assert any("users" not in row for row in rows)
    assert any(row["id"].count("_") == 2 and row["masterEventId"] for row in rows)
    assert all(row["appointmentStatus"] for row in truth.values())
    # And another sandbox generates the same events from the same seed
    with Sandbox(clock="2026-06-01T00:00:00Z") as other:
        other.highlevel.generate(count=200, calendars=6)
        assert other.highlevel.truth() == truth


def test_a_list_may_run_past_its_end_but_not_start_early(box):
    side = box.highlevel
    # Given events at 00:00, 06:00, 12:00, and 16:00 on the next day
    calendar = side.add_calendar()
    for hour in (0, 6, 12, 40):
        side.insert(startTime=f"2026-05-{1 + hour // 24:02d}T{hour % 24:02d}:00:00Z")
    # When those from 01:00 to 07:00 are asked for
    bounds = {"startTime": "1777597200000", "endTime": "1777618800000"}  # 01:00 to 07:00
    starts = [
        row["startTime"][8:13] for row in get(box, calendarId=calendar, **bounds).json()["events"]
    ]
    # Then an event after the end comes too, and none from before the start
    assert starts == ["01T06", "01T12"]
    # And the bounds can be exact
    side.loose_hours = 0
    assert len(get(box, calendarId=calendar, **bounds).json()["events"]) == 1


def test_a_request_that_is_not_understood_gets_an_answer_without_events(box):
    side = box.highlevel
    side.generate(count=10, calendars=1)
    calendar = next(iter(side.calendars))
    # Then the documented versions and times in milliseconds get events
    assert set(listed(box, calendar)) == {"events", "traceId"}
    assert len(listed(box, calendar, version="v3")["events"]) == 10
    # And any other version or form of a time gets an answer without the key, and no error
    assert set(listed(box, calendar, version="2021-07-28")) == {"traceId"}
    assert set(listed(box, calendar, startTime="2020-01-01T00:00:00Z")) == {"traceId"}
    # And it can be an empty list instead
    side.events_when_empty = True
    assert listed(box, calendar, startTime="2020-01-01T00:00:00Z")["events"] == []


def test_a_cap_silently_truncates_an_answer(box):
    side = box.highlevel
    side.generate(count=130, calendars=1)
    side.cap = 100
    assert len(listed(box, next(iter(side.calendars)))["events"]) == 100


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"token": "no"}, 401, "Invalid token: access token is invalid"),
        ({"token": "pit-narrow"}, 401, "The token is not authorized for this scope."),
        ({"locationId": "other"}, 403, "The token does not have access to this location."),
        ({}, 422, ["Either of calendarId, userId or groupId is required"]),
        ({"calendarId": "c", "startTime": ""}, 422, ["startTime should not be empty"]),
    ],
)
def test_refusals_have_the_observed_bodies(box, change, status, message):
    box.highlevel.keys["pit-narrow"] = {"calendars.readonly"}
    response = get(box, **{"startTime": "1", "endTime": "2", **change})
    assert (response.status_code, response.json()["message"]) == (status, message)


def test_an_unknown_path_has_an_empty_body(box):
    response = get(box, "/calendars/Events")
    assert (response.status_code, response.content) == (404, b"")


def test_writes_show_in_the_single_appointment(box):
    side = box.highlevel
    ids = [side.insert(title=str(n)) for n in range(4)]
    # When four appointments are edited, cancelled, rescheduled and deleted
    side.edit(ids[0], title="new")
    side.cancel(ids[1])
    side.reschedule(ids[2], "2026-07-01T10:00:00Z")
    side.delete(ids[3])
    # Then each shows it, and the deleted one is a 404
    path = "/calendars/events/appointments/"
    assert get(box, path + ids[0]).json()["appointment"]["title"] == "new"
    assert side.truth()[ids[1]]["appointmentStatus"] == "cancelled"
    assert get(box, path + ids[3]).status_code == 404
    side.envelope = "event"
    moved = get(box, path + ids[2]).json()["event"]
    assert datetime.fromisoformat(moved["startTime"].replace("Z", "+00:00")) == datetime(
        2026, 7, 1, 10, tzinfo=timezone.utc
    )
    # And a deleted one can still be shown, marked as deleted
    side.envelope = "bare"
    side.delete_shows = True
    side.delete(ids[2])
    assert get(box, path + ids[2]).json()["deleted"] is True


def test_the_budget_is_announced_and_a_429_has_no_retry_after(box):
    side = box.highlevel
    # Given a budget of two requests per ten seconds
    side.rate_limit, side.rate_clock = 2, "sandbox"
    # When it is spent
    left = [get(box, "/calendars/").headers["X-RateLimit-Remaining"] for _ in range(2)]
    assert left == ["1", "0"]
    # Then the next request is refused, and only the headers say how long the interval is
    refused = get(box, "/calendars/")
    assert refused.status_code == 429
    assert refused.json() == {"statusCode": 429, "message": "Too Many Requests"}
    assert refused.headers["X-RateLimit-Interval-Milliseconds"] == "10000"
    assert "Retry-After" not in refused.headers
    # And ten seconds later requests work again
    box.clock.advance(seconds=10)
    assert get(box, "/calendars/").status_code == 200
    # And the daily limit is announced too
    side.daily_limit = 3
    assert get(box, "/calendars/").headers["X-RateLimit-Daily-Remaining"] == "0"


def test_a_refresh_token_works_once_with_a_grace_period_of_thirty_seconds(box):
    oauth = box.highlevel.oauth
    form = {
        "grant_type": "refresh_token",
        "client_id": oauth.client_id,
        "client_secret": oauth.client_secret,
        "refresh_token": oauth.refresh_token,
    }
    # When it is used without a user_type, then it is refused and stays valid
    url = box.highlevel.token_url
    assert requests.post(url, data=form, timeout=10).status_code == 400  # no user_type
    # And when it is used twice within half a minute, then both answers have the same new token
    form["user_type"] = "Location"
    first = requests.post(url, data=form, timeout=10).json()
    assert first["expires_in"] == 86_399
    assert (
        requests.post(url, data=form, timeout=10).json()["refresh_token"] == first["refresh_token"]
    )
    # And after that the old refresh token is refused, while the access token works
    box.clock.advance(seconds=31)
    refused = requests.post(url, data=form, timeout=10)
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        "Invalid grant: refresh token is invalid",
    )
    assert get(box, "/calendars/groups", token=first["access_token"]).status_code == 200
