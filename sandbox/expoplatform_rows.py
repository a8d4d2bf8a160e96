"""ExpoPlatform rows that are made on request, so a million rows take no memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from sandbox.expoplatform import Participant


class ManyParticipants(Sequence[Participant]):
    """One participant for each of `meetings` meetings, by account. `now`: epoch seconds.

    Set `ExpoPlatformSide.list_rows` to a function that returns it.
    """

    def __init__(self, event: int, meetings: int, now: int) -> None:
        self._event, self._meetings, self._now = event, meetings, now

    def __len__(self) -> int:
        return self._meetings

    @overload
    def __getitem__(self, place: int) -> Participant: ...
    @overload
    def __getitem__(self, place: slice) -> list[Participant]: ...
    def __getitem__(self, place: int | slice) -> Participant | list[Participant]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        stamp = self._now - place % 5_000_000
        return Participant(
            self._event, str(place), str(place // 8), "Confirmed", stamp, stamp, stamp
        )
