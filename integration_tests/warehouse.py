"""Fills a warehouse, runs dbt and reads the result. For test_dbt.py, run by .venv-clients' Python.

Each line of standard input is a list in JSON: a function below and its arguments. Each line of
standard output is {"answer": ...} or {"failed": why}. The variable MEETINGS_DUCKDB has the path of
DuckDB. PostgreSQL is found by the variables of its own programs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SCHEMA = "raw"

_sources: list[Any] = []


def pyairbyte(kind: str, connector: str, configs: list[Json]) -> None:
    """Read every stream of the accounts into the warehouse, with PyAirbyte."""
    sys.path.append(str(Path(__file__).parent.parent / "examples"))
    import airbyte as ab
    from airbyte import types
    from pyairbyte_duckdb import PointInTime

    types.CONVERSION_MAP["timestamp_with_timezone"] = PointInTime
    for config in configs if not _sources else []:
        source = ab.get_source(
            "source-meetings", local_executable=Path(connector), install_if_missing=False
        )
        source.set_config(config, validate=False)
        source.select_all_streams()
        _sources.append(source)
    cache: Any
    if kind == "duckdb":
        cache = ab.DuckDBCache(db_path=os.environ["MEETINGS_DUCKDB"], schema_name=SCHEMA)
    else:
        cache = ab.caches.PostgresCache(
            host=os.environ["PGHOST"],
            port=int(os.environ["PGPORT"]),
            username=os.environ["PGUSER"],
            password="not asked for",
            database=os.environ["PGDATABASE"],
            schema_name=SCHEMA,
        )
    for source in _sources:
        source.read(cache=cache, skip_validation=True)
    cache.close()


def dbt(arguments: list[str]) -> Json:
    """Run dbt. Return whether it succeeded, and its messages."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    messages: list[str] = []
    runner = dbtRunner(callbacks=[lambda event: messages.append(event.info.msg)])
    success = runner.invoke(arguments).success
    DuckDBConnectionManager.close_all_connections()  # otherwise no other process can open the file
    return {"success": success, "messages": "\n".join(messages)}


def parse(dialect: str, file: str) -> int:
    """Return the number of SQL statements in the file. Fails if it is not of that dialect."""
    import sqlglot

    return len(sqlglot.parse(Path(file).read_text(), dialect=dialect))


def column_type(schema: Json) -> str:
    """Return the PostgreSQL type for a field of a stream's schema."""
    if schema.get("format") == "date-time":
        return "timestamp with time zone"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    kinds = [kind for kind in kinds if kind != "null"]
    if len(kinds) > 1:
        return "jsonb"
    names = {"string": "varchar", "integer": "bigint", "number": "numeric", "boolean": "boolean"}
    return names.get(kinds[0], "jsonb")


def postgres(catalog: Json, messages: list[Json]) -> None:
    """Load the output of the connector, with the names and types of the schemas. A stream without
    incremental mode is overwritten; the others are upserted."""
    import psycopg
    from psycopg.types.json import Jsonb

    records: dict[str, list[Json]] = {}
    for message in messages:
        if message["type"] == "RECORD":
            records.setdefault(message["record"]["stream"], []).append(message["record"])
    with psycopg.connect() as connection:
        connection.execute(f"create schema if not exists {SCHEMA}")
        for configured in catalog["streams"]:
            stream = configured["stream"]
            key = [f'"{path[0]}"' for path in stream["source_defined_primary_key"]]
            types = {
                name: column_type(schema)
                for name, schema in stream["json_schema"]["properties"].items()
            }
            types |= {
                "_airbyte_raw_id": "varchar",
                "_airbyte_extracted_at": "timestamp with time zone",
                "_airbyte_meta": "jsonb",
                "_airbyte_generation_id": "bigint",
            }
            table = f'{SCHEMA}."{stream["name"]}"'
            columns = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
            connection.execute(
                f"create table if not exists {table} ({columns}, unique ({', '.join(key)}))"
            )
            if "incremental" not in stream["supported_sync_modes"]:
                connection.execute(f"truncate {table}")
            rows = []
            for record in records.get(stream["name"], []):
                row = {
                    **record["data"],
                    "_airbyte_raw_id": None,
                    "_airbyte_meta": {"changes": []},
                    "_airbyte_generation_id": 0,
                }
                cells = [
                    Jsonb(row[name]) if kind == "jsonb" and name in row else row.get(name)
                    for name, kind in types.items()
                    if name != "_airbyte_extracted_at"
                ]
                rows.append([*cells, record["emitted_at"] / 1000])
            names = [f'"{name}"' for name in types if name != "_airbyte_extracted_at"]
            names.append("_airbyte_extracted_at")
            places = ", ".join(["%s"] * (len(names) - 1) + ["to_timestamp(%s)"])
            updates = ", ".join(f"{name} = excluded.{name}" for name in names)
            cursor = (stream.get("default_cursor_field") or [None])[0]
            newest = (
                f'where {table}."{cursor}" is null or excluded."{cursor}" >= {table}."{cursor}"'
                if cursor
                else ""
            )
            with connection.cursor() as statements:
                statements.executemany(
                    f"insert into {table} ({', '.join(names)}) values ({places}) "
                    f"on conflict ({', '.join(key)}) do update set {updates} {newest}",
                    rows,
                )


def sql(kind: str, statements: list[str]) -> list[list[Json]]:
    """Return the rows of each statement."""
    if kind == "duckdb":
        import duckdb

        connection: Any = duckdb.connect(os.environ["MEETINGS_DUCKDB"])
    else:
        import psycopg

        connection = psycopg.connect(autocommit=True)
    rows = []
    for statement in statements:
        done = connection.execute(statement)
        names = [column[0] for column in done.description or []]
        rows.append([dict(zip(names, row)) for row in done.fetchall()] if names else [])
    connection.close()
    return rows


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of PyAirbyte and dbt is not an answer
    commands = {command.__name__: command for command in (pyairbyte, dbt, parse, postgres, sql)}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            outcome = {"answer": commands[name](*arguments)}
        except Exception as error:
            outcome = {"failed": repr(error)}
        print(json.dumps(outcome, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
