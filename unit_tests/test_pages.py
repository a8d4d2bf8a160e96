"""Rows that pass through the CDK in pages, compared with rows that pass one by one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer
from airbyte_cdk.sources.types import Record
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.accounts import ACCOUNTS
from source_meetings.cdk.pages import Page
from source_meetings.cdk.stream import SyncPartitions
from source_meetings.sync.reading import Row, Slice
from unit_tests.harness import Json, Output, read

TEXT = st.text() | st.sampled_from(["\u0085", "a\u2028b", "\u2029", '","data":{', "\n", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**62, 2**70) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), min_size=1, max_size=4)


def one_by_one(self: SyncPartitions, slice: Slice) -> Iterator[Record]:
    """``SyncPartitions.read`` as it would be if the CDK's work per row cost nothing."""
    for rows in self._sync.read(slice):
        for row in rows:
            for transformation in self._transformations:
                transformation.transform(row, config=self._config)
            yield Record(data=row, stream_name=self.name)


def by_stream(output: Output) -> dict[str, list[Json]]:
    """Return the messages of each stream in order, without their time and without log lines."""
    found: dict[str, list[Json]] = defaultdict(list)
    for message in output.messages:
        if message["type"] == "RECORD":
            name = message["record"]["stream"]
            message["record"].pop("emitted_at")
        elif message["type"] == "STATE":
            name = message["state"]["stream"]["stream_descriptor"]["name"]
        elif message["type"] == "TRACE" and message["trace"]["type"] == "STREAM_STATUS":
            name = message["trace"]["stream_status"]["stream_descriptor"]["name"]
            message["trace"].pop("emitted_at")
        else:
            continue
        found[name].append(message)
    return found


@pytest.mark.parametrize("name", ACCOUNTS)
def test_pages_give_the_same_messages_in_the_same_order_as_single_rows(name, monkeypatch):
    # Given the same account twice, each read slice by slice by a first, a later and a failing sync
    outputs: dict[bool, list[Output]] = {}
    for in_pages in (True, False):
        with Sandbox(clock="2026-06-01T00:00:00Z") as box, monkeypatch.context() as patched:
            account = ACCOUNTS[name].with_rows(box, 230)
            patched.setattr("source_meetings.source.SourceMeetings._workers", lambda _: 1)
            if not in_pages:
                patched.setattr(SyncPartitions, "read", one_by_one)
            streams = account.streams[:1]
            first = read(account.config(), None, streams)
            account.change()
            later = read(account.config(), first.last_states(), streams)
            box.fault(account.list_path, 2, 99, kind="status", status=403)
            failed = read(account.config(), None, streams)
            outputs[in_pages] = [first, later, failed]
    # Then the messages of each stream are the same: rows, states with their counts, statuses
    for pages, rows in zip(outputs[True], outputs[False]):
        assert pages.exit_code == rows.exit_code
        assert by_stream(pages) == by_stream(rows)
    assert len(outputs[True][0].records()) > 200
    assert outputs[True][2].errors


@given(ROWS)
@example([{"text": "\u2028 \u2029 \u0085", "null": None, "huge": 2**80}])
def test_a_page_is_printed_as_one_line_per_row_without_null_fields(rows: list[Row]):
    # Given a page of any rows
    page = Page.of("meetings", rows)
    # When the page is printed
    lines = page.lines.decode().splitlines()  # at every character that can end a line
    # Then each line is the message of a row
    assert len(lines) == page.count == len(rows)
    for line, row in zip(lines, rows):
        message = json.loads(line)
        assert message["type"] == "RECORD"
        assert message["record"]["stream"] == "meetings"
        assert message["record"]["data"] == {k: v for k, v in row.items() if v is not None}
    # And its messages are the same as these lines
    messages = [AirbyteMessageSerializer.dump(message) for message in page.messages()]
    assert [one["record"]["data"] for one in messages] == [
        json.loads(line)["record"]["data"] for line in lines
    ]


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 1000])
def test_a_large_answer_becomes_several_pages_that_have_each_row_once(count):
    rows = [{"id": number} for number in range(count)]
    pages = list(Page.pages_of("meetings", rows))
    assert all(0 < page.count <= 200 for page in pages)
    messages = [message for page in pages for message in page.messages()]
    assert [message.record and message.record.data for message in messages] == rows


def test_only_a_message_with_a_page_is_treated_as_a_page():
    rows: Iterable[Any] = ({"id": 1}, {"page of source-meetings": "no page"})
    for row in rows:
        (message,) = Page.of("meetings", [row]).messages()
        assert isinstance(message, AirbyteMessage)
        assert Page.carried_by(message) is None
