"""The example provider, as a developer who follows docs/adding-a-provider.md would have it.

Its folder is added to a copy of the package, and the connector runs from there over real HTTP.
`test_updated_since.py` tests what can happen between any two requests.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import MISSING, fields
from datetime import timedelta
from random import Random
from textwrap import dedent

import pytest

from sandbox import Sandbox
from source_meetings import timestamps
from source_meetings.strategies.updated_since import Filter, Partitions, UpdatedSince
from source_meetings.transport.answer import ListOfRows
from unit_tests.example_provider import EXAMPLE, STREAMS, AcmeSide, Connector, Copy, add_acme
from unit_tests.harness import Json

SEED = int(os.environ.get("CRASH_SEED", "1"))
INCLUDED = {"include_deleted": "true"}
MEETINGS = {"sort": "id", **INCLUDED, "per_page": "100"}
NOTES = {**INCLUDED, "limit": "100"}
NEWEST = {"sort": "-updated_at"}


@pytest.fixture(scope="module")
def connector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connector]:
    connector = Connector(tmp_path_factory.mktemp("installed") / "site-packages")
    yield connector
    connector.close()


@pytest.fixture
def side(box: Sandbox) -> AcmeSide:
    return add_acme(box)


@pytest.fixture
def copy(connector: Connector, box: Sandbox, side: AcmeSide) -> Copy:
    return Copy(connector, box)


def asked(box: Sandbox, path: str = "") -> list[Json]:
    """Return the parameters of the requests."""
    return [dict(one.params) for one in box.requests if one.path.endswith(path)]


def two_minutes_before_the_newest_change(copy: Copy, stream: str) -> str:
    newest = max(row["updated_at"] for row in copy.rows()[stream].values())
    return timestamps.iso(timestamps.parse(newest) - timedelta(minutes=2))


# -- the folder -----------------------------------------------------------------------------------


def test_the_example_is_a_short_manifest_and_schemas():
    files = {str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*") if path.is_file()}
    assert files == {"manifest.yaml", "schemas/acme_meetings.json", "schemas/acme_notes.json"}
    assert len((EXAMPLE / "manifest.yaml").read_text().splitlines()) < 120


# -- the commands ---------------------------------------------------------------------------------


def test_the_form_has_the_provider_and_its_fields(connector):
    # When spec is run
    (message,) = connector.run("spec").of("SPEC")
    # Then the provider is one of the options, next to the built-in ones
    provider = message["spec"]["connectionSpecification"]["properties"]["provider"]
    options = {one["properties"]["name"]["const"]: one for one in provider["oneOf"]}
    assert list(options) == ["acme", "close", "expoplatform", "highlevel", "salesloft"]
    # And its fields have the properties in the shared definitions
    fields = options["acme"]["properties"]
    assert fields["api_key"]["airbyte_secret"] is True
    assert fields["base_url"]["airbyte_hidden"] is True


def test_the_check_makes_one_request(box, copy):
    (message,) = copy.command("check").of("CONNECTION_STATUS")
    assert message["connectionStatus"] == {"status": "SUCCEEDED"}
    assert asked(box) == [{"per_page": "1"}]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "Acme, acme_meetings, GET /acme/meetings: Acme does not accept the API key."),
        (403, "Acme, acme_meetings, GET /acme/meetings: The API key may not read meetings."),
    ],
)
def test_a_refusal_says_what_to_do(box, side, copy, status, words):
    # Given an API that refuses every request
    side.generate(1)
    box.fault("/acme/", times=100, kind="status", status=status)
    # When the connection is checked, then the message is the one in the manifest
    (message,) = copy.command("check").of("CONNECTION_STATUS")
    assert message["connectionStatus"]["status"] == "FAILED"
    assert words.partition(": ")[2] in message["connectionStatus"]["message"]
    # And when it is synced, then the error has that message and the stream
    output = copy.read()
    assert output.exit_code == 1
    (error,) = (one for one in output.errors if "acme_meetings" in one["message"])
    assert error["message"].startswith(words)
    assert error["failure_type"] == "config_error"


def test_the_streams_have_the_keys_cursors_and_schemas_of_the_folder(copy):
    # When the streams are discovered
    streams = copy.discover()
    # Then their keys and cursors are those in the manifest, and their schemas those in the folder
    assert [stream["name"] for stream in streams] == ["acme_meetings", "acme_notes"]
    for stream in streams:
        assert stream["source_defined_primary_key"] == [["id"]]
        assert stream["default_cursor_field"] == ["updated_at"]
        assert stream["supported_sync_modes"] == ["full_refresh", "incremental"]
        assert stream["json_schema"]["title"] == stream["name"]


# -- the requests ---------------------------------------------------------------------------------


def test_a_first_sync_requests_the_newest_change_and_then_every_page(box, side, copy):
    # Given 250 rows in each list
    side.generate(250)
    # When they are synced
    copy.sync()
    # Then the meetings were requested by page number
    pages = [{**MEETINGS, "page": page} for page in ("1", "2", "3")]
    assert asked(box, "/meetings") == [{**MEETINGS, **NEWEST}, *pages]
    # And the notes by the token in the previous answer
    newest, first, second, third = asked(box, "/notes")
    assert (newest, first) == ({**NOTES, **NEWEST}, NOTES)
    tokens = {one.pop("page_token") for one in (second, third)}
    assert len(tokens) == 2 and second == third == NOTES
    copy.assert_equal_to_truth()


def test_a_later_sync_requests_changes_since_two_minutes_before_the_newest_known_change(
    box, side, copy
):
    # Given a first sync, and later an edit, a deletion and a new row in each list
    side.generate(250)
    copy.sync()
    since = {stream: two_minutes_before_the_newest_change(copy, stream) for stream in STREAMS}
    before = {stream: set(rows) for stream, rows in copy.rows().items()}
    for what in ("meetings", "notes"):
        side.edit(what, f"{3 << 16:08x}", title="changed")
        side.delete(what, f"{5 << 16:08x}")
        side.insert(what)
    box.forget_requests()
    # When the connection is synced again
    output = copy.sync()
    # Then each list was requested once
    of_meetings, of_notes = ({"updated_since": since[stream]} for stream in STREAMS)
    assert asked(box, "/meetings") == [{**MEETINGS, "page": "1", **of_meetings}]
    assert asked(box, "/notes") == [{**NOTES, **of_notes}]
    # And only changes were emitted, and rows stamped within those two minutes
    copy.assert_equal_to_truth()
    for stream in STREAMS:
        rows = copy.rows()[stream]
        assert len(set(rows) - before[stream]) == 1
        emitted = {row["id"] for row in output.records(stream)}
        assert emitted == {id for id, row in rows.items() if row["updated_at"] >= since[stream]}
        assert len(emitted) < 10


def test_a_full_refresh_reads_everything_whatever_was_read_before(side, copy):
    side.generate(120)
    copy.sync()
    # When a full refresh runs
    output = copy.sync(mode="full_refresh")
    # Then everything is emitted again
    assert len(output.records()) == 240
    copy.assert_equal_to_truth()


def test_with_a_start_date_only_what_changed_since_then_is_read(connector, box, side):
    # Given rows that changed before, at and after the start date
    side.generate(10)
    moments = sorted(row["updated_at"] for row in side.truth("meetings").values())
    copy = Copy(connector, box, start_date=moments[4])
    # When they are synced, then those before the start date are left out
    copy.sync()
    assert sorted(row["updated_at"] for row in copy.rows()["acme_meetings"].values()) == moments[4:]
    # And when one of those changes, then it is read too
    box.clock.advance(hours=1)
    side.edit("meetings", min(side.truth("meetings")), title="changed")
    copy.sync()
    rows = copy.rows()["acme_meetings"]
    assert len(rows) == 7
    assert rows.items() <= side.truth("meetings").items()


# -- writes, faults and kills ---------------------------------------------------------------------


@pytest.mark.parametrize("nth", range(1, 9))
def test_writes_during_a_sync_are_in_the_table_after_the_next_one(box, side, copy, nth):
    # Given writes at any request of a first sync and of the next one
    side.generate(250)
    for _ in range(2):
        box.after("/acme/", nth, lambda: [side.change() for _ in range(5)])
        copy.sync()
        box.forget_hooks()
        box.clock.advance(minutes=10)
        side.change()
    # When one more sync runs
    copy.sync()
    # Then the tables equal the API's data
    copy.assert_equal_to_truth()


FAULTS: dict[str, Json] = {
    "500": {"kind": "status", "status": 500},
    "429": {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
    "429 of its own": {"kind": "status", "status": 429, "headers": {"X-RateLimit-Reset": "0"}},
    "dropped": {"kind": "drop"},
    "cut": {"kind": "cut"},
    "half": {"kind": "half_json"},
    "web page": {"kind": "html"},
    "null": {"kind": "body", "body": None},
    "object": {"kind": "body", "body": {}},
    "empty lists, and nothing of other pages": {
        "kind": "body",
        "body": {"meetings": [], "notes": []},
    },
    "rows without ids": {
        "kind": "body",
        "body": {"meetings": [{}], "notes": [{}], "total": 1, "next_page_token": None},
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_temporary_faults_lose_nothing(box, side, copy, fault):
    side.generate(250)
    for first in (True, False):
        # Given a fault at every second request to each list
        for path in ("/acme/meetings", "/acme/notes"):
            for nth in (1, 3, 5, 7) if first else (1,):
                box.fault(path, nth, **FAULTS[fault])
        box.forget_requests()
        # When both lists are synced
        output = copy.sync()
        # Then the tables equal the API's data, and each fault cost one request
        copy.assert_equal_to_truth()
        assert len(box.requests) == (16 if first else 4)
        assert [line for line in output.logs if "Trying again" in line]
        for _ in range(20):
            side.change()
        box.forget_faults()


def test_an_outage_is_a_transient_error_and_the_states_stay_as_they_were(box, side, copy):
    # Given a first sync, changes, and then an outage
    side.generate(20)
    copy.sync()
    states = copy.states
    side.edit("meetings", min(side.truth("meetings")), title="changed")
    box.fault("/acme/meetings", times=1000, kind="status", status=500)
    # When both lists are synced
    output = copy.read()
    # Then one stream fails, and its state is that of the first sync
    (error,) = output.errors
    assert error["failure_type"] == "transient_error"
    assert "Acme answered with a server error (status 500)." in error["message"]
    assert copy.state_of("acme_meetings", states) == copy.state_of("acme_meetings")
    # And after the outage, the next sync catches up
    box.forget_faults()
    copy.sync()
    copy.assert_equal_to_truth()


def test_a_sync_that_is_killed_at_any_moment_is_resumed_and_loses_nothing(box, side, copy):
    # Given the number of lines and requests of a first sync of two lists
    chance = Random(SEED)
    side.generate(350)
    lines = len(copy.sync().messages)
    requests = len(box.requests)
    copy = copy.empty()
    kills = 0
    # When first and later syncs are killed, at a line or at a request, with writes in between
    for most_lines, most_requests in ((lines, requests), (40, 4)):
        for _ in range(4):
            kills += _killed(copy, box, side, chance, most_lines, most_requests)
            side.change()
            box.clock.advance(minutes=chance.choice((0.1, 3, 20)))
        # And two syncs may finish, the second one for what was written during the first
        copy.sync()
        copy.sync()
        # Then the tables equal the API's data
        copy.assert_equal_to_truth()
    assert kills >= 4


def _killed(
    copy: Copy, box: Sandbox, side: AcmeSide, chance: Random, most_lines: int, most_requests: int
) -> bool:
    """Kill a sync after a random line or at a random request. Return whether it still ran."""
    if chance.random() < 0.5:
        output = copy.read(stop_after_lines=chance.randint(1, most_lines))
    else:
        started: Future[Callable[[], None]] = Future()

        def at_a_request() -> None:
            side.change()
            started.result(timeout=60)()

        box.after("/acme/", chance.randint(1, most_requests), at_a_request)
        output = copy.read(started=started.set_result)
        box.forget_hooks()
    return output.exit_code == -signal.SIGKILL


# -- mistakes in a manifest -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (
            "following: next_page_token, required: [following]",
            "more: x",
            "answer.following does not",
        ),
        ("newest: {sort", "newst: {sort", "UpdatedSince has no newst"),
    ],
)
def test_a_mistake_that_would_lose_pages_stops_the_stream(
    box, side, copy, connector, right, wrong, words
):
    # Given a manifest with a mistake
    side.generate(250)
    copy.discover()
    text = connector.manifest.read_text()
    connector.manifest.write_text(text.replace(right, wrong))
    # When the streams are read with it
    try:
        output = copy.read()
    finally:
        connector.manifest.write_text(text)
    # Then the error says what is wrong, and no state counts anything in that stream as read
    assert output.exit_code == 1
    assert [error for error in output.errors if words in error["internal_message"]]
    assert output.statuses.get("acme_notes") in (None, "INCOMPLETE")
    assert not [row for row in copy.states if "acme_notes" in str(row) and "scan" not in str(row)]


# -- what docs/adding-a-provider.md says ----------------------------------------------------------

DOCUMENT = (EXAMPLE.parents[1] / "docs" / "adding-a-provider.md").read_text()
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: text.splitlines()[0])
def test_the_snippets_of_the_document_are_from_the_example(snippet):
    lines = (EXAMPLE / "manifest.yaml").read_text().splitlines(keepends=True)
    length = len(snippet.splitlines())
    excerpts = [dedent("".join(lines[at : at + length])) for at in range(len(lines))]
    assert snippet in excerpts


def options_in_the_document(header: str) -> dict[str, str]:
    """Return the default of each option in the table after a line that starts like this."""
    _, _, rest = DOCUMENT.partition(f"\n{header}")
    rows = re.search(r"((?:^\|.*\n)+)", rest, re.MULTILINE)
    assert rows, header
    cells = [line.split("|")[1:3] for line in rows[1].splitlines()[2:]]
    return {option.strip(" `"): default.strip(" `") for option, default in cells}


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("`strategy`, with", UpdatedSince),
        ("An item of `filters`", Filter),
        ("`partitions`:", Partitions),
        ("`answer` of", ListOfRows),
    ],
)
def test_the_document_has_every_option_with_its_default(header, kind):
    # Given the options of a class that a manifest can set
    given = {"stream", "cursor_field", "config", "api"}  # these do not come from the manifest
    defaults = {
        one.name: "required" if one.default is MISSING else str(one.default or "none")
        for one in fields(kind)
        if one.name not in given
    }
    # Then the table in the document has the same ones, with the same defaults
    assert options_in_the_document(header) == defaults
