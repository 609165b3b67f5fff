"""A folder in place of a bucket, for local sessions. An object's key is its path below the folder.

Objects appear as a whole, by rename. Conditions are checked under a file lock, so processes of one machine may share
the folder. Only regular files count as objects.
"""

# ruff: noqa: D102 - ObjectStore documents its methods
from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import secrets
import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sandbox_agent.storage.backends.directory.watch import FolderWatch
from sandbox_agent.storage.backends.directory.writer_tag import read_tag, write_tag
from sandbox_agent.storage.backends.object_store import ObjectInfo, StoredObject
from sandbox_agent.storage.concurrency import BoundedThreads
from sandbox_agent.storage.errors import (
    AccessDeniedError,
    KeyObstructedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StorageError,
    StorageUnavailableError,
)
from sandbox_agent.storage.repository.keys import is_confined
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
_INCOMING: Final = ".incoming"
_LOCK: Final = ".lock"
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR})
_SPANS: Final = {
    "_open": "directory get",
    "_put_bytes": "directory put",
    "_commit": "directory put",
    "_stat": "directory stat",
    "_copy": "directory copy",
    "_delete": "directory delete",
    "_list": "directory list",
}
_T = TypeVar("_T")


class DirectoryStore:
    """An `ObjectStore` in a folder, which is created if it is missing."""

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root)
        self._threads = BoundedThreads("directory-store")
        self._watch: FolderWatch | None = None

    @property
    def max_object_bytes(self) -> int:
        return (1 << 63) - 1

    @contextlib.asynccontextmanager
    async def get(self, key: str) -> AsyncIterator[StoredObject]:
        descriptor, info = await self._run(self._open, key)
        try:
            yield StoredObject(info, datetime.now(UTC), self._chunks(descriptor))
        finally:
            os.close(descriptor)

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterator[bytes],
        *,
        if_match: str = "",
        if_none_match: bool = False,
        writer_tag: int = 0,
    ) -> str:
        condition = functools.partial(self._check, key, if_match, if_none_match=if_none_match)
        if isinstance(body, bytes):
            return await self._run(self._put_bytes, key, body, condition, writer_tag)
        part, descriptor = await self._run(self._begin)
        try:
            async for chunk in body:
                await self._run(_write, descriptor, chunk)
            await self._run(_finish, part, descriptor, writer_tag)
            return await self._run(self._commit, part, key, condition)
        finally:
            os.close(descriptor)
            part.unlink(missing_ok=True)

    async def stat(self, key: str) -> ObjectInfo:
        return await self._run(self._stat, key)

    async def copy(self, source: str, destination: str, *, if_match: str = "", size: int | None = None) -> str:  # noqa: ARG002 - the protocol's
        return await self._run(self._copy, source, destination, if_match)

    async def delete_many(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _PAGE):
            await self._run(self._delete, keys[start : start + _PAGE])

    async def pages(self, prefix: str, *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        infos = await self._run(self._list, prefix, after)
        for start in range(0, len(infos), _PAGE):
            yield infos[start : start + _PAGE]

    def is_unchanged(self, prefix: str) -> bool:  # noqa: ARG002 - there is only one watch
        return self._watch is not None and self._watch.is_unchanged()

    async def start_watching(self, prefix: str) -> bool:
        if self._watch is None:
            self._watch = FolderWatch(self._root / prefix)
        await self._run(self._watch.start_watching)
        return self._watch.is_watching

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        await self._threads.close()

    async def _run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        name = _SPANS.get(function.__name__)
        with tracing.NO_SPAN if name is None else tracing.span(name):
            try:
                return await self._threads.run(functools.partial(function, *arguments))
            except OSError as error:
                raise _translated(error) from error

    async def _chunks(self, descriptor: int) -> AsyncIterator[bytes]:
        while chunk := await self._run(os.read, descriptor, _CHUNK):
            yield chunk

    def _path(self, key: str) -> Path:
        if not is_confined(key) or "\0" in key or key.split("/", 1)[0] in {_INCOMING, _LOCK}:
            raise StorageError(f"{key!r} is not a valid key")
        return self._root / key

    def _open(self, key: str) -> tuple[int, ObjectInfo]:
        descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return descriptor, self._with_tag(_info(key, os.fstat(descriptor)))
        except BaseException:
            os.close(descriptor)
            raise

    def _stat(self, key: str) -> ObjectInfo:
        return self._with_tag(_info(key, self._path(key).lstat()))

    def _with_tag(self, info: ObjectInfo) -> ObjectInfo:
        return replace(info, writer_tag=read_tag(self._path(info.key), info.etag))

    def _begin(self) -> tuple[Path, int]:
        folder = self._root / _INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / secrets.token_hex(16)
        return part, os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _put_bytes(self, key: str, body: bytes, condition: Callable[[], None], writer_tag: int) -> str:
        part, descriptor = self._begin()
        try:
            _write(descriptor, body)
            _finish(part, descriptor, writer_tag)
            return self._commit(part, key, condition)
        finally:
            os.close(descriptor)
            part.unlink(missing_ok=True)

    def _commit(self, part: Path, key: str, condition: Callable[[], None]) -> str:
        path = self._path(key)
        etag = _info(key, part.stat()).etag
        with self._lock():
            condition()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                part.rename(path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise KeyObstructedError(key) from error
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return etag

    def _check(self, key: str, if_match: str, *, if_none_match: bool) -> None:
        if not if_match and not if_none_match:
            return
        try:
            etag = self._stat(key).etag
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            etag = ""
        if (if_match and etag != if_match) or (if_none_match and etag):
            raise PreconditionFailedError(key)

    def _copy(self, source: str, destination: str, if_match: str) -> str:
        descriptor, info = self._open(source)
        try:
            if if_match and info.etag != if_match:
                raise PreconditionFailedError(source)
            part, target = self._begin()
            try:
                with os.fdopen(os.dup(descriptor), "rb") as reader, os.fdopen(target, "wb") as writer:
                    shutil.copyfileobj(reader, writer, _CHUNK)
                    writer.flush()
                    os.fsync(writer.fileno())
                return self._commit(part, destination, lambda: None)
            finally:
                part.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _delete(self, keys: Sequence[str]) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            for key in keys:
                path = self._path(key)
                try:
                    path.unlink()
                except OSError as error:
                    if error.errno not in _NOT_THERE:
                        raise
                for folder in path.parents:
                    # An empty folder would obstruct a later file of the same name.
                    if folder == self._root or not _remove_empty(folder):
                        break

    def _list(self, prefix: str, after: str) -> list[ObjectInfo]:
        """List objects. Folders are read in sorted order, so a workspace's HEAD is read before its files."""
        top = self._root / prefix.rpartition("/")[0]
        base = len(os.fspath(self._root)) + 1
        infos = []
        for folder, folders, names in os.walk(top):
            folders.sort(key=_order)
            if Path(folder) == self._root:
                folders[:] = [name for name in folders if name != _INCOMING]
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - a Path for each file is slow
                key = path[base:]
                if key.startswith(prefix) and key != _LOCK and (not after or _order(key) > _order(after)):
                    with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                        infos.append(_info(key, os.lstat(path)))
        return sorted(infos, key=lambda info: _order(info.key))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _order(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"
    return ObjectInfo(key, status.st_size, etag, datetime.fromtimestamp(status.st_mtime, UTC))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _finish(part: Path, descriptor: int, writer_tag: int) -> None:
    """Tag a file and flush it to the disk."""
    if writer_tag:
        write_tag(part, writer_tag, _info("", os.fstat(descriptor)).etag)
    os.fsync(descriptor)


def _remove_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _translated(error: OSError) -> StorageError:
    message = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    if error.errno in _NOT_THERE:
        return ObjectNotFoundError(message)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return AccessDeniedError(message)
    return StorageUnavailableError(message)
