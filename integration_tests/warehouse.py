"""For test_dbt.py, run by the interpreter of .venv-clients: into a warehouse and out of it.

    warehouse.py pyairbyte DATABASE CONNECTOR CONFIG...   for every line on standard input, read each
                                                          account into DuckDB with PyAirbyte
    warehouse.py postgres                                 load the messages on standard input
    warehouse.py sql duckdb|postgres                      run the statements on standard input

PostgreSQL is found by the PG... variables, and DuckDB by MEETINGS_DUCKDB. Answers are lines of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what PyAirbyte prints is not an answer

Json = dict[str, Any]
SCHEMA = "raw"


def answer(value: Any) -> None:
    print(json.dumps(value, default=str), file=answers, flush=True)


def pyairbyte(database: str, connector: str, *configs: str) -> None:
    os.environ.update(AIRBYTE_OFFLINE_MODE="1", DO_NOT_TRACK="1")
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import airbyte as ab

    from demo.zones import keep_time_zones

    keep_time_zones()
    sources = []
    for config in configs:
        source = ab.get_source(
            "source-meetings", local_executable=Path(connector), install_if_missing=False
        )
        source.set_config(json.loads(Path(config).read_text()), validate=False)
        source.select_all_streams()
        sources.append(source)
    for _ in sys.stdin:
        cache = ab.DuckDBCache(db_path=database, schema_name=SCHEMA)
        answer([source.read(cache=cache).processed_records for source in sources])
        cache.close()


def column_type(schema: Json) -> str:
    """The types that Airbyte's destination for PostgreSQL makes."""
    if schema.get("format") == "date-time":
        return "timestamp with time zone"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    kinds = [kind for kind in kinds if kind != "null"]
    if len(kinds) > 1:
        return "jsonb"
    names = {"string": "varchar", "integer": "bigint", "number": "numeric", "boolean": "boolean"}
    return names.get(kinds[0], "jsonb")


def postgres(lines: Iterable[str]) -> None:
    """The tables are like those of Airbyte's destination: names as the provider writes them, points
    in time, jsonb. A stream without incremental mode is overwritten, the others are upserted."""
    import psycopg
    from psycopg.types.json import Jsonb

    lines = iter(lines)
    catalog = json.loads(next(lines))
    records: dict[str, list[Json]] = {}
    for line in lines:
        message = json.loads(line)
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


def sql(kind: str) -> None:
    """For every line: a statement as JSON text; its rows are the answer."""
    if kind == "duckdb":
        import duckdb

        connection: Any = duckdb.connect(os.environ["MEETINGS_DUCKDB"])
    else:
        import psycopg

        connection = psycopg.connect(autocommit=True)
    for line in sys.stdin:
        done = connection.execute(json.loads(line))
        names = [column[0] for column in done.description or []]
        answer([dict(zip(names, row)) for row in done.fetchall()] if names else [])
    connection.close()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "pyairbyte":
        pyairbyte(*arguments)
    elif command == "postgres":
        postgres(sys.stdin)
    else:
        sql(*arguments)
