"""A grpc.aio server that does nothing: the floor of every call. Run as a module, it prints its port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVICE: Final = "bench.Bare"
CHUNK: Final = 256 << 10
"""Bytes per message of a transfer, as in the SDK."""
MAX_MESSAGE: Final = 4 << 20


async def echo(request: bytes, _context: object) -> bytes:
    """Return the request."""
    return request


async def sink(requests: AsyncIterator[bytes], _context: object) -> bytes:
    """Discard a stream and return its size."""
    taken = 0
    async for request in requests:
        taken += len(request)
    return str(taken).encode()


async def source(request: bytes, _context: object) -> AsyncIterator[bytes]:
    """Yield the requested number of bytes."""
    left = int(request)
    chunk = bytes(CHUNK)
    while left > 0:
        yield chunk[:left] if left < CHUNK else chunk
        left -= CHUNK


async def serve() -> None:
    """Serve until the process is killed."""
    server = grpc.aio.server(
        options=[("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
    )
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Sink": grpc.stream_unary_rpc_method_handler(sink),
        "Source": grpc.unary_stream_rpc_method_handler(source),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
