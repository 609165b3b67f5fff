"""Calls on the calling thread, without an event loop: what the sync face runs code with.

The SDK's coroutines are written once, against Connection. Over a StraightConnection they never wait for a loop: each
call blocks inside gRPC, so that a coroutine is run by a single `send`. That saves the switches to a loop's thread and
back, and those between that thread and gRPC's own: half a millisecond of a call (docs/performance.md).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from sandbox_client.cluster.wake_policy import is_unstarted
from sandbox_client.errors import from_rpc_error
from sandbox_client.transport.connection import CONNECT_TIMEOUT, PATIENCE, REVIVALS, UNARY_TIMEOUT
from sandbox_client.transport.endpoint import Endpoint, bearer_metadata, channel_options, unreachable
from sandbox_client.transport.switchable_channel import MovableChannel
from sandbox_proto import tracing
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from sandbox_client.errors import SandboxError

T = TypeVar("T")
_READY: Final = grpc.ChannelConnectivity.READY.value[0]
_LOOK: Final = 0.2
"""Seconds for which a state is watched at a time: Ctrl-C waits for it."""


def run_straight(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that only uses a StraightConnection.

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


class StraightConnection:
    """The part of Connection that running code and commands needs. Any number of threads may use it.

    Attributes:
        endpoint: Where the agent is.
        is_brief: As Connection's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        revive: Callable[[Endpoint, SandboxError | None], Endpoint | None] | None = None,
    ) -> None:
        """Args are those of Connection; `revive` blocks."""
        self.endpoint = endpoint
        self.is_brief = True
        self._connect_timeout = connect_timeout
        self._revive = revive
        self._metadata = bearer_metadata(endpoint)
        self._opening = threading.Lock()
        self._opened: Any = None
        self._retired: Any = None

    @property
    def interpreter(self) -> Any:
        """The stub of InterpreterService."""
        return self._stubs[0]

    @property
    def process(self) -> Any:
        """The stub of ProcessService."""
        return self._stubs[1]

    async def unary(
        self,
        method: Callable[..., Any],
        request: Any,
        *,
        repeatable: bool = False,
        seconds: float | None = UNARY_TIMEOUT,
        metadata: Sequence[tuple[str, str]] = (),
        under: tracing.Span = tracing.NO_SPAN,
    ) -> Any:
        """One request, one answer; never repeated where it may have begun.

        Raises:
            SandboxError: As the table in errors.py has it.
        """
        del repeatable
        with tracing.calling(method, under) as span:
            for revivals in range(REVIVALS + 1):
                self._wait_ready()
                try:
                    return method(request, metadata=(*self._metadata, *metadata, *span.metadata), timeout=seconds)
                except grpc.RpcError as error:
                    failure = from_rpc_error(error)
                    if not self._goes_on(failure, revivals):
                        raise failure from error
        raise AssertionError("unreachable")  # pragma: no cover

    async def stream(
        self,
        method: Callable[..., Any],
        request: Any,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        under: tracing.Span = tracing.NO_SPAN,
    ) -> AsyncGenerator[Any, None]:
        """One request, many answers; no retry of what may have begun.

        Raises:
            SandboxError: As the table in errors.py has it.
        """
        with tracing.calling(method, under) as span:
            for revivals in range(REVIVALS + 1):
                self._wait_ready()
                call = method(request, metadata=(*self._metadata, *metadata, *span.metadata))
                has_begun = False
                try:
                    for response in call:
                        has_begun = True
                        yield response
                except grpc.RpcError as error:
                    failure = from_rpc_error(error)
                    if has_begun or not self._goes_on(failure, revivals):
                        raise failure from error
                else:
                    return
                finally:
                    # Harmless after the end; it frees the call where the consumer went away early.
                    call.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - there is no loop

    def close(self) -> None:
        """End the connection; calls under way fail."""
        with self._opening:
            if self._retired is not None:
                self._retired.close()
            if self._opened is not None:
                self._opened[0].current.close()

    @property
    def _stubs(self) -> Any:
        return self._open()[1]

    def _open(self) -> Any:
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    channel = MovableChannel(_open_channel(self.endpoint))
                    make: tuple[Any, Any] = (InterpreterServiceStub, ProcessServiceStub)
                    self._opened = (channel, tuple(stub(channel) for stub in make))
        return self._opened

    def _wait_ready(self) -> None:
        if self._is_connected(0):
            return
        if self._revive is not None:
            if self._is_connected(PATIENCE):
                return
            self._follow(None)
        if self._is_connected(self._connect_timeout):
            return
        if not (self._follow(None) and self._is_connected(self._connect_timeout)):
            raise unreachable(self.endpoint, self._connect_timeout, self._why_not())

    def _is_connected(self, seconds: float) -> bool:
        """Wait for the connection; whether it is there."""
        # The channel's public face tells its state by a thread that asks five times a second, and tells the last answer
        # meanwhile: what is sent by a connection that is gone is taken for lost.
        channel = self._open()[0].current._channel  # noqa: SLF001 - same
        deadline = time.time() + seconds
        while (state := channel.check_connectivity_state(True)) != _READY:  # noqa: FBT003 - gRPC's signature
            now = time.time()
            if now >= deadline:
                return False
            channel.watch_connectivity_state(state, min(deadline, now + _LOOK))
        return True

    def _goes_on(self, error: SandboxError, revivals: int) -> bool:
        """As Connection's."""
        return revivals < REVIVALS and is_unstarted(error) and self._follow(error)

    def _follow(self, error: SandboxError | None) -> bool:
        """As Connection's."""
        held = self.endpoint
        endpoint = None if self._revive is None else self._revive(held, error)
        if endpoint is None:
            return False
        with self._opening:
            if self.endpoint is held:
                channel: MovableChannel = self._opened[0]
                retired, self._retired = self._retired, channel.current
                self.endpoint, self._metadata = endpoint, bearer_metadata(endpoint)
                channel.move(_open_channel(endpoint))
                if retired is not None:
                    retired.close()
        return True

    def _why_not(self) -> str:
        from sandbox_proto.v1.interpreter_pb2 import ListContextsRequest  # noqa: PLC0415 - only on this path

        try:
            self.interpreter.ListContexts(ListContextsRequest(), metadata=self._metadata, timeout=2)
        except grpc.RpcError as error:
            rpc_error: Any = error
            return str(rpc_error.details())
        return "it answers now"


def _open_channel(endpoint: Endpoint) -> Any:
    return grpc.secure_channel(
        endpoint.address,
        grpc.ssl_channel_credentials(root_certificates=endpoint.ca_certificate),
        # The thread that reads a stream also waits for it, instead of being woken by another.
        options=(*channel_options(endpoint.server_name), ("SingleThreadedUnaryStream", 1)),
    )
