"""Permanent faults: the stream stops soon with one error that says what to do; nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from sandbox.facts import EndlessPages
from sandbox.side import Call, Reply, Side
from unit_tests.harness import Json, Output, read
from unit_tests.test_faults import STREAMS, Copy, change


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.02")


LATER = "What has been read is kept; run the sync again later."

# The fault, the failure_type, and words, of which one must be in the message
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
    "text": ({"kind": "body", "body": "ok"}, "transient_error", "the documented shape"),
    "null inside": (
        {"kind": "body", "body": {"data": None}},
        "transient_error",
        "the documented shape",
    ),
    "error inside": (
        {"kind": "body", "body": {"error": "no"}},
        "transient_error",
        "the documented shape",
    ),
    "redirect": (
        {"kind": "redirect", "location": "http://127.0.0.1:9/"},
        "config_error",
        "base_url",
    ),
}


def only_failure(output: Output, stream: str) -> Json:
    """Return the one error of a run in which one stream failed."""
    assert output.exit_code == 1
    (error,) = output.errors
    assert error["stream_descriptor"]["name"] == stream
    assert output.statuses[stream] == "INCOMPLETE"
    return error


def assert_the_next_run_makes_up_for(output: Output, copy: Copy) -> None:
    """Without the fault, a run from the saved state must make the table equal to the truth."""
    copy.table.load(output)
    copy.state = output.last_states()
    copy.account.box.forget_faults()
    change(copy.account, 20)
    copy.sync()
    copy.assert_equal_to_truth()


@pytest.mark.parametrize(("name", "stream"), STREAMS, ids=lambda value: value)
@pytest.mark.parametrize("fault", FOR_EVER)
def test_a_permanent_fault_stops_its_stream_with_one_error_and_the_next_run_continues(
    box: Sandbox, name: str, stream: str, fault: str
) -> None:
    options, failure_type, words = FOR_EVER[fault]
    # Given a fault from the third request to the main list on
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), stream)
    path, others = copy.account.list_path, copy.account.other_lists
    box.fault(path + "($|[?])", 3, 10**6, **options)
    # When everything is read
    output = read(copy.account.config(), [], [stream, *others])
    # Then one stream fails, and the error says where, why, and what to do
    error = only_failure(output, stream)
    assert error["failure_type"] == failure_type
    assert f"{stream}, GET {path}: " in error["message"]
    assert any(word in error["message"] for word in words.split("|"))
    # And the other streams do not fail
    for other in others:
        assert output.statuses[other] == "COMPLETE"
        assert output.records(other)
    # And the number of requests is limited
    assert len(box.requests) < 100
    # And the next run continues from the saved state and has the changes made until then
    assert_the_next_run_makes_up_for(output, copy)


@pytest.mark.parametrize(("name", "stream"), STREAMS, ids=lambda value: value)
@pytest.mark.parametrize("fault", ["500", "403"])
def test_the_sync_after_a_failed_one_catches_up(box, name, stream, fault):
    # Given a synced account, changes, and a permanent fault
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), stream)
    copy.sync()
    change(copy.account)
    box.fault(copy.account.list_path + "($|[?])", 1, 10**6, **FOR_EVER[fault][0])
    # When
    output = read(copy.account.config(), copy.state, [stream])
    # Then the sync fails with one error, and the next one has the changes
    only_failure(output, stream)
    assert_the_next_run_makes_up_for(output, copy)


# -- endless pages --------------------------------------------------------------------------------


def twist(side: Side, pages: EndlessPages) -> None:
    """Make the provider answer with pages of this kind."""
    plain = side.answer

    def answer(call: Call) -> Reply:
        params = [(name, value) for name, value in call.params if name != pages.ignored]
        reply = plain(replace(call, params=params))
        if isinstance(reply.payload, dict):
            pages.spoil(reply.payload)
        return reply

    side.answer = answer  # type: ignore[method-assign]


LOOPS = [(name, pages) for name, account in ACCOUNTS.items() for pages in account.endless_pages]


def name_of(value: Any) -> str:
    return value.spoil.__name__ if isinstance(value, EndlessPages) else value


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(("name", "pages"), LOOPS, ids=name_of)
def test_endless_pages_stop_the_stream(box, name, pages, later):
    copy = Copy(ACCOUNTS[name].with_rows(box, 240), ACCOUNTS[name].streams[0])
    if later:
        copy.sync()
        change(copy.account)
    side = copy.account.side
    plain = side.answer
    twist(side, pages)
    box.forget_requests()
    output = read(copy.account.config(), copy.state, [copy.table.stream])
    assert len(box.requests) < 300
    # Then the sync fails, unless all the rows that it needs are on the first page
    if output.exit_code:
        error = only_failure(output, copy.table.stream)
        assert error["failure_type"] == "transient_error"
        assert f"{copy.table.stream}, GET /" in error["message"]
    else:
        assert later or pages.later
    # And the next run, from the saved state, loses nothing
    copy.table.load(output)
    copy.state = output.last_states()
    side.answer = plain
    copy.sync()
    copy.assert_equal_to_truth()


@pytest.mark.parametrize("stream", ["close_outcomes", "close_meetings_by_calendar_event"])
def test_a_list_read_with_skip_that_never_ends_stops_the_stream(box, stream):
    # Given a server that ignores _skip
    account = ACCOUNTS["close"].with_rows(box, 240)
    box.close.insert(provider_calendar_event_id="evt1")
    twist(box.close, EndlessPages(lambda page: page.update(has_more=True), ignored="_skip"))
    config = account.config()
    config["provider"]["calendar_events"] = ["evt1"]
    output = read(config, [], [stream])
    error = only_failure(output, stream)
    assert error["failure_type"] == "transient_error"
    assert "does not end" in error["message"]
    assert len(box.requests) < 10


def test_a_stream_of_several_slices_that_fail_has_one_error(box):
    # Given a stream of four slices that are all refused
    account = ACCOUNTS["close"].with_rows(box, 240)
    stream = "close_meetings_by_calendar_event"
    box.fault("provider_calendar_event_id", 1, 999, kind="status", status=403)
    config = account.config()
    config["provider"]["calendar_events"] = ["evt1", "evt2", "evt3", "evt4"]
    # When
    output = read(config, [], [stream, "close_outcomes"])
    # Then there is one error, and the other stream is read
    assert "may not read this" in only_failure(output, stream)["message"]
    assert output.statuses["close_outcomes"] == "COMPLETE"
