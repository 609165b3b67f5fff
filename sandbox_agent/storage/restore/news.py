"""What others put into a workspace's prefix since this sandbox last looked: one listing, compared with what is known.

A plain S3 client leaves no trace but its objects, so it is their etags that are compared; another session's push also
moves HEAD.

Errors: StorageError, ManifestError.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.repository.keys import NameRefusedError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.base_state import Knowledge
    from sandbox_agent.storage.repository.keys import Keys
    from sandbox_agent.storage.repository.repository import Generations

_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw."""

    digest: bytes
    """Of every key and etag."""
    head_etag: str
    etags: Mapping[str, str]
    """By path; names that are refused are left out."""
    requests: int


class News:
    """Looks at one workspace's prefix."""

    def __init__(self, store: ObjectStore, keys: Keys, generations: Generations) -> None:
        self._store = store
        self._keys = keys
        self._generations = generations
        self._handled = b""
        self._known_head = ""

    async def look(self) -> Sight:
        """List the prefix: HEAD and the files together."""
        digest = hashlib.blake2b(digest_size=16)
        head_etag, etags, requests = "", {}, 0
        async for page in self._store.pages(self._keys.prefix):
            requests += 1
            for info in page:
                if info.key == self._keys.head:
                    head_etag = info.etag
                elif not info.key.startswith(self._keys.files) or info.key.endswith("/"):
                    continue
                else:
                    try:
                        etags[self._keys.path_of(info.key)] = info.etag
                    except NameRefusedError:
                        continue
                digest.update(f"{info.key}\0{info.etag}\0".encode("utf-8", "surrogateescape"))
        return Sight(digest.digest(), head_etag, etags, requests)

    async def is_news(self, sight: Sight, knowledge: Knowledge, ours: Container[str] | None = None) -> bool:
        """Whether somebody else wrote what was seen.

        Args:
            sight: From `look`.
            knowledge: What this sandbox knows to be stored.
            ours: Paths that a push of this sandbox is writing just now; None: there is no push.
        """
        if sight.digest == self._handled:
            return False
        known = knowledge.entries
        for path, etag in sight.etags.items():
            entry = known.get(path)
            if (entry is None or entry.etag != etag) and path not in (ours if ours is not None else _NOBODY):
                return True
        return ours is None and sight.head_etag != self._known_head and await self._is_other_commit(sight, knowledge)

    def handled(self, sight: Sight) -> None:
        """All that was seen is here by now, or cannot be."""
        self._handled, self._known_head = sight.digest, sight.head_etag

    async def _is_other_commit(self, sight: Sight, knowledge: Knowledge) -> bool:
        """HEAD also moves without a new commit: by a push's claim, or when it is released."""
        if not sight.head_etag:
            return False
        state = await self._generations.read_head()
        return state.head.commit != knowledge.commit
