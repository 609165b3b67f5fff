"""An object store that fails on purpose."""

# ruff: noqa: D102 - ObjectStore documents its methods
from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, TypeVar

from sandbox_agent.storage.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from sandbox_agent.storage.backends.object_store import ObjectInfo, ObjectStore, StoredObject

_T = TypeVar("_T")


class Fault(enum.Enum):
    """The kinds of failure."""

    BEFORE = "before"
    """The request does not reach the store."""
    AFTER = "after"
    """The store executes the request, but its answer is lost."""


class FaultyStore:
    """An `ObjectStore` that works until its n-th call, and then fails until `heal`.

    Args:
        store: The real store.
        calls: The number of calls that succeed; None for all.
        fault: The failure of the next call. Every later one fails before it reaches the store.
        only: The name of a method. Only its calls are counted, and only they fail.

    Attributes:
        count: The number of calls so far.
        log: The name and first key of every call.
    """

    def __init__(
        self, store: ObjectStore, calls: int | None = None, fault: Fault = Fault.BEFORE, *, only: str = ""
    ) -> None:
        self._store = store
        self._calls = calls
        self._fault = fault
        self._only = only
        self.count = 0
        self.log: list[tuple[str, str]] = []

    @property
    def max_object_bytes(self) -> int:
        return self._store.max_object_bytes

    def fail_after(self, calls: int | None, fault: Fault = Fault.BEFORE, *, only: str = "") -> None:
        """Start counting again."""
        self._calls, self._fault, self._only, self.count = calls, fault, only, 0
        self.log.clear()

    def heal(self) -> None:
        """Make every call succeed again."""
        self.fail_after(None)

    @contextlib.asynccontextmanager
    async def get(self, key: str) -> AsyncIterator[StoredObject]:
        self._begin("get", key)
        async with self._store.get(key) as stored:
            yield stored

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterator[bytes],
        *,
        if_match: str = "",
        if_none_match: bool = False,
        writer_tag: int = 0,
    ) -> str:
        return await self._do(
            "put",
            key,
            lambda: self._store.put(key, body, if_match=if_match, if_none_match=if_none_match, writer_tag=writer_tag),
        )

    async def stat(self, key: str) -> ObjectInfo:
        return await self._do("stat", key, lambda: self._store.stat(key))

    async def copy(self, source: str, destination: str, *, if_match: str = "", size: int | None = None) -> str:
        return await self._do(
            "copy", source, lambda: self._store.copy(source, destination, if_match=if_match, size=size)
        )

    async def delete_many(self, keys: Sequence[str]) -> None:
        if keys:
            await self._do("delete_many", keys[0], lambda: self._store.delete_many(keys))

    async def pages(self, prefix: str, *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        self._begin("pages", prefix)
        async for page in self._store.pages(prefix, after=after):
            yield page

    def is_unchanged(self, prefix: str) -> bool:
        return self._store.is_unchanged(prefix)

    async def start_watching(self, prefix: str) -> bool:
        return await self._store.start_watching(prefix)

    async def close(self) -> None:
        await self._store.close()

    def _begin(self, name: str, key: str) -> bool:
        """Count a call. Returns True if its answer must be lost."""
        self.log.append((name, key))
        if self._only and name != self._only:
            return False
        self.count += 1
        if self._calls is None or self.count <= self._calls:
            return False
        if self._fault is Fault.AFTER and self.count == self._calls + 1 and name in {"put", "copy", "delete_many"}:
            return True
        raise StorageUnavailableError(f"{name} number {self.count} fails on purpose")

    async def _do(self, name: str, key: str, work: Callable[[], Awaitable[_T]]) -> _T:
        is_lost = self._begin(name, key)
        result = await work()
        if is_lost:
            raise StorageUnavailableError(f"the answer to {name} number {self.count} is lost on purpose")
        return result
