"""What a workspace needs of a bucket. Implementations: s3_store, directory_store.

Errors: StorageError; sandbox_agent.storage.errors describes its kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sandbox_agent.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

PART_SIZE: Final = 16 << 20
"""Bytes of a part of a large upload."""
TRANSFERS: Final = 16
"""Requests at a time."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object."""

    key: str
    size: int
    etag: str
    """Opaque; another one for another content."""
    last_modified: datetime
    """By the store's clock."""
    push: int | None = None
    """As `put` was told it, 0 where it was not; None: not known, as in a listing. A copy may have its source's."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is being read."""

    info: ObjectInfo
    served_at: datetime
    """When the answer was given, by the store's clock."""
    chunks: AsyncIterator[bytes]
    """At most 1 MiB each."""


class ObjectStore(Protocol):
    """A bucket. Every method raises StorageError; a call that is cancelled has ended in every sense when it returns."""

    def get(self, key: str) -> AbstractAsyncContextManager[StoredObject]:
        """Read an object.

        Raises:
            ObjectNotFoundError: There is none.
        """
        ...

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterator[bytes],
        *,
        if_match: str = "",
        if_none_match: bool = False,
        push: int = 0,
    ) -> str:
        """Write an object; it is there as a whole or not at all. What iterating raises ends the upload.

        Args:
            key: Where.
            body: The content.
            if_match: The etag that the object must have.
            if_none_match: There must be none.
            push: Marks the object, for `stat`: the generation of the push that writes it.

        Returns:
            The new etag.

        Raises:
            PreconditionFailedError: A condition does not hold.
            ObjectNotFoundError: Perhaps instead of it, where there is no object that could have the etag.
        """
        ...

    async def stat(self, key: str) -> ObjectInfo:
        """What is known of an object.

        Raises:
            ObjectNotFoundError: There is none.
        """
        ...

    async def copy(self, source: str, destination: str, *, if_match: str = "", size: int | None = None) -> str:
        """Copy an object within the store; the copy's etag.

        Args:
            source: What.
            destination: Where to; what is there after an error is nobody's.
            if_match: The etag that the source must have.
            size: Bytes of an object with that etag, where they are known: that saves a request.

        Raises:
            ObjectNotFoundError: There is no source.
            PreconditionFailedError: The source does not have the etag `if_match`.
        """
        ...

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        ...

    def pages(self, prefix: str, *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """Objects whose key begins with `prefix`, sorted by their key's bytes, in pages of at most 1,000.

        Args:
            prefix: Any text.
            after: Only keys behind this one.
        """
        ...

    def is_quiet(self, prefix: str) -> bool:
        """Whether surely nothing below a prefix changed since `attend` was called for it. Never blocks."""
        ...

    async def attend(self, prefix: str) -> bool:
        """Watch a prefix from now on; whether `is_quiet` can say so. One prefix a store."""
        ...

    async def close(self) -> None:
        """Give up connections and threads."""
        ...


async def read_all(stored: StoredObject, limit: int) -> bytes:
    """The whole content.

    Raises:
        StorageError: It is longer than `limit` bytes.
    """
    content = bytearray()
    async for chunk in stored.chunks:
        content += chunk
        if len(content) > limit:
            raise StorageError(f"{stored.info.key} is larger than {limit} bytes")
    return bytes(content)
