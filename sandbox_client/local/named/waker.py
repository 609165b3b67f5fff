"""Resumes a suspended local session for a connected client, and follows a session that was started again.

transport/waker.py says when this happens.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sandbox_client.contexts import kept_variables_at
from sandbox_client.errors import NotFound, SandboxError, SandboxUnavailable
from sandbox_client.local.named.operations import find_ready
from sandbox_client.local.named.record import Phase
from sandbox_client.local.named.registry import Registry
from sandbox_client.local.named.reports import endpoint_of
from sandbox_client.models.saved_variables import RESUMED
from sandbox_client.transport.waker import BaseWaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.local.named.record import Record
    from sandbox_client.transport.endpoint import Endpoint

_log: Final = logging.getLogger(__name__)
_POLL: Final = 0.1


class LocalWaker(BaseWaker):
    """The route to one local session, renewed when the session is resumed. For one event loop.

    Args:
        record: A session that is Ready.
        timeout: Seconds that a wake may take while another program changes the session.
        on_phase: Called with a description of each step of a wake.
    """

    def __init__(self, record: Record, *, timeout: float, on_phase: Callable[[str], object]) -> None:
        super().__init__(endpoint_of(record))
        self._record = record
        self._timeout = timeout
        self._on_phase = on_phase

    async def _check(self, _previous: Endpoint, error: SandboxError | None) -> None:
        try:
            if error is not None and error.reason == "DRAINING":
                await self._wait_drained()
            record, _ = await find_ready(self._record.name, timeout=self._timeout, on_progress=self._on_phase)
        except NotFound as failure:
            raise self._over("it was deleted") from failure
        except SandboxError as failure:
            raise self._over(str(failure)) from failure
        if record.uid != self._record.uid:
            raise self._over("it was deleted, and its name now belongs to another session")
        if record.run != self._record.run:
            _log.info("%s was started again", record.address)
            self.on_notice(await wake_notice(endpoint_of(record)))
            self._record, self.endpoint = record, endpoint_of(record)

    async def _wait_drained(self) -> None:
        """Wait until the agent has saved everything and its session is suspended."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        while asyncio.get_running_loop().time() < deadline:
            if Registry().read(self._record.name).phase not in (Phase.READY, Phase.PENDING):
                return
            await asyncio.sleep(_POLL)

    def _over(self, why: str) -> SandboxUnavailable:
        return SandboxUnavailable(f"session {self._record.address} is over: {why}", reason="SESSION_OVER")


async def wake_notice(endpoint: Endpoint) -> str:
    """Return a text that says what a resumed session kept and lost."""
    variables = await kept_variables_at(endpoint)
    if variables is None:
        return f"{RESUMED}: its files were kept; variables and processes were lost"
    return f"{RESUMED}: its files were kept; processes were lost; {variables.describe()}"
