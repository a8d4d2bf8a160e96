"""Is a table in DuckDB what the sandbox holds?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from airbyte_cdk.utils.datetime_helpers import ab_datetime_try_parse

Row = Mapping[str, Any]


def column(name: str) -> str:
    """The name that PyAirbyte gives the column of a field."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())


def same(truth: Any, cell: Any) -> bool:
    """Whether a cell of DuckDB holds the value that the sandbox has."""
    if truth is None or cell is None:
        return truth is cell
    if isinstance(cell, datetime):
        moment = ab_datetime_try_parse(str(truth))
        utc = cell.replace(tzinfo=cell.tzinfo or timezone.utc)
        return moment is not None and moment.timestamp() == utc.timestamp()
    if isinstance(truth, (dict, list)) and isinstance(cell, str):
        return bool(json.loads(cell) == truth)
    return bool(truth == cell)


def differences(truth: Mapping[str, Row], table: Iterable[Row], key: str) -> list[str]:
    """In words, every row and field in which the table is not the truth."""
    found = []
    rows: dict[str, Row] = {}
    for row in table:
        if str(row[column(key)]) in rows:
            found.append(f"{row[column(key)]} is there twice")
        rows[str(row[column(key)])] = row
    found += [f"{id} is missing" for id in truth.keys() - rows.keys()]
    found += [f"{id} should not be there" for id in rows.keys() - truth.keys()]
    for id in truth.keys() & rows.keys():
        for name, value in truth[id].items():
            if not same(value, rows[id].get(column(name))):
                found.append(f"{id}.{name}: {rows[id].get(column(name))!r} is not {value!r}")
    return found
