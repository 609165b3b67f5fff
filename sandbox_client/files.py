"""Files of the workspace: read, write, upload, download, list. Contents are streamed, writes checked by digest."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import DataCorrupted, NotFound
from sandbox_client.values import FileInfo, file_info
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
    from pathlib import PurePosixPath

    from sandbox_client.connection import Connection

CHUNK: Final = 256 << 10
"""Bytes of one message of a transfer; measured best between 256 KiB and 1 MiB."""
_PAGE: Final = 1_000


class AsyncFiles:
    """Files of one sandbox. Paths are relative to the workspace root.

    Every method raises InvalidArgument (field `path`) for a path outside the workspace, and NotFound for one that is
    not there.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
        request = file_pb2.ReadRequest(path=str(path), offset=offset, length=length)
        async with contextlib.aclosing(self._connection.stream(self._connection.file.Read, request)) as responses:
            async for response in responses:
                if response.WhichOneof("part") == "data":
                    yield response.data
                elif on_info:
                    on_info(file_info(response.info))

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
        opening = file_pb2.WriteOpen(path=str(path), mode=mode, sha256=hashlib.sha256(data).hexdigest())
        view = memoryview(data)
        pieces = (bytes(view[start : start + CHUNK]) for start in range(0, len(view), CHUNK))
        # The digest travels ahead, and the file is replaced as a whole: a second attempt does no harm.
        return file_info((await self._write(opening, lambda: _each(pieces))).info)

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
        opening = file_pb2.WriteOpen(path=str(path or source.name), mode=status.st_mode & 0o777)
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
            with os.fdopen(descriptor, "wb") as file:
                received = 0
                async for piece in self.stream(path, on_info=learn):
                    await asyncio.to_thread(file.write, piece)
                    received += len(piece)
                    if on_progress:
                        on_progress(received, max(total, received))
            await asyncio.to_thread(_publish, partial, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)  # noqa: PTH108 - a str from mkstemp
            raise
        return target

    async def list(self, path: str | PurePosixPath = ".", *, depth: int = 1) -> list[FileInfo]:
        """A folder's entries, sorted by path.

        Args:
            path: The folder.
            depth: Levels; 1: its own entries.
        """
        entries: list[FileInfo] = []
        token = ""
        while True:
            request = file_pb2.ListFilesRequest(path=str(path), depth=depth, page_size=_PAGE, page_token=token)
            response = await self._connection.unary(self._connection.file.List, request, repeatable=True)
            entries += [file_info(entry) for entry in response.files]
            token = response.next_page_token
            if not token:
                return entries

    async def stat(self, path: str | PurePosixPath) -> FileInfo:
        """What is known of one path; a symlink is not followed."""
        request = file_pb2.StatRequest(path=str(path))
        return file_info(await self._connection.unary(self._connection.file.Stat, request, repeatable=True))

    async def exists(self, path: str | PurePosixPath) -> bool:
        """Whether the path is there."""
        try:
            await self.stat(path)
        except NotFound:
            return False
        return True

    async def remove(self, path: str | PurePosixPath, *, recursive: bool = False) -> None:
        """Remove a file, a symlink itself, or (with `recursive`) a folder and all below it."""
        request = file_pb2.RemoveRequest(path=str(path), recursive=recursive)
        # Not repeated: the second attempt of one that worked would say NotFound.
        await self._connection.unary(self._connection.file.Remove, request, repeatable=False)

    async def move(
        self, source: str | PurePosixPath, destination: str | PurePosixPath, *, overwrite: bool = False
    ) -> FileInfo:
        """Rename a file or folder, atomically.

        Raises:
            Conflict: The destination is there, and `overwrite` is not set.
        """
        request = file_pb2.MoveRequest(source=str(source), destination=str(destination), overwrite=overwrite)
        return file_info(await self._connection.unary(self._connection.file.Move, request, repeatable=False))

    async def make_directory(self, path: str | PurePosixPath) -> FileInfo:
        """Make a folder and its parents; one that is there already is no error."""
        request = file_pb2.MakeDirectoryRequest(path=str(path))
        return file_info(await self._connection.unary(self._connection.file.MakeDirectory, request, repeatable=True))

    async def _write(self, opening: file_pb2.WriteOpen, pieces: Callable[[], AsyncIterator[bytes]]) -> Any:
        async def requests() -> AsyncIterator[file_pb2.WriteRequest]:
            yield file_pb2.WriteRequest(open=opening)
            async for piece in pieces():
                yield file_pb2.WriteRequest(data=piece)

        return await self._connection.unary(self._connection.file.Write, requests(), repeatable=False, seconds=None)


async def _each(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _pieces(
    file: Any, digest: Any, total: int, on_progress: Callable[[int, int], object] | None
) -> AsyncIterator[bytes]:
    sent = 0
    while piece := await asyncio.to_thread(file.read, CHUNK):
        digest.update(piece)
        yield piece
        sent += len(piece)
        if on_progress:
            on_progress(sent, max(total, sent))


def _publish(partial: str, target: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    # mkstemp makes files for the owner only; a download is an ordinary file.
    os.chmod(partial, 0o666 & ~mask)  # noqa: PTH101 - a str from mkstemp
    os.replace(partial, target)  # noqa: PTH105 - same
