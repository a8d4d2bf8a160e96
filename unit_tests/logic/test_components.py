"""The providers' own parts of the manifests, without HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.types import StreamSlice
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.providers.close import validate_options
from source_meetings.providers.close.calendar_events import CalendarEvents
from source_meetings.providers.close.components import NotDeleted, SkipPages
from source_meetings.providers.expoplatform.components import ExportAnswer, ParticipantsStrategy
from source_meetings.providers.expoplatform.rows import normalise
from source_meetings.providers.highlevel.components import EventFields, EventsCheck
from source_meetings.providers.salesloft.components import IdsAsText
from source_meetings.sync.fingerprints import version
from source_meetings.sync.reading import Answer
from source_meetings.timestamps import millis
from unit_tests.logic.fakes import ScriptedApi, at

# -- Close ----------------------------------------------------------------------------------------


def test_a_row_is_not_deleted_unless_it_says_so() -> None:
    shown, tombstone = {"id": "a"}, {"id": "b", "is_deleted": True}
    for row in (shown, tombstone):
        NotDeleted().transform(row)
    assert shown == {"id": "a", "is_deleted": False}
    assert tombstone == {"id": "b", "is_deleted": True}


def answered(url: str, ids: list[str], more: bool) -> requests.Response:
    response = requests.Response()
    response.url = url
    body = {"data": [{"id": id} for id in ids], "has_more": more}
    response._content = json.dumps(body).encode()  # noqa: SLF001
    return response


LIST = "https://api.close.test/v1/custom/?_limit=2"


def test_a_short_list_is_skipped_through_by_the_rows_of_each_page() -> None:
    pages = SkipPages(page_size=2)
    assert (pages.initial_token, pages.get_page_size()) == (None, 2)
    # Given pages of two rows, and one that is shorter than that although more follow
    two = pages.next_page_token(answered(LIST, ["a", "b"], True), 2, None, None)
    three = pages.next_page_token(answered(f"{LIST}&_skip=2", ["c"], True), 1, None, two)
    # Then the next page begins where this one ends, and the last page ends the list
    assert (two, three) == (2, 3)
    last = answered(f"{LIST}&_skip=3", ["d"], False)
    assert pages.next_page_token(last, 1, None, three) is None


@pytest.mark.parametrize("skip", ["&_skip=2", ""])
def test_a_short_list_that_repeats_a_page_is_an_outage(skip: str) -> None:
    pages = SkipPages(page_size=2)
    pages.next_page_token(answered(f"{LIST}&_skip=12", ["a", "b"], True), 2, None, None)
    with pytest.raises(AirbyteTracedException) as caught:
        pages.next_page_token(answered(f"{LIST}{skip}", ["a", "b"], True), 2, None, 2)
    assert caught.value.failure_type is FailureType.transient_error
    assert caught.value.message == "Close: a list repeats a page and does not end."
    assert caught.value.internal_message == "a list repeats a page and does not end"


def test_two_short_lists_may_have_the_same_rows() -> None:
    pages = SkipPages(page_size=2)
    other = LIST.replace("custom", "others")
    for url in (LIST, other):
        assert pages.next_page_token(answered(url, ["a", "b"], True), 2, None, None) == 2


def test_a_short_list_with_an_empty_page_that_says_that_there_is_more_is_an_outage() -> None:
    with pytest.raises(AirbyteTracedException, match="an empty page says that there is more"):
        SkipPages(page_size=2).next_page_token(answered(LIST, [], True), 0, None, None)


EVENT = {"provider_calendar_event_id": "abc"}
EVENT_OF_A_CALENDAR = {"provider_calendar_event_id": "abc", "provider_calendar_id": "a@b.test"}


def router(*entries: str) -> CalendarEvents:
    return CalendarEvents({"provider": {"calendar_events": list(entries)}})


def test_each_calendar_event_is_searched_for_once_with_its_own_parameters() -> None:
    # Given an event that is named twice, and the same one in a calendar
    events = router("abc", " abc ", "abc a@b.test", "abc")
    # When
    slices = list(events.stream_slices())
    # Then
    assert [dict(one.partition) for one in slices] == [EVENT, EVENT_OF_A_CALENDAR]
    assert [dict(one.cursor_slice) for one in slices] == [{}, {}]
    sent = [events.get_request_params(stream_slice=one) for one in slices]
    assert sent == [EVENT, EVENT_OF_A_CALENDAR]
    assert events.get_request_params(stream_slice=None) == {}


@pytest.mark.parametrize("options", [{}, {"calendar_events": None}, {"calendar_events": []}])
def test_without_calendar_events_there_is_nothing_to_search_for(options: dict[str, Any]) -> None:
    assert list(CalendarEvents({"provider": options}).stream_slices()) == []
    validate_options(options)


def test_a_search_for_calendar_events_sends_nothing_but_its_parameters() -> None:
    events, one = router("abc"), StreamSlice(partition=EVENT, cursor_slice={})
    assert events.get_request_headers(stream_slice=one) == {}
    assert events.get_request_body_data(stream_slice=one) == {}
    assert events.get_request_body_json(stream_slice=one) == {}
    assert events.get_stream_state() is None


def test_the_entry_that_is_no_calendar_event_is_named_by_its_place() -> None:
    with pytest.raises(AirbyteTracedException, match="entry 2 of .*: 'two words'"):
        validate_options({"calendar_events": ["abc", "two words"]})


# -- Salesloft ------------------------------------------------------------------------------------


def test_ids_become_text_and_nothing_else_does() -> None:
    row: dict[str, Any] = {"a": 7, "b": "8", "c": None, "d": 9, "f": 0}
    IdsAsText(["a", "b", "c", "e", "f"]).transform(row)
    assert row == {"a": "7", "b": "8", "c": None, "d": 9, "f": "0"}


# -- HighLevel ------------------------------------------------------------------------------------


@dataclass
class Asking:
    """Stands for a requester: answers with these rows, and notes the parameters."""

    rows: list[dict[str, Any]]
    asked: list[dict[str, str]] = field(default_factory=list)

    def ask(self, params: dict[str, str]) -> Answer:
        self.asked.append(params)
        return Answer(self.rows, at(), body={})


def events_check(calendars: list[str], chosen: list[str] | None) -> tuple[Asking, Asking]:
    listed, events = Asking([{"id": id} for id in calendars]), Asking([])
    config = {"provider": {"location_id": "here", "calendar_ids": chosen}}
    EventsCheck(listed, events, config).run()  # type: ignore[arg-type]
    return listed, events


@pytest.mark.parametrize(("chosen", "asked"), [(None, "one"), ([], "one"), (["two"], "two")])
def test_a_check_lists_the_calendars_and_a_minute_of_the_events_of_one(
    chosen: list[str] | None, asked: str
) -> None:
    listed, events = events_check(["one", "two"], chosen)
    now = millis(at())
    assert listed.asked == [{"locationId": "here", "showDrafted": "true"}]
    assert events.asked == [
        {
            "locationId": "here",
            "calendarId": asked,
            "startTime": str(now),
            "endTime": str(now + 60_000),
        }
    ]


def test_a_check_of_a_location_without_calendars_lists_no_events() -> None:
    assert events_check([], None)[1].asked == []


def test_a_check_names_the_calendars_that_the_location_lacks() -> None:
    with pytest.raises(AirbyteTracedException, match="no calendar two, three. Correct") as caught:
        events_check(["one"], ["two", "one", "three"])
    assert caught.value.failure_type is FailureType.config_error


@pytest.mark.parametrize(
    ("row", "made"),
    [
        ({"appointmentStatus": "new", "status": "old"}, {"appointmentStatus": "new"}),
        ({"appoinmentStatus": "new", "status": "old"}, {"appointmentStatus": "new"}),
        ({"appointmentStatus": "", "status": "old"}, {"appointmentStatus": "old"}),
        ({"isRecurring": "true"}, {"isRecurring": True}),
        ({"isRecurring": "False"}, {"isRecurring": False}),
        ({"isRecurring": "yes"}, {"isRecurring": "yes"}),
        ({"isRecurring": True}, {"isRecurring": True}),
        ({"status": ""}, {}),
        ({"id": 1}, {}),
    ],
)
def test_an_event_has_its_status_and_whether_it_recurs_where_the_schema_says(
    row: dict[str, Any], made: dict[str, Any]
) -> None:
    found = dict(row)
    EventFields().transform(found)
    assert found == {**row, **made}


# -- ExpoPlatform ---------------------------------------------------------------------------------

ROW = {"Meeting ID": 7, "Account ID": 5, "Creation Time": "2026-05-01 12:00:00"}


def test_an_export_becomes_records_of_the_event_that_was_asked_for() -> None:
    body = {"data": [ROW], "total": 5, "pages": 3}
    shape = ExportAnswer()
    assert shape.problem(body) is None
    content = shape.content(body, {"event_id": "9"})
    (record,) = content.rows
    assert (record["event_id"], record["meeting_id"], record["raw"]) == (9, "7", ROW)
    assert (content.total, content.pages) == (5, 3)


def test_an_export_without_rows_is_a_problem_that_names_its_keys() -> None:
    problem = ExportAnswer().problem({"secret": "value"})
    assert problem is not None
    assert "keys secret" in problem
    assert "value" not in problem


def test_a_row_without_a_meeting_stops_the_stream_and_names_its_keys() -> None:
    with pytest.raises(AirbyteTracedException, match="keys Account ID") as caught:
        ExportAnswer().content([{"Account ID": 5}], {"event_id": "9"})
    assert caught.value.failure_type is FailureType.system_error
    assert str(caught.value.internal_message).endswith("it has keys Account ID")


def test_a_stamp_without_a_zone_is_the_earliest_time_that_it_can_mean() -> None:
    # Given a row that was created at a time without a zone, and changed at one with a zone
    raw = {"Creation Time": "2026-05-01 12:00:00", "Last Modified": "2026-05-02T12:00:00Z"}
    ids = {"Meeting ID": 7, "Account ID": 5}
    row = normalise({**ids, **raw}, 1)
    strategy = ParticipantsStrategy(
        "participants",
        "modified_at",
        {"provider": {"event_ids": [1]}},
        ScriptedApi(),
        key=("meeting_id",),
        filters=({"parameter": "from", "fields": ["created_at"]},),
    )
    # Then
    assert strategy.newest_of([row], "created_at", at()) == at(days=-31, hours=-14)
    assert strategy.newest_of([row], "last_modified_at", at()) == at(days=-30)
    assert strategy.newest_of([normalise(ids, 1)], "created_at", at()) is None
    # And a time that the provider's clock has not reached does not count
    assert strategy.newest_of([row], "last_modified_at", at(days=-31)) is None
    # And only what was received tells two versions apart
    assert strategy.version(row) == version({**ids, **raw})
