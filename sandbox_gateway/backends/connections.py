"""The open connections to sessions, shared by all callers of this gateway."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from sandbox_client import AsyncSandbox

IDLE_SECONDS: Final = 600.0


@dataclass(slots=True)
class _Entry:
    opening: asyncio.Task[AsyncSandbox]
    used_at: float


class Connections:
    """A cache of connections. For one event loop.

    A connection that is not used for some time is only forgotten. A stream that still runs holds it, and gRPC closes
    its channel after the last one.

    Args:
        idle_seconds: Time without use after which a connection is forgotten.
        clock: Returns the current time in seconds.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._idle_seconds = idle_seconds
        self._clock = clock

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: Hashable, open_: Callable[[], Awaitable[AsyncSandbox]]) -> AsyncSandbox:
        """Return the connection of a key. Callers at the same time share one attempt to open it.

        Args:
            key: The session, and whatever else makes a difference.
            open_: Opens it. Its error is raised and not kept.
        """
        now = self._clock()
        self._forget_idle(now)
        entry = self._entries.get(key)
        if entry is None:

            async def opening() -> AsyncSandbox:
                return await open_()

            entry = self._entries[key] = _Entry(asyncio.create_task(opening()), now)
            entry.opening.add_done_callback(lambda task: self._forget_failed(key, task))
        entry.used_at = now
        # A caller that goes away leaves the attempt to the others.
        return await asyncio.shield(entry.opening)

    async def drop(self, is_doomed: Callable[[Hashable], bool]) -> None:
        """Close the connections of some keys. Calls that use them fail."""
        doomed = [self._entries.pop(key) for key in [*self._entries] if is_doomed(key)]
        for entry in doomed:
            entry.opening.cancel()
        for result in await asyncio.gather(*(each.opening for each in doomed), return_exceptions=True):
            if not isinstance(result, BaseException):
                await result.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.drop(lambda _key: True)

    def _forget_failed(self, key: Hashable, opening: asyncio.Task[AsyncSandbox]) -> None:
        has_failed = opening.cancelled() or opening.exception() is not None
        if has_failed and key in self._entries and self._entries[key].opening is opening:
            del self._entries[key]

    def _forget_idle(self, now: float) -> None:
        for key, entry in [*self._entries.items()]:
            if entry.opening.done() and now - entry.used_at > self._idle_seconds:
                del self._entries[key]
