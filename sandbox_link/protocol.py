"""Interfaces of the link: a call as the agent makes it, a channel as the runtime serves it.

Errors: OperationError is the only error of an operation, on both sides. docs/link.md has its form on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from sandbox_link.frames import Stream


class OperationError(Exception):
    """Failure of an operation, described so that its caller can react.

    Attributes:
        code: Name of a gRPC status code, such as `NOT_FOUND`.
        reason: UPPER_SNAKE word, such as `FILE_NOT_FOUND`; docs/pod-contract.md lists them.
        message: A sentence for people. It says what they can do about the error, if anything.
        field: Name of the invalid field of the request, or "".
    """

    def __init__(self, code: str, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.field = field

    def describe(self, arguments: Mapping[str, Any]) -> str:  # noqa: ARG002 - for subclasses
        """Return the message, given the arguments of the operation that failed."""
        return self.message


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
    """An event of a call, as the runtime sent it. Check every value before use."""

    value: dict[str, Any]


class Call(Protocol):
    """A running operation, seen from the agent.

    Iterate over it for events and data. The iteration ends with the runtime's CLOSE, and then `result` is set. It
    raises OperationError if the operation failed: UNAVAILABLE, RUNTIME_UNAVAILABLE if the link was lost.
    """

    @property
    def result(self) -> dict[str, Any]:
        """The `ok` object. Available only after the iteration ended."""
        ...

    def __aiter__(self) -> AsyncIterator[Data | Event]:
        """Iterate over events and data in order.

        Each consumed item returns its credit to the runtime, so a slow consumer slows the runtime down.
        """
        ...

    @property
    def ended(self) -> bool:
        """True once the call has ended and everything before its end was consumed."""
        ...

    async def batch(self) -> list[Data | Event]:
        """Return all items that have arrived, waiting for at least one. Returns an empty list at the end."""
        ...

    def interrupt(self) -> None:
        """Ask the runtime to stop, and keep following: the output so far and the end still arrive."""
        ...

    def discard(self) -> None:
        """Cancel without waiting, and drop what still arrives. Other calls go on."""
        ...

    def break_off(self, reason: str) -> None:
        """Close the connection because the runtime broke the protocol. All calls on it fail."""
        ...

    async def send(self, data: bytes | memoryview) -> None:
        """Send input of any length (DATA BODY), waiting for credit. The data must not change afterwards."""
        ...

    def stream(self, event: Event) -> AbstractAsyncContextManager[socket.socket]:
        """Open the non-blocking socket that a `stream` event of the runtime names, and close it at the end.

        Raises:
            FrameError: The event is not a `stream` event with a key.
            OperationError: UNAVAILABLE: the runtime does not listen there.
        """
        ...

    async def end(self) -> None:
        """Signal the end of the input."""
        ...

    async def cancel(self) -> None:
        """Ask the runtime to stop. The iteration still ends with the runtime's CLOSE."""
        ...


class Runtime(Protocol):
    """The runtime as the agent's services see it."""

    @property
    def runtime_id(self) -> str:
        """Random id of this run of the runtime. Empty while there is no link."""
        ...

    @property
    def can_stream(self) -> bool:
        """True if the agent may now offer a bulk stream: the runtime supports them, and not too many are open."""
        ...

    async def open(self, op: str, arguments: dict[str, Any]) -> Call:
        """Start an operation, waiting a few seconds for a link if there is none.

        Raises:
            OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE: there is still no link.
        """
        ...

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run an operation without data, ignore its events, and return its `ok` object.

        Raises:
            OperationError: As the runtime reported it, or as for `open`.
        """
        ...


class Channel(Protocol):
    """One operation, seen from the runtime.

    A handler is `async def handle(channel: Channel) -> dict[str, Any]` and returns the `ok` object.
    """

    @property
    def arguments(self) -> dict[str, Any]:
        """The OPEN frame's object, `op` included."""
        ...

    async def receive(self) -> bytes | None:
        """Return the next piece of input, or None after the agent's CLOSE.

        A cancellation by the agent arrives as asyncio.CancelledError.
        """
        ...

    async def send(self, stream: Stream, data: bytes | memoryview) -> None:
        """Send output of any length, waiting for credit."""
        ...

    async def stream(self) -> socket.socket | None:
        """Return a non-blocking socket for a large file's content. The caller has to close it.

        Returns None if the agent offered no stream. The content then travels by `send` and `receive`.

        Raises:
            OperationError: ABORTED: the agent offered a stream but did not connect.
        """
        ...

    def send_event(self, value: dict[str, Any]) -> None:
        """Send an event, in order with the data."""
        ...
