"""The sandbox's ExpoPlatform: the documented parameters, and every form an answer may have."""

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


def test_pages_have_one_row_per_participant_ordered_by_account(box):
    # Given 300 meetings
    box.expoplatform.generate(101, 300, seed=3)
    # When all pages are read, with a page size above the maximum
    pages = [rows(box, per_page=1000, page=page) for page in (1, 2, 3)]
    # Then a page has 500 rows at most, and together they have every row, ordered by account
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
def test_a_lower_bound_may_or_may_not_include_its_own_second(box, name, inclusive, expected):
    side = box.expoplatform
    # Given three meetings whose three times are one second apart
    side.inclusive = inclusive
    for number in (1, 2, 3):
        side.insert(accounts=[number], meeting_id=str(number))
        stamp = NOW + number
        side.edit(101, str(number), created=stamp, modified=stamp, starts=stamp)
    assert meetings(box, **{f"{name}_from": NOW + 2}) == expected
    assert meetings(box, **{f"{name}_to": NOW + 2}) == [1, 2] if inclusive else [1]


def test_a_request_with_both_created_and_last_modified_applies_both(box):
    # Given an old meeting that was modified today, and a new one
    side = box.expoplatform
    old = side.insert(accounts=[1])
    box.clock.advance(days=1)
    side.insert(accounts=[2])
    side.edit(101, old)
    # Then a request with both bounds misses the old one
    bound = int(box.clock.now().timestamp()) - 60
    assert len(meetings(box, created_from=bound)) == 1
    assert len(meetings(box, last_modified_from=bound)) == 2
    assert len(meetings(box, created_from=bound, last_modified_from=bound)) == 1


def test_each_participant_has_a_status_and_every_write_changes_last_modified(box):
    # Given a meeting of two participants
    side = box.expoplatform
    meeting = side.insert(accounts=[1, 2])
    assert [row["Status"] for row in rows(box)] == ["Pending", "Incoming"]
    before = rows(box)
    # When one of them cancels
    box.clock.advance(minutes=5)
    side.cancel(101, meeting, account_id=1)
    # Then only the row of that participant has changed
    after = rows(box)
    assert after[0]["Status"] == "Cancelled"
    assert after[0]["Last Modified"] == before[0]["Last Modified"] + 300
    assert after[1] == before[1]
    # And a reschedule moves the meeting for both
    side.reschedule(101, meeting, starts=NOW + DAY)
    assert {row["Appointment Time"] for row in rows(box)} == {NOW + DAY}
    # And the row of a deleted participant disappears
    side.delete_participant(101, meeting, 2)
    assert [row["Account ID"] for row in rows(box)] == [1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("totals", TOTALS)
def test_every_shape_of_the_answer_has_the_rows(box, shape, totals):
    side = box.expoplatform
    # Given a meeting of two participants, which is two rows on one page
    side.insert(accounts=[1, 2])
    side.shape, side.totals = shape, totals
    body = get(box, event_id=101).json()
    # Then the rows are in the answer, and a total counts rows or pages, whatever its name
    assert '"Meeting ID"' in get(box, event_id=101).text
    if shape in ("bare", "indexed"):
        assert len(body) == 2
    if shape == "data" and totals not in ("none", "meta"):
        assert body[totals] == (1 if totals == "total_pages" else 2)


@pytest.mark.parametrize("style", KEY_STYLES)
def test_keys_are_written_in_the_configured_style(box, style):
    box.expoplatform.insert(accounts=[1])
    box.expoplatform.key_style = style
    expected = {"title": "Last Modified", "snake": "last_modified", "camel": "lastModified"}
    assert expected[style] in rows(box)[0]


@pytest.mark.parametrize("style", STAMP_STYLES)
def test_times_are_written_in_the_configured_style(box, style):
    # Given a meeting that was created at midnight UTC, and a show in a zone of +03:00
    box.expoplatform.insert(accounts=[1])
    box.expoplatform.stamp_style = style
    box.expoplatform.zone_hours = 3
    row = rows(box)[0]
    # Then the styles without a zone have the local time of the show
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


def test_a_page_beyond_the_end_is_empty_or_repeats_the_last_one(box):
    box.expoplatform.insert(accounts=[1, 2, 3])
    assert rows(box, per_page=2, page=3) == []
    box.expoplatform.repeat_last_page = True
    assert rows(box, per_page=2, page=3) == rows(box, per_page=2, page=2) != []


def test_a_key_without_access_to_an_event_is_refused(box):
    side = box.expoplatform
    # Given a key that may see one event only
    side.keys = {"one": {101}}
    # Then an unknown key is a 401, and another event is a 403 or, if configured, a 404
    assert get(box, key="other", event_id=101).status_code == 401
    assert get(box, event_id=101).status_code == 200
    assert get(box, event_id=102).status_code == 403
    side.hidden_status = 404
    assert get(box, event_id=102).status_code == 404
    # And a request without an event, or with an invalid parameter, is a 400
    assert get(box).status_code == 400
    assert get(box, event_id="x").status_code == 400
    assert get(box, event_id=101, order_by="created").status_code == 400
    # And a key that was switched off is a 401
    side.switched_off = {"one"}
    assert get(box, event_id=101).status_code == 401
