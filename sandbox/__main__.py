"""`python -m sandbox [--port 8080] [--clock real]`: the sandbox until SIGTERM or Ctrl-C.

Prints one line of JSON, the URLs, when it is ready. Data and faults: see `/_sandbox/...`.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading

from sandbox.server import Sandbox


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--clock", default="real", help='"real", or where a fixed clock starts')
    arguments = parser.parse_args()

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with Sandbox(arguments.clock, arguments.host, arguments.port) as box:
        print(json.dumps(box.state()), flush=True)
        while not done.wait(timeout=3600):  # a wait without end would not see signals on Windows
            pass


if __name__ == "__main__":
    main()
