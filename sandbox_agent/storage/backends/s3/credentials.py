"""Replaces credentials while requests run, without making any request fail.

One client serves all credentials of a store: `renew` replaces them in place, and a refused request is made again with
the new ones. If the store says that credentials have expired, requests wait here. The operator sends new ones before
the old ones expire, or as soon as it learns that they are needed.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.backends.s3.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_agent.storage.backends.s3.client import Connection, S3Settings
    from sandbox_agent.storage.concurrency import BoundedThreads

RENEWAL_WAIT: Final = 120.0
"""Seconds that a request waits for new credentials, long enough for an operator that has just started."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lease:
    """A connection with one set of credentials.

    Attributes:
        connection: The connection.
        settings: The settings with these credentials.
        has_worked: The store has accepted the credentials at least once.
    """

    connection: Connection
    settings: S3Settings
    has_worked: bool = False


class Connections:
    """The connections of one store: one, or more if a renewal changes more than credentials.

    Args:
        settings: The location and the credentials.
        threads: Threads to connect in, which takes a few milliseconds of processor time.
        wait: Seconds that a request waits for new credentials.
        clock: The current time, to compare with the credentials' expiry.
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
        self._opened: list[Connection] = []
        self._connecting = asyncio.Lock()
        self._renewed = asyncio.Event()
        self._refused: S3Settings | None = None

    def renew(self, settings: S3Settings) -> None:
        """Use these settings from the next request on. Wakes the requests that wait for credentials."""
        if settings == self.settings:
            return
        self.settings = settings
        self._renewed.set()
        self._renewed = asyncio.Event()

    @property
    def needs_renewal(self) -> bool:
        """True if the store refused these credentials, or if they have expired."""
        return self._refused == self.settings or self._has_expired(self.settings)

    async def lease(self) -> Lease:
        """Return the connection for one request, with the current credentials."""
        async with self._connecting:
            settings = self.settings
            if self._current is None or self._current.settings != settings:
                self._current = Lease(await self._connect(settings), settings)
            return self._current

    async def wait_for_renewal(self, refused: Lease) -> bool:
        """Wait for credentials other than those that the store refused. Returns False if none came.

        Credentials that never worked are wrong, not expired, so nothing waits for others.
        """
        settings = refused.settings
        if settings != self.settings:
            return True
        if self._refused != settings:
            _log.warning("storage refuses the credentials: waiting for new ones from the operator")
        self._refused = settings
        if not refused.has_worked and not self._has_expired(settings):
            return False
        try:
            async with asyncio.timeout(self._wait):
                await self._renewed.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close all connections. No request may be in progress."""
        for connection in self._opened:
            connection.close()
        self._opened, self._current = [], None

    async def _connect(self, settings: S3Settings) -> Connection:
        if self._current is not None and self._current.connection.switch_to(settings):
            return self._current.connection
        connection = await self._threads.run(functools.partial(connect, settings))
        self._opened.append(connection)
        return connection

    def _has_expired(self, settings: S3Settings) -> bool:
        return settings.expires_at is not None and self._clock() >= settings.expires_at
