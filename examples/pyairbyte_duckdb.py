"""Read every stream of an account into a DuckDB file with PyAirbyte.

    make clients install
    .venv-clients/bin/python examples/pyairbyte_duckdb.py secrets/config.json meetings.duckdb \
        --connector .venv/bin/source-meetings

Without --connector it runs the `source-meetings` beside the interpreter, or the one on the PATH.
Run it again to read what has changed since: PyAirbyte keeps each stream's state in the file.
For a second account in the same file, choose another --schema: the state is kept there as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# PyAirbyte reads these when it is imported: no registry of connectors, no telemetry.
os.environ.setdefault("AIRBYTE_OFFLINE_MODE", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

import airbyte as ab  # noqa: E402
from airbyte import types  # noqa: E402
from sqlalchemy.types import UserDefinedType  # noqa: E402


class PointInTime(UserDefinedType[object]):
    """A column that keeps what a time's offset says.

    PyAirbyte (0.71) would make a TIMESTAMP of it, which drops the offset of a local time, as
    HighLevel sends them: `2026-06-01T09:00:00-07:00` would become nine o'clock anywhere.
    """

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "TIMESTAMP WITH TIME ZONE"


types.CONVERSION_MAP["timestamp_with_timezone"] = PointInTime


def read(config: Path, database: Path, connector: Path, schema: str = "main") -> int:
    """Check the account, then read all its streams; returns how many records came.

    `config`: the connector's configuration, written back when OAuth tokens are renewed.
    `database`: the DuckDB file, made if it is not there. `connector`: its executable. `schema`: the
    schema of the tables and of the state, which two accounts must not share.
    """

    def keep(renewed: dict[str, Any]) -> None:
        # Every renewal ends the previous refresh token. PyAirbyte passes the new one here, but
        # would itself keep using the configuration that it was given.
        config.write_text(json.dumps(renewed, indent=2))
        source.set_config(renewed, validate=False)

    source = ab.get_source(
        "source-meetings",
        config=json.loads(config.read_text()),
        config_change_callback=keep,
        local_executable=connector,
        install_if_missing=False,
    )
    source.check()
    source.select_all_streams()
    cache = ab.DuckDBCache(db_path=database, schema_name=schema)
    try:
        return source.read(cache=cache).processed_records
    finally:
        cache.close()


def executable(given: Path | None) -> Path:
    """Return the connector to run: `given`, or the one beside this interpreter or on the PATH.

    Raises SystemExit with what to do if there is none.
    """
    if given is not None:
        if shutil.which(given.absolute()) is None:
            sys.exit(f"--connector: {given.absolute()} is not an executable file.")
        return given.absolute()
    folder = Path(sys.executable).parent
    found = shutil.which("source-meetings", path=folder) or shutil.which("source-meetings")
    if found is None:
        sys.exit(
            f"source-meetings is neither in {folder} nor on the PATH. Run `make install` in the "
            "connector's checkout, and pass --connector CHECKOUT/.venv/bin/source-meetings."
        )
    return Path(found).absolute()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("--connector", type=Path, help="the source-meetings to run")
    parser.add_argument("--schema", default="main", help="of the tables; one for each account")
    arguments = parser.parse_args(words)
    connector = executable(arguments.connector)
    count = read(arguments.config, arguments.database, connector, arguments.schema)
    print(f"{count} records read into {arguments.database}")


if __name__ == "__main__":
    main()
