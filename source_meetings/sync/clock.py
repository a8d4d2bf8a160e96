"""Which timestamps to trust: the provider's clock decides, never this machine's.

The clock is the ``Date`` header of an answer. It has whole seconds, so the real time is less than a
second later.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from source_meetings import timestamps

_FRACTION = timedelta(seconds=1)
_FAR_AHEAD = timedelta(days=1)


def reached(moments: Iterable[datetime | None], clock: datetime) -> list[datetime]:
    """Return the moments that are not in the provider's future, and not before 1970.

    A row can carry any timestamp. One from the future must not become a watermark, because the
    connector would then miss every change until that time. One before 1970 (``0001-01-01`` is what
    some programs write for none) has no look-back before it.
    """
    end = end_of(clock)
    return [one for one in moments if one is not None and timestamps.EPOCH <= one < end]


def end_of(clock: datetime) -> datetime:
    """Return where the provider's future begins, at the latest."""
    return clock + _FRACTION


def clamped(moment: datetime, clock: datetime) -> datetime:
    """Return the moment, or the latest moment that is not in the provider's future."""
    return min(moment, end_of(clock))


def is_ahead(moment: datetime, clock: datetime) -> bool:
    """Return whether a saved moment is too far in the provider's future to be true.

    Clocks often differ by minutes, but not by a day.
    """
    return moment > clock + _FAR_AHEAD


def ahead_in_words(provider: str, clock: datetime, part: str = "") -> str:
    """Return a message for a saved state that is ahead of a provider's clock.

    ``part`` names what the state covers, if not the whole stream ("event 7").
    """
    whose = f" of {part}" if part else ""
    words = f"the saved state{whose} is ahead of {provider}'s clock ({timestamps.iso(clock)});"
    return f"{words} reading {part or 'everything'} again."
