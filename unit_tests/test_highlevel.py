"""HighLevel, against the sandbox over HTTP: the requests that are sent, and the table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.account import without_nulls
from source_meetings.manifest import manifest_of
from source_meetings.providers.highlevel import appointments
from source_meetings.source import SourceMeetings
from unit_tests.harness import Json, Output, Table, read

EVENTS, APPOINTMENTS = "highlevel_calendar_events", "highlevel_appointments"
CALENDARS, GROUPS = "highlevel_calendars", "highlevel_calendar_groups"
LIST = "/highlevel/calendars/events"
ONE = "/highlevel/calendars/events/appointments/"
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
START = "2023-06-01T00:00:00Z"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        box.highlevel.interval_ms = 50  # otherwise the tests would wait for spent budgets
        yield box


def config(box: Sandbox, provider: Json | None = None, **common: Any) -> Json:
    side = box.highlevel
    settings = {
        "name": "highlevel",
        "credentials": {"auth_type": "private_integration_token", "access_token": "pit-sandbox"},
        "location_id": side.location_id,
        "base_url": side.base_url,
        "token_url": side.token_url,
    }
    return {"provider": settings | (provider or {}), **common}


def millis(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def asked(box: Sandbox, path: str = LIST) -> list[dict[str, str]]:
    return [dict(request.params) for request in box.requests if request.path == path]


def synced(
    box: Sandbox,
    table: Table,
    state: list[Json] | None = None,
    provider: Json | None = None,
    **common: Any,
) -> Output:
    """Run a sync of the table's stream, which must succeed, and load it into the table."""
    output = read(config(box, provider, **common), state, [table.stream])
    assert output.exit_code == 0, output.errors
    assert output.statuses == {table.stream: "COMPLETE"}
    table.load(output)
    return output


def first_sync(
    box: Sandbox, stream: str = EVENTS, provider: Json | None = None, **common: Any
) -> tuple[Table, list[Json]]:
    table = Table(stream)
    return table, synced(box, table, None, provider, **common).last_states()


def assert_equal_to_truth(
    box: Sandbox, table: Table, lingering: frozenset[str] | set[str] = frozenset()
) -> None:
    """`lingering`: ids of vanished events, whose deletion HighLevel does not reveal."""
    truth = {id: without_nulls(row) for id, row in box.highlevel.truth().items()}
    rows = {id: without_nulls(row) for id, row in table.rows.items() if id not in lingering}
    assert set(truth) - set(rows) == set(), "missing rows"
    assert set(rows) - set(truth) == set(), "extra rows"
    assert {id for id in truth if truth[id] != rows[id]} == set(), "stale rows"


def ids(output: Output) -> list[str]:
    return [row["id"] for row in output.records()]


def failure(output: Output) -> Json:
    assert output.exit_code != 0
    return output.errors[0]


def check(box: Sandbox, provider: Json | None = None) -> Any:
    settings = config(box, provider)
    return SourceMeetings(config=settings).check(logging.getLogger("airbyte"), settings)


# -- first sync -----------------------------------------------------------------------------------


def test_a_first_sync_reads_two_windows_per_calendar_newest_first(box):
    # Given two calendars with three years of events
    box.highlevel.generate(count=400, calendars=2)
    # When they are read for the first time
    table, _ = first_sync(box, start_date=START)
    # Then all calendars were listed, with drafts, and the two windows of each are adjacent
    location = {"locationId": box.highlevel.location_id}
    assert asked(box, "/highlevel/calendars/") == [{**location, "showDrafted": "true"}]
    end, start = NOW + timedelta(days=365), NOW - timedelta(days=30)
    for calendar in box.highlevel.calendars:
        windows = [params for params in asked(box) if params["calendarId"] == calendar]
        assert windows == [
            {
                **location,
                "calendarId": calendar,
                "startTime": millis(start),
                "endTime": millis(end),
            },
            {
                **location,
                "calendarId": calendar,
                "startTime": millis(datetime(2023, 6, 1, tzinfo=timezone.utc)),
                "endTime": millis(start),
            },
        ]
    assert {request.headers["version"] for request in box.requests} == {"2021-04-15"}
    assert len(table.rows) == len({row["id"] for row in table.rows.values()})


def test_without_a_start_date_even_events_older_than_highlevel_are_read(box):
    # Given an event that is older than HighLevel
    box.highlevel.generate(count=400, calendars=2)
    old = box.highlevel.insert(startTime="2012-03-01T10:00:00-04:00")
    # When
    table, _ = first_sync(box)
    # Then it is read, and the last windows start in the year 2000
    assert_equal_to_truth(box, table)
    assert old in table.rows
    assert {params["startTime"] for params in asked(box)} >= {"946684800000"}
    assert len(asked(box)) == 4


def test_twenty_calendars_cost_two_lists_each_at_first_and_one_each_later(box):
    # Given twenty calendars with three years of events
    box.highlevel.generate(count=1810, calendars=20)
    # When they are read for the first time, then each takes two lists, after that of the calendars
    table, state = first_sync(box)
    assert len(box.requests) == 41
    # And when nothing has changed, each takes one list
    box.forget_requests()
    output = synced(box, table, state)
    assert len(box.requests) == 21
    assert ids(output) == []
    assert_equal_to_truth(box, table)


def test_calendars_and_groups_are_read_in_one_request_each(box):
    # Given seven calendars
    side = box.highlevel
    side.generate(count=1, calendars=7)
    # When
    output = read(config(box), None, [CALENDARS, GROUPS], "full_refresh")
    # Then all are read, even inactive calendars
    assert output.exit_code == 0
    assert output.records(CALENDARS) == list(side.calendars.values())
    assert not all(row["isActive"] for row in output.records(CALENDARS))
    assert output.records(GROUPS) == list(side.groups.values())
    assert len(box.requests) == 2
    assert asked(box, "/highlevel/calendars/groups") == [{"locationId": side.location_id}]


def test_only_events_of_the_configured_calendars_are_requested(box):
    # Given four calendars, of which one is configured
    box.highlevel.generate(count=40, calendars=4)
    chosen = list(box.highlevel.calendars)[2]
    # When
    table, _ = first_sync(box, provider={"calendar_ids": [chosen]})
    # Then no request was about another calendar
    assert {params["calendarId"] for params in asked(box)} == {chosen}
    truth = box.highlevel.truth()
    assert set(table.rows) == {id for id in truth if truth[id]["calendarId"] == chosen}


@pytest.mark.parametrize(
    ("provider", "version"), [({}, "2021-04-15"), ({"api_version": "v3"}, "v3")]
)
def test_every_request_of_a_sync_and_of_check_has_the_version_header(box, provider, version):
    # Given the default version or a configured one
    side = box.highlevel
    side.generate(count=20, calendars=2)
    # When every stream is read and the connection is checked
    output = read(config(box, provider))
    status = check(box, provider).status.value
    # Then every request had that version, and every row was read
    assert (output.exit_code, status) == (0, "SUCCEEDED")
    endpoints = {
        request.path.replace(ONE, LIST + "/").rsplit("/", 1)[0] for request in box.requests
    }
    assert endpoints == {"/highlevel/calendars", LIST}
    assert {request.headers["version"] for request in box.requests} == {version}
    assert {row["id"] for row in output.records(EVENTS)} == set(side.truth())
    assert {row["id"] for row in output.records(APPOINTMENTS)} == set(side.truth())


@pytest.mark.parametrize(
    "version", ["3", "1_000", "2023-02-21", "1e5", "None", "['v3']", '"v3"', "'", "\\n<&>", "{{v}}"]
)
def test_the_version_is_sent_exactly_as_configured(box, version):
    box.highlevel.generate(count=3, calendars=1)
    assert check(box, {"api_version": version}).status.value == "SUCCEEDED"
    assert [request.headers["version"] for request in box.requests] == [version, version]


def test_the_form_hides_the_version_and_has_a_default_for_it():
    # Given the options of HighLevel in the form
    form = manifest_of("highlevel")["spec"]["connection_specification"]
    (option,) = (
        one["properties"]
        for one in form["properties"]["provider"]["oneOf"]
        if one["properties"]["name"]["const"] == "highlevel"
    )
    # Then the version is a hidden field with a default
    version = option["api_version"]
    assert (version["type"], version["default"]) == ("string", "2021-04-15")
    assert version["airbyte_hidden"] is True


def test_rows_past_the_end_of_a_window_are_emitted_once(box):
    # Given 21 events, one of them on the boundary of two windows
    side = box.highlevel
    side.generate(count=20, calendars=1)
    meet = NOW - timedelta(days=30)
    edge = side.insert(startTime=meet.strftime("%Y-%m-%dT%H:%M:%SZ"))
    # When
    table = Table(EVENTS)
    output = synced(box, table)
    # Then both windows list it, and each event is emitted once
    moment = meet.timestamp() * 1000
    windows = {(int(one["startTime"]), int(one["endTime"])) for one in asked(box)}
    assert sum(start <= moment <= end for start, end in windows) == 2
    assert ids(output).count(edge) == 1
    assert len(ids(output)) == 21


@pytest.mark.parametrize("cap", [100, 200])
def test_truncated_answers_are_noticed_and_their_windows_halved(box, cap):
    # Given an API that silently limits the number of events in an answer
    side = box.highlevel
    side.cap = cap
    side.generate(count=520, calendars=2)
    for number in range(150):  # more within half a minute than an answer can have
        side.insert(startTime=f"2026-05-05T10:00:{number // 6:02d}.{number % 6:03d}Z")
    # When
    table, _ = first_sync(box)
    # Then all are read
    assert_equal_to_truth(box, table)


def test_a_complete_answer_of_a_round_hundred_costs_two_more_requests(box):
    # Given a calendar of exactly a hundred events
    side = box.highlevel
    side.add_calendar()
    for number in range(100):
        side.insert(startTime=f"2026-05-{3 + number // 5:02d}T10:00:00Z")
    # When
    table = Table(EVENTS)
    output = synced(box, table, start_date="2026-05-02T12:00:00Z")
    # Then both halves of the window are requested too, and no event is emitted twice
    assert len(ids(output)) == 100
    assert len(asked(box)) == 3


def test_a_busy_calendar_is_read_in_narrower_windows(box):
    # Given a calendar of 9,000 events
    box.highlevel.generate(count=9000, calendars=1)
    # When it is read for the first time
    table, state = first_sync(box, start_date=START)
    # Then the windows become narrower
    truth = box.highlevel.truth()
    assert len(table.rows) >= 0.95 * len(truth)
    windows = asked(box)
    widths = [int(params["endTime"]) - int(params["startTime"]) for params in windows]
    assert min(widths[1:-1]) < 366 * 86_400_000
    # And a later sync has several windows
    box.forget_requests()
    synced(box, table, state, start_date=START)
    assert len(asked(box)) >= 3  # not a single huge answer


def test_rows_keep_their_values_except_for_the_status_and_the_boolean(box):
    # Given two rows with old spellings of the status, and with a boolean as text
    side = box.highlevel
    side.add_calendar()
    id = side.insert(
        id="abc_1729821600000_1800",
        appointmentStatus=None,
        appoinmentStatus="noshow",
        isRecurring="true",
        masterEventId="abc",
        startTime="2026-05-05T10:00:00+05:30",
        customField={"kept": [1, None]},
    )
    legacy = side.insert(
        appointmentStatus=None, appoinmentStatus=None, status="booked", isRecurring="false"
    )
    # When
    table, _ = first_sync(box)
    # Then these fields are normalized, and all others are unchanged
    row = table.rows[id]
    assert row["appointmentStatus"] == row["appoinmentStatus"] == "noshow"
    assert row["isRecurring"] is True
    assert row["startTime"] == "2026-05-05T10:00:00+05:30"
    assert row["customField"] == {"kept": [1, None]}
    assert table.rows[legacy]["appointmentStatus"] == "booked"
    assert table.rows[legacy]["isRecurring"] is False


@pytest.mark.parametrize("envelope", ["appointment", "event", "bare"])
def test_a_single_appointment_is_read_from_any_envelope(box, envelope):
    # Given answers that wrap an appointment in one of two keys, or not at all
    box.highlevel.envelope = envelope
    box.highlevel.generate(count=12, calendars=2)
    # When
    table, _ = first_sync(box, APPOINTMENTS)
    # Then the rows are the same, and each request had only the id
    assert_equal_to_truth(box, table)
    paths = {request.path for request in box.requests if request.path.startswith(ONE)}
    assert paths == {ONE + id for id in box.highlevel.events}
    assert all(not r.params for r in box.requests if r.path.startswith(ONE))


def test_appointments_that_start_together_and_exceed_a_slice_are_all_read(box):
    # Given 60 appointments that start at the same moment
    side = box.highlevel
    side.add_calendar()
    for _ in range(60):
        side.insert(startTime="2026-05-05T10:00:00Z")
    # When
    table, _ = first_sync(box, APPOINTMENTS)
    # Then
    assert_equal_to_truth(box, table)


def test_an_empty_answer_may_lack_the_key_of_the_list(box):
    box.highlevel.generate(count=3, calendars=3)
    box.highlevel.add_calendar()
    table, _ = first_sync(box)
    assert_equal_to_truth(box, table)


def test_check_requests_the_calendars_and_one_minute_of_events(box):
    # Given
    box.highlevel.generate(count=3, calendars=2)
    # When the connection is checked, then it succeeds
    assert check(box).status.value == "SUCCEEDED"
    # And it sent these two requests
    location = {"locationId": box.highlevel.location_id}
    assert [request.path for request in box.requests] == ["/highlevel/calendars/", LIST]
    assert asked(box) == [
        {
            **location,
            "calendarId": next(iter(box.highlevel.calendars)),
            "startTime": millis(NOW),
            "endTime": millis(NOW + timedelta(minutes=1)),
        }
    ]


def test_check_succeeds_for_a_location_without_calendars(box):
    assert check(box).status.value == "SUCCEEDED"


def test_oauth_tokens_are_renewed_with_a_form_and_the_user_type_and_returned(box):
    # Given a connection that uses OAuth
    side = box.highlevel
    side.generate(count=10, calendars=2)
    credentials = {
        "auth_type": "oauth2.0",
        "client_id": side.oauth.client_id,
        "client_secret": side.oauth.client_secret,
        "refresh_token": side.oauth.refresh_token,
    }
    # When
    output = read(config(box, {"credentials": credentials}), None, [EVENTS])
    assert output.exit_code == 0, output.errors
    # Then one request renews the tokens
    (token,) = [request for request in box.requests if request.path.endswith("/oauth/token")]
    assert token.headers["content-type"] == "application/x-www-form-urlencoded"
    assert b"user_type=Location" in token.body
    assert "version" not in token.headers  # with v3 the fields have other names here
    # And a CONTROL message has the new ones
    (control,) = output.of("CONTROL")
    new = control["control"]["connectorConfig"]["config"]["provider"]["credentials"]
    assert new["refresh_token"] == side.oauth.refresh_token != credentials["refresh_token"]


def test_with_a_very_long_look_ahead_no_past_appointment_is_left_out(
    box: Sandbox,
) -> None:
    # Given a look-ahead so long that the first window starts before HighLevel existed
    box.highlevel.generate(count=120, calendars=2, years=3)
    # When
    table, _ = first_sync(box, provider={"look_ahead_days": 3650})
    # Then
    assert_equal_to_truth(box, table)


# -- incremental sync -----------------------------------------------------------------------------


def test_when_the_configured_calendars_change_everything_is_read_again(box):
    box.highlevel.generate(count=40, calendars=4)
    chosen = list(box.highlevel.calendars)[2]
    table, state = first_sync(box, provider={"calendar_ids": [chosen]})
    synced(box, table, state)
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("stream", [EVENTS, APPOINTMENTS])
def test_a_calendar_that_becomes_visible_is_read_whole_however_old_its_events(box, stream):
    # Given a calendar that the token could not see in the first sync
    side = box.highlevel
    side.generate(count=20, calendars=2)
    hidden = side.add_calendar()
    old = side.insert(calendarId=hidden, startTime="2026-06-05T10:00:00Z")
    side.events[old]["dateUpdated"] = "2026-01-01T00:00:00.000Z"
    row = side.calendars.pop(hidden)
    table, state = first_sync(box, stream)
    # When
    side.calendars[hidden] = row
    output = synced(box, table, state)
    # Then
    assert ids(output) == [old]
    assert ids(synced(box, table, output.last_states())) == []


def test_a_wider_look_ahead_and_an_earlier_start_date_add_the_events_outside(box):
    # Given a sync whose range left out an old and a far event
    side = box.highlevel
    side.generate(count=20, calendars=2)
    far = side.insert(startTime="2027-09-01T10:00:00Z")
    table, state = first_sync(box, start_date="2026-01-01T00:00:00Z")
    assert far not in table.rows
    # When both bounds are widened
    state = synced(box, table, state, {"look_ahead_days": 800}, start_date=START).last_states()
    # Then every event within them is read
    truth = side.truth()
    assert set(table.rows) >= {id for id in truth if truth[id]["startTime"] > "2023-06-02"}
    assert far in table.rows


def test_an_event_is_read_once_the_look_ahead_reaches_it_even_if_it_was_not_edited(box):
    # Given an event that starts after the end of the look-ahead
    box.highlevel.loose_hours = 0
    box.highlevel.generate(count=20, calendars=2)
    far = box.highlevel.insert(startTime="2027-06-05T10:00:00Z")
    table, state = first_sync(box)
    assert far not in table.rows
    # When time passes
    box.clock.advance(days=10)
    synced(box, table, state)
    # Then
    assert_equal_to_truth(box, table)


def test_look_back_days_apply_to_later_syncs_only(box):
    # Given a first sync, which goes back to the start date despite the setting
    side = box.highlevel
    side.generate(count=80, calendars=2)
    table, state = first_sync(box, provider={"look_back_days": 30}, start_date=START)
    earliest = min(int(params["startTime"]) for params in asked(box))
    assert earliest == int(millis(datetime(2023, 6, 1, tzinfo=timezone.utc)))
    # When a recent event is created and edited
    recent = side.insert(startTime="2026-05-20T10:00:00Z")
    state = synced(box, table, state, {"look_back_days": 30}, start_date=START).last_states()
    box.forget_requests()
    side.edit(recent, title="moved")
    synced(box, table, state, {"look_back_days": 30}, start_date=START)
    # Then it is read, and no request goes further back than the setting
    assert table.rows[recent]["title"] == "moved"
    earliest = min(int(params["startTime"]) for params in asked(box))
    assert int(millis(NOW - timedelta(days=31))) < earliest <= int(millis(NOW))


@pytest.mark.parametrize("stream", [EVENTS, APPOINTMENTS])
def test_changes_between_two_syncs_are_emitted_and_a_sync_without_changes_emits_nothing(
    box, stream
):
    side = box.highlevel
    side.generate(count=40, calendars=5)
    table, state = first_sync(box, stream)
    assert_equal_to_truth(box, table)
    # Given every kind of change
    edited, moved, cancelled, deleted = list(side.events)[:4]
    side.edit(edited, title="new title")
    side.reschedule(moved, "2024-02-03T04:00:00Z")
    side.cancel(cancelled)
    side.delete(deleted)
    new = side.insert()
    # When the next sync runs
    box.forget_requests()
    output = synced(box, table, state)
    # Then it emits the changed events, and only those
    assert sorted(ids(output)) == sorted([edited, moved, cancelled, new])
    assert_equal_to_truth(box, table, lingering={deleted})
    fetched = [request for request in box.requests if request.path.startswith(ONE)]
    assert len(fetched) == (4 if stream == APPOINTMENTS else 0)
    # And a sync without changes emits nothing
    assert ids(synced(box, table, output.last_states())) == []


@pytest.mark.parametrize("stream", [EVENTS, APPOINTMENTS])
def test_a_deleted_event_that_is_still_listed_arrives_as_deleted(box, stream):
    # Given an API that still lists deleted events, and an event deleted before the first sync
    side = box.highlevel
    side.delete_shows = True
    side.generate(count=20, calendars=2)
    before, between = list(side.events)[:2]
    side.delete(before)
    table, state = first_sync(box, stream)
    assert [id for id, row in table.rows.items() if row.get("deleted")] == [before]
    # When another one is deleted
    side.delete(between)
    output = synced(box, table, state)
    # Then the next sync emits only that one, and the one after it emits nothing
    assert ids(output) == [between]
    assert output.records()[0]["deleted"] is True
    assert_equal_to_truth(box, table)
    assert ids(synced(box, table, output.last_states())) == []


@pytest.mark.parametrize("when", ["first sync", "resumed first sync", "later sync"])
def test_a_deleted_appointment_that_is_listed_but_not_found_by_id_is_read_from_the_list(box, when):
    # Given an API that lists deleted appointments but answers 404 for their ids
    side = box.highlevel
    side.delete_shows = True
    side.generate(count=20, calendars=2)
    deleted = next(iter(side.events))
    table, state = Table(APPOINTMENTS), None
    if when == "later sync":
        state = synced(box, table).last_states()
    side.delete(deleted)
    box.fault(ONE + deleted, 1, 99, kind="status", status=404)
    box.clock.advance(minutes=10)
    for calendar in side.calendars:
        side.insert(calendarId=calendar)  # newer than the deletion
    if when == "resumed first sync":
        whole = read(config(box), None, [APPOINTMENTS])
        kinds = [message["type"] for message in whole.messages]
        cut = Output(whole.messages[: kinds.index("STATE") + 1])
        table.load(cut)
        assert deleted not in table.rows
        state = cut.last_states()
    # When the appointments are read
    output = synced(box, table, state)
    # Then the row comes from the list, normalized like every row
    (row,) = (row for row in output.records() if row["id"] == deleted)
    assert row == without_nulls(side.truth()[deleted])
    assert row["deleted"] is True
    assert_equal_to_truth(box, table)


def test_a_stamp_from_the_future_does_not_become_the_bound(box):
    # Given an event with a stamp decades ahead
    side = box.highlevel
    side.generate(count=40, calendars=2)
    side.insert(dateUpdated="2099-01-01T00:00:00+00:00")
    table, state = first_sync(box)
    # When another one is edited
    edited = next(iter(side.events))
    side.edit(edited, title="new")
    output = synced(box, table, state)
    # Then the next sync emits that one, and its state is not in the future
    assert ids(output) == [edited]
    assert_equal_to_truth(box, table)
    assert output.state_of(EVENTS)["dateUpdated"] < "2027"


def test_rows_without_a_usable_stamp_are_emitted_when_they_change(box):
    # Given events whose stamps are missing or cannot be parsed
    side = box.highlevel
    side.generate(count=20, calendars=2)
    bare = side.insert(dateUpdated=None)
    broken = side.insert(dateUpdated="yesterday")
    table, state = first_sync(box)
    state = synced(box, table, state).last_states()
    # When one of them is edited
    side.edit(bare, title="x", dateUpdated=None)
    output = synced(box, table, state)
    # Then only that one is emitted
    assert ids(output) == [bare]
    assert broken in table.rows


def test_two_edits_within_one_second_are_both_emitted(box):
    # Given an event that was edited before a sync
    side = box.highlevel
    side.generate(count=20, calendars=2)
    id = next(id for id, row in side.events.items() if not row["dateUpdated"].endswith("Z"))
    side.edit(id, title="one")
    table, state = first_sync(box)
    # When it is edited again within the second of its stamp
    side.edit(id, title="two", dateUpdated=side.events[id]["dateUpdated"])
    synced(box, table, state)
    # Then
    assert_equal_to_truth(box, table)


# -- changes during a sync ------------------------------------------------------------------------


def test_a_calendar_that_is_deleted_after_it_was_listed_is_skipped(box):
    # Given an API that answers 404 for a deleted calendar
    side = box.highlevel
    side.generate(count=40, calendars=4)
    doomed = list(side.calendars)[2]
    box.fault(f"calendarId={doomed}", 1, 99, kind="status", status=404)
    box.before(f"calendarId={doomed}", 1, lambda: side.calendars.pop(doomed))
    # When
    table, _ = first_sync(box)
    # Then
    truth = side.truth()
    assert set(table.rows) == {id for id in truth if truth[id]["calendarId"] != doomed}


@pytest.mark.parametrize("stream", [EVENTS, APPOINTMENTS])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_changes_during_a_sync_are_in_the_table_after_the_next_one(box, stream, nth):
    # Given edits, moves and insertions before one of the lists of a sync and of the next one
    side = box.highlevel
    side.generate(count=30, calendars=3)
    table, state = first_sync(box, stream)
    for position in (nth, nth + 3):  # in this sync and, counting on, in the next one

        def change() -> None:
            for id in list(side.events)[:30:3]:
                side.edit(id, title=f"edit {box.clock.now()}")
            for number, id in enumerate(list(side.events)[1:30:5]):
                side.reschedule(id, NOW - timedelta(days=150 * number))
            side.insert(calendarId=list(side.calendars)[-1])
            side.insert(calendarId=list(side.calendars)[0])

        box.before(LIST, position, change)
    # When both and a third one have run
    state = synced(box, table, state).last_states()
    state = synced(box, table, state).last_states()
    output = synced(box, table, state)
    # Then the table is correct, and a sync without changes emits nothing
    assert_equal_to_truth(box, table)
    assert ids(synced(box, table, output.last_states())) == []


def test_changes_during_a_first_sync_are_in_the_table_after_the_next_one(box):
    # Given an edit and an insertion after every list of a first sync
    side = box.highlevel
    side.generate(count=80, calendars=4)
    for nth in range(1, 9):
        box.after(LIST, nth, lambda: side.edit(list(side.events)[3], title=str(box.clock.now())))
        box.after(LIST, nth, lambda: side.insert(calendarId=list(side.calendars)[0]))
    # When it and the next one have run
    table, state = first_sync(box)
    synced(box, table, state)
    # Then
    assert_equal_to_truth(box, table)


def test_a_change_is_found_even_if_stamps_are_months_behind_the_date_header(box):
    # Given a provider whose stamps are half a year behind its Date header
    side = box.highlevel
    side.generate(count=60, calendars=3)
    box.clock.advance(days=180)
    slow = "2026-06-01T00:%02d:00.000Z"
    first = list(side.calendars)[0]
    late, other = side.events_of(first)[0], side.events_of(list(side.calendars)[1])[0]
    table, state = first_sync(box)
    # When one event is edited after its window was read, and another one before
    box.after(f"{LIST}.*{first}", 1, lambda: side.edit(late, title="a", dateUpdated=slow % 1))
    box.after(f"{LIST}.*{first}", 1, lambda: side.edit(other, title="b", dateUpdated=slow % 2))
    state = synced(box, table, state).last_states()
    # Then the next sync emits both
    synced(box, table, state)
    assert_equal_to_truth(box, table)


def test_a_vanished_appointment_is_skipped_and_counted(box):
    # Given an appointment that is deleted after it was listed
    side = box.highlevel
    side.generate(count=12, calendars=2)
    gone = list(side.events)[-1]
    box.before(ONE, 1, lambda: side.delete(gone))
    # When
    table = Table(APPOINTMENTS)
    output = synced(box, table)
    # Then the others are read, and the log counts the missing one
    assert_equal_to_truth(box, table)
    assert any("1 appointments" in line and "404" in line for line in output.logs)


# -- resume ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [EVENTS, APPOINTMENTS])
def test_a_first_sync_can_be_resumed_from_each_of_its_states(box, stream):
    side = box.highlevel
    side.generate(count=25, calendars=5)
    whole = read(config(box), None, [stream])
    states = [number for number, message in enumerate(whole.messages) if message["type"] == "STATE"]
    assert len(states) >= 5
    changed = 0
    for position in states:
        # Given a sync that was killed right after a state, and a change since then
        cut = Output(whole.messages[: position + 1])
        table = Table(stream)
        table.load(cut)
        changed += 1
        side.edit(list(side.events)[changed], title=f"after kill {changed}")
        # When it is resumed
        synced(box, table, cut.last_states())
        # Then the table is complete
        assert_equal_to_truth(box, table)


def test_a_state_joins_unread_appointments_into_ranges_and_a_resumed_sync_splits_them_again(
    box, monkeypatch
):
    # Given 60 appointments in two calendars, read in slices of three
    monkeypatch.setattr(appointments, "_IDS_PER_SLICE", 3)
    side = box.highlevel
    side.generate(count=60, calendars=2)
    whole = read(config(box), None, [APPOINTMENTS])

    # Then a state lists ranges of time instead of every slice
    def pending(state: Json) -> list[Json]:
        return state["stream"]["stream_state"].get("scan", {}).get("pending", [])

    states = [state for state in whole.states if pending(state)]
    assert len(states) >= 10
    assert len(pending(states[0])) == 2
    assert max(len(pending(state)) for state in states) <= 2 + 8  # one gap per worker

    # And a resumed sync reads the ranges of the first state in slices of three again
    table = Table(APPOINTMENTS)
    resumed = synced(box, table, [states[0]])
    assert len([state for state in resumed.states if pending(state)]) >= 10
    assert_equal_to_truth(box, table)


def test_a_sync_that_fails_halfway_does_not_advance_the_state(box):
    # Given edited events, and a list that is refused
    side = box.highlevel
    side.generate(count=60, calendars=4)
    table, state = first_sync(box)
    for id in list(side.events)[::5]:
        side.edit(id, title="x")
    box.fault(LIST, 3, 99, kind="status", status=403)
    # When
    broken = read(config(box), state, [EVENTS])
    # Then the sync fails, and the state is not ahead of the previous one
    assert failure(broken)["failure_type"] == "config_error"
    table.load(broken)
    saved = broken.last_states()[0]["stream"]["stream_state"]
    assert saved == state[0]["stream"]["stream_state"]


# -- refusal --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"data": None},
        {"events": None},
        {"events": {"id": 1}},
        {"message": "ok"},
        {"events": [{"title": "no id"}]},
        {"events": ["text"]},
    ],
)
def test_an_answer_of_another_shape_stops_the_stream(box, body):
    box.highlevel.generate(count=10, calendars=1)
    box.fault(LIST, 1, 99, kind="body", body=body)
    output = read(config(box), None, [EVENTS])
    assert failure(output)["failure_type"] == "transient_error"
    assert output.state_of(EVENTS) == {} or "scan" in output.state_of(EVENTS)


@pytest.mark.parametrize(
    "body",
    [{"appointment": None}, {"event": []}, {"traceId": "x"}, {"appointment": {"title": "x"}}],
)
def test_a_single_appointment_of_another_shape_stops_the_stream(box, body):
    box.highlevel.generate(count=10, calendars=1)
    box.fault(ONE, 1, 99, kind="body", body=body)
    assert failure(read(config(box), None, [APPOINTMENTS]))["failure_type"] == "transient_error"


def test_temporary_faults_are_retried(box):
    # Given four temporary faults
    box.highlevel.generate(count=10, calendars=2)
    timed_out = {"statusCode": 401, "message": "Command timed out", "error": "Unauthorized"}
    box.fault(LIST, 1, kind="status", status=401, body=timed_out)
    box.fault(LIST, 2, kind="half_json")
    box.fault(LIST, 3, kind="body", body={"data": None})
    box.fault(LIST, 4, kind="body", body=[])
    # When
    table, _ = first_sync(box)
    # Then
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (401, "The token is not authorized for this scope.", "calendars/events.readonly"),
        (401, "Invalid token: access token is invalid", "provider.credentials"),
        (403, "The token does not have access to this location.", "provider.location_id"),
        (404, "", "provider.calendar_ids"),
        (422, ["startTime should not be empty", "x"], "startTime should not be empty; x"),
        (422, ["locationId must be a string"], "provider.location_id"),
    ],
)
def test_refusals_are_config_errors_that_name_the_setting(box, status, message, words):
    # Given an API that refuses to list events
    box.highlevel.generate(count=10, calendars=2)
    body = {"statusCode": status, "message": message}
    box.fault(LIST, 1, 99, kind="status", status=status, body=body)
    # When either stream is read, then the error names the setting and no secret
    for stream in (EVENTS, APPOINTMENTS):
        error = failure(read(config(box), None, [stream]))
        assert error["failure_type"] == "config_error"
        assert words in error["message"]
        assert "pit-sandbox" not in str(error)


def test_a_missing_scope_for_calendars_is_named(box):
    box.highlevel.keys["pit-narrow"] = {"calendars/events.readonly"}
    credentials = {"auth_type": "private_integration_token", "access_token": "pit-narrow"}
    error = failure(read(config(box, {"credentials": credentials}), None, [CALENDARS]))
    assert error["failure_type"] == "config_error"
    assert "calendars.readonly" in error["message"]


def test_the_budget_in_the_headers_is_respected_and_a_429_is_retried(box):
    # Given a trial account that allows fewer requests per interval than the workers would send
    side = box.highlevel
    side.generate(count=30, calendars=3)
    side.rate_limit, side.interval_ms = 5, 400
    # When its appointments are read
    table, _ = first_sync(box, APPOINTMENTS)
    # Then all are read, and few requests were refused
    assert_equal_to_truth(box, table)
    refused = [request for request in box.requests if request.status == 429]
    assert len(refused) < 0.5 * len(box.requests)


def test_a_spent_daily_limit_ends_the_sync_at_once(box):
    # Given a limit of four requests a day
    side = box.highlevel
    side.generate(count=30, calendars=3)
    side.daily_limit = 4
    # When
    error = failure(read(config(box), None, [EVENTS]))
    # Then the error names the limit
    assert error["failure_type"] == "transient_error"
    assert "limit of requests a day (4)" in error["message"]
    assert [request.status for request in box.requests].count(429) <= 9  # one per worker


@pytest.mark.parametrize(
    ("scopes", "provider", "words"),
    [
        ({"calendars.readonly"}, {}, "calendars/events.readonly"),
        (None, {"location_id": "other"}, "provider.location_id"),
        (None, {"calendar_ids": ["nope"]}, "no calendar nope"),
    ],
)
def test_check_says_which_setting_is_wrong(box, scopes, provider, words):
    # Given one invalid setting
    box.highlevel.generate(count=3, calendars=2)
    if scopes:
        box.highlevel.keys["pit-sandbox"] = scopes
    # When
    outcome = check(box, provider)
    # Then
    assert outcome.status.value == "FAILED"
    assert words in outcome.message
