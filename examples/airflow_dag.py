"""Airflow: the connector's container as a task, every hour.

Build the image (`make image`) where Airflow's Docker engine is, and put into MEETINGS_FOLDER, which
the worker sees at the same path, `secrets/config.json`, `secrets/catalog.json` and an empty folder
`data`, all writable for user 1000 and for the worker (or give DockerOperator the worker's `user`).
Needs apache-airflow 3 and its Docker provider.

`data` then holds `state.json`, from which the next run goes on, and one file a stream and run,
`salesloft_meetings.<when>.jsonl`, to be loaded into the warehouse: per primary key the row with the
greatest cursor counts, as in Airbyte's "append + deduped"; files of a stream without cursor are
whole.
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

    # Also after a read that failed: what was printed by then is true, and its states say from
    # where to go on, so that a long first sync is not begun again.
    @task(trigger_rule="all_done")
    def keep(folder: str) -> dict[str, int]:
        """Put the rows into files by stream, then the states into `state.json`; count the rows.

        The rows first: a state promises that all rows before it are kept. What the connector
        says, errors included, becomes the log of this task.
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

    # The last task is what a run's colour goes by: red if reading failed, though rows were kept.
    done = EmptyOperator(task_id="done")

    kept = keep(f"{FOLDER}/data")
    read >> kept
    [read, kept] >> done
