"""What ExpoPlatform's export of meetings needs beyond the manifest.

ExpoPlatform documents the export's request but not its answer: ``rows`` reads what is plausible.

Deletions cannot be seen, because the export has no tombstones. A row that vanishes while pages are
read moves others to pages that have already been read. ``strategies.paging`` says what reveals it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.providers.expoplatform import rows
from source_meetings.strategies.updated_since import UpdatedSince
from source_meetings.sync.clock import end_of
from source_meetings.sync.fingerprints import version
from source_meetings.sync.reading import Row
from source_meetings.transport.answer import AnswerShape, Content


@dataclass(frozen=True)
class ExportAnswer(AnswerShape):
    """Extracts the rows from an answer, wherever it keeps them, and turns them into records.

    Raises AirbyteTracedException for a row that cannot be one.
    """

    def problem(self, body: Any) -> str | None:
        try:
            rows.read_page(body)
        except rows.UnknownShape as shape:
            return f"{shape}. Please report these keys if they stay"
        return None

    def content(self, body: Any, params: Mapping[str, Any]) -> Content:
        page = rows.read_page(body)
        event_id = int(params["event_id"])
        try:
            records: list[Row] = [rows.normalise(row, event_id) for row in page.rows]
        except rows.UnknownShape as shape:
            raise AirbyteTracedException(
                message=(
                    f"ExpoPlatform's export has an unknown shape: {shape}. The stream was stopped "
                    "so that no rows are left out. Please report these keys."
                ),
                internal_message=str(shape),
                failure_type=FailureType.system_error,
            ) from shape
        return Content(records, total=page.total, pages=page.pages)


@dataclass
class ParticipantsStrategy(UpdatedSince):
    """Reads a row's stamps as the earliest time they can mean: some have no time zone.

    It reads them from ``rows.Record``, where they have been parsed, and leaves out the same ones as
    ``clock.reached``.
    """

    def newest_of(self, rows: list[Row], field: str, clock: datetime) -> datetime | None:
        name = "created" if field == "created_at" else "modified"
        moments = [getattr(row, name) for row in rows]
        end = timestamps.micros(end_of(clock))
        times = [one.earliest for one in moments if one is not None and 0 <= one.earliest < end]
        return timestamps.from_micros(max(times)) if times else None

    def version(self, row: Row) -> Hashable:
        return version(row["raw"])
