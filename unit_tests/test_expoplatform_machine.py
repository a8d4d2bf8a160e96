"""Any sequence of writes and syncs, writes between two pages included, ends with the truth."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sandbox import Sandbox
from sandbox.expoplatform import KEY_STYLES, SHAPES, STAMP_STYLES, TOTALS
from unit_tests.harness import Json, Table, read
from unit_tests.test_expoplatform import STREAM, config, held

EVENTS = (101, 102)
PLACES = st.integers(min_value=0, max_value=10_000)
WRITES = st.lists(
    st.tuples(st.sampled_from(["insert", "edit", "reschedule", "cancel"]), PLACES), max_size=4
)


class ExpoPlatformMachine(RuleBasedStateMachine):
    """Pages have at most seven rows, so that a few meetings fill many pages."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Sandbox(clock="2026-06-01T00:00:00Z").start()
        self.side = self.box.expoplatform
        self.side.page_cap = 7
        self.table = Table(STREAM)
        self.state: list[Json] = []
        self.deleted: set[str] = set()

    def teardown(self) -> None:
        self.box.stop()
        assert self.box.errors == []

    @initialize(
        shape=st.sampled_from(SHAPES),
        key_style=st.sampled_from(KEY_STYLES),
        stamp_style=st.sampled_from(STAMP_STYLES),
        totals=st.sampled_from(TOTALS),
        zone_hours=st.integers(min_value=-12, max_value=14),
        inclusive=st.booleans(),
        repeat_last_page=st.booleans(),
        stamp_lag=st.sampled_from([0, 0, 45, 7200]),
        meetings=st.integers(min_value=0, max_value=12),
    )
    def an_event(self, meetings: int, **options: Any) -> None:
        self.side.configure(**options)
        self.side.generate(101, meetings)

    def write(self, action: str, place: int) -> None:
        self.box.clock.advance(seconds=place % 400)
        rows = list(self.side.rows.values())
        if action == "insert" or not rows:
            accounts = [1000 + place % 40, 1000 + place % 37 + 41]
            self.side.insert(EVENTS[place % 2], accounts)
            return
        row = rows[place % len(rows)]
        account = None if place % 3 else row.account_id
        if action == "edit":
            self.side.edit(row.event_id, row.meeting_id, account, status=f"Status {place}")
        elif action == "reschedule":
            self.side.reschedule(row.event_id, row.meeting_id)
        elif action == "cancel":
            self.side.cancel(row.event_id, row.meeting_id, account)
        else:
            self.side.delete_participant(row.event_id, row.meeting_id, row.account_id)
            self.deleted.add("|".join(map(str, row.key)))

    @rule(writes=WRITES)
    def write_between_syncs(self, writes: list[tuple[str, int]]) -> None:
        for action, place in writes:
            self.write(action, place)

    @precondition(lambda self: self.side.rows)
    @rule(place=PLACES)
    def delete_between_syncs(self, place: int) -> None:
        self.write("delete", place)

    @rule(nth=st.integers(min_value=1, max_value=9), writes=WRITES)
    def sync_with_writes_during_it(self, nth: int, writes: list[tuple[str, int]]) -> None:
        for offset, (action, place) in enumerate(writes):
            self.box.after("export", nth + offset, lambda a=action, p=place: self.write(a, p))
        self.sync()
        self.box.forget_hooks()

    @precondition(lambda self: self.totals_are_counted())
    @rule(nth=st.integers(min_value=1, max_value=5), place=PLACES)
    def sync_with_a_row_that_vanishes(self, nth: int, place: int) -> None:
        self.box.after("export", nth, lambda: self.side.rows and self.write("delete", place))
        self.sync()
        self.box.forget_hooks()

    @rule(nth=st.integers(min_value=1, max_value=6))
    def sync_that_is_cut_off(self, nth: int) -> None:
        self.box.fault("export", nth, kind="status", status=403)
        output = read(config(self.box, EVENTS), self.state)
        self.table.load(output)
        self.state = output.last_states() or self.state
        self.box.forget_faults()

    def totals_are_counted(self) -> bool:
        return self.side.shape not in ("bare", "indexed") and self.side.totals not in (
            "none",
            "total_pages",
        )

    def sync(self) -> None:
        output = read(config(self.box, EVENTS), self.state)
        assert output.exit_code == 0, output.errors
        self.table.load(output)
        self.state = output.last_states()

    @rule()
    def the_table_is_the_truth_after_a_quiet_sync(self) -> None:
        self.sync()
        truth = self.side.truth()
        rows = held(self.table)
        assert {key: rows.get(key) for key in truth} == truth
        assert set(rows) - set(truth) <= self.deleted


ExpoPlatformMachine.TestCase.settings = settings(max_examples=8, stateful_step_count=8)
TestExpoPlatform = ExpoPlatformMachine.TestCase
