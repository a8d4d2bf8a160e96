"""The sandbox's Close has every trap that the vendor's documents and others' reports name."""

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


def test_walking_the_list_gives_the_truth_and_a_seed_always_gives_the_same(box):
    # Given generated meetings
    box.close.generate(count=250, seed=5)
    # When the list is walked
    bodies = [page(box, _skip=skip) for skip in (0, 100, 200)]
    # Then it is the truth, in an envelope without totals
    assert [body.pop("has_more") for body in bodies] == [True, True, False]
    assert all(set(body) == {"data"} for body in bodies)
    walked = {row["id"]: {**row, "is_deleted": False} for body in bodies for row in body["data"]}
    assert walked == box.close.truth()
    assert len(walked) == 250
    # And another sandbox makes the same ones
    with Sandbox(clock=f"{NOW}Z") as other:
        other.close.generate(count=250, seed=5)
        assert other.close.truth() == walked


def test_generated_rows_have_the_shapes_that_break_naive_readers(box):
    box.close.generate(count=3000)
    found = list(box.close.meetings.values())
    now = datetime.fromisoformat(f"{NOW}+00:00")
    assert {"summary" in row for row in found} == {True, False}
    assert {type(row.get("summary")) for row in found} == {dict, type(None)}
    assert {type(row["location"]) for row in found} == {str, type(None)}
    assert {row["lead_id"] is None for row in found} == {True, False}
    assert {bool(row.get("notetaker_id")) for row in found} == {True, False}
    assert {row["status"] for row in found} >= {"upcoming", "completed", "canceled"}
    assert {"." in row["date_updated"] for row in found} == {True, False}
    assert {"." in row["starts_at"] for row in found} == {False}
    assert all(row["date_updated"].endswith("+00:00") for row in found)
    # Times that are in the future, later than the update, and shared
    times = [datetime.fromisoformat(row["date_created"]) for row in found]
    assert max(times) > now
    updates = [datetime.fromisoformat(row["date_updated"]) for row in found]
    assert {update < created for update, created in zip(updates, times)} == {True, False}
    assert max(updates) <= now
    assert len(set(times)) < len(times)
    assert not any("transcripts" in row for row in found)


def test_date_created_means_the_start_or_the_moment_close_made_the_row(box):
    side = box.close
    id = side.insert(starts_at="2026-07-01T10:00:00Z")
    # Given the first meaning, a reschedule moves it
    assert page(box)["data"][0]["date_created"] == "2026-07-01T10:00:00+00:00"
    side.reschedule(id, "2026-08-01T10:00:00Z")
    row = page(box)["data"][0]
    assert row["date_created"] == row["starts_at"] == row["activity_at"]
    assert (row["starts_at"], row["ends_at"]) == (
        "2026-08-01T10:00:00+00:00",
        "2026-08-01T10:30:00+00:00",
    )
    assert ids(box, date_created__gte="2026-07-15T00:00:00Z") == [id]
    # Given the second, it stays, and the filters follow
    side.date_created_means = "created"
    assert page(box)["data"][0]["date_created"] == "2026-06-01T00:00:00.010007+00:00"
    assert ids(box, date_created__gte="2026-07-15T00:00:00Z") == []
    assert ids(box, date_created__lt="2026-06-02") == [id]


def test_writes_move_date_updated_and_a_deleted_meeting_is_nowhere(box):
    side = box.close
    edited, cancelled, completed, deleted = (side.insert(title=str(n)) for n in range(4))
    before = {row["id"]: row["date_updated"] for row in page(box)["data"]}
    side.edit(edited, title="new")
    side.cancel(cancelled)
    side.complete(completed)
    side.delete(deleted)
    found = {row["id"]: row for row in page(box)["data"]}
    assert set(found) == {edited, cancelled, completed} == set(side.truth())
    assert all(row["date_updated"] > before[id] for id, row in found.items())
    assert found[edited]["title"] == "new"
    assert found[cancelled]["status"] == "canceled"
    assert found[completed]["status"] == "completed"
    # The deleted one is missing from id__in and by itself
    assert set(ids(box, id__in=f"{edited},{deleted}")) == {edited}
    missing = get(box, f"{MEETINGS}{deleted}/")
    assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})
    assert get(box, f"{MEETINGS}{edited}/").json() == found[edited]
    with pytest.raises(KeyError):
        side.edit(deleted, title="too late")


def test_a_lead_takes_its_meetings_along(box):
    side = box.close
    first, second, other = (side.insert(lead_id=lead) for lead in ("lead_a", "lead_a", "lead_b"))
    assert side.delete_lead("lead_a") == 2
    assert ids(box) == [other]
    assert {event["object_id"] for event in events(box, "deleted")} == {first, second}
    # A merge moves them instead
    side.merge_leads("lead_b", "lead_c")
    assert page(box)["data"][0]["lead_id"] == "lead_c"
    meta = events(box, "updated")[0]["meta"]
    assert meta["merge_source_lead_id"] == "lead_b"


def test_meetings_start_and_end_with_the_clock_if_asked_to(box):
    side = box.close
    side.status_follows_clock = True
    id = side.insert(starts_at="2026-06-01T10:00:00Z", duration=3600)
    box.clock.set("2026-06-01T10:30:00Z")
    assert page(box)["data"][0]["status"] == "in-progress"
    box.clock.set("2026-06-01T12:00:00Z")
    row = page(box)["data"][0]
    assert row["status"] == "completed"
    assert "2026-06-01T11:00:00" <= row["date_updated"] < "2026-06-01T11:00:05"
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
    box.close.generate(count=101)
    assert len(ids(box)) == 100
    assert len(ids(box, _limit=7)) == 7
    for params in ({"_limit": 101}, {"_limit": 0}, {"_limit": "x"}, {"_skip": -1}):
        response = get(box, **params)
        assert response.status_code == 400
        assert set(response.json()["field-errors"]) == set(params)


def test_skip_has_a_ceiling_and_two_ways_to_say_so(box):
    side = box.close
    side.generate(count=30)
    side.max_skip = 20
    assert len(ids(box, _skip=20)) == 10
    response = get(box, _skip=21)
    assert response.status_code == 400
    assert "less than or equal to 20" in response.json()["field-errors"]["_skip"]
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
    created = [row["date_created"] for row in page(box)["data"]]
    assert created == sorted(created, reverse=True)
    newest = ids(box)
    side.list_order = "oldest"
    assert ids(box) == newest[::-1]
    side.list_order = "shuffled"
    first, second = ids(box), ids(box)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(newest)
    assert page(box, _limit=60)["has_more"] is False


# -- list: filters --------------------------------------------------------------------------------


def test_date_created_is_compared_by_the_second(box):
    side = box.close
    side.date_created_means = "created"
    early, late = (side.insert(date_created=f"2026-05-01T10:00:00.{n}00000+00:00") for n in (2, 8))
    after = side.insert(date_created="2026-05-01T10:00:01+00:00")
    at = "2026-05-01T10:00:00.500000Z"
    assert set(ids(box, date_created__gte=at)) == {early, late, after}
    assert set(ids(box, date_created__gt=at)) == {after}
    assert set(ids(box, date_created__lte=at)) == {early, late}
    assert set(ids(box, date_created__lt=at)) == set()
    both = {"date_created__gte": at, "date_created__lt": "2026-05-01T10:00:01Z"}
    assert set(ids(box, **both)) == {early, late}
    assert get(box, date_created__gte="soon").status_code == 400


def test_filters_on_date_created_can_be_ignored_in_silence(box):
    box.close.generate(count=30)
    everything = page(box)
    bounds = {"date_created__gte": "2026-05-01T00:00:00Z", "date_created__lt": "soon"}
    assert get(box, **bounds).status_code == 400
    box.close.configure(date_filters=False)
    assert page(box, **bounds) == everything
    # Other filters are not
    (first, *_) = everything["data"]
    assert ids(box, **bounds, id__in=first["id"]) == [first["id"]]
    assert get(box, activity_at__gte="2026-05-01T00:00:00Z").status_code == 400


def test_a_time_without_offset_is_in_the_zone_of_the_header(box):
    id = box.close.insert(starts_at="2026-07-01T10:00:00Z")
    url, params = f"{box.close.base_url}{MEETINGS}", {"date_created__gte": "2026-07-01T11:00:00"}

    def found(**headers: str) -> list[str]:
        auth = ("api_sandbox", "")
        body = requests.get(url, params, auth=auth, headers=headers, timeout=10).json()
        return [row["id"] for row in body["data"]]

    assert found() == []
    assert found(**{"x-tz-offset": "2"}) == [id]
    assert ids(box, date_created__gte="2026-07-01T12:00:00+02:00") == [id]


def test_there_is_no_filter_on_date_updated_and_unknown_names_are_ignored(box):
    box.close.generate(count=5)
    assert len(ids(box, date_updated__gte="2030-01-01T00:00:00Z", colour="red")) == 5
    assert len(ids(box, _order_by="-date_updated", _cursor="x")) == 5


def test_activity_at_needs_its_order_and_a_single_lead(box):
    id = box.close.insert(lead_id="lead_a", starts_at="2026-07-01T10:00:00Z")
    bound = {"activity_at__gte": "2026-07-01T00:00:00Z"}
    assert get(box, **bound).status_code == 400
    assert get(box, **bound, lead_id="lead_a").status_code == 400
    assert ids(box, **bound, lead_id="lead_a", _order_by="-activity_at") == [id]


def test_ids_leads_contacts_and_users_are_lists_with_commas(box):
    box.close.generate(count=80)
    rows = list(box.close.meetings.values())
    chosen = [row["id"] for row in rows[3:6]]
    assert set(ids(box, id__in=",".join([*chosen, "acti_unknown"]))) == set(chosen)
    for name in ("lead_id", "contact_id", "user_id"):
        values = list(dict.fromkeys(row[name] for row in rows if row[name]))[:2]
        expected = {row["id"] for row in rows if row[name] in values}
        assert set(ids(box, **{name: ",".join(values)})) == expected
    assert ids(box, _type="Call") == []


def test_fields_are_an_allow_list_and_transcripts_have_to_be_named(box):
    side = box.close
    id = side.insert(title="x")
    side.add_transcript(id, text="Hello there")
    assert page(box, _fields="id,title,unknown")["data"] == [{"id": id, "title": "x"}]
    assert "transcripts" not in get(box, f"{MEETINGS}{id}/").json()
    alone = get(box, f"{MEETINGS}{id}/", _fields="transcripts").json()
    assert set(alone) == {"transcripts"}
    assert alone["transcripts"][0]["utterances"][0]["text"] == "Hello there"
    assert side.transcripts() == {id: alone["transcripts"]}
    assert page(box, _fields="id,transcripts")["data"][0]["transcripts"] == alone["transcripts"]
    side.transcripts_on_list = False
    assert page(box, _fields="id,transcripts")["data"] == [{"id": id}]


def test_a_transcript_comes_without_event_and_without_update_unless_asked_to(box):
    side = box.close
    id = side.insert()
    before = side.meetings[id]["date_updated"]
    side.add_transcript(id)
    row = page(box)["data"][0]
    assert row["notetaker_id"] and row["summary"]["text"]
    assert row["date_updated"] == before
    assert events(box, "updated") == []
    side.add_transcript(id, emit_event=True)
    assert page(box)["data"][0]["date_updated"] > before
    assert [event["object_id"] for event in events(box, "updated")] == [id]
    assert len(side.transcripts()[id]) == 2


def test_meetings_are_searched_by_the_event_of_the_calendar(box):
    side = box.close
    common = {"provider_calendar_event_id": "evt", "provider_calendar_type": "google"}
    first, second = (
        side.insert(starts_at=f"2026-07-0{n}T10:00:00Z", provider_calendar_ids=[f"c{n}"], **common)
        for n in (1, 2)
    )
    side.insert(provider_calendar_event_id="another")

    def found(**params: str) -> set[str]:
        return set(ids(box, provider_calendar_event_id="evt", **params))

    assert found() == {first, second}
    assert found(provider_calendar_id="c1") == {first}
    assert found(provider_calendar_type="microsoft") == set()
    assert found(starts_at="2026-07-02T10:00:00") == {second}
    assert found(starts_at__gte="2026-07-01T10:00:00Z", starts_at__lt="2026-07-02") == {first}
    assert found(starts_at__gte="2026-07-01", lead_id="lead_none") == set()
    refused = get(box, provider_calendar_id="c1")
    assert refused.status_code == 400
    assert "provider_calendar_event_id" in refused.json()["field-errors"]
    assert get(box, starts_at__gte="2026-07-01").status_code == 400


def test_a_generated_link_to_google_holds_the_event_and_the_calendar(box):
    box.close.generate(count=20, years=0.1)
    rows = box.close.meetings.values()
    row = next(row for row in rows if row.get("calendar_event_link"))
    eid = row["calendar_event_link"].partition("eid=")[2]
    event, calendar = base64.urlsafe_b64decode(eid + "==").decode().split()
    assert row["id"] in ids(box, provider_calendar_event_id=event, provider_calendar_id=calendar)


# -- addresses ------------------------------------------------------------------------------------


def test_a_path_without_its_slash_is_redirected(box):
    response = get(box, "/activity/meeting", _limit=5)
    assert response.status_code == 301
    assert response.headers["location"] == f"{box.close.base_url}{MEETINGS}?_limit=5"


def test_an_address_of_more_than_2000_characters_is_refused_but_can_be_posted(box):
    box.close.generate(count=60)
    many = list(box.close.meetings)
    assert len(ids(box, id__in=",".join(many[:35]))) == 35
    assert get(box, id__in=",".join(many[:45])).status_code == 414
    response = requests.post(
        f"{box.close.base_url}{MEETINGS}",
        json={"_params": {"id__in": many[:45], "_limit": 50}},
        headers={"x-http-method-override": "GET"},
        auth=("api_sandbox", ""),
        timeout=10,
    )
    assert {row["id"] for row in response.json()["data"]} == set(many[:45])
    assert get(box, "/nothing/").status_code == 404
    url = f"{box.close.base_url}{MEETINGS}"
    assert requests.post(url, auth=("api_sandbox", ""), timeout=10).status_code == 405


# -- events ---------------------------------------------------------------------------------------


def test_each_write_has_an_event_of_its_own_kind(box):
    side = box.close
    id = side.insert()
    side.edit(id, title="x")
    side.start_meeting(id)
    side.complete(id)
    side.cancel(id)
    side.delete(id)
    log = page(box, "/event/")["data"]
    kinds = ["deleted", "canceled", "completed", "started", "updated", "scheduled", "created"]
    assert [event["action"] for event in log] == kinds  # newest first
    assert {event["object_id"] for event in log} == {id}
    assert {event["object_type"] for event in log} == {"activity.meeting"}
    assert log[4]["changed_fields"] == ["title"]
    assert log[-1]["date_updated"] == "2026-06-01T00:00:00.010007"  # without an offset
    # A cancel is found under `canceled` only, unless asked otherwise
    assert len(events(box, "updated")) == 1
    side.status_events = "both"
    other = side.insert()
    side.cancel(other)
    assert {event["object_id"] for event in events(box, "updated")} == {id, other}
    # And writes can go unreported
    side.edit(other, title="y", emit_event=False)
    side.delete(other, emit_event=False)
    assert len(events(box, "deleted")) == 1


def test_events_are_paged_by_cursor_fifty_at_most(box):
    # Given more events than a page, among those of other objects
    side = box.close
    inserted = []
    for _ in range(120):
        inserted.append(side.insert())
        side.add_events()
    # When they are walked with the filters
    walked, cursor, sizes = [], None, []
    while cursor or not sizes:
        filters = {"object_type": "activity.meeting", "action": "created", "_limit": 100}
        body = page(box, "/event/", **filters, **({"_cursor": cursor} if cursor else {}))
        assert set(body) == {"data", "cursor_next", "cursor_previous"}
        walked += [event["object_id"] for event in body["data"]]
        sizes.append(len(body["data"]))
        cursor = body["cursor_next"]
    # Then each comes once, newest first
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


def test_a_cursor_remembers_the_bounds_of_date_updated_or_leads_past_them(box):
    side = box.close
    side.add_events(3)
    bound = box.clock.now().isoformat()
    side.add_events(3)
    params = {"date_updated__gt": bound, "_limit": 2}
    body = page(box, "/event/", **params)
    rest = page(box, "/event/", _limit=50, _cursor=body["cursor_next"])
    assert (len(body["data"]), len(rest["data"]), rest["cursor_next"]) == (2, 1, None)
    side.cursor_keeps_bounds = False
    assert len(page(box, "/event/", _limit=50, _cursor=body["cursor_next"])["data"]) == 4


def test_the_bounds_of_events_compare_microseconds(box):
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


def test_the_filters_of_events_hold_exactly(box):
    side = box.close
    id = side.insert(lead_id="lead_a")
    side.insert(lead_id="lead_b")
    side.edit(id, title="x")
    by_object = page(box, "/event/", object_id=id, object_type="activity.meeting")["data"]
    assert [event["action"] for event in by_object] == ["updated", "scheduled", "created"]
    assert page(box, "/event/", lead_id="lead_a")["data"] == by_object
    assert page(box, "/event/", request_id=by_object[0]["request_id"])["data"] == by_object[:1]
    alone = page(box, f"/event/{by_object[0]['id']}/")
    assert alone == by_object[0]


def test_events_end_after_thirty_days(box):
    box.close.add_events()
    box.clock.advance(days=29, hours=23)
    box.close.add_events()
    assert len(page(box, "/event/")["data"]) == 2
    box.clock.advance(hours=2)
    assert len(page(box, "/event/", date_updated__gte="2026-01-01")["data"]) == 1


def test_generated_meetings_have_events_of_the_last_thirty_days(box):
    box.close.generate(count=400, years=1)
    created = {event["object_id"] for event in events(box, "created")}
    assert 20 < len(created) < 50
    assert created < set(box.close.meetings)
    for event in events(box, "completed"):
        assert box.close.meetings[event["object_id"]]["status"] == "completed"


def test_an_update_soon_after_another_is_written_into_its_event(box):
    side = box.close
    id = side.insert()
    side.edit(id, title="x")
    (first,) = events(box, "updated")
    box.clock.advance(seconds=30)
    side.add_events()
    side.edit(id, note="y")
    # The same event, newer and first, with what changed in both
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
    # Later updates get their own
    box.clock.advance(seconds=90)
    side.edit(id, note="z")
    assert len(events(box, "updated")) == 2


def test_events_show_late_and_out_of_order_within_the_delay(box):
    side = box.close
    side.event_delay = 300
    for _ in range(30):
        side.insert()
        box.clock.advance(seconds=1)
    seen: list[str] = []
    for _ in range(7):
        seen += [
            event["id"] for event in reversed(events(box, "created")) if event["id"] not in seen
        ]
        box.clock.advance(seconds=50)
    in_order = [event["id"] for event in reversed(events(box, "created"))]
    assert len(seen) == len(in_order) == 30
    assert seen != in_order


def test_the_data_of_events_may_be_missing(box):
    side = box.close
    for _ in range(20):
        side.insert()
    assert {"data" in event for event in events(box, "created")} == {True, False}
    side.event_data = "full"
    full = events(box, "created")
    assert full[0]["data"]["id"] == full[0]["object_id"]
    side.event_data = "missing"
    assert not any("data" in event for event in events(box, "created"))
    side.event_data = "some"
    box.clock.advance(hours=2)
    assert not any("data" in event for event in events(box, "created"))


def test_the_log_may_be_forbidden_while_the_list_is_not(box):
    box.close.events_forbidden = True
    response = get(box, "/event/", object_type="activity.meeting", action="created")
    assert response.status_code == 403
    assert isinstance(response.json()["error"], str)
    assert get(box).status_code == 200


# -- outcomes -------------------------------------------------------------------------------------


def test_outcomes_are_paged_and_a_deleted_one_stays_named(box):
    side = box.close
    id = side.add_outcome("Won")
    meeting = side.insert(outcome_id=id)
    first = page(box, "/outcome/", _limit=2)
    second = page(box, "/outcome/", _limit=2, _skip=2)
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert first["data"] + second["data"] == side.outcomes
    assert second["data"][1]["name"] == "Won"
    assert page(box, "/outcome/", _fields="id", _limit=1)["data"] == [
        {"id": side.outcomes[0]["id"]}
    ]
    side.delete_outcome(id)
    assert len(page(box, "/outcome/")["data"]) == 3
    assert side.meetings[meeting]["outcome_id"] == id


# -- authentication -------------------------------------------------------------------------------


def test_a_key_is_a_username_without_password_and_a_token_a_bearer(box):
    url = f"{box.close.base_url}/me/"
    access, _ = box.close.oauth.issue()
    good = requests.get(url, headers={"authorization": f"Bearer {access}"}, timeout=10)
    assert (good.status_code, good.json()["id"]) == (200, "user_0001")
    assert page(box, "/me/")["organizations"]
    for auth in (("api_sandbox", "x"), ("wrong", ""), ("", "api_sandbox"), None):
        response = requests.get(url, auth=auth, timeout=10)
        assert response.status_code == 401
        assert isinstance(response.json()["error"], str)
    for header in ("Bearer api_sandbox", "Basic api_sandbox"):
        assert requests.get(url, headers={"authorization": header}, timeout=10).status_code == 401
    box.clock.advance(seconds=3600)
    headers = {"authorization": f"Bearer {access}"}
    assert requests.get(url, headers=headers, timeout=10).status_code == 401


def test_a_refresh_rotates_the_refresh_token(box):
    old = box.close.oauth.refresh_token
    answer = refresh(box, old).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    assert {"scope", "organization_id", "user_id"} < set(answer)
    assert answer["refresh_token"] == box.close.oauth.refresh_token != old
    again = refresh(box, old)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "kind"), [("string", str), ("object", dict), ("absent", None)])
def test_a_429_says_when_in_three_shapes(box, body, kind):
    box.close.configure(throttle=1, rate_body=body, rate_reset=1.5)
    response = get(box)
    assert response.status_code == 429
    error = response.json().get("error")
    assert error is None if kind is None else isinstance(error, kind)
    assert (error if kind is dict else response.json())["rate_reset"] == 1.5
    assert response.headers["ratelimit"] == "limit=100, remaining=99, reset=1.500"
    assert response.headers["retry-after"] == "2"
    assert get(box).status_code == 200
    box.close.configure(throttle=1, rate_header=False)
    bare = get(box).headers
    assert "ratelimit" not in bare and "retry-after" not in bare


def test_requests_are_counted_by_endpoint_and_window(box):
    box.close.configure(rate_limit=2, rate_window=60, rate_separator=";")
    if time.time() % 60 > 55:
        time.sleep(6)  # not across the edge of a window
    assert [get(box).status_code for _ in range(3)] == [200, 200, 429]
    assert get(box).headers["ratelimit"].startswith("limit=2; remaining=0; reset=")
    other = get(box, "/me/")
    assert other.status_code == 200
    assert other.headers["ratelimit"].startswith("limit=2; remaining=1; reset=")


# -- the bench itself -----------------------------------------------------------------------------


def test_the_control_interface_reaches_data_and_options(box):
    def act(action: str, **arguments: Any) -> Any:
        url = f"{box.url}/_sandbox/close/{action}"
        response = requests.post(url, json=arguments, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    act("generate", count=4)
    id = act("insert", title="x")
    act("edit", id=id, title="y")
    act("reschedule", id=id, starts_at="2026-09-01T10:00:00Z")
    act("complete", id=id)
    act("add_transcript", id=id)
    act("configure", date_created_means="created", list_order="shuffled")
    assert len(ids(box)) == 5
    truth = requests.get(f"{box.url}/_sandbox/close/truth", timeout=10).json()
    assert truth == box.close.truth()
    assert (truth[id]["title"], truth[id]["status"]) == ("y", "completed")
    act("delete", id=id)
    assert len(ids(box)) == 4
    state = requests.get(f"{box.url}/_sandbox/state", timeout=10).json()["providers"]["close"]
    assert (state["base_url"], state["meetings"]) == (box.close.base_url, 4)
    refused = requests.post(f"{box.url}/_sandbox/close/configure", json={"x": 1}, timeout=10)
    assert refused.status_code == 400


def test_rows_can_change_between_two_pages(box):
    side = box.close
    side.generate(count=150)
    first = ids(box)
    box.before(r"_skip=100", 1, lambda: [side.delete(id) for id in first[:10]])
    second = ids(box, _skip=100)
    # Ten rows that were never served slipped in front of the second page
    assert len(second) == 40
    assert len(set(side.truth()) - set(first) - set(second)) == 10


def test_a_hundred_thousand_meetings_are_no_burden(box):
    box.close.generate(count=100_000)
    begin = time.perf_counter()
    for month in range(1, 13):
        bounds = {
            "date_created__gte": f"2025-{month:02}-01T00:00:00Z",
            "date_created__lt": f"2025-{month:02}-02T00:00:00Z",
        }
        assert 0 < len(ids(box, **bounds)) <= 100
        assert len(events(box, "created")) == 50
    assert time.perf_counter() - begin < 5
