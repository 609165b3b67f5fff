"""What both sides of the link program against: a call as the agent makes it, a channel as the runtime serves it.

Errors: OperationError is the one error of an operation, on both sides; docs/link.md has its form on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from sandbox_link.frames import Stream


class OperationError(Exception):
    """An operation failed in a way its caller can act on.

    Attributes:
        code: Name of a gRPC status code, such as `NOT_FOUND`.
        reason: UPPER_SNAKE word, such as `FILE_NOT_FOUND`; docs/pod-contract.md lists them.
        message: A sentence that says what to do next where there is something to do.
        field: The request's field at fault, or "".
    """

    def __init__(self, code: str, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.field = field


def invalid(field: str, message: str, reason: str = "INVALID_ARGUMENT") -> OperationError:
    """Return an error with code INVALID_ARGUMENT for a field of the request."""
    return OperationError("INVALID_ARGUMENT", reason, message, field)


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a call's output, in order with its events."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a call, as the runtime said it: check every value before use."""

    value: dict[str, Any]


class Call(Protocol):
    """One operation under way, seen from the agent.

    Iterate for events and data; the iteration ends with the runtime's CLOSE, after which `result` is set, and raises
    OperationError where the operation failed (RUNTIME_UNAVAILABLE, code UNAVAILABLE, where the link was lost).
    """

    @property
    def result(self) -> dict[str, Any]:
        """The `ok` object; only after the iteration ended."""
        ...

    def __aiter__(self) -> AsyncIterator[Data | Event]:
        """Events and data in order. Credit is given back as items are consumed: a slow consumer slows the runtime."""
        ...

    @property
    def ended(self) -> bool:
        """The call has ended and everything before its end was consumed."""
        ...

    async def batch(self) -> list[Data | Event]:
        """As iteration, but all that waits at once, at least one item; empty at the end."""
        ...

    def break_off(self, reason: str) -> None:
        """The runtime broke the protocol: close the connection, every call of it fails."""
        ...

    async def send(self, data: bytes | memoryview) -> None:
        """Send input (DATA BODY), waiting for credit; any length. The data must not change later."""
        ...

    def stream(self, event: Event) -> AbstractAsyncContextManager[socket.socket]:
        """The socket that a `stream` event of the runtime names, not blocking; closed at the end.

        Raises:
            FrameError: The event is no such one.
            OperationError: UNAVAILABLE: the runtime does not listen there.
        """
        ...

    async def end(self) -> None:
        """Say that there is no more input."""
        ...

    async def cancel(self) -> None:
        """Ask the runtime to stop; the iteration still ends with its CLOSE."""
        ...


class Runtime(Protocol):
    """The runtime as the agent's services see it."""

    @property
    def runtime_id(self) -> str:
        """New at each start of the runtime; empty while there is no link."""
        ...

    @property
    def can_stream(self) -> bool:
        """Whether an operation may be offered a stream now; a property of the link, and of how many there are."""
        ...

    async def open(self, op: str, arguments: dict[str, Any]) -> Call:
        """Start an operation.

        Raises:
            OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: there is no link (a short wait for one is included).
        """
        ...

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """An operation without data: its `ok` object, events ignored.

        Raises:
            OperationError: As the runtime said it, or as for `open`.
        """
        ...


class Channel(Protocol):
    """One operation, seen from the runtime.

    A handler is `async def handle(channel: Channel) -> dict[str, Any]` (the `ok` object).
    """

    @property
    def arguments(self) -> dict[str, Any]:
        """The OPEN frame's object, `op` included."""
        ...

    async def receive(self) -> bytes | None:
        """The next piece of input; None after the agent's CLOSE. Cancellation arrives as asyncio.CancelledError."""
        ...

    async def send(self, stream: Stream, data: bytes | memoryview) -> None:
        """Send output, waiting for credit; any length."""
        ...

    async def stream(self) -> socket.socket | None:
        """A socket for the content of a large file, which does not block; whoever takes it closes it.

        None where the agent offered none: the content goes by `send` and `receive`.

        Raises:
            OperationError: ABORTED: it offered one and did not come.
        """
        ...

    def send_event(self, value: dict[str, Any]) -> None:
        """Send an event, in order with the data."""
        ...
