"""The server of a benchmark: `python -m benchmarks.speed.serve PROVIDER MEETINGS`.

A sandbox that keeps each reply once it is encoded, in a process of its own: what is measured is the
program that reads, not the server. It takes commands on standard input, one JSON object a line, and
answers each with a line; the first line that it prints describes the account. It ends with its
input.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from benchmarks.speed.marks import EDITED
from sandbox import RecordedRequest, Sandbox
from sandbox.accounts import ACCOUNTS, Account
from sandbox.side import Call, Reply, Side

FROM_HERE_ON_SERVED_AS_THEY_ARE_ASKED_FOR = 500_000
# Limits that would measure the provider. The greatest `_skip` is one that Close is known to have
# had; with the sandbox's own, programs that skip would fail before they are measured.
LIFTED = {"rate_limit": 10**9, "max_skip": 250_000}
# A row of ExpoPlatform's export has the columns that its report of meetings has, so about 1 KB.
ROWS = {"columns": "report"}


class Memory:
    """The replies of a side by request, encoded. A reply that is not a success is not kept."""

    def __init__(self, side: Side) -> None:
        self._answer: Callable[[Call], Reply] = side.answer
        self._replies: dict[tuple[str, str, str], Reply] = {}

    def answer(self, call: Call) -> Reply:
        key = (call.method, call.path, call.query)
        if key not in self._replies:
            reply = self._answer(call)
            if reply.status != 200:
                return reply
            reply.payload = reply.encode()
            self._replies[key] = reply
        return self._replies[key]

    def forget(self) -> None:
        self._replies.clear()


class Server:
    """The account, and what the one who measures may ask of it."""

    def __init__(self, box: Sandbox, account: Account, meetings: int, limited: bool) -> None:
        self.box, self.account = box, account
        hold = meetings >= FROM_HERE_ON_SERVED_AS_THEY_ARE_ASKED_FOR
        (account.hold if hold else account.generate)(meetings)
        side = account.side
        options = {**ROWS, **(account.enforced if limited else LIFTED)}
        side.configure(**{name: value for name, value in options.items() if name in side.options})
        self._memory = Memory(side)
        if not limited:  # what a reply says of the limit would be kept as well
            side.answer = self._memory.answer
        self._chance = random.Random(meetings)

    def described(self) -> dict[str, Any]:
        account = self.account
        return {
            "title": account.title,
            "config": account.config(),
            "base_url": account.side.base_url,
            "stream": account.streams[0],
            "limit": account.limit,
        }

    def latency(self, seconds: float) -> None:
        """Hold each reply back from now on."""
        self.box.forget_faults()
        if seconds:
            self.box.fault("", 1, sys.maxsize - 1, kind="stall", seconds=seconds)

    def forget(self) -> None:
        """Forget the requests so far."""
        self.box.forget_requests()

    def counts(self) -> dict[str, int]:
        return {"requests": len(self.box.requests), "points": self.box.points}

    def gets(self) -> list[dict[str, Any]]:
        """What was asked since `forget` and answered well, and whether it has the main rows."""
        return list(self._gets())

    def _gets(self) -> Iterator[dict[str, Any]]:
        for request in self.box.requests:
            if (request.method, request.status) == ("GET", 200):
                yield {
                    "url": f"{self.box.url}{request.path}?{urlencode(request.params)}",
                    "authorization": request.headers.get("authorization", ""),
                    "rows": self._lists(request),
                }

    def _lists(self, request: RecordedRequest) -> bool:
        return request.path == self.account.list_path

    def edit(self, count: int) -> None:
        """Edit so many meetings an hour later, and let another hour pass."""
        self.box.clock.advance(hours=1)
        keys = self._chance.sample(self.account.keys(), count)
        for number, key in enumerate(keys):
            self.account.edit(key, **{self.account.columns.edited: f"{EDITED} {number}"})
        self.box.clock.advance(hours=1)
        self._memory.forget()


def last_midnight() -> str:
    """Where the sandbox's clock stands. Peers that go by the machine's clock are at most a day off;
    a clock that moved would make each run ask for something else."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT00:00:00Z")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.serve")
    parser.add_argument("provider", choices=ACCOUNTS)
    parser.add_argument("meetings", type=int)
    parser.add_argument("--limited", action="store_true", help="with the provider's rate limit")
    arguments = parser.parse_args()
    with Sandbox(clock=last_midnight()) as box:
        account = ACCOUNTS[arguments.provider](box)
        server = Server(box, account, arguments.meetings, arguments.limited)
        print(json.dumps(server.described()), flush=True)
        for line in sys.stdin:
            name, options = json.loads(line)
            print(json.dumps(getattr(server, name)(**options)), flush=True)


if __name__ == "__main__":
    main()
