"""A file's content between a client and the runtime: small ones in the link's frames, large ones over a stream.

A stream's bytes go through no frame, no credit and no queue: back pressure is the socket's. The runtime is as hostile
there as on the link: what it sends is passed on chunk by chunk, and counts for nothing unless the call ends well and
says the same number of bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_agent import runtime_values as checked
from sandbox_agent.services.answers import answer
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
"""Bytes of a message: the most that the protocol allows."""


async def read_file(
    runtime: Runtime, arguments: Mapping[str, Any]
) -> AsyncGenerator[file_pb2.ReadResponse | bytes, None]:
    """`file.read` as responses.

    Raises:
        OperationError: As the runtime says; UNAVAILABLE where its answer is malformed.
    """
    call = await runtime.open("file.read", {**arguments, "stream": runtime.can_stream})
    streamed: int | None = None
    try:
        async for item in call:
            _require(streamed is None, "more behind a stream")
            if not isinstance(item, Event):
                if item.stream is Stream.BODY:
                    yield encode_read_response(item.data)
            elif item.value.get("type") == "stream":
                streamed = 0
                async with _open(call, item) as sock, contextlib.aclosing(_receive(sock)) as chunks:
                    async for chunk in chunks:
                        streamed += len(chunk)
                        yield encode_read_response(chunk)
            else:
                with answer():
                    info = checked.file_info(checked.mapping(item.value, "info"))
                yield file_pb2.ReadResponse(info=info)
        _require(streamed in (None, call.result.get("bytes")), "a stream of another length than it says")
    except BaseException:
        await call.cancel()
        raise


async def write_file(
    runtime: Runtime,
    arguments: Mapping[str, Any],
    chunks: AsyncGenerator[bytes | memoryview, None],
    check_whole: Callable[[], Awaitable[None]],
) -> dict[str, Any]:
    """`file.write`: the runtime's result.

    Args:
        runtime: Writes it.
        arguments: Of the operation.
        chunks: The content.
        check_whole: Raises where `chunks` ended because the client went away.

    Raises:
        OperationError: As the runtime says; UNAVAILABLE where its answer is malformed.
    """
    first: list[bytes | memoryview] = []
    # Only so much is held back until it is known whether there is more.
    while sum(map(len, first)) <= WORTHWHILE and (chunk := await anext(chunks, None)) is not None:
        first.append(chunk)
    streams = sum(map(len, first)) > WORTHWHILE and runtime.can_stream
    call = await runtime.open("file.write", {**arguments, "stream": streams})
    try:
        content = _chained(first, chunks)
        is_sent = await (_stream(call, content) if streams else _send(call, content))
        if is_sent:
            await check_whole()
            await call.end()
        async for _ in call:
            pass
        _require(is_sent or not streams, "a file was written whose content was not taken")
    except BaseException:
        await call.cancel()
        raise
    return call.result


async def _send(call: Call, chunks: AsyncIterator[bytes | memoryview]) -> bool:
    """Send in frames; whether all was taken."""
    async for chunk in chunks:
        await call.send(chunk)
        if call.ended:  # refused: a full disk, or a limit
            return False
    return True


async def _stream(call: Call, chunks: AsyncIterator[bytes | memoryview]) -> bool:
    """Send over a stream; whether all was taken."""
    loop = asyncio.get_running_loop()
    async for item in call:
        async with _open(call, item) as sock:
            async for chunk in chunks:
                try:
                    await loop.sock_sendall(sock, chunk)
                except ConnectionError:
                    return False  # refused: a full disk, or a limit; the call's end tells
            return True
    return False


def _open(call: Call, item: Data | Event) -> AbstractAsyncContextManager[socket.socket]:
    _require(isinstance(item, Event), "data instead of a stream")
    with answer():
        return call.stream(cast("Event", item))


def _require(is_so: bool, complaint: str) -> None:  # noqa: FBT001 - as `assert`
    with answer():
        if not is_so:
            raise FrameError(complaint)


async def _receive(sock: socket.socket) -> AsyncGenerator[memoryview, None]:
    """Chunks until the end. Each is to be copied before the next is asked for."""
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(CHUNK))
    filled = 0
    while received := await loop.sock_recv_into(sock, buffer[filled:]):
        filled += received
        if filled == CHUNK:
            yield buffer
            filled = 0
    if filled:
        yield buffer[:filled]


async def _chained(
    first: list[bytes | memoryview], rest: AsyncIterator[bytes | memoryview]
) -> AsyncIterator[bytes | memoryview]:
    while first:
        yield first.pop(0)
    async for chunk in rest:
        yield chunk
