"""Loads the example as Airflow does. For test_image.py, run by the interpreter of .venv-airflow.

Prints the DAG as a line of JSON. Then, for each line of standard input, which is the folder of the
data, runs the task `keep` outside of Airflow and prints its result.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[1] / "examples" / "airflow_dag.py"


def main() -> None:
    answers = sys.stdout
    with redirect_stdout(sys.stderr):  # Airflow logs to standard output
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(EXAMPLE)
        assert bag.import_errors == {}, bag.import_errors
        (dag,) = bag.dags.values()
        answers.write(f"{json.dumps(structure(dag))}\n")
        answers.flush()
        for folder in sys.stdin:
            counts = dag.get_task("keep").python_callable(folder.strip())
            answers.write(f"{json.dumps(counts)}\n")
            answers.flush()


def structure(dag: Any) -> dict[str, Any]:
    read = dag.get_task("read")
    return {
        "max_active_runs": dag.max_active_runs,
        "tasks": {
            name: {"trigger_rule": task.trigger_rule, "upstream": sorted(task.upstream_task_ids)}
            for name, task in dag.task_dict.items()
        },
        "read": {
            "type": type(read).__name__,
            "image": read.image,
            "entrypoint": read.entrypoint,
            "command": read.command,
            "memory": read.mem_limit,
            "mounts": {mount["Target"]: mount["Source"] for mount in read.mounts},
        },
    }


if __name__ == "__main__":
    main()
