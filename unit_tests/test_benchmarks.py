"""The speed benchmark: its figures, its report, and its smallest scenario."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.speed import environments
from benchmarks.speed.environments import Environment, Missing
from benchmarks.speed.figures import (
    CONNECTOR,
    LOOP,
    START_UP,
    cpu_per_row,
    over_the_limit,
    seconds_allowed,
    targets,
    times_ours,
    times_the_loop,
)
from benchmarks.speed.process import run
from benchmarks.speed.programs import Connector, Loop
from benchmarks.speed.report import Facts, render, table
from benchmarks.speed.results import Case, Entry, Results, Sample, load
from benchmarks.speed.scenarios import Plan, first_syncs

FACTS = Facts({"close": "Close"}, {"close": 2.5}, {"close": (100, 10)}, {"other": "As it is."})


def sample(
    wall: float = 1.0, cpu: float = 1.0, records: int = 1, requests: int = 1, first: float = 0.1
) -> Sample:
    return Sample(
        wall=wall,
        cpu=cpu,
        peak=100_000_000,
        records=records,
        states=10,
        largest_state=10,
        edited=0,
        first_record=first,
        requests=requests,
        points=0,
    )


def entry(program: str, meetings: int, *samples: Sample, latency: int = 0) -> Entry:
    return Entry(Case("first", "close", program, meetings, latency), "2026-06-01", samples)


def results(*entries: Entry) -> Results:
    return Results("a machine", {}, entries)


FIRST = results(
    entry(CONNECTOR, START_UP, sample(2.0, 2.0, 20)),
    entry(LOOP, START_UP, sample(0.5, 0.5, 40)),
    entry(
        CONNECTOR,
        50_000,
        sample(9.0, 6.0, 50_020),
        sample(4.0, 4.0, 50_020),
        sample(5.0, 4.5, 50_020),
    ),
    entry(LOOP, 50_000, sample(3.0, 1.5, 50_040)),
)


# -- figures ---------------------------------------------------------------------------------------


def test_the_cpu_time_per_row_is_the_median_without_the_start_up() -> None:
    assert cpu_per_row(FIRST, "close", CONNECTOR, 50_000) == pytest.approx(2.5 / 50_000)
    assert times_the_loop(FIRST, "close", CONNECTOR, 50_000) == pytest.approx(2.5)


def test_without_a_measured_start_up_there_is_no_cpu_time_per_row() -> None:
    lacking = results(*(one for one in FIRST.entries if one.case.meetings != START_UP))

    assert cpu_per_row(lacking, "close", CONNECTOR, 50_000) is None
    assert times_the_loop(lacking, "close", CONNECTOR, 50_000) is None


def test_another_program_is_compared_with_ours_at_the_same_size_and_latency() -> None:
    slow = entry("other", 50_000, sample(wall=20.0))
    elsewhere = entry("other", 50_000, sample(wall=20.0), latency=100)

    assert times_ours(FIRST, slow) == pytest.approx(4.0)  # the median of 9, 4 and 5 is 5
    assert times_ours(FIRST, elsewhere) is None


@pytest.mark.parametrize("requests, seconds", [(0, 0), (100, 0), (101, 10), (200, 10), (201, 20)])
def test_a_rate_limit_delays_every_interval_but_the_first(requests: int, seconds: int) -> None:
    assert seconds_allowed(requests, (100, 10)) == seconds


def test_the_start_up_time_is_allowed_on_top_of_the_delay_by_the_limit() -> None:
    limited = Case("limited", "close", CONNECTOR, 10_000)
    held_back = Entry(limited, "", (sample(wall=24.0, requests=201),))
    free = Entry(limited, "", (sample(wall=24.0, requests=100),))

    assert over_the_limit(FIRST, held_back, (100, 10)) == (22.0, pytest.approx(24 / 22))
    assert over_the_limit(FIRST, free, (100, 10)) == (0, None)


# -- targets ---------------------------------------------------------------------------------------


def verdicts(found: Results, most_cpu: float = 2.5) -> dict[str, bool | None]:
    lines = targets(found, {"close": most_cpu}, FACTS.limits, FACTS.titles)
    return {line.words: line.met for line in lines}


def test_a_target_is_met_missed_or_not_measured() -> None:
    words = "Close: CPU time per row, as a multiple of the plain loop's: at most "

    assert verdicts(FIRST)[f"{words}2.5"] is True
    assert verdicts(FIRST, most_cpu=2.4)[f"{words}2.4"] is False
    assert verdicts(results())[f"{words}2.5"] is None


def test_the_target_is_compared_with_the_fastest_peer() -> None:
    words = "Close: no peer is faster at 0 ms, 50,000 meetings"
    slow = entry("slow", 50_000, sample(wall=99.0))
    fast = entry("fast", 50_000, sample(wall=4.9))

    assert verdicts(FIRST.with_entries([slow]))[words] is True  # the loop is not a peer
    assert verdicts(FIRST.with_entries([slow, fast]))[words] is False  # ours took 5 s


def test_the_target_for_the_first_record_allows_for_two_requests_at_the_latency() -> None:
    def met(latency: int, first: float) -> bool | None:
        found = verdicts(results(entry(CONNECTOR, 1_000, sample(first=first), latency=latency)))
        return next(met for words, met in found.items() if "first record" in words)

    # Then 0.3 s are allowed without latency, and 0.2 s more at 100 ms
    assert met(0, 0.3)
    assert not met(0, 0.31)
    assert met(100, 0.5)
    assert not met(100, 0.51)


# -- results ---------------------------------------------------------------------------------------


def test_a_part_that_is_measured_again_replaces_the_old_one() -> None:
    again = entry(LOOP, 50_000, sample(wall=7.0))

    merged = FIRST.with_entries([again])

    assert len(merged.entries) == len(FIRST.entries)
    assert again in merged.entries


def test_figures_of_another_machine_or_version_are_dropped() -> None:
    # Given figures of two programs on one machine
    known = FIRST.with_versions({CONNECTOR: "1", LOOP: "1"})

    # Then another machine has no figures, and a new version of one program drops only its own
    assert known.on("a machine") == known
    assert known.on("another") == Results("another")
    upgraded = known.with_versions({LOOP: "2"})
    assert {one.case.program for one in upgraded.entries} == {CONNECTOR}
    assert upgraded.versions == {CONNECTOR: "1", LOOP: "2"}


def test_a_program_is_listed_as_missing_until_it_can_be_run() -> None:
    lacking = FIRST.with_versions({LOOP: "1"}, missing={"other": "no Python"})

    assert lacking.with_versions({LOOP: "1"}).missing == {"other": "no Python"}
    assert lacking.with_versions({"other": "1"}).missing == {}


def test_results_are_read_as_they_were_saved(tmp_path: Path) -> None:
    left_out = replace(entry("other", 1_000), left_out="it failed")
    saved = FIRST.with_versions({LOOP: "1"}, {"other": "no Python"}).with_entries([left_out])

    saved.save(tmp_path / "results.json")

    assert load(tmp_path / "results.json") == saved


# -- report ----------------------------------------------------------------------------------------


def test_a_table_aligns_numbers_to_the_right() -> None:
    assert (
        table(("who", "how many"), [("we", "3")])
        == "| who | how many |\n| --- | ---: |\n| we | 3 |\n"
    )
    assert table(("who", "how many"), []) == "Not measured.\n"


def test_the_report_has_the_figures_the_versions_and_the_measurements_left_out() -> None:
    # Given a program that was left out of one size, and one that could not be run
    left_out = replace(entry("other", 50_000), left_out="it would take about 9 minutes")
    versions, missing = {"other": "other 1.0"}, {"third": "it needs Python 3.10"}
    known = FIRST.with_versions(versions, missing).with_entries([left_out])

    report = render(known, FACTS, ["memory.svg"])

    # Then the report has the machine, the date, the versions, and a reason for every gap
    assert "a machine.\n\nMeasured on 2026-06-01.\n" in report
    assert "| other | other 1.0 | As it is. |" in report
    assert "| third |  | Not run: it needs Python 3.10. |" in report
    row = "| **source-meetings** | 50,000 | 0 ms | 50,020 | 5.0 |  | 1 |  | 4.50 | 20,000 | 2.50 |"
    assert row in report
    assert "| plain loop | 50,000 | 0 ms | 50,040 | 3.0 | 0.6 |" in report
    assert "- Close, other, 50,000 meetings at 0 ms: it would take about 9 minutes.\n" in report
    assert "![memory.svg](memory.svg)" in report


# -- running ---------------------------------------------------------------------------------------


def test_a_peer_without_its_python_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHON310", str(tmp_path / "nothing"))

    with pytest.raises(Missing, match="it needs Python 3.10"):
        Environment("peer", ("peer==1",), python310=True).make()


def test_the_messages_of_a_run_are_counted() -> None:
    # Given a program that prints records, one of them edited by the benchmark, and a state
    lines = [
        '{"type":"LOG"}',
        '{"type":"RECORD","record":{"data":{}}}',
        '{"type": "RECORD", "record": {"data": "edited by the benchmark 1"}}',
        '{"type":"STATE"}',
    ]

    done = run([sys.executable, "-c", f"print({chr(10).join(lines)!r})"])

    assert (done.records, done.edited, done.status, done.error) == (2, 1, 0, "")
    assert done.states == done.largest_state == len(lines[-1]) + 1
    assert done.peak > 1_000_000


def test_a_run_that_fails_says_why() -> None:
    trace = '{"type":"TRACE","trace":{"error":{"message":"The key is wrong."}}}'

    # When one program ends with an error message, and another one with a traceback
    told = run([sys.executable, "-c", f"import sys; print({trace!r}); sys.exit(1)"])
    untold = run([sys.executable, "-c", "raise ValueError('no key')"])

    # Then the error is the message, or the last line of the traceback
    assert (told.status, told.error) == (1, "The key is wrong.")
    assert (untold.status, untold.error) == (1, "ValueError: no key")


def test_the_smallest_scenario_measures_the_connector_and_the_loop() -> None:
    # When both read an account in a process of their own
    found = list(first_syncs("salesloft", [Connector(), Loop()], Plan(sizes=(), runs=1)))

    ours, loop = (one.samples[0] for one in found)
    # Then the figures are complete and plausible: the connector takes more CPU time than the loop
    assert [one.case.program for one in found] == [CONNECTOR, LOOP]
    assert ours.records == START_UP
    assert loop.records >= START_UP
    assert loop.requests == ours.requests
    assert ours.states > 0
    assert ours.cpu > loop.cpu > 0
    assert ours.first_record is not None
    assert 0 < ours.first_record < ours.wall
