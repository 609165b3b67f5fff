"""Renewals of storage credentials under way. No worker waits for a token service: the end brings the session back.

Nothing here must survive a crash: agents tell when their credentials end.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sandbox_operator.errors import AgentError, Blocked, OperatorError
from sandbox_operator.session.model import RenewalView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_operator.agent.client import AgentView
    from sandbox_operator.watch.work_queue import Key

_LOG: Final = logging.getLogger(__name__)


class Renewals:
    """The last renewal of each session."""

    def __init__(
        self, on_end: Callable[[Key], None], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._on_end, self._clock = on_end, clock
        self._views: dict[Key, RenewalView] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def get(self, key: Key, pod_uid: str) -> RenewalView | None:
        """How the last one for this pod went."""
        view = self._views.get(key)
        return view if view is not None and view.pod_uid == pod_uid else None

    def start(self, key: Key, pod_uid: str, call: Callable[[], Awaitable[AgentView]]) -> None:
        """Start one, unless one runs."""
        if key in self._tasks:
            return
        before = self.get(key, pod_uid) or RenewalView(pod_uid)
        self._views[key] = RenewalView(pod_uid, is_running=True, failures=before.failures, error=before.error)
        self._tasks[key] = asyncio.create_task(self._run(key, before, call), name=f"renew-{key[1]}-{key[2]}")

    def forget(self, key: Key) -> None:
        """Stop caring for a session that is gone."""
        self._views.pop(key, None)
        if task := self._tasks.pop(key, None):
            task.cancel()

    async def stop(self) -> None:
        """End all; the next leader finds out what is due."""
        tasks = list(self._tasks.values())
        for key in list(self._tasks):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, before: RenewalView, call: Callable[[], Awaitable[AgentView]]) -> None:
        try:
            agent = await call()
            error = "the store refuses these, too" if agent.needs_credentials else ""
        except OperatorError as failure:
            error = _describe(failure)
        except Exception as defect:  # noqa: BLE001 - else the session would seem to be renewed for ever
            _LOG.error("renewing credentials failed", exc_info=defect, extra={"key": "/".join(key)})
            error = "see the operator's log"
        self._tasks.pop(key, None)
        failures = before.failures + 1 if error else 0
        self._views[key] = RenewalView(before.pod_uid, failures=failures, error=error, ended=self._clock())
        self._on_end(key)


def _describe(failure: OperatorError) -> str:
    """The same for the same failure, so that telling it again is no news."""
    if isinstance(failure, Blocked):
        return str(failure)
    return f"the agent said {failure.reason}" if isinstance(failure, AgentError) else type(failure).__name__
