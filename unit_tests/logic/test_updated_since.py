"""Lists that can be filtered by time of change: what is requested, emitted and promised."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import pytest

from source_meetings import timestamps
from source_meetings.strategies.updated_since import UpdatedSince
from source_meetings.sync.reading import Answer, Row, State, UnusableState
from unit_tests.logic.fakes import ScriptedApi, at, synced, text

LATER = at(hours=1)
CHANGED = text()
SINCE = {"parameter": "since", "fields": ["changed"]}
CREATED_SINCE = {"parameter": "created_since", "fields": ["created"]}
EVENTS = {"option": "event_ids", "parameter": "event", "what": "event"}


def strategy(
    api: ScriptedApi, *, start_date: str | None = None, event_ids: Any = (), **options: Any
) -> UpdatedSince:
    given: dict[str, Any] = {"key": ("id",), "filters": (SINCE,), **options}
    config = {"provider": {"event_ids": list(event_ids)}, "start_date": start_date}
    return UpdatedSince("acme_rows", "changed", config, api, **given)


def row(id: str, changed: Any = CHANGED, **fields: Any) -> Row:
    return {"id": id, "changed": changed, **fields}


def page(*rows: Row, clock: datetime = LATER, more: bool = False) -> Answer:
    """Return one page, which has two rows if there are more."""
    return Answer(list(rows), clock, pages=2 if more else 1)


def pages(*rows: Row, clock: datetime = LATER) -> list[Answer]:
    """Return three or four rows, on two pages."""
    return [Answer(list(some), clock, pages=2) for some in (rows[:2], rows[2:])]


def known(**watermarks: str) -> State:
    """Return the state of a list without partitions."""
    return {"changed": text(), "partitions": {"": watermarks}}


KNOWN = known(since=text(), since_seen=text(), seen_at=text())


def watermarks(state: State, partition: str = "") -> dict[str, Any]:
    """Return the watermarks of a state, without the data of the look-back."""
    found: dict[str, Any] = state["partitions"][partition]
    return {name: found[name] for name in found if name not in ("seen_at", "settled")}


def asked(api: ScriptedApi) -> list[dict[str, str]]:
    return [one.params for one in api.asked]


# -- what a first sync promises -------------------------------------------------------------------


def test_the_watermark_is_the_newest_stamp_on_the_first_page() -> None:
    # Given a newer stamp on the second page
    api = ScriptedApi(*pages(row("a"), row("b", text(minutes=3)), row("c", text(minutes=9))))
    course = synced(strategy(api))
    # Then it is not the watermark, because a may have changed while the second page was read
    assert asked(api) == [{}, {}]
    assert [one["id"] for one in course.rows] == ["a", "b", "c"]
    assert watermarks(course.state) == {
        "since": text(minutes=3),
        "since_seen": text(minutes=9),
    }
    assert course.state["changed"] == text(minutes=9)


@pytest.mark.parametrize("stamp", [text(hours=1, seconds=1), text(days=9)])
def test_a_stamp_ahead_of_the_providers_clock_does_not_become_the_watermark(stamp: str) -> None:
    course = synced(strategy(ScriptedApi(page(row("a"), row("b", stamp)))))
    assert watermarks(course.state) == {"since": text(), "since_seen": text()}


@pytest.mark.parametrize("stamp", [None, "soon", text(days=9)])
def test_if_no_row_has_a_stamp_the_watermark_is_the_clock(stamp: Any) -> None:
    course = synced(strategy(ScriptedApi(page(row("a", stamp)))))
    assert watermarks(course.state)["since"] == timestamps.iso(LATER)


def test_an_empty_list_is_read_whole_by_the_next_sync_too() -> None:
    # Given a list without rows
    api = ScriptedApi(page())
    course = synced(strategy(api))
    assert course.state["partitions"] == {"": {}}
    # When the next sync runs
    api.forget()
    synced(strategy(api), course.state)
    # Then
    assert asked(api) == [{}]


def test_a_start_date_is_sent_and_older_rows_are_left_out() -> None:
    # Given an API that answers with older rows despite the filter
    api = ScriptedApi(page(row("old", text(days=-1)), row("a"), row("b", "soon")))
    course = synced(strategy(api, start_date=text(hours=-1)))
    # Then the request starts a look-back before the start date, as rows may become visible late
    assert asked(api) == [{"since": text(hours=-1, minutes=-2)}]
    assert [one["id"] for one in course.rows] == ["a", "b"]


# -- what a later sync requests and promises ------------------------------------------------------


def test_a_later_sync_requests_changes_since_the_look_back_before_the_watermark() -> None:
    api = ScriptedApi(page(row("a", text(minutes=5))))
    course = synced(strategy(api, look_back_seconds=30), KNOWN)
    assert asked(api) == [{"since": text(seconds=-30)}]
    assert watermarks(course.state) == {"since": text(minutes=5), "since_seen": text(minutes=5)}


@pytest.mark.parametrize(
    ("format", "sent"),
    [
        ("iso", "2026-05-31T12:00:00.500000Z"),
        ("epoch_seconds", "1780228800"),
        ("epoch_milliseconds", "1780228800500"),
    ],
)
def test_the_watermark_is_sent_in_the_format_of_the_filter(format: str, sent: str) -> None:
    api = ScriptedApi(page())
    state = known(since="2026-06-01T12:00:00.500Z")
    synced(strategy(api, filters=({**SINCE, "format": format},), look_back_seconds=86400), state)
    assert asked(api) == [{"since": sent}]


@pytest.mark.parametrize("format", ["epoch_seconds", "epoch_milliseconds"])
def test_no_time_before_the_epoch_is_sent_as_a_number(format: str) -> None:
    api = ScriptedApi(page())
    filters = ({**SINCE, "format": format},)
    synced(strategy(api, filters=filters), known(since="1970-01-01T00:00:01Z"))
    assert asked(api) == [{"since": "0"}]


def test_a_sync_without_changes_keeps_the_watermark_and_settles_it() -> None:
    # Given a watermark that has been known for longer than the look-back
    api = ScriptedApi(page())
    course = synced(strategy(api), KNOWN)
    # Then the next and later syncs read only from its last second on
    assert watermarks(course.state) == {"since": text(), "since_seen": text()}
    api.forget()
    synced(strategy(api), course.state)
    assert asked(api) == [{"since": text(seconds=-1)}]


def test_the_newest_stamp_of_the_previous_sync_can_advance_the_watermark() -> None:
    # Given a sync whose first page had stamps up to 12:00, and another page had a newer one
    state = known(since=text(), since_seen=text(minutes=9))
    course = synced(strategy(ScriptedApi(page(row("a")))), state)
    assert watermarks(course.state)["since"] == text(minutes=9)


def test_a_watermark_never_passes_the_clock() -> None:
    # Given a newest stamp a minute ahead of the provider's clock, which was then set back
    state = known(since=text(), since_seen=text(hours=1, minutes=1))
    course = synced(strategy(ScriptedApi(page(row("a")))), state)
    assert watermarks(course.state)["since"] == timestamps.iso(LATER)


def test_with_a_watermark_far_ahead_of_the_clock_everything_is_read_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a watermark in the next year
    state = known(since=text(days=365), since_seen=text(days=365))
    api = ScriptedApi(page(row("a")))
    with caplog.at_level(logging.WARNING):
        course = synced(strategy(api), state)
    # Then it is not kept
    assert asked(api) == [{"since": text(days=365, minutes=-2)}, {}]
    assert watermarks(course.state) == {"since": text(), "since_seen": text()}
    assert [record.getMessage() for record in caplog.records] == [
        "Stream acme_rows: the saved state is ahead of Acme's clock (2026-06-01T13:00:00.000000Z); "
        "reading everything again."
    ]


# -- several filters ------------------------------------------------------------------------------

BOTH = (SINCE, CREATED_SINCE)


def test_each_filter_has_a_pass_and_a_watermark_of_its_own() -> None:
    # Given a row that both passes list, and one that only the second one lists
    both = row("a", text(minutes=8), created=text(minutes=5))
    api = ScriptedApi(page(both), page(both, row("b", None, created=text(minutes=6))))
    state = known(since=text(), created_since=text(minutes=-9))
    course = synced(strategy(api, filters=BOTH), state)
    assert asked(api) == [
        {"since": text(minutes=-2)},
        {"created_since": text(minutes=-11)},
    ]
    # Then the first row is emitted once, and each watermark is from the filter's own first page
    assert [one["id"] for one in course.rows] == ["a", "b"]
    assert watermarks(course.state) == {
        "since": text(minutes=8),
        "since_seen": text(minutes=8),
        "created_since": text(minutes=6),
        "created_since_seen": text(minutes=6),
    }


def test_the_first_page_of_one_filter_promises_nothing_about_another_filter() -> None:
    # Given a row that was created and changed before the second pass started
    fresh = row("a", text(minutes=8), created=text(minutes=7))
    api = ScriptedApi(page(fresh), page())
    state = known(since=text(), created_since=text())
    course = synced(strategy(api, filters=BOTH), state)
    # Then rows created until 12:07 may not have been read
    assert watermarks(course.state)["created_since"] == text()
    assert watermarks(course.state)["created_since_seen"] == text(minutes=7)


def test_a_partition_without_all_of_its_watermarks_is_read_whole() -> None:
    api = ScriptedApi(page(row("a", created=text(minutes=-1))))
    course = synced(strategy(api, filters=BOTH), KNOWN)
    assert asked(api) == [{}]
    assert watermarks(course.state)["created_since"] == text(minutes=-1)


def test_the_stamp_of_a_row_is_the_newest_of_several_fields() -> None:
    either = {"parameter": "since", "fields": ["changed", "cancelled"]}
    course = synced(
        strategy(ScriptedApi(page(row("a", cancelled=text(minutes=4)))), filters=(either,))
    )
    assert watermarks(course.state)["since"] == text(minutes=4)


# -- partitions -----------------------------------------------------------------------------------


def of_events(api: ScriptedApi, *ids: Any) -> UpdatedSince:
    return strategy(api, event_ids=ids, partitions=EVENTS)


def test_each_partition_is_read_once_however_often_it_is_configured() -> None:
    api = ScriptedApi(page(row("a")))
    course = synced(of_events(api, 7, "8", "7"))
    assert asked(api) == [{"event": "7"}, {"event": "8"}]
    assert set(course.state["partitions"]) == {"7", "8"}


def test_a_row_in_two_partitions_is_emitted_for_each() -> None:
    course = synced(of_events(ScriptedApi(page(row("a"))), "7", "8"))
    assert [one["id"] for one in course.rows] == ["a", "a"]


def test_a_new_partition_is_read_whole_and_a_removed_one_is_dropped_from_the_state() -> None:
    # Given a state with the events 7 and 8
    api = ScriptedApi(page(row("a")))
    state = synced(of_events(api, "7", "8")).state
    api.forget()
    # When 9 is configured instead of 7
    course = synced(of_events(api, "8", "9"), state)
    assert asked(api) == [{"event": "8", "since": text(minutes=-2)}, {"event": "9"}]
    assert set(course.state["partitions"]) == {"8", "9"}


def test_a_first_sync_is_resumed_with_the_unread_partitions() -> None:
    # Given a first sync that is killed while it reads the second of three events
    api = ScriptedApi(page(row("a")), *pages(row("b"), row("c"), row("d")))
    killed = synced(of_events(api, "7", "8", "9"), pages_at_most=2)
    assert killed.state["scan"]["then"]["partitions"].keys() == {"7"}
    api = ScriptedApi(page(row("a")))
    # When it is resumed, then only the changes of the first one are requested
    course = synced(of_events(api, "7", "8", "9"), killed.state)
    whole = [one["event"] for one in asked(api) if "since" not in one]
    assert set(whole) == {"8", "9"}
    assert [one["event"] for one in asked(api) if "since" in one] == ["7"]
    # And no state on the way lists the first one as unread
    left = [one["scan"]["pending"] for one in course.saved if "scan" in one]
    assert left and all({"partition": "7"} not in pending for pending in left)
    assert set(course.state["partitions"]) == {"7", "8", "9"}


def test_an_unread_partition_is_read_whole_even_if_the_state_has_its_watermark() -> None:
    api = ScriptedApi(page(row("a")))
    watermark = KNOWN["partitions"][""]
    state = {"scan": {"then": {"partitions": {"7": watermark}}, "pending": [{"partition": "7"}]}}
    synced(of_events(api, "7"), state)
    assert asked(api) == [{"event": "7"}]


def test_a_partition_that_was_not_read_completely_keeps_its_watermark() -> None:
    api = ScriptedApi(*pages(row("a", text(minutes=5)), row("b"), row("c")))
    api.breaks_at(2)
    course = synced(strategy(api), KNOWN)
    assert course.error is not None
    assert course.state == KNOWN


def test_an_event_whose_watermark_is_ahead_of_the_clock_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ahead = {"since": text(days=365), "since_seen": text(days=365)}
    state = {"changed": text(), "partitions": {"7": KNOWN["partitions"][""], "8": ahead}}
    api = ScriptedApi(page(row("a")))
    with caplog.at_level(logging.WARNING):
        synced(of_events(api, "7", "8"), state)
    # Then the other event is not read whole
    assert asked(api)[0] == {"event": "7", "since": text(minutes=-2)}
    assert [record.getMessage() for record in caplog.records] == [
        "Stream acme_rows: the saved state of event 8 is ahead of Acme's clock "
        "(2026-06-01T13:00:00.000000Z); reading event 8 again."
    ]


# -- states that cannot be used -------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [None, [], {"": None}, {"": "since"}])
def test_a_malformed_state_is_refused_before_any_request(partitions: Any) -> None:
    # Given a malformed state
    api = ScriptedApi(page())
    state = {"changed": text(), "partitions": partitions}
    # When a sync starts or resumes with it, then it is refused
    with pytest.raises(UnusableState):
        strategy(api).changes(state)
    with pytest.raises(UnusableState):
        strategy(api).resume(state, [])
    # And no request was sent
    assert api.asked == []


def test_unread_partitions_that_are_no_longer_configured_are_refused() -> None:
    api = ScriptedApi(page())
    with pytest.raises(UnusableState):
        of_events(api, "7").resume({"partitions": {}}, [{"partition": "8"}])
    assert api.asked == []


# -- what is left of a first sync -----------------------------------------------------------------


def test_all_partitions_or_some_of_them_may_be_left() -> None:
    made = strategy(ScriptedApi(), event_ids=[1, 2], partitions=EVENTS)
    state: State = {"changed": None, "partitions": {}}
    for left in (["1"], ["2", "1"]):
        reading = made.resume(state, [{"partition": one} for one in left])
        saved = [one.values["partition"] for one in reading.slices() if one.saved]
        assert (reading.resumable, saved) == (True, sorted(left))


@pytest.mark.parametrize("left", [{"partition": "3"}, {}])
def test_a_partition_that_is_not_configured_cannot_be_left(left: State) -> None:
    made = strategy(ScriptedApi(), event_ids=[1, 2], partitions=EVENTS)
    with pytest.raises(UnusableState):
        made.resume({"changed": None, "partitions": {}}, [{"partition": "1"}, left])


# -- requests -------------------------------------------------------------------------------------


def test_a_message_says_whose_rows_are_counted_and_not_listed() -> None:
    none = Answer([], LATER, total=3)
    course = synced(strategy(ScriptedApi(none)))
    assert str(course.error) == "Acme counts rows but lists none."
    course = synced(strategy(ScriptedApi(none), event_ids=[7], partitions=EVENTS))
    assert str(course.error) == "Acme counts rows of event 7 but lists none."


def test_everything_is_asked_of_the_endpoint_that_the_manifest_names() -> None:
    # Given an API that has no other endpoint
    api = ScriptedApi(page(row("a")))
    named: list[tuple[str, str]] = []
    api.page_size = lambda endpoint: named.append(("size", endpoint)) or 2  # type: ignore[method-assign,func-returns-value]
    api.pages_by_token = lambda endpoint: named.append(("token", endpoint)) is not None  # type: ignore[method-assign,func-returns-value]
    synced(strategy(api, endpoint="notes", newest={"sort": "-changed"}))
    assert named == [("token", "notes"), ("size", "notes")]
    assert [(one.endpoint, one.params, one.page) for one in api.asked] == [
        ("notes", {"sort": "-changed"}, None),
        ("notes", {}, 1),
    ]
