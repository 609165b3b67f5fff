"""The blocking connection: calls on the calling thread, without an event loop. The synchronous API runs code with it.

The SDK's coroutines are written once, against BaseConnection. Over a DirectConnection they never wait for a loop: each
call blocks inside gRPC, so a single `send` runs the coroutine to its end. That saves the switches to a loop's thread
and back, and those between that thread and gRPC's own: half a millisecond per call (docs/performance.md).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import grpc

from sandbox_client.transport.base_connection import BaseConnection
from sandbox_client.transport.connection_policy import CONNECT_TIMEOUT, ConnectionPolicy
from sandbox_client.transport.endpoint import Endpoint, bearer_metadata, channel_options
from sandbox_client.transport.switchable_channel import SwitchableChannel, create_stub
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from sandbox_client.errors import SandboxError

T = TypeVar("T")
_READY: Final = grpc.ChannelConnectivity.READY.value[0]
_WATCH_INTERVAL: Final = 0.2
"""Seconds for which gRPC watches the channel's state at a time. Ctrl-C waits that long."""


def run_direct(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits only for a DirectConnection, and return its result.

    Raises:
        RuntimeError: It waited for something else.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("this coroutine needs an event loop")


class DirectConnection(BaseConnection):
    """The part of a connection that runs code and commands. Several threads may use it at the same time."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        revive: Callable[[Endpoint, SandboxError | None], Endpoint | None] | None = None,
    ) -> None:
        """Prepare a connection. The first call connects.

        Args:
            endpoint: Where the agent is.
            connect_timeout: Seconds that a call waits for a connection.
            revive: Blocks, and returns where the session is now, if a call could not be started.
        """
        super().__init__(endpoint, ConnectionPolicy(connect_timeout, can_move=revive is not None))
        self._revive = revive
        self._lock = threading.Lock()
        self._opened: tuple[SwitchableChannel, Any, Any] | None = None
        self._retired: Any = None

    @property
    def interpreter(self) -> Any:
        """The stub of InterpreterService. The first call creates it."""
        return self._open()[1]

    @property
    def process(self) -> Any:
        """The stub of ProcessService. The first call creates it."""
        return self._open()[2]

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop

    def close(self) -> None:
        """Close the connection. Calls that are still running fail."""
        with self._lock:
            if self._retired is not None:
                self._retired.close()
            if self._opened is not None:
                self._opened[0].current.close()

    def _open(self) -> tuple[SwitchableChannel, Any, Any]:
        """Return the channel and the stubs of the two services. Create them if this is the first call."""
        if self._opened is None:
            with self._lock:
                if self._opened is None:
                    channel = SwitchableChannel(_open_channel(self.endpoint))
                    stubs = (create_stub(InterpreterServiceStub, channel), create_stub(ProcessServiceStub, channel))
                    self._opened = (channel, *stubs)
        return self._opened

    def _is_ready(self) -> bool:
        return is_connected(self._open()[0].current, 0)

    async def _is_connected(self, seconds: float) -> bool:
        return is_connected(self._open()[0].current, seconds)

    async def _send(
        self, method: Callable[..., Any], message: Any, metadata: Sequence[tuple[str, str]], seconds: float | None
    ) -> Any:
        return method(message, metadata=metadata, timeout=seconds)

    def _responses(self, call: Any) -> _Responses:
        return _Responses(call)

    async def _locate(self, left: Endpoint, error: SandboxError | None) -> Endpoint | None:
        return None if self._revive is None else self._revive(left, error)

    async def _move(self, left: Endpoint, endpoint: Endpoint) -> None:
        channel = self._open()[0]
        with self._lock:
            if self.endpoint is not left:
                return
            # Calls over the channel before this one end with the next move, or with `close`.
            retired, self._retired = self._retired, channel.current
            self.endpoint, self._metadata = endpoint, bearer_metadata(endpoint)
            channel.switch(_open_channel(endpoint))
            if retired is not None:
                retired.close()


class _Responses:
    """The responses of a blocking call as an async iterator, which never waits for a loop."""

    __slots__ = ("_next",)

    def __init__(self, call: Any) -> None:
        self._next = call.__next__

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return self._next()
        except StopIteration:
            raise StopAsyncIteration from None


def is_connected(channel: Any, seconds: float) -> bool:
    """Wait for a channel's connection, and return whether it is there.

    gRPC's public API reads the channel's state in a thread, five times a second, and reports its last value in between.
    A call sent over a connection that has just broken would count as lost. So this reads the state from gRPC's private
    channel, and falls back to the public API if an upgrade removes that.
    """
    try:
        inner = channel._channel  # noqa: SLF001 - see above
        check_state, watch_state = inner.check_connectivity_state, inner.watch_connectivity_state
    except AttributeError:
        return _is_connected_public(channel, seconds)
    deadline = time.time() + seconds
    while (state := check_state(True)) != _READY:  # noqa: FBT003 - gRPC's signature
        now = time.time()
        if now >= deadline:
            return False
        watch_state(state, min(deadline, now + _WATCH_INTERVAL))
    return True


def _is_connected_public(channel: Any, seconds: float) -> bool:
    future = grpc.channel_ready_future(channel)
    try:
        future.result(timeout=seconds)
    except grpc.FutureTimeoutError:
        return False
    finally:
        future.cancel()
    return True


def _open_channel(endpoint: Endpoint) -> Any:
    return grpc.secure_channel(
        endpoint.address,
        grpc.ssl_channel_credentials(root_certificates=endpoint.ca_certificate),
        # The thread that reads a stream also waits for it, instead of another thread that wakes it.
        options=(*channel_options(endpoint.server_name), ("SingleThreadedUnaryStream", 1)),
    )
