"""What no generation needs any more: copies of what pushes replaced, and old manifests. It is removed behind a commit.

Nothing waits for that but the next push and the end. No claim is needed, since every key tells its generation: only
those up to the committed one are removed, and whoever pushes makes keys of the next.

Errors: StorageError, from `collect` alone; what fails in the background is logged and left to a later push.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.backends.object_store import StorageError
from sandbox_agent.storage.repository.manifest import manifest_generation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.repository.head import Head
    from sandbox_agent.storage.repository.keys import Keys

END_PATIENCE: Final = 10.0
"""Seconds that the end of the agent waits for a removal: what is left is found by the workspace's next agent."""

_log = logging.getLogger(__name__)


class Garbage:
    """The garbage of one workspace.

    Attributes:
        tidy: The commit behind which this agent left nothing; None: it does not know of one.
    """

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._task: asyncio.Task[None] | None = None
        self.tidy: tuple[int, str, str] | None = None

    def remove(self, head: Head, known: Sequence[str] | None) -> None:
        """Remove in the background what HEAD's generation does not need; `settle` first.

        Args:
            head: As it is stored, or an older one.
            known: Keys of all that there is; None where that has to be found out.
        """
        if known is not None and not known:
            self.tidy = head.commit
            return
        self.tidy = None
        self._task = asyncio.create_task(self._remove(head, known))

    async def settle(self) -> None:
        """Wait for a removal that is under way, however it ends."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Wait for the same, but not for ever."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=END_PATIENCE)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def collect(self, head: Head, generation: int) -> None:
        """Remove whatever HEAD does not need, of generations up to this one.

        Args:
            head: As it is stored.
            generation: HEAD's; the next one only while that is claimed.
        """
        garbage = []
        async for page in self._store.pages(self._keys.previous):
            garbage += [info.key for info in page if self._keys.previous_of(info.key)[0] <= generation]
        current = self._keys.of_manifest(head.manifest)
        async for page in self._store.pages(self._keys.of_manifest("manifest-")):
            for info in page:
                made = manifest_generation(info.key.removeprefix(self._keys.bookkeeping))
                if info.key != current and 0 < made <= generation:
                    garbage.append(info.key)
        await self._store.delete_many(garbage)

    async def _remove(self, head: Head, known: Sequence[str] | None) -> None:
        try:
            if known is None:
                await self.collect(head, head.generation)
            else:
                await self._store.delete_many(known)
        except StorageError as error:
            _log.warning("cleaning up behind a push failed", extra={"error": str(error)})
        except Exception:  # noqa: BLE001 - a defect of ours must not go unseen: nobody awaits this
            _log.exception("cleaning up behind a push failed")
        else:
            self.tidy = head.commit
