"""Airflow: the connector's container as a task, every hour.

Needs apache-airflow 3 and its Docker provider. To set it up:

1. Build the image (`make image`) on the machine with Airflow's Docker engine.
2. Choose a folder that the worker sees at the same path, and set MEETINGS_FOLDER to it.
3. Put `secrets/config.json`, `secrets/catalog.json` and an empty folder `data` there. User 1000 and
   the worker must be able to write them (or give DockerOperator the worker's `user`).

`data` then has `state.json`, from which the next run continues, and one file per stream and run,
`salesloft_meetings.<when>.jsonl`. Load these files into the warehouse. For each primary key, the
row with the greatest cursor is the current one, as in Airbyte's "append + deduped". Files of a
stream without a cursor have all rows.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task
from docker.types import Mount

IMAGE = os.environ.get("MEETINGS_IMAGE", "source-meetings:0.1.0")
FOLDER = os.environ.get("MEETINGS_FOLDER", "/srv/meetings")

log = logging.getLogger(__name__)


def _name(state: dict[str, Any]) -> str:
    return str(state["stream"]["stream_descriptor"]["name"])


# Two runs at once would renew the same refresh token and write the same state: max_active_runs.
with DAG(
    dag_id="meetings",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
) as dag:
    read = DockerOperator(
        task_id="read",
        image=IMAGE,
        entrypoint=["sh", "-c"],
        command=[
            "test -f /data/state.json || echo '[]' > /data/state.json; "
            "exec $AIRBYTE_ENTRYPOINT read --config /secrets/config.json"
            " --catalog /secrets/catalog.json --state /data/state.json > /data/messages.jsonl"
        ],
        mounts=[
            Mount(target="/secrets", source=f"{FOLDER}/secrets", type="bind"),
            Mount(target="/data", source=f"{FOLDER}/data", type="bind"),
        ],
        mount_tmp_dir=False,
        mem_limit="512m",
        auto_remove="force",
        execution_timeout=timedelta(hours=6),
    )

    # Also after a failed read: what it printed is true, and its states say where to resume, so a
    # long first sync does not start over.
    @task(trigger_rule="all_done")
    def keep(folder: str) -> dict[str, int]:
        """Put the rows into files by stream, then the states into `state.json`; count the rows.

        The rows come first, because a state promises that all rows before it are kept. The log of
        this task has the connector's messages, including errors.
        """
        data = Path(folder)
        now = datetime.now(timezone.utc)
        states = {_name(state): state for state in json.loads((data / "state.json").read_text())}
        counts: Counter[str] = Counter()
        with ExitStack() as stack, (data / "messages.jsonl").open() as messages:
            files: dict[str, IO[str]] = {}
            for line in messages:
                if not line.endswith("\n"):
                    break  # killed in the middle of a line
                message = json.loads(line)
                if message["type"] == "STATE":
                    states[_name(message["state"])] = message["state"]
                elif message["type"] == "RECORD":
                    stream = message["record"]["stream"]
                    if stream not in files:
                        path = data / f"{stream}.{now:%Y%m%dT%H%M%S%f}.jsonl"
                        files[stream] = stack.enter_context(path.open("w"))
                    files[stream].write(json.dumps(message["record"]["data"]) + "\n")
                    counts[stream] += 1
                elif message["type"] == "LOG":
                    log.info(message["log"]["message"])
                elif message["type"] == "TRACE" and message["trace"]["type"] == "ERROR":
                    log.error(message["trace"]["error"]["message"])
        new = data / "state.json.new"
        new.write_text(json.dumps(list(states.values())))
        new.replace(data / "state.json")
        (data / "messages.jsonl").unlink()
        return dict(counts)

    # The last task decides the color of a run: red if reading failed, even though rows were kept.
    done = EmptyOperator(task_id="done")

    kept = keep(f"{FOLDER}/data")
    read >> kept
    [read, kept] >> done
