"""Reads and writes the workspace's files through the runtime. Opens no path itself.

The runtime is untrusted: types, counts and names are checked before use.

Errors: OperationError from the runtime, or INTERNAL for an answer that violates docs/link.md. FileChangedError if a
file changed while it was read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox_agent.storage.repository.manifest import is_sha256
from sandbox_agent.storage.sandbox.file_info import MODE, LocalEntry, Signature, breach, read_local, sign
from sandbox_agent.storage.sandbox.scanner import Scanner
from sandbox_agent.storage.timeouts import Pace, cancel_call, hash_seconds, time_limit
from sandbox_link.frames import Stream
from sandbox_link.protocol import Event, OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from sandbox_agent.storage.repository.manifest import Entry, EntryType
    from sandbox_link.protocol import Call, Runtime


class FileChangedError(Exception):
    """A file changed while it was read."""


@dataclass(frozen=True, slots=True)
class RecordedCommit:
    """The commit that a sandbox's files come from, as recorded in the sandbox."""

    commit: tuple[int, str, str]
    is_whole: bool
    """The sandbox has had every file of that commit, so a missing one was deleted there."""


class SandboxFiles:
    """The files of one sandbox.

    Attributes:
        runtime: The sandbox's runtime.
        scanner: Scans the sandbox.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.scanner = Scanner(runtime)

    async def is_there(self, path: str, kind: EntryType) -> bool:
        """Return whether a stored path still exists. A folder in the place of a file or symlink does not count."""
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
        """Rename a file. Returns False if the name is taken."""
        try:
            async with time_limit():
                await self.runtime.call("file.move", {"source": path, "destination": new, "overwrite": False})
        except OperationError as error:
            if error.code == "ALREADY_EXISTS":
                return False
            raise
        return True

    async def hash(self, local: LocalEntry) -> tuple[str, LocalEntry]:
        """Return the SHA-256 of a file that a scan found, and its info at that time."""
        async with time_limit(hash_seconds(local.size)):
            answer = await self.runtime.call("workspace.hash", {"path": local.path})
        digest = answer.get("sha256")
        if not isinstance(digest, str) or not is_sha256(digest):
            raise breach("a hash has no `sha256`")
        return digest, read_local(answer.get("info"), local.path)

    async def record_commit(self, recorded: RecordedCommit) -> None:
        """Record a commit in the sandbox, which outlives this agent."""
        async with time_limit():
            await self.runtime.call("workspace.commit", {"commit": json.dumps([*recorded.commit, recorded.is_whole])})

    async def read_commit(self) -> RecordedCommit | None:
        """Return the commit that is recorded in the sandbox. Returns None if there is none."""
        async with time_limit():
            text = (await self.runtime.call("workspace.commit", {})).get("commit")
        if not text:
            return None
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            generation, writer, committed_at, is_whole = json.loads(text)
            if isinstance(generation, int) and isinstance(writer, str) and isinstance(committed_at, str):
                return RecordedCommit((generation, writer, committed_at), is_whole is True)
        raise breach("the commit is malformed")

    async def open(self, local: LocalEntry) -> FileReading:
        """Start reading a file that a scan found."""
        call = await self.runtime.open("workspace.read", {"path": local.path})
        return FileReading(call, local)

    async def write(self, entry: Entry, body: AsyncIterator[bytes] | None) -> Written:
        """Write a restored file, folder or symlink. A file appears under its name only when it is complete.

        Raises:
            OperationError: DATA_LOSS, DIGEST_MISMATCH: the body does not match `entry`.
        """
        arguments: dict[str, Any] = {
            "path": entry.path,
            "mode": entry.mode & MODE,
            "mtime_ns": entry.mtime_ns,
            "sha256": entry.sha256,
            "type": entry.type,
            "symlink_target": entry.symlink_target,
        }
        if entry.metadata:
            arguments["metadata"] = dict(entry.metadata)
        call = await self.runtime.open("workspace.write", arguments)
        digest, size, pace = hashlib.sha256(), 0, Pace()
        try:
            if body is not None:
                async for chunk in body:
                    digest.update(chunk)
                    size += len(chunk)
                    async with pace.waiting():
                        await call.send(chunk)
                    pace.note_moved(len(chunk))
            _check_digest(entry.sha256, digest.hexdigest())
            await call.end()
            async for _ in pace.items(call):
                pass
        except BaseException:
            await cancel_call(call)
            raise
        local = read_local(call.result.get("info"), entry.path)
        return Written(digest.hexdigest() if body is not None else "", size, local, sign(local, time.time_ns()))


@dataclass(frozen=True, slots=True)
class Written:
    """A restored file."""

    sha256: str
    size: int
    local: LocalEntry
    signature: Signature


class FileReading:
    """One read of a file. `local`, `sha256` and `signature` are valid once `chunks` has been read to its end."""

    def __init__(self, call: Call, expected: LocalEntry) -> None:
        self._call = call
        self._digest = hashlib.sha256()
        self._started_ns = time.time_ns()
        self.local = expected
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest of what has been read so far."""
        return self._digest.hexdigest()

    @property
    def signature(self) -> Signature:
        """The signature of the file that was read."""
        return sign(self.local, self._started_ns)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content.

        Raises:
            FileChangedError: The file differs before and after the read.
        """
        before: LocalEntry | None = None
        try:
            await self._call.end()
            async for item in Pace().items(self._call):
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

    def _check_size(self, size: int) -> None:
        """Refuse a file that has grown: memory is reserved only for the size that the scan found."""
        if size > self.local.size:
            raise FileChangedError(self.local.path)


def _check_digest(wanted: str, found: str) -> None:
    if wanted and found != wanted:
        raise OperationError(
            "DATA_LOSS", "DIGEST_MISMATCH", "the stored content has another digest than was saved: push the file again"
        )
