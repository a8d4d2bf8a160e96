"""The base of every provider's side of the sandbox: a call comes in, a reply goes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import orjson

from sandbox.clock import Clock

Row = dict[str, Any]
Params = list[tuple[str, str]]


@dataclass(frozen=True)
class Call:
    """One request to a provider. `path` begins after the provider's mount: `/v2/meetings`."""

    provider: str
    method: str
    path: str
    params: Params
    headers: dict[str, str]
    body: bytes
    query: str = ""  # as it was sent

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def bearer(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None


@dataclass
class Reply:
    """`payload` is anything orjson can encode, or the body itself as bytes."""

    payload: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"
    points: int = 0

    def encode(self) -> bytes:
        return self.payload if isinstance(self.payload, bytes) else orjson.dumps(self.payload)


class Side(ABC):
    """One provider. A subclass answers calls and offers the writes that matter for its API.

    The control interface calls `actions` by name with the JSON it is given as keyword arguments,
    and `configure` sets the attributes named in `options`.
    """

    name: ClassVar[str]
    actions: ClassVar[tuple[str, ...]] = ("generate", "insert", "edit", "cancel", "delete")
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, clock: Clock, lock: RLock) -> None:
        self.clock = clock
        self.lock = lock  # held while a call is answered; writes take it too
        self.root = ""  # http://127.0.0.1:PORT/<name>, once the server runs

    @property
    @abstractmethod
    def base_url(self) -> str:
        """The `base_url` of a configuration."""

    @abstractmethod
    def answer(self, call: Call) -> Reply: ...

    @abstractmethod
    def truth(self) -> dict[str, Row]:
        """What the API shows now, in the connector's normalized form, by primary key."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """How many rows of each kind there are."""

    def configure(self, **options: Any) -> None:
        for name, value in options.items():
            if name not in self.options:
                raise ValueError(f"{self.name} has no option {name!r}")
            setattr(self, name, value)

    def page_rows(self, payload: Any) -> list[Any]:
        """The list of rows inside a page, to be changed in place (for the fault `short_page`)."""
        lists = payload.values() if isinstance(payload, Mapping) else [payload]
        return max((value for value in lists if isinstance(value, list)), key=len, default=[])
