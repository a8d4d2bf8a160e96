"""Load every stream of an account with dlt: the connector extracts, dlt loads and keeps the state.

    make clients install
    .venv-clients/bin/python examples/dlt_pipeline.py secrets/config.json \
        --connector .venv/bin/source-meetings

Without --connector it runs the `source-meetings` beside the interpreter, or the one on the PATH.
Run it again to load what has changed since. Tables are merged on the streams' primary keys. The
destination is a DuckDB file, but any of dlt's destinations works. For a second account in the same
file, choose another --dataset: dlt keeps a state for each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.extract import DltResource

Json = dict[str, Any]


def messages(connector: Path, command: str, **files: Path) -> Iterator[Json]:
    """Run a command of the connector and yield its messages; raises RuntimeError if it fails.

    `files` are its `--config`, `--catalog` and `--state`.
    """
    arguments = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    problem = ""
    with subprocess.Popen([connector, command, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if message["type"] == "TRACE" and message["trace"]["type"] == "ERROR":
                problem = problem or message["trace"]["error"]["message"]
            yield message
    if process.returncode:
        raise RuntimeError(problem or f"the connector ended with status {process.returncode}")


def write(folder: str, name: str, value: Any) -> Path:
    path = Path(folder) / name
    path.write_text(json.dumps(value))
    return path


def resource_of(stream: Json, config: Path, connector: Path) -> DltResource:
    """Return what dlt loads a stream with; `stream` is as `discover` describes it."""
    incremental = "incremental" in stream["supported_sync_modes"]
    configured = {
        "stream": stream,
        "sync_mode": "incremental" if incremental else "full_refresh",
        "destination_sync_mode": "append_dedup",
    }

    def read() -> Iterator[Json]:
        state = dlt.current.resource_state()
        with tempfile.TemporaryDirectory() as folder:
            catalog = write(folder, "catalog.json", {"streams": [configured]})
            last = write(folder, "state.json", state.get("last", []))
            # The configuration is given by its path, so that the connector can keep renewed tokens.
            for message in messages(connector, "read", config=config, catalog=catalog, state=last):
                if message["type"] == "RECORD":
                    yield message["record"]["data"]
                elif message["type"] == "STATE":
                    state["last"] = [message["state"]]

    columns = {
        name: column_of(schema) for name, schema in stream["json_schema"]["properties"].items()
    }
    for cursor in stream.get("default_cursor_field", []):
        columns[cursor]["dedup_sort"] = "desc"  # of several versions in one load, the latest
    return dlt.resource(
        read,
        name=stream["name"],
        primary_key=[key for (key,) in stream["source_defined_primary_key"]],
        write_disposition="merge" if incremental else "replace",
        columns=columns,
    )


def column_of(schema: Json) -> Json:
    """Return dlt's name for the type of a property; objects and lists stay JSON."""
    names = {"string": "text", "integer": "bigint", "number": "double", "boolean": "bool"}
    (kind,) = {schema["type"]} if isinstance(schema["type"], str) else {*schema["type"]} - {"null"}
    kind = names.get(kind, "json")
    return {"data_type": "timestamp" if schema.get("format") == "date-time" else kind}


@dlt.source(name="meetings")
def meetings(config: Path, connector: Path) -> Iterator[DltResource]:
    """Every stream of the account that the configuration is for."""
    for message in messages(connector, "discover", config=config):
        if message["type"] == "CATALOG":
            for stream in message["catalog"]["streams"]:
                yield resource_of(stream, config, connector)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--database", default="meetings_dlt.duckdb")
    parser.add_argument("--connector", type=Path, help="the source-meetings to run")
    parser.add_argument(
        "--dataset", default="meetings_raw", help="the schema of the tables; one for each account"
    )
    parser.add_argument("--stream", action="append", help="only this one, and others so named")
    arguments = parser.parse_args()
    connector = executable(arguments.connector)
    # One stream after the other, because dlt would start all at once. An OAuth refresh token can be
    # used once, so two processes must not share it.
    dlt.config["extract.next_item_mode"] = "fifo"
    pipeline = dlt.pipeline(
        arguments.dataset,  # the name of the pipeline, which tells states apart
        destination=dlt.destinations.duckdb(arguments.database),
        dataset_name=arguments.dataset,  # not the file's name, which DuckDB could not tell apart
    )
    source = meetings(arguments.config, connector)
    print(pipeline.run(source.with_resources(*arguments.stream) if arguments.stream else source))


if __name__ == "__main__":
    main()
