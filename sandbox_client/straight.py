"""Calls on the calling thread, without an event loop: what the sync face runs code with.

The SDK's coroutines are written once, against Connection. Over a StraightConnection they never wait for a loop: each
call blocks inside gRPC, so that a coroutine is run by a single `send`. That saves the switches to a loop's thread and
back, and those between that thread and gRPC's own: half a millisecond of a call (docs/performance.md).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from sandbox_client.connection import CONNECT_TIMEOUT, UNARY_TIMEOUT, Endpoint, channel_options, unreachable
from sandbox_client.errors import from_rpc_error
from sandbox_proto import tracing
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

T = TypeVar("T")


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

    def __init__(self, endpoint: Endpoint, *, connect_timeout: float = CONNECT_TIMEOUT) -> None:
        self.endpoint = endpoint
        self.is_brief = True
        self._connect_timeout = connect_timeout
        self._metadata = (("authorization", f"Bearer {endpoint.token}"),)
        self._opening = threading.Lock()
        self._opened: Any = None

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
        """One request, one answer; never repeated.

        Raises:
            SandboxError: As the table in errors.py has it.
        """
        del repeatable
        with tracing.calling(method, under) as span:
            self._wait_ready()
            try:
                return method(request, metadata=(*self._metadata, *metadata, *span.metadata), timeout=seconds)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error

    async def stream(
        self,
        method: Callable[..., Any],
        request: Any,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        under: tracing.Span = tracing.NO_SPAN,
    ) -> AsyncGenerator[Any, None]:
        """One request, many answers; no retry.

        Raises:
            SandboxError: As the table in errors.py has it.
        """
        with tracing.calling(method, under) as span:
            self._wait_ready()
            call = method(request, metadata=(*self._metadata, *metadata, *span.metadata))
            try:
                for response in call:
                    yield response
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error
            finally:
                # Harmless after the end; it frees the call where the consumer went away early.
                call.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - there is no loop

    def close(self) -> None:
        """End the connection; calls under way fail."""
        with self._opening:
            if self._opened is not None:
                self._opened[0].close()

    @property
    def _stubs(self) -> Any:
        return self._open()[1]

    def _open(self) -> Any:
        if self._opened is None:
            with self._opening:
                if self._opened is None:
                    channel: Any = grpc.secure_channel(
                        self.endpoint.address,
                        grpc.ssl_channel_credentials(root_certificates=self.endpoint.ca_certificate),
                        # The thread that reads a stream also waits for it, instead of being woken by another.
                        options=(*channel_options(self.endpoint.server_name), ("SingleThreadedUnaryStream", 1)),
                    )
                    make: tuple[Any, Any] = (InterpreterServiceStub, ProcessServiceStub)
                    self._opened = (channel, tuple(stub(channel) for stub in make))
        return self._opened

    def _wait_ready(self) -> None:
        channel = self._open()[0]
        # To others than itself the blocking channel tells its state by a thread that asks five times a second.
        state = channel._channel.check_connectivity_state(True)  # noqa: FBT003, SLF001 - gRPC's signature
        if state == grpc.ChannelConnectivity.READY.value[0]:
            return
        try:
            grpc.channel_ready_future(channel).result(self._connect_timeout)
        except grpc.FutureTimeoutError:
            raise unreachable(self.endpoint, self._connect_timeout, self._why_not()) from None

    def _why_not(self) -> str:
        from sandbox_proto.v1.interpreter_pb2 import ListContextsRequest  # noqa: PLC0415 - only on this path

        try:
            self.interpreter.ListContexts(ListContextsRequest(), metadata=self._metadata, timeout=2)
        except grpc.RpcError as error:
            rpc_error: Any = error
            return str(rpc_error.details())
        return "it answers now"
