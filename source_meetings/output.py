"""Standard output: whole lines of the Airbyte protocol, from any thread.

Records, states, log lines and renewed tokens come from several threads. One lock protects each
line, so no line is broken, and a process that is asked to stop can wait until the current line is
complete. The CDK's own printing is not used: its buffer holds the last lines back until the next
one arrives, so a process that is stopped while it waits for a rate limit loses them.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from typing import Any

import orjson
from airbyte_cdk.logger import AirbyteLogFormatter
from airbyte_cdk.models import (
    AirbyteLogMessage,
    AirbyteMessage,
    AirbyteMessageSerializer,
    FailureType,
    Level,
    Type,
)
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

_LOCK = threading.RLock()
_LEAVING = threading.Event()
_PIECE_BYTES = 1 << 16
# JSON allows these within a line; many readers split at them.
_LINE_ENDS = [(end.encode(), f"\\u{ord(end):04x}".encode()) for end in "\u0085\u2028\u2029"]
_PATIENCE_SECONDS = 3.0  # for a reader that does not take the current line


def write_line(line: str) -> None:
    """Write one line. Unless it is a record, it has been sent to the reader on return."""
    text = with_escaped_line_ends(f"{line}\n".encode())
    _write(text, flush=not line.startswith('{"type":"RECORD"'))


def write_lines(lines: bytes) -> None:
    """Write many whole lines in UTF-8. They have been sent to the reader on return.

    Writes in chunks, so that a process that is asked to stop does not have to wait for all lines.
    """
    begin = 0
    while begin < len(lines):
        end = lines.rfind(b"\n", begin, begin + _PIECE_BYTES) + 1
        end = end or lines.find(b"\n", begin) + 1  # one line that is longer
        _write(lines[begin:end], flush=True)
        begin = end


def with_escaped_line_ends(lines: bytes) -> bytes:
    """Return JSON in UTF-8 with U+0085, U+2028 and U+2029 escaped."""
    for end, escaped in _LINE_ENDS:
        if end[0] in lines:  # one byte is found much faster than three
            lines = lines.replace(end, escaped)
    return lines


def _write(text: bytes, flush: bool) -> None:
    while _LEAVING.is_set():
        time.sleep(_PATIENCE_SECONDS)  # the last line was written
    with _LOCK:
        try:
            out = getattr(sys.stdout, "buffer", None)
            if out is None:  # a text stream of a test
                sys.stdout.write(text.decode())
                return
            # Without a buffer (PYTHONUNBUFFERED), a signal may interrupt a write.
            left = memoryview(text)
            while left:
                left = left[out.write(left) or 0 :]
            if flush:
                out.flush()
        except BrokenPipeError:
            os._exit(128 + signal.SIGPIPE)  # the reader is gone


@contextmanager
def leaving_at_once_when_stopped() -> Iterator[None]:
    """On SIGTERM or SIGINT, end the process as soon as the current line is complete.

    Airbyte and ``docker stop`` send SIGTERM. As process 1 of a container, Python would ignore it.
    Everything printed by then is complete, and the last state in it is correct.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _: Any) -> None:
    # The main thread runs this, and may itself be in the middle of a line. sys.exit is not an
    # option: it waits for the workers, which may be waiting for a rate limit.
    _LEAVING.set()

    def when_the_line_is_whole() -> None:
        _LOCK.acquire()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        # Clients stop a connector when it has sent everything, and treat any exit but the signal's
        # own as a failure (PyAirbyte). A signal cannot kill process 1 of a container, so it exits
        # instead.
        os.kill(os.getpid(), number)
        os._exit(128 + number)

    signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=when_the_line_is_whole, daemon=True).start()
    out_of_patience = threading.Timer(_PATIENCE_SECONDS, os._exit, [128 + number])
    out_of_patience.daemon = True
    out_of_patience.start()


def send_logs_to_standard_output() -> None:
    """Make the CDK's log handlers write whole lines, each of them a LOG message in UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale is
    for name in (None, "airbyte"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and isinstance(
                handler.formatter, AirbyteLogFormatter
            ):
                handler.setFormatter(_LogFormatter())
                handler.setStream(_LogLines())


class _LogLines:
    def write(self, text: str) -> None:
        for line in filter(None, text.split("\n")):  # not splitlines: see _LINE_ENDS
            write_line(line)

    def flush(self) -> None:
        """Do nothing: no output is held back."""


def _without_needless_trace(record: logging.LogRecord) -> logging.LogRecord:
    """Drop the stack trace from the CDK's log of an error that the user can fix."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, AirbyteTracedException) and (
        error.failure_type == FailureType.config_error
    ):
        record = copy(record)
        record.exc_info = record.exc_text = None
    return record


class _LogFormatter(AirbyteLogFormatter):
    """Like the CDK's, without needless stack traces, and with a message per line under ``--debug``.

    With ``--debug``, the CDK prints ``{"type": "DEBUG", …}``, which the protocol does not have.
    """

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno > logging.DEBUG:
            return super().format(_without_needless_trace(record))
        log = AirbyteLogMessage(level=Level.DEBUG, message=filter_secrets(record.getMessage()))
        message = AirbyteMessageSerializer.dump(AirbyteMessage(type=Type.LOG, log=log))
        return orjson.dumps(message).decode()
