"""A workspace's looks at what others stored, one before each call that needs it: wires News to Freshness.

Errors: none gets out; the last one is kept for the workspace's status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_agent.storage.errors import translating
from sandbox_agent.storage.restore.freshness import Freshness, Looking
from sandbox_agent.storage.restore.news import News, Sight
from sandbox_link.protocol import OperationError
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_agent.storage.base_state import Knowledge, Parts
    from sandbox_agent.storage.knowing import Recollection


@dataclass(frozen=True, slots=True)
class Ways:
    """What looks need of a workspace.

    Attributes:
        known: What is known of storage; found out where nothing is.
        uploads: Paths that a push is writing just now; None: there is no push.
        bring: Brings what is new.
    """

    known: Callable[[], Awaitable[Knowledge]]
    uploads: Callable[[], frozenset[str] | None]
    bring: Callable[[], Awaitable[object]]


class Looks:
    """Looks of one workspace.

    Args:
        parts: Of the workspace.
        recollection: What is known of storage.
        ways: Into the workspace.
        interval: Seconds that a look is good for; 0: every call looks; negative: none does.

    Attributes:
        error: Of the last look; empty where it went well.
    """

    def __init__(self, parts: Parts, recollection: Recollection, ways: Ways, interval: float) -> None:
        self.error = ""
        self._parts = parts
        self._recollection = recollection
        self._ways = ways
        self._news = News(parts.store, parts.keys, parts.generations)
        self._sight: Sight | None = None
        self._freshness: Freshness | None = None
        if interval >= 0:
            looking = Looking(self._is_quiet, self._look, self._bring, self._failed, interval)
            self._freshness = Freshness(looking)

    @property
    def freshness(self) -> Freshness | None:
        """Decides which call looks; None: none does."""
        return self._freshness

    def _is_quiet(self) -> bool:
        return self._parts.store.is_quiet(self._parts.keys.prefix)

    async def _look(self) -> tuple[bool, bool]:
        with tracing.span("sandbox.look") as span:
            is_costly, is_news = await self._look_once()
            span.set("sandbox.news", is_news)
            return is_costly, is_news

    async def _look_once(self) -> tuple[bool, bool]:
        can_tell = await self._parts.store.attend(self._parts.keys.prefix)
        with translating():
            sight = self._sight = await self._news.look()
            knowledge = await self._ways.known()
            uploads = self._ways.uploads()
            is_news = await self._news.is_news(sight, knowledge, uploads)
        self.error = ""
        if not is_news and uploads is None and knowledge is self._recollection.knowledge:
            self._news.handled(sight)
        return sight.requests > 1 and not can_tell, is_news

    async def _bring(self) -> None:
        await self._ways.bring()
        if self._sight is not None:
            self._news.handled(self._sight)

    def _failed(self, error: Exception) -> None:
        told = f"{error.reason}: {error.message}" if isinstance(error, OperationError) else "INTERNAL: see the log"
        self.error = f"what others stored could not be looked for: {told}"
