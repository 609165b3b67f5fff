"""Distinguishes what an interrupted push left behind from what other writers have stored at the same paths since.

A push tags each object that it uploads with the generation that it makes. Until the commit, HEAD names the generation
before. An object with the tag of the next generation therefore comes from an interrupted push. An object with another
tag, or with none, belongs to another writer and is never replaced.

Errors: StorageError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_agent.storage.concurrency import for_each
from sandbox_agent.storage.errors import ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_agent.storage.backends.object_store import ObjectInfo, ObjectStore
    from sandbox_agent.storage.repository.head import Head, PreviousObject
    from sandbox_agent.storage.repository.keys import Keys


@dataclass(frozen=True, slots=True)
class Leftover:
    """A path as an interrupted push left it. An upload may replace the object there."""

    etag: str = ""
    """Empty if no object is there."""


class InterruptedPush:
    """The push that HEAD names as not committed. Without one, there are no leftovers.

    Args:
        store: The bucket.
        keys: The workspace's keys.
        head: HEAD.
        is_tagged: HEAD itself was read with its writer tag, so this store keeps tags.

    Attributes:
        undo: The push's undo journal by path.
        wrote_tags: All objects that the push uploaded have tags. True without an interrupted push.
    """

    def __init__(self, store: ObjectStore, keys: Keys, head: Head, *, is_tagged: bool) -> None:
        interrupted = head.interrupted
        self.undo: Mapping[str, PreviousObject] = interrupted.undo if interrupted else {}
        self.wrote_tags = interrupted is None or interrupted.writes_tags
        self._has_tags = interrupted is not None and interrupted.writes_tags and is_tagged
        self._generation = head.generation
        self._store = store
        self._keys = keys

    async def find_all(self, objects: Mapping[str, ObjectInfo]) -> tuple[dict[str, Leftover], set[str]]:
        """Return the push's leftovers by path, and the paths that other writers have changed since.

        Paths that are as they were before the push are in neither.

        Args:
            objects: All stored files by path.
        """
        # No push deletes a file before its commit: another writer removed what is missing.
        missing = {path for path, before in self.undo.items() if path not in objects and before.exists}
        leftovers = {} if self._has_tags else dict.fromkeys(missing, Leftover())
        foreign = missing if self._has_tags else set()

        async def find(path: str) -> None:
            leftover = await self.find(path)
            if leftover is None:
                foreign.add(path)
            elif leftover.etag != self.undo[path].etag:
                leftovers[path] = leftover

        differing = [
            path for path, before in self.undo.items() if path in objects and objects[path].etag != before.etag
        ]
        await for_each(differing, find)
        return leftovers, foreign

    async def find(self, path: str) -> Leftover | None:
        """Return what the push left at a path of `undo`, changed or not. Returns None if another writer changed it."""
        try:
            info = await self._store.stat(self._keys.of_file(path))
        except ObjectNotFoundError:
            return None if self._has_tags and self.undo[path].exists else Leftover()
        # Without tags every object counts as the push's: the store does not keep tags, or an older agent pushed.
        is_own = not self._has_tags or info.writer_tag is None or info.writer_tag == self._generation + 1
        return Leftover(info.etag) if is_own or info.etag == self.undo[path].etag else None
