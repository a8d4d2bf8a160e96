"""Short forms of the benchmarks that take hours."""

from __future__ import annotations

import pytest

from benchmarks.memory import MOST_STATE_KB, grown, measure
from benchmarks.soak import soak
from sandbox.accounts import ACCOUNTS


def test_after_a_day_of_faults_kills_and_writes_the_tables_are_correct(monkeypatch):
    # When one simulated day is run; `soak` raises at the first missing, stale or extra row
    monkeypatch.setenv("SOURCE_MEETINGS_PATIENCE", "0.02")
    connections = soak(days=1, minutes=None, seed=11, size=60)
    # Then every provider had a whole day, with writes, faults and kills
    assert {connection.name for connection in connections} == set(ACCOUNTS)
    assert all(connection.count["days"] == 1 for connection in connections)
    happened = sum(
        (connection.count for connection in connections), start=type(connections[0].count)()
    )
    assert all(happened[what] for what in ("writes", "writes in mid-sync", "faults", "killed"))


@pytest.mark.parametrize("provider", sorted(ACCOUNTS))
def test_ten_times_the_meetings_need_only_memory_for_queues_and_pages(provider):
    # Given first syncs of 2,000 and of 20,000 meetings, with records of about 20 MB
    measured = [measure(provider, meetings) for meetings in (2_000, 20_000)]
    # Then all were read, and the memory does not grow with the number of meetings
    assert all(one.records >= one.meetings for one in measured)
    assert grown(measured) < 40
    # And neither does the size of the states
    for one in measured:
        assert one.largest_state < MOST_STATE_KB * 1000
        assert one.states < one.states_allowed
