"""Uses PyAirbyte as the example does. For test_clients.py, run by the interpreter of .venv-clients.

Arguments: the configuration, the database and the connector. For each line of standard input, reads
the account once and prints one line of JSON: table -> its columns, their types and its rows.
"""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # the output of PyAirbyte is not an answer

import duckdb  # noqa: E402
from pyairbyte_duckdb import main  # noqa: E402


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)


config, database, connector = sys.argv[1:]
for _ in sys.stdin:
    main([config, database, f"--connector={connector}"])
    tables = {}
    with duckdb.connect(database) as connection:
        for (table,) in connection.execute("SHOW TABLES").fetchall():
            if table.startswith("_airbyte"):
                continue
            found = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in found.description or []]
            types = [str(column[1]) for column in found.description or []]
            rows = [dict(zip(names, row)) for row in found.fetchall()]
            tables[table] = {"types": dict(zip(names, types)), "rows": rows}
    print(json.dumps(tables, default=_plain), file=answers, flush=True)
