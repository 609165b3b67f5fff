"""What an interrupted push left behind, told from what others stored under the same names since.

An object that a push uploads is marked with the generation which the push makes. HEAD's is the one before until the
commit, so that the next one's mark is an interrupted push's. All other marks, and none, are somebody's file, which
nothing replaces.

Errors: StorageError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_agent.storage.backends.object_store import ObjectNotFoundError
from sandbox_agent.storage.progress import for_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_agent.storage.backends.object_store import ObjectInfo, ObjectStore
    from sandbox_agent.storage.repository.head import Before, Head
    from sandbox_agent.storage.repository.keys import Keys


class Leavings:
    """Of the push that HEAD says was interrupted; of none there are none.

    Args:
        store: The bucket.
        keys: Where in it.
        head: HEAD.
        is_marked: HEAD itself was read with its mark: this store keeps marks.

    Attributes:
        undo: By path, what was there before that push.
        can_tell: All that may be left by it has marks.
    """

    def __init__(self, store: ObjectStore, keys: Keys, head: Head, *, is_marked: bool) -> None:
        interrupted = head.interrupted
        self.undo: Mapping[str, Before] = interrupted.undo if interrupted else {}
        self.can_tell = interrupted is None or interrupted.is_marked
        self._is_marked = interrupted is not None and interrupted.is_marked and is_marked
        self._generation = head.generation
        self._store = store
        self._keys = keys

    async def tell_apart(self, objects: Mapping[str, ObjectInfo]) -> tuple[dict[str, str], set[str]]:
        """What differs from before that push: etags of what it left, by path, and the paths of what is others'.

        Args:
            objects: All files that are stored, by path.
        """
        # No push deletes before its commit: what is gone was removed by somebody.
        gone = {path for path, before in self.undo.items() if path not in objects and before.etag}
        left = {} if self._is_marked else dict.fromkeys(gone, "")
        foreign = gone if self._is_marked else set()

        async def look(path: str) -> None:
            etag = await self.find(path)
            if etag is None:
                foreign.add(path)
            elif etag != self.undo[path].etag:
                left[path] = etag

        differing = [
            path for path, before in self.undo.items() if path in objects and objects[path].etag != before.etag
        ]
        await for_each(differing, look)
        return left, foreign

    async def find(self, path: str) -> str | None:
        """The etag of what the push left at a path of `undo`, or left as it was; None where somebody else was there.

        Empty where nothing is there, and nobody removed it.
        """
        try:
            info = await self._store.stat(self._keys.of_file(path))
        except ObjectNotFoundError:
            return None if self._is_marked and self.undo[path].etag else ""
        # A store without marks cannot tell, and before there were any every object counted as the push's.
        is_left = not self._is_marked or info.push is None or info.push == self._generation + 1
        return info.etag if is_left or info.etag == self.undo[path].etag else None
