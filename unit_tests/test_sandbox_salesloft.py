"""The sandbox's Salesloft has every trap that the documentation and bug reports describe."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests

from sandbox import Sandbox

KEY = {"authorization": "Bearer ak_sandbox"}
LIST = "/v2/meetings"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        yield box


def get(box: Sandbox, path: str = LIST, token: str = "ak_sandbox", **params: Any) -> Any:
    """Send keyword arguments as parameters; `created_at__gte` is sent as `created_at[gte]`."""
    query = {}
    for name, value in params.items():
        field, operator, bound = name.partition("__")
        query[f"{field}[{bound}]" if operator else name] = value
    url = f"{box.salesloft.root}{path}"
    headers = {"authorization": f"Bearer {token}"}
    return requests.get(url, query, headers=headers, timeout=10, allow_redirects=False)


def rows(box: Sandbox, **params: Any) -> list[dict[str, Any]]:
    response = get(box, per_page=params.pop("per_page", 100), **params)
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def ids(box: Sandbox, **params: Any) -> list[int]:
    return [row["id"] for row in rows(box, **params)]


def refresh(box: Sandbox, token: str) -> requests.Response:
    oauth = box.salesloft.oauth
    form = {"grant_type": "refresh_token", "refresh_token": token}
    form |= {"client_id": oauth.client_id, "client_secret": oauth.client_secret}
    return requests.post(box.salesloft.token_url, data=form, timeout=10)


# -- data -----------------------------------------------------------------------------------------


def test_the_pages_of_the_list_add_up_to_the_truth_and_a_seed_always_gives_the_same_rows(box):
    # Given generated meetings on three pages
    box.salesloft.generate(count=250, seed=5)
    # When all pages are read
    walked = [row for page in (1, 2, 3) for row in rows(box, sort_by="created_at", page=page)]
    # Then together they are the truth, except that three ids vary in type
    truth = box.salesloft.truth()
    assert {str(row["id"]) for row in walked} == set(truth)
    for row in walked:
        expected = truth[str(row["id"])]
        for name in ("account_id", "task_id", "meeting_type_id"):
            row[name] = None if row[name] is None else str(row[name])
        assert row == expected
    # And another sandbox generates the same meetings from the same seed
    with Sandbox(clock="2026-06-01T00:00:00Z") as other:
        other.salesloft.generate(count=250, seed=5)
        assert other.salesloft.truth() == truth


def test_generated_rows_have_the_shapes_that_break_naive_readers(box):
    # Given enough generated meetings that each rare form occurs
    box.salesloft.generate(count=2000, years=2)
    found = list(box.salesloft.meetings.values())
    # Then ids vary in type, and some fields are empty, null or absent
    for name in ("account_id", "task_id", "meeting_type_id"):
        assert {type(row[name]) for row in found} == {int, str, type(None)}
    assert {row["title"] == "" for row in found} == {True, False}
    assert {row["start_time"] is None for row in found} == {True, False}
    assert {"recurrence" in row for row in found} == {True, False}
    assert {row["canceled_at"] is None for row in found} == {True, False}
    # And times are in order and in the past, and over a page of rows share one update time
    now = box.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert all(row["created_at"] <= row["updated_at"] <= now for row in found)
    assert min(row["created_at"] for row in found) < "2024-06-03"
    updates = [row["updated_at"] for row in found]
    assert max(updates.count(stamp) for stamp in set(updates)) >= 100  # equal times fill a page


def test_writes_change_updated_at_and_a_hard_deleted_meeting_cannot_be_found(box):
    # Given three meetings
    side = box.salesloft
    first, second, third = (side.insert(title=str(n), account_id=None) for n in range(3))
    # When one is edited, one is cancelled and one is deleted
    side.edit(first, title="new")
    side.cancel(second)
    side.delete(third)
    # Then the newest update comes first; the cancelled one is still listed, the deleted one is not
    found = rows(box, sort_by="updated_at")
    assert [row["id"] for row in found] == [second, first]
    assert found[0]["canceled_at"] == found[0]["updated_at"] > found[1]["updated_at"]
    assert found[1]["title"] == "new"
    assert found[1]["updated_at"] > found[1]["created_at"]
    assert ids(box, ids=third) == []
    assert set(side.truth()) == {str(first), str(second)}
    # And a time that an edit sets is kept, even updated_at
    side.edit(first, updated_at="2020-01-01T00:00:00.000001Z", start_time=None)
    assert side.meetings[first]["updated_at"] == "2020-01-01T00:00:00.000001Z"
    assert ids(box, sort_by="updated_at", sort_direction="ASC")[0] == first
    with pytest.raises(KeyError):
        side.edit(third, title="too late")


# -- paging and sorting ---------------------------------------------------------------------------


def test_invalid_page_and_per_page_are_silently_corrected_and_the_answer_says_what_was_used(box):
    box.salesloft.generate(count=150)
    # Then a per_page that is too large, too small or unreadable is replaced
    for asked, served in (("1000", 100), ("0", 1), ("x", 25), (None, 25)):
        body = get(box, per_page=asked).json()
        assert body["metadata"]["paging"]["per_page"] == len(body["data"]) == served
    # And a negative page number means the first page
    paging = get(box, page=-3, per_page=100).json()["metadata"]["paging"]
    assert paging == {"per_page": 100, "current_page": 1, "next_page": 2, "prev_page": None}
    # And a page beyond the end is empty, and there is no next page
    past_the_end = get(box, page=9, per_page=100).json()
    assert past_the_end["data"] == []
    assert past_the_end["metadata"]["paging"]["next_page"] is None
    assert get(box, page=2, per_page=75).json()["metadata"]["paging"]["next_page"] is None


def test_totals_are_sent_only_on_request_and_can_be_capped(box):
    # Given more meetings than the cap of 10,000
    box.salesloft.generate(count=10_050)
    # Then totals are absent unless the request asks for them
    assert "total_count" not in get(box).json()["metadata"]["paging"]
    paging = get(box, per_page=100, include_paging_counts="true").json()["metadata"]["paging"]
    assert (paging["total_count"], paging["total_pages"]) == (10_050, 101)
    # And with the cap, the total is too small
    capped = {"include_paging_counts": "true", "limit_paging_counts": "true"}
    body = get(box, per_page=100, page=101, **capped).json()
    assert body["metadata"]["paging"]["total_count"] == 10_000
    assert len(body["data"]) == 50  # rows beyond the cap can still be read


def test_the_default_order_is_start_time_descending_with_nulls_last(box):
    side = box.salesloft
    # Given a meeting without a start between two with one
    late = side.insert(start_time="2027-01-01T00:00:00.000000Z")
    none = side.insert(start_time=None)
    early = side.insert(start_time="2025-01-01T00:00:00.000000Z")
    # Then it comes last
    assert ids(box) == [late, early, none]
    assert get(box).json()["metadata"]["sorting"] == {
        "sort_by": "start_time",
        "sort_direction": "DESC NULLS LAST",
    }
    # And in ascending order it comes first
    assert ids(box, sort_direction="ASC") == [none, early, late]
    sorting = get(box, sort_direction="ASC").json()["metadata"]["sorting"]
    assert sorting["sort_direction"] == "ASC NULLS FIRST"


def test_an_invalid_sort_or_filter_value_is_a_422(box):
    for params in ({"sort_by": "title"}, {"sort_direction": "up"}, {"status": "held"}):
        response = get(box, **params)
        assert response.status_code == 422
        assert set(response.json()["errors"]) == set(params)
    assert get(box, ids="x").status_code == get(box, show_deleted="maybe").status_code == 422


def test_tied_rows_may_change_places_between_requests(box):
    side = box.salesloft
    # Given 40 meetings with the same update time, and a newer one
    for _ in range(40):
        side.insert(updated_at="2026-05-01T00:00:00.000000Z")
    newest = side.insert()

    def order() -> list[int]:
        return ids(box, sort_by="updated_at")

    # Then their order is stable by default
    assert order() == order() == sorted(order(), reverse=True)
    # And it can differ with each request, with the newer one always first
    side.unstable_ties = True
    first, second = order(), order()
    assert first != second
    assert sorted(first) == sorted(second)
    assert first[0] == second[0] == newest


def test_the_sandbox_can_leave_out_paging_and_ignore_the_sort_order(box):
    side = box.salesloft
    side.generate(count=30)
    # Then paging can be missing from one page
    side.omit_paging = {2}
    assert "paging" in get(box).json()["metadata"]
    assert "paging" not in get(box, page=2).json()["metadata"]
    # And from all pages
    side.omit_paging = True
    assert "paging" not in get(box).json()["metadata"]
    # And an answer can have the default order, whatever the request says
    side.ignore_sort = True
    body = get(box, sort_by="updated_at", per_page=100).json()
    assert body["metadata"]["sorting"]["sort_by"] == "start_time"
    assert [row["id"] for row in body["data"]] == ids(box)


# -- filters --------------------------------------------------------------------------------------


def test_time_bounds_are_compared_to_the_microsecond_and_repeated_in_the_answer(box):
    # Given three meetings, one microsecond apart
    before, at, after = (f"2026-01-01T00:00:00.00000{n}Z" for n in (4, 5, 6))
    b, m, a = (box.salesloft.insert(created_at=stamp) for stamp in (before, at, after))
    # Then each operator draws the line at the microsecond
    assert ids(box, created_at__gt=at) == [a]
    assert set(ids(box, created_at__gte=at)) == {m, a}
    assert ids(box, created_at__lt=at) == [b]
    assert set(ids(box, created_at__lte=at)) == {b, m}
    assert ids(box, created_at__gte=at, created_at__lt=after, sort_by="created_at") == [m]
    # And a bound can have an offset
    assert ids(box, created_at__gte="2026-01-01T01:00:00.000005+01:00", created_at__lt=after) == [m]
    # And the answer names the filter
    response = get(box, created_at__gte=at)
    assert response.json()["metadata"]["filtering"] == {"created_at": {"gte": at}}


def test_a_time_bound_excludes_rows_without_that_time(box):
    none = box.salesloft.insert(start_time=None)
    assert ids(box) == [none]
    assert ids(box, start_time__lt="2100-01-01T00:00:00Z") == []


def test_a_filtered_list_follows_every_write(box):
    side = box.salesloft
    # Given a meeting that matches the filter and one that does not
    first, second = side.insert(status="booked"), side.insert(status="pending")
    assert ids(box, status="booked") == [first]
    # Then an edit, a deletion and an insertion each show in the filtered list at once
    side.edit(second, status="booked")
    assert set(ids(box, status="booked")) == {first, second}
    side.delete(first)
    assert ids(box, status="booked") == [second]
    third = side.insert(status="booked")
    assert set(ids(box, status="booked")) == {second, third}


def test_a_malformed_date_is_a_500(box):
    for value in ("yesterday", "2026-01-01T00:00:00+00:00 ", "2026-13-01"):
        response = get(box, created_at__gte=value)
        assert response.status_code == 500
        assert response.json() == {"status": 500, "error": "Internal Server Error"}


def test_unknown_filters_are_silently_ignored_and_updated_at_is_one_of_them(box):
    box.salesloft.generate(count=5)
    # Given filters that no meeting would pass
    future = {"updated_at__gte": "2030-01-01T00:00:00Z", "colour": "red"}
    # Then all meetings come, and the answer names no filter
    body = get(box, **future).json()
    assert len(body["data"]) == 5
    assert body["metadata"]["filtering"] == {}
    # And with the option on, the filter on updated_at works
    box.salesloft.updated_at_filter = True
    body = get(box, **future).json()
    assert body["data"] == []
    assert set(body["metadata"]["filtering"]) == {"updated_at"}


def test_show_deleted_has_three_meanings_and_a_configurable_default(box):
    # Given an active and a cancelled meeting
    active, cancelled = box.salesloft.insert(), box.salesloft.insert()
    box.salesloft.cancel(cancelled)
    # Then true means cancelled only, false means active only, and without it both come
    assert ids(box, show_deleted="true") == [cancelled]
    assert ids(box, show_deleted="false") == [active]
    assert set(ids(box)) == {active, cancelled}
    assert get(box).json()["metadata"]["filtering"] == {}
    # And the default can be active meetings only; the reference does not say which it is
    box.salesloft.show_deleted_default = "active"
    body = get(box).json()
    assert [row["id"] for row in body["data"]] == [active]
    assert body["metadata"]["filtering"] == {"show_deleted": False}
    assert ids(box, show_deleted="true") == [cancelled]


def test_ids_can_be_repeated_with_or_without_brackets_and_unknown_ones_are_left_out(box):
    box.salesloft.generate(count=10)
    assert set(ids(box, **{"ids[]": [3, 4, 99]})) == set(ids(box, ids=[3, 4])) == {3, 4}


MATCHES: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("status", lambda row: row["status"]),
    ("person_id", lambda row: row["person"] and row["person"]["id"]),
    ("person_ids[]", lambda row: row["person"] and row["person"]["id"]),
    ("account_id", lambda row: row["account_id"]),
    ("task_ids[]", lambda row: row["task_id"]),
    ("user_guids[]", lambda row: row["owned_by_user"]["id"]),
    ("booked_by_user_uuid", lambda row: row["booked_by_user"]["id"]),
    ("no_show", lambda row: str(row["no_show"]).lower()),
    ("meeting_type_id", lambda row: row["meeting_type_id"] or "default_personal_meeting"),
    ("cadence_id", lambda row: row["cadence"] and row["cadence"]["id"]),
    ("step_id", lambda row: row["step"] and row["step"]["id"]),
]


@pytest.mark.parametrize(("name", "value_of"), MATCHES, ids=[name for name, _ in MATCHES])
def test_each_documented_filter_returns_exactly_the_rows_that_match(box, name, value_of):
    box.salesloft.generate(count=90)
    found = box.salesloft.meetings
    for value in {str(value_of(row)) for row in found.values() if value_of(row) is not None}:
        expected = {id for id, row in found.items() if str(value_of(row)) == value}
        assert set(ids(box, **{name: value})) == expected


def test_event_ids_and_i_cal_uids_match_either(box):
    box.salesloft.generate(count=50)
    first, second = [row for row in box.salesloft.meetings.values() if row["event_id"]][:2]
    found = ids(box, **{"event_ids[]": first["event_id"], "i_cal_uids[]": second["i_cal_uid"]})
    assert set(found) == {first["id"], second["id"]}


def test_meetings_settings_are_sent_only_on_request(box):
    box.salesloft.generate(count=1)
    assert "owned_by_meetings_settings" not in rows(box)[0]
    row = rows(box, include_meetings_settings="true")[0]
    assert row["owned_by_meetings_settings"] == {"email_address": row["calendar_id"]}


# -- authentication -------------------------------------------------------------------------------


def test_a_missing_token_a_wrong_token_and_a_missing_scope_are_refused_differently(box):
    # Then a request without a token has its own message, and a wrong token is a 401 too
    response = requests.get(f"{box.salesloft.base_url}/meetings", timeout=10)
    assert response.status_code == 401
    assert response.json()["error"].startswith("No Bearer Token attached to request")
    assert get(box, token="nobody").status_code == 401
    # And a key without the scope meetings:read can still request /me
    box.salesloft.keys["ak_narrow"] = {"people:read"}
    assert get(box, "/v2/me", token="ak_narrow").status_code == 200
    assert get(box, "/v2/me.json", token="ak_narrow").status_code == 200
    # And its request for meetings is a 403
    assert get(box, token="ak_narrow").status_code == 403
    # And unknown paths are a 404
    assert get(box, "/v2/nothing").status_code == get(box, "/v2/meetings/1").status_code == 404
    assert "error" in get(box, "/v2/nothing").json()


def test_a_refresh_rotates_the_refresh_token_and_revokes_the_old_one_at_once(box):
    # Given the refresh token of an authorised app
    old = box.salesloft.oauth.refresh_token
    # When it is used
    answer = refresh(box, old).json()
    # Then a new pair of tokens comes, and the access token works
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 7200)
    assert (answer["scope"], answer["created_at"]) == ("meetings:read", 1780272000)
    assert answer["refresh_token"] == box.salesloft.oauth.refresh_token != old
    assert get(box, token=answer["access_token"]).status_code == 200
    # And the old refresh token is refused
    again = refresh(box, old)
    assert again.status_code == 400
    assert again.json()["error"] == "invalid_grant"
    assert again.json()["error_description"]


def test_wrong_client_credentials_and_grants_are_refused(box):
    form = {"grant_type": "refresh_token", "refresh_token": box.salesloft.oauth.refresh_token}
    refused = requests.post(box.salesloft.token_url, data=form, timeout=10)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    refused = requests.post(box.salesloft.token_url, data={"grant_type": "password"}, timeout=10)
    assert (refused.status_code, refused.json()["error"]) == (400, "unsupported_grant_type")


def test_access_tokens_expire_by_the_sandbox_clock_or_after_some_uses_or_all_at_once(box):
    oauth = box.salesloft.oauth
    # Given an access token that lives for two hours
    access, _ = oauth.issue()
    # Then it works until the last second
    box.clock.advance(seconds=7199)
    assert get(box, token=access).status_code == 200
    box.clock.advance(seconds=1)
    assert get(box, token=access).status_code == 401
    # And a token can be limited to a number of uses
    oauth.after_uses = 2
    access, _ = oauth.issue()
    assert [get(box, token=access).status_code for _ in range(3)] == [200, 200, 401]
    # And all tokens can be ended at once
    access, _ = oauth.issue()
    oauth.expire_all()
    assert get(box, token=access).status_code == 401


# -- cost and limit -------------------------------------------------------------------------------


def test_deep_pages_cost_more(box):
    # Then the cost grows with the page number, as documented
    for page, cost in ((1, 1), (100, 1), (101, 3), (150, 3), (151, 8), (251, 10), (501, 30)):
        response = get(box, page=page)
        assert response.headers["x-ratelimit-endpoint-cost"] == str(cost)
        assert box.requests[-1].points == cost
    # And all of it is taken from the minute's budget
    assert box.points == 56
    assert response.headers["x-ratelimit-remaining-minute"] == str(600 - 56)


def test_a_spent_budget_is_a_429_without_retry_after_until_the_next_minute(box):
    # Given a budget of three points a minute
    box.salesloft.rate_limit = 3
    # When it is spent, then requests are refused without a hint when to retry, at no cost
    statuses = [get(box).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    response = get(box)
    assert response.json() == {"error": "API rate limit exceeded"}
    assert "retry-after" not in response.headers
    assert response.headers["x-ratelimit-remaining-minute"] == "0"
    assert box.requests[-1].points == 0
    # And in the next minute there are three points again
    box.clock.advance(minutes=1)
    assert get(box).status_code == 200
    assert get(box, page=101).status_code == 429  # costs three points, and two are left


# -- the sandbox itself ---------------------------------------------------------------------------


def test_requests_are_recorded_in_order_until_they_are_forgotten(box):
    # When a good and a refused request are sent
    get(box, per_page=7)
    refresh(box, "x")
    # Then both are recorded, with parameters, headers, body and status
    first, second = box.requests
    assert (first.provider, first.method, first.path) == (
        "salesloft",
        "GET",
        "/salesloft/v2/meetings",
    )
    assert first.param("per_page") == "7"
    assert first.param("page") is None
    assert first.headers["authorization"] == KEY["authorization"]
    assert (first.status, second.status) == (200, 400)
    assert b"refresh_token=x" in second.body
    box.forget_requests()
    assert box.requests == []


def test_the_date_header_follows_the_sandbox_clock(box):
    # Then a clock that stands still moves only when it is told to
    box.clock.advance(days=1, hours=1)
    assert get(box).headers["date"] == "Tue, 02 Jun 2026 01:00:00 GMT"
    # And the clock of a sandbox without a given time runs, and can be moved too
    with Sandbox() as real:
        before = real.clock.now()
        real.clock.advance(days=40)
        assert timedelta(days=40) <= real.clock.now() - before < timedelta(days=40, seconds=5)
        real.clock.set("2027-01-01T00:00:00Z")
        assert get(real).headers["date"].startswith("Fri, 01 Jan 2027 00:00:0")


def test_hooks_change_data_between_two_pages(box):
    # Given three meetings, read one per page with the newest update first, and a hook before page 2
    # and one after it
    side = box.salesloft
    first, second, third = (side.insert() for _ in range(3))
    box.before(r"meetings$", 2, lambda: side.edit(first))
    box.after(r"meetings\?.*page=2", 1, lambda: side.delete(second))
    pages = [ids(box, sort_by="updated_at", per_page=1, page=page) for page in (1, 2, 3)]
    # Then the edit pushed the first row to page 2, so it came twice, and page 3 was empty
    assert pages == [[third], [third], []]


def test_an_exception_in_a_hook_fails_the_test():
    with pytest.raises(ZeroDivisionError), Sandbox() as box:
        box.before("meetings", 1, lambda: 1 / 0)
        assert get(box).status_code == 500


def test_a_fault_changes_the_answers_to_the_requests_that_it_names_and_no_others(box):
    box.salesloft.generate(count=10)
    # Given a fault for the second and third request
    box.fault("meetings", nth=2, times=2, kind="status", status=503, headers={"Retry-After": "1"})
    # Then these two fail, and the others do not
    responses = [get(box) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 503, 503, 200]
    assert responses[1].headers["retry-after"] == "1"
    # And every kind of fault does what its name says, once
    box.fault("meetings", kind="half_json")
    with pytest.raises(ValueError, match=r".*"):
        get(box).json()
    box.fault("meetings", kind="html")
    assert get(box).headers["content-type"].startswith("text/html")
    box.fault("meetings", kind="body", body={"data": None})
    assert get(box).json() == {"data": None}
    box.fault("meetings", kind="short_page", n=3)
    short = get(box).json()
    assert (len(short["data"]), short["metadata"]["paging"]["next_page"]) == (7, None)
    box.fault("meetings", kind="redirect", location="http://127.0.0.1:1/")
    assert get(box).headers["location"] == "http://127.0.0.1:1/"
    # And then answers are good again, and an unknown kind is refused
    assert len(rows(box)) == 10
    with pytest.raises(ValueError, match="no fault"):
        box.fault("meetings", kind="earthquake")


def test_a_fault_can_break_the_connection_without_stopping_the_server(box):
    box.salesloft.generate(count=50)
    session = requests.Session()
    url = f"{box.salesloft.base_url}/meetings"
    # Given a dropped connection at the second request, and a body that is cut short at the fourth
    box.fault("meetings", nth=2, kind="drop")
    box.fault("meetings", nth=4, kind="cut")
    # Then these two fail, and the requests between them succeed
    assert session.get(url, headers=KEY, timeout=10).status_code == 200
    with pytest.raises(requests.ConnectionError):
        session.get(url, headers=KEY, timeout=10)
    assert session.get(url, headers=KEY, timeout=10).status_code == 200
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        session.get(url, headers=KEY, timeout=10)
    assert session.get(url, headers=KEY, timeout=10).status_code == 200
    assert [request.status for request in box.requests] == [200, 0, 200, 200, 200]
    # And an answer can get lost after the request was carried out: the refresh token is used up
    spent = box.salesloft.oauth.refresh_token
    box.fault("token", kind="drop", processed=True)
    with pytest.raises(requests.ConnectionError):
        refresh(box, spent)
    assert refresh(box, spent).status_code == 400


def test_a_stall_delays_one_answer_only(box):
    box.fault("meetings", kind="stall", seconds=5)
    # When one request runs into its time-out, then another one is answered at once
    started = time.monotonic()
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{box.salesloft.base_url}/meetings", headers=KEY, timeout=0.1)
    assert get(box).status_code == 200
    assert time.monotonic() - started < 5


def test_small_answers_are_not_delayed_by_the_network_stack(box):
    session = requests.Session()
    started = time.monotonic()
    for _ in range(50):
        session.get(f"{box.salesloft.base_url}/me", headers=KEY, timeout=10)
    assert time.monotonic() - started < 2  # with Nagle's algorithm, each would take 40 ms


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sandbox", "--clock", "2026-06-01T00:00:00Z"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_the_sandbox_process_is_controlled_over_http_and_stops_cleanly(demo):
    # Given the sandbox as a process
    ready = json.loads(demo.stdout.readline())
    control = ready["url"] + "/_sandbox"

    def post(path: str, **body: Any) -> requests.Response:
        return requests.post(f"{control}/{path}", json=body, timeout=10)

    # When meetings are written, the clock is moved and a fault is set
    assert post("salesloft/generate", count=20).json() == 20
    new = post("salesloft/insert", title="over http").json()
    post("salesloft/edit", id=new, title="edited")
    post("salesloft/cancel", id=1)
    post("salesloft/delete", id=2)
    post("salesloft/configure", show_deleted_default="active")
    post("clock/advance", days=1)
    post("fault", path_regex="meetings", kind="status", status=502)
    # Then the API shows it
    meetings = f"{ready['providers']['salesloft']['base_url']}/meetings"
    assert requests.get(meetings, headers=KEY, timeout=10).status_code == 502
    served = requests.get(meetings, headers=KEY, timeout=10)
    assert served.headers["date"].startswith("Tue, 02 Jun")
    truth = requests.get(f"{control}/salesloft/truth", timeout=10).json()
    assert len(truth) == 20
    active = {row["id"] for row in truth.values() if row["canceled_at"] is None}
    assert {row["id"] for row in served.json()["data"]} == active
    assert truth["1"]["canceled_at"]
    assert truth[str(new)]["title"] == "edited"
    state = requests.get(f"{control}/state", timeout=10).json()
    assert state["providers"]["salesloft"]["meetings"] == 20
    counts = requests.get(f"{control}/requests", timeout=10).json()
    assert counts["by_provider"] == {"salesloft": {"/salesloft/v2/meetings": 2}}
    assert counts["points"] == 1
    post("requests/forget")
    assert requests.get(f"{control}/requests", timeout=10).json()["count"] == 0
    assert post("salesloft/edit", id=2).status_code == 404
    assert post("salesloft/explode").status_code == 404
    assert post("salesloft/configure", colour="red").status_code == 400
    # And a signal stops it
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(timeout=10) == 0
