"""The workspace's files, as the runtime gives and takes them. No path is opened here.

Everything the runtime says is hostile: types, counts and names are checked before use.

Errors: OperationError, as the runtime said it, or INTERNAL for an answer that breaks docs/link.md. FileChangedError
where a file changed while it was read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_agent.storage.repository.manifest import is_sha256
from sandbox_agent.storage.sandbox.file_info import MODE, LocalEntry, Signature, breach, read_local, sign
from sandbox_agent.storage.sandbox.scanner import Scans
from sandbox_agent.storage.timeouts import HASH_TIMEOUT, cancel_call, read_items, time_limit
from sandbox_link.frames import Stream
from sandbox_link.protocol import Event, OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from sandbox_agent.storage.repository.manifest import Entry, EntryType
    from sandbox_link.protocol import Call, Runtime


class FileChangedError(Exception):
    """A file was not the same before and after it was read."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a sandbox has of storage."""

    commit: tuple[int, str, str]
    is_whole: bool
    """It has had every file of that commit, so that one which is missing was removed there."""


class SandboxFiles:
    """Files of one sandbox.

    Attributes:
        runtime: Has them.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._scans = Scans(runtime)

    async def scan(self, paths: Sequence[str], exclude: Sequence[str]) -> list[LocalEntry]:
        """See Scans."""
        return await self._scans.scan(paths, exclude)

    async def scan_again(self, exclude: tuple[str, ...]) -> Mapping[str, LocalEntry]:
        """See Scans."""
        return await self._scans.scan_again(exclude)

    async def is_there(self, path: str, kind: EntryType) -> bool:
        """Whether a stored path is still there; where a file or symlink was, a folder is something else."""
        try:
            async with time_limit():
                answer = await self.runtime.call("file.stat", {"path": path})
        except OperationError as error:
            if error.code == "NOT_FOUND" or error.reason in {"NOT_A_DIRECTORY", "PATH_OUTSIDE_WORKSPACE"}:
                return False
            raise
        info = answer.get("info")
        return not (isinstance(info, dict) and info.get("type") == "directory" and kind != "directory")

    async def rename(self, path: str, new: str) -> bool:
        """Give a file another name; False where that name is taken."""
        try:
            async with time_limit():
                await self.runtime.call("file.move", {"source": path, "destination": new, "overwrite": False})
        except OperationError as error:
            if error.code == "ALREADY_EXISTS":
                return False
            raise
        return True

    async def hash(self, path: str) -> tuple[str, LocalEntry]:
        """The SHA-256 of a file, and what it was then."""
        async with time_limit(HASH_TIMEOUT):
            answer = await self.runtime.call("workspace.hash", {"path": path})
        digest = answer.get("sha256")
        if not isinstance(digest, str) or not is_sha256(digest):
            raise breach("a hash has no `sha256`")
        return digest, read_local(answer.get("info"), path)

    async def remember(self, holding: Holding) -> None:
        """Have the sandbox remember which commit it holds: it outlives this agent."""
        async with time_limit():
            await self.runtime.call("workspace.commit", {"commit": json.dumps([*holding.commit, holding.is_whole])})

    async def recall(self) -> Holding | None:
        """Which commit the sandbox holds; None where nobody ever told it."""
        async with time_limit():
            text = (await self.runtime.call("workspace.commit", {})).get("commit")
        if not text:
            return None
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            generation, writer, committed_at, is_whole = json.loads(text)
            if isinstance(generation, int) and isinstance(writer, str) and isinstance(committed_at, str):
                return Holding((generation, writer, committed_at), is_whole is True)
        raise breach("a commit is not what was told")

    async def open(self, local: LocalEntry) -> FileReading:
        """Read a file that a scan found."""
        call = await self.runtime.open("workspace.read", {"path": local.path})
        return FileReading(call, local)

    async def write(self, entry: Entry, body: AsyncIterator[bytes] | None) -> Written:
        """Write what a restore brings; the file appears under its name when all of it is there.

        Raises:
            OperationError: DATA_LOSS, DIGEST_MISMATCH: the body is not what `entry` says.
        """
        arguments = {
            "path": entry.path,
            "mode": entry.mode & MODE,
            "mtime_ns": entry.mtime_ns,
            "sha256": entry.sha256,
            "type": entry.type,
            "symlink_target": entry.symlink_target,
        }
        call = await self.runtime.open("workspace.write", arguments)
        digest, size = hashlib.sha256(), 0
        try:
            if body is not None:
                async for chunk in body:
                    digest.update(chunk)
                    size += len(chunk)
                    async with time_limit():
                        await call.send(chunk)
            _check_digest(entry.sha256, digest.hexdigest())
            await call.end()
            async for _ in read_items(call):
                pass
        except BaseException:
            await cancel_call(call)
            raise
        local = read_local(call.result.get("info"), entry.path)
        return Written(digest.hexdigest() if body is not None else "", size, local, sign(local, time.time_ns()))


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was restored."""

    sha256: str
    size: int
    local: LocalEntry
    signature: Signature


class FileReading:
    """One reading of a file; iterate `chunks` to its end, then `local`, `sha256` and `signature` hold."""

    def __init__(self, call: Call, expected: LocalEntry) -> None:
        self._call = call
        self._digest = hashlib.sha256()
        self._started_ns = time.time_ns()
        self.local = expected
        self.size = 0

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._digest.hexdigest()

    @property
    def signature(self) -> Signature:
        """Of the file that was read."""
        return sign(self.local, self._started_ns)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The content. Ends well only where the file was the same before and behind it.

        Raises:
            FileChangedError: It was not.
        """
        before: LocalEntry | None = None
        try:
            await self._call.end()
            async for item in read_items(self._call):
                if isinstance(item, Event):
                    if item.value.get("type") == "info":
                        before = read_local(item.value.get("info"), self.local.path)
                        self._check_size(before.size)
                elif item.stream is Stream.BODY:
                    self.size += len(item.data)
                    self._check_size(self.size)
                    self._digest.update(item.data)
                    yield item.data
        except BaseException:
            await cancel_call(self._call)
            raise
        after = read_local(self._call.result.get("info_after"), self.local.path)
        if before is None or after != before or self.size != after.size or after.type != "file":
            raise FileChangedError(self.local.path)
        self.local = after

    async def close(self) -> None:
        """Stop reading."""
        await cancel_call(self._call)

    def _check_size(self, size: int) -> None:
        """Memory was set aside for what the scan found: a file that has grown needs another start."""
        if size > self.local.size:
            raise FileChangedError(self.local.path)


def _check_digest(wanted: str, found: str) -> None:
    if wanted and found != wanted:
        raise OperationError("DATA_LOSS", "DIGEST_MISMATCH", "what is stored has another digest than was saved")
