"""Close's event log: what is new compared with a state, and what the next state may promise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from source_meetings import timestamps
from source_meetings.providers.close.event_log import Changes, EventLog, LogReading, Newest
from source_meetings.sync.fingerprints import digest, pack
from source_meetings.sync.look_back import LookBack
from source_meetings.sync.reading import (
    Answer,
    ReadEverything,
    Row,
    State,
    Untrustworthy,
    UnusableState,
)
from unit_tests.logic.fakes import FakeClose, ScriptedApi, at, text

CURSOR = "date_updated"
FIVE_MINUTES = LookBack(timedelta(minutes=5))
ACTIONS = ("updated", "created", "deleted", "scheduled", "started", "completed", "canceled")


def log(api: Any, days: int = 29) -> EventLog:
    return EventLog(api, CURSOR, FIVE_MINUTES, days)


def state(as_of: str | None = None, **fields: Any) -> State:
    """Return a state that has everything up to noon."""
    events = dict.fromkeys(ACTIONS, text())
    return {CURSOR: as_of or text(), "events": events, **fields}


def event(id: str = "ev1", **fields: Any) -> Row:
    return {
        "id": id,
        "object_type": "activity.meeting",
        "object_id": "m1",
        "action": "updated",
        "date_updated": text(minutes=1),
        **fields,
    }


def changes_of(*events: Row) -> Changes:
    changes = Changes()
    for one in events:
        changes.add(one)
    return changes


def since(api: FakeClose, before: State) -> LogReading:
    api.forget()
    return log(api).changes_since(before)


# -- what events say about a meeting --------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_a_deletion_takes_precedence_over_other_events_in_any_order(order: int) -> None:
    # Given a deletion and a later event
    deletion = event("ev1", action="deleted", lead_id="lead")
    later = event("ev2", date_updated=text(minutes=9), lead_id="other")
    # When they are listed in either order
    (change,) = changes_of(*[deletion, later][::order]).by_id.values()
    # Then the meeting counts as deleted
    assert change.is_deletion
    assert change.lead_id == "lead"
    # And its tombstone has the time of the latest event
    assert change.moment == at(minutes=9)


@pytest.mark.parametrize("place", ["data", "previous_data"])
def test_a_tombstone_is_later_than_the_row_in_an_event(place: str) -> None:
    shown = event(action="deleted", **{place: {"date_updated": text(minutes=30)}})
    (change,) = changes_of(shown).by_id.values()
    assert change.moment == at(minutes=30, microseconds=1)


@pytest.mark.parametrize("damage", [{"date_updated": "soon"}, {"object_id": None}])
def test_an_event_without_a_time_or_an_object_is_an_error(damage: Row) -> None:
    with pytest.raises(Untrustworthy, match="no usable date_updated or object_id"):
        changes_of(event(**damage))


def test_an_event_about_another_object_is_ignored() -> None:
    assert changes_of(event(object_type="lead")).by_id == {}
    assert list(changes_of({**event(), "object_type": "activity.meeting"}).by_id) == ["m1"]


def test_a_change_has_the_action_the_lead_and_the_organization_of_its_last_event() -> None:
    first = event("ev1", action="created", lead_id="lead", organization_id="orga")
    last = event("ev2", action="updated", lead_id="other", organization_id="another")
    (change,) = changes_of(first, last).by_id.values()
    assert (change.action, change.lead_id, change.organization_id) == (
        "updated",
        "other",
        "another",
    )


def test_an_event_that_does_not_say_what_it_is_about_is_about_a_meeting() -> None:
    # The log was asked for events of meetings only
    untyped = event()
    del untyped["object_type"]
    assert list(changes_of(untyped).by_id) == ["m1"]


# -- where a first sync starts --------------------------------------------------------------------


def test_the_newest_event_of_any_kind_is_requested() -> None:
    # Given
    api = FakeClose()
    api.insert(at())
    api.now = at(minutes=1)
    api.edit("m1", action="canceled")
    # When the newest event is requested, then one request finds it
    assert log(api).newest() == Newest(at(minutes=1), at(minutes=1, seconds=1))
    assert [one.params for one in api.asked] == [{"_limit": "1"}]


def test_if_filters_are_required_the_newest_update_is_used() -> None:
    # Given a log that refuses requests without filters
    api = FakeClose()
    api.log = "filtered"
    api.insert(at())
    api.edit("m1")
    # When the newest event is requested, then it is the newest update
    assert log(api).newest().moment == at()
    updates = {"object_type": "activity.meeting", "action": "updated", "_limit": "1"}
    assert [one.params for one in api.asked] == [{"_limit": "1"}, updates]


@pytest.mark.parametrize(("status", "closed"), [(403, True), (400, False)])
def test_a_log_that_the_key_may_not_read_counts_as_closed(status: int, closed: bool) -> None:
    api = ScriptedApi(Answer([], at(), status=status))
    assert log(api).newest() == Newest(None, at(), closed=closed)


def test_a_first_state_promises_everything_up_to_the_newest_event_but_not_beyond_the_clock() -> (
    None
):
    assert log(FakeClose()).state_at(Newest(at(), at(minutes=1))) == state(text(minutes=1))
    ahead = log(FakeClose()).state_at(Newest(at(days=1), at()))
    assert ahead["events"] == dict.fromkeys(ACTIONS, text(seconds=1))
    assert log(FakeClose()).state_at(Newest(None, at())) == {CURSOR: text(), "events": {}}


# -- what changed ---------------------------------------------------------------------------------


def test_the_log_is_requested_per_action_from_the_look_back_before_the_watermark() -> None:
    api = FakeClose()
    # When a sync starts from a state of noon
    since(api, state())
    # Then there is one request per action, from five minutes before noon
    assert [one.params for one in api.asked] == [
        {
            "object_type": "activity.meeting",
            "action": action,
            "date_updated__gte": "2026-06-01T11:55:00+00:00",
        }
        for action in ACTIONS
    ]


def test_the_watermark_of_an_action_is_its_newest_event_or_the_newest_seen_before_its_query() -> (
    None
):
    # Given an event of the action that is requested second
    api = FakeClose()
    api.insert(at(), late=timedelta(days=9))
    api.now = at(minutes=1)
    api.edit("m1", action="created")
    found = since(api, state())
    # Then the first query still promises noon, and the others promise the event, which was seen
    assert found.state["events"] == {
        **dict.fromkeys(ACTIONS, text(minutes=1)),
        "updated": text(),
    }
    assert list(found.changes) == ["m1"]


def test_an_event_in_the_future_does_not_become_the_watermark() -> None:
    # Given an event that is two days ahead of the clock
    shown = ScriptedApi(
        Answer([event(date_updated=text(days=2))], at(minutes=1), body={}),
        Answer([], at(minutes=1), body={}),
    )
    # When
    found = log(shown).changes_since(state())
    # Then
    assert found.state["events"]["updated"] == text(minutes=1, seconds=1)


def test_known_events_are_new_only_if_they_were_changed_in_place() -> None:
    api = FakeClose()
    api.insert(at())
    api.now = at(minutes=1)
    api.edit("m1")
    first = since(api, state())
    assert list(first.changes) == ["m1"]
    # When the same events are listed again, because they are within the look-back
    seen = {**state(), **first.state, "events_seen": pack(first.overlapping)}
    assert since(api, seen).changes == {}
    # And when the last one is changed in place
    api.now += timedelta(seconds=1)
    api.change_last_event()
    assert list(since(api, seen).changes) == ["m1"]


def test_a_state_only_has_events_that_the_next_sync_lists_again() -> None:
    # Given events at noon, and one ten minutes later
    api = FakeClose()
    api.insert(at())
    api.edit("m1")
    api.now = at(minutes=10)
    api.edit("m1")
    found = since(api, state())
    # Then those more than five minutes before the oldest watermark are left out
    assert found.state["events"]["created"] == text(minutes=10)
    assert len(found.overlapping) == 1


def test_a_watermark_that_stays_behind_keeps_older_events_in_the_state() -> None:
    # Given updates up to noon, and a creation ten minutes later. The updates are listed again
    api = FakeClose()
    api.insert(at(), late=timedelta(days=1))
    api.edit("m1")
    api.now = at(minutes=10)
    api.insert(at())
    found = since(api, state())
    assert found.state["events"]["updated"] == text()
    assert len(found.overlapping) == 2


def test_new_deletions_are_found_by_the_version_of_their_event() -> None:
    # Given a deletion
    api = FakeClose()
    api.insert(at())
    api.now = at(minutes=1)
    api.delete("m1")
    # When it is listed for the first time, then it is new
    found = since(api, state())
    assert list(found.deletions.values()) == ["m1"]
    assert found.changes["m1"].is_deletion
    # And after that it is not
    seen = {**state(), **found.state, "events_seen": pack(found.overlapping)}
    assert since(api, seen).deletions == {}


def test_the_log_is_read_down_to_the_bound_and_no_further() -> None:
    # Given a log that ignores the bound
    shown = [event("ev1"), event("ev2", date_updated=text(minutes=-6))]
    pages = [Answer([one], at(minutes=2), body={}, following=one["id"]) for one in shown]
    api = ScriptedApi(*pages, Answer([], at(minutes=2), body={}))
    log(api).changes_since(state())
    updates = [one.page for one in api.asked if one.params["action"] == "updated"]
    # Then the first page with an event before the bound is the last one
    assert updates == [None, "ev1"]


def test_a_page_whose_newest_event_is_at_the_bound_is_not_the_last() -> None:
    # Given a page with an event five minutes before the watermark, and one with an older event
    at_bound = Answer([event("ev1", date_updated=text(minutes=-5))], at(), body={}, following="x")
    below = Answer([event("ev2", date_updated=text(minutes=-6))], at(), body={}, following="y")
    api = ScriptedApi(at_bound, below, Answer([], at(), body={}))
    log(api).changes_since(state())
    assert [one.page for one in api.asked][:3] == [None, "x", None]


def test_a_log_that_repeats_its_pages_is_an_error() -> None:
    api = ScriptedApi(Answer([event()], at(minutes=2), body={}, following="more"))
    with pytest.raises(Untrustworthy, match="do not end"):
        log(api).changes_since(state())
    assert len(api.asked) == 4


def test_a_log_that_repeats_two_pages_in_turn_has_no_end() -> None:
    two = [Answer([event(id)], at(minutes=2), body={}, following=id) for id in ("ev1", "ev2")]
    api = ScriptedApi(*two * 10)
    with pytest.raises(Untrustworthy, match="do not end"):
        log(api).changes_since(state())
    assert len(api.asked) == 5


def test_a_log_of_empty_pages_has_no_end() -> None:
    api = ScriptedApi(Answer([], at(minutes=2), body={}, following="more"))
    with pytest.raises(Untrustworthy, match="do not end"):
        log(api).changes_since(state())
    assert len(api.asked) == 3


def test_a_refused_action_is_an_error() -> None:
    api = ScriptedApi(Answer([], at(), status=400))
    with pytest.raises(Untrustworthy, match="refused to list the events of one action"):
        log(api).changes_since(state())


def test_a_closed_log_leaves_the_state_unchanged() -> None:
    api = FakeClose()
    api.log = "closed"
    found = since(api, state())
    assert (found.closed, found.state, found.newest, found.changes) == (True, state(), at(), {})
    assert log(api).deletions() == {}


def test_a_watermark_known_for_longer_than_the_look_back_is_settled() -> None:
    # Given a watermark that has been known for ten minutes
    api = FakeClose()
    api.now = at(minutes=10)
    # When nothing has changed, then it is settled
    found = since(api, state(seen_at=text()))
    assert found.state["settled"] is True
    # And then the log is requested from that very time on
    since(api, {**state(), **found.state})
    assert api.asked[0].params["date_updated__gte"] == "2026-06-01T12:00:00+00:00"


def test_a_watermark_that_moved_was_seen_at_the_last_answer() -> None:
    # Given an event since the state, and a request for each action that takes a second
    api = FakeClose()
    api.insert(at())
    found = since(api, state())
    last = text(seconds=len(api.asked))
    assert timestamps.iso(found.clock) == found.state["seen_at"] == found.state[CURSOR] == last


def test_it_is_the_first_answer_that_has_to_be_later_than_the_look_back() -> None:
    # Given a first answer exactly as long after the watermark was seen, and a second one later
    api = FakeClose()
    api.now = at(minutes=5, seconds=-1)
    assert "settled" not in since(api, state(seen_at=text())).state
    # And a first answer that is later
    api.now = at(minutes=5)
    assert since(api, state(seen_at=text())).state["settled"] is True


# -- a log that does not go back far enough -------------------------------------------------------


@pytest.mark.parametrize(
    ("as_of", "words"),
    [
        (text(days=-29, seconds=-2), "the last sync was 29 days ago"),
        (text(days=2), "the saved state is ahead of Close's clock"),
    ],
)
def test_with_a_state_older_than_the_log_everything_is_read(as_of: str, words: str) -> None:
    with pytest.raises(ReadEverything, match=words) as raised:
        since(FakeClose(), state(as_of))
    assert not raised.value.from_start


def test_a_state_within_the_trusted_length_of_the_log_can_be_used() -> None:
    since(FakeClose(), state(text(days=-29, seconds=1)))


@pytest.mark.parametrize(("days_later", "reaches"), [(28, True), (30, False)])
def test_if_the_date_header_stands_still_the_stamps_of_events_show_the_reach_of_the_log(
    days_later: int, reaches: bool
) -> None:
    # Given a Date header that does not advance
    shown = event(date_updated=text(days=days_later - 60))
    api = ScriptedApi(Answer([shown], at(), body={}))
    before = state(text(days=-1))
    before["events"] = dict.fromkeys(ACTIONS, text(days=-60))
    if reaches:
        log(api).changes_since(before)
        return
    with pytest.raises(ReadEverything, match="span more than Close's event log holds"):
        log(api).changes_since(before)


@pytest.mark.parametrize("minutes", [0, -5, -24 * 60 - 10])
def test_a_long_time_without_events_is_no_gap_if_the_new_ones_came_since_the_last_sync(
    minutes: int,
) -> None:
    # Given a sync a day ago that knew of nothing later than sixty days ago, and an event since then
    # (or ten minutes before, because clocks differ)
    shown = event(date_updated=text(minutes=minutes))
    api = ScriptedApi(Answer([shown], at(), body={}))
    before = state(text(days=-1))
    before["events"] = dict.fromkeys(ACTIONS, text(days=-60))
    assert log(api).changes_since(before).newest == at(minutes=minutes)


@pytest.mark.parametrize(
    "damage", [{CURSOR: "soon"}, {CURSOR: "1969-01-01"}, {"events": None}, {"events": []}]
)
def test_a_state_of_another_form_is_refused(damage: State) -> None:
    log(FakeClose()).check(state())
    with pytest.raises(UnusableState):
        log(FakeClose()).check({**state(), **damage})


def test_all_deletions_are_listed_without_a_bound() -> None:
    api = FakeClose()
    for _ in range(5):
        api.delete(api.insert(at()))
    assert sorted(log(api).deletions()) == ["m1", "m2", "m3", "m4", "m5"]
    assert {tuple(one.params.values()) for one in api.asked} == {("activity.meeting", "deleted")}


def test_the_version_of_an_event_is_its_id_and_its_time_of_change() -> None:
    api = ScriptedApi(Answer([event()], at(minutes=2), body={}), Answer([], at(), body={}))
    found = log(api).changes_since(state())
    assert found.overlapping == [digest(["ev1", text(minutes=1)])]
