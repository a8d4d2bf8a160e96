"""Does the least that a program can: makes the same GETs, one after another, and prints the rows.

`python -m benchmarks.speed.runners.loop FILE`: a JSON file with the stream's name and the GETs.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import orjson
import requests


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    stream, out = task["stream"], sys.stdout.buffer
    session = requests.Session()
    for get in task["gets"]:
        headers = {"Authorization": get["authorization"]}
        answer = orjson.loads(session.get(get["url"], headers=headers).content)
        if not get["rows"]:
            continue
        for row in next((value for value in answer.values() if isinstance(value, list)), ()):
            emitted_at = time.time_ns() // 1_000_000
            record = {"stream": stream, "data": row, "emitted_at": emitted_at}
            out.write(orjson.dumps({"type": "RECORD", "record": record}) + b"\n")


if __name__ == "__main__":
    main()
