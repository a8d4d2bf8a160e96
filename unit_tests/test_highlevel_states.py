"""HighLevel under any sequence of edits, syncs, faults and kills: the table must end up correct."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from sandbox import Sandbox
from sandbox.account import without_nulls
from unit_tests.harness import Json, Output, Table, read
from unit_tests.test_highlevel import APPOINTMENTS, EVENTS, LIST, config

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
STREAMS = (EVENTS, APPOINTMENTS)
picks = st.integers(min_value=0, max_value=10_000)
days = st.integers(min_value=-900, max_value=300)


class HighLevelStates(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.box = Sandbox(clock="2026-06-01T00:00:00Z").start()
        self.side = self.box.highlevel
        self.side.interval_ms = 50
        self.side.generate(count=12, calendars=3, years=2)
        self.states: dict[str, list[Json] | None] = dict.fromkeys(STREAMS)
        self.tables = {stream: Table(stream) for stream in STREAMS}
        self.vanished: set[str] = set()
        self.stream = EVENTS

    def teardown(self) -> None:
        self.settle()
        self.box.stop()

    def pick(self, number: int) -> str:
        return list(self.side.events)[number % len(self.side.events)]

    def change(self, kind: int, number: int, day: int) -> None:
        if kind == 0 or len(self.side.events) < 4:
            calendars = list(self.side.calendars)
            start = (NOW + timedelta(days=day)).isoformat(timespec="seconds")
            self.side.insert(calendarId=calendars[number % len(calendars)], startTime=start)
        elif kind == 1:
            self.side.edit(self.pick(number), title=f"edited {number} {day}")
        elif kind == 2:
            self.side.reschedule(self.pick(number), NOW + timedelta(days=day))
        elif kind == 3:
            self.side.cancel(self.pick(number))
        else:
            id = self.pick(number)
            self.side.delete(id)
            self.vanished |= {id} - set(self.side.events)

    @rule(kind=st.integers(0, 4), number=picks, day=days)
    def changes_now(self, kind: int, number: int, day: int) -> None:
        self.change(kind, number, day)

    @rule(kind=st.integers(0, 4), number=picks, day=days, nth=st.integers(1, 5))
    def changes_during_the_next_sync(self, kind: int, number: int, day: int, nth: int) -> None:
        """Write right after a list was read: too late for its rows, in time for later ones."""
        self.box.after(LIST, nth, lambda: self.change(kind, number, day))
        self.box.after(LIST, nth, lambda: self.change(1, number + 1, day))
        self.box.after(LIST, nth, lambda: self.change(1, number + 2, day))

    @rule(seconds=st.integers(1, 90_000))
    def time_goes_by(self, seconds: int) -> None:
        self.box.clock.advance(seconds=seconds)

    @rule(shows=st.booleans(), loose=st.sampled_from([0, 1, 24]), empty=st.booleans())
    def the_provider_behaves_otherwise(self, shows: bool, loose: float, empty: bool) -> None:
        self.side.configure(delete_shows=shows, loose_hours=loose, events_when_empty=empty)

    @rule(stream=st.sampled_from(STREAMS))
    def syncs(self, stream: str) -> None:
        output = self.read(stream)
        assert output.exit_code == 0, output.errors
        self.keep(stream, output)

    @rule(stream=st.sampled_from(STREAMS), nth=st.integers(1, 6))
    def a_sync_fails(self, stream: str, nth: int) -> None:
        self.box.fault("/calendars/", nth, kind="status", status=403)
        self.keep(stream, self.read(stream))
        self.box.forget_faults()  # the sync may have had fewer requests

    @rule(stream=st.sampled_from(STREAMS), keep=st.floats(0, 1))
    def a_sync_is_killed(self, stream: str, keep: float) -> None:
        output = self.read(stream)
        self.keep(stream, Output(output.messages[: int(keep * len(output.messages))]))

    def read(self, stream: str) -> Output:
        return read(config(self.box), self.states[stream], [stream])

    def keep(self, stream: str, output: Output) -> None:
        self.tables[stream].load(output)
        self.states[stream] = output.last_states() or self.states[stream]

    def settle(self) -> None:
        """Run two syncs without faults. The second one is for changes during the first."""
        self.box.forget_faults()
        for stream in STREAMS:
            for _ in range(2):
                self.syncs(stream)
            truth = {id: without_nulls(row) for id, row in self.side.truth().items()}
            rows = {
                id: without_nulls(row)
                for id, row in self.tables[stream].rows.items()
                if id not in self.vanished
            }
            assert rows == truth
            self.box.forget_hooks()
            assert self.read(stream).records() == []


TestHighLevelStates = HighLevelStates.TestCase
TestHighLevelStates.settings = settings(max_examples=3, stateful_step_count=8)
