"""The demo's verdict: a table that differs from the sandbox's truth must not pass."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DEMO = Path(__file__).parent.parent / "demo"
PICTURE = DEMO.parent / "docs" / "demo.svg"


def load(name: str) -> ModuleType:
    """Load a module of the demo, which is a folder of scripts, not a package."""
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMO / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


differences = load("compare").differences

TRUTH = {
    "7": {
        "id": 7,
        "title": "Demo",
        "startTime": "2026-06-01T09:30:00.250000Z",
        "guests": ["a@example.com"],
        "notes": None,
    }
}
ROW: dict[str, Any] = {
    "id": 7,
    "title": "Demo",
    "starttime": datetime(2026, 6, 1, 9, 30, 0, 250_000),
    "guests": json.dumps(["a@example.com"]),
    "notes": None,
    "_airbyte_meta": "{}",
}


def test_a_table_that_equals_the_truth_has_no_differences() -> None:
    # Given the values in DuckDB's form: naive UTC, JSON as text, lower-case columns. When they are
    # compared, then no difference is found
    assert differences(TRUTH, [ROW], ["id"]) == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "7 is missing"),
        ([ROW, ROW], "7 is there twice"),
        ([ROW, {**ROW, "id": 8}], "8 should not be there"),
        ([{**ROW, "title": "Old title"}], "7.title: 'Old title' is not 'Demo'"),
        ([{**ROW, "guests": "[]"}], "7.guests: '[]' is not ['a@example.com']"),
        ([{**ROW, "notes": ""}], "7.notes: '' is not None"),
        ([{**ROW, "title": None}], "7.title: None is not 'Demo'"),
    ],
)
def test_each_difference_in_a_table_is_described(rows: list[Any], words: str) -> None:
    # Given a table with one error. When it is compared, then exactly that is reported
    assert differences(TRUTH, rows, ["id"]) == [words]


@pytest.mark.parametrize("zone", [None, timezone.utc])
def test_a_time_with_an_offset_is_compared_as_the_column_can_hold_it(zone: timezone | None) -> None:
    # Given a time with an offset, and a column without or with a zone
    truth = {"1": {"id": 1, "at": "2026-06-01T09:30:00+05:30"}}
    # When the column has the clock time, or the time in UTC
    clock_time, moment = (
        differences(truth, [{"id": 1, "at": at}], ["id"])
        for at in (
            datetime(2026, 6, 1, 9, 30, tzinfo=zone),
            datetime(2026, 6, 1, 4, 0, tzinfo=zone),
        )
    )
    # Then the clock time is right without a zone, and UTC is right with one
    assert (len(clock_time), len(moment)) == ((1, 0) if zone else (0, 1))


def test_a_row_marked_as_deleted_does_not_count_as_present() -> None:
    # Given rows marked as deleted: one that the provider still has, and one that it does not have
    gone = {**ROW, "is_deleted": True}
    # Then the first counts as missing, and the second is correct
    assert differences(TRUTH, [gone], ["id"]) == ["7 is missing"]
    assert differences(TRUTH, [ROW, {**gone, "id": 8}], ["id"]) == []


def test_all_fields_of_a_key_are_compared() -> None:
    # Given a key of two fields, and a row in which one of them differs
    truth = {"1|2": {"event": 1, "account": "2"}}
    # When it is compared
    found = differences(truth, [{"event": 1, "account": "3"}], ["event", "account"])
    # Then it counts as another row
    assert found == ["1|2 is missing", "1|3 should not be there"]


def test_a_time_that_is_a_minute_or_a_microsecond_off_is_found() -> None:
    for minute, microsecond in ((31, 250_000), (30, 250_001)):
        # Given a start time that differs from the sandbox's
        moment = datetime(2026, 6, 1, 9, minute, 0, microsecond)
        # When the tables are compared
        found = differences(TRUTH, [{**ROW, "starttime": moment}], ["id"])
        # Then the difference is reported
        assert len(found) == 1 and found[0].startswith("7.startTime: ")


def test_the_picture_of_the_demo_is_up_to_date() -> None:
    # Given the picture in the README, whose spaces are non-breaking
    drawing = PICTURE.read_text().replace("&#160;", " ")
    # Then it has the hash of the script. If not: make demo SVG=docs/demo.svg
    mark = hashlib.sha256((DEMO / "run.py").read_bytes()).hexdigest()
    assert drawing.startswith(f"<!-- demo/run.py: {mark} -->")
    # And it shows the first provider up to the verdict, and loads nothing from other servers
    printed = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawing))
    assert re.search(r"✓\s+close_meetings equals what the sandbox holds", printed)
    assert "ExpoPlatform" not in printed
    assert "url(http" not in drawing and 'url("http' not in drawing
    # And the README shows it
    assert "(docs/demo.svg)" in (DEMO.parent / "README.md").read_text()
