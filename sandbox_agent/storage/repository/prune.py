"""Deletes what no snapshot needs: backups of replaced objects, old manifests and files that a commit dropped.

Backups and manifests are deleted in the background after a commit. The next push, a drain and the end of the agent wait
for that. No lock is needed: every key names its generation, and only keys up to the committed generation are deleted.
A running push writes keys of the next generation.

Errors: StorageError. Failures in the background are logged, and a later push tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.concurrency import for_each
from sandbox_agent.storage.errors import ObjectNotFoundError, StorageError
from sandbox_agent.storage.repository.manifest import manifest_generation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.repository.head import CommitId, Head
    from sandbox_agent.storage.repository.keys import Keys

CLOSE_TIMEOUT: Final = 10.0
"""Seconds to wait for a deletion when the agent ends. The workspace's next agent deletes the rest."""

_log = logging.getLogger(__name__)


class Pruner:
    """Pruning of one workspace.

    Attributes:
        last_pruned: The last commit after which nothing was left to delete. None if this agent knows of none.
    """

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._task: asyncio.Task[None] | None = None
        self.last_pruned: CommitId | None = None

    def start(self, head: Head, known: Sequence[str] | None) -> None:
        """Start deleting what HEAD's snapshot does not need. An earlier deletion must have ended: call `wait` first.

        Args:
            head: The stored HEAD, or an older one.
            known: All keys to delete; None if they are not known and must be listed.
        """
        if known is not None and not known:
            self.last_pruned = head.commit
            return
        self.last_pruned = None
        self._task = asyncio.create_task(self._run(head, known))

    async def wait(self) -> None:
        """Wait for a running deletion, whether it succeeds or fails."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Wait for a running deletion, CLOSE_TIMEOUT at most, then cancel it."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def prune(self, head: Head, generation: int) -> None:
        """Delete every backup and manifest up to a generation that HEAD does not need.

        Args:
            head: The stored HEAD.
            generation: HEAD's generation. The next one is allowed only while this agent holds its lock.
        """
        obsolete = []
        async for page in self._store.pages(self._keys.backups):
            obsolete += [info.key for info in page if self._keys.read_backup(info.key)[0] <= generation]
        current = self._keys.of_manifest(head.manifest)
        async for page in self._store.pages(self._keys.of_manifest("manifest-")):
            for info in page:
                made = manifest_generation(info.key.removeprefix(self._keys.bookkeeping))
                if info.key != current and 0 < made <= generation:
                    obsolete.append(info.key)
        await self._store.delete_many(obsolete)

    async def delete_dropped(self, removed: Mapping[str, str], modified: float) -> None:
        """Delete the files that a commit dropped. A file that another writer wrote since is a new one and stays.

        Args:
            removed: Etags by path, from HEAD.
            modified: Unix time of the commit, by the store's clock.
        """
        obsolete: list[str] = []

        async def check(path: str) -> None:
            with contextlib.suppress(ObjectNotFoundError):
                info = await self._store.stat(self._keys.of_file(path))
                if info.etag == removed[path] and info.last_modified.timestamp() <= modified:
                    obsolete.append(info.key)

        await for_each(removed, check)
        await self._store.delete_many(obsolete)

    async def _run(self, head: Head, known: Sequence[str] | None) -> None:
        try:
            if known is None:
                await self.prune(head, head.generation)
            else:
                await self._store.delete_many(known)
        except StorageError as error:
            _log.warning("pruning after a push failed", extra={"error": str(error)})
        except Exception:  # noqa: BLE001 - nothing awaits this task, so a defect must be logged here
            _log.exception("pruning after a push failed")
        else:
            self.last_pruned = head.commit
