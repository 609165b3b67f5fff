"""Moves the content of a file between a client and the runtime: in the link's frames, or over a bulk stream if large.

The bytes of a stream bypass frames, credit and queues; the socket's buffer limits the sender. The runtime is as
untrusted there as on the link. A read passes its bytes on chunk by chunk, and fails unless the call then succeeds and
reports the same number of bytes. A write fails if the runtime closes the stream early.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_agent.runtime_values import checking_answer, read_file_info, read_object
from sandbox_agent.storage.timeouts import Pace
from sandbox_link.bulk_streams import WORTHWHILE
from sandbox_link.frames import FrameError, Stream
from sandbox_link.protocol import Event
from sandbox_proto.chunks import encode_read_response
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from sandbox_link.protocol import Call, Data, Runtime

CHUNK: Final = 1 << 20
"""Bytes of a message, the maximum of the protocol."""


async def read_file(
    runtime: Runtime, arguments: Mapping[str, Any]
) -> AsyncGenerator[file_pb2.ReadResponse | bytes, None]:
    """Read a file with `file.read` and yield the responses.

    Raises:
        OperationError: As the runtime reports it, or UNAVAILABLE if its answer is malformed.
    """
    call = await runtime.open("file.read", {**arguments, "stream": runtime.can_stream})
    streamed: int | None = None
    pace = Pace()
    try:
        async for item in pace.items(call):
            _check(streamed is None, "an item after the stream")
            if not isinstance(item, Event):
                if item.stream is Stream.BODY:
                    yield encode_read_response(item.data)
            elif item.value.get("type") == "stream":
                streamed = 0
                async with _open(call, item) as sock, contextlib.aclosing(_receive(sock, pace)) as chunks:
                    async for chunk in chunks:
                        streamed += len(chunk)
                        yield encode_read_response(chunk)
            else:
                with checking_answer():
                    info = read_file_info(read_object(item.value, "info"))
                yield file_pb2.ReadResponse(info=info)
        _check(streamed in (None, call.result.get("bytes")), "a stream whose length differs from the reported one")
    except BaseException:
        await call.cancel()
        raise


async def write_file(
    runtime: Runtime,
    arguments: Mapping[str, Any],
    chunks: AsyncGenerator[bytes | memoryview, None],
    check_whole: Callable[[], Awaitable[None]],
) -> dict[str, Any]:
    """Write a file with `file.write` and return the runtime's result.

    Args:
        runtime: The runtime that writes the file.
        arguments: Arguments of the operation.
        chunks: The content.
        check_whole: Raises OperationError if `chunks` ended because the client disconnected.

    Raises:
        OperationError: As the runtime reports it, or UNAVAILABLE if its answer is malformed.
    """
    first: list[bytes | memoryview] = []
    # Read just enough to know whether a stream is worthwhile.
    while sum(map(len, first)) <= WORTHWHILE and (chunk := await anext(chunks, None)) is not None:
        first.append(chunk)
    streams = sum(map(len, first)) > WORTHWHILE and runtime.can_stream
    call = await runtime.open("file.write", {**arguments, "stream": streams})
    pace = Pace()
    try:
        content = _chain(first, chunks)
        is_sent = await (_stream(call, content, pace) if streams else _send(call, content, pace))
        if is_sent:
            await check_whole()
            await call.end()
        async for _ in pace.items(call):
            pass
        _check(is_sent or not streams, "a file was written before its content was read")
    except BaseException:
        await call.cancel()
        raise
    return call.result


async def _send(call: Call, chunks: AsyncIterator[bytes | memoryview], pace: Pace) -> bool:
    """Send the content in frames. Returns False if the runtime ended the call before it had everything."""
    async for chunk in chunks:
        async with pace.waiting():
            await call.send(chunk)
        pace.note_moved(len(chunk))
        if call.ended:  # because of a full disk or a limit, for example
            return False
    return True


async def _stream(call: Call, chunks: AsyncIterator[bytes | memoryview], pace: Pace) -> bool:
    """Send the content over a stream. Returns False if the runtime closed it before it had everything."""
    loop = asyncio.get_running_loop()
    async for item in pace.items(call):
        async with _open(call, item) as sock:
            async for chunk in chunks:
                try:
                    async with pace.waiting():
                        await loop.sock_sendall(sock, chunk)
                    pace.note_moved(len(chunk))
                except ConnectionError:
                    return False  # because of a full disk or a limit, for example; the end of the call has the error
            return True
    return False


def _open(call: Call, item: Data | Event) -> AbstractAsyncContextManager[socket.socket]:
    _check(isinstance(item, Event), "data instead of a stream")
    with checking_answer():
        return call.stream(cast("Event", item))


def _check(condition: bool, message: str) -> None:  # noqa: FBT001 - as `assert`
    with checking_answer():
        if not condition:
            raise FrameError(message)


async def _receive(sock: socket.socket, pace: Pace) -> AsyncGenerator[memoryview, None]:
    """Yield chunks until the end. The caller has to copy each one before it asks for the next."""
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(CHUNK))
    filled = 0
    while True:
        async with pace.waiting():
            received = await loop.sock_recv_into(sock, buffer[filled:])
        if not received:
            break
        pace.note_moved(received)
        filled += received
        if filled == CHUNK:
            yield buffer
            filled = 0
    if filled:
        yield buffer[:filled]


async def _chain(
    first: list[bytes | memoryview], rest: AsyncIterator[bytes | memoryview]
) -> AsyncIterator[bytes | memoryview]:
    while first:
        yield first.pop(0)
    async for chunk in rest:
        yield chunk
