"""The sandbox's ExpoPlatform: the documented parameters, and every assumed form of the answer."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from sandbox import Sandbox
from sandbox.expoplatform import EXPORT, KEY_STYLES, SHAPES, STAMP_STYLES, TOTALS

NOW = 1_780_272_000  # 2026-06-01T00:00:00Z
DAY = 86_400


def get(box: Sandbox, key: str | None = None, **params: Any) -> requests.Response:
    side = box.expoplatform
    headers = {"authorization": f"Basic {key or next(iter(side.keys))}"}
    return requests.get(f"{side.base_url}{EXPORT}", params, headers=headers, timeout=10)


def rows(box: Sandbox, **params: Any) -> list[dict[str, Any]]:
    response = get(box, **{"event_id": 101, "per_page": 500, **params})
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def meetings(box: Sandbox, **params: Any) -> list[int]:
    return [row["Meeting ID"] for row in rows(box, **params)]


def test_one_row_for_each_participant_ordered_by_account_and_paged(box):
    # Given 300 meetings
    box.expoplatform.generate(101, 300, seed=3)
    # When all pages are read, with a page size that is too large
    pages = [rows(box, per_page=1000, page=page) for page in (1, 2, 3)]
    # Then there are 500 rows on a page, and all of them are there, by account
    assert [len(page) for page in pages] == [500, len(box.expoplatform.rows) - 500, 0]
    accounts = [row["Account ID"] for page in pages for row in page]
    assert accounts == sorted(accounts)
    assert {f"101|{r['Meeting ID']}|{r['Account ID']}" for p in pages for r in p} == set(
        box.expoplatform.truth()
    )
    assert len(rows(box, per_page=7)) == 7
    assert len(get(box, event_id=101).json()["data"]) == 100
    assert rows(box, order="DESC", order_by="account_id")[0]["Account ID"] == accounts[-1]
    starts = [row["Appointment Time"] for row in rows(box, order_by="time")]
    assert starts == sorted(starts)


def test_the_same_seed_gives_the_same_rows(box):
    box.expoplatform.generate(101, 30, seed=3)
    with Sandbox(clock="2026-06-01T00:00:00Z") as other:
        other.expoplatform.generate(101, 30, seed=3)
        assert other.expoplatform.truth() == box.expoplatform.truth()


@pytest.mark.parametrize(("inclusive", "expected"), [(True, [2, 3]), (False, [3])])
@pytest.mark.parametrize("name", ["created", "last_modified", "time"])
def test_a_lower_bound_filters_and_may_include_its_moment_or_not(box, name, inclusive, expected):
    side = box.expoplatform
    side.inclusive = inclusive
    for number in (1, 2, 3):
        side.insert(accounts=[number], meeting_id=str(number))
        stamp = NOW + number
        side.edit(101, str(number), created=stamp, modified=stamp, starts=stamp)
    assert meetings(box, **{f"{name}_from": NOW + 2}) == expected
    assert meetings(box, **{f"{name}_to": NOW + 2}) == [1, 2] if inclusive else [1]


def test_created_and_last_modified_in_one_request_are_both_applied(box):
    # Given an old meeting that was modified, and a new one
    side = box.expoplatform
    old = side.insert(accounts=[1])
    box.clock.advance(days=1)
    side.insert(accounts=[2])
    side.edit(101, old)
    # Then asking for both at once hides the old one
    bound = int(box.clock.now().timestamp()) - 60
    assert len(meetings(box, created_from=bound)) == 1
    assert len(meetings(box, last_modified_from=bound)) == 2
    assert len(meetings(box, created_from=bound, last_modified_from=bound)) == 1


def test_status_is_each_participants_own_and_every_write_moves_last_modified(box):
    # Given a meeting of two
    side = box.expoplatform
    meeting = side.insert(accounts=[1, 2])
    assert [row["Status"] for row in rows(box)] == ["Pending", "Incoming"]
    before = rows(box)
    # When one of them cancels
    box.clock.advance(minutes=5)
    side.cancel(101, meeting, account_id=1)
    # Then only that row has changed
    after = rows(box)
    assert after[0]["Status"] == "Cancelled"
    assert after[0]["Last Modified"] == before[0]["Last Modified"] + 300
    assert after[1] == before[1]
    # And rescheduling moves the meeting for both
    side.reschedule(101, meeting, starts=NOW + DAY)
    assert {row["Appointment Time"] for row in rows(box)} == {NOW + DAY}
    # And a deleted participant is gone without a trace
    side.delete_participant(101, meeting, 2)
    assert [row["Account ID"] for row in rows(box)] == [1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("totals", TOTALS)
def test_every_shape_holds_the_rows(box, shape, totals):
    side = box.expoplatform
    side.insert(accounts=[1, 2])
    side.shape, side.totals = shape, totals
    body = get(box, event_id=101).json()
    assert '"Meeting ID"' in get(box, event_id=101).text
    if shape in ("bare", "indexed"):
        assert len(body) == 2
    if shape == "data" and totals not in ("none", "meta"):
        assert body[totals] == (1 if totals == "total_pages" else 2)


@pytest.mark.parametrize("style", KEY_STYLES)
def test_keys_are_written_in_the_style_that_is_set(box, style):
    box.expoplatform.insert(accounts=[1])
    box.expoplatform.key_style = style
    expected = {"title": "Last Modified", "snake": "last_modified", "camel": "lastModified"}
    assert expected[style] in rows(box)[0]


@pytest.mark.parametrize("style", STAMP_STYLES)
def test_times_are_written_in_the_style_that_is_set(box, style):
    box.expoplatform.insert(accounts=[1])
    box.expoplatform.stamp_style = style
    box.expoplatform.zone_hours = 3
    row = rows(box)[0]
    expected: dict[str, Any] = {
        "epoch": NOW,
        "epoch_text": str(NOW),
        "epoch_ms": NOW * 1000,
        "iso": "2026-06-01T00:00:00Z",
        "iso_offset": "2026-06-01T02:00:00+02:00",
        "plain": "2026-06-01 03:00:00",
        "apart": "03:00:00",
    }
    assert row["Creation Time"] == expected[style]
    if style == "apart":
        assert row["Creation Date"] == "2026-06-01"


def test_a_page_beyond_the_end_is_empty_or_the_last_one_again(box):
    box.expoplatform.insert(accounts=[1, 2, 3])
    assert rows(box, per_page=2, page=3) == []
    box.expoplatform.repeat_last_page = True
    assert rows(box, per_page=2, page=3) == rows(box, per_page=2, page=2) != []


def test_who_may_not_see_an_event_is_told_so(box):
    side = box.expoplatform
    side.keys = {"one": {101}}
    assert get(box, key="other", event_id=101).status_code == 401
    assert get(box, event_id=101).status_code == 200
    assert get(box, event_id=102).status_code == 403
    side.hidden_status = 404
    assert get(box, event_id=102).status_code == 404
    assert get(box).status_code == 400
    assert get(box, event_id="x").status_code == 400
    assert get(box, event_id=101, order_by="created").status_code == 400
    side.switched_off = {"one"}
    assert get(box, event_id=101).status_code == 401
