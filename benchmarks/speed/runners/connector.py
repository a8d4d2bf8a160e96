"""Runs this connector without the budgets of its manifests: `… connector read …`.

A budget keeps it within the provider's rate limit, which is not what the benchmark measures. The
runner also reports when the imports are done.
"""

from __future__ import annotations

import gc

gc.disable()  # source_meetings.__main__ does the same before its imports

import sys  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.speed.marks import IMPORTED  # noqa: E402
from source_meetings import run, source  # noqa: E402
from source_meetings.__main__ import main  # noqa: E402

_manifest_of = source.manifest_of
_run = run.run


def manifest_without_budget(provider: str) -> dict[str, Any]:
    manifest = _manifest_of(provider)
    manifest.pop("api_budget", None)
    return manifest


def say_so_and_run() -> None:
    print(IMPORTED, time.monotonic(), file=sys.stderr, flush=True)
    _run()


if __name__ == "__main__":
    source.manifest_of = manifest_without_budget
    run.run = say_so_and_run
    main()
