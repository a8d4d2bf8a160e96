"""One account of each provider in the sandbox: a configuration, random changes, and the truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from random import Random
from typing import Any, ClassVar

from sandbox import Sandbox
from unit_tests.harness import Json, Table, without_nulls


class Account(ABC):
    """`streams` are those whose table must become the truth. `unseen`: keys of rows that were
    deleted where the API shows no deletions; they stay in the table."""

    name: ClassVar[str]
    streams: ClassVar[tuple[str, ...]]

    def __init__(self, box: Sandbox, seed: int) -> None:
        self.box = box
        self.chance = Random(seed)
        self.unseen: set[str] = set()
        self._changes = 0

    @property
    def side(self) -> Any:
        return getattr(self.box, self.name)

    def config(self, oauth: bool = False) -> Json:
        """`oauth`: with the refresh token that is valid now; it must be valid once only."""
        if oauth:
            tokens = self.side.oauth
            credentials = {
                "auth_type": "oauth2.0",
                "client_id": tokens.client_id,
                "client_secret": tokens.client_secret,
                "refresh_token": tokens.refresh_token,
            }
            urls = {"base_url": self.side.base_url, "token_url": self.side.token_url}
            return {"provider": {**self.options(), **urls, "credentials": credentials}}
        return {"provider": {**self.options(), "base_url": self.side.base_url}}

    @abstractmethod
    def options(self) -> Json:
        """The configuration's `provider`, with a key that does not expire."""

    @abstractmethod
    def generate(self, count: int) -> None: ...

    @abstractmethod
    def change(self) -> None:
        """One write of a random kind to a random meeting."""

    def keys(self) -> list[Any]:
        return list(self.side.meetings)

    def truth(self) -> dict[str, Json]:
        return {key: without_nulls(row) for key, row in self.side.truth().items()}

    def rows(self, table: Table) -> dict[str, Json]:
        """The rows of a table by the keys of the truth, in its form."""
        return {key: without_nulls(row) for key, row in table.by_id().items()}

    def differences(self, table: Table) -> dict[str, list[str]]:
        """Keys of the rows that are missing, stale, or in the table and not at the provider."""
        truth, rows = self.truth(), self.rows(table)
        return {
            "missing": sorted(set(truth) - set(rows)),
            "stale": sorted(key for key in truth if key in rows and rows[key] != truth[key]),
            "too many": sorted(set(rows) - set(truth) - self.unseen),
        }

    def text(self) -> str:
        self._changes += 1
        return f"change {self._changes}"


class CloseAccount(Account):
    name = "close"
    streams = ("close_meetings",)

    def options(self) -> Json:
        credentials = {"auth_type": "api_key", "api_key": "api_sandbox"}
        return {"name": "close", "credentials": credentials}

    def generate(self, count: int) -> None:
        self.side.generate(count=count, seed=self.chance.randrange(1000))

    def change(self) -> None:
        keys = self.keys()
        kind = self.chance.choice(("edit", "insert", "cancel", "delete", "reschedule", "silent"))
        if kind == "insert" or len(keys) < 3:
            self.side.insert(starts_at=self._start())
            return
        key = self.chance.choice(keys)
        if kind == "edit":
            self.side.edit(key, title=self.text())
        elif kind == "cancel":
            self.side.cancel(key)
        elif kind == "delete":
            self.side.delete(key)
        elif kind == "reschedule":
            self.side.reschedule(key, self._start())
        else:
            days = -self.chance.uniform(0.1, 10)
            self.side.add_transcript(self.side.insert(starts_at=self._start(days)))

    def _start(self, days: float | None = None) -> str:
        days = self.chance.uniform(-900, 400) if days is None else days
        return (self.box.clock.now() + timedelta(days=days)).isoformat()

    def rows(self, table: Table) -> dict[str, Json]:
        return {key: row for key, row in super().rows(table).items() if not row["is_deleted"]}


class SalesloftAccount(Account):
    name = "salesloft"
    streams = ("salesloft_meetings",)

    def options(self) -> Json:
        credentials = {"auth_type": "api_key", "api_key": "ak_sandbox"}
        return {"name": "salesloft", "credentials": credentials}

    def generate(self, count: int) -> None:
        self.side.generate(count=count, seed=self.chance.randrange(1000))

    def change(self) -> None:
        kind = self.chance.choice(("edit", "edit", "insert", "cancel", "delete", "reschedule"))
        keys = self.keys()
        if kind == "insert" or len(keys) < 3:
            self.side.insert(title=self.text())
            return
        key = self.chance.choice(keys)
        if kind == "edit":
            self.side.edit(key, title=self.text())
        elif kind == "cancel":
            self.side.cancel(key)
        elif kind == "reschedule":
            start = self.box.clock.now() + timedelta(days=self.chance.uniform(-400, 60))
            self.side.reschedule(key, start.isoformat())
        else:
            self.side.delete(key)
            self.unseen.add(str(key))


class HighLevelAccount(Account):
    name = "highlevel"
    streams = ("highlevel_calendar_events", "highlevel_appointments")

    def options(self) -> Json:
        token = {"auth_type": "private_integration_token", "access_token": "pit-sandbox"}
        return {
            "name": "highlevel",
            "credentials": token,
            "location_id": self.side.location_id,
        }

    def generate(self, count: int) -> None:
        self.side.generate(count=count, seed=self.chance.randrange(1000), calendars=4)

    def keys(self) -> list[Any]:
        return list(self.side.events)

    def change(self) -> None:
        kind = self.chance.choice(("edit", "insert", "cancel", "delete", "reschedule"))
        keys = self.keys()
        start = self.box.clock.now() + timedelta(days=self.chance.uniform(-900, 300))
        if kind == "insert" or len(keys) < 3:
            calendar = self.chance.choice(list(self.side.calendars))
            self.side.insert(calendarId=calendar, startTime=start.isoformat(timespec="seconds"))
            return
        key = self.chance.choice(keys)
        if kind == "edit":
            self.side.edit(key, title=self.text())
        elif kind == "cancel":
            self.side.cancel(key)
        elif kind == "reschedule":
            self.side.reschedule(key, start)
        else:
            self.side.delete(key)
            self.unseen |= {key} - set(self.side.events)


class ExpoPlatformAccount(Account):
    """A row that vanishes from the export while it is read may pull others over a page's edge; the
    totals show that, so rows are deleted at any time here too."""

    name = "expoplatform"
    streams = ("expoplatform_meeting_participants",)
    events = (101, 102)

    def options(self) -> Json:
        return {
            "name": "expoplatform",
            "api_key": next(iter(self.side.keys)),
            "event_ids": list(self.events),
        }

    def generate(self, count: int) -> None:
        for event in self.events:
            self.side.generate(event, count // len(self.events), self.chance.randrange(1000))

    def keys(self) -> list[Any]:
        return list(self.side.rows)

    def change(self) -> None:
        self.box.clock.advance(seconds=self.chance.uniform(0, 2))  # stamps are whole seconds
        kind = self.chance.choice(("edit", "insert", "cancel", "delete", "reschedule"))
        keys = self.keys()
        if kind == "insert" or len(keys) < 3:
            accounts = self.chance.sample(range(1000, 1100), 2)
            self.side.insert(self.chance.choice(self.events), accounts)
            return
        event, meeting, account = key = self.chance.choice(keys)
        if kind == "edit":
            self.side.edit(event, meeting, account, status=self.text())
        elif kind == "cancel":
            self.side.cancel(event, meeting, account)
        elif kind == "reschedule":
            self.side.reschedule(event, meeting)
        else:
            self.side.delete_participant(event, meeting, account)
            self.unseen.add("|".join(map(str, key)))

    def rows(self, table: Table) -> dict[str, Json]:
        return {
            "|".join(map(str, key)): {name: row.get(name) for name in _EXPOPLATFORM_COLUMNS}
            for key, row in table.rows.items()
        }


_EXPOPLATFORM_COLUMNS = (
    "event_id",
    "meeting_id",
    "account_id",
    "status",
    "created_at",
    "last_modified_at",
    "modified_at",
    "starts_at",
)

ACCOUNTS: dict[str, type[Account]] = {
    account.name: account
    for account in (CloseAccount, SalesloftAccount, HighLevelAccount, ExpoPlatformAccount)
}
