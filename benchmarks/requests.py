"""How many requests, and points, a sync takes: `python -m benchmarks.requests salesloft`.

Runs the connector against the sandbox over HTTP and prints a Markdown table. The sandbox enforces
no limit, and the connector's own pacing (600 requests a minute) is left on, so that large first
syncs take minutes.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable

from sandbox import Sandbox
from unit_tests.harness import Json, read

PAGE_SIZE = 100
EDITS = (0, 10, 1000)


def salesloft(sizes: list[int]) -> None:
    """First syncs: at most 1.05 points per 100 rows, and one per slice. Later syncs: at most one
    page more than the changes fill."""
    print("| meetings | sync | changes | requests | points | allowed | records |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for size in sizes:
        with Sandbox(clock="2026-06-01T00:00:00Z") as box:
            box.salesloft.generate(count=size, seed=1)
            state: list[Json] = []
            ids = itertools.cycle(list(box.salesloft.meetings))
            for edits in (None, *EDITS):
                box.forget_requests()
                for _ in range(edits or 0):
                    box.salesloft.edit(next(ids), title="changed")
                output = read(_salesloft_config(box), state)
                if output.exit_code:
                    raise SystemExit(f"the sync failed: {output.errors}")
                if edits is None:
                    scan = output.states[0]["stream"]["stream_state"].get("scan", {})
                    allowed = math.floor(1.05 * size / PAGE_SIZE) + len(scan.get("pending", []))
                else:
                    allowed = max(1, math.ceil(edits / PAGE_SIZE)) + (1 if edits else 0)
                kind = "first" if edits is None else "incremental"
                print(
                    f"| {size:,} | {kind} | {'' if edits is None else edits} | "
                    f"{len(box.requests)} | {box.points} | {allowed} | {len(output.records())} |",
                    flush=True,
                )
                state = output.last_states()
                box.clock.advance(hours=1)


def _salesloft_config(box: Sandbox) -> Json:
    credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
    base_url = box.salesloft.base_url
    return {"provider": {"name": "salesloft", "base_url": base_url, "credentials": credentials}}


PROVIDERS: dict[str, Callable[[list[int]], None]] = {"salesloft": salesloft}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requests", description=__doc__)
    parser.add_argument("provider", nargs="?", default="salesloft", choices=sorted(PROVIDERS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    arguments = parser.parse_args()
    PROVIDERS[arguments.provider](arguments.sizes)


if __name__ == "__main__":
    main()
