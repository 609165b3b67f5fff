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
from sandbox_client.transport.endpoint import channel_options

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sandbox_client.transport.endpoint import Endpoint

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
    raise RuntimeError("this coroutine needs an event loop: use AsyncSandbox")


class DirectConnection(BaseConnection):
    """The part of a connection that runs code and commands. Several threads may use it at the same time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop

    def in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
        """Start a coroutine in a thread, which ends with its call."""
        threading.Thread(target=lambda: run_direct(work()), name="sandbox-input", daemon=True).start()
        return lambda: None

    async def cancel(self, method: Callable[..., Any], request: Any) -> None:
        """Send the cancel now. Another Ctrl-C gives up."""
        await self.send_cancel(method, request)

    def _open_channel(self, endpoint: Endpoint) -> Any:
        return grpc.secure_channel(
            endpoint.address,
            grpc.ssl_channel_credentials(root_certificates=endpoint.ca_certificate),
            # The thread that reads a stream also waits for it, instead of another thread that wakes it.
            options=(*channel_options(endpoint.server_name), ("SingleThreadedUnaryStream", 1)),
        )

    async def _close_channel(self, channel: Any) -> None:
        channel.close()

    def _is_ready(self) -> bool:
        return is_connected(self._channel.current, 0)

    async def _is_connected(self, seconds: float) -> bool:
        return is_connected(self._channel.current, seconds)

    async def _send(self, method: Callable[..., Any], message: Any, metadata: Any, seconds: float | None) -> Any:
        return method(message, metadata=metadata, timeout=seconds)

    def _responses(self, call: Any) -> _Responses:
        return _Responses(call)


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
    """Wait for a channel's connection, and return whether there is one.

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
    """Do the same with gRPC's public API."""
    future = grpc.channel_ready_future(channel)
    try:
        future.result(timeout=seconds)
    except grpc.FutureTimeoutError:
        return False
    finally:
        future.cancel()
    return True
