"""Counts the requests of first and later syncs: `python -m benchmarks.requests [PROVIDER …]`.

Runs the connector against the sandbox over HTTP and prints a Markdown table for each provider. The
sandbox enforces no limit, but the connector's own pacing stays on, so large first syncs of
Salesloft (600 requests a minute) and HighLevel (100 in ten seconds) take minutes. An hour passes
between two syncs.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlencode

from sandbox import RecordedRequest, Sandbox
from sandbox.accounts import ACCOUNTS, Account
from unit_tests.harness import Json, Output, read

EDITS = (0, 10, 1000, 0, 0)
SIZES = (1_000, 10_000)


def edit(account: Account, count: int, chance: random.Random) -> None:
    """Change `count` rows, or all if there are fewer."""
    keys = account.keys()
    for key in chance.sample(keys, min(count, len(keys))):
        account.edit(key, **{account.columns.edited: f"changed {chance.random()}"})


def requests_by_kind(account: Account) -> str:
    """The number of requests, then that of each kind that the account names, and of others."""
    kinds = account.kinds[account.streams[0]]

    def kind_of(request: RecordedRequest) -> str:
        texts = (request.path, f"{request.path}?{urlencode(request.params)}")
        found = (kind for kind in kinds for text in texts if re.search(kinds[kind], text))
        return next(found, "others")

    counts = Counter(map(kind_of, account.box.requests))
    parts = ", ".join(f"{counts[kind]} {kind}" for kind in (*kinds, "others") if counts[kind])
    points = account.box.points
    total = f"{counts.total()} for {points} points" if points else str(counts.total())
    return f"{total} ({parts})"


def slices_of(output: Output) -> int:
    """How many slices are left in the first state of a first sync."""
    state = output.states[0]["stream"]["stream_state"] if output.states else {}
    return len(state.get("scan", {}).get("pending", []))


def measure(name: str, size: int) -> None:
    """Print a line for the first sync of an account of this size, and for each later sync."""
    with Sandbox(clock="2026-06-01T00:00:00Z") as box:
        account, chance = ACCOUNTS[name](box), random.Random(size)
        account.generate(size)
        stream = account.streams[0]
        state: list[Json] | None = None
        for edits in (None, *EDITS):
            edit(account, edits or 0, chance)
            box.forget_requests()
            output = read(account.config(), state, [stream])
            if output.exit_code:
                raise SystemExit(f"the sync failed: {output.errors}")
            rows = len(output.records())
            if edits is None:
                sync, aim = "first | ", account.aim_of_first_sync(rows, slices_of(output))
            else:
                sync, aim = f"later | {edits}", account.aim_of_later_sync(edits)
            print(
                f"| {size:,} | {sync} | {requests_by_kind(account)} | {aim} | {rows:,} |",
                flush=True,
            )
            state = output.last_states()
            box.clock.advance(hours=1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requests", description=__doc__)
    parser.add_argument("providers", nargs="*", choices=[[], *ACCOUNTS], default=[])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    sizes: Sequence[int] = arguments.sizes
    for name in arguments.providers or ACCOUNTS:
        print(f"\n{ACCOUNTS[name].title}\n")
        print("| meetings | sync | changes | requests | aim, at most | records |")
        print("|---:|---|---:|---:|---:|---:|")
        for size in sizes:
            measure(name, size)


if __name__ == "__main__":
    main()
