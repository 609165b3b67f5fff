"""A TCP proxy on loopback that is slow, cuts connections off in the middle, or goes silent without closing them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_CHUNK = 16 << 10


@dataclass
class TcpProxy:
    """Joins each connection with one to its target.

    Attributes:
        target: Host and port.
        rate: Bytes a second to the target; None: any.
        cut_after: Each connection is reset once so many bytes went to the target; None: never.
        cut_answers_after: The same for bytes from the target.
        connections: How many were made.
    """

    target: tuple[str, int]
    rate: float | None = None
    cut_after: int | None = None
    cut_answers_after: int | None = None
    connections: int = 0
    address: str = ""
    _open: list["_Joint"] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def fall_silent(self) -> None:
        """From now on nothing passes through the connections that are open, and neither end is told; new ones work."""
        for joint in self._open:
            joint.is_silent.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection to its end."""
        self.connections += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(*self.target, limit=_CHUNK)
        joint = _Joint([writer, far_writer])
        self._open.append(joint)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(joint.pump(reader, far_writer, self.cut_after, self.rate))
                group.create_task(joint.pump(far_reader, writer, self.cut_answers_after, None))
        except* (OSError, _CutError):
            pass
        finally:
            joint.reset()

    async def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _CutError(Exception):
    """The connection was reset on purpose, or ended."""


@dataclass
class _Joint:
    writers: list[asyncio.StreamWriter]
    is_silent: asyncio.Event = field(default_factory=asyncio.Event)

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None, rate: float | None
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self.is_silent.is_set():
                await asyncio.Event().wait()
            if rate is not None:
                await asyncio.sleep(len(data) / rate)
            if left is not None and len(data) >= left:
                writer.write(data[:left])
                await writer.drain()
                raise _CutError
            left = None if left is None else left - len(data)
            writer.write(data)
            await writer.drain()
        raise _CutError

    def reset(self) -> None:
        for writer in self.writers:
            writer.close()


@contextlib.asynccontextmanager
async def serve_tcp_proxy(host: str, port: int) -> AsyncIterator[TcpProxy]:
    """A proxy before that address; `address` is its own `host:port`."""
    proxy = TcpProxy((host, port))
    listener = socket.create_server(("127.0.0.1", 0))
    # Small, so that a sender feels a slow reader soon. Connections inherit it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
    server = await asyncio.start_server(proxy.accept, sock=listener, limit=_CHUNK)
    proxy.address = "{}:{}".format(*listener.getsockname())
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
