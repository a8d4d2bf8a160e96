"""The server: mounts the providers, records requests, runs hooks and faults, and can be controlled.

Each provider has its own path (`/salesloft/v2/meetings`). The control interface, JSON in and out,
works on the same objects as the tests:

    GET  /_sandbox/state                  the clock; each account's configuration and sizes
    GET  /_sandbox/requests               their number, by provider and path, and their points
    POST /_sandbox/requests/forget
    POST /_sandbox/clock/advance          {"days": 1}; clock/set: {"moment": "2026-06-01T00:00:00Z"}
    POST /_sandbox/fault                  {"path_regex": "meetings", "kind": "stall", "seconds": 2}
    GET  /_sandbox/{provider}/truth
    POST /_sandbox/{provider}/{action}    generate {"count": 1000}, insert {field: value, ...},
                                          edit {"id": 7, field: value, ...}, cancel {"id": 7},
                                          delete {"id": 7}, configure {option: value, ...}
    POST /_sandbox/{provider}/account/{action}
                                          generate {"count": 1000}, change_for_demo: see `Account`
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import format_datetime
from types import TracebackType
from typing import Any, final
from urllib.parse import parse_qsl

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from sandbox.accounts import ACCOUNTS
from sandbox.clock import Clock
from sandbox.faults import Fault, Hook, Rewrite
from sandbox.side import Call, Params, Reply, Side


@dataclass(frozen=True)
class RecordedRequest:
    """One request to a provider, and its result. `status` 0: the connection was dropped."""

    provider: str
    method: str
    path: str  # whole, as /salesloft/v2/meetings
    params: Params
    headers: dict[str, str]
    body: bytes
    status: int
    points: int

    def param(self, name: str) -> str | None:
        return next((value for key, value in self.params if key == name), None)


class _Server(uvicorn.Server):
    """A server that stops at once, and drops stalled replies. Hundreds of tests start one each.

    uvicorn checks every tenth of a second whether to stop, and then waits for another tenth.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)


@final
class Sandbox:
    """All providers on one port of the loopback interface.

    `clock` is "real" or the start of a fixed clock. A provider's side is an attribute with the
    provider's name: `box.salesloft`. `errors` are those of hooks that failed.
    """

    def __init__(self, clock: str = "real", host: str = "127.0.0.1", port: int = 0) -> None:
        self.clock = Clock(clock)
        self.lock = threading.RLock()
        self.requests: list[RecordedRequest] = []
        self.url = ""

        self.errors: list[Exception] = []
        self.sides: dict[str, Side] = {
            name: account.side_type(self.clock, self.lock) for name, account in ACCOUNTS.items()
        }
        self._accounts = {name: account(self) for name, account in ACCOUNTS.items()}

        self._address = (host, port)
        self._before: list[Hook] = []
        self._after: list[Hook] = []
        self._faults: list[Fault] = []
        self._rewrites: list[Rewrite] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __getattr__(self, name: str) -> Any:
        side = self.__dict__.get("sides", {}).get(name)
        if side is None:
            raise AttributeError(f"the sandbox has no provider or attribute {name!r}")
        return side

    # ------------------------------------------------------------------ running

    def start(self) -> Sandbox:
        listener = socket.create_server(self._address)
        # asyncio leaves Nagle's algorithm on for such a socket: 40 ms for every small reply.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        for side in self.sides.values():
            side.root = f"{self.url}/{side.name}"
        self._server = _Server(
            uvicorn.Config(
                Starlette(routes=[*self._control_routes(), Mount("/", self._exchange)]),
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,  # ours carries the sandbox clock
                timeout_keep_alive=120,
            )
        )
        arguments = {"sockets": [listener]}
        self._thread = threading.Thread(
            target=self._server.run, kwargs=arguments, name="sandbox", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.001)
        return self

    def stop(self) -> None:
        if self._server is not None and self._thread is not None and self._thread.is_alive():
            self._server.end()
            self._thread.join(timeout=10)

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self.errors:
            raise self.errors[0]  # a hook that failed in the server fails the test

    # ------------------------------------------------------------------ what tests use

    @property
    def points(self) -> int:
        """Cost units spent (Salesloft)."""
        return sum(request.points for request in self.requests)

    def forget_requests(self) -> None:
        self.requests.clear()

    def before(self, path_regex: str, nth: int, callback: Callable[[], object]) -> None:
        """Run `callback` in the server just before the nth matching request is answered.

        Requests count from now, starting at 1. The callback may edit data, but must not send
        requests to the sandbox.
        """
        self._before.append(Hook(path_regex, nth, callback))

    def after(self, path_regex: str, nth: int, callback: Callable[[], object]) -> None:
        """Like `before`, but just after the reply to the nth matching request is made."""
        self._after.append(Hook(path_regex, nth, callback))

    def fault(
        self, path_regex: str, nth: int = 1, times: int = 1, *, kind: str, **options: Any
    ) -> None:
        """Spoil the nth matching request and the `times - 1` after it. Kinds: see `Fault`."""
        self._faults.append(Fault(path_regex, nth, times, kind, options))

    def rewrite(self, path_regex: str, change: Callable[[Call, Reply], object]) -> None:
        """Let `change` alter the reply to every matching request."""
        self._rewrites.append(Rewrite(path_regex, change))

    def forget_faults(self) -> None:
        """From now on, answer as the providers do, without faults and rewritten replies."""
        self._faults.clear()
        self._rewrites.clear()

    def forget_hooks(self) -> None:
        """Stop running hooks before and after requests."""
        self._before.clear()
        self._after.clear()

    # ------------------------------------------------------------------ providers

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        _, name, *_ = path.split("/", 2)
        call = Call(
            provider=name,
            method=scope["method"],
            path=path[len(name) + 1 :],
            params=parse_qsl(query, keep_blank_values=True),
            headers={key.decode("latin-1"): v.decode("latin-1") for key, v in scope["headers"]},
            body=body,
            query=query,
        )
        side = self.sides.get(name)
        if side is None:
            await self._send(send, Reply({"error": f"no provider {name!r} in this sandbox"}, 404))
            return
        with self.lock:
            try:
                fault, reply = self._answer(side, call, path, query)
            except Exception as error:
                self.errors.append(error)
                raise
        if fault is None:
            await self._send(send, reply)
        elif fault.kind == "drop":
            await self._hang_up(scope, receive, abort=True)
        elif fault.kind == "cut":
            await self._send(send, reply, cut=True)
            await self._hang_up(scope, receive)
        else:
            if fault.kind == "stall":
                await asyncio.sleep(fault.options["seconds"])
            await self._send(send, reply)

    def _answer(self, side: Side, call: Call, path: str, query: str) -> tuple[Fault | None, Reply]:
        _run_hooks(self._before, path, query)
        fired = [fault for fault in self._faults if fault.fires(path, query)]
        fault = fired[0] if fired else None
        reply = fault.reply(side, call) if fault else side.answer(call)
        for rewrite in self._rewrites:
            if rewrite.fires(path, query):
                rewrite.change(call, reply)
        self.requests.append(
            RecordedRequest(
                provider=side.name,
                method=call.method,
                path=path,
                params=call.params,
                headers=call.headers,
                body=call.body,
                status=reply.status,
                points=reply.points,
            )
        )
        _run_hooks(self._after, path, query)
        return fault, reply

    async def _send(self, send: Send, reply: Reply, cut: bool = False) -> None:
        body = reply.encode()
        headers = {
            "date": format_datetime(self.clock.now(), usegmt=True),
            "content-type": reply.content_type,
            "content-length": str(len(body)),
            **reply.headers,
        }
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
            }
        )
        part = body[: len(body) // 2] if cut else body
        await send({"type": "http.response.body", "body": part, "more_body": cut})

    async def _hang_up(self, scope: Scope, receive: Receive, abort: bool = False) -> None:
        """Close this request's connection. What was sent before still goes out."""
        assert self._server is not None
        for connection in self._server.server_state.connections:
            if getattr(connection, "client", None) == scope["client"]:
                transport: asyncio.Transport = connection.transport
                transport.abort() if abort else transport.close()
                break
        while (await receive())["type"] != "http.disconnect":
            pass  # returning earlier would make the server answer with a 500

    # ------------------------------------------------------------------ control

    def _control_routes(self) -> list[Route]:
        def route(method: str, path: str, action: Callable[..., Any]) -> Route:
            async def endpoint(request: Request) -> Response:
                try:
                    arguments = orjson.loads(await request.body() or b"{}")
                    with self.lock:
                        result = action(**request.path_params, **arguments)
                except (LookupError, AttributeError) as error:
                    return _json({"error": str(error)}, 404)
                except (TypeError, ValueError) as error:
                    return _json({"error": str(error)}, 400)
                return _json(result)

            return Route(f"/_sandbox/{path}", endpoint, methods=[method])

        return [
            route("GET", "state", self.state),
            route("GET", "requests", self._request_counts),
            route("POST", "requests/forget", self.forget_requests),
            route("POST", "clock/advance", self.clock.advance),
            route("POST", "clock/set", self.clock.set),
            route("POST", "fault", self.fault),
            route("GET", "{provider}/truth", lambda provider: self.sides[provider].truth()),
            route("POST", "{provider}/account/{action}", self.act_on_account),
            route("POST", "{provider}/{action}", self._act),
        ]

    def state(self) -> dict[str, Any]:
        """The sandbox's URL and time, and `Account.described` of each provider."""
        accounts = self._accounts.items()
        return {
            "url": self.url,
            "now": self.clock.now().isoformat(),
            "providers": {name: account.described() for name, account in accounts},
        }

    def _request_counts(self) -> dict[str, Any]:
        counts = Counter((request.provider, request.path) for request in self.requests)
        by_provider: dict[str, dict[str, int]] = {}
        for (provider, path), count in counts.items():
            by_provider.setdefault(provider, {})[path] = count
        return {"count": len(self.requests), "points": self.points, "by_provider": by_provider}

    def _act(self, provider: str, action: str, **arguments: Any) -> Any:
        side = self.sides[provider]
        if action not in (*side.actions, "configure"):
            raise LookupError(f"{provider} has no action {action!r}")
        return getattr(side, action)(**arguments)

    def act_on_account(self, provider: str, action: str, **arguments: Any) -> Any:
        """Have an account do one of its `actions`. LookupError if it has no such action."""
        account = self._accounts[provider]
        if action not in account.actions:
            raise LookupError(f"the account of {provider} has no action {action!r}")
        return getattr(account, action)(**arguments)


def _run_hooks(hooks: list[Hook], path: str, query: str) -> None:
    for hook in hooks:
        if hook.fires(path, query):
            hook.callback()


def _json(result: Any, status: int = 200) -> Response:
    body = orjson.dumps(result, default=str, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status, media_type="application/json")
