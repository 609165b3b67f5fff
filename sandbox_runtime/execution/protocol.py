"""The interface between an execution and the receiver of its output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_link.frames import Stream


class ExecutionSink(Protocol):
    """Receives the output of an execution: a channel of the link, or an internal task.

    Attributes:
        number: Identifies the execution to its interpreter.
        on_writable: Called when `is_blocked` becomes false.
    """

    number: int
    on_writable: Callable[[], None] | None

    @property
    def is_blocked(self) -> bool:
        """True while output waits because its reader is too slow."""
        ...

    def write(self, stream: Stream, data: bytes | bytearray | memoryview) -> None:
        """Take output. The data must not change afterwards."""

    def send_event(self, value: dict[str, Any]) -> None:
        """Take an event, in order with the output."""

    def finish(self, result: dict[str, Any]) -> None:
        """Take the result, which ends the execution."""
