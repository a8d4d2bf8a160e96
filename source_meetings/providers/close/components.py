"""What Close's streams need beyond the manifest and the strategies."""

# No "from __future__ import annotations" here: Python 3.10 cannot resolve a quoted InitVar, and the
# CDK asks every component for its type hints.
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.declarative.requesters.paginators.strategies.pagination_strategy import (
    PaginationStrategy,
)
from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.types import Record, StreamSlice
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.transport.parsing import parse_json

_SKIP = re.compile(r"[?&]_skip=\d+")


@dataclass
class NotDeleted(RecordTransformation):
    """Marks every row that Close shows as not deleted. See the schema."""

    def transform(
        self,
        record: MutableMapping[str, Any],
        config: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> None:
        record.setdefault("is_deleted", False)


@dataclass
class SkipPages(PaginationStrategy):
    """Pages by ``_skip`` until ``has_more`` is false. For short lists only: see ``list_pages``.

    Raises AirbyteTracedException (transient_error) for pages that contradict each other.
    """

    page_size: int
    _pages: dict[str, list[Any]] = field(default_factory=dict, init=False)  # the last one of each

    @property
    def initial_token(self) -> Any | None:
        return None

    def next_page_token(
        self,
        response: requests.Response,
        last_page_size: int,
        last_record: Record | None,
        last_page_token_value: Any | None,
        page_size_override: int | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> Any | None:
        body = parse_json(response.content)
        if not body["has_more"]:
            return None
        ids = [row["id"] for row in body["data"]]
        if not ids:
            raise _unreadable("an empty page says that there is more")
        query = _SKIP.sub("", response.url)
        if self._pages.get(query) == ids:
            raise _unreadable("a list repeats a page and does not end")
        self._pages[query] = ids
        return int(last_page_token_value or 0) + len(ids)

    def get_page_size(self) -> int | None:
        return self.page_size


def _unreadable(what: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=f"Close: {what}.",
        internal_message=what,
        failure_type=FailureType.transient_error,
    )
