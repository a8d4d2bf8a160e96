"""The sandbox's Close has every trap that the vendor's documentation and bug reports describe."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import requests

from sandbox import Sandbox

MEETINGS = "/activity/meeting/"
NOW = "2026-06-01T00:00:00"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(clock=f"{NOW}Z") as box:
        yield box


def get(box: Sandbox, path: str = MEETINGS, **params: Any) -> requests.Response:
    url, auth = f"{box.close.base_url}{path}", ("api_sandbox", "")
    return requests.get(url, params, auth=auth, timeout=10, allow_redirects=False)


def page(box: Sandbox, path: str = MEETINGS, **params: Any) -> dict[str, Any]:
    response = get(box, path, **params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def ids(box: Sandbox, **params: Any) -> list[str]:
    return [row["id"] for row in page(box, **params)["data"]]


def events(box: Sandbox, action: str, **params: Any) -> list[dict[str, Any]]:
    params = {"object_type": "activity.meeting", "action": action, **params}
    data: list[dict[str, Any]] = page(box, "/event/", **params)["data"]
    return data


def refresh(box: Sandbox, token: str) -> requests.Response:
    oauth = box.close.oauth
    form = {"grant_type": "refresh_token", "refresh_token": token}
    form |= {"client_id": oauth.client_id, "client_secret": oauth.client_secret}
    return requests.post(box.close.token_url, data=form, timeout=10)


# -- data -----------------------------------------------------------------------------------------


def test_the_pages_of_the_list_add_up_to_the_truth_and_a_seed_always_gives_the_same_rows(box):
    # Given generated meetings on three pages
    box.close.generate(count=250, seed=5)
    # When all pages are read
    bodies = [page(box, _skip=skip) for skip in (0, 100, 200)]
    # Then together they are the truth, in an envelope without totals
    assert [body.pop("has_more") for body in bodies] == [True, True, False]
    assert all(set(body) == {"data"} for body in bodies)
    walked = {row["id"]: {**row, "is_deleted": False} for body in bodies for row in body["data"]}
    assert walked == box.close.truth()
    assert len(walked) == 250
    # And another sandbox generates the same meetings from the same seed
    with Sandbox(clock=f"{NOW}Z") as other:
        other.close.generate(count=250, seed=5)
        assert other.close.truth() == walked


def test_generated_rows_have_the_shapes_that_break_naive_readers(box):
    # Given enough generated meetings that each rare form occurs
    box.close.generate(count=3000)
    found = list(box.close.meetings.values())
    now = datetime.fromisoformat(f"{NOW}+00:00")
    # Then keys are absent as well as null, and fractions of a second come and go
    assert {"summary" in row for row in found} == {True, False}
    assert {type(row.get("summary")) for row in found} == {dict, type(None)}
    assert {type(row["location"]) for row in found} == {str, type(None)}
    assert {row["lead_id"] is None for row in found} == {True, False}
    assert {bool(row.get("notetaker_id")) for row in found} == {True, False}
    assert {row["status"] for row in found} >= {"upcoming", "completed", "canceled"}
    assert {"." in row["date_updated"] for row in found} == {True, False}
    assert {"." in row["starts_at"] for row in found} == {False}
    assert all(row["date_updated"].endswith("+00:00") for row in found)
    # And some start in the future, some were updated before their start, and some share a start
    times = [datetime.fromisoformat(row["date_created"]) for row in found]
    assert max(times) > now
    updates = [datetime.fromisoformat(row["date_updated"]) for row in found]
    assert {update < created for update, created in zip(updates, times)} == {True, False}
    assert max(updates) <= now
    assert len(set(times)) < len(times)
    assert not any("transcripts" in row for row in found)


def test_date_created_is_either_the_start_or_the_time_at_which_close_created_the_row(box):
    # Given a meeting that starts a month from now
    side = box.close
    id = side.insert(starts_at="2026-07-01T10:00:00Z")
    # Then, with the first meaning, a reschedule moves it
    assert page(box)["data"][0]["date_created"] == "2026-07-01T10:00:00+00:00"
    side.reschedule(id, "2026-08-01T10:00:00Z")
    row = page(box)["data"][0]
    assert row["date_created"] == row["starts_at"] == row["activity_at"]
    assert (row["starts_at"], row["ends_at"]) == (
        "2026-08-01T10:00:00+00:00",
        "2026-08-01T10:30:00+00:00",
    )
    assert ids(box, date_created__gte="2026-07-15T00:00:00Z") == [id]
    # And, with the second meaning, it stays, and the filters use that time
    side.date_created_means = "created"
    assert page(box)["data"][0]["date_created"] == "2026-06-01T00:00:00.010007+00:00"
    assert ids(box, date_created__gte="2026-07-15T00:00:00Z") == []
    assert ids(box, date_created__lt="2026-06-02") == [id]


def test_writes_change_date_updated_and_a_deleted_meeting_cannot_be_found(box):
    side = box.close
    # Given a meeting for each kind of write
    edited, cancelled, completed, deleted = (side.insert(title=str(n)) for n in range(4))
    before = {row["id"]: row["date_updated"] for row in page(box)["data"]}
    # When each is written to in its own way
    side.edit(edited, title="new")
    side.cancel(cancelled)
    side.complete(completed)
    side.delete(deleted)
    # Then the writes show in the list, and each moved date_updated forward
    found = {row["id"]: row for row in page(box)["data"]}
    assert set(found) == {edited, cancelled, completed} == set(side.truth())
    assert all(row["date_updated"] > before[id] for id, row in found.items())
    assert found[edited]["title"] == "new"
    assert found[cancelled]["status"] == "canceled"
    assert found[completed]["status"] == "completed"
    # And the deleted one is left out of id__in, and is a 404 on its own
    assert set(ids(box, id__in=f"{edited},{deleted}")) == {edited}
    missing = get(box, f"{MEETINGS}{deleted}/")
    assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})
    assert get(box, f"{MEETINGS}{edited}/").json() == found[edited]
    with pytest.raises(KeyError):
        side.edit(deleted, title="too late")


def test_deleting_or_merging_a_lead_deletes_or_moves_its_meetings(box):
    side = box.close
    # Given two meetings of one lead and one of another
    first, second, other = (side.insert(lead_id=lead) for lead in ("lead_a", "lead_a", "lead_b"))
    # Then deleting the first lead deletes both of its meetings, with an event for each
    assert side.delete_lead("lead_a") == 2
    assert ids(box) == [other]
    assert {event["object_id"] for event in events(box, "deleted")} == {first, second}
    # And a merge moves meetings to the other lead
    side.merge_leads("lead_b", "lead_c")
    assert page(box)["data"][0]["lead_id"] == "lead_c"
    meta = events(box, "updated")[0]["meta"]
    assert meta["merge_source_lead_id"] == "lead_b"


def test_meetings_start_and_end_with_the_clock_if_configured_to(box):
    side = box.close
    side.status_follows_clock = True
    # Given a meeting of one hour that has not started
    id = side.insert(starts_at="2026-06-01T10:00:00Z", duration=3600)
    # When time passes, then its status changes with the clock
    box.clock.set("2026-06-01T10:30:00Z")
    assert page(box)["data"][0]["status"] == "in-progress"
    box.clock.set("2026-06-01T12:00:00Z")
    row = page(box)["data"][0]
    assert row["status"] == "completed"
    # And date_updated is the time of its end, not of the request
    assert "2026-06-01T11:00:00" <= row["date_updated"] < "2026-06-01T11:00:05"
    # And the log has events of its start and end, but none of an update
    assert [event["object_id"] for event in events(box, "started")] == [id]
    assert [event["object_id"] for event in events(box, "completed")] == [id]
    assert events(box, "updated") == []


def test_the_clock_of_the_data_may_be_ahead_of_the_date_header(box):
    box.close.clock_offset = 30
    box.close.insert()
    response = get(box)
    assert response.headers["date"] == "Mon, 01 Jun 2026 00:00:00 GMT"
    assert response.json()["data"][0]["date_updated"] == "2026-06-01T00:00:30.010007+00:00"


# -- list: paging and order -----------------------------------------------------------------------


def test_the_limit_has_a_maximum_and_wrong_values_are_refused(box):
    # Given one meeting more than fits on a page
    box.close.generate(count=101)
    # Then 100 is the default and the maximum, and the error names the parameter
    assert len(ids(box)) == 100
    assert len(ids(box, _limit=7)) == 7
    for params in ({"_limit": 101}, {"_limit": 0}, {"_limit": "x"}, {"_skip": -1}):
        response = get(box, **params)
        assert response.status_code == 400
        assert set(response.json()["field-errors"]) == set(params)


def test_skip_has_a_maximum_and_two_messages_for_it(box):
    side = box.close
    # Given a list that is longer than the maximum of _skip
    side.generate(count=30)
    side.max_skip = 20
    # Then the maximum itself works, and one more is refused
    assert len(ids(box, _skip=20)) == 10
    response = get(box, _skip=21)
    assert response.status_code == 400
    assert "less than or equal to 20" in response.json()["field-errors"]["_skip"]
    # And the older form of the message can be chosen
    side.skip_message = "old"
    response = get(box, _skip=21)
    assert response.status_code == 400
    assert response.json()["error"] == (
        "The skip you set is larger than the maximum skip for this resource (max_skip = 20). "
        "Please refine your search query."
    )


def test_the_order_is_newest_first_or_oldest_first_or_different_every_time(box):
    side = box.close
    side.generate(count=60)
    # Then the default order is newest first
    created = [row["date_created"] for row in page(box)["data"]]
    assert created == sorted(created, reverse=True)
    newest = ids(box)
    # And it can be reversed
    side.list_order = "oldest"
    assert ids(box) == newest[::-1]
    # And it can change with every request, without losing a row
    side.list_order = "shuffled"
    first, second = ids(box), ids(box)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(newest)
    assert page(box, _limit=60)["has_more"] is False


# -- list: filters --------------------------------------------------------------------------------


def test_date_created_is_compared_in_whole_seconds(box):
    side = box.close
    side.date_created_means = "created"
    # Given two meetings in one second, and one in the next second
    early, late = (side.insert(date_created=f"2026-05-01T10:00:00.{n}00000+00:00") for n in (2, 8))
    after = side.insert(date_created="2026-05-01T10:00:01+00:00")
    # When the bound is between the first two, then both are inside or both are outside
    at = "2026-05-01T10:00:00.500000Z"
    assert set(ids(box, date_created__gte=at)) == {early, late, after}
    assert set(ids(box, date_created__gt=at)) == {after}
    assert set(ids(box, date_created__lte=at)) == {early, late}
    assert set(ids(box, date_created__lt=at)) == set()
    both = {"date_created__gte": at, "date_created__lt": "2026-05-01T10:00:01Z"}
    assert set(ids(box, **both)) == {early, late}
    assert get(box, date_created__gte="soon").status_code == 400


def test_filters_on_date_created_can_be_silently_ignored(box):
    box.close.generate(count=30)
    # Given a pair of bounds of which one is not a time
    everything = page(box)
    bounds = {"date_created__gte": "2026-05-01T00:00:00Z", "date_created__lt": "soon"}
    assert get(box, **bounds).status_code == 400
    # When the filters are off, then even the invalid bound is accepted, and nothing is left out
    box.close.configure(date_filters=False)
    assert page(box, **bounds) == everything
    # And other filters still work
    (first, *_) = everything["data"]
    assert ids(box, **bounds, id__in=first["id"]) == [first["id"]]
    assert get(box, activity_at__gte="2026-05-01T00:00:00Z").status_code == 400


def test_a_time_without_offset_is_in_the_zone_of_the_header(box):
    # Given a meeting at 10:00 UTC, and a lower bound of 11:00 without an offset
    id = box.close.insert(starts_at="2026-07-01T10:00:00Z")
    url, params = f"{box.close.base_url}{MEETINGS}", {"date_created__gte": "2026-07-01T11:00:00"}

    def found(**headers: str) -> list[str]:
        auth = ("api_sandbox", "")
        body = requests.get(url, params, auth=auth, headers=headers, timeout=10).json()
        return [row["id"] for row in body["data"]]

    # Then the bound is UTC by default, and 09:00 UTC with a header of two hours
    assert found() == []
    assert found(**{"x-tz-offset": "2"}) == [id]
    assert ids(box, date_created__gte="2026-07-01T12:00:00+02:00") == [id]


def test_a_filter_on_date_updated_is_ignored_like_any_unknown_parameter(box):
    box.close.generate(count=5)
    assert len(ids(box, date_updated__gte="2030-01-01T00:00:00Z", colour="red")) == 5
    assert len(ids(box, _order_by="-date_updated", _cursor="x")) == 5


def test_activity_at_needs_its_order_and_a_single_lead(box):
    id = box.close.insert(lead_id="lead_a", starts_at="2026-07-01T10:00:00Z")
    bound = {"activity_at__gte": "2026-07-01T00:00:00Z"}
    assert get(box, **bound).status_code == 400
    assert get(box, **bound, lead_id="lead_a").status_code == 400
    assert ids(box, **bound, lead_id="lead_a", _order_by="-activity_at") == [id]


def test_ids_leads_contacts_and_users_are_comma_separated_lists(box):
    box.close.generate(count=80)
    rows = list(box.close.meetings.values())
    # Given the ids of three meetings
    chosen = [row["id"] for row in rows[3:6]]
    # Then unknown ids are left out
    assert set(ids(box, id__in=",".join([*chosen, "acti_unknown"]))) == set(chosen)
    # And the other filters return the meetings of either value
    for name in ("lead_id", "contact_id", "user_id"):
        values = list(dict.fromkeys(row[name] for row in rows if row[name]))[:2]
        expected = {row["id"] for row in rows if row[name] in values}
        assert set(ids(box, **{name: ",".join(values)})) == expected
    assert ids(box, _type="Call") == []


def test_fields_is_an_allow_list_and_transcripts_must_be_named_in_it(box):
    side = box.close
    # Given a meeting with a transcript
    id = side.insert(title="x")
    side.add_transcript(id, text="Hello there")
    # Then only the named fields are returned, and unknown names are ignored
    assert page(box, _fields="id,title,unknown")["data"] == [{"id": id, "title": "x"}]
    # And transcripts are returned only if they are named
    assert "transcripts" not in get(box, f"{MEETINGS}{id}/").json()
    alone = get(box, f"{MEETINGS}{id}/", _fields="transcripts").json()
    assert set(alone) == {"transcripts"}
    assert alone["transcripts"][0]["utterances"][0]["text"] == "Hello there"
    assert side.transcripts() == {id: alone["transcripts"]}
    assert page(box, _fields="id,transcripts")["data"][0]["transcripts"] == alone["transcripts"]
    # And they can be missing from the list even then
    side.transcripts_on_list = False
    assert page(box, _fields="id,transcripts")["data"] == [{"id": id}]


def test_a_new_transcript_makes_no_event_and_no_update_unless_configured_to(box):
    side = box.close
    # Given a meeting without a transcript
    id = side.insert()
    before = side.meetings[id]["date_updated"]
    # When a transcript arrives, then the row shows it, but neither its time nor the log does
    side.add_transcript(id)
    row = page(box)["data"][0]
    assert row["notetaker_id"] and row["summary"]["text"]
    assert row["date_updated"] == before
    assert events(box, "updated") == []
    # And when one arrives with an event, then both do
    side.add_transcript(id, emit_event=True)
    assert page(box)["data"][0]["date_updated"] > before
    assert [event["object_id"] for event in events(box, "updated")] == [id]
    assert len(side.transcripts()[id]) == 2


def test_meetings_can_be_searched_by_calendar_event(box):
    side = box.close
    # Given one event in two calendars, and another event
    common = {"provider_calendar_event_id": "evt", "provider_calendar_type": "google"}
    first, second = (
        side.insert(starts_at=f"2026-07-0{n}T10:00:00Z", provider_calendar_ids=[f"c{n}"], **common)
        for n in (1, 2)
    )
    side.insert(provider_calendar_event_id="another")

    def found(**params: str) -> set[str]:
        return set(ids(box, provider_calendar_event_id="evt", **params))

    # Then the search can be narrowed by calendar, type, start and lead
    assert found() == {first, second}
    assert found(provider_calendar_id="c1") == {first}
    assert found(provider_calendar_type="microsoft") == set()
    assert found(starts_at="2026-07-02T10:00:00") == {second}
    assert found(starts_at__gte="2026-07-01T10:00:00Z", starts_at__lt="2026-07-02") == {first}
    assert found(starts_at__gte="2026-07-01", lead_id="lead_none") == set()
    # And it needs the event: the other parameters alone are refused
    refused = get(box, provider_calendar_id="c1")
    assert refused.status_code == 400
    assert "provider_calendar_event_id" in refused.json()["field-errors"]
    assert get(box, starts_at__gte="2026-07-01").status_code == 400


def test_a_generated_google_link_contains_the_event_and_the_calendar(box):
    box.close.generate(count=20, years=0.1)
    # Given a generated meeting with a link to its calendar event
    rows = box.close.meetings.values()
    row = next(row for row in rows if row.get("calendar_event_link"))
    # When the link is decoded
    eid = row["calendar_event_link"].partition("eid=")[2]
    event, calendar = base64.urlsafe_b64decode(eid + "==").decode().split()
    # Then its two ids find the meeting
    assert row["id"] in ids(box, provider_calendar_event_id=event, provider_calendar_id=calendar)


# -- addresses ------------------------------------------------------------------------------------


def test_a_path_without_its_slash_is_redirected(box):
    response = get(box, "/activity/meeting", _limit=5)
    assert response.status_code == 301
    assert response.headers["location"] == f"{box.close.base_url}{MEETINGS}?_limit=5"


def test_a_url_of_more_than_2000_characters_is_refused_but_its_query_can_be_posted(box):
    box.close.generate(count=60)
    # Given ids that fit into a URL, and ids that do not
    many = list(box.close.meetings)
    # Then the longer URL is refused
    assert len(ids(box, id__in=",".join(many[:35]))) == 35
    assert get(box, id__in=",".join(many[:45])).status_code == 414
    # And the same query works as the body of a POST that is marked as a GET
    response = requests.post(
        f"{box.close.base_url}{MEETINGS}",
        json={"_params": {"id__in": many[:45], "_limit": 50}},
        headers={"x-http-method-override": "GET"},
        auth=("api_sandbox", ""),
        timeout=10,
    )
    assert {row["id"] for row in response.json()["data"]} == set(many[:45])
    # And unknown paths and other POSTs are refused
    assert get(box, "/nothing/").status_code == 404
    url = f"{box.close.base_url}{MEETINGS}"
    assert requests.post(url, auth=("api_sandbox", ""), timeout=10).status_code == 405


# -- events ---------------------------------------------------------------------------------------


def test_each_write_has_an_event_of_its_own_kind(box):
    side = box.close
    # Given a meeting that went through every kind of write
    id = side.insert()
    side.edit(id, title="x")
    side.start_meeting(id)
    side.complete(id)
    side.cancel(id)
    side.delete(id)
    # Then the log has an event of each, newest first
    log = page(box, "/event/")["data"]
    kinds = ["deleted", "canceled", "completed", "started", "updated", "scheduled", "created"]
    assert [event["action"] for event in log] == kinds  # newest first
    assert {event["object_id"] for event in log} == {id}
    assert {event["object_type"] for event in log} == {"activity.meeting"}
    assert log[4]["changed_fields"] == ["title"]
    assert log[-1]["date_updated"] == "2026-06-01T00:00:00.010007"  # without an offset
    # And a cancellation has no `updated` event, unless configured to have one
    assert len(events(box, "updated")) == 1
    side.status_events = "both"
    other = side.insert()
    side.cancel(other)
    assert {event["object_id"] for event in events(box, "updated")} == {id, other}
    # And a write can leave no event
    side.edit(other, title="y", emit_event=False)
    side.delete(other, emit_event=False)
    assert len(events(box, "deleted")) == 1


def test_events_are_paged_by_cursor_with_at_most_fifty_per_page(box):
    # Given more than a page of events about meetings, mixed with events about other objects
    side = box.close
    inserted = []
    for _ in range(120):
        inserted.append(side.insert())
        side.add_events()
    # When all pages are read, with the filters in every request
    walked, cursor, sizes = [], None, []
    while cursor or not sizes:
        filters = {"object_type": "activity.meeting", "action": "created", "_limit": 100}
        body = page(box, "/event/", **filters, **({"_cursor": cursor} if cursor else {}))
        assert set(body) == {"data", "cursor_next", "cursor_previous"}
        walked += [event["object_id"] for event in body["data"]]
        sizes.append(len(body["data"]))
        cursor = body["cursor_next"]
    # Then each event comes once, newest first
    assert sizes == [50, 50, 20]
    assert walked == inserted[::-1]
    # And a cursor alone does not remember the filters
    first = page(box, "/event/", object_type="activity.meeting", action="created")
    types = {
        row["object_type"] for row in page(box, "/event/", _cursor=first["cursor_next"])["data"]
    }
    assert types == {"activity.meeting", "activity.note"}
    assert get(box, "/event/", _cursor="x").status_code == 400
    assert get(box, "/event/", _skip=50).status_code == 400


def test_a_cursor_keeps_the_bounds_of_date_updated_or_goes_past_them(box):
    side = box.close
    # Given three events before a bound and three after it
    side.add_events(3)
    bound = box.clock.now().isoformat()
    side.add_events(3)
    # When the second page is requested by cursor alone, then the bound still applies
    params = {"date_updated__gt": bound, "_limit": 2}
    body = page(box, "/event/", **params)
    rest = page(box, "/event/", _limit=50, _cursor=body["cursor_next"])
    assert (len(body["data"]), len(rest["data"]), rest["cursor_next"]) == (2, 1, None)
    # And it can be lost: then the older events come too
    side.cursor_keeps_bounds = False
    assert len(page(box, "/event/", _limit=50, _cursor=body["cursor_next"])["data"]) == 4


def test_the_bounds_on_events_are_compared_to_the_microsecond(box):
    box.close.add_events(3)
    moments = [event["date_updated"] for event in page(box, "/event/")["data"]]
    for operator, count in (("gt", 1), ("gte", 2), ("lt", 1), ("lte", 2)):
        params = {f"date_updated__{operator}": f"{moments[1]}+00:00"}
        assert len(page(box, "/event/", **params)["data"]) == count


@pytest.mark.parametrize(
    ("filters", "status"),
    [
        ("object_type", 400),
        ("action", 400),
        ("object_id", 400),
        ("lead_id action", 400),
        ("lead_id object_id", 400),
        ("", 200),
        ("object_type action", 200),
        ("object_type object_id", 200),
        ("object_id action", 200),
        ("lead_id object_type action", 200),
        ("lead_id", 200),
        ("user_id", 200),
        ("request_id", 200),
    ],
)
def test_only_the_listed_combinations_of_filters_are_supported(box, filters, status):
    params = dict.fromkeys(filters.split(), "x")
    assert get(box, "/event/", **params, date_updated__gte=NOW).status_code == status


def test_the_filters_on_events_return_exactly_the_events_that_match(box):
    side = box.close
    # Given events about two meetings of two leads
    id = side.insert(lead_id="lead_a")
    side.insert(lead_id="lead_b")
    side.edit(id, title="x")
    # Then each filter returns the events of the one that was asked for
    by_object = page(box, "/event/", object_id=id, object_type="activity.meeting")["data"]
    assert [event["action"] for event in by_object] == ["updated", "scheduled", "created"]
    assert page(box, "/event/", lead_id="lead_a")["data"] == by_object
    assert page(box, "/event/", request_id=by_object[0]["request_id"])["data"] == by_object[:1]
    # And an event can be read on its own, by its id
    alone = page(box, f"/event/{by_object[0]['id']}/")
    assert alone == by_object[0]


def test_events_are_dropped_after_thirty_days(box):
    # Given an event from almost 30 days ago, and a new one
    box.close.add_events()
    box.clock.advance(days=29, hours=23)
    box.close.add_events()
    assert len(page(box, "/event/")["data"]) == 2
    # When the first one is more than 30 days old, then it cannot be requested any more
    box.clock.advance(hours=2)
    assert len(page(box, "/event/", date_updated__gte="2026-01-01")["data"]) == 1


def test_generated_meetings_have_events_of_the_last_thirty_days(box):
    box.close.generate(count=400, years=1)
    created = {event["object_id"] for event in events(box, "created")}
    assert 20 < len(created) < 50
    assert created < set(box.close.meetings)
    for event in events(box, "completed"):
        assert box.close.meetings[event["object_id"]]["status"] == "completed"


def test_two_updates_shortly_after_each_other_share_one_event(box):
    side = box.close
    # Given an edit, and another one half a minute later
    id = side.insert()
    side.edit(id, title="x")
    (first,) = events(box, "updated")
    box.clock.advance(seconds=30)
    side.add_events()
    side.edit(id, note="y")
    # Then the same event has a new time, comes first, and lists the fields of both edits
    (second,) = events(box, "updated")
    assert (second["id"], second["date_created"]) == (first["id"], first["date_created"])
    assert second["date_updated"] > first["date_updated"]
    assert second["changed_fields"] == ["title", "note"]
    assert page(box, "/event/")["data"][0]["id"] == first["id"]
    assert (
        page(
            box, "/event/", date_updated__lte=first["date_updated"], object_id=id, action="updated"
        )["data"]
        == []
    )
    # And an update more than a minute later has its own event
    box.clock.advance(seconds=90)
    side.edit(id, note="z")
    assert len(events(box, "updated")) == 2


def test_events_appear_late_and_out_of_order_within_the_delay(box):
    side = box.close
    # Given events that take up to five minutes to appear
    side.event_delay = 300
    for _ in range(30):
        side.insert()
        box.clock.advance(seconds=1)
    # When the log is read again and again until all are there
    seen: list[str] = []
    for _ in range(7):
        seen += [
            event["id"] for event in reversed(events(box, "created")) if event["id"] not in seen
        ]
        box.clock.advance(seconds=50)
    # Then they did not appear in the order of their times
    in_order = [event["id"] for event in reversed(events(box, "created"))]
    assert len(seen) == len(in_order) == 30
    assert seen != in_order


def test_the_data_of_events_may_be_missing(box):
    side = box.close
    # Given recent events
    for _ in range(20):
        side.insert()
    # Then by default some have the data of their object and some do not
    assert {"data" in event for event in events(box, "created")} == {True, False}
    # And it can be there always or never
    side.event_data = "full"
    full = events(box, "created")
    assert full[0]["data"]["id"] == full[0]["object_id"]
    side.event_data = "missing"
    assert not any("data" in event for event in events(box, "created"))
    # And old events have none
    side.event_data = "some"
    box.clock.advance(hours=2)
    assert not any("data" in event for event in events(box, "created"))


def test_the_event_log_can_be_forbidden_while_the_list_is_allowed(box):
    box.close.events_forbidden = True
    response = get(box, "/event/", object_type="activity.meeting", action="created")
    assert response.status_code == 403
    assert isinstance(response.json()["error"], str)
    assert get(box).status_code == 200


# -- outcomes -------------------------------------------------------------------------------------


def test_outcomes_are_paged_and_meetings_keep_the_id_of_a_deleted_one(box):
    side = box.close
    # Given four outcomes, one of which a meeting has
    id = side.add_outcome("Won")
    meeting = side.insert(outcome_id=id)
    # Then they are paged by _skip, as meetings are
    first = page(box, "/outcome/", _limit=2)
    second = page(box, "/outcome/", _limit=2, _skip=2)
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert first["data"] + second["data"] == side.outcomes
    assert second["data"][1]["name"] == "Won"
    assert page(box, "/outcome/", _fields="id", _limit=1)["data"] == [
        {"id": side.outcomes[0]["id"]}
    ]
    # And when the outcome is deleted, the meeting still has its id
    side.delete_outcome(id)
    assert len(page(box, "/outcome/")["data"]) == 3
    assert side.meetings[meeting]["outcome_id"] == id


# -- authentication -------------------------------------------------------------------------------


def test_a_key_is_a_username_without_password_and_a_token_is_a_bearer_token(box):
    url = f"{box.close.base_url}/me/"
    access, _ = box.close.oauth.issue()
    # Then the key and a fresh token are accepted
    good = requests.get(url, headers={"authorization": f"Bearer {access}"}, timeout=10)
    assert (good.status_code, good.json()["id"]) == (200, "user_0001")
    assert page(box, "/me/")["organizations"]
    # And a key with a password, another key or none is refused
    for auth in (("api_sandbox", "x"), ("wrong", ""), ("", "api_sandbox"), None):
        response = requests.get(url, auth=auth, timeout=10)
        assert response.status_code == 401
        assert isinstance(response.json()["error"], str)
    # And so is the key in any other form
    for header in ("Bearer api_sandbox", "Basic api_sandbox"):
        assert requests.get(url, headers={"authorization": header}, timeout=10).status_code == 401
    # And a token is refused after an hour
    box.clock.advance(seconds=3600)
    headers = {"authorization": f"Bearer {access}"}
    assert requests.get(url, headers=headers, timeout=10).status_code == 401


def test_a_refresh_replaces_the_refresh_token(box):
    old = box.close.oauth.refresh_token
    # When the refresh token is used, then a new one comes with the access token
    answer = refresh(box, old).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    assert {"scope", "organization_id", "user_id"} < set(answer)
    assert answer["refresh_token"] == box.close.oauth.refresh_token != old
    # And the old one is refused from then on
    again = refresh(box, old)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "kind"), [("string", str), ("object", dict), ("absent", None)])
def test_a_429_announces_the_reset_in_three_body_shapes(box, body, kind):
    # Given a single 429 whose body has its error as text, as an object or not at all
    box.close.configure(throttle=1, rate_body=body, rate_reset=1.5)
    response = get(box)
    assert response.status_code == 429
    error = response.json().get("error")
    assert error is None if kind is None else isinstance(error, kind)
    # Then the body and two headers say when the limit resets
    assert (error if kind is dict else response.json())["rate_reset"] == 1.5
    assert response.headers["ratelimit"] == "limit=100, remaining=99, reset=1.500"
    assert response.headers["retry-after"] == "2"
    assert get(box).status_code == 200
    # And the headers can be left out
    box.close.configure(throttle=1, rate_header=False)
    bare = get(box).headers
    assert "ratelimit" not in bare and "retry-after" not in bare


def test_requests_are_counted_per_endpoint_and_window(box):
    # Given two requests allowed per minute and endpoint
    box.close.configure(rate_limit=2, rate_window=60, rate_separator=";")
    if time.time() % 60 > 55:
        time.sleep(6)  # so that all requests are in the same window
    # Then the third one is refused
    assert [get(box).status_code for _ in range(3)] == [200, 200, 429]
    assert get(box).headers["ratelimit"].startswith("limit=2; remaining=0; reset=")
    # And another endpoint still has its own budget
    other = get(box, "/me/")
    assert other.status_code == 200
    assert other.headers["ratelimit"].startswith("limit=2; remaining=1; reset=")


# -- the sandbox itself ---------------------------------------------------------------------------


def test_data_and_options_can_be_changed_over_the_control_api(box):
    def act(action: str, **arguments: Any) -> Any:
        url = f"{box.url}/_sandbox/close/{action}"
        response = requests.post(url, json=arguments, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    # When meetings are written and options are set over HTTP
    act("generate", count=4)
    id = act("insert", title="x")
    act("edit", id=id, title="y")
    act("reschedule", id=id, starts_at="2026-09-01T10:00:00Z")
    act("complete", id=id)
    act("add_transcript", id=id)
    act("configure", date_created_means="created", list_order="shuffled")
    # Then the provider's API and the truth show it
    assert len(ids(box)) == 5
    truth = requests.get(f"{box.url}/_sandbox/close/truth", timeout=10).json()
    assert truth == box.close.truth()
    assert (truth[id]["title"], truth[id]["status"]) == ("y", "completed")
    act("delete", id=id)
    assert len(ids(box)) == 4
    # And the state has the provider's URL and number of meetings
    state = requests.get(f"{box.url}/_sandbox/state", timeout=10).json()["providers"]["close"]
    assert (state["base_url"], state["meetings"]) == (box.close.base_url, 4)
    # And an unknown option is refused
    refused = requests.post(f"{box.url}/_sandbox/close/configure", json={"x": 1}, timeout=10)
    assert refused.status_code == 400


def test_a_hook_changes_rows_between_two_pages(box):
    side = box.close
    side.generate(count=150)
    # Given two pages, and a hook that deletes ten rows of the first page before the second is read
    first = ids(box)
    box.before(r"_skip=100", 1, lambda: [side.delete(id) for id in first[:10]])
    second = ids(box, _skip=100)
    # Then ten rows moved from the second page to the first one, which had been read already
    assert len(second) == 40
    assert len(set(side.truth()) - set(first) - set(second)) == 10


def test_a_hundred_thousand_meetings_are_served_fast(box):
    box.close.generate(count=100_000)
    # When they are filtered by date and their events are read, month by month
    begin = time.perf_counter()
    for month in range(1, 13):
        bounds = {
            "date_created__gte": f"2025-{month:02}-01T00:00:00Z",
            "date_created__lt": f"2025-{month:02}-02T00:00:00Z",
        }
        assert 0 < len(ids(box, **bounds)) <= 100
        assert len(events(box, "created")) == 50
    assert time.perf_counter() - begin < 5
