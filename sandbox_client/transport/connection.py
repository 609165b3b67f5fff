"""The asynchronous connection to an agent, for one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_client.errors import SandboxUnavailable
from sandbox_client.transport.base_connection import BaseConnection
from sandbox_client.transport.endpoint import channel_options
from sandbox_client.transport.stream_status import PreserveServerStatus
from sandbox_proto.chunks import decode_read_response, encode_write_request
from sandbox_proto.v1.file_pb2 import ReadRequest, WriteResponse
from sandbox_proto.v1.file_pb2_grpc import FileServiceStub
from sandbox_proto.v1.workspace_pb2_grpc import WorkspaceServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine

    from sandbox_client.transport.endpoint import Endpoint

_CANCEL_WAIT: Final = 2.0
"""Seconds that a cancelled call, or `close`, waits until its cancel has reached the agent."""


class Connection(BaseConnection):
    """A connection to one agent. Create it on the event loop that uses it.

    Attributes:
        file: The stub of FileService.
        workspace: The stub of WorkspaceService.
        read_file: FileService's Read; a chunk of the file is bytes instead of a message.
        write_file: FileService's Write; a chunk of the file is bytes instead of a message.
    """

    def _create_stubs(self) -> None:
        self._is_closed = False
        self._waits: set[asyncio.Timeout] = set()
        self._cancels: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()
        super()._create_stubs()
        self.file = self._channel.create_stub(FileServiceStub)
        self.workspace = self._channel.create_stub(WorkspaceServiceStub)
        # The generated stubs would copy each chunk of a file twice.
        self.read_file = self._channel.unary_stream(
            "/sandbox.v1.FileService/Read",
            request_serializer=ReadRequest.SerializeToString,
            response_deserializer=decode_read_response,
        )
        self.write_file = PreserveServerStatus(
            self._channel.stream_unary(
                "/sandbox.v1.FileService/Write",
                request_serializer=encode_write_request,
                response_deserializer=WriteResponse.FromString,
            )
        )

    def in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], object]:
        """Start a coroutine as a task, and return the function that cancels it."""
        task = asyncio.create_task(work())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task.cancel

    async def cancel(self, method: Callable[..., Any], request: Any) -> None:
        """Send the cancel in a task of its own, because frameworks such as anyio cancel every wait of this one."""
        if self._is_closed:
            # Closing a channel cancels its calls, too.
            return
        task = asyncio.create_task(self.send_cancel(method, request))
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)
        await asyncio.wait({task}, timeout=_CANCEL_WAIT)

    async def close(self) -> None:
        """Send the last cancels, then close the connection. Calls that are still running fail."""
        if self._cancels:
            await asyncio.wait(self._cancels, timeout=_CANCEL_WAIT)
        self._is_closed = True
        for wait in self._waits:
            # gRPC would let them wait on.
            wait.reschedule(0)
        await super().close()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def _open_channel(self, endpoint: Endpoint) -> Any:
        return grpc.aio.secure_channel(
            endpoint.address,
            grpc.ssl_channel_credentials(root_certificates=endpoint.ca_certificate),
            options=channel_options(endpoint.server_name),
        )

    async def _close_channel(self, channel: Any) -> None:
        await channel.close(grace=None)

    def _is_ready(self) -> bool:
        state = self._channel.current.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY

    async def _is_connected(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds) as wait:
                self._waits.add(wait)
                try:
                    await self._channel.current.channel_ready()
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if self._is_closed:
                raise _closed() from None
            return False
        except grpc.aio.UsageError:
            raise _closed() from None
        return True

    def _check_open(self) -> None:
        task = asyncio.current_task()
        if self._is_closed and (task is None or not task.cancelling()):
            raise _closed() from None

    async def _send(self, method: Callable[..., Any], message: Any, metadata: Any, seconds: float | None) -> Any:
        return await method(message, metadata=metadata, timeout=seconds)

    def _responses(self, call: AsyncIterable[Any]) -> AsyncIterable[Any]:
        return call


def _closed() -> SandboxUnavailable:
    return SandboxUnavailable("the connection was closed while it was used", reason="CLOSED")
