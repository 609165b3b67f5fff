"""The asynchronous connection to an agent: one TLS channel, for one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from sandbox_client.transport.base_connection import BaseConnection
from sandbox_client.transport.connection_policy import CONNECT_TIMEOUT, ConnectionPolicy
from sandbox_client.transport.endpoint import bearer_metadata, channel_options
from sandbox_client.transport.stream_status import PreserveServerStatus
from sandbox_client.transport.switchable_channel import SwitchableChannel, create_stub
from sandbox_proto.chunks import decode_read_response, encode_write_request
from sandbox_proto.v1.file_pb2 import ReadRequest, WriteResponse
from sandbox_proto.v1.file_pb2_grpc import FileServiceStub
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub
from sandbox_proto.v1.process_pb2_grpc import ProcessServiceStub
from sandbox_proto.v1.workspace_pb2_grpc import WorkspaceServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Sequence

    from sandbox_client.errors import SandboxError
    from sandbox_client.transport.endpoint import Endpoint


class Connection(BaseConnection):
    """A channel to one agent. Create it on the event loop that uses it.

    Attributes:
        file: The stub of FileService.
        workspace: The stub of WorkspaceService.
        read_file: FileService's Read; a chunk of the file is bytes instead of a message.
        write_file: FileService's Write; a chunk of the file is bytes instead of a message.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        revive: Callable[[Endpoint, SandboxError | None], Awaitable[Endpoint | None]] | None = None,
    ) -> None:
        """Start to connect, without waiting.

        Args:
            endpoint: Where the agent is.
            connect_timeout: Seconds that a call waits for a connection.
            revive: Returns where the session is now, if a call could not be started: `Waker.revive`.
        """
        super().__init__(endpoint, ConnectionPolicy(connect_timeout, can_move=revive is not None))
        self._revive = revive
        self._channel = SwitchableChannel(_open_channel(endpoint))
        self._retired: Any = None
        self.interpreter = create_stub(InterpreterServiceStub, self._channel)
        self.process = create_stub(ProcessServiceStub, self._channel)
        self.file: Any = create_stub(FileServiceStub, self._channel)
        self.workspace: Any = create_stub(WorkspaceServiceStub, self._channel)
        # The generated stubs would copy each chunk of a file twice.
        self.read_file: Any = self._channel.unary_stream(
            "/sandbox.v1.FileService/Read",
            request_serializer=ReadRequest.SerializeToString,
            response_deserializer=decode_read_response,
        )
        self.write_file: Any = PreserveServerStatus(
            self._channel.stream_unary(
                "/sandbox.v1.FileService/Write",
                request_serializer=encode_write_request,
                response_deserializer=WriteResponse.FromString,
            )
        )

    async def close(self) -> None:
        """Close the connection. Calls that are still running fail."""
        if self._retired is not None:
            await self._retired.close(grace=None)
        await self._channel.current.close(grace=None)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def _is_ready(self) -> bool:
        state = self._channel.current.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY

    async def _is_connected(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._channel.current.channel_ready()
        except TimeoutError:
            return False
        return True

    async def _send(
        self, method: Callable[..., Any], message: Any, metadata: Sequence[tuple[str, str]], seconds: float | None
    ) -> Any:
        return await method(message, metadata=metadata, timeout=seconds)

    def _responses(self, call: Any) -> AsyncIterable[Any]:
        return call  # type: ignore[no-any-return]

    async def _locate(self, left: Endpoint, error: SandboxError | None) -> Endpoint | None:
        return None if self._revive is None else await self._revive(left, error)

    async def _move(self, left: Endpoint, endpoint: Endpoint) -> None:
        if self.endpoint is not left:
            return
        # Calls over the channel before this one end with the next move, or with `close`.
        retired, self._retired = self._retired, self._channel.current
        self.endpoint, self._metadata = endpoint, bearer_metadata(endpoint)
        self._channel.switch(_open_channel(endpoint))
        if retired is not None:
            await retired.close(grace=None)


def _open_channel(endpoint: Endpoint) -> Any:
    return grpc.aio.secure_channel(
        endpoint.address,
        grpc.ssl_channel_credentials(root_certificates=endpoint.ca_certificate),
        options=channel_options(endpoint.server_name),
    )
