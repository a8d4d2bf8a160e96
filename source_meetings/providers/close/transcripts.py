"""How ``close_meeting_transcripts`` is kept equal to Close.

Transcripts are only sent if ``_fields`` asks for them
(https://developer.close.com/api/resources/activities/meetings). So each meeting that
``close_meetings`` would emit, and that can have transcripts, gets its own request.

A new transcript may leave no trace in the log. So a state also has ``waiting``: digests of recent
meetings that had no transcript yet. They are requested again as long as they are in the window that
every sync reads again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from source_meetings import timestamps
from source_meetings.providers.close.meetings import (
    MeetingsOutput,
    MeetingsStrategy,
    seen_row,
)
from source_meetings.sync.fingerprints import ChangedSince, SeenRow, digest, pack, unpack
from source_meetings.sync.reading import Answer, Row, State, Untrustworthy

LOGGER = logging.getLogger("airbyte.source_meetings")

_MOST_WAITING = 2_500
_FIELDS_THAT_TELL = ("notetaker_id", "summary")


@dataclass
class TranscriptsStrategy(MeetingsStrategy):
    """Requests the transcripts of the meetings that have changed. See the module."""

    def output(self, before: State) -> MeetingsOutput:
        return TranscriptsOutput(self, unpack(before.get("waiting")))

    def ask(self, id: str) -> Row | None:
        """Return a meeting with its transcripts, or None if it was deleted meanwhile."""
        answer = self.api.get("meeting", partition={"id": id})
        if not answer.rows:
            LOGGER.info("Stream %s: a meeting was deleted before it could be read.", self.stream)
            return None
        meeting = answer.rows[0]
        if meeting["id"] != id:
            raise Untrustworthy("Close answered with a different meeting than requested.")
        return meeting


class TranscriptsOutput(MeetingsOutput):
    """Emits the meetings with their transcripts."""

    def __init__(self, strategy: TranscriptsStrategy, waiting: frozenset[bytes]) -> None:
        super().__init__(strategy)
        self._transcripts = strategy
        self._waited = waiting
        self._waits: dict[bytes, None] = {}

    def page(
        self, answer: Answer, changed: ChangedSince | None = None, *, overlaps: bool
    ) -> Iterator[list[Row]]:
        rows = [
            seen_row(row)
            for row in answer.rows
            if _may_have_transcript(row, answer.clock) and not self.is_too_old(row)
        ]
        waiting = [row for row in rows if _waits(row) in self._waited]
        others = [row for row in rows if _waits(row) not in self._waited]
        again = changed is not None
        picked = others if changed is None else changed.pick(others)
        for row in others:
            if again or self.is_recent(row.at):
                self.seen.add(row)
        yield from self._asked(waiting, again, unchanged=again)
        yield from self._asked(picked, again)

    def rows(self, rows: list[SeenRow], *, again: bool, overlaps: bool) -> Iterator[list[Row]]:
        yield from self._asked(rows, again)

    def _asked(
        self, rows: list[SeenRow], again: bool, *, unchanged: bool = False
    ) -> Iterator[list[Row]]:
        """Yield the meetings with their transcripts; ``unchanged`` ones only if they have some."""
        for row in rows:
            if not self.is_first(row):
                continue
            meeting = self._transcripts.ask(row.id)
            if meeting is None:
                continue
            is_transcribed = _is_transcribed(meeting)
            if again or self.is_recent(row.at):
                self._note(row, is_transcribed)
            if is_transcribed or not unchanged:
                yield [meeting]

    def _note(self, row: SeenRow, is_transcribed: bool) -> None:
        if is_transcribed:
            self.seen.add(row)
        else:
            self._waits[_waits(row)] = None
            self.seen.discard(row)

    def tombstones(self, rows: list[Row]) -> Iterator[list[Row]]:
        """Yield nothing: ``close_meetings`` says which meetings were deleted."""
        self.gone.update(row["id"] for row in rows)
        return iter(())

    def state(self) -> State:
        # Meetings left out here count as changed at the next sync, and are requested again too.
        return {**super().state(), "waiting": pack([*self._waits][:_MOST_WAITING])}


def _waits(row: SeenRow) -> bytes:
    """Return the state's entry for a meeting that waits for its transcript."""
    return digest([row.id, row.version.hex()])


def _may_have_transcript(row: Mapping[str, Any], now: datetime) -> bool:
    """Return whether a meeting is over and was recorded. Rows without these fields count too."""
    known = [row[name] for name in _FIELDS_THAT_TELL if name in row]
    if known and not any(known):
        return False
    ends = timestamps.parse_or_none(row.get("ends_at"))
    return row.get("status") == "completed" or (ends is not None and ends <= now)


def _is_transcribed(meeting: Mapping[str, Any]) -> bool:
    transcripts = meeting.get("transcripts")
    if not isinstance(transcripts, list):
        return False
    ready = [isinstance(one, dict) and bool(one.get("utterances")) for one in transcripts]
    return bool(ready) and all(ready)
