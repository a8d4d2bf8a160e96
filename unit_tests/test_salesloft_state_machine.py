"""Whatever happens to meetings, and whenever a sync runs or is interrupted, the table is correct.

Hypothesis chooses the order of edits, cancellations, insertions, hard deletions, time and syncs.
"""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sandbox import Sandbox
from sandbox.account import without_nulls
from unit_tests.harness import Json, Output, Table, read

STREAM = "salesloft_meetings"
LIST = "/salesloft/v2/meetings"
seeds = st.integers(0, 2**16)


class SalesloftMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.box = Sandbox(clock="2026-06-01T00:00:00Z").start()
        self.side = self.box.salesloft
        self.table = Table(STREAM)
        self.state: list[Json] | None = None
        self.deleted: set[int] = set()

    def teardown(self) -> None:
        self.box.stop()
        assert not self.box.errors

    @initialize(
        count=st.sampled_from([0, 3, 150, 400]),
        seed=seeds,
        hidden=st.booleans(),
        unstable=st.booleans(),
        omit_paging=st.sampled_from([False, False, True]),
    )
    def account(self, count, seed, hidden, unstable, omit_paging):
        if count:
            self.side.generate(count=count, seed=seed)
        self.side.show_deleted_default = "active" if hidden else "both"
        self.side.unstable_ties = unstable and not omit_paging
        self.side.omit_paging = omit_paging

    # -- the account ----------------------------------------------------------------------------

    def pick(self, seed: int, most: int) -> list[int]:
        ids = list(self.side.meetings)
        return random.Random(seed).sample(ids, min(most, len(ids)))

    def change(self, seed: int) -> None:
        """Make a few changes of any kind, as they happen during a sync."""
        chance = random.Random(seed)
        for id in self.pick(seed, chance.choice([1, 5, 60])):
            kind = chance.random()
            if kind < 0.6:
                self.side.edit(id, title=f"t{chance.random()}")
            elif kind < 0.8:
                self.side.cancel(id)
            elif kind < 0.9 and not self.side.omit_paging:
                self.side.delete(id)
                self.deleted.add(id)
            else:
                self.side.insert(title="new")

    @rule(seed=seeds)
    def edit_cancel_insert_and_delete(self, seed):
        self.change(seed)

    @rule(seed=seeds, count=st.sampled_from([2, 120, 250]))
    def touch_in_bulk(self, seed, count):
        self.box.clock.tick()
        stamp = self.box.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for id in self.pick(seed, count):
            self.side.edit(id, title=f"bulk {seed}", updated_at=stamp)

    @rule(count=st.sampled_from([1, 3, 130]))
    def import_with_one_creation_time(self, count):
        self.box.clock.tick()
        stamp = self.box.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for _ in range(count):
            self.side.insert(created_at=stamp)

    @rule(minutes=st.sampled_from([1, 30, 3000]))
    def time_passes(self, minutes):
        self.box.clock.advance(minutes=minutes)

    # -- the connector --------------------------------------------------------------------------

    def config(self) -> Json:
        credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
        provider = {"name": "salesloft", "base_url": self.side.base_url, "credentials": credentials}
        return {"provider": provider}

    def run(self) -> Output:
        output = read(self.config(), self.state)
        assert output.exit_code == 0, output.errors
        return output

    @rule(seed=seeds, at=st.lists(st.integers(1, 12), max_size=4, unique=True))
    def sync_while_things_change(self, seed, at):
        for number in at:
            self.box.before(LIST, number, lambda number=number: self.change(seed + number))
        output = self.run()
        self.box.forget_hooks()
        self.table.load(output)
        self.state = output.last_states()

    @rule(seed=seeds, part=st.floats(0, 1))
    def a_sync_is_cut_off(self, seed, part):
        self.box.before(LIST, 3, lambda: self.change(seed))
        output = self.run()
        self.box.forget_hooks()
        kept = Output(output.messages[: int(part * len(output.messages))])
        self.table.load(kept)
        self.state = kept.last_states() or self.state

    @precondition(lambda self: self.state)
    @rule()
    def a_full_refresh(self):
        output = read(self.config(), self.state, mode="full_refresh")
        assert output.exit_code == 0, output.errors
        self.table = Table(STREAM)
        self.table.load(output)
        self.state = output.last_states()
        self.compare()

    @rule()
    def sync_in_quiet(self):
        self.sync_and_compare()

    def sync_and_compare(self) -> None:
        output = self.run()
        self.table.load(output)
        self.state = output.last_states()
        self.compare()

    def compare(self) -> None:
        truth = {id: without_nulls(row) for id, row in self.side.truth().items()}
        rows = {id: row for id, row in self.table.rows.items() if int(id) not in self.deleted}
        assert set(truth) - set(rows) == set(), "missing"
        assert set(rows) - set(truth) == set(), "too many"
        assert {id for id in truth if rows[id] != truth[id]} == set(), "stale"

    @invariant()
    def the_state_is_never_ahead_of_the_clock(self):
        for state in self.state or []:
            watermark = state["stream"]["stream_state"].get("updated_at", "")
            now = self.box.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            assert watermark <= now


def test_the_table_equals_the_truth_after_any_sequence_of_changes_and_syncs():
    few = settings(max_examples=6, stateful_step_count=8)
    default = settings.get_current_profile_name() == "default"
    run_state_machine_as_test(SalesloftMachine, settings=few if default else None)
