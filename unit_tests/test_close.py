"""Close, against the sandbox over HTTP: which requests are sent, and that the table is correct."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from sandbox import RecordedRequest, Sandbox
from sandbox.account import without_nulls
from source_meetings.sync import fingerprints
from unit_tests.harness import (
    Json,
    Output,
    Table,
    read,
    run_command,
    write_json,
)

STREAM = "close_meetings"
TRANSCRIPTS = "close_meeting_transcripts"
LIST = "/close/api/v1/activity/meeting/"
LOG = "/close/api/v1/event/"
ACTIONS = ["updated", "created", "deleted", "scheduled", "started", "completed", "canceled"]
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
WINDOWS = "date_created__gte"  # expressions for hooks and faults
# One full page, then one, two and four years back (the meetings span three), and a sample.
PROBES = 1 + 3 + 1


def config(box: Sandbox, common: Json | None = None, **options: Any) -> Json:
    provider = {
        "name": "close",
        "base_url": box.close.base_url,
        "credentials": {"auth_type": "api_key", "api_key": "api_sandbox"},
    }
    return {"provider": {**provider, **options}, **(common or {})}


def asked(box: Sandbox, path: str) -> list[dict[str, str]]:
    return [dict(request.params) for request in box.requests if request.path == path]


def details(box: Sandbox) -> list[RecordedRequest]:
    return [
        request
        for request in box.requests
        if request.path.startswith(LIST) and request.path != LIST
    ]


def synced(
    box: Sandbox,
    table: Table,
    state: list[Json] | None = None,
    common: Json | None = None,
    **options: Any,
) -> Output:
    """Run a sync, which must succeed, and load it into the table."""
    box.forget_requests()
    output = read(config(box, common, **options), state, [table.stream])
    assert output.exit_code == 0, output.errors
    assert output.statuses == {table.stream: "COMPLETE"}
    table.load(output)
    return output


def first_sync(
    box: Sandbox, stream: str = STREAM, common: Json | None = None
) -> tuple[Table, Output]:
    table = Table(stream)
    output = synced(box, table, common=common)
    return table, output


def live(table: Table) -> dict[str, Json]:
    return {key: row for key, row in table.rows.items() if not row["is_deleted"]}


def assert_equal_to_truth(box: Sandbox, table: Table) -> None:
    truth = {key: without_nulls(row) for key, row in box.close.truth().items()}
    rows = live(table)
    assert set(truth) - set(rows) == set(), "missing rows"
    assert set(rows) - set(truth) == set(), "extra rows"
    assert {key for key in truth if truth[key] != rows[key]} == set(), "stale rows"


def at(**shift: float) -> str:
    return (NOW + timedelta(**shift)).isoformat()


def transcripts_of(table: Table) -> dict[str, Any]:
    return {key: row["transcripts"] for key, row in table.rows.items() if row["transcripts"]}


# -- first sync -----------------------------------------------------------------------------------


@pytest.mark.parametrize("meaning", ["start", "created"])
@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_a_first_sync_reads_every_meeting_with_any_date_created_and_order(
    box: Sandbox, meaning: str, order: str
) -> None:
    # Given meetings over three years, some in the future, and one long before all others
    box.close.date_created_means, box.close.list_order = meaning, order
    box.close.generate(count=700)
    box.close.insert(starts_at="2031-01-01T00:00:00Z")
    box.close.insert(starts_at="1999-01-01T00:00:00Z", date_created="1999-01-01T00:00:00Z")
    # When
    table, _ = first_sync(box)
    # Then
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("years", [range(2027, 2040), range(1971, 1984)])
def test_windows_at_both_ends_of_time_are_split_if_they_do_not_fit_a_page(
    box: Sandbox, years: range
) -> None:
    # Given hundreds of meetings decades in the past and in the future
    for year in years:
        for number in range(12):
            start = f"{year}-{number + 1:02}-01T09:00:00+00:00"
            box.close.insert(starts_at=start, date_created=start)
    # When
    table, _ = first_sync(box)
    # Then
    assert len(live(table)) == 156
    assert_equal_to_truth(box, table)
    assert not any("_skip" in params for params in asked(box, LIST))


def test_a_first_sync_splits_time_into_half_open_windows_without_outer_bounds(box: Sandbox) -> None:
    # Given
    box.close.generate(count=300)
    # When
    first_sync(box)
    # Then the newest event was requested before any list
    assert [(request.path, dict(request.params)) for request in box.requests[:2]] == [
        (LOG, {"_limit": "1"}),
        (LIST, {"_limit": "100"}),
    ]
    # And each window starts where the previous one ends
    windows = [
        (params.get("date_created__gte"), params.get("date_created__lt"))
        for params in asked(box, LIST)[PROBES:]
    ]
    assert all(
        set(params) <= {"_limit", "date_created__gte", "date_created__lt"}
        for params in asked(box, LIST)
    )
    limits = [params["_limit"] for params in asked(box, LIST)]
    assert limits == ["100"] + ["1"] * 3 + ["100"] * (1 + len(windows))
    # And there are few more windows than pages
    assert len(windows) <= 10
    starts, ends = {start for start, _ in windows}, {end for _, end in windows}
    assert None in starts and None in ends
    assert starts == ends
    assert at() in starts


def test_an_empty_account_takes_three_requests(box: Sandbox) -> None:
    # When an account without meetings is synced, then three requests are enough
    table, output = first_sync(box)
    assert table.rows == {}
    assert len(box.requests) == 3
    # And the first meeting that is created later is found
    box.close.insert()
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("order", ["newest", "shuffled"])
def test_skip_is_only_used_within_a_second_that_has_more_than_a_page(
    box: Sandbox, order: str
) -> None:
    # Given 230 meetings in one second, and others before and after it
    box.close.list_order = order
    for _ in range(230):
        box.close.insert(starts_at="2026-03-03T10:00:00Z")
    for minute in range(40):
        box.close.insert(starts_at=f"2026-03-03T10:{minute:02}:01Z")
    # When
    table, _ = first_sync(box)
    # Then
    assert_equal_to_truth(box, table)
    skipped = [params for params in asked(box, LIST) if "_skip" in params]
    assert skipped
    assert {(p["date_created__gte"], p["date_created__lt"]) for p in skipped} == {
        ("2026-03-03T10:00:00+00:00", "2026-03-03T10:00:01+00:00")
    }
    if order == "newest":
        assert [params["_skip"] for params in skipped] == ["99", "198"]


def test_meetings_last_changed_before_the_start_date_are_left_out(box: Sandbox) -> None:
    # Given
    box.close.generate(count=200)
    # When
    table, _ = first_sync(box, common={"start_date": "2025-06-01T00:00:00Z"})
    # Then
    kept = {key for key, row in box.close.truth().items() if row["date_updated"] >= "2025-06-01"}
    assert 0 < len(kept) < 200
    assert set(table.rows) == kept


def test_transcripts_are_requested_only_for_meetings_that_can_have_one(box: Sandbox) -> None:
    # Given
    box.close.generate(count=200)
    box.close.insert(starts_at=at(days=3), notetaker_id="note_future")
    # When
    table, _ = first_sync(box, TRANSCRIPTS)
    # Then
    truth = box.close.transcripts()
    expected = {
        key
        for key, row in box.close.truth().items()
        if (row.get("notetaker_id") or row.get("summary") or "notetaker_id" not in row)
        and row["starts_at"] < at()
    }
    assert {request.path.split("/")[-2] for request in details(box)} == expected
    assert len(details(box)) == len(expected)
    assert {key: value for key, value in truth.items() if key in expected} == transcripts_of(table)
    fields = dict(details(box)[0].params)["_fields"].split(",")
    assert {"id", "date_updated", "transcripts"} <= set(fields)


def test_the_transcript_of_a_row_that_does_not_say_whether_it_was_recorded_is_requested(
    box: Sandbox,
) -> None:
    # Given a row like the reference's example, which has neither notetaker_id nor summary
    meeting = box.close.insert(starts_at=at(days=-1), notetaker_id="note_1")
    box.close.set_transcripts(meeting, [{"id": "t", "utterances": [{"text": "Hello"}]}])
    for name in ("notetaker_id", "summary"):
        box.close.meetings[meeting].pop(name, None)
    # When
    table, _ = first_sync(box, TRANSCRIPTS)
    # Then
    assert meeting in transcripts_of(table)


def test_all_pages_of_outcomes_are_read(box: Sandbox) -> None:
    # Given more outcomes than fit on a page
    for number in range(120):
        box.close.add_outcome(f"Outcome {number}")
    # When
    output = read(config(box), None, ["close_outcomes"])
    # Then every one is read, with _skip for the second page
    assert len({row["id"] for row in output.records()}) == 123
    assert [dict(request.params) for request in box.requests] == [
        {"_limit": "100"},
        {"_limit": "100", "_skip": "100"},
    ]


def test_meetings_are_looked_up_by_calendar_event(box: Sandbox) -> None:
    # Given
    key = box.close.insert(provider_calendar_event_id="evt123", provider_calendar_ids=["a@b.co"])
    box.close.generate(count=10)
    entries = ["evt123 a@b.co", "evt123", " evt123  a@b.co "]
    # When
    output = read(config(box, calendar_events=entries), None, ["close_meetings_by_calendar_event"])
    # Then
    assert {row["id"] for row in output.records()} == {key}
    assert sorted(asked(box, LIST), key=sorted) == [
        {"_limit": "100", "provider_calendar_event_id": "evt123"},
        {
            "_limit": "100",
            "provider_calendar_event_id": "evt123",
            "provider_calendar_id": "a@b.co",
        },
    ]


@pytest.mark.parametrize("entries", [None, []])
def test_without_calendar_events_their_stream_is_not_in_the_catalog(
    box: Sandbox, entries: Any
) -> None:
    options = {} if entries is None else {"calendar_events": entries}
    output = run_command(["discover", "--config", write_json(config(box, **options))])
    names = {stream["name"] for stream in output.of("CATALOG")[0]["catalog"]["streams"]}
    assert names == {STREAM, TRANSCRIPTS, "close_outcomes"}


def test_check_requests_the_user_and_one_meeting(box: Sandbox) -> None:
    # When the connection is checked
    output = run_command(["check", "--config", write_json(config(box))])
    # Then it succeeds after two requests
    assert output.of("CONNECTION_STATUS")[0]["connectionStatus"]["status"] == "SUCCEEDED"
    assert [(request.path, dict(request.params)) for request in box.requests] == [
        ("/close/api/v1/me/", {}),
        (LIST, {"_limit": "1"}),
    ]


def test_every_path_ends_with_a_slash(box: Sandbox) -> None:
    box.close.generate(count=60)
    output = read(config(box), None, None)
    assert output.exit_code == 0
    assert all(request.path.endswith("/") for request in box.requests)


def test_oauth_tokens_are_renewed_and_returned_once(box: Sandbox) -> None:
    # Given
    box.close.generate(count=60)
    oauth = box.close.oauth
    settings = config(
        box,
        credentials={
            "auth_type": "oauth2.0",
            "client_id": oauth.client_id,
            "client_secret": oauth.client_secret,
            "refresh_token": oauth.refresh_token,
        },
        token_url=box.close.token_url,
    )
    # When
    output = read(settings, None, [STREAM])
    # Then
    assert len(output.records()) == 60
    assert len(output.of("CONTROL")) == 1


# -- incremental sync -----------------------------------------------------------------------------


def test_a_sync_without_changes_reads_the_log_once_per_action_and_the_window_and_emits_nothing(
    box: Sandbox,
) -> None:
    # Given
    box.close.generate(count=300)
    table, output = first_sync(box)
    watermark = output.state_of(STREAM)["events"]["updated"]
    box.clock.advance(hours=1)
    output = synced(box, table, output.last_states())
    # When
    output = synced(box, table, output.last_states())
    # Then
    bound = datetime.fromisoformat(watermark.replace("Z", "+00:00")) - timedelta(minutes=5)
    assert asked(box, LOG) == [
        {
            "object_type": "activity.meeting",
            "action": action,
            "_limit": "50",
            "date_updated__gte": bound.isoformat(),
        }
        for action in ACTIONS
    ]
    (window,) = asked(box, LIST)
    assert set(window) == {"_limit", "date_created__gte", "date_created__lt"}
    assert window["date_created__lt"] == at(days=90, hours=1)
    assert output.records() == []


def test_events_of_one_moment_are_listed_again_until_the_look_back_has_passed(box: Sandbox) -> None:
    # Given 120 meetings that were changed just before a sync
    box.close.generate(count=300)
    table, output = first_sync(box)
    box.clock.advance(hours=1)
    for id in sorted(box.close.truth())[:120]:
        box.close.edit(id, title="moved")
    output = synced(box, table, output.last_states())
    # When the next syncs find nothing new, then these events are listed again for as long as other
    # events of that time may still appear
    box.clock.advance(minutes=4)
    output = synced(box, table, output.last_states())
    assert len(asked(box, LOG)) > len(ACTIONS)
    box.clock.advance(minutes=2)
    output = synced(box, table, output.last_states())
    assert len(asked(box, LOG)) > len(ACTIONS)
    # And after that they are not listed again
    output = synced(box, table, output.last_states())
    assert len(asked(box, LOG)) == len(ACTIONS)
    assert output.records() == []
    # And later changes are found
    box.close.delete(sorted(box.close.truth())[0])
    box.close.edit(sorted(box.close.truth())[-1], title="later")
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_meetings_that_are_known_to_be_deleted_are_not_requested_again(box: Sandbox) -> None:
    # Given meetings that were deleted within the look-back of the next sync
    box.close.generate(count=300)
    table, output = first_sync(box)
    box.clock.advance(hours=1)
    for key in sorted(box.close.truth())[:60]:
        box.close.delete(key)
    output = synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)
    # When
    output = synced(box, table, output.last_states())
    # Then
    assert [params for params in asked(box, LIST) if "id__in" in params] == []
    assert output.records() == []


def test_changed_meetings_are_read_by_id_with_thirty_or_more_per_request(box: Sandbox) -> None:
    # Given
    box.close.generate(count=300)
    table, output = first_sync(box)
    box.clock.advance(hours=1)
    edited = sorted(box.close.truth())[:120]
    for key in edited:
        box.close.edit(key, title="edited")
    # When
    synced(box, table, output.last_states())
    # Then
    assert_equal_to_truth(box, table)
    batches = [params["id__in"].split(",") for params in asked(box, LIST) if "id__in" in params]
    assert set(edited) <= {key for batch in batches for key in batch}
    assert len(batches) <= 120 // 30 + 1
    assert {params["_limit"] for params in asked(box, LIST)} == {"100"}
    # And the requests for further pages of the log have the same filters
    following = [params for params in asked(box, LOG) if "_cursor" in params]
    assert len(following) == 2
    assert {(p["object_type"], p["action"], p["_limit"]) for p in following} == {
        ("activity.meeting", "updated", "50")
    }


def test_a_deleted_meeting_becomes_a_row_that_is_newer_than_the_live_one(box: Sandbox) -> None:
    # Given
    key = box.close.insert()
    table, output = first_sync(box)
    old = table.rows[key]
    box.clock.advance(hours=1)
    box.close.delete(key)
    # When
    output = synced(box, table, output.last_states())
    # Then
    row = table.rows[key]
    assert set(row) == {"id", "is_deleted", "date_updated", "lead_id", "organization_id"}
    assert row["is_deleted"] is True
    assert row["lead_id"] == old["lead_id"]
    assert row["date_updated"].endswith("+00:00")
    assert row["date_updated"] > old["date_updated"]


def test_a_changed_meeting_that_cannot_be_read_is_counted_and_skipped(box: Sandbox) -> None:
    # Given a meeting that was edited and then hidden from this key
    key = box.close.insert()
    table, output = first_sync(box)
    box.clock.advance(hours=1)
    box.close.edit(key, title="new")
    box.close.delete(key, emit_event=False)
    # When
    output = synced(box, table, output.last_states())
    # Then
    assert table.rows[key]["is_deleted"] is False
    assert any("1 changed meetings are not shown" in line for line in output.logs)


@pytest.mark.parametrize("consolidate", [0.0, 60.0])
@pytest.mark.parametrize("data", ["full", "missing"])
@pytest.mark.parametrize("keeps", [True, False])
def test_events_that_appear_late_or_are_changed_in_place_are_not_lost(
    box: Sandbox, consolidate: float, data: str, keeps: bool
) -> None:
    # Given events that appear up to five minutes late and out of order
    box.close.event_delay, box.close.consolidate = 299.0, consolidate
    box.close.event_data, box.close.cursor_keeps_bounds = data, keeps
    box.close.generate(count=200)
    table, output = first_sync(box)
    chance = random.Random(5)
    for _ in range(4):
        for key in chance.sample(sorted(box.close.truth()), 12):
            box.close.edit(key, title=str(chance.random()))
            box.clock.advance(seconds=chance.randrange(40))
        box.close.delete(chance.choice(sorted(box.close.truth())))
        # When
        output = synced(box, table, output.last_states())
    # Then all changes are in the table once the last events have appeared
    box.clock.advance(minutes=6)
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("offset", [-7200.0, 7200.0])
def test_a_clock_that_differs_from_the_date_header_loses_nothing(
    box: Sandbox, offset: float
) -> None:
    # Given stamps two hours behind or ahead of the header
    box.close.clock_offset = offset
    box.close.generate(count=150)
    table, output = first_sync(box)
    for number, key in enumerate(sorted(box.close.truth())[:8]):
        box.close.edit(key, title=f"edit {number}")
        box.clock.advance(minutes=1)
        # When
        output = synced(box, table, output.last_states())
        # Then
        assert_equal_to_truth(box, table)


def test_late_content_without_event_or_new_stamp_is_found_in_the_window(box: Sandbox) -> None:
    # Given a summary that arrives without an event for a meeting of yesterday
    key = box.close.insert(starts_at=at(days=-1))
    box.close.generate(count=50)
    table, output = first_sync(box)
    box.close.add_transcript(key)
    # When
    output = synced(box, table, output.last_states())
    # Then
    assert [row["id"] for row in output.records() if row["id"] == key] == [key]
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("stream", [STREAM, TRANSCRIPTS])
def test_with_more_meetings_than_digests_changes_arrive_and_little_else_is_emitted(
    box: Sandbox, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a window of more meetings than a state can have digests
    monkeypatch.setattr(fingerprints, "_MOST_DIGESTS", 10)
    starts = [NOW - timedelta(days=1 + number / 40) for number in range(200)]
    ids = [box.close.insert(starts_at=moment.isoformat()) for moment in starts]
    for id in ids:
        box.close.add_transcript(id)
    table = Table(stream)
    output = synced(box, table)
    box.clock.advance(minutes=30)
    output = synced(box, table, output.last_states())  # their events are listed once more
    # When nothing changes, then almost nothing is emitted
    box.clock.advance(minutes=1)
    output = synced(box, table, output.last_states())
    assert len(output.records()) <= 2 * 20
    box.clock.advance(minutes=1)
    output = synced(box, table, output.last_states())
    assert len(output.records()) <= 2 * 20
    # And a change without an event arrives, with only a few other rows
    box.close.edit(ids[100], emit_event=False, title="in silence")
    output = synced(box, table, output.last_states())
    assert table.rows[ids[100]]["title"] == "in silence"
    assert len(output.records()) <= 3 * 20 * 5


def test_a_state_older_than_the_log_leads_to_a_first_sync_and_a_log_line(box: Sandbox) -> None:
    # Given an edit 40 days ago, which the log of 30 days no longer has, and a deletion that it has
    box.close.generate(count=150)
    table, output = first_sync(box)
    first, second, *_ = sorted(box.close.truth())
    box.close.edit(first, title="changed long ago")
    box.clock.advance(days=40)
    box.close.delete(second)
    # When
    output = synced(box, table, output.last_states())
    # Then
    assert any("reading everything again" in line for line in output.logs)
    assert_equal_to_truth(box, table)


def test_without_access_to_the_log_a_wider_window_is_read_and_a_warning_says_what_is_missed(
    box: Sandbox,
) -> None:
    # Given
    box.close.events_forbidden = True
    box.close.generate(count=200)
    key = box.close.insert(starts_at=at(days=-60))
    table, output = first_sync(box)
    box.clock.advance(hours=1)
    box.close.edit(key, title="edited")
    # When
    output = synced(box, table, output.last_states())
    # Then
    assert len(asked(box, LOG)) == 1
    (window,) = (params for params in asked(box, LIST) if params.get("date_created__lt"))
    assert window["date_created__gte"] == at(days=-90, hours=1)
    assert window["date_created__lt"] == at(days=365, hours=1)
    assert any("deletions, and changes of meetings that start outside" in x for x in output.logs)
    assert [row["title"] for row in output.records()] == ["edited"]
    # And once the key may read the log, all changes in it are caught up on
    other = next(
        one for one, row in box.close.truth().items() if row["date_created"] < at(days=-400)
    )
    box.close.edit(other, title="old one")
    box.close.events_forbidden = False
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


def test_transcripts_that_arrive_late_or_change_are_read(box: Sandbox) -> None:
    # Given
    box.close.generate(count=100)
    late = box.close.insert(starts_at=at(days=-1), notetaker_id="note_late")
    box.close.set_transcripts(late, [])
    silent = box.close.insert(starts_at=at(days=-1))
    table, output = first_sync(box, TRANSCRIPTS)
    assert late not in transcripts_of(table)
    output = synced(box, table, output.last_states())
    # When one arrives with no sign of it in the row, and another one with a summary
    box.close.set_transcripts(late, next(iter(box.close.transcripts().values())))
    box.close.add_transcript(silent)
    output = synced(box, table, output.last_states())
    # Then
    assert {late, silent} <= set(transcripts_of(table))
    # And only rows that do not say whether they were recorded are requested again
    synced(box, table, output.last_states())
    unsaid = {key for key, row in box.close.truth().items() if "notetaker_id" not in row}
    assert {request.path.split("/")[-2] for request in details(box)} <= unsaid


# -- changes during a sync ------------------------------------------------------------------------


def test_rows_deleted_while_a_full_second_is_paged_do_not_hide_others(
    box: Sandbox,
) -> None:
    # Given
    ids = [box.close.insert(starts_at="2026-03-03T10:00:00Z") for _ in range(230)]
    gone = iter(ids + ids[::-1])
    box.after("_skip=99", 1, lambda: [box.close.delete(next(gone)) for _ in range(5)])
    # When
    table, output = first_sync(box)
    # Then no row is missing, and the next sync marks the deleted ones
    assert set(box.close.truth()) <= set(table.rows)
    synced(box, table, output.last_states())
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize(
    ("change", "meaning"),
    [
        (lambda box, key: box.close.edit(key, title="new"), "start"),
        (lambda box, key: box.close.reschedule(key, at(days=-1000)), "start"),
        (lambda box, key: box.close.reschedule(key, at(days=200)), "start"),
        (lambda box, key: box.close.reschedule(key, at(days=200)), "created"),
        (lambda box, key: box.close.cancel(key), "start"),
        (lambda box, key: box.close.delete(key), "start"),
    ],
)
def test_changes_during_a_first_sync_are_in_the_table_after_the_next_one(
    box: Sandbox, change: Any, meaning: str
) -> None:
    # Given changes to many meetings at several points of a first sync
    box.close.date_created_means = meaning
    box.close.generate(count=300)
    ids = sorted(box.close.truth())
    for nth in (1, 2, 4, 6):
        picked = ids[nth::30]
        box.after(WINDOWS, nth, lambda picked=picked: [change(box, key) for key in picked])
    table, output = first_sync(box)
    # When
    synced(box, table, output.last_states())
    # Then
    assert_equal_to_truth(box, table)


def test_changes_between_two_queries_of_the_log_are_in_the_next_sync(box: Sandbox) -> None:
    # Given
    box.close.generate(count=150)
    table, output = first_sync(box)
    box.clock.advance(hours=1)
    ids = sorted(box.close.truth())

    def change(number: int) -> None:
        box.close.edit(ids[number], title="new")
        box.close.delete(ids[number + 50])
        box.close.cancel(ids[number + 20])
        box.clock.advance(minutes=7)

    for nth in range(1, 8):
        box.after("/event/", nth, lambda nth=nth: change(nth))
    output = synced(box, table, output.last_states())
    # When
    synced(box, table, output.last_states())
    # Then
    assert_equal_to_truth(box, table)


def test_a_meeting_deleted_before_its_transcript_is_read_is_left_out(box: Sandbox) -> None:
    # Given
    box.close.generate(count=100)
    gone = next(iter(box.close.transcripts()))
    box.before(f"{gone}/", 1, lambda: box.close.delete(gone))
    # When
    table, output = first_sync(box, TRANSCRIPTS)
    # Then
    assert gone not in table.rows
    assert any("deleted before it could be read" in line for line in output.logs)


# -- resume ---------------------------------------------------------------------------------------


def test_a_first_sync_can_be_resumed_from_each_of_its_states(box: Sandbox) -> None:
    # Given every state of a first sync with future meetings, and changes after each state
    box.close.generate(count=300)
    box.close.insert(starts_at=at(days=400))
    output = read(config(box), None, [STREAM])
    states = output.of("STATE")
    messages = output.messages
    requests = len(asked(box, LIST))
    assert len(states) >= 8
    for number in range(0, len(states), 2):
        table = Table(STREAM)
        cut = messages.index(states[number])
        table.load(Output(messages[: cut + 1]))
        key = random.Random(number).choice(sorted(box.close.truth()))
        box.close.reschedule(key, at(days=number + 30))
        box.close.delete(sorted(box.close.truth())[number])
        # When the sync is resumed from that state
        synced(box, table, [states[number]["state"]])
        # Then
        assert_equal_to_truth(box, table)
        if number:
            assert len(asked(box, LIST)) < requests, "windows are read twice"


def test_an_unfinished_first_sync_older_than_the_log_is_started_again(box: Sandbox) -> None:
    # Given
    box.close.generate(count=150)
    states = read(config(box), None, [STREAM]).of("STATE")
    key, *_ = sorted(box.close.truth())
    box.close.edit(key, title="changed long ago")
    box.clock.advance(days=40)
    # When it is resumed with one window left
    table = Table(STREAM)
    unfinished = [
        one["state"] for one in states if "scan" in one["state"]["stream"]["stream_state"]
    ]
    synced(box, table, [unfinished[-1]])
    # Then
    assert_equal_to_truth(box, table)


# -- refusal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["old", "new"])
def test_the_maximum_of_skip_is_named_in_the_error(box: Sandbox, words: str) -> None:
    # Given
    box.close.max_skip, box.close.skip_message = 90, words
    for _ in range(230):
        box.close.insert(starts_at="2026-03-03T10:00:00Z")
    # When
    output = read(config(box), None, [STREAM])
    # Then
    assert output.exit_code == 1
    assert "ceiling of _skip" in output.errors[0]["message"]


def test_an_answer_that_is_not_a_meeting_is_requested_again(box: Sandbox) -> None:
    # Given
    box.close.generate(count=100)
    box.fault("activity/meeting/acti", 1, kind="body", body={})
    # When
    table, _ = first_sync(box, TRANSCRIPTS)
    # Then
    assert set(transcripts_of(table)) == set(box.close.transcripts())


@pytest.mark.parametrize("command", ["check", "discover"])
def test_an_invalid_calendar_event_is_quoted_before_any_request(box: Sandbox, command: str) -> None:
    path = write_json(config(box, calendar_events=["https://example.com/meeting"]))
    output = run_command([command, "--config", path])
    assert "https://example.com/meeting" in str(output.messages)
    assert "entry 1 of provider.calendar_events" in str(output.messages)
    assert box.requests == []


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "API Keys"), (402, "plan"), (403, "may not read"), (404, "base_url")],
)
def test_check_says_what_to_do_when_close_refuses_it(box: Sandbox, status: int, words: str) -> None:
    box.fault("/me/", times=5, kind="status", status=status)
    output = run_command(["check", "--config", write_json(config(box))])
    answer = output.of("CONNECTION_STATUS")[0]["connectionStatus"]
    assert answer["status"] == "FAILED"
    assert words in answer["message"]


@pytest.mark.parametrize("body", ["string", "object", "absent"])
@pytest.mark.parametrize(("header", "separator"), [(True, ","), (True, ";"), (False, ",")])
def test_the_wait_that_a_429_announces_is_understood_in_every_form(
    box: Sandbox, body: str, header: bool, separator: str
) -> None:
    box.close.generate(count=20)
    box.close.rate_body, box.close.rate_header = body, header
    box.close.rate_separator, box.close.rate_reset, box.close.throttle = separator, 0.2, 2
    table, _ = first_sync(box)
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("stream", [STREAM, TRANSCRIPTS, "close_outcomes"])
@pytest.mark.parametrize(
    ("body", "words"),
    [({"data": []}, "has_more"), ({"data": [{"title": "no id"}], "has_more": False}, "no 'id'")],
)
def test_an_answer_of_another_shape_stops_the_stream(
    box: Sandbox, stream: str, body: Json, words: str
) -> None:
    # Given answers whose shape is not the documented one
    box.close.generate(count=150)
    box.fault("/(meeting|outcome)/", 1, 50, kind="body", body=body)
    # When
    output = read(config(box), None, [stream])
    # Then the stream fails with what is missing, and emits nothing
    assert output.exit_code == 1
    assert output.statuses == {stream: "INCOMPLETE"}
    assert words in output.errors[0]["message"]
    assert output.records() == []
