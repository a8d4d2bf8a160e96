"""PyAirbyte and points in time.

PyAirbyte (0.71) makes a column without a time zone of every date-time, and so drops the offset of
`2026-06-01T09:00:00-07:00`: what is left names another point in time. HighLevel sends such times.
"""

from __future__ import annotations

from airbyte import types
from sqlalchemy.types import UserDefinedType


class PointInTime(UserDefinedType[object]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "TIMESTAMP WITH TIME ZONE"


def keep_time_zones() -> None:
    """From now on PyAirbyte makes columns with a time zone; tables that exist stay as they are."""
    types.CONVERSION_MAP["timestamp_with_timezone"] = PointInTime
