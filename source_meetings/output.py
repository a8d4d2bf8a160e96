"""Standard output: whole lines of the Airbyte protocol, whoever writes them.

Records, states, log lines and renewed tokens come from several threads. Each line is written under
one lock, so that none is torn, and so that a process that is asked to stop can wait until nobody is
in the middle of one. The CDK's own printing is not used, because its buffer holds the last lines
back until the next one, and a process that is stopped while it waits for a rate limit loses them.
"""

from __future__ import annotations

import io
import logging
import os
import re
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
_LINE_ENDS = re.compile("[\u0085\u2028\u2029]")  # to JSON they are none, to many a reader they are
_PATIENCE_SECONDS = 3.0  # for a reader that does not take the line that is being written


def write_line(line: str) -> None:
    """Write one line; everything but a record is on its way to the reader when this returns."""
    if not line.isascii():
        line = _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
    _write(f"{line}\n".encode(), flush=not line.startswith('{"type":"RECORD"'))


def write_lines(lines: bytes) -> None:
    """Write many whole lines, in UTF-8; they are on their way to the reader when this returns.

    In pieces, so that a process that is asked to stop does not have to wait for all of them.
    """
    begin = 0
    while begin < len(lines):
        end = lines.rfind(b"\n", begin, begin + _PIECE_BYTES) + 1
        end = end or lines.find(b"\n", begin) + 1  # one line that is longer
        _write(lines[begin:end], flush=True)
        begin = end


def _write(text: bytes, flush: bool) -> None:
    while _LEAVING.is_set():
        time.sleep(_PATIENCE_SECONDS)  # the last line was written
    with _LOCK:
        try:
            out = getattr(sys.stdout, "buffer", None)
            if out is None:  # a text stream of a test
                sys.stdout.write(text.decode())
                return
            # Without a buffer (PYTHONUNBUFFERED) a signal may cut a write short.
            left = memoryview(text)
            while left:
                left = left[out.write(left) or 0 :]
            if flush:
                out.flush()
        except BrokenPipeError:
            os._exit(128 + signal.SIGPIPE)  # nobody reads us any more


@contextmanager
def leaving_at_once_when_stopped() -> Iterator[None]:
    """End the process at SIGTERM or SIGINT as soon as the line that is being written is whole.

    SIGTERM is what Airbyte and ``docker stop`` send; as process 1 of a container Python would
    ignore it. What has been printed by then is whole, and the last state among it is true.
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
    # The main thread, which runs this, may itself be in the middle of a line. And no sys.exit: it
    # waits for the workers, which may be waiting for a rate limit.
    _LEAVING.set()

    def when_the_line_is_whole() -> None:
        _LOCK.acquire()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        # Clients stop a connector that has said all, and take any end but the signal's own for a
        # failure (PyAirbyte). Process 1 of a container cannot die of it, and leaves instead.
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
        sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale says
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
        """Nothing is held back."""


def _without_needless_trace(record: logging.LogRecord) -> logging.LogRecord:
    """Leave the stack trace out of what the CDK logs of an error that the user can fix."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, AirbyteTracedException) and (
        error.failure_type == FailureType.config_error
    ):
        record = copy(record)
        record.exc_info = record.exc_text = None
    return record


class _LogFormatter(AirbyteLogFormatter):
    """As the CDK's, without needless stack traces; with ``--debug`` too every line is a message.

    The CDK prints ``{"type": "DEBUG", …}`` then, which the protocol does not know.
    """

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno > logging.DEBUG:
            return super().format(_without_needless_trace(record))
        log = AirbyteLogMessage(level=Level.DEBUG, message=filter_secrets(record.getMessage()))
        message = AirbyteMessageSerializer.dump(AirbyteMessage(type=Type.LOG, log=log))
        return orjson.dumps(message).decode()
