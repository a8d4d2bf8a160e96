"""Close under random changes, during syncs and between them: the table must end up correct."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sandbox import Sandbox
from unit_tests.harness import Json, Output, Table, read
from unit_tests.test_close import STREAM, assert_equal_to_truth, at, config

CHANGES = ("edit", "cancel", "delete", "insert", "past", "future", "silent")


class CloseMachine(RuleBasedStateMachine):
    """A destination, next to the sandbox's Close."""

    @initialize(
        meaning=st.sampled_from(["start", "created"]),
        order=st.sampled_from(["newest", "oldest", "shuffled"]),
        filters=st.booleans(),
        delay=st.sampled_from([0.0, 200.0]),
        count=st.sampled_from([5, 140]),
    )
    def begin(self, meaning: str, order: str, filters: bool, delay: float, count: int) -> None:
        self.box = Sandbox(clock="2026-06-01T00:00:00Z").__enter__()
        side = self.box.close
        side.date_created_means, side.list_order, side.event_delay = meaning, order, delay
        side.date_filters = filters
        side.generate(count=count)
        self.table = Table(STREAM)
        self.state: list[Json] | None = None
        self.recent: list[str] = []

    def change(self, kind: str, seed: int) -> None:
        side, chance = self.box.close, random.Random(seed)
        ids = sorted(side.truth())
        key = chance.choice(ids) if ids else side.insert()
        days = chance.randrange(1, 900)
        if kind == "edit":
            side.edit(key, title=f"edit {seed}")
        elif kind == "cancel":
            side.cancel(key)
        elif kind == "delete":
            side.delete(key)
        elif kind == "insert":
            side.insert(starts_at=at(days=chance.randrange(-900, 900)))
        elif kind == "past":
            side.reschedule(key, at(days=-days))
        elif kind == "future":
            side.reschedule(key, at(days=days))
        else:
            side.add_transcript(side.insert(starts_at=at(days=-1)))

    @rule(kind=st.sampled_from(CHANGES), seed=st.integers(0, 10_000))
    def changes(self, kind: str, seed: int) -> None:
        self.change(kind, seed)

    @rule(minutes=st.sampled_from([1, 4, 90]))
    def time_passes(self, minutes: int) -> None:
        self.box.clock.advance(minutes=minutes)

    @rule(
        during=st.lists(
            st.tuples(st.integers(1, 30), st.sampled_from(CHANGES), st.integers(0, 10_000)),
            max_size=4,
        ),
        cut=st.one_of(st.none(), st.floats(0, 1)),
    )
    def sync(self, during: list[tuple[int, str, int]], cut: float | None) -> None:
        """Sync, with changes meanwhile. ``cut``: kill it after this share of its messages."""
        for nth, kind, seed in during:
            self.box.after("/api/v1/", nth, lambda k=kind, s=seed: self.change(k, s))
        output = read(config(self.box), self.state, [STREAM])
        if output.exit_code:
            # Only a list whose order changes with every request may end in an error.
            side = self.box.close
            assert (side.date_filters, side.list_order) == (False, "shuffled"), output.errors
            assert "change their order with every request" in output.errors[0]["message"]
        messages = output.messages
        if cut is not None:
            messages = messages[: int(cut * len(messages))]
        self.load(Output(messages))

    def load(self, output: Output) -> None:
        self.table.load(output)
        if output.states:
            self.state = output.last_states()

    @precondition(lambda self: self.state is not None)
    @rule()
    def settle(self) -> None:
        """After late events have appeared and a sync without changes, the table must be correct."""
        self.box.forget_hooks()
        self.box.clock.advance(minutes=6)
        output = read(config(self.box), self.state, [STREAM])
        assert output.exit_code == 0, output.errors
        self.load(output)
        assert_equal_to_truth(self.box, self.table)

    def teardown(self) -> None:
        if hasattr(self, "box"):
            if self.state is not None:
                self.settle()
            self.box.__exit__(None, None, None)


CloseMachine.TestCase.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, derandomize=True
)
TestClose = CloseMachine.TestCase
