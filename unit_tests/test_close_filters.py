"""Close when its list of meetings ignores date filters: it is read with ``_skip``, without loss.

The syncs run over HTTP against the sandbox with ``date_filters`` off. The walk itself is tested on
lists in memory.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Sandbox
from sandbox.side import Call, Reply
from source_meetings.providers.close.event_log import EventLog
from source_meetings.providers.close.list_pages import FiltersIgnored, MeetingList, is_outside
from source_meetings.sync.reading import Answer, Untrustworthy
from unit_tests.harness import Json, Output, Table, read
from unit_tests.test_close import (
    LIST,
    STREAM,
    TRANSCRIPTS,
    asked,
    assert_equal_to_truth,
    at,
    config,
    details,
    first_sync,
    live,
    synced,
    transcripts_of,
)

WARNING = "Close ignores the date filters"
WHOLE_LIST = [{"_limit": "100"}] + [{"_limit": "100", "_skip": str(n)} for n in range(99, 694, 99)]


@pytest.fixture
def ignoring(box: Sandbox) -> Sandbox:
    """Make the sandbox's Close ignore date filters, with 700 meetings."""
    box.close.date_filters = False
    box.close.generate(count=700)
    return box


def warnings(output: Output) -> list[str]:
    return [line for line in output.logs if line.startswith("Stream ") and WARNING in line]


def window(box: Sandbox) -> dict[str, str]:
    """Return the parameters of the only request that was sent with bounds."""
    (params,) = (params for params in asked(box, LIST) if "date_created__gte" in params)
    return params


def ids_in_window(box: Sandbox) -> set[str]:
    bounds = [window(box)[f"date_created__{side}"] for side in ("gte", "lt")]
    start, end = map(datetime.fromisoformat, bounds)
    return {
        key
        for key, row in box.close.truth().items()
        if start <= datetime.fromisoformat(row["date_created"]) < end
    }


def digests_in(state: Json) -> int:
    return len(base64.b64decode(state["seen"]["digests"])) // 6


# -- a first sync ---------------------------------------------------------------------------------


def test_filters_that_work_cost_no_extra_request(box: Sandbox) -> None:
    # Given
    box.close.generate(count=500)
    # When
    table, output = first_sync(box)
    # Then no request serves the check of the filters alone. There is one for the log, one for the
    # first page, the probes of one, two and four years, the sample, and a page for each of ten
    # windows
    assert len(box.requests) == 1 + 1 + 3 + 1 + 10
    assert warnings(output) == []
    # And so does the next sync: seven requests to the log, the newest event's meeting, the window
    output = synced(box, table, output.last_states())
    assert len(box.requests) == 7 + 1 + 1
    assert warnings(output) == []


@pytest.mark.parametrize("meaning", ["start", "created"])
@pytest.mark.parametrize(("order", "probes"), [("newest", [365]), ("oldest", [365, 730, 1460])])
def test_a_first_sync_reads_the_whole_list_once_with_skip(
    ignoring: Sandbox, meaning: str, order: str, probes: list[int]
) -> None:
    # Given
    ignoring.close.list_order, ignoring.close.date_created_means = order, meaning
    # When
    table, output = first_sync(ignoring)
    # Then after the first answer with a row outside its bounds, no request has bounds
    assert asked(ignoring, LIST) == [
        {"_limit": "100"},
        *({"_limit": "1", "date_created__lt": at(days=-days)} for days in probes),
        *WHOLE_LIST,
    ]
    # And there is one warning, and every meeting is emitted once
    assert len(warnings(output)) == 1
    assert f"Stream {STREAM}: " in warnings(output)[0]
    assert len(output.records()) == 700
    assert_equal_to_truth(ignoring, table)


def test_the_sample_reveals_ignored_filters_if_the_probes_cannot(box: Sandbox) -> None:
    # Given a list that starts with a page of meetings older than every probe
    box.close.date_filters, box.close.list_order = False, "oldest"
    for number in range(250):
        start = f"{1980 + number // 12}-{number % 12 + 1:02}-01T09:00:00+00:00"
        box.close.insert(starts_at=start)
    # When
    table, output = first_sync(box)
    # Then
    assert len([params for params in asked(box, LIST) if params["_limit"] == "1"]) == 6
    (sample,) = (params for params in asked(box, LIST) if "date_created__gte" in params)
    assert sample["_limit"] == "100"
    assert len(warnings(output)) == 1
    assert_equal_to_truth(box, table)


def test_a_list_of_one_page_is_read_without_bounds(box: Sandbox) -> None:
    # Given
    box.close.date_filters = False
    box.close.generate(count=100)
    # When
    table, output = first_sync(box)
    # Then no bound was sent, so there is no warning
    assert asked(box, LIST) == [{"_limit": "100"}] * 2
    assert warnings(output) == []
    assert_equal_to_truth(box, table)


@pytest.mark.parametrize("fields", [{"date_created": None}, {"date_created": "soon"}, {}])
def test_rows_without_a_readable_date_created_prove_nothing(box: Sandbox, fields: Json) -> None:
    # Given a Close whose filters work and whose rows have no readable date_created
    box.close.generate(count=150)
    plain = box.close.answer

    def answer(call: Call) -> Reply:
        reply = plain(call)
        for row in reply.payload["data"] if call.path == "/api/v1/activity/meeting/" else []:
            row.pop("date_created")
            row.update(fields)
        return reply

    box.close.answer = answer  # type: ignore[method-assign]
    # When
    table, output = first_sync(box)
    # Then
    assert warnings(output) == []
    assert not any("_skip" in params for params in asked(box, LIST))
    assert set(live(table)) == set(box.close.truth())
    # And if the filters do not work, these rows cannot reveal it
    box.close.date_filters = False
    for state, words in (
        (None, "meetings without a date_created fill more than a page"),
        (output.last_states(), "date_created does not confirm that second"),
    ):
        output = read(config(box), state, [STREAM])
        (error,) = output.errors
        assert words in error["message"]


# -- later syncs ----------------------------------------------------------------------------------


def test_a_sync_without_changes_emits_nothing_and_keeps_digests_of_the_window_only(
    ignoring: Sandbox,
) -> None:
    # Given
    table, output = first_sync(ignoring)
    output = synced(ignoring, table, output.last_states())
    # When
    output = synced(ignoring, table, output.last_states())
    # Then
    assert asked(ignoring, LIST) == [window(ignoring), *WHOLE_LIST]
    assert set(window(ignoring)) == {"_limit", "date_created__gte", "date_created__lt"}
    assert window(ignoring)["date_created__lt"] == at(days=90)
    assert output.records() == []
    assert len(warnings(output)) == 1
    assert 0 < digests_in(output.state_of(STREAM)) == len(ids_in_window(ignoring)) < 100


def test_a_later_sync_emits_the_meetings_in_the_log_and_those_that_differ_in_the_window(
    ignoring: Sandbox,
) -> None:
    # Given changes since the first sync, with and without an event, inside and outside the window
    recent = ignoring.close.insert(starts_at=at(days=-1))
    old = ignoring.close.insert(starts_at=at(days=-700))
    table, output = first_sync(ignoring)
    ignoring.clock.advance(hours=1)
    output = synced(ignoring, table, output.last_states())
    edited, deleted, *_ = sorted(set(ignoring.close.truth()) - {recent, old})
    ignoring.close.edit(edited, title="new")
    ignoring.close.delete(deleted)
    ignoring.close.add_transcript(recent)
    ignoring.close.add_transcript(old)
    # When
    output = synced(ignoring, table, output.last_states())
    # Then
    assert sorted(row["id"] for row in output.records()) == sorted([recent, edited, deleted])


def test_ignored_filters_are_noticed_in_a_list_of_one_page_too(box: Sandbox) -> None:
    # Given
    box.close.generate(count=60)
    box.close.insert(starts_at=at(days=200))
    table, output = first_sync(box)
    output = synced(box, table, output.last_states())
    box.close.date_filters = False
    # When
    output = synced(box, table, output.last_states())
    # Then
    assert len(warnings(output)) == 1
    assert output.records() == []
    assert_equal_to_truth(box, table)


def test_without_the_log_only_the_window_is_emitted(ignoring: Sandbox) -> None:
    # Given a key that may not read the log
    ignoring.close.events_forbidden = True
    recent = ignoring.close.insert(starts_at=at(days=-60))
    old = ignoring.close.insert(starts_at=at(days=-700))
    table, output = first_sync(ignoring)
    ignoring.clock.advance(hours=1)
    ignoring.close.edit(recent, title="new")
    ignoring.close.edit(old, title="new")
    # When
    output = synced(ignoring, table, output.last_states())
    # Then
    assert [row["id"] for row in output.records()] == [recent]
    assert digests_in(output.state_of(STREAM)) == len(ids_in_window(ignoring))


def test_filters_that_work_again_are_used_again(ignoring: Sandbox) -> None:
    # Given
    table, output = first_sync(ignoring)
    ignoring.close.date_filters = True
    # When
    output = synced(ignoring, table, output.last_states())
    # Then
    assert not any("_skip" in params for params in asked(ignoring, LIST))
    assert warnings(output) == []
    assert_equal_to_truth(ignoring, table)


# -- changes while the list is read with _skip ----------------------------------------------------


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
def test_changes_while_the_list_is_read_are_in_the_table_after_the_next_sync(
    ignoring: Sandbox, order: str, later: bool
) -> None:
    # Given changes of every kind after each page
    side = ignoring.close
    side.list_order = order
    ids = sorted(side.truth())
    table, output = first_sync(ignoring) if later else (Table(STREAM), Output([]))

    def change(nth: int) -> None:
        mine = ids[nth::40]
        for key in mine[:4]:
            side.delete(key)
        side.reschedule(mine[4], at(days=-1000 + nth))
        side.reschedule(mine[5], at(days=300 - nth))
        side.edit(mine[6], title="new")
        side.insert(starts_at=at(days=nth))
        side.insert(starts_at=at(days=-1500))

    untouched = {key for number, key in enumerate(ids) if number % 40 > 12}
    for nth in range(1, 12):
        ignoring.after(
            r"/activity/meeting/\?_limit=100(&_skip=\d+)?$", nth, lambda n=nth: change(n)
        )
    output = synced(ignoring, table, output.last_states())
    # Then the meetings that did not change are in the table
    assert untouched <= set(live(table))
    # And after the next sync, all are
    ignoring.forget_hooks()
    ignoring.clock.advance(minutes=6)
    synced(ignoring, table, output.last_states())
    assert_equal_to_truth(ignoring, table)


def test_a_deletion_during_the_walk_costs_one_request_and_an_insertion_none(
    ignoring: Sandbox,
) -> None:
    # Given that rows are deleted from the second page, and later two are created above the fourth
    rows = sorted(ignoring.close.truth().values(), key=lambda row: row["date_created"])
    gone = [row["id"] for row in rows[-130:-125]]
    ignoring.after("_skip=99(&|$)", 1, lambda: [ignoring.close.delete(key) for key in gone])
    new = [at(days=500), at(days=501)]
    ignoring.after(
        "_skip=248(&|$)", 1, lambda: [ignoring.close.insert(starts_at=day) for day in new]
    )
    # When
    table, output = first_sync(ignoring)
    # Then
    skips = [params.get("_skip") for params in asked(ignoring, LIST)[2:]]
    assert skips == [None, "99", "198", "149", "248", "347", "446", "545", "644"]
    assert set(ignoring.close.truth()) - set(table.rows) == live_new(ignoring, new)
    synced(ignoring, table, output.last_states())
    assert_equal_to_truth(ignoring, table)


def live_new(box: Sandbox, starts: list[str]) -> set[str]:
    return {key for key, row in box.close.truth().items() if row["starts_at"] in starts}


def test_a_shuffled_list_is_read_until_every_row_was_seen_twice(box: Sandbox) -> None:
    # Given a list in another order at every request
    box.close.date_filters, box.close.list_order = False, "shuffled"
    box.close.generate(count=230)
    # When
    table, output = first_sync(box)
    # Then
    assert len(output.records()) == 230
    assert_equal_to_truth(box, table)


def test_a_shuffled_list_that_changes_ends_in_an_error(box: Sandbox) -> None:
    # Given a list that has another order and other rows at every request
    box.close.date_filters, box.close.list_order = False, "shuffled"
    box.close.generate(count=230)
    keys = iter(sorted(box.close.truth()))

    def change() -> None:
        box.close.delete(next(keys))
        box.close.insert()

    for nth in range(1, 200):
        box.after("_skip=", nth, change)
    # When
    output = read(config(box), None, [STREAM])
    # Then
    (error,) = output.errors
    assert "change their order with every request" in error["message"]
    assert error["failure_type"] == "transient_error"


@pytest.mark.parametrize("words", ["old", "new"])
@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
def test_the_error_at_the_maximum_of_skip_says_what_to_do(
    ignoring: Sandbox, words: str, later: bool
) -> None:
    # Given a list that is longer than the maximum of _skip
    output = first_sync(ignoring)[1] if later else Output([])
    ignoring.close.max_skip, ignoring.close.skip_message = 300, words
    # When
    state = output.last_states()
    output = read(config(ignoring), state, [STREAM])
    # Then
    (error,) = output.errors
    assert "ceiling of _skip" in error["message"]
    assert "Ask Close's support" in error["message"]
    assert len(warnings(output)) == 1
    assert asked(ignoring, LIST)[-1]["_skip"] == "396"
    # And the state does not count anything as read
    ignoring.close.max_skip = 10_000
    table = Table(STREAM)
    output = read(config(ignoring), state or output.last_states(), [STREAM])
    assert output.exit_code == 0
    if not later:
        table.load(output)
        assert_equal_to_truth(ignoring, table)


# -- a first sync that is resumed -----------------------------------------------------------------


def whole_reads(box: Sandbox) -> int:
    return len([params for params in asked(box, LIST) if params.get("_skip") == "693"])


def test_a_first_sync_can_be_resumed_from_each_of_its_states(ignoring: Sandbox) -> None:
    # Given every state of a first sync with ignored filters
    states = read(config(ignoring), None, [STREAM]).states
    assert len(states[0]["stream"]["stream_state"]["scan"]["pending"]) == 1
    for number, state in enumerate(states):
        key = sorted(ignoring.close.truth())[number]
        ignoring.close.edit(key, title="new")
        for works in (False, True):
            # When it is resumed, with filters that work or do not
            ignoring.close.date_filters = works
            table = Table(STREAM)
            output = synced(ignoring, table, [state])
            # Then
            assert len(warnings(output)) == (0 if works else 1)
            if number == 0:
                assert_equal_to_truth(ignoring, table)
            else:
                assert key in live(table)


def test_unread_windows_are_read_from_one_reading_of_the_whole_list(box: Sandbox) -> None:
    # Given the states of a first sync with filters that worked
    box.close.generate(count=700)
    output = read(config(box), None, [STREAM])
    messages = output.messages
    states = [one for one in output.of("STATE") if "scan" in one["state"]["stream"]["stream_state"]]
    box.close.date_filters = False
    for number in range(0, len(states), 4):
        table = Table(STREAM)
        table.load(Output(messages[: messages.index(states[number]) + 1]))
        left = len(states[number]["state"]["stream"]["stream_state"]["scan"]["pending"])
        key = sorted(box.close.truth())[number]
        box.close.reschedule(key, at(days=number + 30))
        box.close.delete(sorted(box.close.truth())[number + 100])
        # When it is resumed with many workers, and the filters no longer work
        synced_output = synced(box, table, [states[number]["state"]], common={"num_workers": 12})
        # Then the list is read once for all windows, and once for the window that every sync reads
        assert whole_reads(box) == 2
        bounded = [params for params in asked(box, LIST) if set(params) - {"_limit", "_skip"}]
        assert len([params for params in bounded if "id__in" not in params]) <= left + 1
        assert len(warnings(synced_output)) == 1
        assert_equal_to_truth(box, table)


def test_unread_windows_stay_in_the_state_if_the_reading_fails_halfway(box: Sandbox) -> None:
    # Given an interrupted first sync with working filters, with every window still to be read
    box.close.generate(count=700)
    state = read(config(box), None, [STREAM]).states[0]
    pending = state["stream"]["stream_state"]["scan"]["pending"]
    assert len(pending) > 5
    # And a Close that now ignores filters and refuses the fourth page
    box.close.date_filters = False
    box.fault("_skip=297(&|$)", 1, 99, kind="status", status=403)
    box.forget_requests()
    # When
    output = read(config(box, {"num_workers": 12}), [state], [STREAM])
    # Then there is one error, the list was not started again, and every window is still to be read
    (error,) = output.errors
    assert "may not read this" in error["message"]
    tries = [params["_skip"] for params in asked(box, LIST) if "_skip" in params]
    assert tries.count("198") == 1
    left = output.last_states()
    assert left[0]["stream"]["stream_state"]["scan"]["pending"] == pending
    # And the next run reads them
    box.forget_faults()
    table = Table(STREAM)
    table.load(output)
    synced(box, table, left)
    assert_equal_to_truth(box, table)


def test_a_reading_from_before_the_state_was_created_is_not_used_for_later_slices(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an unfinished first sync that is too old to be resumed
    box.close.generate(count=700)
    state = read(config(box), None, [STREAM]).states[0]
    box.clock.advance(days=40)
    box.close.date_filters = False
    # When its windows are read before the connector knows that, and then a meeting changes
    key = sorted(box.close.truth())[0]
    changed = threading.Event()

    def change() -> None:
        box.close.edit(key, title="new", emit_event=False)
        changed.set()

    box.after("_skip=693(&|$)", 1, change)
    newest = EventLog.newest

    def late(log: EventLog) -> Any:
        assert changed.wait(60)
        return newest(log)

    monkeypatch.setattr(EventLog, "newest", late)
    table = Table(STREAM)
    synced(box, table, [state])
    # Then the list is read again
    assert live(table)[key]["title"] == "new"


# -- transcripts ----------------------------------------------------------------------------------


def test_transcripts_are_read_as_with_filters(ignoring: Sandbox) -> None:
    # Given the requests that are sent while filters work
    ignoring.close.date_filters = True
    expected, _ = first_sync(ignoring, TRANSCRIPTS)
    wanted = {request.path for request in details(ignoring)}
    ignoring.close.date_filters = False
    # When
    table, output = first_sync(ignoring, TRANSCRIPTS)
    # Then
    assert table.rows == expected.rows
    assert {request.path for request in details(ignoring)} == wanted
    assert len(details(ignoring)) == len(wanted)
    assert len(warnings(output)) == 1
    assert f"Stream {TRANSCRIPTS}: " in warnings(output)[0]


def test_only_transcripts_that_arrive_late_are_read(ignoring: Sandbox) -> None:
    # Given a meeting of yesterday, and one outside the window
    late = ignoring.close.insert(starts_at=at(days=-1))
    old = ignoring.close.insert(starts_at=at(days=-700))
    table, output = first_sync(ignoring, TRANSCRIPTS)
    output = synced(ignoring, table, output.last_states())
    # When their transcripts arrive without an event
    ignoring.close.add_transcript(late)
    ignoring.close.add_transcript(old)
    output = synced(ignoring, table, output.last_states())
    # Then
    assert late in transcripts_of(table)
    assert [row["id"] for row in output.records()] == [late]
    rows = ignoring.close.truth()
    assert {request.path.split("/")[-2] for request in details(ignoring)} - {late} <= {
        key for key in ids_in_window(ignoring) if "notetaker_id" not in rows[key]
    }


# -- rows outside the bounds, and the walk --------------------------------------------------------

EDGE = datetime(2026, 3, 3, 10, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("seconds", "start", "end", "outside"),
    [
        (0.0, EDGE, None, False),
        (-0.5, EDGE, None, False),  # the same second, if the bound had a fraction
        (-1.0, EDGE, None, True),
        (0.0, None, EDGE, False),  # the last second, if the bound is inclusive
        (0.9, None, EDGE, False),
        (1.0, None, EDGE, True),
        (-1000.0, None, EDGE, False),
        (1000.0, EDGE, None, False),
        (1000.0, None, None, False),
    ],
)
def test_a_row_in_the_same_second_as_a_bound_is_inside(
    seconds: float, start: datetime | None, end: datetime | None, outside: bool
) -> None:
    assert is_outside(EDGE + timedelta(seconds=seconds), start, end) is outside


def page_of(rows: list[Json], has_more: bool) -> Answer:
    return Answer(rows, EDGE, more=has_more)


class SameAnswer:
    """An API that gives the same answer to every request."""

    provider = "Close"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def get(self, endpoint: str, params: Any = None, *, page: Any = None, **_: Any) -> Answer:
        return self._answer

    def page_size(self, endpoint: str) -> int:
        return 100

    def url(self, endpoint: str) -> str:
        return endpoint


class Listing(SameAnswer):
    """A list of (id, version) in memory. ``change`` gets it between two requests."""

    def __init__(self, size: int, change: Callable[[list[tuple[str, str]], int], None]) -> None:
        self.rows = [(f"row {number}", "first") for number in range(size)]
        self._change = change
        self._requests = 0

    def get(self, endpoint: str, params: Any = None, *, page: Any = None, **_: Any) -> Answer:
        if self._requests:
            self._change(self.rows, self._requests)
        self._requests += 1
        skip = page or 0
        shown = [
            {"id": key, "date_updated": version, "date_created": at()}
            for key, version in self.rows[skip : skip + 100]
        ]
        return page_of(shown, skip + len(shown) < len(self.rows))

    def walk(self) -> set[str]:
        return {row["id"] for answer in MeetingList(self).skip_through() for row in answer.rows}


changes = st.tuples(
    st.sampled_from(["insert", "delete", "edit"]), st.floats(0, 1, exclude_max=True)
)


@given(size=st.integers(0, 420), script=st.lists(st.lists(changes, max_size=6), max_size=12))
def test_a_walk_returns_every_row_that_was_in_the_list_all_the_time(
    size: int, script: list[list[tuple[str, float]]]
) -> None:
    # Given a list that changes between any two requests
    gone: set[str] = set()

    def change(rows: list[tuple[str, str]], nth: int) -> None:
        for number, (kind, place) in enumerate(script[nth - 1] if nth <= len(script) else []):
            position = int(place * len(rows))
            if kind == "insert":
                rows.insert(position, (f"new {nth} {number}", "first"))
            elif rows and kind == "delete":
                gone.add(rows.pop(position)[0])
            elif rows:
                rows[position] = (rows[position][0], f"{nth} {number}")

    # When
    shown = Listing(size, change).walk()
    # Then
    assert {f"row {number}" for number in range(size)} - gone <= shown


@settings(max_examples=40)
@given(
    size=st.integers(101, 250), chance=st.randoms(use_true_random=False), swaps=st.integers(0, 8)
)
def test_a_walk_through_a_shuffled_list_returns_everything_or_fails(
    size: int, chance: Random, swaps: int
) -> None:
    # Given a list in another order at every request, with some rows replaced during the first ones
    def change(rows: list[tuple[str, str]], nth: int) -> None:
        if nth <= swaps:
            rows.remove((f"row {nth - 1}", "first"))
            rows.append((f"new {nth}", "first"))
        chance.shuffle(rows)

    # When
    try:
        shown = Listing(size, change).walk()
    except Untrustworthy:
        return
    # Then
    assert {f"row {number}" for number in range(swaps, size)} <= shown


def test_rows_that_move_before_the_current_page_are_not_missed() -> None:
    # Given that after the first request, the last two rows move to the front unchanged
    def change(rows: list[tuple[str, str]], nth: int) -> None:
        if nth == 1:
            rows.insert(0, rows.pop())
            rows.insert(0, rows.pop())

    # When the second page has only known rows
    shown = Listing(102, change).walk()
    # Then that does not prove that the whole list was read
    assert len(shown) == 102


@pytest.mark.parametrize(
    ("shown", "words"),
    [([], "an empty page"), (["a"], "does not end"), (["a", "b"], "does not end")],
)
def test_a_list_that_never_ends_is_an_error(shown: list[str], words: str) -> None:
    # Given a server that ignores _skip
    answer = page_of([{"id": key} for key in shown], has_more=True)
    # Then
    with pytest.raises(Untrustworthy, match=words):
        list(MeetingList(SameAnswer(answer)).skip_through())


def test_an_answer_with_rows_outside_its_bounds_is_not_used() -> None:
    answer = page_of([{"id": "a", "date_created": EDGE.isoformat()}], has_more=False)
    meetings = MeetingList(SameAnswer(answer))
    assert meetings.page(EDGE, None).moments == [EDGE]
    with pytest.raises(FiltersIgnored):
        meetings.page(EDGE + timedelta(days=1), None)
