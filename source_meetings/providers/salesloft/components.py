"""What Salesloft's list of meetings needs beyond the manifest.

Facts used here, with their sources:

- ``GET /v2/meetings`` has no filter on ``updated_at``, sorts by ``start_time``, ``created_at`` or
  ``updated_at``, and takes ``created_at[gte]`` and ``created_at[lt]`` with microseconds:
  https://developers.salesloft.com/docs/api/meetings-index/
- Unknown filters are ignored in silence, applied ones are echoed in ``metadata.filtering``; pages
  past 100 cost more points (101-150: 3, 151-250: 8, 251-500: 10, beyond: 30); the budget is 600
  points a minute and team: https://developers.salesloft.com/docs/platform/api-basics/
- What ``show_deleted`` does when it is left out is documented nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from itertools import dropwhile, takewhile
from typing import Any

import requests
from airbyte_cdk.sources.declarative.requesters.error_handlers.backoff_strategy import (
    BackoffStrategy,
)
from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.types import Record, StreamSlice

from source_meetings import timestamps
from source_meetings.http import answer
from source_meetings.sync import Json, ScanInstead, Sync, make_slice, rows_of

_NEWEST_FIRST = {"sort_by": "updated_at", "sort_direction": "DESC"}
_OLDEST_FIRST = {"sort_by": "created_at", "sort_direction": "ASC"}
_COUNTED = {"include_paging_counts": "true", "limit_paging_counts": "false"}

# Last page of each price, and what one page costs up to there.
_PRICES = ((100, 1), (150, 3), (250, 8), (500, 10))
_PAGES_BEFORE_ASKING_AHEAD = 20
_PAGE_SIZE = 100
_MOST_ASKED_AGAIN = 3
_MOST_ROUNDS_OF_A_TIE = 100
_MOST_QUIET_ROUNDS = 10  # of a tie: one row of thousands is then overlooked once in 20,000 times
_MOST_IDLE_PAGES = 3  # of a walk
_A_DAY = timedelta(days=1)
_BEFORE_EVERYTHING = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass
class MeetingsSync(Sync):
    """Reads meetings by ``created_at`` at first, and by ``updated_at``, newest first, afterwards.

    First sync: slices of ``created_at``, which never changes, each read by keyset: every page asks
    for what was created at or after the last row of the page before. So rows that vanish while we
    read cannot push others past a page edge, and no page costs more than one point. Only where one
    creation time fills a whole page is the page number raised.

    Later syncs: pages sorted by ``updated_at``, newest first, until one ends below the saved
    moment, or, as long as that is young, below that moment less ``look_back_minutes``. A row that
    is edited meanwhile jumps to the top, above the moment that is saved, and is read by the next
    sync. Rows that vanish pull unread ones over the page edge; the total of each answer shows that,
    and the page is read again.

    Whether cancelled meetings are listed without asking for them is found out, not assumed: as
    long as no answer has shown one, they are asked for separately (``show_deleted=true``).
    """

    look_back_minutes: int = 10
    meetings_per_slice: int = 2500
    fewest_slices: int = 8
    most_slices: int = 40

    # -- what a first sync and a start date stand for -------------------------------------------

    def initial_state(self) -> Json | None:
        start = self.config.get("start_date")
        return {self.cursor_field: timestamps.iso(timestamps.parse(start))} if start else None

    def begin_scan(self, since: Json | None) -> tuple[Json, Iterable[Json]]:
        newest = self._page({**_NEWEST_FIRST, **_COUNTED}, page=1)
        state = self._complete_state(newest, since)
        bound = timestamps.iso(self._bound(since)) if since else None
        slices: list[Json] = []
        for cancelled in self._passes_of_scan(newest, state):
            slices += self._windows(cancelled, bound)
        return state, slices

    def _bound(self, state: Json) -> datetime:
        """The oldest change to emit: the saved moment less the look-back, never before the start.

        The look-back is for changes that become visible late; nothing is documented, ten minutes
        are a guess. Once that time has passed, it has been read for the last time (``settled``), so
        that thousands of changes made in a moment are not read again at every quiet sync.
        """
        bound = timestamps.parse(state[self.cursor_field])
        if not state.get("settled"):
            bound -= timedelta(minutes=self.look_back_minutes)
        start = timestamps.parse_or_none(self.config.get("start_date"))
        return max(bound, start) if start else bound

    def _passes_of_scan(self, newest: requests.Response, state: Json) -> list[str | None]:
        """Which values of ``show_deleted`` have to be read to read everything."""
        if _echoes_show_deleted(newest):
            state["cancelled"] = "apart"
        elif _shows_cancelled(newest):
            state["cancelled"] = "listed"
        else:
            hidden = self._page({**_NEWEST_FIRST, "show_deleted": "true"}, page=1)
            ids = [row.get("id") for row in rows_of(hidden, "data")]
            if not ids:
                state.pop("cancelled", None)  # none yet: nothing can be told
            else:
                listed = self._page({"ids[]": str(ids[0])}, page=1)
                state["cancelled"] = "listed" if rows_of(listed, "data") else "apart"
        return ["false", "true"] if state.get("cancelled") == "apart" else [None]

    def _windows(self, cancelled: str | None, bound: str | None) -> list[Json]:
        """Cut ``created_at`` from the oldest meeting on into half-open windows of equal length.

        The last one has no end, so that meetings created while we read are read too.
        """
        oldest = self._page({**_OLDEST_FIRST, **_COUNTED, **_deleted(cancelled)}, page=1, size=1)
        rows = rows_of(oldest, "data")
        if not rows:
            return []
        first, last = self._moment(rows[0], "created_at"), timestamps.server_time(oldest.headers)
        total = _total(oldest)
        count = self.fewest_slices if total is None else -(-total // self.meetings_per_slice)
        count = max(self.fewest_slices, min(self.most_slices, count))
        if total is not None:
            count = min(count, -(-total // _PAGE_SIZE))  # no more than there are pages
        if last - first < timedelta(hours=1):
            count = 1
        step = (last - first) / count
        edges = [first + step * number for number in range(count)]
        ends: list[datetime | None] = [*edges[1:], None]
        windows: list[Json] = []
        for start, end in zip(edges, ends):
            windows.append(
                {
                    "created_at_gte": timestamps.iso(start),
                    "created_at_lt": timestamps.iso(end) if end else None,
                    "show_deleted": cancelled,
                    "updated_since": bound,
                }
            )
        return windows

    def usable_slice(self, values: Json) -> bool:
        return timestamps.parse_or_none(values.get("created_at_gte")) is not None

    # -- changes --------------------------------------------------------------------------------

    def changes(self, state: Json) -> Iterator[StreamSlice]:
        bound = self._bound(state)
        self._next_state = dict(state)
        passes: list[str | None] = [None] if state.get("cancelled") == "listed" else [None, "true"]
        if state.get("cancelled") == "apart":
            passes = ["false", "true"]
        for number, cancelled in enumerate(passes):
            for page in self._walk(cancelled, bound, state if number == 0 else None):
                if number == 0 and state.get("cancelled") is None and _shows_cancelled(page):
                    self._next_state["cancelled"] = "listed"
                yield make_slice({"updated_since": timestamps.iso(bound)}, page=page)
            if self._next_state.get("cancelled") == "listed":
                break

    def state_after_changes(self, state: Json) -> Json:
        return self._next_state

    def _walk(
        self, cancelled: str | None, bound: datetime, state: Json | None
    ) -> Iterator[requests.Response]:
        """Yield pages, newest change first, down to ``bound``.

        ``state`` is given to the walk whose first page says up to when the next sync may rely on.
        """
        params = {**_NEWEST_FIRST, **_COUNTED, **_deleted(cancelled)}
        page, counted_page, known = 1, 1, False
        total: int | None = None
        read = _Walked()
        while True:
            response = self._page(params, page)
            if state is not None and not known:
                self._refuse_future(state, response)
                self._next_state = self._complete_state(response, state)
            known = True
            before, counted = total, _total(response)
            total = before if counted is None else counted
            if before is not None and total is not None:
                read.inserted += min(max(0, total - before), len(read.ids))
                if total < before:
                    # Rows have vanished since the last page that was counted, so unread rows have
                    # moved up by as many places, onto pages that we have read.
                    page = max(1, counted_page - (before - total) // _PAGE_SIZE)
                    counted_page = page
                    read.step_back()
                    yield response
                    continue
            if counted is not None:
                counted_page = page
            if not read.take(_rows(response)):
                raise _unstable_order()
            yield response
            if self._ends_below(response, bound) or not _has_more(response):
                break
            if read.idle_pages == _MOST_IDLE_PAGES and not self._pushed(read, params):
                raise self.unexpected("Salesloft repeats a page instead of going on.")
            if page == _PAGES_BEFORE_ASKING_AHEAD:
                self._refuse_a_walk_that_costs_more_than_a_scan(params, total, bound)
            page += 1
        if not self._pushed(read, params):
            raise _unstable_order()

    def _pushed(self, read: _Walked, params: Mapping[str, str]) -> bool:
        """Whether every row that came twice was pushed over a page edge by a change above it.

        A meeting that is created, or edited before the walk has read it, goes to the top and
        pushes all others down by one. Totals show the created ones. The edited ones are found at
        the top itself, which is asked for only if rows came twice and the totals do not say why.
        """
        page, pushes = 1, read.inserted
        while pushes < read.repeats:
            response = self._page(params, page)
            changed = read.changed_since(_rows(response))
            pushes += sum(row.get("id") not in read.ids for row in changed)
            if len(changed) < len(_rows(response)) or not _has_more(response):
                break
            page += 1
        return pushes >= read.repeats

    def _refuse_future(self, state: Json, response: requests.Response) -> None:
        server = timestamps.server_time(response.headers)
        if timestamps.parse(state[self.cursor_field]) > server + _A_DAY:
            raise ScanInstead(
                f"the saved state is ahead of Salesloft's clock ({timestamps.iso(server)}); "
                "reading everything again.",
                from_start=True,
            )

    def _refuse_a_walk_that_costs_more_than_a_scan(
        self, params: Mapping[str, str], total: int | None, bound: datetime
    ) -> None:
        """Ask for the last page that a walk can reach at the price of reading everything."""
        affordable = _PRICES[0][0]
        points = float(affordable)
        for (above, _), (last, price) in zip(_PRICES, _PRICES[1:]):
            points += (last - above) * price
            if total is None or points > total / _PAGE_SIZE:
                break
            affordable = last
        if total is not None and total <= affordable * _PAGE_SIZE:
            return
        furthest = self._page(params, affordable)
        if rows_of(furthest, "data") and not self._ends_below(furthest, bound):
            raise ScanInstead(
                f"more than {affordable * _PAGE_SIZE} meetings changed; reading everything by "
                "creation time, which costs fewer points."
            )

    def _complete_state(self, newest: requests.Response, since: Json | None) -> Json:
        """The moment up to which every change is on or below the first page of ``newest``.

        It is taken from the rows, for only Salesloft's own stamps are comparable with each other;
        a row from the future must not become the watermark, so their clock is the limit.
        """
        server = timestamps.server_time(newest.headers)
        limit = server + timedelta(seconds=1)  # the header leaves the fraction out
        stamps = [timestamps.parse_or_none(row.get("updated_at")) for row in _rows(newest)]
        moments = [stamp for stamp in stamps if stamp is not None and stamp <= limit]
        known = timestamps.parse_or_none((since or {}).get(self.cursor_field))
        moments += [min(known, limit)] if known else []
        # Nothing yet: whatever comes is a change, even if their stamps lag behind their clock. Only
        # rows from the future: the clock is the limit, less a day, for it cannot be quite right.
        newest_change = max(moments, default=server - _A_DAY if stamps else _BEFORE_EVERYTHING)
        state = {**(since or {}), self.cursor_field: timestamps.iso(newest_change)}
        seen_at = timestamps.parse_or_none(state.get("seen_at"))
        if known != newest_change or seen_at is None:
            state.pop("settled", None)
            state["seen_at"] = timestamps.iso(server)
        elif server - seen_at >= timedelta(minutes=self.look_back_minutes):
            state["settled"] = True
        return state

    def _ends_below(self, response: requests.Response, bound: datetime) -> bool:
        rows = _rows(response)
        last = timestamps.parse_or_none(rows[-1].get("updated_at")) if rows else None
        return last is not None and last < bound

    # -- slices ---------------------------------------------------------------------------------

    def read_slice(self, stream_slice: StreamSlice) -> Iterable[Record]:
        since = timestamps.parse_or_none(stream_slice.cursor_slice.get("updated_since"))
        page = stream_slice.extra_fields.get("page")
        pages = [page] if page is not None else self._window_pages(stream_slice)
        seen: set[Any] = set()
        for response in pages:
            fresh: set[Any] = set()
            for record in self.records(response, stream_slice):
                fresh.add(record["id"])
                updated = timestamps.parse_or_none(record.get("updated_at"))
                if since and updated and updated < since:
                    continue
                if record["id"] not in seen:
                    yield record
            seen = fresh

    def _window_pages(self, stream_slice: StreamSlice) -> Iterator[requests.Response]:
        values = stream_slice.cursor_slice
        start = timestamps.parse(values["created_at_gte"])
        end = timestamps.parse_or_none(values.get("created_at_lt"))
        fixed = {**_OLDEST_FIRST, **_COUNTED, **_deleted(values.get("show_deleted"))}
        if end:
            fixed["created_at[lt]"] = timestamps.iso(end)
        while True:
            response = self._page({**fixed, "created_at[gte]": timestamps.iso(start)}, 1)
            rows = _rows(response)
            if not rows:
                return
            last = self._moment(rows[-1], "created_at")
            self._check_window(rows, start, end)
            yield response
            if not _has_more(response):
                return
            if last == start:
                yield from self._tie_pages(fixed, start)
                start += timedelta(microseconds=1)
            else:
                start = last

    def _tie_pages(self, fixed: Mapping[str, str], moment: datetime) -> Iterator[requests.Response]:
        """Yield the pages of the meetings that were created at one moment and fill a whole page.

        Only the page number leads through them, and no order among equal times is documented: they
        may change places from request to request, so that a round through the pages lists some
        meetings twice and leaves others out. So the pages are read until as many different
        meetings were seen as Salesloft counts.
        """
        end = moment + timedelta(microseconds=1)
        bounds = {"created_at[gte]": timestamps.iso(moment), "created_at[lt]": timestamps.iso(end)}
        seen: set[Any] = set()
        total: int | None = None
        quiet = 0
        for _ in range(_MOST_ROUNDS_OF_A_TIE):
            known, listed = len(seen), 0
            page, more = 1, True
            while more:
                response = self._page({**fixed, **bounds}, page)
                self._check_window(_rows(response), moment, end)
                before, counted = total, _total(response)
                total = before if counted is None else counted
                if before is not None and total is not None and total < before:
                    seen.clear()  # some have vanished, and we cannot tell which
                    known = -1
                seen |= _ids(response)
                listed += len(_rows(response))
                yield response
                page, more = page + 1, _has_more(response)
            quiet = quiet + 1 if len(seen) == known else 0
            if total is not None and known >= 0 and len(seen) >= total:
                return
            # Without a total, a round has room for as many as there are.
            if total is None and quiet and len(seen) >= listed:
                return
            if quiet == _MOST_QUIET_ROUNDS:
                break
        raise self.unexpected(
            f"Salesloft lists the meetings created at {timestamps.iso(moment)} in ever changing "
            "order, so it cannot be told whether all of them were read."
        )

    def _check_window(self, rows: list[Json], start: datetime, end: datetime | None) -> None:
        for row in (*rows[:1], *rows[-1:]):
            created = self._moment(row, "created_at")
            if created < start or (end is not None and created >= end):
                raise self.unexpected(
                    "Salesloft answered with meetings outside the creation times it was asked "
                    "for, so it no longer honours created_at[gte] and created_at[lt]. Nothing "
                    "can be read safely; please report this."
                )

    # -- requests -------------------------------------------------------------------------------

    def _page(
        self, params: Mapping[str, str], page: int, size: int | None = None
    ) -> requests.Response:
        """Ask for one page; one with fewer rows than it should have is asked for again.

        Rows may be left out because this user cannot see them, so a page that comes back the same
        is taken as it is.
        """
        response = self._page_once(params, page, size)
        for _ in range(_MOST_ASKED_AGAIN):
            if not _is_short(response, page):
                break
            before, response = response, self._page_once(params, page, size)
            if _ids(before) == _ids(response):
                break
        if not _rows(response) and _has_more(response):
            raise self.unexpected("Salesloft answers with an empty page that says there is more.")
        return response

    def _page_once(
        self, params: Mapping[str, str], page: int, size: int | None
    ) -> requests.Response:
        asked = {**params, **({"per_page": str(size)} if size else {})}
        response = self.ask(asked, page=page)
        metadata = answer(response).get("metadata")
        sorting = metadata.get("sorting") if isinstance(metadata, dict) else None
        wanted = params.get("sort_by")
        applied = sorting.get("sort_by") if isinstance(sorting, dict) else None
        if wanted and applied is not None and applied != wanted:
            raise self.unexpected(
                f"Salesloft sorted by {applied} although {wanted} was asked for; an early stop "
                "would lose rows. Nothing can be read safely; please report this."
            )
        if wanted and applied is None:
            self._check_order(_rows(response), wanted, params["sort_direction"])
        return response

    def _check_order(self, rows: list[Json], key: str, direction: str) -> None:
        stamps = [timestamps.parse_or_none(row.get(key)) for row in rows]
        known = [stamp for stamp in stamps if stamp is not None]
        if known != sorted(known, reverse=direction == "DESC"):
            raise self.unexpected(
                f"Salesloft's answer is not in the order of {key} that was asked for. Nothing can "
                "be read safely; please report this."
            )

    def _moment(self, row: Json, key: str) -> datetime:
        moment = timestamps.parse_or_none(row.get(key))
        if moment is None:
            raise self.unexpected(f"a meeting has no usable {key}; it cannot be placed in time.")
        return moment


class _Walked:
    """The rows that a walk from newest to oldest has read, to tell why one of them comes again.

    Each change above the walk pushes one row over the edge of the page, so that it comes twice.
    Where Salesloft lists meetings with the same ``updated_at`` in another order than before (it
    documents no order among them), a row also comes twice, and another one is left out. So rows
    that come twice are counted, and compared with the changes.

    ``repeats``: rows that came twice. ``inserted``: how many of them the growing totals explain.
    ``ids``: the meetings that were read. ``idle_pages``: pages without a new row, one after the
    other.
    """

    def __init__(self) -> None:
        self.repeats = 0
        self.inserted = 0
        self.idle_pages = 0
        self.ids: set[Any] = set()
        self._top: datetime | None = None
        self._versions: set[tuple[Any, Any]] = set()
        self._places: dict[tuple[Any, Any], int] = {}

    def take(self, rows: list[Json]) -> bool:
        """Add the rows of the next page.

        Returns False if something else than a change above the walk brought a row again. After
        changes, a page holds rows that are newer than all that were read (if the changes fill more
        than a page), then rows that were read, in the order they had, then unread ones.
        """
        known = [_version(row) for row in dropwhile(self._is_newer, rows)]
        places = [self._places[version] for version in known if version in self._places]
        come_first = all(version in self._places for version in known[: len(places)])
        self.repeats += len(places)
        self.idle_pages = self.idle_pages + 1 if rows and len(places) == len(rows) else 0
        if rows and self._top is None:
            self._top = timestamps.parse_or_none(rows[0].get("updated_at"))
        for version in map(_version, rows):
            self._places.setdefault(version, len(self._places))
            self._versions.add(version)
        self.ids.update(row.get("id") for row in rows)
        return come_first and places == sorted(places)

    def _is_newer(self, row: Json) -> bool:
        moment = timestamps.parse_or_none(row.get("updated_at"))
        return moment is not None and self._top is not None and moment > self._top

    def step_back(self) -> None:
        """Expect rows again, because pages are read again on purpose."""
        self._places.clear()

    def changed_since(self, top: list[Json]) -> list[Json]:
        """Return the rows at the top of a first page that lie above all that was read."""
        return list(takewhile(lambda row: _version(row) not in self._versions, top))


def _unstable_order() -> ScanInstead:
    return ScanInstead(
        "meetings of the same updated_at change places between two pages; reading by creation "
        "time, so that none is left out."
    )


def _version(row: Json) -> tuple[Any, Any]:
    return row.get("id"), row.get("updated_at")


@dataclass
class UntilTheNextMinute(BackoffStrategy):
    """Waits for the budget, which is renewed with the minute; 429 names no time to wait.

    ``x-ratelimit-remaining-minute`` says what is left of it, ``x-ratelimit-endpoint-cost`` what the
    request takes (https://developers.salesloft.com/docs/platform/api-basics/). With enough left it
    was not the budget; where nothing is said, one early try is cheaper than up to a minute.
    """

    def backoff_time(
        self,
        response_or_exception: requests.Response | requests.RequestException | None,
        attempt_count: int,
    ) -> float | None:
        """Return the seconds to the next full minute of Salesloft's clock, if the budget is spent.

        None, after which the wait grows from a second, for anything but a 429 of that kind.
        """
        if not isinstance(response_or_exception, requests.Response):
            return None
        if response_or_exception.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            return None
        headers = response_or_exception.headers
        left = _points(headers, "x-ratelimit-remaining-minute")
        cost = _points(headers, "x-ratelimit-endpoint-cost") or 1
        if left is None and attempt_count <= 1 or left is not None and left >= cost:
            return None
        return 60.0 - timestamps.server_time(headers).second


def _points(headers: Mapping[str, str], name: str) -> int | None:
    try:
        return int(headers.get(name, ""))
    except ValueError:
        return None


@dataclass
class IdsAsText(RecordTransformation):
    """Makes text of ids that Salesloft documents as strings and sends as numbers.

    Observed for ``account_id``, ``task_id`` and ``meeting_type_id`` in recorded answers; a column
    of two types breaks destinations.
    """

    fields: list[str]

    def transform(
        self,
        record: MutableMapping[str, Any],
        config: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> None:
        for name in self.fields:
            value = record.get(name)
            if value is not None and not isinstance(value, str):
                record[name] = str(value)


def _rows(response: requests.Response) -> list[Json]:
    return rows_of(response, "data")


def _ids(response: requests.Response) -> set[Any]:
    return {row.get("id") for row in _rows(response)}


def _paging(response: requests.Response) -> Mapping[str, Any] | None:
    metadata = answer(response).get("metadata")
    paging = metadata.get("paging") if isinstance(metadata, dict) else None
    return paging if isinstance(paging, dict) else None


def _total(response: requests.Response) -> int | None:
    total = (_paging(response) or {}).get("total_count")
    return total if isinstance(total, int) else None


def _has_more(response: requests.Response) -> bool:
    """Whether to ask for another page: by ``next_page``, or as long as there are rows.

    ``metadata.paging`` is sometimes absent; a page size that was silently corrected must then not
    look like the last page.
    """
    paging = _paging(response)
    if paging is not None and "next_page" in paging:
        return paging["next_page"] is not None
    return bool(_rows(response))


def _is_short(response: requests.Response, page: int) -> bool:
    """Whether a page has fewer rows than its metadata promise, or none and no metadata.

    So what looks like the end, but may be a fault, is asked for twice.
    """
    paging = _paging(response)
    if paging is None:
        return not _rows(response)
    size, total = paging.get("per_page"), paging.get("total_count")
    if not isinstance(size, int):
        return False
    if isinstance(total, int):
        return len(_rows(response)) < min(size, total - (page - 1) * size)
    return paging.get("next_page") is not None and len(_rows(response)) < size


def _deleted(cancelled: str | None) -> dict[str, str]:
    return {"show_deleted": cancelled} if cancelled else {}


def _shows_cancelled(response: requests.Response) -> bool:
    return any(row.get("canceled_at") for row in _rows(response))


def _echoes_show_deleted(response: requests.Response) -> bool:
    metadata = answer(response).get("metadata")
    filtering = metadata.get("filtering") if isinstance(metadata, dict) else None
    return isinstance(filtering, dict) and filtering.get("show_deleted") is not None
