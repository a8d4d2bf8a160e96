"""Runs dlt's rest_api source: `… dlt_rest_api.py FILE`, a JSON file with its configuration.

Prints each row of the resource "meetings" as the plain loop does. Normalizing and loading the rows,
which dlt does next, is left out.
"""

import json
import sys
import time
from pathlib import Path

import orjson
from dlt.sources.rest_api import rest_api_source

if __name__ == "__main__":
    task = json.loads(Path(sys.argv[1]).read_text())
    out = sys.stdout.buffer
    for row in rest_api_source(task["rest_api"]):
        record = {"stream": task["stream"], "data": row, "emitted_at": time.time_ns() // 1_000_000}
        out.write(orjson.dumps({"type": "RECORD", "record": record}) + b"\n")
