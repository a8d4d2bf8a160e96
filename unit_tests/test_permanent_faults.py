"""Faults that stay: a stream stops soon, says so once and what to do; nothing is lost by it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.side import Call, Reply
from unit_tests.accounts import ACCOUNTS
from unit_tests.harness import Json, Output, read
from unit_tests.test_faults import STREAMS, Copy, account_of, change

# The list that each stream's first sync walks through, and one that another stream reads
LISTS = {
    "close": "/close/api/v1/activity/meeting/",
    "salesloft": "/salesloft/v2/meetings",
    "highlevel": "/highlevel/calendars/events",
    "expoplatform": "/expoplatform/api/v2/meetings/export",
}
OTHERS = {
    "close": {"close_outcomes"},
    "salesloft": set(),
    "highlevel": {"highlevel_calendars", "highlevel_calendar_groups"},
    "expoplatform": set(),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.02")


LATER = "What has been read is kept; run the sync again later."

# The fault, the failure_type, and words of which one is in the message
FOR_EVER: dict[str, tuple[Json, str, str]] = {
    "500": ({"kind": "status", "status": 500}, "transient_error", LATER),
    "401": ({"kind": "status", "status": 401}, "config_error", "does not accept the"),
    "403": ({"kind": "status", "status": 403}, "config_error", "may not|does not have access"),
    "429": (
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
        "transient_error",
        LATER,
    ),
    "dropped": ({"kind": "drop"}, "transient_error", "could not be reached"),
    "page for signing in": ({"kind": "html"}, "transient_error", "web page"),
    "text": ({"kind": "body", "body": "ok"}, "transient_error", "another shape"),
    "null inside": ({"kind": "body", "body": {"data": None}}, "transient_error", "another shape"),
    "error inside": ({"kind": "body", "body": {"error": "no"}}, "transient_error", "another shape"),
    "redirect": (
        {"kind": "redirect", "location": "http://127.0.0.1:9/"},
        "config_error",
        "base_url",
    ),
}


def only_failure(output: Output, stream: str) -> Json:
    """The one error of a run in which one stream has failed."""
    assert output.exit_code == 1
    (error,) = output.errors
    assert error["stream_descriptor"]["name"] == stream
    assert output.statuses[stream] == "INCOMPLETE"
    return error


def assert_the_next_run_makes_up_for(output: Output, copy: Copy) -> None:
    """Without the fault, a run from the saved state ends with the table equal to the truth."""
    copy.table.load(output)
    copy.state = output.last_states()
    copy.account.box._faults.clear()
    change(copy.account, 20)
    copy.sync()
    copy.assert_equal_to_truth()


@pytest.mark.parametrize(("name", "stream"), STREAMS, ids=lambda value: value)
@pytest.mark.parametrize("fault", FOR_EVER)
def test_a_fault_that_stays_stops_its_stream_with_one_error_and_the_next_run_goes_on(
    box: Sandbox, name: str, stream: str, fault: str
) -> None:
    options, failure_type, words = FOR_EVER[fault]
    # Given a fault from the third request to the main list on
    copy = Copy(account_of(box, name), stream)
    box.fault(LISTS[name] + "($|[?])", 3, 10**6, **options)
    # When everything is read
    output = read(copy.account.config(), [], [stream, *OTHERS[name]])
    # Then one stream fails, and says where, why, and what to do
    error = only_failure(output, stream)
    assert error["failure_type"] == failure_type
    assert f"{stream}, GET {LISTS[name]}: " in error["message"]
    assert any(word in error["message"] for word in words.split("|"))
    # And the others do not
    for other in OTHERS[name]:
        assert output.statuses[other] == "COMPLETE"
        assert output.records(other)
    # And the provider is not asked for ever
    assert len(box.requests) < 100
    # And what changes until the next run, which goes on from the saved state, is in the table then
    assert_the_next_run_makes_up_for(output, copy)


@pytest.mark.parametrize(("name", "stream"), STREAMS, ids=lambda value: value)
@pytest.mark.parametrize("fault", ["500", "403"])
def test_a_later_sync_that_fails_is_made_up_for_by_the_next(box, name, stream, fault):
    copy = Copy(account_of(box, name), stream)
    copy.sync()
    change(copy.account)
    nth = 1 if name == "salesloft" else 2  # one page shows it all there
    box.fault(LISTS[name] + "($|[?])", nth, 10**6, **FOR_EVER[fault][0])
    output = read(copy.account.config(), copy.state, [stream])
    only_failure(output, stream)
    assert_the_next_run_makes_up_for(output, copy)


# ------------------------------------------------------------------ pages without end


def twist(side: Any, change_page: Callable[[Json], None], ignored: str = "_cursor") -> None:
    """Have a change made to every page that the provider answers, one parameter being ignored."""
    plain = side.answer

    def answer(call: Call) -> Reply:
        call = replace(call, params=[pair for pair in call.params if pair[0] != ignored])
        reply = plain(call)
        if isinstance(reply.payload, dict):
            change_page(reply.payload)
        return reply

    side.answer = answer


CURSORS = itertools.count()


def more_and_empty(page: Json) -> None:
    if "has_more" in page:
        page.update(data=[], has_more=True)


def more_and_the_same(page: Json) -> None:
    if "has_more" in page:
        page.update(has_more=True)


def another_cursor_and_no_event(page: Json) -> None:
    if "cursor_next" in page:
        page.update(data=[], cursor_next=f"c{next(CURSORS)}")


def another_cursor_and_the_same_events(page: Json) -> None:
    if "cursor_next" in page:
        page["cursor_next"] = f"c{next(CURSORS)}"


def the_same_cursor(page: Json) -> None:
    if "cursor_next" in page:
        page["cursor_next"] = "always"


def always_a_next_page(page: Json) -> None:
    if "metadata" in page:
        page["metadata"]["paging"]["next_page"] = 1


def always_a_next_page_and_no_rows(page: Json) -> None:
    if "metadata" in page:
        page["data"].clear()
        page["metadata"]["paging"]["next_page"] = 2


def no_rows_of_many(page: Json) -> None:
    page.update(data=[], total_items=5000)


def one_page_of_many(page: Json) -> None:
    page.update(total_items=5000)


LOOPS = [
    ("close", more_and_empty),
    ("close", more_and_the_same),
    ("close", another_cursor_and_no_event),
    ("close", another_cursor_and_the_same_events),
    ("close", the_same_cursor),
    ("salesloft", always_a_next_page),
    ("salesloft", always_a_next_page_and_no_rows),
    ("expoplatform", no_rows_of_many),
    ("expoplatform", one_page_of_many),
]


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(
    ("name", "loop"), LOOPS, ids=lambda value: getattr(value, "__name__", value)
)
def test_pages_without_end_stop_the_stream(box, name, loop, later):
    copy = Copy(account_of(box, name), ACCOUNTS[name].streams[0])
    if later:
        copy.sync()
        change(copy.account)
    side = copy.account.side
    plain = side.answer
    twist(side, loop, ignored="page" if loop is one_page_of_many else "_cursor")
    box.forget_requests()
    output = read(copy.account.config(), copy.state, [copy.table.stream])
    assert len(box.requests) < 300
    # Then it ends in an error, unless what it needs stood on the first page
    if output.exit_code:
        error = only_failure(output, copy.table.stream)
        assert error["failure_type"] == "transient_error"
        assert f"{copy.table.stream}, GET /" in error["message"]
    else:
        assert later or "cursor" in loop.__name__
    # And with the state that it saved the next run loses nothing
    copy.table.load(output)
    copy.state = output.last_states()
    side.answer = plain
    copy.sync()
    copy.assert_equal_to_truth()


@pytest.mark.parametrize("stream", ["close_outcomes", "close_meetings_by_calendar_event"])
def test_lists_that_are_skipped_through_without_end_stop_the_stream(box, stream):
    # Given a server that ignores _skip
    account = account_of(box, "close")
    box.close.insert(provider_calendar_event_id="evt1")
    twist(box.close, more_and_the_same, ignored="_skip")
    config = account.config()
    config["provider"]["calendar_events"] = ["evt1"]
    output = read(config, [], [stream])
    error = only_failure(output, stream)
    assert error["failure_type"] == "transient_error"
    assert "does not end" in error["message"]
    assert len(box.requests) < 10


def test_a_stream_of_several_slices_that_fail_has_one_error(box):
    account = account_of(box, "close")
    stream = "close_meetings_by_calendar_event"
    box.fault("provider_calendar_event_id", 1, 999, kind="status", status=403)
    config = account.config()
    config["provider"]["calendar_events"] = ["evt1", "evt2", "evt3", "evt4"]
    output = read(config, [], [stream, "close_outcomes"])
    assert "may not read this" in only_failure(output, stream)["message"]
    assert output.statuses["close_outcomes"] == "COMPLETE"
