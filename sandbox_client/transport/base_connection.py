"""Calls over one connection to an agent: bearer token, errors, safe repeats, and moves of the session to another pod.

The calls are written once, as coroutines, for both kinds of connection: connection.py waits on an event loop, and
sync/direct.py blocks the calling thread instead. connection_policy.py decides; this module carries the decisions out.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_client.errors import from_rpc_error
from sandbox_client.transport.connection_policy import CONNECT_TIMEOUT, ConnectionPolicy
from sandbox_client.transport.endpoint import bearer_metadata, unreachable
from sandbox_client.transport.switchable_channel import SwitchableChannel
from sandbox_proto import tracing
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Sequence

    from sandbox_client.errors import SandboxError
    from sandbox_client.transport.endpoint import Endpoint

UNARY_TIMEOUT: Final = 60.0
"""Seconds that a call with a single response may take."""
CANCEL_TIMEOUT: Final = 5.0
"""Seconds to find a connection for a cancel, and then to send it."""
_PROBE_TIMEOUT: Final = 2.0
"""Seconds for the call that finds out why there is no connection."""


class BaseConnection(abc.ABC):
    """A connection to one agent. Subclasses open the channel, and wait for it in their own way.

    Attributes:
        endpoint: The agent's address.
        has_brief_call: Whether the agent has ExecuteBriefly; True until the agent rejects it.
        interpreter: The stub of InterpreterService.
        process: The stub of ProcessService.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        revive: Callable[[Endpoint, SandboxError | None], Awaitable[Endpoint | None]] | None = None,
    ) -> None:
        """Open a channel. The first call connects.

        Args:
            endpoint: The agent's address.
            connect_timeout: Seconds that a call waits for a connection.
            revive: Called if a call could not be started, with the endpoint and the refusal. Returns the session's
                new endpoint, or None if it has not moved. `Waker.revive` does this.
        """
        self.endpoint = endpoint
        self.has_brief_call = True
        self._policy = ConnectionPolicy(connect_timeout, can_move=revive is not None)
        self._revive = revive
        self._metadata = bearer_metadata(endpoint)
        self._channel = SwitchableChannel(self._open_channel(endpoint))
        self._retired: Any = None
        # Several threads may use a DirectConnection.
        self._move_lock = threading.Lock()
        self._create_stubs()

    def _create_stubs(self) -> None:
        self.interpreter = self._channel.create_stub(InterpreterServiceStub)
        self.process = self._channel.create_stub(ProcessServiceStub)

    async def unary(
        self,
        method: Callable[..., Any],
        request: Any,
        *,
        repeatable: bool,
        seconds: float | None = UNARY_TIMEOUT,
        metadata: Sequence[tuple[str, str]] = (),
        under: tracing.Span = tracing.NO_SPAN,
    ) -> Any:
        """Make a call with a single response.

        Args:
            method: A method of one of the stubs.
            request: The message, or an async iterator of messages. A function that returns either lets the call be
                sent again.
            repeatable: Whether running the call twice is harmless. Only then it is sent again after UNAVAILABLE.
            seconds: Time limit of each attempt; None for no limit.
            metadata: Sent in addition to the token.
            under: The parent of the call's span.

        Raises:
            SandboxError: The call failed; errors.py maps each gRPC status to a class.
        """
        with tracing.calling(method, under) as span:
            attempt, moves = 1, 0
            while True:
                if not self._is_ready():
                    await self._connect()
                message = request() if callable(request) else request
                try:
                    return await self._send(method, message, (*self._metadata, *metadata, *span.metadata), seconds)
                except grpc.RpcError as error:
                    failure = from_rpc_error(error)
                    # A started iterator cannot be sent again.
                    can_resend = not hasattr(request, "__anext__")
                    if can_resend and self._policy.may_follow(failure, moves) and await self._follow(failure):
                        moves += 1
                        continue
                    delay = self._policy.retry_delay(failure, attempt) if repeatable else None
                    if delay is None:
                        raise failure from error
                except asyncio.CancelledError:
                    self._check_open()
                    raise
                await self.sleep(delay)
                attempt += 1

    async def send_cancel(self, method: Callable[..., Any], request: Any) -> None:
        """Send the cancel of a call that its caller gave up. It is lost if there is no connection within some seconds.

        Unlike other calls, it never resumes a suspended session, in which nothing runs.
        """
        # The last two: the connection is being closed.
        with contextlib.suppress(grpc.RpcError, grpc.aio.UsageError, ValueError):
            if self._is_ready() or await self._is_connected(CANCEL_TIMEOUT):
                await self._send(method, request, self._metadata, CANCEL_TIMEOUT)

    def _check_open(self) -> None:  # noqa: B027 - only calls of asyncio are cancelled
        """Raise an error if `close` ended a call that runs. gRPC then raises CancelledError."""

    @abc.abstractmethod
    def in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
        """Start a coroutine that makes calls of this connection. Returns what cancels it, if possible."""

    @abc.abstractmethod
    async def cancel(self, method: Callable[..., Any], request: Any) -> None:
        """Call `send_cancel` and wait for it a moment, even if the calling task is being cancelled."""

    async def pages(self, method: Callable[..., Any], request: Any) -> AsyncGenerator[Any, None]:
        """Call a paginated method until it returns the last page. Yield each response."""
        while True:
            response = await self.unary(method, request, repeatable=True)
            yield response
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    async def stream(
        self,
        method: Callable[..., Any],
        request: Any,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        under: tracing.Span = tracing.NO_SPAN,
    ) -> AsyncGenerator[Any, None]:
        """Make a call with a stream of responses. It is not sent again if it may have started.

        Raises:
            SandboxError: The call failed; errors.py maps each gRPC status to a class.
        """
        with tracing.calling(method, under) as span:
            moves = 0
            while True:
                if not self._is_ready():
                    await self._connect()
                call = method(request, metadata=(*self._metadata, *metadata, *span.metadata))
                has_begun = False
                try:
                    async for response in self._responses(call):
                        has_begun = True
                        yield response
                except grpc.RpcError as error:
                    failure = from_rpc_error(error)
                    may_follow = not has_begun and self._policy.may_follow(failure, moves)
                    if not (may_follow and await self._follow(failure)):
                        raise failure from error
                    moves += 1
                except asyncio.CancelledError:
                    self._check_open()
                    raise
                else:
                    return
                finally:
                    # Frees the call if the caller stopped iterating early. Harmless after the end.
                    call.cancel()

    async def _connect(self) -> None:
        """Wait until there is a connection. Nothing was sent yet, so a suspended session is resumed meanwhile.

        Raises:
            SandboxUnavailable: There is no connection within the connect timeout; the message says why.
            SessionFailed: The session was suspended and could not be resumed.
        """
        steps = self._policy.connect_steps()
        try:
            seconds = next(steps)
            while True:
                has_succeeded = await (self._follow(None) if seconds is None else self._is_connected(seconds))
                seconds = steps.send(has_succeeded)
        except StopIteration as end:
            if end.value:
                return
        why = "" if self.endpoint.describe_failure() else await self._probe()
        raise unreachable(self.endpoint, self._policy.connect_timeout, why)

    async def _follow(self, error: SandboxError | None) -> bool:
        """Move to the session's current pod. Return False if the session did not move.

        Args:
            error: How the agent refused the call, or None if there is no connection.
        """
        previous = self.endpoint
        endpoint = await self._revive(previous, error) if self._revive is not None else None
        if endpoint is None:
            return False
        with self._move_lock:
            # Another call may have followed the session already.
            if self.endpoint is not previous:
                return True
            # Calls may still use the previous channel, so the next move or `close` closes it.
            retired, self._retired = self._retired, self._channel.current
            self.endpoint, self._metadata = endpoint, bearer_metadata(endpoint)
            self._channel.switch(self._open_channel(endpoint))
        if retired is not None:
            await self._close_channel(retired)
        return True

    async def _probe(self) -> str:
        """Make a call to find out why there is no connection, and return the reason."""
        from sandbox_proto.v1.interpreter_pb2 import ListContextsRequest  # noqa: PLC0415 - only needed here

        method = self.interpreter.ListContexts
        try:
            await self._send(method, ListContextsRequest(), self._metadata, _PROBE_TIMEOUT)
        except grpc.RpcError as error:
            failure: Any = error
            return str(failure.details())
        return "it has answered since"

    async def close(self) -> None:
        """Close the connection. Calls that are still running fail."""
        with self._move_lock:
            channels = (self._retired, self._channel.current)
        for channel in channels:
            if channel is not None:
                await self._close_channel(channel)

    @abc.abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait."""

    @abc.abstractmethod
    def _open_channel(self, endpoint: Endpoint) -> Any:
        """Open a channel to an agent, without waiting."""

    @abc.abstractmethod
    async def _close_channel(self, channel: Any) -> None:
        """Close a channel. Calls that use it fail."""

    @abc.abstractmethod
    def _is_ready(self) -> bool:
        """Return whether there is a connection, without waiting. Start to connect if not."""

    @abc.abstractmethod
    async def _is_connected(self, seconds: float) -> bool:
        """Wait for the connection. Return whether there is one within this time."""

    @abc.abstractmethod
    async def _send(self, method: Callable[..., Any], message: Any, metadata: Any, seconds: float | None) -> Any:
        """Send a call and return its response."""

    @abc.abstractmethod
    def _responses(self, call: Any) -> AsyncIterable[Any]:
        """Return a call's responses as an async iterable."""
