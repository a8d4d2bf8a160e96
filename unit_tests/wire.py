"""A proxy between the connector and the sandbox that breaks answers in ways a server cannot."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from sandbox import Sandbox

Answer = Callable[[socket.socket, bytes], None]
"""Spoils one answer: is given the connection, and the sandbox's whole answer with its head."""


class Wire:
    """Forwards requests to the sandbox, one per connection. A fault spoils the nth match."""

    def __init__(self, box: Sandbox) -> None:
        self._target = box.url
        self.connections = 0
        self._faults: list[tuple[re.Pattern[str], int, Answer]] = []
        self._seen: dict[int, int] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._serve()

    def fault(self, path_regex: str, nth: int, answer: Answer) -> None:
        self._faults.append((re.compile(path_regex), nth, answer))

    def restart_after(self, seconds: float) -> None:
        """Refuse connections for a while, like a server that restarts."""
        self._close()

        def start() -> None:
            self._listener = socket.create_server(("127.0.0.1", self._port))
            self._serve()

        threading.Timer(seconds, start).start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                if not (part := connection.recv(65536)):
                    return
                request += part
            answer = self._from_sandbox(request)
            spoil = self._fault_for(request.split(b" ", 2)[1].decode())
            if spoil is None:
                connection.sendall(answer)
            else:
                spoil(connection, answer)

    def _from_sandbox(self, request: bytes) -> bytes:
        host, port = self._target.removeprefix("http://").split(":")
        request = re.sub(rb"(?i)\r\nConnection: [^\r]*", b"", request, count=1)
        request = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        answer = b""
        with socket.create_connection((host, int(port))) as server:
            server.sendall(request)
            while part := server.recv(65536):
                answer += part
        return answer

    def _fault_for(self, path: str) -> Answer | None:
        with self._lock:
            self.connections += 1
            found = None
            for number, (pattern, nth, answer) in enumerate(self._faults):
                if pattern.search(path):
                    self._seen[number] = self._seen.get(number, 0) + 1
                    if self._seen[number] == nth:
                        found = answer
            return found


def parts(answer: bytes) -> tuple[bytes, bytes]:
    """Split an answer into its head, without the empty line, and its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def replaced(answer: bytes, body: bytes, *headers: bytes) -> bytes:
    """Return the answer with another body and without its Content-Length."""
    head, _ = parts(answer)
    head = re.sub(rb"(?i)\r\ncontent-length: \d+", b"", head)
    return b"\r\n".join([head, *headers]) + b"\r\n\r\n" + body


def dripping(seconds_between: float, bytes_at_once: int = 1) -> Answer:
    """Send the whole answer, a few bytes at a time."""

    def drip(connection: socket.socket, answer: bytes) -> None:
        head, body = parts(answer)
        connection.sendall(head + b"\r\n\r\n")
        for at in range(0, len(body), bytes_at_once):
            connection.sendall(body[at : at + bytes_at_once])
            time.sleep(seconds_between)

    return drip
