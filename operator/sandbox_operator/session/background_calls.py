"""Drain calls under way. A push may take minutes, so no worker waits: its end puts the session back on the queue.

Nothing here must survive a crash: Drain is idempotent and the agent remembers that it drained.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox_operator.errors import AgentError, NotLeadingError
from sandbox_operator.session.model import DrainView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_operator.watch.work_queue import Key


class Drains:
    """The last Drain of each session."""

    def __init__(self, on_end: Callable[[Key], None]) -> None:
        self._on_end = on_end
        self._views: dict[Key, DrainView] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def get(self, key: Key) -> DrainView | None:
        """How the last drain went."""
        return self._views.get(key)

    def start(self, key: Key, pod_uid: str, call: Callable[[], Awaitable[object]]) -> None:
        """Start a drain, unless one runs."""
        if key not in self._tasks:
            self._views[key] = DrainView(pod_uid, is_running=True)
            self._tasks[key] = asyncio.create_task(self._run(key, pod_uid, call), name=f"drain-{key[1]}-{key[2]}")

    def forget(self, key: Key) -> None:
        """Stop caring for a session that is gone."""
        self._views.pop(key, None)
        if task := self._tasks.pop(key, None):
            task.cancel()

    async def stop(self) -> None:
        """End all calls; the next leader repeats them."""
        tasks = list(self._tasks.values())
        for key in list(self._tasks):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, pod_uid: str, call: Callable[[], Awaitable[object]]) -> None:
        error = ""
        try:
            await call()
        except AgentError as failure:
            error = f"{failure.reason}: {failure}"
        except NotLeadingError:
            error = "this replica leads no more"
        self._tasks.pop(key, None)
        self._views[key] = DrainView(pod_uid, is_running=False, error=error, ended=datetime.now(UTC))
        self._on_end(key)
