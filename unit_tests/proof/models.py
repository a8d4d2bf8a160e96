"""Models of the providers' APIs that write down what is written, in memory and without HTTP.

What an API cannot show is left out here and nowhere else. Each model says what that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zlib import crc32

from source_meetings import timestamps
from source_meetings.providers.expoplatform import rows as expoplatform
from source_meetings.sync.reading import Answer, Row
from unit_tests.logic.fakes import NOW, Asked, FakeApi, FakeClose, FakeHighLevel
from unit_tests.proof.history import Entry, Wrote

LONG_AGO = NOW - timedelta(days=400)
START = NOW + timedelta(seconds=0.7)  # so that a Date header is behind the real time


class Write(NamedTuple):
    """A write at the provider.

    ``kind`` is what happens, ``which`` the row by the order of creation. ``late``: it can be seen
    only after the delay that is documented. ``later``: its stamp is later than that of a write
    before the same request.
    """

    kind: str
    which: int = 0
    late: bool = False
    later: bool = False


class Endless(BaseException):
    """A sync makes more requests than any sync needs."""


class Model(FakeApi):
    """What all models share. ``delay`` is how late a change may become visible.

    ``creates`` and ``changes`` are the kinds of writes that there are; those in ``prompt`` are
    never late. Beside these, all rows can be edited at once.
    ``shuffles``: rows that are equal in the API's order change places at each request.
    ``meanwhile`` is called before and after each request is answered.
    """

    creates: tuple[str, ...] = ("create",)
    changes: tuple[str, ...] = ("edit", "delete")
    prompt: tuple[str, ...] = ("delete",)

    history: list[Entry]
    delay = timedelta()
    shuffles = False
    limit = 10**6  # requests
    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def get(
        self,
        endpoint: str,
        params: Mapping[str, str] | None = None,
        *,
        page: str | int | None = None,
        partition: Mapping[str, Any] | None = None,
    ) -> Answer:
        if len(self.asked) > self.limit:
            raise Endless
        self.meanwhile()
        answer = super().get(endpoint, params, page=page, partition=partition)
        self.meanwhile()
        return answer

    def setup(self, tick: float, skew: float) -> None:
        self.history = []
        self.keys: list[Any] = []
        self.tick = timedelta(seconds=tick)
        self.skew = timedelta(hours=skew)
        self.now = START

    def write(self, write: Write) -> None:
        """Write, unless the row is gone."""
        if write.later:
            self.now += timedelta(seconds=0.3)
        late = self.delay if write.late else timedelta()
        if write.kind == "edit all":
            for key in [key for key in self.keys if self.exists(key)]:
                self.change("edit", key, late)
                self.now += timedelta(seconds=0.3 if write.later else 0)
        elif write.kind in self.creates:
            self.create(write.kind, late)
        elif write.which < len(self.keys) and self.exists(self.keys[write.which]):
            self.change(write.kind, self.keys[write.which], late)

    def create(self, kind: str, late: timedelta) -> None:
        raise NotImplementedError

    def change(self, kind: str, key: Any, late: timedelta) -> None:
        raise NotImplementedError

    def exists(self, key: Any) -> bool:
        raise NotImplementedError

    def order(self, key: Any) -> Any:
        """What decides the order of rows that the API sorts alike."""
        return crc32(f"{key} {len(self.asked)}".encode()) if self.shuffles else key


class ListModel(Model):
    """Lists rows. A version that is late is shown from a later moment on.

    Nothing shows that a row is gone. Where that moves others to other pages, a total has to reveal
    it, and it cannot if a row comes in the same moment.
    """

    def setup(self, tick: float, skew: float) -> None:
        super().setup(tick, skew)
        self.rows: dict[Any, Row] = {}
        self.shown: dict[Any, Row] = {}
        self.coming: list[tuple[datetime, Any, Row]] = []

    def exists(self, key: Any) -> bool:
        return key in self.rows

    def put(self, key: Any, row: Row, late: timedelta, at: datetime | None = None) -> None:
        self.rows[key] = row
        self.history.append(Wrote(key, row, at or self.now))
        self.coming.append((self.now + late, key, row))

    def delete(self, key: Any) -> None:
        self.history.append(Wrote(key, None, self.now, self.rows.pop(key), revealed=False))
        self.coming = [one for one in self.coming if one[1] != key]
        self.shown.pop(key, None)

    def visible(self) -> list[Row]:
        for one in [one for one in self.coming if one[0] <= self.now]:
            self.coming.remove(one)
            _, key, row = one
            if key not in self.shown or self.number(self.shown[key]) < self.number(row):
                self.shown[key] = row
        return list(self.shown.values())

    def number(self, row: Row) -> int:
        """The number of a version."""
        number: int = row["v"]
        return number


class SalesloftModel(ListModel):
    """Meetings, sorted by creation or by time of change.

    ``hides_cancelled``: whether those have to be asked for apart. The total tells when a row
    vanishes, but not if another one becomes visible further down at once.
    """

    provider = "Salesloft"
    delay = timedelta(minutes=10)
    changes = ("edit", "cancel", "delete")
    hides_cancelled = False

    def create(self, kind: str, late: timedelta) -> None:
        id = len(self.keys) + 1
        self.keys.append(id)
        stamp = timestamps.iso(self.now)
        row = {"id": id, "created_at": stamp, "updated_at": stamp, "canceled_at": None, "v": 0}
        self.put(id, row, late)

    def change(self, kind: str, key: Any, late: timedelta) -> None:
        if kind == "delete":
            self.delete(key)
            return
        row = self.rows[key]
        stamp = timestamps.iso(self.now)
        new = {**row, "updated_at": stamp, "v": row["v"] + 1}
        self.put(key, {**new, "canceled_at": stamp} if kind == "cancel" else new, late)

    def answer(self, asked: Asked) -> Answer:
        assert asked.endpoint == "meetings"
        params = asked.params
        rows = self.visible()
        wanted = params.get("show_deleted") or ("false" if self.hides_cancelled else None)
        if "ids[]" in params:
            rows = [row for row in rows if str(row["id"]) == params["ids[]"]]
        if wanted is not None:
            rows = [row for row in rows if str(bool(row["canceled_at"])).lower() == wanted]
        first, end = params.get("created_at[gte]", ""), params.get("created_at[lt]", "Z")
        rows = [row for row in rows if first <= row["created_at"] < end]
        field = params.get("sort_by", "created_at")
        descends = params.get("sort_direction", "DESC") == "DESC"
        rows.sort(key=lambda row: (row[field], self.order(row["id"])), reverse=descends)
        size, number = int(params.get("per_page", self.size)), int(asked.page or 1)
        more = number * size < len(rows)
        body = {
            "metadata": {
                "filtering": {} if wanted is None else {"show_deleted": wanted},
                "paging": {"per_page": size, "next_page": number + 1 if more else None},
                "sorting": {"sort_by": field},
            }
        }
        found = [dict(row) for row in rows[(number - 1) * size : number * size]]
        return Answer(found, self.clock, body=body, total=len(rows))


class RowsModel(ListModel):
    """Rows in an order that never changes, as ``UpdatedSince`` reads them.

    New rows come at the ``front`` or at the ``end``. ``counts`` is what an answer says of the
    number of rows: ``rows``, ``pages``, ``nothing``, or the ``token`` of the next page instead.
    ``lists_newest``: whether it can be sorted by time of change. ``excludes``: the filter leaves
    out the very moment it is given.
    """

    delay = timedelta(seconds=120)
    creates = ("front", "end")
    counts = "rows"
    lists_newest = True
    excludes = False

    def create(self, kind: str, late: timedelta) -> None:
        key = f"{1000 + len(self.keys) * (-1 if kind == 'front' else 1)}"
        self.keys.append(key)
        self.put(key, self.row(key, 0, self.now, self.now), late, self.stamped)

    def change(self, kind: str, key: Any, late: timedelta) -> None:
        if kind == "delete":
            self.delete(key)
            return
        row = self.rows[key]
        number, created = self.number(row) + 1, timestamps.parse(row["created_at"])
        self.put(key, self.row(key, number, created, self.now), late, self.stamped)

    @property
    def stamped(self) -> datetime:
        return self.now

    def row(self, key: str, number: int, created: datetime, changed: datetime) -> Row:
        stamps = {"created_at": timestamps.iso(created), "updated_at": timestamps.iso(changed)}
        return {"id": key, "v": number, **stamps}

    def passes(self, asked: Asked, row: Row) -> bool:
        since = asked.params.get("updated_since")
        return since is None or self.reaches(row["updated_at"], timestamps.parse(since))

    def reaches(self, stamp: str, bound: datetime) -> bool:
        moment = timestamps.parse(stamp)
        return moment > bound if self.excludes else moment >= bound

    def answer(self, asked: Asked) -> Answer:
        assert asked.endpoint in ("list", "export")
        rows = [row for row in self.visible() if self.passes(asked, row)]
        if asked.params.get("sort") == "-updated_at":
            rows.sort(key=lambda row: (row["updated_at"], row["id"]), reverse=True)
        else:
            rows.sort(key=self.place)
        if self.counts == "token":
            rows = [row for row in rows if asked.page is None or self.place(row) > str(asked.page)]
            found = [copy(row) for row in rows[: self.size]]
            following = self.place(found[-1]) if len(rows) > self.size else None
            return Answer(found, self.clock, body={}, following=following)
        number = int(asked.page or 1)
        found = [copy(row) for row in rows[(number - 1) * self.size : number * self.size]]
        total = len(rows) if self.counts == "rows" else None
        pages = -(-len(rows) // self.size) if self.counts == "pages" else None
        return Answer(found, self.clock, body={}, total=total, pages=pages)

    def place(self, row: Row) -> Any:
        return row["id"]

    def pages_by_token(self, endpoint: str) -> bool:
        return self.counts == "token"


class ParticipantsModel(RowsModel):
    """ExpoPlatform's export: two events, two filters, and stamps in whole seconds.

    Rows come in the order of accounts, of which every second one is in the other event.
    """

    provider = "ExpoPlatform"

    @property
    def stamped(self) -> datetime:
        return self.now.replace(microsecond=0)

    def row(self, key: str, number: int, created: datetime, changed: datetime) -> Row:
        raw = {
            "Meeting ID": 7,
            "Account ID": int(key),
            "Status": str(number),
            "Creation Time": int(created.timestamp()),
            "Last Modified": int(changed.timestamp()),
        }
        return expoplatform.normalise(raw, int(key) % 2)

    def number(self, row: Row) -> int:
        return int(row["status"])

    def passes(self, asked: Asked, row: Row) -> bool:
        if str(row["event_id"]) != asked.params["event_id"]:
            return False
        fields = {"created_from": "created_at", "last_modified_from": "last_modified_at"}
        return all(
            self.reaches(row[field], timestamps.EPOCH + timedelta(seconds=int(bound)))
            for name, field in fields.items()
            if (bound := asked.params.get(name)) is not None
        )

    def place(self, row: Row) -> Any:
        return row["account_id"]


class HighLevelModel(Model, FakeHighLevel):
    """Two calendars. What is deleted is shown as such, or is not shown any more (``hides``)."""

    creates = ("ahead", "past")
    changes = ("edit", "ahead again", "past again", "move", "delete")
    hides = False

    def __init__(self, **_: Any) -> None:
        FakeHighLevel.__init__(self, "one", "two")

    def setup(self, tick: float, skew: float) -> None:
        super().setup(tick, skew)
        self.cap = 2
        self.moves = 0

    def exists(self, key: Any) -> bool:
        return key in self.events

    def start(self, kind: str) -> datetime:
        """No two events start at the same time: an answer that is cut off could not be cut."""
        self.moves += 1
        days = 20 if kind.startswith("ahead") else -700
        return START + timedelta(days=days, minutes=self.moves)

    def create(self, kind: str, late: timedelta) -> None:
        id = self.insert("one" if len(self.keys) % 3 else "two", self.start(kind))
        self.keys.append(id)
        self.note(id)

    def change(self, kind: str, key: Any, late: timedelta) -> None:
        if kind == "delete" and self.hides:
            self.history.append(Wrote(key, None, self.now, self.events.pop(key), revealed=False))
            return
        fields: dict[str, Any] = {}
        if kind.endswith("again"):
            fields["startTime"] = timestamps.iso(self.start(kind))
        elif kind == "move":
            fields["calendarId"] = "two" if self.events[key]["calendarId"] == "one" else "one"
        elif kind == "delete":
            fields["deleted"] = True
        self.edit(key, **fields)
        self.note(key)

    def note(self, key: str) -> None:
        row = dict(self.events[key])
        self.history.append(Wrote(key, row, timestamps.parse(row["dateUpdated"])))


class CloseModel(Model, FakeClose):
    """Meetings and the event log, whose events may be late. Meetings start soon, or started long
    ago, outside the window that every sync reads again.
    """

    delay = timedelta(minutes=5)
    creates = ("near", "far")
    changes = ("edit", "cancel", "near again", "far again", "delete")
    prompt = ()

    def __init__(self, **_: Any) -> None:
        FakeClose.__init__(self, page_size=2)

    def setup(self, tick: float, skew: float) -> None:
        super().setup(tick, skew)
        self.shuffle = self.order

    def exists(self, key: Any) -> bool:
        return key in self.meetings

    def start(self, kind: str) -> datetime:
        day = START - timedelta(days=5) if kind.startswith("near") else LONG_AGO
        return day + timedelta(seconds=len(self.keys) // 2)

    def create(self, kind: str, late: timedelta) -> None:
        id = self.insert(self.start(kind), late=late)
        self.keys.append(id)
        self.note(id)

    def change(self, kind: str, key: Any, late: timedelta) -> None:
        last = self.meetings[key]
        if kind == "delete":
            self.delete(key, late=late)
            self.history.append(Wrote(key, None, self.now, last, revealed=self.reveals_deletions))
            return
        if kind.endswith("again"):
            moved = {"date_created": timestamps.iso(self.start(kind))}
            self._change(key, "updated", moved, late=late)
        else:
            self.edit(key, action="canceled" if kind == "cancel" else "updated", late=late)
        self.note(key)

    reveals_deletions = True

    def note(self, key: str) -> None:
        self.history.append(Wrote(key, self.emitted_row(key), self.now))

    def emitted_row(self, key: str) -> Row:
        return dict(self.meetings[key])


class TranscriptsModel(CloseModel):
    """The same, with an endpoint for single meetings and their transcripts.

    A transcript leaves no event and no stamp. Deletions are told by the other stream.
    """

    changes = ("edit", "far again", "transcribe", "delete")
    prompt = ("transcribe",)
    reveals_deletions = False

    def setup(self, tick: float, skew: float) -> None:
        super().setup(tick, skew)
        self.transcribed: set[str] = set()

    def change(self, kind: str, key: Any, late: timedelta) -> None:
        if kind != "transcribe":
            super().change(kind, key, late)
        elif key not in self.transcribed and self.meetings[key]["date_created"] > "2026":
            self.transcribed.add(key)
            self.note(key)

    def insert(self, starts: datetime, **event: Any) -> str:
        id = super().insert(starts, **event)
        self.meetings[id]["status"] = "completed"
        return id

    def emitted_row(self, key: str) -> Row:
        transcripts = [{"utterances": [1]}] if key in self.transcribed else []
        return {**self.meetings[key], "transcripts": transcripts}

    def answer(self, asked: Asked) -> Answer:
        if asked.endpoint != "meeting":
            return super().answer(asked)
        key = asked.partition["id"]
        if key not in self.meetings:
            return Answer([], self.clock, status=404)
        return Answer([self.emitted_row(key)], self.clock, body={})
