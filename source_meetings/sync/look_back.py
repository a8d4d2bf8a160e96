"""The look-back: a change may become visible some time after its timestamp.

So a sync reads the time just before its watermark again. Once the watermark has not moved for that
long, this is no longer necessary: the look-back is *settled*. Without this, thousands of changes of
one moment would be read again at every quiet sync.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from source_meetings import timestamps
from source_meetings.sync.reading import State


@dataclass(frozen=True)
class LookBack:
    """``length``: how late a change may become visible. ``settled``: what is read again even so."""

    length: timedelta
    settled: timedelta = timedelta()

    def reach(self, state: State) -> timedelta:
        """Return how far before the watermark of a state the next sync must begin."""
        return self.settled if state.get("settled") else self.length

    def seen(self, before: State, *, began: datetime, ended: datetime, moved: bool) -> State:
        """Return the part of the next state that says since when the watermark is known.

        ``before`` is the state that the sync began with. ``began`` and ``ended`` are the provider's
        time at the sync's first and last answer. ``moved`` says whether the watermark has moved.

        A change stamped with the watermark may become visible until ``length`` after the watermark
        was seen, which was at ``ended`` at the latest. So only a sync that begins after that
        settles it. The provider's clock has whole seconds, so more than ``length`` must have
        passed.
        """
        seen_at = timestamps.parse_or_none(before.get("seen_at"))
        if moved or seen_at is None:
            return {"seen_at": timestamps.iso(ended)}
        settled = before.get("settled") is True or began - seen_at > self.length
        return {"seen_at": before["seen_at"], **({"settled": True} if settled else {})}
