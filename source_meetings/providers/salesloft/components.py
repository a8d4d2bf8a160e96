"""What Salesloft's meetings need beyond the manifest and the strategy."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.types import StreamSlice


@dataclass
class IdsAsText(RecordTransformation):
    """Turns ids into text: Salesloft documents them as strings but sends numbers.

    Observed for ``account_id``, ``task_id`` and ``meeting_type_id`` in recorded answers. A column
    with two types breaks destinations.
    """

    fields: list[str]

    def transform(
        self,
        record: MutableMapping[str, Any],
        config: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> None:
        for name in self.fields:
            value = record.get(name)
            if value is not None and not isinstance(value, str):
                record[name] = str(value)
