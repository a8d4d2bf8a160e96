"""Rows pass through the CDK page by page, not one by one.

For each row, the CDK has an entry in a queue with its locks, a message object, and a JSON text that
the one printing thread makes. That was most of the cost of a row. So the worker that reads a page
also writes its rows as lines of the Airbyte protocol, and one record of the CDK carries them.

The CDK still does everything else: the queue and so the order of rows and states, the statuses, the
checkpoints and the errors. ``SourceMeetings.read`` splits pages for callers that read messages.
``Entrypoint`` prints their lines unchanged, and counts their rows into the state that follows. The
CDK counts pages as rows in one place, its log line "Read … records". ``not_a_count_of_pages`` drops
that line, and ``progress`` logs the right count.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from airbyte_cdk.models import AirbyteMessage, AirbyteRecordMessage, Type
from airbyte_cdk.sources.types import Record

from source_meetings.output import with_escaped_line_ends
from source_meetings.sync.reading import Row
from source_meetings.transport.parsing import parse_json

_PAGE = "page of source-meetings"
_MOST_ROWS = 200


@dataclass(frozen=True)
class Page:
    """A stream's rows as lines of the protocol. ``count`` is their number, at least one."""

    stream: str
    lines: bytes
    count: int

    @classmethod
    def pages_of(cls, stream: str, rows: list[Row]) -> Iterator[Page]:
        """Yield the pages of some rows. A large answer makes several: each one is held twice."""
        for begin in range(0, len(rows), _MOST_ROWS):
            yield cls.of(stream, rows[begin : begin + _MOST_ROWS])

    @classmethod
    def of(cls, stream: str, rows: list[Row]) -> Page:
        """Return the page of these rows. There must be at least one."""
        documents = [_document(row) for row in rows]
        begin = b'{"type":"RECORD","record":{"stream":%b,"data":' % orjson.dumps(stream)
        end = b',"emitted_at":%d}}\n' % (time.time_ns() // 1_000_000)
        lines = begin + (end + begin).join(documents) + end
        return cls(stream, with_escaped_line_ends(lines), len(rows))

    @classmethod
    def carried_by(cls, message: AirbyteMessage) -> Page | None:
        """Return the page that a message carries, or None for an ordinary message."""
        page = None if message.record is None else message.record.data.get(_PAGE)
        return page if isinstance(page, cls) else None

    def as_record(self) -> Record:
        """Return the record that carries this page through the CDK."""
        return Record({_PAGE: self}, self.stream)

    def messages(self) -> Iterator[AirbyteMessage]:
        """Yield a message for each row."""
        for line in self.lines.splitlines():
            record = AirbyteRecordMessage(**parse_json(line)["record"])
            yield AirbyteMessage(type=Type.RECORD, record=record)


def not_a_count_of_pages(record: logging.LogRecord) -> bool:
    """A filter for the CDK's logger: returns whether to keep a line."""
    return not (isinstance(record.msg, str) and record.msg.startswith("Read "))


def _document(row: Row) -> bytes:
    """Return a row as JSON, without null fields. The CDK leaves those out too."""
    nulls = [name for name, value in row.items() if value is None]
    if nulls:
        row = row.copy()
        for name in nulls:
            del row[name]
    try:
        return orjson.dumps(row)
    except TypeError:  # an integer beyond 64 bits, or nested deeply
        return json.dumps(row, separators=(",", ":")).encode("ascii")
