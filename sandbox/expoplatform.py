"""ExpoPlatform: `GET /api/v2/meetings/export`, one row for each participant of a meeting.

The source of each behavior is noted next to it:
    [D]  documented, https://help.expoplatform.com/admin-home/meetings-api (the parameters) and
         https://help.expoplatform.com/admin-home/api-keys (the header, the life of a key)
    [A]  assumed: no source. This covers the whole answer: its envelope, keys, times and totals.
         So each plausible form can be chosen, and none of them is claimed to be the real one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from threading import RLock
from typing import Any

from sandbox.clock import Clock, iso_micros
from sandbox.side import Call, Reply, Row, Side

EXPORT = "/api/v2/meetings/export"
DEFAULT_PAGE, LARGEST_PAGE = 100, 500  # [D]
DAY = 86_400

SHAPES = (
    "bare",
    "data",
    "items",
    "meetings",
    "results",
    "rows",
    "records",
    "result",
    "data.items",  # one level deeper
    "data.indexed",  # {"0": row, "1": row}: PHP's array with gaps
    "indexed",
)
KEY_STYLES = ("title", "snake", "camel")
STAMP_STYLES = ("epoch", "epoch_text", "epoch_ms", "iso", "iso_offset", "plain", "apart")
COLUMNS = ("few", "report")
TOTALS = ("none", "total_items", "total", "total_count", "total_pages", "meta")

Key = tuple[int, str, str]


@dataclass
class Participant:
    """One row. Times are epoch seconds, as in the filters."""

    event_id: int
    meeting_id: str
    account_id: str
    status: str
    created: int
    modified: int
    starts: int
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.event_id, self.meeting_id, self.account_id


class ExpoPlatformSide(Side):
    """The options are attributes; tests set them. All but `keys` and the limits are assumed [A].

    shape             one of SHAPES: where the rows are
    key_style         one of KEY_STYLES: `Meeting ID`, `meeting_id` or `meetingId`
    stamp_style       one of STAMP_STYLES; "plain" is `YYYY-MM-DD HH:MM:SS` without a zone, "apart"
                      a date and a time in two columns; "unreadable" is not a time
    columns           one of COLUMNS; "report" adds those of the product's report of meetings, so
                      that a row has about one kilobyte
    totals            one of TOTALS: which counter the answer has, if any ("bare" never has one)
    zone_hours        the UTC offset of "plain" and "apart"
    inclusive         whether a row exactly at the bound of a filter is listed
    repeat_last_page  a page past the end is the last one again, not an empty one
    page_cap          the largest page that is served, whatever is requested
    stamp_lag         seconds by which timestamps are behind the Date header
    hidden_status     the status for an event that the key may not see: 403 or 404
    claim             the function that returns the two totals an answer claims, from the rows of a
                      page, their total and the number of pages
    list_rows         the function that lists the rows for a request's parameters, an order and a
                      column; replace it to make rows on request
    keys              API key -> the events it sees; an empty set: all [D: one key per event]
    switched_off      keys that were switched off after the show: 401 [D]
    """

    name = "expoplatform"
    actions = ("generate", "insert", "edit", "reschedule", "cancel", "delete_participant")
    options = (
        "shape",
        "key_style",
        "stamp_style",
        "columns",
        "totals",
        "zone_hours",
        "inclusive",
        "repeat_last_page",
        "page_cap",
        "stamp_lag",
        "hidden_status",
    )

    def __init__(self, clock: Clock, lock: RLock) -> None:
        super().__init__(clock, lock)
        self.shape = "data"
        self.key_style = "title"
        self.stamp_style = "epoch"
        self.columns = "few"
        self.totals = "total_items"
        self.zone_hours = 0
        self.inclusive = True
        self.repeat_last_page = False
        self.page_cap = LARGEST_PAGE
        self.stamp_lag = 0
        self.hidden_status = 403
        self.keys: dict[str, set[int]] = {"4f1c0ffee4f1c0ffee4f1c0ffee4f1c0ffee4f1c": set()}
        self.switched_off: set[str] = set()
        self.claim: Callable[[list[Row], int, int], tuple[int, int]] = _the_truth
        self.list_rows: Callable[[Mapping[str, int], str, str], Sequence[Participant]] = (
            self._select
        )
        self.rows: dict[Key, Participant] = {}
        self._meetings = 0
        self._sorted: dict[tuple[int, str, bool], list[Participant]] = {}

    @property
    def base_url(self) -> str:
        return self.root

    # ------------------------------------------------------------------ data

    def generate(self, event_id: int = 101, meetings: int = 500, seed: int = 1) -> int:
        """Add meetings of two participants (some of three), created in the last 60 days."""
        with self.lock:
            chance = random.Random(f"{event_id}/{seed}")
            now = self._now()
            added = 0
            for _ in range(meetings):
                meeting_id = self._next_meeting()
                created = now - chance.randrange(DAY, 60 * DAY)
                modified = chance.randrange(created, now)
                starts = now + chance.randrange(-10 * DAY, 30 * DAY) // 900 * 900
                accounts = chance.sample(range(1000, 1000 + max(10, meetings // 3)), 3)
                starts = max(starts, created + 900)
                held = "Completed" if modified >= starts else "Confirmed"  # [A] someone marks it
                for position in range(3 if chance.random() < 0.1 else 2):
                    # The two sides of one meeting see different statuses.
                    status = chance.choice(["Confirmed", ("Pending", "Incoming")[position > 0]])
                    if starts <= now:
                        status = held
                    self._put(
                        Participant(
                            event_id,
                            meeting_id,
                            str(accounts[position]),
                            status,
                            created,
                            modified,
                            starts,
                        )
                    )
                    added += 1
            return added

    def insert(
        self,
        event_id: int = 101,
        accounts: Iterable[int | str] = (1, 2),
        meeting_id: str | None = None,
        **fields: Any,
    ) -> str:
        """Add a meeting with these participants; returns its id."""
        with self.lock:
            meeting_id = meeting_id or self._next_meeting()
            now = self._write_time()
            starts = fields.pop("starts", now + 7 * DAY)
            statuses = ["Pending", "Incoming"] if starts > now else ["Confirmed", "Confirmed"]
            for position, account in enumerate(accounts):
                status = fields.get("status", statuses[position > 0])
                others = {name: value for name, value in fields.items() if name != "status"}
                self._put(
                    Participant(
                        event_id, meeting_id, str(account), status, now, now, starts, others
                    )
                )
            return meeting_id

    def edit(
        self, event_id: int, meeting_id: str, account_id: str | int | None = None, **fields: Any
    ) -> None:
        """Change a meeting's rows, for one participant or all. They are modified now."""
        with self.lock:
            rows = self._of(event_id, meeting_id, account_id)
            now = self._write_time()
            for row in rows:
                known = {name: fields[name] for name in fields if hasattr(row, name)}
                others = {name: fields[name] for name in fields if name not in known}
                changed = replace(row, **{"modified": now, **known})
                self._put(replace(changed, fields={**row.fields, **others}))

    def reschedule(self, event_id: int, meeting_id: str, starts: int | None = None) -> None:
        """[A] A completed row is confirmed again if the meeting has yet to begin."""
        with self.lock:
            starts = starts or self._of(event_id, meeting_id, None)[0].starts + 3600
            self.edit(event_id, meeting_id, starts=starts)
            for row in self._of(event_id, meeting_id, None):
                if row.status == "Completed" and starts > self._now():
                    self._put(replace(row, status="Confirmed"))

    def cancel(self, event_id: int, meeting_id: str, account_id: str | int | None = None) -> None:
        """One participant can cancel without ending the meeting for the others [A]."""
        self.edit(event_id, meeting_id, account_id, status="Cancelled")

    def delete_participant(
        self, event_id: int, meeting_id: str, account_id: str | int | None = None
    ) -> None:
        """Remove the row from the export. There is no tombstone [A]."""
        with self.lock:
            for row in self._of(event_id, meeting_id, account_id):
                del self.rows[row.key]
            self._write_time()
            self._sorted.clear()

    def _of(
        self, event_id: int, meeting_id: str, account_id: str | int | None
    ) -> list[Participant]:
        found = [
            row
            for row in self.rows.values()
            if (row.event_id, row.meeting_id) == (event_id, str(meeting_id))
            and account_id in (None, row.account_id, _number(row.account_id))
        ]
        if not found:
            raise LookupError(f"no participant {account_id} of meeting {meeting_id}")
        return found

    def _put(self, row: Participant) -> None:
        self.rows[row.key] = row
        self._sorted.clear()

    def _next_meeting(self) -> str:
        self._meetings += 1
        return str(70_000 + self._meetings)

    def _now(self) -> int:
        return int(self.clock.now().timestamp()) - self.stamp_lag

    def _write_time(self) -> int:
        return int(self.clock.tick().timestamp()) - self.stamp_lag

    def truth(self) -> dict[str, Row]:
        """Normalized rows by `event|meeting|account`, without `raw`."""
        with self.lock:
            return {
                "|".join(map(str, key)): self._normalised(row) for key, row in self.rows.items()
            }

    def _normalised(self, row: Participant) -> Row:
        shift = self.zone_hours * 3600 if self.stamp_style in ("plain", "apart") else 0
        created, modified, starts = (
            iso_micros((stamp + shift) * 1_000_000)
            for stamp in (row.created, row.modified, row.starts)
        )
        return {
            "event_id": row.event_id,
            "meeting_id": row.meeting_id,
            "account_id": row.account_id,
            "status": row.status,
            "created_at": created,
            "last_modified_at": modified,
            "modified_at": max(created, modified),
            "starts_at": starts,
        }

    def sizes(self) -> dict[str, int]:
        return {"participants": len(self.rows)}

    # ------------------------------------------------------------------ requests

    def answer(self, call: Call) -> Reply:
        if (call.method, call.path) != ("GET", EXPORT):
            return Reply({"error": "Not found"}, 404)
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if scheme != "Basic" or key not in self.keys or key in self.switched_off:
            return Reply({"error": "Unauthorized"}, 401)
        try:
            asked = {name: int(value) for name, value in call.params if name in _INTEGERS}
        except ValueError:
            return Reply({"error": "Bad request"}, 400)
        if "event_id" not in asked:
            return Reply({"error": "event_id is required"}, 400)
        events = self.keys[key]
        if events and asked["event_id"] not in events:
            return Reply({"error": "No access to this event"}, self.hidden_status)
        texts = dict(call.params)
        order, order_by = texts.get("order", "ASC"), texts.get("order_by", "account_id")
        if order not in ("ASC", "DESC") or order_by not in ("account_id", "time"):  # [D]
            return Reply({"error": "Bad request"}, 400)
        found = self.list_rows(asked, order, order_by)
        size = min(max(1, asked.get("per_page", DEFAULT_PAGE)), LARGEST_PAGE, self.page_cap)
        page = max(1, asked.get("page", 1))
        pages = -(-len(found) // size)
        if self.repeat_last_page and pages:
            page = min(page, pages)
        rows = [self._served(row) for row in found[(page - 1) * size : page * size]]
        return Reply(self._enveloped(rows, *self.claim(rows, len(found), pages)))

    def _select(self, asked: Mapping[str, int], order: str, order_by: str) -> list[Participant]:
        """[D] for the filters. [A] for ANDing them, and for `inclusive`."""
        known = (asked["event_id"], order_by, order == "DESC")
        if known not in self._sorted:
            rows = [row for row in self.rows.values() if row.event_id == asked["event_id"]]
            # [A] rows of one account keep the order in which they were made
            by: Callable[[Participant], Any] = (
                (lambda row: (_number(row.account_id), _number(row.meeting_id)))
                if order_by == "account_id"
                else (lambda row: (row.starts, _number(row.meeting_id)))
            )
            self._sorted[known] = sorted(rows, key=by, reverse=order == "DESC")
        least = 0 if self.inclusive else 1
        checks: list[Callable[[Participant], bool]] = []
        for name, column in _FILTERS.items():
            if f"{name}_from" in asked:
                low = asked[f"{name}_from"] + least
                checks.append(lambda row, c=column, v=low: getattr(row, c) >= v)  # type: ignore[misc]
            if f"{name}_to" in asked:
                high = asked[f"{name}_to"] - least
                checks.append(lambda row, c=column, v=high: getattr(row, c) <= v)  # type: ignore[misc]
        if "account_id" in asked:
            account = str(asked["account_id"])
            checks.append(lambda row: row.account_id == account)
        return [row for row in self._sorted[known] if all(check(row) for check in checks)]

    def _served(self, row: Participant) -> Row:
        served: Row = {
            "Meeting ID": _number(row.meeting_id),
            "Account ID": _number(row.account_id),
            "Status": row.status,
            **(_report_columns(row) if self.columns == "report" else {}),
            **row.fields,
            **self._stamp("Creation", "Creation Time", row.created),
            **self._stamp("Last Modified", "Last Modified", row.modified),
            **self._stamp("Appointment", "Appointment Time", row.starts),
        }
        return {_key(name, self.key_style): value for name, value in served.items()}

    def _stamp(self, stem: str, whole: str, seconds: int) -> Row:
        moment = datetime.fromtimestamp(seconds, timezone.utc)
        local = moment + timedelta(hours=self.zone_hours)
        if self.stamp_style == "apart":
            return {f"{stem} Date": f"{local:%Y-%m-%d}", f"{stem} Time": f"{local:%H:%M:%S}"}
        styles: dict[str, Any] = {
            "epoch": seconds,
            "epoch_text": str(seconds),
            "epoch_ms": seconds * 1000,
            "iso": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            "iso_offset": moment.astimezone(timezone(timedelta(hours=2))).isoformat(),
            "plain": f"{local:%Y-%m-%d %H:%M:%S}",
            "unreadable": "yesterday",
        }
        return {whole: styles[self.stamp_style]}

    def _enveloped(self, rows: list[Row], total: int, pages: int) -> Any:
        if self.shape == "bare":
            return rows
        counters: dict[str, Row] = {
            "none": {},
            "total_pages": {"total_pages": pages},
            "meta": {"meta": {"total": total, "total_pages": pages}},
        }
        around = counters.get(self.totals, {self.totals: total})
        indexed = {str(number): row for number, row in enumerate(rows)}
        if self.shape == "indexed":
            return indexed if indexed else []
        if self.shape == "data.indexed":
            return {"data": indexed if indexed else [], **around}
        if self.shape == "data.items":
            return {"data": {"items": rows, **around}}
        return {self.shape: rows, **around}

    def page_rows(self, payload: Any) -> list[Any]:
        if isinstance(payload, dict) and isinstance(payload.get("data"), dict):
            payload = payload["data"]
        return super().page_rows(payload)


_FILTERS = {"time": "starts", "created": "created", "last_modified": "modified"}
_INTEGERS = {"event_id", "page", "per_page", "account_id"} | {
    f"{name}_{end}" for name in _FILTERS for end in ("from", "to")
}


def _the_truth(_rows: list[Row], total: int, pages: int) -> tuple[int, int]:
    return total, pages


def _report_columns(row: Participant) -> Row:
    """The columns of the Online Meeting Analytics report, which has a row per participant too."""
    number = int(row.account_id)
    return {
        "Meeting Type": "Scheduled",
        "Meeting Role": ("Initiator", "Receiver")[number % 2],
        "Account Type": ("Exhibitor Team Member", "Visitor", "Buyer")[number % 3],
        "Account Name": f"First {number}",
        "Account Last Name": f"Last {number}",
        "Account Job Title": "Head of Partnerships",
        "Account Category": "Machines / Packaging / Automation",
        "Account Email": f"participant.{number}@example.com",
        "Account Phone Number": f"+49 30 {number:07}",
        "Company Name": f"Company {number // 3}",
        "Account Country": ("Germany", "France", "Japan", "Brazil")[number % 4],
        "Account Agent": None,
        "Account Rating": number % 5 + 1,
        "Account Comment": "Asked for a quotation and for samples. " * (number % 16),
        "Hall": f"Hall {number % 9 + 1}",
        "Stand": f"{number % 9 + 1}-{chr(65 + number % 20)}-{number % 300}",
        "Subscribed Time": row.created,
        "Log In Time": None,
        "Log Out Time": None,
        "Participants Count": 2,
    }


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _key(title: str, style: str) -> str:
    words = title.split()
    if style == "title":
        return title
    if style == "snake":
        return "_".join(words).lower()
    return words[0].lower() + "".join(word.capitalize() for word in words[1:])
