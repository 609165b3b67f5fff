"""Tries every kind of request that a push or a restore sends to the store, for `sandbox doctor`.

It matters most that conditions hold. A store that ignores them accepts every request, and two sessions that share a
workspace overwrite each other without noticing.
"""

from __future__ import annotations

import contextlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration

from sandbox_agent.storage.backends.object_store import read_all
from sandbox_agent.storage.errors import ObjectNotFoundError, PreconditionFailedError, StorageError
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.repository.keys import Keys

_CONTENT: Final = b"sandbox doctor"
_OTHER_ETAG: Final = '"00000000000000000000000000000000"'
_CONSEQUENCE: Final = "sessions that share a workspace would overwrite each other's files"


class StorageCheck:
    """One run of the check. Its objects are beside the workspace's bookkeeping, where no push or restore looks.

    Args:
        store: The bucket.
        keys: The workspace's keys in it.
    """

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._key = f"{keys.bookkeeping}check-{secrets.token_hex(8)}"
        self._etag = ""
        self._result = workspace_pb2.CheckStorageResponse()

    async def run(self) -> workspace_pb2.CheckStorageResponse:
        """Try all requests, and delete what they have written."""
        has_object = await self._try("put", self._put)
        if has_object:
            await self._try("get", self._get)
        await self._try("list", self._list)
        if has_object:
            await self._try("copy", self._copy)
            await self._try("conditional put", self._put_with_conditions)
            await self._try("delete", self._delete)
        return self._result

    async def _try(self, operation: str, work: Callable[[], Awaitable[None]]) -> bool:
        problem = ""
        try:
            await work()
        except StorageError as error:
            problem = str(error) or type(error).__name__
        self._result.checks.add(operation=operation, problem=problem)
        return not problem

    async def _put(self) -> None:
        self._etag = await self._store.put(self._key, _CONTENT)

    async def _get(self) -> None:
        async with self._store.get(self._key) as stored:
            offset = stored.served_at - datetime.now(UTC)
            if await read_all(stored, len(_CONTENT)) != _CONTENT:
                raise StorageError("the store returned other bytes than were written")
        duration = Duration()
        duration.FromTimedelta(offset)
        self._result.clock_offset.CopyFrom(duration)

    async def _list(self) -> None:
        found = [info.key async for page in self._store.pages(self._key) for info in page]
        if self._etag and self._key not in found:
            raise StorageError("the listing lacks an object that was just written")

    async def _copy(self) -> None:
        await self._store.copy(self._key, f"{self._key}-copy", if_match=self._etag)

    async def _put_with_conditions(self) -> None:
        with contextlib.suppress(PreconditionFailedError):
            await self._store.put(self._key, _CONTENT, if_none_match=True)
            raise StorageError(f"the store ignores If-None-Match: {_CONSEQUENCE}")
        with contextlib.suppress(PreconditionFailedError, ObjectNotFoundError):
            await self._store.put(self._key, _CONTENT, if_match=_OTHER_ETAG)
            raise StorageError(f"the store ignores If-Match: {_CONSEQUENCE}")
        await self._store.put(self._key, _CONTENT, if_match=self._etag)
        await self._store.put(f"{self._key}-new", _CONTENT, if_none_match=True)

    async def _delete(self) -> None:
        await self._store.delete_many([self._key, f"{self._key}-copy", f"{self._key}-new"])
        if [info.key async for page in self._store.pages(self._key) for info in page]:
            raise StorageError("the listing still has objects that were deleted")
