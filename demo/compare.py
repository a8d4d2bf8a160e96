"""Checks whether a table in DuckDB equals what the sandbox holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from dateutil.parser import isoparse

Row = Mapping[str, Any]


def column(name: str) -> str:
    """The column name that PyAirbyte gives a field."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())


def same(truth: Any, cell: Any) -> bool:
    """Whether a cell of DuckDB holds the value that the sandbox has.

    A column with a time zone holds a point in time. In one without, PyAirbyte keeps the clock time
    as written and drops the offset (observed). For a time in UTC, that clock time is UTC.
    """
    if truth is None or cell is None:
        return truth is cell
    if isinstance(cell, datetime):
        moment = isoparse(str(truth))
        return bool(moment == cell if cell.tzinfo else moment.replace(tzinfo=None) == cell)
    if isinstance(truth, (dict, list)) and isinstance(cell, str):
        return bool(json.loads(cell) == truth)
    return bool(truth == cell)


def key_of(row: Row, key: Iterable[str]) -> str:
    """The primary key of a row in DuckDB, as the sandbox writes it."""
    return "|".join(str(row[column(name)]) for name in key)


def differences(truth: Mapping[str, Row], table: Iterable[Row], key: Iterable[str]) -> list[str]:
    """Describe every row and field in which the table differs from the truth.

    `truth`: the sandbox's rows by primary key. Rows marked as deleted do not count.
    """
    found = []
    rows: dict[str, Row] = {}
    for row in table:
        id = key_of(row, key)
        if id in rows:
            found.append(f"{id} is there twice")
        rows[id] = row
    live = {id: row for id, row in rows.items() if not row.get("is_deleted")}
    found += [f"{id} is missing" for id in truth.keys() - live.keys()]
    found += [f"{id} should not be there" for id in live.keys() - truth.keys()]
    for id in truth.keys() & live.keys():
        for name, value in truth[id].items():
            if not same(value, live[id].get(column(name))):
                found.append(f"{id}.{name}: {live[id].get(column(name))!r} is not {value!r}")
    return found
