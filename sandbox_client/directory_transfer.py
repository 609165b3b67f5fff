"""Lists folders, and uploads and downloads them, several files at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.file_transfer import FileTransfers, publish
from sandbox_client.models.file_info import FileInfo, read_file_info
from sandbox_client.models.readable import Listing
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import PurePosixPath

MAX_CONCURRENT_FILES: Final = 16
MAX_BUFFERED_SIZE: Final = 1 << 20
"""Bytes of the largest file that is read into memory as a whole. Larger files are streamed."""
_MAX_DEPTH: Final = 4096
_PAGE_SIZE: Final = 1_000
"""Entries that one call lists."""


@dataclass(frozen=True, slots=True)
class TreeReport:
    """Result of the transfer of a folder.

    Attributes:
        files: Number of files that were transferred.
        bytes: Bytes of all those files.
        skipped: Paths that are neither regular files nor folders: symlinks, devices, sockets.
    """

    files: int
    bytes: int
    skipped: tuple[str, ...] = ()


class DirectoryTransfers(FileTransfers):
    """The methods of `AsyncFiles` that list and transfer whole folders."""

    async def list(self, path: str | PurePosixPath = ".", *, depth: int = 1) -> list[FileInfo]:
        """List a folder's entries, sorted by path.

        Args:
            path: The folder.
            depth: Levels to list; 1 for the folder's own entries.
        """
        request = file_pb2.ListFilesRequest(path=checked_path(path), depth=depth, page_size=_PAGE_SIZE)
        pages = self._connection.pages(self._connection.file.List, request)
        return Listing([read_file_info(entry) async for page in pages for entry in page.files])

    async def upload_tree(
        self,
        local: str | os.PathLike[str],
        path: str | PurePosixPath = ".",
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> TreeReport:
        """Upload a local folder's content, several files at a time. Other files in the workspace stay.

        Args:
            local: The folder on this machine. Symlinks in it are skipped and listed in the report.
            path: The folder in the workspace; its root by default.
            on_progress: Called with the bytes sent and the total bytes.

        Raises:
            OSError: A local file cannot be read.
            SandboxError: The error of the first file that failed; others may have arrived.
        """
        found, skipped = await asyncio.to_thread(_list_local, Path(local))
        progress = _TotalProgress(sum(size for _, _, size in found), on_progress)

        async def upload(item: tuple[Path, str, int]) -> None:
            source, name, size = item
            target = f"{path}/{name}"
            if size > MAX_BUFFERED_SIZE:
                await self.upload(source, target, on_progress=progress.for_file())
                return
            content, mode = await asyncio.to_thread(_read_small, source)
            await self.write(target, content, mode=mode)
            progress.for_file()(len(content), len(content))

        await _for_each(found, upload)
        return TreeReport(len(found), progress.done, tuple(skipped))

    async def download_tree(
        self,
        path: str | PurePosixPath,
        local: str | os.PathLike[str],
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> TreeReport:
        """Download a folder's content, several files at a time. Other files in the local folder stay.

        Args:
            path: The folder in the workspace; `.` is the whole workspace.
            local: The folder on this machine, which is created if it does not exist.
            on_progress: Called with the bytes received and the total bytes.

        Raises:
            SandboxError: The error of the first file that failed; others may have arrived.
        """
        base = Path(local)
        entries = [(_below(str(path), entry.path), entry) for entry in await self.list(path, depth=_MAX_DEPTH)]
        found = [(name, entry) for name, entry in entries if entry.type == "file"]
        folders = [base, *(base / name for name, entry in entries if entry.type == "directory")]
        await asyncio.to_thread(_make_folders, folders)
        progress = _TotalProgress(sum(entry.size for _, entry in found), on_progress)

        async def download(item: tuple[str, FileInfo]) -> None:
            name, entry = item
            if entry.size > MAX_BUFFERED_SIZE:
                await self.download(entry.path, base / name, on_progress=progress.for_file())
                return
            content = await self.read(entry.path)
            await asyncio.to_thread(_write_small, base / name, content)
            progress.for_file()(len(content), len(content))

        await _for_each(found, download)
        skipped = tuple(entry.path for _, entry in entries if entry.type not in ("file", "directory"))
        return TreeReport(len(found), progress.done, skipped)


class _TotalProgress:
    """Adds up the progress of many files.

    Attributes:
        done: Bytes transferred so far.
    """

    def __init__(self, total: int, on_progress: Callable[[int, int], object] | None) -> None:
        self.done = 0
        self._total = total
        self._on_progress = on_progress

    def for_file(self) -> Callable[[int, int], None]:
        """Return the progress callback for one file."""
        counted = 0

        def report(done: int, _total: int) -> None:
            nonlocal counted
            self.done += done - counted
            counted = done
            if self._on_progress:
                self._on_progress(self.done, max(self._total, self.done))

        return report


async def _for_each(items: Iterable[Any], work: Callable[[Any], Awaitable[None]]) -> None:
    """Process the items, MAX_CONCURRENT_FILES at a time. The first error cancels the others and is raised."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_CONCURRENT_FILES):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _list_local(top: Path) -> tuple[list[tuple[Path, str, int]], list[str]]:
    """Return the regular files with relative path and size, and the relative paths of everything else."""
    if not top.is_dir():
        raise NotADirectoryError(f"{top} is not a folder")
    files: list[tuple[Path, str, int]] = []
    others: list[str] = []
    for folder, folders, names in os.walk(top):
        others += [
            Path(folder, name).relative_to(top).as_posix() for name in folders if Path(folder, name).is_symlink()
        ]
        for name in sorted(names):
            path = Path(folder, name)
            below = path.relative_to(top).as_posix()
            if path.is_symlink() or not path.is_file():
                others.append(below)
            else:
                files.append((path, below, path.stat().st_size))
    return files, sorted(others)


def _read_small(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(), os.fstat(file.fileno()).st_mode & 0o777


def _write_small(target: Path, content: bytes) -> None:
    descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        publish(partial, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)  # noqa: PTH108 - a str from mkstemp
        raise


def _make_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _below(top: str, path: str) -> str:
    """Return a listed path relative to the listed folder. User code chose the names, so check them."""
    prefix = "/".join(part for part in top.split("/") if part not in ("", "."))
    name = path.removeprefix(f"{prefix}/") if prefix else path
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
        raise InvalidArgument(
            f"{path!r} cannot be the name of a local file: rename it in the sandbox",
            reason="INVALID_ARGUMENT",
            field="path",
        )
    return name
