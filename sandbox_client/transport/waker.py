"""The base of both wakers: calls that fail at the same time share one check of the session, and one wake.

Nothing here runs before a call. A connection calls it only after it could not reach its agent, or after the agent
refused a call.
"""

from __future__ import annotations

import abc
import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.errors import SandboxError
    from sandbox_client.transport.endpoint import Endpoint

_log: Final = logging.getLogger(__name__)


class BaseWaker(abc.ABC):
    """The route to one session, renewed when the session is resumed or moves. For one event loop.

    Args:
        endpoint: The session's current endpoint.

    Attributes:
        endpoint: The last known endpoint of the session.
        on_notice: Called with a text that says what a wake kept and lost, before the call continues.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.on_notice: Callable[[str], object] = _log.info
        self._work: asyncio.Task[None] | None = None

    async def revive(self, previous: Endpoint, error: SandboxError | None = None) -> Endpoint | None:
        """Wait for the session's new endpoint and return it.

        Args:
            previous: The endpoint that did not accept the call.
            error: The agent's refusal. None if the agent did not answer.

        Returns:
            The new endpoint, or None if the session has not moved or is over.

        Raises:
            SessionFailed: The session was suspended and could not be resumed. The message says why.
            SandboxUnavailable: The agent did not answer because the session is over.
        """
        if self.endpoint is previous:
            if self._work is None or self._work.done():
                self._work = asyncio.create_task(self._check(previous, error))
                # Retrieve its error even if every caller was cancelled meanwhile.
                self._work.add_done_callback(lambda work: work.cancelled() or work.exception())
            await asyncio.shield(self._work)
        return None if self.endpoint is previous else self.endpoint

    async def close(self) -> None:
        """Cancel a check or wake in progress."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    @abc.abstractmethod
    async def _check(self, previous: Endpoint, error: SandboxError | None) -> None:
        """Find out what became of the session, resume it if it is suspended, and set `endpoint` if it has moved."""
