"""The CDK's commands, without a temporary directory.

``AirbyteEntrypoint.run`` (airbyte-cdk 7.39.1) makes a temporary directory for a request cache that
this connector does not use (``use_cache``). It also makes the source write the configuration there,
including secrets. A process that is killed, or whose output is no longer read, leaves both behind.
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.logger import is_platform_debug_log_enabled
from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateMessage,
    ConfiguredAirbyteCatalog,
    ConnectorSpecification,
    Type,
)
from airbyte_cdk.sources.connector_state_manager import HashableStreamDescriptor
from airbyte_cdk.utils.memory_monitor import MemoryMonitor

from source_meetings.cdk.pages import Page
from source_meetings.source import SourceMeetings

_MESSAGES_BETWEEN_LOOKS_AT_THE_MEMORY = 50  # many are pages of a hundred rows or more


class Entrypoint(AirbyteEntrypoint):
    """Runs a command with inputs that were already read and checked, so it reads no file again.

    ``config`` may be None only for ``spec``. ``catalog`` is needed only for ``read``.
    """

    def __init__(
        self,
        source: SourceMeetings,
        config: Mapping[str, Any] | None = None,
        catalog: ConfiguredAirbyteCatalog | None = None,
        state: list[AirbyteStateMessage] | None = None,
    ) -> None:
        super().__init__(source)
        # The CDK checks every 5,000 messages, but here a message can be a page.
        self._memory_monitor = MemoryMonitor(_MESSAGES_BETWEEN_LOOKS_AT_THE_MEMORY)
        self._config = config or {}
        self._catalog = catalog
        self._state = state or []

    def output(self, parsed_args: argparse.Namespace) -> Iterator[str | Page]:
        """Yield what a command prints: pages, and messages as lines, like the CDK's ``run``.

        Raises whatever the command raises, after the messages that were waiting to be printed.
        """
        self._set_log_level(debug=parsed_args.debug or is_platform_debug_log_enabled())
        specification = self.source.spec(self.logger)
        try:
            for message in self._messages(parsed_args.command, specification):
                yield Page.carried_by(message) or self.airbyte_message_to_string(message)
        finally:
            for message in self._emit_queued_messages(self.source):
                yield self.airbyte_message_to_string(message)

    def _set_log_level(self, debug: bool) -> None:
        if debug:
            logging.getLogger("airbyte").setLevel(logging.DEBUG)
            self.logger.setLevel(logging.DEBUG)
            self.logger.debug("Debug logs enabled")
        else:
            self.logger.setLevel(logging.INFO)

    def _messages(
        self, command: str, specification: ConnectorSpecification
    ) -> Iterator[AirbyteMessage]:
        yield from self._emit_queued_messages(self.source)
        if command == "spec":
            yield AirbyteMessage(type=Type.SPEC, spec=specification)
        elif command == "check":
            yield from self.check(specification, self._config)
        elif command == "discover":
            yield from self.discover(specification, self._config)
        else:
            yield from self.read(specification, self._config, self._catalog, self._state)

    @staticmethod
    def handle_record_counts(
        message: AirbyteMessage, stream_message_count: defaultdict[HashableStreamDescriptor, float]
    ) -> AirbyteMessage:
        """Count a stream's rows, including those in pages, into the state that follows them."""
        page = Page.carried_by(message)
        if page is None:
            return AirbyteEntrypoint.handle_record_counts(message, stream_message_count)
        stream_message_count[HashableStreamDescriptor(name=page.stream)] += page.count
        return message
