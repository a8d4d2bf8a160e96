"""Salesloft: `GET /v2/meetings`, `GET /v2/me` and the token endpoint.

The source of each behavior is noted next to it:
    [R]  the reference, https://developers.salesloft.com/docs/api/meetings-index/
    [S]  the vendor's sample,
         https://developers.salesloft.com/docs/platform/external-calendars/watch-for-meetings-created-through-salesloft/
    [C]  conventions, limits, errors and authentication of https://developers.salesloft.com,
         read in a transcription
    [O]  observed: answers recorded or handled in public code and issues
    [A]  assumed: no source
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from threading import RLock
from typing import Any

from sandbox.clock import Clock, iso_micros, parse_time, to_micros
from sandbox.oauth import OAuth, OAuthError, authorize_page
from sandbox.salesloft_rows import DAY, MINUTE, make_row, make_stamps
from sandbox.side import Call, Reply, Row, Side
from sandbox.table import FOREVER, NULL, Table

SORT_KEYS = ("start_time", "created_at", "updated_at")
STAMPS = (*SORT_KEYS, "canceled_at")
STATUSES = ("pending", "booked", "failed", "retry")
MIXED_IDS = ("account_id", "task_id", "meeting_type_id")
MINUTE_BUDGET = 600  # [C] points a minute and team
COUNT_LIMIT = 10_000  # [R] limit_paging_counts
SCOPE = "meetings:read"

_RANGE = re.compile(r"(start_time|created_at|updated_at)\[(gt|gte|lt|lte)\]")


def page_cost(page: int) -> int:
    """[C] The points that a request for this page costs."""
    for last, cost in ((100, 1), (150, 3), (250, 8), (500, 10)):
        if page <= last:
            return cost
    return 30


class _Refused(Exception):
    def __init__(self, status: int, payload: Any) -> None:
        self.reply = Reply(payload, status)


def _invalid(field: str, message: str) -> _Refused:
    return _Refused(422, {"errors": {field: [message]}})  # [C]


class Meetings(Mapping[int, Row]):
    """id -> row as served. A generated row is made on request; a written one is kept."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._generated: list[tuple[range, int]] = []  # ids, seed
        self.written: dict[int, Row] = {}

    def generated(self, ids: range, seed: int) -> None:
        self._generated.append((ids, seed))

    def __getitem__(self, id: int) -> Row:
        if id not in self._table:
            raise KeyError(id)
        if id in self.written:
            return self.written[id]
        seed = next(seed for ids, seed in self._generated if id in ids)
        return make_row(id, seed, *(self._table.column(name)[id] for name in STAMPS))

    def __iter__(self) -> Iterator[int]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


class SalesloftSide(Side):
    """The options are attributes; tests set them.

    show_deleted_default    "both" or "active": the default of `show_deleted` ([R] does not say;
                            "active" also echoes it as an applied filter) [A]
    updated_at_filter       apply `updated_at[...]`; in [R], it is an unknown name
    omit_paging             True or page numbers: leave `metadata.paging` out [O]
    ignore_sort             sort by start_time whatever is requested, and echo that order
    unstable_ties           rows with equal sort keys change places between requests ([C] documents
                            no tiebreaker); a number gives another sequence of orders
    cancel_updates          a cancellation changes `updated_at` [A]
    rate_limit              points per minute; None: not enforced
    rate_clock              "sandbox" or "real": the clock of the minutes
    keys                    API key -> its scopes
    """

    name = "salesloft"
    actions = (*Side.actions, "reschedule")
    options = (
        "show_deleted_default",
        "updated_at_filter",
        "omit_paging",
        "ignore_sort",
        "unstable_ties",
        "cancel_updates",
        "rate_limit",
        "rate_clock",
    )

    def __init__(self, clock: Clock, lock: RLock) -> None:
        super().__init__(clock, lock)
        self.show_deleted_default = "both"
        self.updated_at_filter = False
        self.omit_paging: bool | set[int] | list[int] = False
        self.ignore_sort = False
        self.unstable_ties: bool | int = False
        self.cancel_updates = True
        self.rate_limit: int | None = None
        self.rate_clock = "sandbox"
        self.keys: dict[str, set[str]] = {"ak_sandbox": {SCOPE}}
        self.oauth = OAuth(clock, lifetime=7200, scope=SCOPE)  # [C] two hours
        self._table = Table(STAMPS, sorted_by=SORT_KEYS)
        self.meetings = Meetings(self._table)
        self._minute = -1
        self._spent = 0
        self._lists_served = 0

    @property
    def base_url(self) -> str:
        return f"{self.root}/v2"

    @property
    def token_url(self) -> str:
        return f"{self.root}/oauth/token"

    # ------------------------------------------------------------------ data

    def generate(self, count: int = 1000, seed: int = 1, years: float = 3) -> int:
        """Add meetings created in the `years` before now. The same seed gives the same ones."""
        with self.lock:
            stamps = make_stamps(count, seed, years, self.clock.micros())
            ids = self._table.extend(count, vars(stamps))
            self.meetings.generated(ids, seed)
            return count

    def insert(self, **fields: Any) -> int:
        """Add a meeting. It starts in a week unless `start_time` is one of the fields."""
        with self.lock:
            now = to_micros(self.clock.tick())
            start = _micros(fields.get("start_time", iso_micros(now + 7 * DAY)))
            id = self._table.add(dict.fromkeys(STAMPS, NULL))
            self._write(make_row(id, 0, start, now, now), fields)
            return id

    def edit(self, id: int, **fields: Any) -> None:
        """Change fields. `updated_at` is now, unless it is one of them."""
        with self.lock:
            row = self.meetings[id]
            self._write(row, {"updated_at": iso_micros(to_micros(self.clock.tick())), **fields})

    def reschedule(self, id: int, start_time: str) -> None:
        """Move a meeting. Its length stays the same. [A] The same row, no longer a no-show."""
        with self.lock:
            row = self.meetings[id]
            start, length = to_micros(parse_time(start_time)), 30 * MINUTE
            if row["start_time"] and row["end_time"]:
                length = _micros(row["end_time"]) - _micros(row["start_time"])
            self.edit(
                id,
                start_time=iso_micros(start),
                end_time=iso_micros(start + length),
                no_show=False,
            )

    def cancel(self, id: int) -> None:
        """A cancelled meeting is still a row, with `canceled_at` set [R]."""
        with self.lock:
            row = self.meetings[id]
            now = iso_micros(to_micros(self.clock.tick()))
            changes = {"canceled_at": now}
            if self.cancel_updates:
                changes["updated_at"] = now
            self._write(row, changes)

    def delete(self, id: int) -> None:
        """A hard delete leaves no trace [A], and has no webhook either [C]."""
        with self.lock:
            if id not in self._table:
                raise KeyError(id)
            self.clock.tick()
            self._table.remove(id)
            self.meetings.written.pop(id, None)

    def _write(self, row: Row, fields: dict[str, Any]) -> None:
        if "id" in fields:
            raise ValueError("the server assigns ids")
        row = {**row, **fields}
        stamps = {name: _micros(row[name]) for name in STAMPS}
        self._table.move(row["id"], stamps)
        self.meetings.written[row["id"]] = row

    def truth(self) -> dict[str, Row]:
        with self.lock:
            return {str(id): _normalised(row) for id, row in self.meetings.items()}

    def sizes(self) -> dict[str, int]:
        return {"meetings": len(self.meetings)}

    # ------------------------------------------------------------------ requests

    def answer(self, call: Call) -> Reply:
        if call.path == "/oauth/token" and call.method == "POST":
            return self._token(call)
        if call.path == "/oauth/authorize" and call.method == "GET":
            return authorize_page(self.oauth, call)
        cost = 1
        try:
            scopes = self._authenticate(call)
            path = call.path.removesuffix(".json")  # older documents write /v2/me.json
            if (call.method, path) == ("GET", "/v2/meetings"):
                page = max(1, _integer(call, "page", 1))  # [C] silently corrected
                cost = page_cost(page)
                self._spend(cost)
                if SCOPE not in scopes:
                    raise _Refused(403, {"error": "You do not have access to this resource"})  # [C]
                reply = self._list(call, page)
            elif (call.method, path) == ("GET", "/v2/me"):  # needs no scope for meetings [O]
                self._spend(cost)
                reply = Reply({"data": {"id": 1, "guid": "sandbox", "email": "me@example.com"}})
            else:
                self._spend(cost)
                raise _Refused(404, {"error": "Not Found"})  # [C]
        except _Refused as refusal:
            reply = refusal.reply
        reply.points = 0 if reply.status in (401, 429) else cost
        reply.headers = {
            "x-ratelimit-remaining-minute": str(self._remaining()),
            "x-ratelimit-endpoint-cost": str(cost),
        }
        return reply

    def _authenticate(self, call: Call) -> set[str]:
        """The caller's scopes. API keys and OAuth tokens are both bearer tokens [C]."""
        token = call.bearer()
        if token is None:
            message = "No Bearer Token attached to request, please see documentation at developers"
            raise _Refused(401, {"error": f"{message}.salesloft.com"})  # [O]
        if token in self.keys:
            return self.keys[token]
        if self.oauth.accepts(token):
            return set(self.oauth.scope.split())
        raise _Refused(401, {"error": "Unauthorized"})  # [A] for the text

    def _spend(self, cost: int) -> None:
        """[C] Points are counted per team and minute. [O] The 429 has no Retry-After."""
        remaining = self._remaining()
        if self.rate_limit is not None and cost > remaining:
            raise _Refused(429, {"error": "API rate limit exceeded"})
        self._spent += cost

    def _remaining(self) -> int:
        now = time.time() if self.rate_clock == "real" else self.clock.now().timestamp()
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._spent = minute, 0
        budget = MINUTE_BUDGET if self.rate_limit is None else self.rate_limit
        return max(0, budget - self._spent)

    def _token(self, call: Call) -> Reply:
        """[C] Answers with a new refresh token. All older ones are revoked at once."""
        try:
            pair = self.oauth.grant(call.form())
        except OAuthError as error:
            return Reply(
                {"error": error.error, "error_description": error.description}, error.status
            )
        return Reply(
            {
                "access_token": pair.access,
                "token_type": "Bearer",
                "expires_in": self.oauth.lifetime,
                "refresh_token": pair.refresh,
                "scope": self.oauth.scope,
                "created_at": int(self.clock.now().timestamp()),
            }
        )

    # ------------------------------------------------------------------ GET /v2/meetings

    def _list(self, call: Call, page: int) -> Reply:
        sort_by = _one(call, "sort_by") or "start_time"
        direction = (_one(call, "sort_direction") or "DESC").upper()
        if sort_by not in SORT_KEYS:
            raise _invalid("sort_by", f"must be one of: {', '.join(SORT_KEYS)}")
        if direction not in ("ASC", "DESC"):
            raise _invalid("sort_direction", "must be one of: ASC, DESC")
        if self.ignore_sort:
            sort_by = "start_time"
        per_page = min(100, max(1, _integer(call, "per_page", 25)))  # [C] silently corrected

        echo: dict[str, Any] = {}  # [S] what was applied is echoed in metadata.filtering
        bounds = self._bounds(call, echo)
        if ids := _integers(call, "ids"):
            echo["ids"] = sorted(ids)
        keep = self._filters(call, echo)
        found = self._table.select(sort_by, bounds, keep, among=ids or None, token=str(echo))
        self._lists_served += 1
        if self.unstable_ties:
            found = found.reordered_ties(salt=hash((self.unstable_ties, self._lists_served)))
        offset = (page - 1) * per_page
        rows = [self.meetings[id] for id in found.page(offset, per_page, direction == "DESC")]
        if _flag(call, "include_meetings_settings"):
            rows = [_with_settings(row) for row in rows]

        paging: dict[str, Any] = {
            "per_page": per_page,
            "current_page": page,
            "next_page": page + 1 if offset + per_page < len(found) else None,
            "prev_page": page - 1 if page > 1 else None,
        }
        if _flag(call, "include_paging_counts"):
            total = len(found)
            if _flag(call, "limit_paging_counts"):
                total = min(total, COUNT_LIMIT)  # only the counts; all rows can be read
            paging |= {"total_pages": -(-total // per_page), "total_count": total}
        # [C] nulls come first in ascending order and last in descending order
        nulls = "DESC NULLS LAST" if direction == "DESC" else "ASC NULLS FIRST"
        metadata: dict[str, Any] = {
            "filtering": echo,
            "paging": paging,
            "sorting": {"sort_by": sort_by, "sort_direction": nulls},
        }
        omit = self.omit_paging
        if omit if isinstance(omit, bool) else page in omit:
            del metadata["paging"]
        return Reply({"metadata": metadata, "data": rows})

    def _bounds(self, call: Call, echo: dict[str, Any]) -> dict[str, tuple[int, int]]:
        """[R] `created_at[gte]=...` and so on, compared in microseconds."""
        bounds: dict[str, tuple[int, int]] = {}
        for name, value in call.params:
            match = _RANGE.fullmatch(name)
            if match is None:
                continue  # [C] a filter that does not exist is silently ignored
            field, operator = match.groups()
            if field == "updated_at" and not self.updated_at_filter:
                continue  # [R] has no such filter
            try:
                stamp = to_micros(parse_time(value))
            except ValueError:  # [O] a malformed date is a server error
                payload = {"status": 500, "error": "Internal Server Error"}
                raise _Refused(500, payload) from None
            low, high = bounds.get(field, (NULL + 1, FOREVER))  # a bound excludes nulls
            if operator in ("gt", "gte"):
                low = max(low, stamp + (operator == "gt"))
            else:
                high = min(high, stamp + (operator == "lte"))
            bounds[field] = (low, high)
            echo.setdefault(field, {})[operator] = value
        return bounds

    def _filters(self, call: Call, echo: dict[str, Any]) -> Callable[[int], bool] | None:
        """The filters of [R] that are not ranges, as one predicate over ids."""
        checks: list[Callable[[int], bool]] = []
        row_checks: list[Callable[[Row], bool]] = []

        canceled = self._table.column("canceled_at")
        show_deleted = _boolean(call, "show_deleted")
        if show_deleted is None and self.show_deleted_default == "active":
            show_deleted = False
        if show_deleted is not None:
            echo["show_deleted"] = show_deleted
            checks.append(lambda id: (canceled[id] != NULL) == show_deleted)

        if status := _one(call, "status"):
            if status not in STATUSES:
                raise _invalid("status", f"must be one of: {', '.join(STATUSES)}")
            echo["status"] = status
            row_checks.append(lambda row: row["status"] == status)

        no_show = _boolean(call, "no_show")
        if no_show is not None:
            echo["no_show"] = no_show
            row_checks.append(lambda row: row["no_show"] == no_show)

        # [R] if both are given, they are ORed
        events, uids = _many(call, "event_ids"), _many(call, "i_cal_uids")
        if events or uids:
            echo |= {k: sorted(v) for k, v in (("event_ids", events), ("i_cal_uids", uids)) if v}
            row_checks.append(lambda row: row["event_id"] in events or row["i_cal_uid"] in uids)

        def among(parameter: str, wanted: set[str], value: Callable[[Row], Any]) -> None:
            if wanted:
                echo[parameter] = sorted(wanted)
                row_checks.append(lambda row: str(value(row)) in wanted)

        among("person_id", _many(call, "person_id"), _id_in("person"))
        among("person_ids", {str(id) for id in _integers(call, "person_ids")}, _id_in("person"))
        among("account_id", _many(call, "account_id"), lambda row: row["account_id"])
        among(
            "task_ids", {str(id) for id in _integers(call, "task_ids")}, lambda row: row["task_id"]
        )
        among("user_guids", _many(call, "user_guids"), _id_in("owned_by_user"))
        among("booked_by_user_uuid", _many(call, "booked_by_user_uuid"), _id_in("booked_by_user"))
        among("cadence_id", _many(call, "cadence_id"), _id_in("cadence"))
        among("step_id", _many(call, "step_id"), _id_in("step"))
        # [R] has this word for default personal meetings. [A] Those have no type id.
        among(
            "meeting_type_id",
            _many(call, "meeting_type_id"),
            lambda row: row["meeting_type_id"] or "default_personal_meeting",
        )

        if row_checks:
            checks.append(lambda id: _all_hold(row_checks, self.meetings[id]))
        if not checks:
            return None
        return lambda id: all(check(id) for check in checks)


def _all_hold(checks: list[Callable[[Row], bool]], row: Row) -> bool:
    return all(check(row) for check in checks)


def _micros(text: str | None) -> int:
    return to_micros(parse_time(text)) if text else NULL


def _normalised(row: Row) -> Row:
    ids = {name: None if row[name] is None else str(row[name]) for name in MIXED_IDS}
    return {**row, **ids}


def _with_settings(row: Row) -> Row:
    settings = {"email_address": row["calendar_id"]}
    return {
        **row,
        "owned_by_meetings_settings": settings,
        "booked_by_meetings_settings": settings if row["booked_by_user"] else None,
    }


def _id_in(field: str) -> Callable[[Row], Any]:
    return lambda row: (row[field] or {}).get("id")


def _many(call: Call, name: str) -> set[str]:
    """The values of `name=` and `name[]=`, each repeated any number of times."""
    return {value for key, value in call.params if key in (name, f"{name}[]") and value}


def _one(call: Call, name: str) -> str | None:
    values = [value for key, value in call.params if key == name]
    return values[-1] if values else None


def _integers(call: Call, name: str) -> set[int]:
    try:
        return {int(value) for value in _many(call, name)}
    except ValueError:
        raise _invalid(name, "must be integers") from None


def _integer(call: Call, name: str, default: int) -> int:
    try:
        return int(_one(call, name) or default)
    except ValueError:
        return default  # [C] silently corrected


def _boolean(call: Call, name: str) -> bool | None:
    value = _one(call, name)
    if value is None:
        return None
    if value not in ("true", "false"):
        raise _invalid(name, "must be true or false")
    return value == "true"


def _flag(call: Call, name: str) -> bool:
    return _one(call, name) == "true"
