"""Pages of Salesloft's list of meetings, each checked against the request.

- ``GET /v2/meetings`` has no filter on ``updated_at``, sorts by ``start_time``, ``created_at`` or
  ``updated_at``, and takes ``created_at[gte]`` and ``created_at[lt]`` with microseconds:
  https://developers.salesloft.com/docs/api/meetings-index/
- Unknown filters are silently ignored, and what was applied is echoed in ``metadata``; pages past
  100 cost more points (101-150: 3, 151-250: 8, 251-500: 10, beyond: 30); the budget is 600 points
  per minute and team: https://developers.salesloft.com/docs/platform/api-basics/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from source_meetings import timestamps
from source_meetings.sync.reading import Answer, Api, Row, Untrustworthy

NEWEST_FIRST = {"sort_by": "updated_at", "sort_direction": "DESC"}
OLDEST_FIRST = {"sort_by": "created_at", "sort_direction": "ASC"}
COUNTED = {"include_paging_counts": "true", "limit_paging_counts": "false"}

# The last page of each price, and what one page costs up to there.
_PRICES = ((100, 1), (150, 3), (250, 8), (500, 10))
_MOST_ASKED_AGAIN = 3


class MeetingPages:
    """Requests pages of meetings."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.size = api.page_size("meetings")

    def page(self, params: Mapping[str, str], number: int = 1, size: int | None = None) -> Answer:
        """Request one page. A page with fewer rows than it should have is requested again.

        Rows may be left out because this user cannot see them, so a page that comes back the same
        is accepted.
        """
        answer = self._ask(params, number, size)
        for _ in range(_MOST_ASKED_AGAIN):
            if not _is_short(answer, number):
                break
            before, answer = answer, self._ask(params, number, size)
            if ids(before) == ids(answer):
                break
        if not answer.rows and has_more(answer):
            raise Untrustworthy("Salesloft answers with an empty page that says there is more.")
        return answer

    def _ask(self, params: Mapping[str, str], number: int, size: int | None) -> Answer:
        sized = {**params, "per_page": str(size)} if size else params
        answer = self._api.get("meetings", sized, page=number)
        wanted = params.get("sort_by")
        applied = _in_metadata(answer, "sorting").get("sort_by")
        if wanted and applied is not None and applied != wanted:
            raise Untrustworthy(
                f"Salesloft sorted by {applied} although {wanted} was requested; an early stop "
                "would lose rows. Nothing can be read safely; please report this."
            )
        if wanted and applied is None:
            _check_order(answer.rows, wanted, params["sort_direction"])
        return answer


def has_more(answer: Answer) -> bool:
    """Return whether to request another page: by ``next_page``, or as long as there are rows.

    ``metadata.paging`` is sometimes absent. A page size that was silently corrected must then not
    look like the last page.
    """
    paging = _in_metadata(answer, "paging")
    if "next_page" in paging:
        return paging["next_page"] is not None
    return bool(answer.rows)


def ids(answer: Answer) -> set[Any]:
    """Return the ids of an answer's meetings."""
    return {row["id"] for row in answer.rows}


def moment_of(row: Row, field: str) -> datetime:
    """Return a meeting's point in time. Raises Untrustworthy if it is missing or unreadable."""
    moment = timestamps.parse_or_none(row.get(field))
    if moment is None:
        raise Untrustworthy(f"a meeting has no usable {field}; it cannot be placed in time.")
    return moment


def shows_cancelled(answer: Answer) -> bool:
    """Return whether a cancelled meeting is among the rows."""
    return any(row.get("canceled_at") for row in answer.rows)


def echoes_show_deleted(answer: Answer) -> bool:
    """Return whether a filter on cancelled meetings was applied, requested or not."""
    return _in_metadata(answer, "filtering").get("show_deleted") is not None


def last_affordable_page(total: int | None) -> int:
    """Return the last page that costs no more points to walk to than reading everything."""
    affordable = _PRICES[0][0]
    points = float(affordable)
    for (above, _), (last, price) in zip(_PRICES, _PRICES[1:]):
        points += (last - above) * price
        if total is None or points > total / 100:
            break
        affordable = last
    return affordable


def _is_short(answer: Answer, number: int) -> bool:
    """Return whether a page has fewer rows than its metadata say, or neither rows nor metadata.

    Such a page looks like the end but may be a fault, so it is requested twice.
    """
    paging = _in_metadata(answer, "paging")
    if not paging:
        return not answer.rows
    size = paging.get("per_page")
    if not isinstance(size, int):
        return False
    if answer.total is not None:
        return len(answer.rows) < min(size, answer.total - (number - 1) * size)
    return paging.get("next_page") is not None and len(answer.rows) < size


def _in_metadata(answer: Answer, name: str) -> Mapping[str, Any]:
    metadata = answer.body.get("metadata")
    part = metadata.get(name) if isinstance(metadata, dict) else None
    return part if isinstance(part, dict) else {}


def _check_order(rows: list[Row], field: str, direction: str) -> None:
    stamps = [timestamps.parse_or_none(row.get(field)) for row in rows]
    known = [stamp for stamp in stamps if stamp is not None]
    if known != sorted(known, reverse=direction == "DESC"):
        raise Untrustworthy(
            f"Salesloft's answer is not sorted by {field} as requested. Nothing can be read "
            "safely; please report this."
        )
