"""The agent's end of the link: connects to the runtime's socket, reconnects, and runs operations over it.

A runtime that breaks the protocol loses its connection: the calls on it fail with RUNTIME_UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox_link.client_connection import ClientConnection
from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from sandbox_link.client_call import ClientCall
    from sandbox_link.protocol import Runtime

EAGER_PAUSE: Final = 0.01
"""Seconds between two attempts to connect for the first time."""
EAGER_SECONDS: Final = 2.0
"""Seconds during which EAGER_PAUSE applies. The containers of a pod start in less time."""
FIRST_BACKOFF: Final = 0.05
LAST_BACKOFF: Final = 1.0
HELLO_TIMEOUT: Final = 10.0
GREET_TIMEOUT: Final = 60.0
LINK_TIMEOUT: Final = 5.0
"""Seconds that `open` waits for a link: longer than a runtime takes to restart."""

_log = logging.getLogger(__name__)


class Greeting(Protocol):
    """Runs on each new connection before anything else may use it (SessionGate.greet)."""

    def __call__(self, connection: Runtime, session_uid: str, *, restored: bool) -> Awaitable[None]:
        """Configure the runtime. An OperationError closes the connection, and the link connects again."""
        ...


class RuntimeLink:
    """A `protocol.Runtime` that outlives its connections.

    Args:
        path: The runtime's socket.
        timeout: Seconds that `open` waits for a link.

    Attributes:
        greet: Configures the runtime on a new connection. Set it before `start`.
    """

    def __init__(self, path: Path, timeout: float = LINK_TIMEOUT) -> None:
        self.greet: Greeting | None = None
        self._path = path
        self._timeout = timeout
        self._connection: ClientConnection | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def runtime_id(self) -> str:
        """Random id of this run of the runtime. Empty while there is no link."""
        return self._connection.hello.runtime_id if self._connection is not None else ""

    @property
    def can_stream(self) -> bool:
        """True if an operation may be offered a bulk stream now."""
        return self._connection is not None and self._connection.can_stream

    def start(self) -> None:
        """Connect and reconnect in the background until `close`."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Close the connection and do not reconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def open(self, op: str, arguments: dict[str, Any]) -> ClientCall:
        """Start an operation, as `protocol.Runtime.open` describes."""
        connection = await self._connected()
        return await connection.open(op, arguments)

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run an operation without data, as `protocol.Runtime.call` describes."""
        connection = await self._connected()
        return await connection.call(op, arguments)

    async def _connected(self) -> ClientConnection:
        if self._connection is not None and self._connection.is_lost:
            # The task in `_run` has not noticed yet.
            self._connection = None
            self._up.clear()
        if self._connection is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await self._up.wait()
        if self._connection is None:
            message = "the sandbox's runtime does not answer; it may be restarting: try again"
            raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message)
        return self._connection

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        eager_until, backoff = clock() + EAGER_SECONDS, FIRST_BACKOFF
        while True:
            start = clock()
            try:
                await self._serve_one_connection()
            except (OSError, TimeoutError, FrameError, OperationError) as error:
                _log.debug("no link to the runtime: %s", error)
            else:
                eager_until = 0.0
                # A runtime that hangs up each time must not keep this process busy.
                backoff = FIRST_BACKOFF if clock() - start > LAST_BACKOFF else backoff
            if clock() < eager_until:
                await asyncio.sleep(EAGER_PAUSE)
                continue
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF)

    async def _serve_one_connection(self) -> None:
        """Connect, greet, and serve until the connection is lost. Raises if it cannot connect or greet."""
        connection = await ClientConnection.dial(self._path)
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                hello = await connection.wait_for_hello()
            if self.greet is not None:
                async with asyncio.timeout(GREET_TIMEOUT):
                    await self.greet(connection, hello.session_uid, restored=hello.restored)
            self._connection = connection
            self._up.set()
            _log.info("linked to the runtime", extra={"runtime_id": hello.runtime_id})
            await connection.watch()
            reason = await connection.wait_until_lost()
            _log.warning("link to the runtime lost: %s", reason)
        finally:
            self._connection = None
            self._up.clear()
            connection.fail("the link was closed")
