"""What an interrupted push left behind, told from what others stored under the same names since.

An object that a push uploads is marked with the generation which the push makes. HEAD's is lower until the commit, so
that a mark above it is an interrupted push's. All other marks, and none, are somebody's file, which nothing replaces.

Errors: StorageError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_agent.storage.object_store import ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_agent.storage.head import Before, Head
    from sandbox_agent.storage.names import Keys
    from sandbox_agent.storage.object_store import ObjectStore


class Leavings:
    """Of the push that HEAD says was interrupted; of none there are none.

    Attributes:
        undo: By path, what was there before that push.
    """

    def __init__(self, store: ObjectStore, keys: Keys, head: Head) -> None:
        interrupted = head.interrupted
        self.undo: Mapping[str, Before] = interrupted.undo if interrupted else {}
        self._is_marked = interrupted is not None and interrupted.is_marked
        self._generation = head.generation
        self._store = store
        self._keys = keys

    async def find(self, path: str) -> str | None:
        """The etag of what the push left at a path of `undo`, or left as it was; None where it is somebody else's.

        Empty where nothing is there.
        """
        try:
            info = await self._store.stat(self._keys.of_file(path))
        except ObjectNotFoundError:
            return ""
        # A store without marks cannot tell, and before there were any every object counted as the push's.
        is_left = not self._is_marked or info.push is None or info.push > self._generation
        return info.etag if is_left or info.etag == self.undo[path].etag else None
