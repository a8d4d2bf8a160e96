"""Errors meant for people to read."""

from __future__ import annotations

from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException


def config_error(message: str) -> AirbyteTracedException:
    """Return an error that the user can fix. The message says what to change, and how."""
    return AirbyteTracedException(
        message=message, internal_message=message, failure_type=FailureType.config_error
    )
