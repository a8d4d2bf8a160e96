"""How many requests a first and later syncs take: `python -m benchmarks.requests [PROVIDER …]`.

Runs the connector against the sandbox over HTTP and prints a Markdown table for each provider. The
sandbox enforces no limit, and the connector's own pacing is left on, so that large first syncs of
Salesloft (600 requests a minute) and HighLevel (100 in ten seconds) take minutes. An hour passes
between two syncs.
"""

from __future__ import annotations

import argparse
import math
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

from sandbox import Sandbox
from unit_tests.harness import Json, Output, read

EDITS = (0, 10, 1000, 0, 0)


class Case(ABC):
    """One provider: what is synced, what is changed between two syncs, and what would be well."""

    stream: str
    title: str
    sizes: Sequence[int] = (1_000, 10_000, 100_000)

    def __init__(self, box: Sandbox, size: int) -> None:
        self.box, self.size = box, size

    @abstractmethod
    def generate(self) -> None: ...

    @abstractmethod
    def config(self) -> Json: ...

    @abstractmethod
    def edit(self, count: int, chance: random.Random) -> None: ...

    def first_allowed(self, output: Output) -> str:
        """The number of requests that a first sync should not exceed, if there is one."""
        return ""

    def later_allowed(self, edits: int) -> str:
        return ""

    def kinds(self) -> str:
        """The requests, counted by kind."""
        return str(len(self.box.requests))


class Salesloft(Case):
    """First: 1.05 points per 100 rows and one per slice. Later: one page more than changes fill."""

    stream, title = "salesloft_meetings", "Salesloft (requests = points)"

    def generate(self) -> None:
        self.box.salesloft.generate(count=self.size)

    def config(self) -> Json:
        credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
        base_url = self.box.salesloft.base_url
        return {"name": "salesloft", "base_url": base_url, "credentials": credentials}

    def edit(self, count: int, chance: random.Random) -> None:
        for id in chance.sample(list(self.box.salesloft.meetings), min(count, self.size)):
            self.box.salesloft.edit(id, title=f"changed {chance.random()}")

    def first_allowed(self, output: Output) -> str:
        scan = output.states[0]["stream"]["stream_state"].get("scan", {})
        return str(math.floor(1.05 * self.size / 100) + len(scan.get("pending", [])))

    def later_allowed(self, edits: int) -> str:
        return str(math.ceil(edits / 100) + 1)

    def kinds(self) -> str:
        assert self.box.points == len(self.box.requests)
        return super().kinds()


class Close(Case):
    """First: 2.2 requests per 100 rows and 40. Later: 7, the log, 30 ids a request, the window."""

    stream, title = "close_meetings", "Close (log + ids + windows)"

    def generate(self) -> None:
        self.box.close.generate(count=self.size)

    def config(self) -> Json:
        credentials = {"auth_type": "api_key", "api_key": "api_sandbox"}
        base_url = self.box.close.base_url
        return {"name": "close", "base_url": base_url, "credentials": credentials}

    def edit(self, count: int, chance: random.Random) -> None:
        for id in chance.sample(sorted(self.box.close.truth()), min(count, self.size)):
            self.box.close.edit(id, title=f"changed {chance.random()}")

    def first_allowed(self, output: Output) -> str:
        return str(math.floor(2.2 * self.size / 100) + 40)

    def later_allowed(self, edits: int) -> str:
        return f"{7 + edits // 50 + math.ceil(edits / 30)} + the window"

    def kinds(self) -> str:
        kinds = Counter(
            "log" if "/event/" in request.path else "ids" if request.param("id__in") else "windows"
            for request in self.box.requests
        )
        parts = " + ".join(str(kinds[kind]) for kind in ("log", "ids", "windows"))
        return f"{len(self.box.requests)} ({parts})"


class HighLevel(Case):
    """Every sync lists the calendars and asks each of them for its whole range, once or more."""

    stream, title = "highlevel_calendar_events", "HighLevel, 20 calendars (calendars + events)"
    sizes = (1_000, 10_000)

    def generate(self) -> None:
        self.box.highlevel.generate(count=self.size, calendars=20)

    def config(self) -> Json:
        side = self.box.highlevel
        token = {"auth_type": "private_integration_token", "access_token": "pit-sandbox"}
        location = {"location_id": side.location_id, "base_url": side.base_url}
        return {"name": "highlevel", "credentials": token, **location}

    def edit(self, count: int, chance: random.Random) -> None:
        for id in chance.sample(sorted(self.box.highlevel.truth()), min(count, self.size)):
            self.box.highlevel.edit(id, title=f"changed {chance.random()}")

    def kinds(self) -> str:
        events = sum(request.path.endswith("/events") for request in self.box.requests)
        all_ = len(self.box.requests)
        return f"{all_} ({all_ - events} + {events})"


class ExpoPlatform(Case):
    """First: a request per 500 rows, and one. Later: a request per pass and 500 changed rows."""

    stream, title = "expoplatform_meeting_participants", "ExpoPlatform, one event"

    def generate(self) -> None:
        self.box.expoplatform.generate(event_id=101, meetings=self.size // 2)

    def config(self) -> Json:
        side = self.box.expoplatform
        key = side.state()["api_keys"][0]
        event = {"event_ids": [101], "base_url": side.base_url}
        return {"name": "expoplatform", "api_key": key, **event}

    def edit(self, count: int, chance: random.Random) -> None:
        rows = list(self.box.expoplatform.truth().values())
        for row in chance.sample(rows, min(count, len(rows))):
            self.box.expoplatform.edit(
                101, row["meeting_id"], row["account_id"], status=str(chance.random())
            )

    def first_allowed(self, output: Output) -> str:
        return str(math.ceil(len(output.records()) / 500) + 1)

    def later_allowed(self, edits: int) -> str:
        return str(1 + max(1, math.ceil(edits / 500)))


CASES: dict[str, type[Case]] = {
    "salesloft": Salesloft,
    "close": Close,
    "highlevel": HighLevel,
    "expoplatform": ExpoPlatform,
}


def measure(kind: type[Case], sizes: Sequence[int]) -> None:
    print(f"\n{kind.title}\n")
    print("| meetings | sync | changes | requests | aimed at, at most | records |")
    print("|---:|---|---:|---:|---:|---:|")
    for size in sizes:
        with Sandbox(clock="2026-06-01T00:00:00Z") as box:
            case, chance = kind(box, size), random.Random(size)
            case.generate()
            state: list[Json] | None = None
            for edits in (None, *EDITS):
                case.edit(edits or 0, chance)
                box.forget_requests()
                output = read({"provider": case.config()}, state, [case.stream])
                if output.exit_code:
                    raise SystemExit(f"the sync failed: {output.errors}")
                first = edits is None
                allowed = case.first_allowed(output) if first else case.later_allowed(edits or 0)
                print(
                    f"| {size:,} | {'first' if first else 'later'} | {'' if first else edits} | "
                    f"{case.kinds()} | {allowed} | {len(output.records()):,} |",
                    flush=True,
                )
                state = output.last_states()
                box.clock.advance(hours=1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requests", description=__doc__)
    parser.add_argument("providers", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--sizes", type=int, nargs="+")
    arguments = parser.parse_args()
    for name in arguments.providers or CASES:
        measure(CASES[name], arguments.sizes or CASES[name].sizes)


if __name__ == "__main__":
    main()
