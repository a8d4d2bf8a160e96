"""Scripted faults, rewritten replies and hooks: what happens at the nth request of a kind."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from sandbox.side import Call, Reply, Side

# kind -> the options it takes
KINDS: dict[str, frozenset[str]] = {
    "status": frozenset({"status", "headers", "body", "content_type"}),
    "drop": frozenset({"processed"}),
    "cut": frozenset(),
    "stall": frozenset({"seconds"}),
    "half_json": frozenset(),
    "html": frozenset({"status", "body"}),
    "body": frozenset({"body"}),
    "short_page": frozenset({"n"}),
    "redirect": frozenset({"location", "status"}),
}
HTML = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"


class Trigger:
    """Counts matching requests from its registration on. Fires for `times` of them from the nth."""

    def __init__(self, path_regex: str, nth: int, times: int = 1) -> None:
        self._pattern = re.compile(path_regex)
        self._fires = range(nth, nth + times)
        self._seen = 0

    def fires(self, path: str, query: str) -> bool:
        """Searches the whole path for the expression, then the path with its query."""
        if not (self._pattern.search(path) or self._pattern.search(f"{path}?{query}")):
            return False
        self._seen += 1
        return self._seen in self._fires


class Hook(Trigger):
    def __init__(self, path_regex: str, nth: int, callback: Callable[[], object]) -> None:
        super().__init__(path_regex, nth)
        self.callback = callback


class Rewrite(Trigger):
    """`change` alters the reply to every request that matches."""

    def __init__(self, path_regex: str, change: Callable[[Call, Reply], object]) -> None:
        super().__init__(path_regex, nth=1, times=sys.maxsize)
        self.change = change


class Fault(Trigger):
    """The server does `drop` and `cut` on the wire. The other kinds change the reply.

    status      status=, headers={}, body= (JSON value, str or bytes), content_type=
    drop        the socket is closed before a byte is sent; processed=True: but after the call
    cut         the full Content-Length is declared, but only half of the body is sent
    stall       seconds=: how long the reply is held back
    half_json   status 200 and half of the body, with the Content-Length of the half
    html        status=200, body=: a page from a proxy
    body        body=: any JSON value, status 200
    short_page  n=1: how many rows are missing at the page's end; the metadata still counts them
    redirect    location=, status=302
    """

    def __init__(
        self, path_regex: str, nth: int, times: int, kind: str, options: dict[str, Any]
    ) -> None:
        super().__init__(path_regex, nth, times)
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; choose one of {sorted(KINDS)}")
        if unknown := set(options) - KINDS[kind]:
            raise TypeError(f"the fault {kind!r} has no option {sorted(unknown)}")
        self.kind = kind
        self.options = options

    def reply(self, side: Side, call: Call) -> Reply:
        options = self.options
        if self.kind == "status":
            return Reply(
                _bytes_or_json(options.get("body", {"error": "scripted fault"})),
                options.get("status", 500),
                dict(options.get("headers", {})),
                options.get("content_type", "application/json; charset=utf-8"),
            )
        if self.kind == "html":
            body = _bytes_or_json(options.get("body", HTML))
            return Reply(body, options.get("status", 200), {}, "text/html; charset=utf-8")
        if self.kind == "body":
            return Reply(options.get("body"))
        if self.kind == "redirect":
            headers = {"location": options["location"]}
            return Reply(b"", options.get("status", 302), headers, "text/html")
        if self.kind == "drop" and not options.get("processed"):
            return Reply(b"", 0)

        reply = side.answer(call)
        if self.kind == "half_json":
            body = reply.encode()
            reply.payload, reply.status = body[: len(body) // 2], 200
        elif self.kind == "short_page":
            rows = side.page_rows(reply.payload)
            del rows[max(0, len(rows) - options.get("n", 1)) :]
        elif self.kind == "drop":
            reply.status = 0
        return reply


def _bytes_or_json(body: Any) -> Any:
    return body.encode() if isinstance(body, str) else body
