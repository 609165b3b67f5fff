"""Kubernetes Events, best effort: never waited for, bounded, and the same one at most once in a while."""

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
_WAITING: Final = 1000
_REPEAT: Final = 60.0


class EventRecorder:
    """Queues Events and sends them one by one."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._queue: asyncio.Queue[Object] = asyncio.Queue(_WAITING)
        self._recent: dict[tuple[str, str, str], float] = {}

    def record(self, session: Session, reason: str, message: str, *, warning: bool = False) -> None:
        """Send an Event soon; dropped where too many wait or the same was said just now."""
        now, key = time.monotonic(), (session.metadata.uid, reason, message)
        if now - self._recent.get(key, float("-inf")) < _REPEAT:
            return
        if len(self._recent) > _WAITING:
            self._recent = {key: at for key, at in self._recent.items() if now - at < _REPEAT}
        self._recent[key] = now
        try:
            self._queue.put_nowait(build_event(session, reason, message, warning=warning, now=datetime.now(UTC)))
        except asyncio.QueueFull:
            _LOG.warning("too many events wait, one is dropped")

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._api.create(EVENTS, event["metadata"]["namespace"], event)
            except (ApiError, NotLeadingError) as error:
                _LOG.info("event not sent: %s", error)
