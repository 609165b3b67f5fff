"""The client in use and its successors: credentials change while requests run, and no request fails for that.

A request takes the connection of now and keeps it to its end; one that is replaced is closed when its last request has
ended. Where the store says that credentials are over, requests wait here for others: the operator brings them unasked,
and soon where it hears that they are needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.backends.s3.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sandbox_agent.storage.backends.s3.client import Connection, S3Settings
    from sandbox_agent.storage.concurrency import BoundedThreads

RENEWAL_WAIT: Final = 120.0
"""Seconds that a request waits for other credentials: an operator that has just started is there by then."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lease:
    """A connection, and what was seen of its credentials.

    Attributes:
        connection: The connection.
        requests: Under way.
        has_worked: The store took the credentials at least once.
    """

    connection: Connection
    requests: int = 0
    has_worked: bool = False


class Connections:
    """Connects when it is asked first and after each change of settings.

    Args:
        settings: Where to and with which credentials.
        threads: Connecting takes some milliseconds of a processor.
        wait: Seconds that a request waits for other credentials.
        clock: The time, to be compared with that of the credentials' end.
    """

    def __init__(
        self,
        settings: S3Settings,
        threads: BoundedThreads,
        wait: float = RENEWAL_WAIT,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self._threads, self._wait, self._clock = threads, wait, clock
        self._current: Lease | None = None
        self._old: list[Lease] = []
        self._connecting = asyncio.Lock()
        self._renewed = asyncio.Event()
        self._refused: S3Settings | None = None

    def renew(self, settings: S3Settings) -> None:
        """Use these from the next request on; requests under way end undisturbed, those that wait go on."""
        if settings == self.settings:
            return
        self.settings = settings
        self._renewed.set()
        self._renewed = asyncio.Event()

    @property
    def needs_renewal(self) -> bool:
        """Whether the store refused these credentials, or their time is over."""
        return self._refused == self.settings or self._is_over(self.settings)

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[Lease]:
        """The connection for one request."""
        lease = await self._lease()
        lease.requests += 1
        try:
            yield lease
        finally:
            lease.requests -= 1
            self._close_unused()

    async def replaced(self, refused: Lease) -> bool:
        """Wait for other credentials than those that the store just refused; whether they came.

        Credentials that never worked are wrong rather than over: nobody waits for others.
        """
        settings = refused.connection.settings
        if settings != self.settings:
            return True
        if self._refused != settings:
            _log.warning("storage refuses the credentials: others are needed")
        self._refused = settings
        if not refused.has_worked and not self._is_over(settings):
            return False
        try:
            async with asyncio.timeout(self._wait):
                await self._renewed.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close all; nothing may be under way."""
        for lease in (*self._old, self._current):
            if lease is not None:
                lease.connection.close()
        self._old, self._current = [], None

    async def _lease(self) -> Lease:
        async with self._connecting:
            settings = self.settings
            if self._current is None or self._current.connection.settings != settings:
                fresh = await self._threads.run(functools.partial(connect, settings))
                if self._current is not None:
                    self._old.append(self._current)
                self._current = Lease(fresh)
                self._close_unused()
            return self._current

    def _close_unused(self) -> None:
        for lease in [lease for lease in self._old if not lease.requests]:
            self._old.remove(lease)
            lease.connection.close()

    def _is_over(self, settings: S3Settings) -> bool:
        return settings.expires_at is not None and self._clock() >= settings.expires_at
