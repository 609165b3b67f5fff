"""One TLS connection to an agent: the bearer token, errors and safe retries. Knows no service's messages."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_client.cluster.wake_policy import is_unstarted
from sandbox_client.errors import SandboxUnavailable, from_rpc_error
from sandbox_client.transport.endpoint import bearer_metadata, channel_options, unreachable
from sandbox_client.transport.stream_status import FirstStatus
from sandbox_client.transport.switchable_channel import MovableChannel
from sandbox_proto import tracing
from sandbox_proto.chunks import decode_read_response, encode_write_request
from sandbox_proto.v1.file_pb2 import ReadRequest, WriteResponse
from sandbox_proto.v1.file_pb2_grpc import FileServiceStub
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceStub
from sandbox_proto.v1.workspace_pb2_grpc import WorkspaceServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from sandbox_client.errors import SandboxError
    from sandbox_client.transport.endpoint import Endpoint

CONNECT_TIMEOUT: Final = 15.0
"""Seconds that a call waits for a connection."""
UNARY_TIMEOUT: Final = 60.0
"""Seconds that a call with one answer may take."""
PATIENCE: Final = 0.5
"""Seconds without a connection after which it is asked whether the session sleeps."""
REVIVALS: Final = 2
"""How often one call follows its session to another pod."""
_ATTEMPTS: Final = 4
_FIRST_PAUSE: Final = 0.1


class Connection:
    """A channel to one agent. Make it on the event loop that uses it.

    Attributes:
        endpoint: Where the agent is.
        is_brief: Whether the agent has ExecuteBriefly, as far as is known.
        read_file, write_file: FileService's Read and Write; a chunk of a file is bytes instead of a message.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        revive: Callable[[Endpoint, SandboxError | None], Awaitable[Endpoint | None]] | None = None,
    ) -> None:
        """Dial, without waiting.

        Args:
            endpoint: Where the agent is.
            connect_timeout: Seconds that a call waits for a connection.
            revive: Asked where the session answers instead, once a call could not be started: `Waker.revive`.
        """
        self.endpoint = endpoint
        self.is_brief = True
        self._connect_timeout = connect_timeout
        self._revive = revive
        self._metadata = bearer_metadata(endpoint)
        self._channel = MovableChannel(_open_channel(endpoint))
        self._retired: Any = None
        self.interpreter: Any = _stub(InterpreterServiceStub, self._channel)
        self.process: Any = _stub(ProcessServiceStub, self._channel)
        self.file: Any = _stub(FileServiceStub, self._channel)
        self.workspace: Any = _stub(WorkspaceServiceStub, self._channel)
        # The generated stubs would copy each chunk of a file twice.
        channel = self._channel
        self.read_file: Any = channel.unary_stream(
            "/sandbox.v1.FileService/Read",
            request_serializer=ReadRequest.SerializeToString,
            response_deserializer=decode_read_response,
        )
        self.write_file: Any = FirstStatus(
            channel.stream_unary(
                "/sandbox.v1.FileService/Write",
                request_serializer=encode_write_request,
                response_deserializer=WriteResponse.FromString,
            )
        )

    async def ready(self) -> None:
        """Wait until the agent answers. A session that went to sleep is woken meanwhile: nothing was sent yet.

        Raises:
            SandboxUnavailable: It did not within the connect timeout; the message says why.
            SessionFailed: The session slept and could not be woken.
        """
        if self._channel.current.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return
        if self._revive is not None:
            if await self._is_connected(PATIENCE):
                return
            await self._follow(None)
        if await self._is_connected(self._connect_timeout):
            return
        if await self._follow(None) and await self._is_connected(self._connect_timeout):
            return
        why = "" if self.endpoint.describe_failure() else await self._why_not()
        raise unreachable(self.endpoint, self._connect_timeout, why)

    async def _is_connected(self, seconds: float) -> bool:
        """Wait for the connection; whether it is there."""
        try:
            async with asyncio.timeout(seconds):
                await self._channel.current.channel_ready()
        except TimeoutError:
            return False
        return True

    async def _goes_on(self, error: SandboxError, revivals: int) -> bool:
        """Whether a call that failed so is to be made again: it was not started, and the session is elsewhere now."""
        return revivals < REVIVALS and is_unstarted(error) and await self._follow(error)

    async def _follow(self, error: SandboxError | None) -> bool:
        """Go to where the session answers instead, if it does; `error` as for `Waker.revive`."""
        held = self.endpoint
        endpoint = await self._revive(held, error) if self._revive is not None else None
        if endpoint is None:
            return False
        if self.endpoint is held:
            # Calls under way by the one before this end with the next move, or with `close`.
            retired, self._retired = self._retired, self._channel.current
            self.endpoint, self._metadata = endpoint, bearer_metadata(endpoint)
            self._channel.move(_open_channel(endpoint))
            if retired is not None:
                await retired.close(grace=None)
        return True

    async def _why_not(self) -> str:
        from sandbox_proto.v1.interpreter_pb2 import ListContextsRequest  # noqa: PLC0415 - only on this path

        try:
            await self.interpreter.ListContexts(ListContextsRequest(), metadata=self._metadata, timeout=2)
        except grpc.RpcError as error:
            return str(error.details())
        return "it answers now"

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
        """One request (or an iterator of requests), one answer.

        Args:
            method: A method of one of the stubs.
            request: Its message; or an iterator of messages, or what makes one, which may be called again.
            repeatable: Whether running it twice does no harm; only then it is tried again after UNAVAILABLE.
            seconds: Time for each attempt; None: any.
            metadata: Sent beside the token.
            under: The parent of its span.

        Raises:
            SandboxError: As the table in errors.py has it.
        """
        with tracing.calling(method, under) as span:
            sent = (*metadata, *span.metadata)
            return await self._attempts(method, request, sent, seconds, repeatable=repeatable)

    async def _attempts(
        self,
        method: Callable[..., Any],
        request: Any,
        metadata: Sequence[tuple[str, str]],
        seconds: float | None,
        *,
        repeatable: bool,
    ) -> Any:
        pause, attempt, revivals = _FIRST_PAUSE, 1, 0
        while True:
            await self.ready()
            try:
                message = request() if callable(request) else request
                return await method(message, metadata=(*self._metadata, *metadata), timeout=seconds)
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                if not hasattr(request, "__anext__") and await self._goes_on(failure, revivals):
                    revivals += 1
                    continue
                if not (repeatable and isinstance(failure, SandboxUnavailable)) or attempt == _ATTEMPTS:
                    raise failure from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            pause *= 2
            attempt += 1

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
                await self.ready()
                call = method(request, metadata=(*self._metadata, *metadata, *span.metadata))
                has_begun = False
                try:
                    async for response in call:
                        has_begun = True
                        yield response
                except grpc.RpcError as error:
                    failure = from_rpc_error(error)
                    if has_begun or not await self._goes_on(failure, revivals):
                        raise failure from error
                else:
                    return
                finally:
                    # Harmless after the end; it frees the call where the consumer went away early.
                    call.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """End the connection; calls under way fail."""
        if self._retired is not None:
            await self._retired.close(grace=None)
        await self._channel.current.close(grace=None)


def _open_channel(endpoint: Endpoint) -> Any:
    return grpc.aio.secure_channel(
        endpoint.address,
        grpc.ssl_channel_credentials(root_certificates=endpoint.ca_certificate),
        options=channel_options(endpoint.server_name),
    )


def _stub(factory: Callable[..., Any], channel: MovableChannel) -> Any:
    # The generated stubs carry no types.
    return factory(channel)
