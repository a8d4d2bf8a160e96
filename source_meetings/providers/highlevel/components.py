"""What HighLevel's calendar events need beyond the manifest.

Facts used here, with their sources:

- ``GET /calendars/events`` takes ``locationId``, ``calendarId``, and ``startTime`` and ``endTime``
  in epoch milliseconds; it has no pages, no total, and no filter on ``dateUpdated``:
  https://github.com/GoHighLevel/highlevel-api-docs (apps/calendars.json)
- It answers with events that start after ``endTime``, leaves ``events`` out of an empty answer,
  and answers ISO times with nothing (observed in public code). One project suspects that answers
  end at a hundred events without a word (not proven).
- ``GET /calendars/events/appointments/{eventId}`` answers under ``event`` (documented) or
  ``appointment`` (observed); writes answer bare.
- 100 requests in 10 seconds and 200,000 a day, announced in ``X-RateLimit-*`` headers:
  https://github.com/GoHighLevel/highlevel-api-docs (docs/oauth/Authorization.md); 25 and 10,000 for
  trial accounts. There is no ``Retry-After`` (observed).
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.declarative.extractors.record_extractor import RecordExtractor
from airbyte_cdk.sources.declarative.extractors.record_selector import RecordSelector
from airbyte_cdk.sources.declarative.requesters.error_handlers.backoff_strategy import (
    BackoffStrategy,
)
from airbyte_cdk.sources.declarative.transformations import RecordTransformation
from airbyte_cdk.sources.types import Record, StreamSlice
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings import timestamps
from source_meetings.http import ApiRequester, answer
from source_meetings.sync import Json, ScanInstead, Sync, make_slice

LOGGER = logging.getLogger("airbyte.source_meetings")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY = 86_400_000  # milliseconds, as everything that is sent to HighLevel
_BEFORE_EVERYTHING = 946_684_800_000  # 2000-01-01; zero might be taken for "not given"
_BEFORE_HIGHLEVEL = 1_451_606_400_000  # 2016-01-01, before which next to nothing can be expected
_FIRST_WINDOW_DAYS = 30  # back from now, beside all that lies ahead
_ROWS_PER_ANSWER = 600  # aimed at; with eight workers about 30 megabytes
_ROWS_OF_A_SMALL_CALENDAR = 2000
_TELLING_ROWS = 20
_MOST_REMEMBERED = 5000
_SUSPICIOUS = 100  # answers of a multiple of it may have been cut off
_MOST_FINGERPRINTS = 1000
_IDS_PER_SLICE = 50
_CALENDARS_TO_TRY = 5


# -- requests ------------------------------------------------------------------------------------


class Pace:
    """Holds all workers back while HighLevel's budget for the interval is spent.

    The moving window in the manifest knows the documented limit; trial accounts have a quarter of
    it, and other integrations draw on the same budget, so the headers have the last word.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._spent = False

    def wait(self, waiting: Callable[[float], AbstractContextManager[None]]) -> None:
        """Sleep until requests may be made again; ``waiting`` is told for how many seconds."""
        while True:
            with self._lock:
                left = self._until - time.monotonic()
            if left <= 0:
                return
            with waiting(left):
                time.sleep(left)

    def hold(self, headers: Mapping[str, str]) -> None:
        with self._lock:
            self._until = time.monotonic() + _interval_seconds(headers)

    def note(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer says is left.

        A budget that is still spent after the wait is none that can be waited for; what is wrong
        then shows as a 429.
        """
        remaining = headers.get("X-RateLimit-Remaining")
        spent = remaining is not None and remaining.strip() == "0"
        with self._lock:
            newly, self._spent = spent and not self._spent, spent
        if newly:
            self.hold(headers)


_PACES: dict[str, Pace] = {}


def _pace(config: Mapping[str, Any]) -> Pace:
    return _PACES.setdefault(str(config["provider"].get("base_url")), Pace())


def _interval_seconds(headers: Mapping[str, str]) -> float:
    try:
        interval = float(headers.get("X-RateLimit-Interval-Milliseconds") or 10_000) / 1000
    except ValueError:
        interval = 10.0
    return min(60.0, max(0.0, interval))


@dataclass
class PacedRequester(ApiRequester):
    """Sends at the pace that HighLevel's headers ask for.

    ``optional_records`` is a key that an empty answer may leave out, if it holds nothing else
    than ``traceId``.
    """

    optional_records: str | None = None

    def send_request(self, *args: Any, **options: Any) -> requests.Response | None:
        pace = _pace(self.config)
        pace.wait(lambda seconds: self.client.progress.waiting(self.client.limit, seconds))
        response = super().send_request(*args, **options)
        if response is not None:
            pace.note(response.headers)
        return response

    def shape_problem(self, body: Any, path: str) -> str | None:
        problem = super().shape_problem(body, path)
        if problem is not None:
            return problem
        if path.endswith("/calendars/"):
            return None if _are_calendars(body.get("calendars")) else _NO_CALENDARS
        if "/events/appointments/" in path:
            return None if _appointment(body) else "it holds no appointment with an id"
        key = self.optional_records
        if key is None or isinstance(body.get(key), list) or set(body) == {"traceId"}:
            return None
        return f"'{key}' is not a list"


@dataclass
class EventsCheck(PacedRequester):
    """For ``check``: lists the calendars, and then asks one of them for the events of a minute.

    The token's scopes are separate for the two, so one request cannot stand for the other.
    """

    def send_request(self, *args: Any, **options: Any) -> requests.Response | None:
        provider = self.config["provider"]
        location = {"locationId": provider["location_id"]}
        listed = super().send_request(
            path="calendars/", request_params={**location, "showDrafted": "true"}
        )
        assert listed is not None
        known = _calendar_ids(listed)
        unknown = [id for id in provider.get("calendar_ids") or [] if id not in known]
        if unknown:
            raise _config_error(
                f"HighLevel: the location has no calendar {', '.join(unknown)}. Correct "
                "provider.calendar_ids, or leave it empty to read every calendar."
            )
        if not known:
            return listed
        now = _millis(timestamps.server_time(listed.headers))
        window = {"startTime": str(now), "endTime": str(now + 60_000)}
        calendar = (provider.get("calendar_ids") or known)[0]
        return super().send_request(request_params={**location, "calendarId": calendar, **window})


@dataclass
class UntilTheNextInterval(BackoffStrategy):
    """Waits ``X-RateLimit-Interval-Milliseconds`` after a 429, for which there is no Retry-After.

    Raises AirbyteTracedException (transient_error) when the day's budget is spent, which no wait
    of a sensible length can help.
    """

    config: Mapping[str, Any]

    def backoff_time(
        self,
        response_or_exception: requests.Response | requests.RequestException | None,
        attempt_count: int,
    ) -> float | None:
        """Return the seconds to wait after a 429; None, for the usual wait, after anything else."""
        if not isinstance(response_or_exception, requests.Response):
            return None
        if response_or_exception.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            return None
        headers = response_or_exception.headers
        if (headers.get("X-RateLimit-Daily-Remaining") or "").strip() == "0":
            raise AirbyteTracedException(
                message="HighLevel's limit of requests a day "
                f"({headers.get('X-RateLimit-Limit-Daily') or 'unknown'}) is spent for this "
                "location. Nothing was lost; run the sync again tomorrow, or less often.",
                internal_message="429 with X-RateLimit-Daily-Remaining: 0",
                failure_type=FailureType.transient_error,
            )
        _pace(self.config).hold(headers)
        return _interval_seconds(headers)


# -- one pass over the calendars -----------------------------------------------------------------


@dataclass
class Pass:
    """One reading of all event lists: which rows are new in it, and what may be saved after it.

    What may be saved. A row can change after its window was read. Such a change is stamped later
    than everything that HighLevel had stamped when the first window of the pass was answered. So
    the next sync has to emit what is stamped at or after ``next_bound``: the newest stamp in that
    first answer, or the newest that any earlier pass has seen. Neither depends on whose clock is
    right. A stamp from the future of HighLevel's ``Date`` header is never a bound. Stamps come in
    whole seconds or with milliseconds, so the bound is a whole second.

    Because the bound is that cautious, rows at or after it are seen by two passes. Their
    fingerprints are saved (at most ``_MOST_FINGERPRINTS``), so that they are not emitted twice.

    Rows that start outside of ``known``, the range that the pass before has read, are new whatever
    their stamp: time has moved on, or the configuration has changed. So are the rows of a calendar
    that is not among ``calendars_before``: it may have become visible long after they were made.
    """

    read_from: int
    read_to: int
    scope: str
    calendars: list[str] = field(default_factory=list)
    calendars_before: list[str] | None = None  # None: a state that does not tell
    bound: datetime | None = None  # None: everything is new
    newest_before: datetime = _EPOCH
    known: tuple[int, int] | None = None
    fingerprints: frozenset[str] = frozenset()
    rows_before: int | None = None  # of the largest calendar
    turn: AbstractContextManager[object] = field(default_factory=nullcontext)
    first_answer: tuple[str, requests.Response] | None = None
    next_bound: datetime = _EPOCH
    newest: datetime = _EPOCH
    largest: int = 0
    slices_left: int = 0
    recent: dict[str, datetime | None] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.newest = self.newest_before
        self.next_bound = self.newest.replace(microsecond=0)

    def begin(self, calendar: str, response: requests.Response) -> bool:
        """Take the first answer, of a calendar's first window, before any other is asked for.

        Returns whether there is a bound now.
        """
        self.first_answer = (calendar, response)
        stamps = [_stamp(row) for row in _events(response)]
        self.newest = max([self.newest_before, *_not_future(stamps, response)])
        self.next_bound = self.newest.replace(microsecond=0)
        return self.newest > _EPOCH

    def take(
        self, response: requests.Response, calendar: str, emitted: dict[str, str]
    ) -> list[Json]:
        """Return the rows of an answer that are new; ``emitted`` is the calendar's, id to print."""
        new_calendar = self.calendars_before is not None and calendar not in self.calendars_before
        rows = _events(response)
        stamps = [_stamp(row) for row in rows]
        new: list[Json] = []
        recent: dict[str, datetime | None] = {}
        for row, stamp in zip(rows, stamps):
            print_ = _fingerprint(row)
            if stamp is None or stamp >= self.next_bound:
                recent[print_] = stamp
            if emitted.get(str(row.get("id"))) == print_:
                continue  # windows overlap
            if new_calendar or self._is_new(row, stamp, print_):
                if len(emitted) >= _MOST_REMEMBERED:  # a row twice does no harm
                    emitted.clear()
                emitted[str(row.get("id"))] = print_
                new.append(row)
        with self.lock:
            self.recent.update(recent)
            self.newest = max([self.newest, *_not_future(stamps, response)])
        return new

    def _is_new(self, row: Json, stamp: datetime | None, print_: str) -> bool:
        if self.bound is None:
            return True
        if print_ in self.fingerprints:
            return False
        start = _start(row)
        if self.known and start is not None and not self.known[0] <= start < self.known[1]:
            return True
        return stamp is None or stamp >= self.bound

    def first_width(self, days_ahead: int) -> int:
        """Return the length of a calendar's first window: all, if the last pass found few rows."""
        whole = self.read_to - self.read_from
        if self.rows_before is not None and self.rows_before <= _ROWS_OF_A_SMALL_CALENDAR:
            return whole
        return min(whole, (_FIRST_WINDOW_DAYS + days_ahead) * _DAY)

    def state(self, cursor_field: str) -> Json:
        """Return what may be promised once every slice of the pass has been read."""
        with self.lock:
            far = datetime.max.replace(tzinfo=timezone.utc)
            prints = sorted(self.recent, key=lambda p: self.recent[p] or far, reverse=True)
            return {
                cursor_field: timestamps.iso(self.next_bound),
                "newest": timestamps.iso(self.newest),
                "emitted": prints[:_MOST_FINGERPRINTS],
                "read_from": self.read_from,
                "read_to": self.read_to,
                "rows_of_largest_calendar": self.largest,
                "scope": self.scope,
                "calendars": self.calendars,
            }


# -- streams -------------------------------------------------------------------------------------


@dataclass
class EventsSync(Sync):
    """Reads the events of every calendar, in windows of start time, and keeps what has changed.

    The list can be filtered by nothing but start time, and any appointment may be edited, so each
    sync reads from ``start_date`` to ``look_ahead_days`` from now. One slice a calendar; its
    windows go back in time, each as wide as the rows of the one before suggest.

    With ``look_back_days``, syncs after the first begin so many days before the oldest change that
    could have been missed; edits to an appointment that is older than that at the time are not
    seen then.
    """

    # -- plan -----------------------------------------------------------------------------------

    def usable_state(self, state: Json) -> bool:
        """A state is about one location and one choice of calendars."""
        return super().usable_state(state) and state.get("scope") == self._scope()

    def usable_slice(self, values: Json) -> bool:
        names = ("calendarId", "startTime", "endTime")
        known = [values.get(name) for name in names]
        return all(isinstance(value, str) for value in known) and all(
            str(value).isdecimal() for value in known[1:]
        )

    def begin_scan(self, since: Json | None) -> tuple[Json, Iterable[Json]]:
        calendars, now = self._calendars()
        reading = Pass(self._start_date(), self._end(now), self._scope(), calendars)
        self._ask_first(reading, calendars)
        self._scan_pass, self._scan_state = reading, reading.state(self.cursor_field)
        slices = self._scan_slices(reading, calendars)
        reading.slices_left = len(slices)
        self._finish_scan(reading)
        return self._scan_state, slices

    def changes(self, state: Json) -> Iterator[StreamSlice]:
        calendars, now = self._calendars()
        bound = timestamps.parse(state[self.cursor_field])
        if bound > now + timedelta(days=1):
            raise ScanInstead(
                f"the saved state is ahead of HighLevel's clock ({timestamps.iso(now)}); reading "
                "everything again.",
                from_start=True,
            )
        known = (state.get("read_from"), state.get("read_to"))
        rows = state.get("rows_of_largest_calendar")
        prints = state.get("emitted")
        before = state.get("calendars")
        reading = Pass(
            self._start_of_changes(bound, now),
            self._end(now),
            state["scope"],
            calendars,
            calendars_before=before if isinstance(before, list) else None,
            bound=bound,
            newest_before=min(now, timestamps.parse_or_none(state.get("newest")) or bound),
            known=known if all(isinstance(edge, int) for edge in known) else (0, 0),  # type: ignore[arg-type]
            fingerprints=frozenset(map(str, prints if isinstance(prints, list) else [])),
            rows_before=rows if isinstance(rows, int) else None,
        )
        self._ask_first(reading, calendars)
        self._pass = reading
        yield from self._change_slices(reading, calendars)

    def state_after_changes(self, state: Json) -> Json:
        return self._pass.state(self.cursor_field)

    def _scan_slices(self, reading: Pass, calendars: list[str]) -> list[Json]:
        return [self._slice(id, reading.read_from, reading.read_to) for id in calendars]

    def _change_slices(self, reading: Pass, calendars: list[str]) -> Iterator[StreamSlice]:
        for id in calendars:
            values = self._slice(id, reading.read_from, reading.read_to)
            yield make_slice(values, reading=reading)

    @staticmethod
    def _slice(calendar: str, start: int, end: int) -> Json:
        return {"calendarId": calendar, "startTime": str(start), "endTime": str(end)}

    def _finish_scan(self, reading: Pass) -> None:
        """After the last slice of a scan, put what it has found into the state it leads to."""
        if reading.slices_left == 0 and getattr(self, "_scan_pass", None) is reading:
            self._scan_state.update(reading.state(self.cursor_field))

    # -- range ----------------------------------------------------------------------------------

    def _calendars(self) -> tuple[list[str], datetime]:
        """Return the calendars to read, and HighLevel's time.

        They are listed even if the configuration names them: that shows a name that is no
        calendar's, and HighLevel's own clock.
        """
        response = self._get("calendars/", {"showDrafted": "true"})
        listed = _calendar_ids(response)
        chosen = self.config["provider"].get("calendar_ids") or None
        for id in chosen or []:
            if id not in listed:
                LOGGER.warning(
                    "Stream %s: the location lists no calendar %s; its events are asked for all "
                    "the same. Correct provider.calendar_ids if it is a mistake.",
                    self.name,
                    id,
                )
        if not listed and not chosen:
            LOGGER.warning("Stream %s: the location has no calendars.", self.name)
        return list(dict.fromkeys(chosen or listed)), timestamps.server_time(response.headers)

    def _start_date(self) -> int:
        start = self.config.get("start_date")
        return _millis(timestamps.parse(start)) if start else _BEFORE_EVERYTHING

    def _start_of_changes(self, bound: datetime, now: datetime) -> int:
        """A change after ``bound`` to an event that was not too old then lies after this moment."""
        days = self.config["provider"].get("look_back_days")
        if days is None:
            return self._start_date()
        return max(self._start_date(), _millis(min(bound, now)) - int(days) * _DAY)

    def _end(self, now: datetime) -> int:
        return _millis(now) + self._days_ahead() * _DAY

    def _days_ahead(self) -> int:
        days = self.config["provider"].get("look_ahead_days")
        return 365 if days is None else int(days)

    def _scope(self) -> str:
        """Stands for the location and the choice of calendars that a state is about."""
        provider = self.config["provider"]
        chosen = sorted(set(provider.get("calendar_ids") or []))
        return _digest([provider["location_id"], chosen])

    # -- windows --------------------------------------------------------------------------------

    def read_slice(self, stream_slice: StreamSlice) -> Iterable[Record]:
        values = stream_slice.cursor_slice
        start, end = int(values["startTime"]), int(values["endTime"])
        # A slice that is left of a scan that was cut off belongs to no pass of this process.
        scan = getattr(self, "_scan_pass", None) or Pass(start, end, "")
        reading: Pass = stream_slice.extra_fields.get("reading") or scan
        emitted: dict[str, str] = {}
        for response in self._windows(reading, str(values["calendarId"]), start, end):
            new = reading.take(response, str(values["calendarId"]), emitted)
            response.meetings_answer = {"events": new}  # type: ignore[attr-defined]
            yield from self.records(response, stream_slice)
            del response, new  # not while the next answer is waited for: they may be large
        self._slice_done(reading)

    def _slice_done(self, reading: Pass) -> None:
        with reading.lock:
            reading.slices_left -= 1
        self._finish_scan(reading)

    def _windows(
        self, reading: Pass, calendar: str, first: int, end: int
    ) -> Iterator[requests.Response]:
        """Yield the answers that together cover a calendar from ``first`` to ``end``."""
        width, total = reading.first_width(self._days_ahead()), 0
        known = self._first(reading, calendar)
        turn = reading.turn
        while end > first:
            if known is None and end - _BEFORE_HIGHLEVEL <= 3 * width:
                width = end - first  # the rest at once
            start = self._window_start(first, end, width)
            rows, busy = 0, 0
            with turn:
                for response in self._whole(calendar, start, end, known):
                    rows += len(_events(response))
                    busy = max(busy, _span(_events(response)))
                    yield response
                    del response
            total += rows
            # From the density of this window, where it has rows, but carefully: the past may have
            # been busier.
            length = busy if rows >= _TELLING_ROWS and busy else end - start
            width = min(12 * (end - start), length * _ROWS_PER_ANSWER // max(rows, 1))
            width = max(width, _DAY)
            end, known, turn = start, None, nullcontext()
        with reading.lock:
            reading.largest = max(reading.largest, total)

    @staticmethod
    def _window_start(first: int, end: int, width: int) -> int:
        start = max(first, end - width)
        return first if start <= _BEFORE_HIGHLEVEL else start

    @staticmethod
    def _first(reading: Pass, calendar: str) -> requests.Response | None:
        with reading.lock:
            if reading.first_answer is None or reading.first_answer[0] != calendar:
                return None
            response, reading.first_answer = reading.first_answer[1], None
            return response

    def _ask_first(self, reading: Pass, calendars: list[str]) -> None:
        """Ask for a calendar's first window; for another one's while none shows a stamp.

        What was asked for in vain is asked for again later, as it is older than the bound now.
        """
        start = self._window_start(
            reading.read_from, reading.read_to, reading.first_width(self._days_ahead())
        )
        for calendar in calendars[:_CALENDARS_TO_TRY]:
            response = self._events_between(calendar, start, reading.read_to)
            if len(_events(response)) > _ROWS_OF_A_SMALL_CALENDAR:
                # First windows are as wide as a guess: large ones are held in memory one at a time.
                reading.turn = threading.Lock()
            if reading.begin(calendar, response):
                return

    def _whole(
        self, calendar: str, start: int, end: int, known: requests.Response | None = None
    ) -> Iterator[requests.Response]:
        """Yield the answer for a window; if it may have been cut off, those for its halves too.

        The window is cut at the median of the starts that were shown. An answer that was cut off
        must then show other events in one of the halves; if it does, halving goes on.
        """
        whole = known or self._events_between(calendar, start, end)
        rows = list(_events(whole))  # before the caller takes some of them out
        yield whole
        middle = _middle(rows, start, end)
        if not rows or len(rows) % _SUSPICIOUS or middle is None:
            return
        shown = {row.get("id") for row in rows}
        windows = ((start, middle), (middle, end))
        halves = [self._events_between(calendar, *window) for window in windows]
        if all(row.get("id") in shown for half in halves for row in _events(half)):
            return
        LOGGER.info(
            "Stream %s: HighLevel cut an answer off at %d events; reading shorter windows.",
            self.name,
            len(rows),
        )
        for window, half in zip(windows, halves):
            yield from self._whole(calendar, *window, known=half)

    # -- requests -------------------------------------------------------------------------------

    def _events_between(self, calendar: str, start: int, end: int) -> requests.Response:
        window = {"calendarId": calendar, "startTime": str(start), "endTime": str(end)}
        response = self._get(None, window, gone=lambda: self._is_gone(calendar))
        for row in _events(response):
            if not isinstance(row, dict) or not row.get("id"):
                raise self.unexpected(
                    "an event in HighLevel's answer is no object or has no id, so it cannot be "
                    "stored. The stream was stopped rather than leaving it out."
                )
        return response

    def _is_gone(self, calendar: str) -> bool:
        """Whether a calendar that was listed at first is not any more: deleted, with its events."""
        if calendar in (self.config["provider"].get("calendar_ids") or []):
            return False
        listed, _ = self._calendars()
        if calendar in listed:
            return False
        LOGGER.info("Stream %s: calendar %s was deleted meanwhile; skipped.", self.name, calendar)
        return True

    def _get(
        self,
        path: str | None,
        params: Mapping[str, str],
        gone: Callable[[], bool] = lambda: False,
    ) -> requests.Response:
        location = {"locationId": self.config["provider"]["location_id"]}
        response = self.ask({**location, **params}, path=path)
        if answer(response) is None and gone():
            response.meetings_answer = {}  # type: ignore[attr-defined]
        elif answer(response) is None:
            raise _config_error(
                f"HighLevel, {self.name}: there is no such calendar or endpoint (404). Check "
                "provider.calendar_ids, and leave base_url at its default."
            )
        return response


@dataclass
class AppointmentsSync(EventsSync):
    """Reads the single appointment of every event that has changed.

    Changes are found as ``EventsSync`` finds them, with a state of its own. Slices are batches of
    events, which the list has to name first. A saved slice is the stretch of start time that its
    events lie in. Batches that follow each other are saved as one, so that a state stays small, and
    are listed again after an interruption.

    Nothing says whether an event that is listed as ``deleted`` is still found by its id. If it is
    not, its row is the one from the list.
    """

    def __post_init__(self, parameters: Mapping[str, Any]) -> None:
        super().__post_init__(parameters)
        self._batches: dict[tuple[str, str, str], list[str]] = {}
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._deleted: dict[str, Json] = {}  # rows that the list marks so, by id
        self._gone = 0
        self._gone_lock = threading.Lock()

    def _scan_slices(self, reading: Pass, calendars: list[str]) -> list[Json]:
        return self._planned(self._changed(reading, calendars))

    def _planned(self, batches: Iterable[tuple[Json, list[str]]]) -> list[Json]:
        slices: list[Json] = []
        for values, ids in batches:
            if _key(values) not in self._batches:  # more events start at one time than fit a slice
                self._numbers[_key(values)] = len(self._numbers)
                slices.append(values)
            self._batches.setdefault(_key(values), []).extend(ids)
        return slices

    def compact(self, pending: list[Json]) -> list[Json]:
        """Join the slices of a calendar that follow each other."""
        joined: list[Json] = []
        before: int | None = None
        for values in pending:
            number = self._numbers[_key(values)]
            follows = before is not None and number == before + 1
            if follows and joined[-1]["calendarId"] == values["calendarId"]:
                joined[-1] = {**joined[-1], "endTime": values["endTime"]}
            else:
                joined.append(values)
            before = number
        return joined

    def cut_again(self, pending: list[Json]) -> list[Json]:
        """List the events of the saved stretches, and cut them into batches."""
        return self._planned(
            batch
            for values in pending
            for batch in self._cut(str(values["calendarId"]), self._listed_again(values))
        )

    def _change_slices(self, reading: Pass, calendars: list[str]) -> Iterator[StreamSlice]:
        for values, ids in self._changed(reading, calendars):
            yield make_slice(values, ids=ids)

    def _changed(self, reading: Pass, calendars: list[str]) -> Iterator[tuple[Json, list[str]]]:
        for calendar in calendars:
            starts: dict[str, int] = {}
            emitted: dict[str, str] = {}
            windows = self._windows(reading, calendar, reading.read_from, reading.read_to)
            for response in windows:
                for row in reading.take(response, calendar, emitted):
                    start = _start(row)
                    starts[str(row["id"])] = reading.read_from if start is None else start
                    self._note_if_deleted(row)
            yield from self._cut(calendar, starts)

    def _cut(self, calendar: str, starts: Mapping[str, int]) -> Iterator[tuple[Json, list[str]]]:
        """Cut events, given with their start times, into batches."""
        ids = sorted(starts, key=lambda id: (starts[id], id))
        for number in range(0, len(ids), _IDS_PER_SLICE):
            batch = ids[number : number + _IDS_PER_SLICE]
            yield self._slice(calendar, starts[batch[0]], starts[batch[-1]]), batch

    def read_slice(self, stream_slice: StreamSlice) -> Iterable[Record]:
        values = stream_slice.cursor_slice
        ids = stream_slice.extra_fields.get("ids") or self._batches.pop(_key(values))
        for id in ids:
            response = self.ask({}, path=f"calendars/events/appointments/{_quoted(id)}")
            deleted = self._deleted.pop(id, None)
            if answer(response) is not None:
                yield from self.records(response, stream_slice)
            elif deleted is not None:
                yield from self._from_list(deleted, stream_slice)
            else:
                self._count_gone()
        scan = getattr(self, "_scan_pass", None)
        if scan is not None and "ids" not in stream_slice.extra_fields:
            self._slice_done(scan)

    def _listed_again(self, values: Mapping[str, Any]) -> dict[str, int]:
        start, end = int(values["startTime"]), int(values["endTime"])
        found: dict[str, int] = {}
        reading = Pass(start, end + 1, "")
        for response in self._windows(reading, str(values["calendarId"]), start, end + 1):
            for row in _events(response):
                begins = _start(row)
                if begins is None or start <= begins <= end:
                    found[str(row["id"])] = start if begins is None else begins
                    self._note_if_deleted(row)
        return found

    def _note_if_deleted(self, row: Json) -> None:
        if row.get("deleted") is True:
            self._deleted[str(row["id"])] = row

    def _from_list(self, row: Json, stream_slice: StreamSlice) -> Iterable[Record]:
        selector = cast(RecordSelector, self.record_selector)
        return selector.filter_and_transform([row], {}, {}, stream_slice)

    def _count_gone(self) -> None:
        with self._gone_lock:
            self._gone += 1
            LOGGER.info(
                "Stream %s: %d appointments were listed and are gone by now (404); skipped.",
                self.name,
                self._gone,
            )


@dataclass
class AppointmentExtractor(RecordExtractor):
    """Takes the one appointment out of its envelope: ``appointment``, ``event`` or none at all."""

    def extract_records(self, response: requests.Response) -> Iterable[Mapping[str, Any]]:
        record = _appointment(answer(response))
        assert record is not None  # PacedRequester has looked
        yield record


@dataclass
class EventFields(RecordTransformation):
    """Fills ``appointmentStatus`` from its misspelt twin, and makes ``isRecurring`` a boolean.

    ``appoinmentStatus`` and a legacy ``status`` were observed in place of ``appointmentStatus``;
    the specification's example of ``isRecurring`` is the text "true".
    """

    def transform(
        self,
        record: MutableMapping[str, Any],
        config: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
        stream_slice: StreamSlice | None = None,
    ) -> None:
        if not record.get("appointmentStatus"):
            status = record.get("appoinmentStatus") or record.get("status")
            if status:
                record["appointmentStatus"] = status
        recurring = record.get("isRecurring")
        if isinstance(recurring, str) and recurring.lower() in ("true", "false"):
            record["isRecurring"] = recurring.lower() == "true"


# -- small things --------------------------------------------------------------------------------


def _events(response: requests.Response) -> list[Json]:
    rows: list[Json] = answer(response).get("events") or []
    return rows


_NO_CALENDARS = "'calendars' is not a list of objects with ids"


def _are_calendars(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(calendar, dict) and calendar.get("id") for calendar in value
    )


def _calendar_ids(response: requests.Response) -> list[str]:
    calendars: list[Json] = answer(response)["calendars"]
    # Active ones first: the first answer of a pass should be one with recent changes.
    calendars.sort(key=lambda calendar: calendar.get("isActive") is False)
    return [str(calendar["id"]) for calendar in calendars]


def _appointment(body: Json) -> Json | None:
    """Return the one appointment of an answer, or None where there is none with an id."""
    record = next((body[name] for name in ("appointment", "event") if name in body), body)
    if not isinstance(record, dict) or not record.get("id"):
        return None
    return {key: value for key, value in record.items() if record is not body or key != "traceId"}


def _stamp(row: Json) -> datetime | None:
    return timestamps.parse_or_none(row.get("dateUpdated"))


def _not_future(stamps: list[datetime | None], response: requests.Response) -> list[datetime]:
    """The stamps up to HighLevel's ``Date`` header, which has whole seconds."""
    latest = timestamps.server_time(response.headers) + timedelta(seconds=1)
    return [stamp for stamp in stamps if stamp is not None and stamp < latest]


def _start(row: Json) -> int | None:
    moment = timestamps.parse_or_none(row.get("startTime"))
    return None if moment is None else _millis(moment)


def _span(rows: list[Json]) -> int:
    """Return the time between the first start and the last one."""
    starts = [start for row in rows if (start := _start(row)) is not None]
    return max(starts) - min(starts) if starts else 0


def _middle(rows: list[Json], start: int, end: int) -> int | None:
    """Where to cut a window: just after the median start, so that each half has rows."""
    starts = sorted(begins for row in rows if (begins := _start(row)) is not None)
    median = starts[len(starts) // 2] if starts else (start + end) // 2
    for cut in (median + 1, median):
        if start < cut < end:
            return cut
    return None


def _millis(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _fingerprint(row: Json) -> str:
    return _digest(row)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode("ascii"), digest_size=6).hexdigest()


def _quoted(id: str) -> str:
    return quote(id, safe="")


def _key(values: Mapping[str, Any]) -> tuple[str, str, str]:
    return values["calendarId"], values["startTime"], values["endTime"]


def _config_error(message: str) -> AirbyteTracedException:
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.config_error
    )
