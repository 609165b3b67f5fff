"""Sends Kubernetes Events about sessions. Best effort: callers never wait, and repetitions are dropped."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sandbox_operator.errors import ApiError, NotLeadingError
from sandbox_operator.kube.resources import EVENTS
from sandbox_operator.manifests.event import build_event

if TYPE_CHECKING:
    from sandbox_operator.api.models import Session
    from sandbox_operator.kube.client import KubeApi, Object

_LOG: Final = logging.getLogger(__name__)
_MAX_QUEUED: Final = 1000
_MAX_RECENT: Final = 10_000
"""Events that are remembered, to drop repetitions."""
_REPEAT_AFTER: Final = 60.0
"""Seconds for which an equal Event is dropped."""


class EventRecorder:
    """Queues Events and sends them one by one."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._queue: asyncio.Queue[Object] = asyncio.Queue(_MAX_QUEUED)
        self._recent: dict[tuple[str, str, int], float] = {}

    def record(self, session: Session, reason: str, message: str, *, warning: bool = False) -> None:
        """Send an Event soon. It is dropped if an equal one was sent recently, or if too many are waiting."""
        now, key = time.monotonic(), (session.metadata.uid, reason, hash(message))
        if now - self._recent.get(key, float("-inf")) < _REPEAT_AFTER:
            return
        self._recent.pop(key, None)
        if len(self._recent) >= _MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        self._recent[key] = now
        try:
            self._queue.put_nowait(build_event(session, reason, message, warning=warning, now=datetime.now(UTC)))
        except asyncio.QueueFull:
            _LOG.warning("an Event was dropped, because %d are already waiting to be sent", _MAX_QUEUED)

    async def run(self) -> None:
        """Send queued Events until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._api.create(EVENTS, event["metadata"]["namespace"], event)
            except (ApiError, NotLeadingError) as error:
                _LOG.info("an Event could not be sent: %s", error)
