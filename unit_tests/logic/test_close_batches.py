"""Close's meetings that the log names: in which batches they are read, and their tombstones."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from source_meetings.providers.close.event_log import Change
from source_meetings.providers.close.meetings import Batch, MeetingsStrategy, seen_row
from source_meetings.sync.fingerprints import SeenRows
from source_meetings.sync.reading import Answer, Row, Untrustworthy, UnusableState
from unit_tests.logic.fakes import FakeApi, FakeClose, ScriptedApi, at, synced, text

CURSOR = "date_updated"


def strategy(api: FakeApi, **options: Any) -> MeetingsStrategy:
    config = {"provider": {}, "start_date": options.pop("start_date", None)}
    return MeetingsStrategy("meetings", CURSOR, config, api, **options)


def changes(*ids: str, **fields: Any) -> dict[str, Change]:
    return {id: Change(at(), **fields) for id in ids}


# -- batches --------------------------------------------------------------------------------------


def test_a_batch_has_as_many_ids_as_a_page_in_their_order() -> None:
    batches = strategy(FakeClose()).batches(changes(*"dbaec"))
    assert batches == [Batch(["a", "b", "c"]), Batch(["d", "e"])]


def test_without_changes_there_is_no_batch() -> None:
    assert strategy(FakeClose()).batches({}) == []


def test_a_batch_is_asked_for_with_a_url_of_nineteen_hundred_characters_at_most() -> None:
    # Given ids of which many have to be quoted
    api = FakeClose(page_size=100)
    ids = [f"acti_{number:03}/{'é' * 5}" for number in range(99)]
    # When
    batches = strategy(api).batches(changes(*ids))
    # Then all are there, and one more in any batch but the last would be too many
    assert [id for batch in batches for id in batch.ids] == ids
    lengths = []
    for batch, following in zip(batches, [*batches[1:], Batch(["x"])]):
        for some in (batch.ids, [*batch.ids, following.ids[0]]):
            query = urlencode({"_limit": 100, "id__in": ",".join(some)})
            lengths.append(len(f"{api.url('meetings')}?{query}"))
    assert max(lengths[::2]) <= 1900
    assert min(lengths[1:-1:2]) > 1896  # the comma before the first id is counted too


@pytest.mark.parametrize(("length", "batches"), [(1898, 1), (1899, 2)])
def test_a_url_has_as_many_characters_as_may_be(length: int, batches: int) -> None:
    # Given two ids that make a URL of this length
    api = FakeClose()
    url = f"{api.url('meetings')}?{urlencode({'_limit': 3, 'id__in': 'a,'})}"
    ids = ["a", "b" * (length - len(url))]
    # Then they are one batch, or two (two characters are kept in reserve)
    assert len(strategy(api).batches(changes(*ids))) == batches


def test_an_id_that_is_too_long_for_any_url_is_a_batch_of_its_own() -> None:
    long = "b" * 3000
    batches = strategy(FakeClose()).batches(changes("a", long, "c"))
    assert [batch.ids for batch in batches] == [["a"], [long], ["c"]]


def test_a_batch_comes_back_from_a_state_as_it_was() -> None:
    batch = Batch(["a", "b"], {"a": {"id": "a"}})
    assert batch.values() == {"ids": ["a", "b"], "deleted": {"a": {"id": "a"}}}
    assert Batch.of(batch.values()) == batch


@pytest.mark.parametrize("damage", [{"ids": "a"}, {"deleted": []}, {"ids": None}])
def test_a_batch_of_another_form_is_not_the_streams(damage: dict[str, Any]) -> None:
    with pytest.raises(UnusableState):
        Batch.of({**Batch(["a"]).values(), **damage})


# -- tombstones -----------------------------------------------------------------------------------


def test_a_deleted_meeting_has_a_tombstone_with_what_its_event_shows() -> None:
    known = {"action": "deleted", "lead_id": "lead", "organization_id": "orga"}
    (batch,) = strategy(FakeClose()).batches({**changes("a", **known), **changes("b")})
    assert batch.tombstones == {
        "a": {
            "id": "a",
            "is_deleted": True,
            CURSOR: "2026-06-01T12:00:00.000000+00:00",
            "lead_id": "lead",
            "organization_id": "orga",
        }
    }
    # And what the event does not show is left out
    (batch,) = strategy(FakeClose()).batches(changes("a", action="deleted", lead_id=""))
    assert set(batch.tombstones["a"]) == {"id", "is_deleted", CURSOR}


# -- reading a batch ------------------------------------------------------------------------------


def answer(*ids: str, more: bool = False, **fields: Any) -> Answer:
    return Answer([{"id": id, CURSOR: text(), **fields} for id in ids], at(), body={}, more=more)


def read(batch: Batch, *answers: Answer, **options: Any) -> tuple[list[list[Row]], list[str]]:
    """Read a batch that is left. Returns its pages, and the ids that were asked for."""
    api = ScriptedApi(*answers)
    state = {CURSOR: text(), "events": {}}
    reading = strategy(api, **options).resume(state, [batch.values()])
    (slice,) = reading.slices()
    pages = [page for page in reading.read(slice) if page]
    return pages, [one.params["id__in"] for one in api.asked]


def ids_of(pages: list[list[Row]]) -> list[list[str]]:
    return [[row["id"] for row in page] for page in pages]


def test_a_batch_that_fits_a_page_is_one_request() -> None:
    pages, asked = read(Batch(["a", "b"]), answer("a", "b"))
    assert (ids_of(pages), asked) == ([["a", "b"]], ["a,b"])


def test_a_batch_that_does_not_fit_a_page_is_halved() -> None:
    # Given four meetings, two of which are gone
    gone = {"a": {"id": "a"}, "d": {"id": "d"}}
    pages, asked = read(Batch([*"abcd"], gone), answer("b", more=True), answer("b"), answer("c"))
    # Then each half has its own tombstones
    assert ids_of(pages) == [["b"], ["a"], ["c"], ["d"]]
    assert asked == ["a,b,c,d", "a,b", "c,d"]


def test_two_meetings_that_do_not_fit_a_page_are_read_one_by_one() -> None:
    pages, asked = read(Batch(["a", "b"]), answer("a", more=True), answer("a"), answer("b"))
    assert (ids_of(pages), asked) == ([["a"], ["b"]], ["a,b", "a", "b"])


def test_one_meeting_is_not_halved_whatever_the_page_says() -> None:
    pages, asked = read(Batch(["a"]), answer("a", more=True))
    assert (ids_of(pages), asked) == ([["a"]], ["a"])


def test_meetings_that_were_not_asked_for_cannot_be_trusted() -> None:
    with pytest.raises(Untrustworthy, match="ids were not requested"):
        read(Batch(["a"]), answer("a", "b"))


def test_a_meeting_that_is_still_shown_has_no_tombstone() -> None:
    gone = {"a": {"id": "a", "is_deleted": True}, "b": {"id": "b", "is_deleted": True}}
    pages, asked = read(Batch(["a", "b"], gone), answer("a"))
    assert ids_of(pages) == [["a"], ["b"]]
    assert pages[1] == [gone["b"]]
    assert asked == ["a,b"]


def test_meetings_that_are_not_shown_are_asked_for_once_more_and_then_left() -> None:
    pages, asked = read(Batch(["a", "b", "c"]), answer("b"), answer())
    assert (ids_of(pages), asked) == ([["b"]], ["a,b,c", "a,c"])


def test_a_meeting_that_changed_before_the_start_date_is_not_emitted() -> None:
    pages, _ = read(Batch(["a"]), answer("a"), start_date=text(microseconds=1))
    assert pages == []
    pages, _ = read(Batch(["a"]), answer("a"), start_date=text())
    assert ids_of(pages) == [["a"]]


# -- the state ------------------------------------------------------------------------------------


def test_windows_and_batches_that_are_left_are_resumed_as_such() -> None:
    state = {CURSOR: text(), "events": {}}
    window = {"date_created__gte": None, "date_created__lt": None, "now": text()}
    left = [Batch(["a"]).values(), window]
    reading = strategy(FakeClose()).resume(state, left)
    slices = list(reading.slices())
    assert [one.values for one in slices] == left
    assert (reading.resumable, reading.state(False)) == (True, state)
    # What was seen of the window that is read again is not known after an interruption
    assert reading.state(True) == {**state, "seen": {"rows_each": 1, "digests": ""}}


def test_the_state_of_changes_keeps_what_others_have_written_into_it() -> None:
    # Given a settled state with something that the stream does not know
    api = FakeClose()
    api.insert(at(days=-400))
    second = synced(strategy(api), synced(strategy(api)).state)
    state = {**second.state, "settled": True, "other": 1}
    # When nothing has changed since, then it stays settled
    found = synced(strategy(api), state).state
    assert (found["other"], found["settled"]) == (1, True)
    # And after a change it does not
    api.edit("m1")
    found = synced(strategy(api), found).state
    assert (found["other"], "settled" in found) == (1, False)


def test_no_more_than_four_thousand_events_are_remembered() -> None:
    # Given more events of one moment than a state has room for
    api = FakeClose(page_size=100)
    api.tick = at() - at()
    api.insert(at(days=-400))
    state = synced(strategy(api)).state
    for _ in range(4_001):
        api.edit("m1")
    found = synced(strategy(api), state).state
    assert len(found["events_seen"]) == 4_000 * 8


def test_without_permission_for_the_log_events_that_were_seen_are_kept_as_they_were() -> None:
    api = FakeClose()
    api.insert(at(days=-400))
    state = synced(strategy(api), synced(strategy(api)).state).state
    assert state["events_seen"]
    api.log = "closed"
    assert synced(strategy(api), state).state["events_seen"] == state["events_seen"]


# -- filters that are ignored ---------------------------------------------------------------------


def account() -> FakeClose:
    """Three meetings around now and three long ago, in pages of three."""
    api = FakeClose()
    for days in (-400, -401, -402, 0, 1, 2):
        api.insert(at(days=days))
    api.ignores_dates = True
    return api


def test_a_first_sync_whose_filters_are_ignored_reads_the_whole_list_once() -> None:
    api = account()
    course = synced(strategy(api))
    assert sorted(row["id"] for row in course.rows) == sorted(api.meetings)
    # As a single slice, which is not asked for with filters any more
    opened = {"date_created__gte": None, "date_created__lt": None, "now": text(seconds=1)}
    assert course.saved[1]["scan"]["pending"] == [opened]


def test_a_first_sync_notes_only_what_the_next_one_reads_again() -> None:
    # Given meetings of which some start in the last two weeks or later
    api = FakeClose()
    for days in (-400, -15, -13, 1):
        api.insert(at(days=days))
    course = synced(strategy(api))
    seen = SeenRows()
    for id in ("m3", "m4"):
        seen.add(seen_row(api.meetings[id]))
    assert course.state["seen"] == seen.state()


def test_the_window_that_is_read_again_is_noted_whole() -> None:
    # Given a window that is noted as far as it reaches, whatever of it has changed
    api = FakeClose()
    api.insert(at(days=1))
    first = synced(strategy(api)).state
    assert synced(strategy(api), first).state["seen"] == first["seen"]


def test_windows_that_are_left_share_one_reading_of_the_whole_list() -> None:
    # Given two windows
    api = account()
    state = {CURSOR: text(), "events": {}}
    window = {"date_created__gte": text(), "date_created__lt": text(days=9), "now": text()}
    earlier = {**window, "date_created__gte": text(days=-500), "date_created__lt": text()}
    reading = strategy(api).resume(state, [window, earlier])
    # When both are read
    pages = [[row["id"] for page in reading.read(one) for row in page] for one in reading.slices()]
    # Then the list is read once, and only the first request had filters
    assert pages == [["m1", "m2", "m3", "m4", "m5", "m6"], []]
    assert [one.page for one in api.asked] == [None, None, 2, 4]
    assert [len(one.params) for one in api.asked] == [2, 0, 0, 0]


def test_a_window_waits_for_the_whole_list_and_fails_with_it() -> None:
    # Given a reading of the whole list that fails at its second page
    api = account()
    api.breaks_at(3)
    window = {"date_created__gte": text(), "date_created__lt": text(days=9), "now": text()}
    reading = strategy(api).resume({CURSOR: text(), "events": {}}, [window, window])
    first, second = reading.slices()
    with pytest.raises(Exception, match="Asked") as caught:
        list(reading.read(first))
    # Then the other one fails alike, without another request
    with pytest.raises(Exception, match="Asked") as again:
        list(reading.read(second))
    assert again.value is caught.value
    assert len(api.asked) == 3


def test_a_meeting_of_the_whole_list_that_an_event_names_is_emitted_once() -> None:
    # Given a state, and filters that are ignored
    api = account()
    api.now = at(hours=-1)
    state = synced(strategy(api)).state
    api.now = at()
    api.edit("m4")
    rows = synced(strategy(api), {**state, "settled": True}).rows
    assert [row["id"] for row in rows].count("m4") == 1


def test_of_the_whole_list_only_the_window_that_is_read_again_is_compared() -> None:
    # Given a state, and filters that are ignored from then on
    api = account()
    api.ignores_dates = False
    api.now = at(hours=-1)
    state = synced(strategy(api)).state
    api.ignores_dates = True
    # When one meeting inside of the window changes in silence, and one outside
    api.add_in_silence("m4")
    api.add_in_silence("m1")
    state = {**state, "events_seen": ""}
    rows = synced(strategy(api), {**state, "settled": True}).rows
    # Then only the first is emitted
    assert [row["id"] for row in rows if row["v"]] == ["m4"]
