"""The few operations that the administration of stored workspaces needs of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a store.

    Attributes:
        key: Its key.
        size: Its size in bytes.
        modified: The time of the last write, by the store's clock.
    """

    key: str
    size: int
    modified: dt.datetime


class Objects(Protocol):
    """A store. Every method blocks, and raises a SandboxError that names the store if it fails.

    Attributes:
        place: The store, as the caller wrote it.
    """

    place: str

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below a prefix, which is empty or ends with a slash."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose key begins with a prefix."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return an object's content, or None if there is no such object."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. Those that do not exist are no error."""
        ...

    def in_use(self, namespace: str) -> dict[str, str]:
        """Return the workspaces that programs of this machine hold, with a description of who holds them."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
