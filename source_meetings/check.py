"""The ``check`` command: makes only the requests that a manifest lists under ``check``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from airbyte_cdk.models import AirbyteConnectionStatus, Status
from airbyte_cdk.sources.declarative.models.declarative_component_schema import (
    CustomRequester as CustomRequesterModel,
)
from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import (
    ModelToComponentFactory,
)
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from source_meetings.cdk.requester import ApiRequester
from source_meetings.components import build
from source_meetings.connection import Connection
from source_meetings.manifest import Definition

CHECK_SECONDS = 18.0


def check(
    manifest: Mapping[str, Any], factory: ModelToComponentFactory, connection: Connection
) -> AirbyteConnectionStatus:
    """Make the requests of the check. Takes at most 20 seconds."""
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            for step in manifest["check"]["requests"]:
                _run(step, factory, connection)
            outcome.set_result(None)
        except BaseException as error:
            outcome.set_exception(error)

    # A daemon thread: a pool's thread would keep the process alive until the provider answers.
    threading.Thread(target=work, name="check", daemon=True).start()
    try:
        outcome.result(timeout=CHECK_SECONDS)
    except FutureTimeout:
        return AirbyteConnectionStatus(
            status=Status.FAILED,
            message=f"The provider did not answer within {CHECK_SECONDS:.0f} seconds. Check "
            "base_url and the network, and try again.",
        )
    except AirbyteTracedException as error:
        return AirbyteConnectionStatus(status=Status.FAILED, message=error.message)
    return AirbyteConnectionStatus(status=Status.SUCCEEDED)


def _run(step: Definition, factory: ModelToComponentFactory, connection: Connection) -> None:
    """Run one step: a request, a request per ``for_each`` value, or a class of the provider."""
    definition = dict(step)
    if definition.get("type") != "CustomRequester":
        parts: dict[str, Any] = {
            name: _requester(part, factory, connection)
            for name, part in definition.items()
            if isinstance(part, Mapping) and name[0] != "$"
        }
        parts["class_name"] = definition["class_name"]
        build(parts, object, config=connection).run()
        return
    for_each = definition.pop("for_each", None)
    requester = _requester(definition, factory, connection)
    # {"option": "event_ids", "parameter": "event_id"}: one request per value
    values = connection.provider[for_each["option"]] if for_each else [None]
    for value in values:
        requester.ask({for_each["parameter"]: str(value)} if for_each else {})


def _requester(
    definition: Mapping[str, Any], factory: ModelToComponentFactory, connection: Connection
) -> ApiRequester:
    requester = factory.create_component(CustomRequesterModel, dict(definition), connection)
    assert isinstance(requester, ApiRequester)
    requester.client.hurry()
    return requester
