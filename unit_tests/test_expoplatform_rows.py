"""Parsing ExpoPlatform's answers, whose shape is not documented."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from source_meetings import timestamps
from source_meetings.providers.expoplatform.moments import moment
from source_meetings.providers.expoplatform.rows import (
    UnknownShape,
    normalise,
    read_page,
)

SCHEMA = json.loads(
    (Path(__file__).parent.parent / "schemas/expoplatform_meeting_participants.json").read_text()
)
ROW = {"Meeting ID": 7, "Account ID": 5}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
MOMENTS = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=timezone.utc)
)


# -- envelopes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        [ROW],
        {"data": [ROW]},
        {"items": [ROW]},
        {"meetings": [ROW]},
        {"results": [ROW]},
        {"rows": [ROW]},
        {"records": [ROW]},
        {"result": [ROW]},
        {"Data": [ROW]},
        {"data": {"items": [ROW]}},
        {"result": {"meetings": [ROW], "total": 1}},
        {"data": {"0": ROW}},
        {"data": {"meetings": {"17": ROW}}},
        {"0": ROW},
        {"status": "ok", "errors": [], "data": [ROW]},
    ],
)
def test_rows_are_found_in_every_plausible_place(body):
    assert read_page(body).rows == [ROW]


@pytest.mark.parametrize("body", [[], {"data": []}, {"data": {}}, {"data": None, "total": 0}])
def test_an_answer_without_rows_is_valid(body):
    assert read_page(body).rows == []


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"payload": [ROW], "secret value": 1}, "payload, secret value"),
        ({}, "keys"),
        ({"data": None}, "data"),
        ({"data": "SECRET"}, "data"),
        ({"data": {"other": [ROW]}}, "data"),
        ({"data": {"data": {"data": [ROW]}}}, "data"),  # two deep is not plausible
        ({"data": ["SECRET"]}, "not an object (a text)"),
        ("SECRET", "not an object (a text)"),
        (None, "not an object (null)"),
        ({"success": False, "data": []}, "data, success"),
        ({"errors": ["SECRET"], "data": []}, "data, errors"),
        ({"error": "SECRET", "data": []}, "data, error"),
        ({"status": "error", "data": []}, "data, status"),
        ({"status": "Fail", "data": []}, "data, status"),
        ({"Status": "FAILED", "data": []}, "Status, data"),
    ],
)
def test_an_unknown_shape_is_an_error_with_its_keys_and_without_its_values(body, shown):
    with pytest.raises(UnknownShape) as error:
        read_page(body)
    assert shown in str(error.value)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    ("around", "total", "pages"),
    [
        ({}, None, None),
        ({"total_items": 12, "total_pages": 3}, 12, 3),
        ({"totalItems": "12"}, 12, None),
        ({"meta": {"total": 12, "last_page": 3}}, 12, 3),
        ({"pagination": {"total_count": 12}}, 12, None),
        ({"total": True, "pages": -1}, None, None),
    ],
)
def test_totals_are_read_if_they_are_present(around, total, pages):
    page = read_page({"data": [], **around})
    assert (page.total, page.pages) == (total, pages)


@given(JSON)
def test_any_json_is_either_a_page_of_objects_or_an_unknown_shape(body):
    try:
        page = read_page(body)
    except UnknownShape:
        return
    assert all(isinstance(row, dict) for row in page.rows)


# -- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["Meeting ID", "meeting_id", "meetingId", "meetingID", "MeetingId", " meeting-id "]
)
def test_every_spelling_of_a_key_gives_the_same_name(key):
    record = normalise({key: 7, "account_id": 5}, 101)
    assert record["meeting_id"] == "7"


def test_a_meeting_and_its_participant_may_be_objects():
    raw = {"Meeting": {"ID": 7}, "Participant": {"Account ID": 5}}
    record = normalise(raw, 101)
    assert (record["meeting_id"], record["account_id"]) == ("7", "5")
    for name in ("account", "participant"):
        for inner, id in (({"id": 5}, "5"), ({"email": "a@b.test"}, "a@b.test")):
            assert normalise({"meeting_id": 7, name: inner}, 101)["account_id"] == id


@pytest.mark.parametrize(
    ("status", "text"), [("new", "new"), (3, "3"), (None, None), ("", ""), (["a"], "['a']")]
)
def test_a_status_is_text_or_none(status, text):
    assert normalise({**ROW, "status": status}, 101).get("status") == text


def test_an_empty_column_does_not_keep_another_one_from_being_read():
    row = {**ROW, "Creation Time": "", "created_at": None, "Created": SECONDS}
    found = normalise(row, 101).created
    assert found is not None
    assert found.micros == AT


def test_a_message_names_thirty_keys_by_their_first_forty_letters():
    row = {f"{number:02} {'x' * 50}": 0 for number in range(40)}
    with pytest.raises(UnknownShape) as error:
        normalise(row, 101)
    names = str(error.value).partition("keys ")[2].split(", ")
    assert names == [f"{number:02} {'x' * 37}" for number in range(30)]


def test_a_record_has_the_declared_columns_and_the_whole_row_in_raw_and_nothing_else():
    # Given a row with columns that the schema does not declare
    raw = {**ROW, "Status": "Confirmed", "Hall & Stand": {"Hall": 4}, "event_id": "x", "!": 1}
    # Then they are in `raw`, and in no other field
    assert normalise(raw, 101) == {
        "event_id": 101,
        "meeting_id": "7",
        "account_id": "5",
        "status": "Confirmed",
        "raw": raw,
    }


@pytest.mark.parametrize(
    ("row", "account"),
    [
        ({"account_id": 5, "email": "a@b.c"}, "5"),
        ({"account_id": None, "Account Email": "a@b.c"}, "a@b.c"),
        ({"account_id": "", "email": "a@b.c"}, "a@b.c"),
        ({"account": {"id": 5}}, "5"),
        ({"participant": {"email": "a@b.c"}}, "a@b.c"),
        ({"accountId": 0}, "0"),
    ],
)
def test_the_participant_is_the_account_or_without_one_the_address(row, account):
    assert normalise({"meeting_id": 7, **row}, 101)["account_id"] == account


@pytest.mark.parametrize(
    "row",
    [
        {"account_id": "SECRET", "name": "SECRET"},
        {"meeting_id": None, "account_id": "SECRET"},
        {"meeting_id": " ", "account_id": "SECRET"},
        {"meeting_id": {"id": 1}, "account_id": "SECRET"},
        {"meeting_id": "SECRET", "name": "SECRET"},
        {"meeting_id": True, "account_id": "SECRET"},
    ],
)
def test_a_row_without_a_meeting_or_a_participant_is_an_error_with_its_keys(row):
    with pytest.raises(UnknownShape) as error:
        normalise(row, 101)
    assert all(key in str(error.value) for key in row)
    assert "SECRET" not in str(error.value)


# -- times ----------------------------------------------------------------------------------------

SECONDS = int(datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc).timestamp())
AT = SECONDS * 1_000_000


@pytest.mark.parametrize(
    ("value", "zoned"),
    [
        (SECONDS, True),
        (float(SECONDS), True),
        (str(SECONDS), True),
        (SECONDS * 1000, True),
        (str(SECONDS * 1000), True),
        ("2026-05-04T03:02:01Z", True),
        ("2026-05-04T03:02:01.000Z", True),
        ("2026-05-04T05:02:01+02:00", True),
        ("2026-05-04T05:02:01+0200", True),
        ("2026-05-04 03:02:01 UTC", True),
        ("2026-05-04 03:02:01", False),
        ("2026-05-04T03:02:01", False),
        (" 2026-05-04 03:02:01 ", False),
    ],
)
def test_times_are_read_in_every_style(value, zoned):
    found = moment(value)
    assert found is not None
    assert found.micros == AT
    assert found.earliest == (AT if zoned else AT - 14 * 3_600_000_000)


@pytest.mark.parametrize(
    "value", [None, "", 0, "0", -1, True, "0000-00-00 00:00:00", "now", "10:30", [], {}, 1e300]
)
def test_a_value_that_is_not_a_time_becomes_none(value):
    assert moment(value) is None


@pytest.mark.parametrize(
    "row",
    [
        {"Creation Date": "2026-05-04", "Creation Time": "03:02:01"},
        {"creation_date": "2026-05-04", "creation_time": "3:02:01"},
        {"created_date": "2026-05-04 00:00:00", "created_time": "03:02:01"},
        {"Creation Date": "2026-05-04 03:02:01"},
        {"Creation Date": "x", "created_at": SECONDS},
    ],
)
def test_a_date_and_a_time_in_two_columns_are_combined(row):
    created = normalise({**ROW, **row}, 101).created
    assert created is not None
    assert created.micros == AT


@pytest.mark.parametrize(
    ("row", "starts"),
    [
        ({"Date": "2026-05-04", "Time": "3:02:01"}, "2026-05-04T03:02:01.000000Z"),
        ({"Date": "2026-05-04", "Time": 3}, "2026-05-04T00:00:00.000000Z"),
        ({"Date": "2026-05-04", "Time": "late"}, "2026-05-04T00:00:00.000000Z"),
        ({"starts_at": "10:30", "starts_date": " 2026-05-04 "}, "2026-05-04T10:30:00.000000Z"),
        ({"starts_at": "10:30", "starts_date": 4}, None),
        ({"start_time": "10:30", "start_date": "2026-05-04"}, "2026-05-04T10:30:00.000000Z"),
        ({"starts_at": "10:30"}, None),
        ({"meeting_date": "2026-05-04", "meeting_time": ""}, "2026-05-04T00:00:00.000000Z"),
    ],
)
def test_a_date_is_joined_with_the_time_that_belongs_to_it(row, starts):
    assert normalise({**ROW, **row}, 101).get("starts_at") == starts


@given(MOMENTS, MOMENTS, st.sampled_from(["epoch", "text", "ms", "iso", "plain", "apart"]))
def test_modified_at_is_the_later_of_both_times_in_every_style(created, modified, style):
    # Given the two times of a row, each in one column or in two
    def write(stem: str, whole: str, at: datetime) -> dict[str, Any]:
        if style == "apart":
            return {f"{stem} Date": f"{at:%Y-%m-%d}", f"{stem} Time": f"{at:%H:%M:%S}"}
        styles: dict[str, Any] = {
            "epoch": int(at.timestamp()),
            "text": str(int(at.timestamp())),
            "ms": int(at.timestamp() * 1000),
            "iso": at.isoformat(),
            "plain": f"{at:%Y-%m-%d %H:%M:%S}",
        }
        return {whole: styles[style]}

    raw = {
        **ROW,
        **write("Creation", "Creation Time", created),
        **write("Last Modified", "Last Modified", modified),
    }
    # When the row is normalised
    record = normalise(raw, 101)
    # Then that holds for "ms" too: only times before 1973 could be mistaken for seconds
    assert record["created_at"] == timestamps.iso(created)
    assert record["last_modified_at"] == timestamps.iso(modified)
    assert record["modified_at"] == timestamps.iso(max(created, modified))


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=6))
def test_any_row_is_either_normalised_completely_or_refused(columns):
    # Given a row with exactly one spelling of both ids
    spelled = {re.sub(r"[\W_]+", "", name).lower() for name in columns}
    assume(not spelled & {"meetingid", "accountid"})
    raw = {**columns, **ROW}
    record = normalise(raw, 101)
    assert record["raw"] == raw
    assert (record["event_id"], record["meeting_id"], record["account_id"]) == (101, "7", "5")
    for name in ("created_at", "last_modified_at", "modified_at", "starts_at", "ends_at"):
        assert name not in record or timestamps.parse(record[name])
    assert record.keys() <= SCHEMA["properties"].keys()
