"""The floor: calls to bare_server.py with plain gRPC clients."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from benchmarks.sides.bare_server import CHUNK, MAX_MESSAGE, SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from sandbox_client.sync.loop_thread import LoopThread

_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
)
_MESSAGE: Final = b"x = 1; print(x)"


class Bare:
    """A server in its own process, with a blocking and an asyncio client."""

    def __init__(self, loop: LoopThread) -> None:
        self._open = contextlib.ExitStack()
        self._loop = loop

    def __enter__(self) -> Self:
        root = Path(__file__).parents[2]
        server = self._open.enter_context(
            subprocess.Popen([sys.executable, "-m", "benchmarks.sides.bare_server"], stdout=subprocess.PIPE, cwd=root)
        )
        self._open.callback(server.kill)
        if server.stdout is None or not (port := server.stdout.readline().strip()):
            raise RuntimeError("the bare gRPC server did not start")
        address = f"127.0.0.1:{int(port)}"
        # Any, because gRPC's type stubs require serializers, which bytes do not need.
        channel: Any = self._open.enter_context(grpc.insecure_channel(address, options=_OPTIONS))
        self._echo = channel.unary_unary(f"/{SERVICE}/Echo")
        self._loop.run(self._connect(address))
        self.echo()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._channel.close())
        self._open.close()

    def echo(self) -> float:
        """Return the milliseconds of a unary echo with the blocking client."""
        start = time.perf_counter()
        self._echo(_MESSAGE)
        return (time.perf_counter() - start) * 1e3

    def echo_async(self) -> float:
        """Return the milliseconds of a unary echo with the asyncio client."""
        return self._loop.run(self._timed_echo())

    def upload(self, size: int) -> float:
        """Upload `size` bytes and return MiB/s."""
        return self._loop.run(self._timed_upload(size))

    def download(self, size: int) -> float:
        """Download `size` bytes, discard them, and return MiB/s."""
        return self._loop.run(self._timed_download(size))

    async def _connect(self, address: str) -> None:
        channel: Any = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._channel = channel
        self._echo_async = channel.unary_unary(f"/{SERVICE}/Echo")
        self._sink = channel.stream_unary(f"/{SERVICE}/Sink")
        self._source = channel.unary_stream(f"/{SERVICE}/Source")
        await self._echo_async(_MESSAGE)

    async def _timed_echo(self) -> float:
        start = time.perf_counter()
        await self._echo_async(_MESSAGE)
        return (time.perf_counter() - start) * 1e3

    async def _timed_upload(self, size: int) -> float:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in _chunks(size):
                yield piece

        start = time.perf_counter()
        taken = int(await self._sink(pieces()))
        return _rate(taken, size, start)

    async def _timed_download(self, size: int) -> float:
        start = time.perf_counter()
        taken = 0
        async for piece in self._source(str(size).encode()):
            taken += len(piece)
        return _rate(taken, size, start)


def _chunks(size: int) -> Iterator[bytes]:
    chunk = bytes(CHUNK)
    for start in range(0, size, CHUNK):
        yield chunk[: size - start] if size - start < CHUNK else chunk


def _rate(taken: int, size: int, start: float) -> float:
    seconds = time.perf_counter() - start
    if taken != size:
        raise RuntimeError(f"only {taken} of {size} bytes arrived")
    return size / seconds / (1 << 20)
