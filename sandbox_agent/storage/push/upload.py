"""Uploads files of a push, each over the object that the push may replace and no other.

Errors: OperationError of the runtime, StorageError of the store.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

from sandbox_agent.storage.concurrency import ByteBudget
from sandbox_agent.storage.errors import ObjectNotFoundError, PreconditionFailedError
from sandbox_agent.storage.sandbox.files import FileChangedError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from sandbox_agent.storage.context import WorkspaceContext
    from sandbox_agent.storage.progress import ProgressMeter
    from sandbox_agent.storage.repository.lock import Lock
    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.repository.undo_journal import UndoJournal
    from sandbox_agent.storage.sandbox.file_info import LocalEntry, Signature
    from sandbox_agent.storage.sandbox.files import FileReading

ATTEMPTS: Final = 3
"""Reads of a file that changes during the read."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file as it was uploaded."""

    entry: Entry
    signature: Signature
    local: LocalEntry


class Condition(TypedDict, total=False):
    """The condition of a put: the object to replace, or that there is none."""

    if_match: str
    if_none_match: bool


class Uploader:
    """Uploads the files of one push.

    Args:
        context: The workspace's.
        lock: The push's lock, which has been acquired.
        journal: The push's undo journal, which has every path that is uploaded.
        entries: The base's entries by path.
        meter: Counts what was uploaded.
    """

    def __init__(
        self,
        context: WorkspaceContext,
        lock: Lock,
        journal: UndoJournal,
        entries: Mapping[str, Entry],
        meter: ProgressMeter,
    ) -> None:
        self._context = context
        self._lock = lock
        self._journal = journal
        self._entries = entries
        self._meter = meter
        self._budget = ByteBudget()

    async def upload(self, local: LocalEntry) -> UploadedFile | None:
        """Upload a file. Returns None, and leaves the object alone, if it is another writer's and unknown here.

        Raises:
            OperationError: ABORTED, FILE_CHANGED: the file kept changing.
            KeyObstructedError: Another stored file blocks the key.
        """
        entry = self._entries.get(local.path)
        etag = entry.etag if entry is not None and entry.type == "file" else ""
        for _ in range(ATTEMPTS):
            try:
                return await self._upload_once(local, etag)
            except FileChangedError:
                local = await self._scan_again(local.path)
            except ObjectNotFoundError:
                etag = ""  # another writer deleted the object, so there is nothing to replace
        raise OperationError("ABORTED", "FILE_CHANGED", "it kept changing while it was read; push it again")

    async def _upload_once(self, local: LocalEntry, etag: str) -> UploadedFile | None:
        """Upload a file over the object with the etag. An empty etag means that there is no object."""
        async with self._budget.reserve(local.size):
            reading = await self._context.files.open(local)
            async with contextlib.aclosing(reading.chunks()) as chunks:
                condition = self._find_condition(local.path, etag)
                if condition is not None:
                    new_etag = await self._put(reading, chunks, condition)
                else:
                    # Only the digest is needed. Some stores ignore conditions, so a put might replace the object.
                    async for _ in chunks:
                        pass
                    new_etag = self._etag_of_same_content(reading)
        if not new_etag:
            return None
        self._meter.add(local.size)
        return UploadedFile(reading.local.as_entry(reading.sha256, new_etag), reading.signature, reading.local)

    def _find_condition(self, path: str, etag: str) -> Condition | None:
        """Return the condition under which an upload may replace what is stored.

        Returns None if another writer's object is there, which an upload must not replace.
        """
        leftover = self._journal.leftover(path)
        if leftover is not None:
            return _condition(leftover.etag)
        current = self._journal.current(path)
        if current.etag == etag:
            return _condition(etag)
        # Another writer or an interrupted repair has written the object again, with the content of this sandbox's base.
        entry = self._entries.get(path)
        if entry is not None and entry.sha256 == current.sha256 and self._journal.is_backed_up(current.sha256):
            return _condition(current.etag)
        return None

    async def _put(self, reading: FileReading, chunks: AsyncGenerator[bytes, None], condition: Condition) -> str:
        """Upload a file. Return its etag, or "" if another writer's object is there."""
        path = reading.local.path
        key, generation = self._context.keys.of_file(path), self._lock.generation
        try:
            return await self._context.store.put(key, chunks, writer_tag=generation, **condition)
        except (PreconditionFailedError, ObjectNotFoundError):
            await self._journal.record_foreign_objects([path])
            etag = self._etag_of_same_content(reading)
            leftover = self._journal.leftover(path)
            if not etag and leftover is not None and leftover.etag:
                # Either this push's own object, or a late one of the interrupted push. Both may be replaced. The tag
                # names only the generation, and not the writer: make sure that no other writer has taken the lock.
                await self._lock.refresh()
                raise ObjectNotFoundError(path) from None
            return etag

    def _etag_of_same_content(self, reading: FileReading) -> str:
        """Return the etag of the stored object if it has the content that was read, else "".

        Raises:
            ObjectNotFoundError: There is no object.
        """
        current = self._journal.current(reading.local.path)
        if current.sha256 == reading.sha256:
            return current.etag
        if not current.exists:
            raise ObjectNotFoundError(reading.local.path)
        return ""

    async def _scan_again(self, path: str) -> LocalEntry:
        local = (await self._context.files.scanner.scan([path], ())).found.get(path)
        if local is not None and local.type == "file":
            return local
        raise OperationError(
            "FAILED_PRECONDITION",
            "NOT_A_FILE",
            "it is no longer a regular file: only files, folders and symlinks are saved",
        )


def _condition(etag: str) -> Condition:
    return {"if_match": etag} if etag else {"if_none_match": True}
