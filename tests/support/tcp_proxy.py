"""A TCP proxy on loopback that is slow, cuts connections off in the middle, or goes silent without closing them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

_CHUNK = 64 << 10


@dataclass(frozen=True)
class _End:
    """One side of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass
class TcpProxy:
    """Joins each connection with one to its target.

    Attributes:
        target: Host and port.
        rate: Bytes a second to the target; None: any.
        cut_after: Each new connection is closed once so many bytes went to the target; None: never.
        cut_answers_after: The same for bytes from the target.
        is_silent: New connections are taken, and nothing passes through them.
        connections: How many were made.
        swallowed: Answers that nobody got.
        address: Its own `host:port`.
    """

    target: tuple[str, int]
    rate: float | None = None
    cut_after: int | None = None
    cut_answers_after: int | None = None
    is_silent: bool = False
    connections: int = 0
    swallowed: int = 0
    address: str = ""
    _open: list["_Joint"] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _is_swallowing: bool = False

    def fall_silent(self) -> None:
        """From now on nothing passes through the connections that are open, and neither end is told; new ones work."""
        for joint in self._open:
            joint.is_silent.set()

    def swallow_next_answer(self) -> None:
        """The next connection that the target answers on goes silent with that answer."""
        self._is_swallowing = True

    def take_answer(self) -> bool:
        """Whether an answer may pass."""
        if self._is_swallowing:
            self._is_swallowing = False
            self.swallowed += 1
            return False
        return True

    def reset(self) -> None:
        """End the connections that are open, on both sides."""
        for joint in self._open:
            joint.reset()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection to its end."""
        self.connections += 1
        task = asyncio.create_task(self._serve(_End(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, near: _End) -> None:
        far = _End(*await asyncio.open_connection(*self.target, limit=_CHUNK))
        joint = _Joint([near.writer, far.writer])
        if self.is_silent:
            joint.is_silent.set()
        self._open.append(joint)
        to_target = joint.pump(near.reader, far.writer, self.cut_after, self._delay)
        from_target = joint.pump(far.reader, near.writer, self.cut_answers_after, self._admit)
        pumps = [asyncio.create_task(to_target), asyncio.create_task(from_target)]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            joint.reset()

    def _delay(self, data: bytes) -> float | None:
        return len(data) / self.rate if self.rate is not None else 0.0

    def _admit(self, data: bytes) -> float | None:
        # "100 Continue" only asks for the rest of the request.
        return 0.0 if data.startswith(b"HTTP/1.1 100") or self.take_answer() else None


@dataclass
class _Joint:
    """Both sides of one connection."""

    writers: list[asyncio.StreamWriter]
    is_silent: asyncio.Event = field(default_factory=asyncio.Event)

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: int | None,
        delay: Callable[[bytes], float | None],
    ) -> None:
        """Pass on what comes, to the end of either side; `delay` in seconds, None: it goes silent instead."""
        while data := await reader.read(_CHUNK):
            seconds = delay(data)
            if self.is_silent.is_set() or seconds is None:
                self.is_silent.set()
                await asyncio.Event().wait()
            await asyncio.sleep(seconds or 0.0)
            if left is not None and len(data) >= left:
                writer.write(data[:left])
                await writer.drain()
                return
            left = None if left is None else left - len(data)
            writer.write(data)
            await writer.drain()

    def reset(self) -> None:
        """End both sides."""
        for writer in self.writers:
            writer.close()


@contextlib.asynccontextmanager
async def serve_tcp_proxy(host: str, port: int) -> AsyncIterator[TcpProxy]:
    """A proxy before that address."""
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
