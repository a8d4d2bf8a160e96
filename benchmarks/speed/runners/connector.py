"""This connector, which says when its imports are done: `… connector.py [--unpaced] read …`.

`--unpaced` leaves the budgets of the manifests out, so that the program is measured and not the
provider's rate limit.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from source_meetings.run import run
from source_meetings.source import SourceMeetings


def leave_the_budgets_out() -> None:
    from source_meetings import source

    manifest_of = source.manifest_of

    def without_budget(provider: str) -> dict[str, Any]:
        manifest = manifest_of(provider)
        manifest.pop("api_budget", None)
        return manifest

    source.manifest_of = without_budget


if __name__ == "__main__":
    from benchmarks.speed.marks import IMPORTED

    print(IMPORTED, time.monotonic(), file=sys.stderr, flush=True)
    arguments = sys.argv[1:]
    if arguments[0] == "--unpaced":
        leave_the_budgets_out()
        del arguments[0]
    assert SourceMeetings
    run(arguments)
