"""File contents between this machine and the workspace: streamed, and checked by digest."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox_client.errors import DataCorrupted
from sandbox_client.models.results import FileInfo, file_info
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
    from pathlib import PurePosixPath

    from sandbox_client.transport.connection import Connection

CHUNK: Final = 1 << 20
"""Bytes of one message of a transfer, the most that the protocol allows: gRPC's costs are for each message."""


class FileTransfers:
    """What `AsyncFiles` reads, writes, sends and fetches."""

    _connection: Connection

    async def read(self, path: str | PurePosixPath, *, offset: int = 0, length: int = 0) -> bytes:
        """A file's bytes, or a range of them.

        Args:
            path: The file.
            offset: Bytes from the start.
            length: Bytes at most; 0: to the end.

        Raises:
            FailedPrecondition: It is a directory or no regular file.
        """
        pieces = [piece async for piece in self.stream(path, offset=offset, length=length)]
        return b"".join(pieces)

    async def read_text(self, path: str | PurePosixPath, *, encoding: str = "utf-8") -> str:
        """A file's text.

        Raises:
            UnicodeDecodeError: It is not text in that encoding.
        """
        return (await self.read(path)).decode(encoding)

    async def write(self, path: str | PurePosixPath, content: bytes | str, *, mode: int = 0) -> FileInfo:
        """Write a whole file; it appears under its name only when it is complete. Missing folders are made.

        Args:
            path: The file.
            content: Bytes, or text to be written as UTF-8.
            mode: Permission bits; 0: 0644, or what a replaced file had.

        Raises:
            FailedPrecondition: The path is a directory.
            ResourceExhausted: The disk is full, or the file is over the limit.
        """
        data = content.encode() if isinstance(content, str) else bytes(content)
        opening = file_pb2.WriteOpen(path=checked_path(path), mode=mode, sha256=hashlib.sha256(data).hexdigest())
        view = memoryview(data)

        def pieces() -> AsyncIterator[bytes]:
            return _each(bytes(view[start : start + CHUNK]) for start in range(0, len(view), CHUNK))

        # The digest travels ahead, and the file is replaced as a whole: a second attempt does no harm.
        return file_info((await self._write(opening, pieces, may_repeat=True)).info)

    async def stream(
        self,
        path: str | PurePosixPath,
        *,
        offset: int = 0,
        length: int = 0,
        on_info: Callable[[FileInfo], object] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """A file's bytes in pieces, for files larger than memory.

        Args:
            path: The file.
            offset: Bytes from the start.
            length: Bytes at most; 0: to the end.
            on_info: Told the file's size and type before the first piece.
        """
        request = file_pb2.ReadRequest(path=checked_path(path), offset=offset, length=length)
        async with contextlib.aclosing(self._chunks(request, on_info)) as chunks:
            async for chunk in chunks:
                yield bytes(chunk)

    async def upload(
        self,
        local: str | os.PathLike[str],
        path: str | PurePosixPath | None = None,
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> FileInfo:
        """Send a local file.

        Args:
            local: The file on this machine.
            path: Where to; its own name in the workspace root by default.
            on_progress: Called with bytes sent and bytes in all.

        Raises:
            OSError: The local file cannot be read.
            DataCorrupted: The digest of what arrived differs.
        """
        source = Path(local)
        status = await asyncio.to_thread(source.stat)
        digest = hashlib.sha256()
        opening = file_pb2.WriteOpen(path=checked_path(path or source.name), mode=status.st_mode & 0o777)
        with await asyncio.to_thread(source.open, "rb") as file:
            response = await self._write(opening, lambda: _pieces(file, digest, status.st_size, on_progress))
        if response.sha256 != digest.hexdigest():
            raise DataCorrupted(
                f"{source} arrived with another digest; send it again", reason="DIGEST_MISMATCH", field="sha256"
            )
        return file_info(response.info)

    async def download(
        self,
        path: str | PurePosixPath,
        local: str | os.PathLike[str] | None = None,
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Fetch a file; the local one is replaced only when the whole has arrived.

        Args:
            path: The file in the workspace.
            local: Where to; a folder, or a file name. The current folder by default.
            on_progress: Called with bytes received and bytes in all.

        Returns:
            The local file.
        """
        target = Path(local) if local is not None else Path(Path(str(path)).name)
        if await asyncio.to_thread(target.is_dir):
            target = target / Path(str(path)).name
        total = 0

        def learn(info: FileInfo) -> None:
            nonlocal total
            total = info.size

        descriptor, partial = await asyncio.to_thread(tempfile.mkstemp, dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                async with _Writing(file) as writing:
                    request = file_pb2.ReadRequest(path=checked_path(path))
                    async for chunk in self._chunks(request, learn):
                        await writing.write(chunk)
                        if on_progress:
                            on_progress(writing.size, max(total, writing.size))
            await asyncio.to_thread(publish, partial, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)  # noqa: PTH108 - a str from mkstemp
            raise
        return target

    async def _chunks(
        self, request: file_pb2.ReadRequest, on_info: Callable[[FileInfo], object] | None
    ) -> AsyncGenerator[bytes | memoryview, None]:
        async with contextlib.aclosing(self._connection.stream(self._connection.read_file, request)) as responses:
            async for response in responses:
                if isinstance(response, memoryview):
                    yield response
                elif response.WhichOneof("part") == "data":
                    yield response.data
                elif on_info:
                    on_info(file_info(response.info))

    async def _write(
        self, opening: file_pb2.WriteOpen, pieces: Callable[[], AsyncIterator[bytes]], *, may_repeat: bool = False
    ) -> Any:
        async def requests() -> AsyncIterator[file_pb2.WriteRequest | bytes]:
            yield file_pb2.WriteRequest(open=opening)
            async for piece in pieces():
                yield piece

        request = requests if may_repeat else requests()
        return await self._connection.unary(self._connection.write_file, request, repeatable=False, seconds=None)


async def _pieces(
    file: Any, digest: Any, total: int, on_progress: Callable[[int, int], object] | None
) -> AsyncIterator[bytes]:
    """The file's content; the next piece is read and digested while the one before it travels."""

    def read() -> bytes:
        piece: bytes = file.read(CHUNK)
        digest.update(piece)
        return piece

    sent = 0
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(None, read)
    try:
        while piece := await coming:
            coming = loop.run_in_executor(None, read)
            yield piece
            sent += len(piece)
            if on_progress:
                on_progress(sent, max(total, sent))
    finally:
        # The file is closed next, and nothing may read from it then.
        await asyncio.wait([coming])


class _Writing:
    """Writes to a file in a thread, while the next piece arrives."""

    def __init__(self, file: Any) -> None:
        self.size = 0
        self._file = file
        self._running: asyncio.Future[None] | None = None

    async def write(self, piece: bytes | memoryview) -> None:
        """Wait for the piece before this one, and begin with this one."""
        if self._running is not None:
            await self._running
        self.size += len(piece)
        self._running = asyncio.get_running_loop().run_in_executor(None, self._write, piece)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, type_: type[BaseException] | None, *_: object) -> None:
        if self._running is not None:
            # The file is closed next, and nothing may write to it then.
            await asyncio.wait([self._running])
            if type_ is None:
                self._running.result()

    def _write(self, piece: bytes | memoryview) -> None:
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]


def publish(partial: str, target: Path) -> None:
    """Give a file from mkstemp the mode of an ordinary one, and its name."""
    mask = os.umask(0)
    os.umask(mask)
    # mkstemp makes files for the owner only; a download is an ordinary file.
    os.chmod(partial, 0o666 & ~mask)  # noqa: PTH101 - a str from mkstemp
    os.replace(partial, target)  # noqa: PTH105 - same


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
