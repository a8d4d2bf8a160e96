"""Close's transcripts: which meetings are asked for, and which of them wait."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from source_meetings.providers.close.meetings import Again, seen_row
from source_meetings.providers.close.transcripts import (
    TranscriptsOutput,
    TranscriptsStrategy,
)
from source_meetings.providers.close.windows import Window
from source_meetings.sync.fingerprints import ChangedSince, SeenRows, digest, pack, unpack
from source_meetings.sync.reading import Answer, Row, State, Untrustworthy
from unit_tests.logic.fakes import Asked, FakeApi, FakeClose, at, synced, text

READY = [{"utterances": [{"text": "hello"}]}]


class Transcripts(FakeApi):
    """Answers requests for single meetings. ``found``: the transcripts of each, by id."""

    provider = "Close"

    def __init__(self, **found: Any) -> None:
        super().__init__()
        self.found = found

    def answer(self, asked: Asked) -> Answer:
        assert asked.endpoint == "meeting"
        id = asked.partition["id"]
        if id not in self.found:
            return Answer([], self.clock, status=404)
        return Answer([{"id": id, "transcripts": self.found[id]}], self.clock, body={})

    def ids(self) -> list[str]:
        return [one.partition["id"] for one in self.asked]


def meeting(id: str, **fields: Any) -> Row:
    return {"id": id, "status": "completed", "date_created": text(days=-1), **fields}


def output(
    api: FakeApi, before: State | None = None, recent: datetime | None = None, **config: Any
) -> TranscriptsOutput:
    strategy = TranscriptsStrategy("transcripts", "date_updated", {"provider": {}, **config}, api)
    made = strategy.output(before or {})
    assert isinstance(made, TranscriptsOutput)
    made.recent = recent
    return made


def emitted(
    made: TranscriptsOutput, *rows: Row, changed: ChangedSince | None = None
) -> list[list[str]]:
    answer = Answer(list(rows), at(), body={})
    pages = made.page(answer, changed, overlaps=True)
    return [[row["id"] for row in page] for page in pages]


def waits(row: Row) -> str:
    seen = seen_row(row)
    return pack([digest([seen.id, seen.version.hex()])])


def seen(*rows: Row) -> Any:
    known = SeenRows()
    for row in rows:
        known.add(seen_row(row))
    return known.state()


def as_before(*rows: Row) -> ChangedSince:
    """Picks what differs from these rows."""
    return ChangedSince(seen(*rows))


# -- which meetings are asked for -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, True),
        ({"status": "upcoming"}, False),
        ({"status": "upcoming", "ends_at": text()}, True),
        ({"status": "upcoming", "ends_at": text(microseconds=1)}, False),
        ({"ends_at": text(days=1)}, True),
        ({"notetaker_id": None}, False),
        ({"summary": ""}, False),
        ({"notetaker_id": None, "summary": "talk"}, True),
        ({"notetaker_id": "n", "summary": None}, True),
    ],
)
def test_a_meeting_is_asked_for_when_it_is_over_and_may_have_been_recorded(
    fields: dict[str, Any], asked: bool
) -> None:
    api = Transcripts(a=READY)
    assert emitted(output(api), meeting("a", **fields)) == ([["a"]] if asked else [])
    assert api.ids() == (["a"] if asked else [])


def test_a_meeting_is_emitted_with_its_transcripts() -> None:
    made = output(Transcripts(a=READY))
    (page,) = made.page(Answer([meeting("a")], at(), body={}), overlaps=False)
    assert page == [{"id": "a", "transcripts": READY}]


def test_meetings_that_changed_before_the_start_date_are_not_asked_for() -> None:
    api = Transcripts(a=READY, b=READY)
    made = output(api, start_date=text())
    rows = [meeting("a", date_updated=text(days=-1)), meeting("b", date_updated=text())]
    assert emitted(made, *rows) == [["b"]]


def test_a_version_of_a_meeting_is_asked_for_once() -> None:
    api = Transcripts(a=READY)
    made = output(api)
    assert emitted(made, meeting("a")) == [["a"]]
    assert emitted(made, meeting("a")) == []
    assert emitted(made, meeting("a", v=1)) == [["a"]]


def test_a_meeting_that_is_gone_does_not_keep_others_from_being_asked_for() -> None:
    api = Transcripts(b=READY)
    assert emitted(output(api), meeting("a"), meeting("b")) == [["b"]]
    assert api.ids() == ["a", "b"]


def test_another_meeting_than_was_asked_for_cannot_be_trusted() -> None:
    api = Transcripts(a=READY)
    api.answer = lambda asked: Answer([meeting("b")], at(), body={})  # type: ignore[method-assign]
    with pytest.raises(Untrustworthy, match="a different meeting"):
        emitted(output(api), meeting("a"))


def test_meetings_without_a_transcript_are_emitted_once_they_have_changed() -> None:
    assert emitted(output(Transcripts(a=[])), meeting("a")) == [["a"]]


# -- meetings that wait ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transcripts", "ready"),
    [
        (None, False),
        ([], False),
        ([{"utterances": []}], False),
        ([{}], False),
        (["text"], False),
        (READY, True),
        ([*READY, {"utterances": []}], False),
        ([*READY, *READY], True),
    ],
)
def test_a_recent_meeting_waits_until_all_its_transcripts_have_words(
    transcripts: Any, ready: bool
) -> None:
    # Given
    made = output(Transcripts(a=transcripts), recent=at(days=-2))
    # When
    emitted(made, meeting("a"))
    # Then it is seen, or waits
    state = made.state()
    assert state["seen"] == (seen(meeting("a")) if ready else seen())
    assert state["waiting"] == ("" if ready else waits(meeting("a")))


def test_a_meeting_that_is_not_recent_does_not_wait() -> None:
    made = output(Transcripts(a=[], b=[]), recent=at(days=-1, microseconds=1))
    emitted(made, meeting("a"))
    assert made.state() == {"seen": seen(), "waiting": ""}
    made.recent = at(days=-1)
    emitted(made, meeting("b"))
    assert made.state()["waiting"] == waits(meeting("b"))


def test_a_meeting_that_waits_is_asked_for_again_and_emitted_when_it_has_a_transcript() -> None:
    # Given two meetings that wait, one of which has a transcript now, and one that was seen
    rows = [meeting("a"), meeting("b"), meeting("c")]
    before = {"waiting": pack([*unpack(waits(rows[0])), *unpack(waits(rows[1]))])}
    api = Transcripts(a=[], b=READY, c=READY)
    made = output(api, before, recent=at(days=-9))
    # When the window is read again
    pages = emitted(made, *rows, changed=as_before(rows[2]))
    # Then
    assert (pages, api.ids()) == ([["b"]], ["a", "b"])
    assert made.state() == {"seen": seen(rows[1], rows[2]), "waiting": waits(rows[0])}


def test_a_meeting_that_waited_and_has_changed_is_emitted_without_a_transcript_too() -> None:
    row = meeting("a")
    made = output(Transcripts(a=[]), {"waiting": waits(row)}, recent=at(days=-9))
    assert emitted(made, {**row, "v": 1}, changed=as_before()) == [["a"]]


def test_a_meeting_that_waited_is_emitted_when_an_event_names_it() -> None:
    # Given a batch, not the window that is read again
    row = meeting("a")
    made = output(Transcripts(a=[]), {"waiting": waits(row)})
    assert emitted(made, row) == [["a"]]


def test_what_the_window_shows_is_noted_however_long_ago_it_starts() -> None:
    row = meeting("a", date_created=text(days=-99))
    made = output(Transcripts(a=[]), recent=at())
    emitted(made, row, changed=as_before())
    assert made.state()["waiting"] == waits(row)


def test_a_meeting_that_the_window_shows_as_it_was_stays_known() -> None:
    row = meeting("a", date_created=text(days=-99))
    made = output(Transcripts(), recent=at())
    assert emitted(made, row, changed=as_before(row)) == []
    assert made.state()["seen"] == seen(row)


def test_no_more_meetings_wait_than_a_state_has_room_for() -> None:
    rows = [meeting(str(number)) for number in range(2502)]
    made = output(Transcripts(**{row["id"]: [] for row in rows}), recent=at(days=-9))
    emitted(made, *rows)
    waiting = unpack(made.state()["waiting"])
    assert len(waiting) == 2500
    assert unpack(waits(rows[2499])) <= waiting
    assert not unpack(waits(rows[2500])) & waiting


def test_rows_that_come_last_are_asked_for_too() -> None:
    made = output(Transcripts(a=[]), recent=at())
    row = meeting("a")
    pages = list(made.rows([seen_row(row)], again=True, overlaps=True))
    assert [[one["id"] for one in page] for page in pages] == [["a"]]
    assert made.state()["waiting"] == waits(row)


def test_tombstones_are_told_by_the_other_stream() -> None:
    made = output(Transcripts())
    assert list(made.tombstones([{"id": "a"}])) == []
    assert made.gone == {"a"}


class Account(FakeClose):
    """Meetings that all have a transcript."""

    def answer(self, asked: Asked) -> Answer:
        if asked.endpoint != "meeting":
            return super().answer(asked)
        row = self.meetings[asked.partition["id"]]
        return Answer([{**row, "transcripts": READY}], self.clock, body={})


@pytest.mark.parametrize("ignores_dates", [False, True])
def test_a_meeting_of_the_window_is_asked_for_when_it_is_over(ignores_dates: bool) -> None:
    # Given a meeting that has not ended yet
    api = Account()
    api.insert(at())
    api.insert(at(days=-400))
    api.meetings["m1"].update(status="upcoming", ends_at=text(hours=1))
    made = TranscriptsStrategy("transcripts", "date_updated", {"provider": {}}, api)
    first = synced(made)
    assert first.rows == []
    # When it has, then the next sync emits it, whether or not Close filters the list
    api.now = at(hours=2)
    api.ignores_dates = ignores_dates
    made = TranscriptsStrategy("transcripts", "date_updated", {"provider": {}}, api)
    course = synced(made, first.state)
    assert ([row["id"] for row in course.rows], course.error) == (["m1"], None)


def test_the_window_that_is_read_again_says_so_in_its_slice() -> None:
    window = Window(at(), at(days=1), at())
    assert Again(window, None).values() == {**window.values(), "again": True}
