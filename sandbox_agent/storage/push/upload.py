"""One file of a push, from the sandbox to its object, over nothing that somebody else wrote.

Errors: OperationError of the runtime, StorageError of the store.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.backends.object_store import ObjectNotFoundError, PreconditionFailedError
from sandbox_agent.storage.progress import Memory, Meter
from sandbox_agent.storage.sandbox.files import FileChangedError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, MutableMapping

    from sandbox_agent.storage.base_state import Parts
    from sandbox_agent.storage.push.plan import Local, Signature
    from sandbox_agent.storage.repository.lock import Claim
    from sandbox_agent.storage.repository.manifest import Entry
    from sandbox_agent.storage.sandbox.files import FileReading

ATTEMPTS: Final = 3
"""Readings of a file that changes meanwhile."""


class Uploads:
    """The uploads of one push.

    Args:
        parts: Of the workspace.
        claim: Taken, with every path that is uploaded.
        known: What is known to be stored.
        signatures: Gets those of what was uploaded.
        meter: Is told what was uploaded.

    Attributes:
        entries: What was uploaded, by path.
    """

    def __init__(
        self,
        parts: Parts,
        claim: Claim,
        known: Mapping[str, Entry],
        signatures: MutableMapping[str, Signature],
        meter: Meter,
    ) -> None:
        self._parts = parts
        self._claim = claim
        self._known = known
        self._signatures = signatures
        self._meter = meter
        self._memory = Memory()
        self.entries: dict[str, Entry] = {}

    async def upload(self, local: Local) -> bool:
        """Upload a file; False where somebody else stored another one since this sandbox looked, which stays.

        Raises:
            OperationError: ABORTED, FILE_CHANGED: it kept changing.
            KeyObstructedError: Another stored file is in the way of its name.
        """
        known = self._known.get(local.path)
        etag = known.etag if known is not None and known.type == "file" else ""
        for _ in range(ATTEMPTS):
            try:
                return await self._upload_once(local, etag)
            except FileChangedError:
                local = await self._look_again(local.path)
            except ObjectNotFoundError:
                etag = ""  # somebody deleted it: nothing is in the way
        raise OperationError("ABORTED", "FILE_CHANGED", "it kept changing while it was read; push it again")

    async def _upload_once(self, local: Local, etag: str) -> bool:
        """Save a file over the object that has the etag, or where there is none; over any where that is in order."""
        async with self._memory.share(local.size):
            reading = await self._parts.files.open(local)
            async with contextlib.aclosing(reading.chunks()) as chunks:
                replaced = self._find_replaced(local.path, etag)
                if replaced is not None:
                    new_etag = await self._put(reading, chunks, replaced)
                else:  # somebody else's already, and some stores ignore conditions
                    async for _ in chunks:
                        pass
                    new_etag = self._accept(reading)
        if not new_etag:
            return False
        self.entries[local.path] = reading.local.as_entry(reading.sha256, new_etag)
        self._signatures[local.path] = reading.signature
        self._meter.add(local.size)
        return True

    def _find_replaced(self, path: str, etag: str) -> str | None:
        """The etag of the object that an upload is to replace, empty: there is none; None: it is somebody else's."""
        left = self._claim.etag_left(path)
        if left is not None:
            return left
        if self._claim.etag_of(path) == etag:
            return etag
        # Written anew with the content that this sandbox knows, by somebody or by a repair that was interrupted.
        known = self._known.get(path)
        digest = self._claim.digest_of(path)
        is_known = known is not None and known.sha256 == digest and self._claim.is_aside(digest)
        return self._claim.etag_of(path) if is_known else None

    async def _put(self, reading: FileReading, chunks: AsyncGenerator[bytes, None], etag: str) -> str:
        path = reading.local.path
        condition: dict[str, Any] = {"if_match": etag} if etag else {"if_none_match": True}
        key, push = self._parts.keys.of_file(path), self._claim.generation
        try:
            return await self._parts.store.put(key, chunks, push=push, **condition)
        except (PreconditionFailedError, ObjectNotFoundError):
            await self._claim.give_way([path])
            etag = self._accept(reading)
            if not etag and self._claim.etag_left(path):
                # This push's own, or the interrupted one's that came late: it is replaced as what that left is.
                await self._claim.confirm()
                raise ObjectNotFoundError(path) from None
            return etag

    def _accept(self, reading: FileReading) -> str:
        """The etag of what is stored where it has this very content (or is our own, its answer lost); else ""."""
        path = reading.local.path
        if self._claim.digest_of(path) == reading.sha256:
            return self._claim.etag_of(path)
        if not self._claim.etag_of(path):
            raise ObjectNotFoundError(path)
        return ""

    async def _look_again(self, path: str) -> Local:
        for local in await self._parts.files.scan([path], ()):
            if local.path == path and local.type == "file":
                return local
        raise OperationError("FAILED_PRECONDITION", "NOT_A_FILE", "it is no regular file any more")
