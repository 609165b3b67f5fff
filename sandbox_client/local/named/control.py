"""The life of a local session that outlives this program: `info`, `suspend`, `resume`, `set_timeout` and `delete`."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

from sandbox_client.errors import SessionFailed
from sandbox_client.lifecycle.control import SessionControl
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_client.local.named import operations
from sandbox_client.local.named.record import Phase
from sandbox_client.local.named.registry import Registry

if TYPE_CHECKING:
    from sandbox_client.lifecycle.durations import Duration
    from sandbox_client.local.named.record import Record


class NamedControl(SessionControl):
    """Control of `local/NAME`."""

    def __init__(self, name: str) -> None:
        """Remember the session.

        Args:
            name: Its name, without `local/`.
        """
        self._name = name

    async def info(self) -> SessionInfo:
        """Return the session's state."""
        return info_of(Registry().read(self._name))

    async def suspend(self, timeout: float) -> None:  # noqa: ASYNC109 - the session is saved in any case
        """Suspend the session, and wait until it is suspended."""
        try:
            async with asyncio.timeout(timeout):
                await operations.suspend(self._name)
        except TimeoutError:
            message = f"session local/{self._name} was not suspended within {timeout:g} s: it is still being saved"
            raise SessionFailed(message, reason="NOT_READY") from None

    async def resume(self, expires: Duration | dt.datetime | None, timeout: float) -> None:  # noqa: ARG002, ASYNC109
        """Resume the session, and wait until it is Ready. Its own start has a time limit."""
        await operations.resume(self._name)
        if expires is not None:
            await self.set_timeout(expires)

    async def set_timeout(self, expires: Duration | dt.datetime | None) -> dt.datetime | None:
        """Move the end of the lifetime. None restores that of the start."""
        return info_of(await operations.set_expiry(self._name, expires)).expires_at

    async def delete(self) -> None:
        """Delete the session."""
        await operations.delete(self._name)


def info_of(record: Record) -> SessionInfo:
    """Return a session's state in the form of a cluster's."""
    run = record.run if record.phase is Phase.READY else None
    return SessionInfo(
        record.address,
        phase=str(record.phase),
        message=record.problem,
        workspace=record.name,
        egress=str(record.options.get("egress", "")),
        is_suspended=record.phase is Phase.SUSPENDED,
        created_at=_moment(record.created_at),
        started_at=_moment(run.started_at) if run else None,
        expires_at=_moment(run.expires_at) if run else None,
    )


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
