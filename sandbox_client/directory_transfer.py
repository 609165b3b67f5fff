"""Whole folders between this machine and the workspace, many files at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.file_transfer import publish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import PurePosixPath

    from sandbox_client.files import AsyncFiles
    from sandbox_client.models.results import FileInfo

AT_ONCE: Final = 16
"""Files that travel at a time."""
SMALL: Final = 1 << 20
"""Bytes of a file that is held in memory as a whole."""
_LEVELS: Final = 4096


@dataclass(frozen=True, slots=True)
class TreeReport:
    """What of a folder travelled.

    Attributes:
        files: How many.
        bytes: Of all of them.
        skipped: Paths that are neither regular files nor folders: symlinks, devices, sockets.
    """

    files: int
    bytes: int
    skipped: tuple[str, ...] = ()


async def upload_tree(
    files: AsyncFiles,
    local: str | os.PathLike[str],
    path: str | PurePosixPath = ".",
    *,
    on_progress: Callable[[int, int], object] | None = None,
) -> TreeReport:
    """See AsyncFiles.upload_tree."""
    found, skipped = await asyncio.to_thread(_list_local, Path(local))
    meter = _Meter(sum(size for _, _, size in found), on_progress)

    async def send(item: tuple[Path, str, int]) -> None:
        source, name, size = item
        target = f"{path}/{name}"
        if size > SMALL:
            await files.upload(source, target, on_progress=meter.part())
            return
        content, mode = await asyncio.to_thread(_read_small, source)
        await files.write(target, content, mode=mode)
        meter.part()(len(content), len(content))

    await _for_each(found, send)
    return TreeReport(len(found), meter.done, tuple(skipped))


async def download_tree(
    files: AsyncFiles,
    path: str | PurePosixPath,
    local: str | os.PathLike[str],
    *,
    on_progress: Callable[[int, int], object] | None = None,
) -> TreeReport:
    """See AsyncFiles.download_tree."""
    base = Path(local)
    entries = [(_below(str(path), entry.path), entry) for entry in await files.list(path, depth=_LEVELS)]
    found = [(name, entry) for name, entry in entries if entry.type == "file"]
    folders = [base, *(base / name for name, entry in entries if entry.type == "directory")]
    await asyncio.to_thread(_make_folders, folders)
    meter = _Meter(sum(entry.size for _, entry in found), on_progress)

    async def fetch(item: tuple[str, FileInfo]) -> None:
        name, entry = item
        if entry.size > SMALL:
            await files.download(entry.path, base / name, on_progress=meter.part())
            return
        content = await files.read(entry.path)
        await asyncio.to_thread(_write_small, base / name, content)
        meter.part()(len(content), len(content))

    await _for_each(found, fetch)
    others = [entry.path for _, entry in entries if entry.type not in ("file", "directory")]
    return TreeReport(len(found), meter.done, tuple(others))


class _Meter:
    """Bytes of many files, told as one."""

    def __init__(self, total: int, on_progress: Callable[[int, int], object] | None) -> None:
        self.done = 0
        self._total = total
        self._on_progress = on_progress

    def part(self) -> Callable[[int, int], None]:
        """For one file."""
        told = 0

        def tell(done: int, _total: int) -> None:
            nonlocal told
            self.done += done - told
            told = done
            if self._on_progress:
                self._on_progress(self.done, max(self._total, self.done))

        return tell


async def _for_each(items: Iterable[Any], work: Callable[[Any], Awaitable[None]]) -> None:
    """AT_ONCE at a time; the first error ends all."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _list_local(top: Path) -> tuple[list[tuple[Path, str, int]], list[str]]:
    """Regular files with their paths below the top and sizes, and what else there is."""
    if not top.is_dir():
        raise NotADirectoryError(f"{top} is no folder")
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
    """A listed path relative to the folder that was listed; the names are user code's, so they are checked."""
    prefix = "/".join(part for part in top.split("/") if part not in ("", "."))
    name = path.removeprefix(f"{prefix}/") if prefix else path
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
        raise InvalidArgument(f"{path!r} is no name for a local file", reason="INVALID_ARGUMENT", field="path")
    return name
