"""The interface that a workspace needs from an object store. `s3` and `directory` implement it.

Errors: StorageError; sandbox_agent.storage.errors describes its kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sandbox_agent.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The metadata of an object."""

    key: str
    size: int
    etag: str
    """Opaque. It changes with the content."""
    last_modified: datetime
    """By the store's clock."""
    writer_tag: int | None = None
    """The writer tag given to `put`; 0 without one. None if unknown, as in a listing. A copy may have its source's."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is being read."""

    info: ObjectInfo
    served_at: datetime
    """When the store answered, by its clock."""
    chunks: AsyncIterator[bytes]
    """Pieces of at most 1 MiB."""


class ObjectStore(Protocol):
    """A bucket. Every method raises StorageError. A cancelled call has fully ended when it returns."""

    @property
    def max_object_bytes(self) -> int:
        """The largest object that can be put."""
        ...

    def get(self, key: str) -> AbstractAsyncContextManager[StoredObject]:
        """Read an object.

        Raises:
            ObjectNotFoundError: The object does not exist.
        """
        ...

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterator[bytes],
        *,
        if_match: str = "",
        if_none_match: bool = False,
        writer_tag: int = 0,
    ) -> str:
        """Write an object, completely or not at all. An exception from iterating over the body ends the upload.

        Args:
            key: The key.
            body: The content.
            if_match: The etag that the object must have.
            if_none_match: The object must not exist.
            writer_tag: A number that `stat` returns: the generation of the push that writes the object.

        Returns:
            The new etag.

        Raises:
            PreconditionFailedError: The object does not meet a condition.
            ObjectNotFoundError: May be raised instead if `if_match` is set and the object does not exist.
            ObjectRefusedError: The store takes no object of that size or key.
        """
        ...

    async def stat(self, key: str) -> ObjectInfo:
        """Return the metadata of an object.

        Raises:
            ObjectNotFoundError: The object does not exist.
        """
        ...

    async def copy(self, source: str, destination: str, *, if_match: str = "", size: int | None = None) -> str:
        """Copy an object within the store and return the copy's etag.

        Args:
            source: The key of the source.
            destination: The key of the copy. After an error it may name an unusable object.
            if_match: The etag that the source must have.
            size: The size of the object with that etag, if known, which saves a request.

        Raises:
            ObjectNotFoundError: The source does not exist.
            PreconditionFailedError: The source does not have the etag `if_match`.
        """
        ...

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete objects. Ignores those that do not exist."""
        ...

    def pages(self, prefix: str, *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """Yield the objects whose key begins with `prefix`, sorted by the key's bytes, in pages of at most 1,000.

        Args:
            prefix: Any text.
            after: Yield only keys behind this one.
        """
        ...

    def is_unchanged(self, prefix: str) -> bool:
        """Return whether it is certain that nothing below a prefix changed since `start_watching`. Never blocks."""
        ...

    async def start_watching(self, prefix: str) -> bool:
        """Start watching a prefix, one per store. Returns True if `is_unchanged` can detect changes."""
        ...

    async def close(self) -> None:
        """Close connections and threads."""
        ...


async def read_all(stored: StoredObject, limit: int) -> bytes:
    """Read the whole content.

    Raises:
        StorageError: The content is longer than `limit` bytes.
    """
    content = bytearray()
    async for chunk in stored.chunks:
        content += chunk
        if len(content) > limit:
            raise StorageError(f"{stored.info.key} is larger than {limit} bytes")
    return bytes(content)
