"""Waking a session for a caller that was connected when it fell asleep, and finding one that went on elsewhere.

Nothing here runs before a call: a connection asks once it cannot reach its agent, or was refused by it. Calls that fail
at the same time share one look and one wake. What is decided is in wake_policy.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.sessions import describe_failure, is_ready
from sandbox_client.cluster.wake_policy import Standing, is_ending, judge, life_of
from sandbox_client.contexts import AsyncContexts
from sandbox_client.errors import NotFound, SandboxError, SandboxUnavailable, SessionFailed
from sandbox_client.models.saved_variables import MOVED, SLEPT, describe_wake
from sandbox_client.transport.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_client.cluster.sessions import Cluster
    from sandbox_client.transport.endpoint import Endpoint

_log: Final = logging.getLogger(__name__)
_LOOK: Final = 5.0
"""Seconds that a look may take: the network to the API server may be away with the one to the session."""


class Waker:
    """The way to one session of a cluster, renewed when the session sleeps or moves. For one event loop.

    Attributes:
        endpoint: Where the session answered last.
        on_notice: Told what a wake has lost and kept, before the call goes on.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        endpoint: Endpoint,
        route: contextlib.AsyncExitStack,
        *,
        timeout: float,
        on_phase: Callable[[str], object],
    ) -> None:
        """Take over a connection of `Cluster.connect`.

        Args:
            cluster: Where the session is.
            name: The session.
            endpoint: Where it answers now.
            route: What ends the way there.
            timeout: Seconds that a wake may take.
            on_phase: Told each phase that the session goes through then.
        """
        self.endpoint = endpoint
        self.on_notice: Callable[[str], object] = _log.info
        self._cluster = cluster
        self._name = name
        self._timeout = timeout
        self._on_phase = on_phase
        self._route = route
        # Others may still use the way before this one: it ends with the next.
        self._retired = contextlib.AsyncExitStack()
        self._work: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        cluster: Cluster,
        name: str,
        session: Mapping[str, Any] | None = None,
        *,
        timeout: float,  # noqa: ASYNC109 - it is kept for later
        on_phase: Callable[[str], object],
    ) -> Waker:
        """Connect to a session that is Ready. Args are those of the class and of `Cluster.connect`, as are errors."""
        endpoint, route = await cluster.connect(name, session)
        return cls(cluster, name, endpoint, route, timeout=timeout, on_phase=on_phase)

    async def revive(self, held: Endpoint, error: SandboxError | None = None) -> Endpoint | None:
        """Where the session answers instead, once it does; None: it is where it was, or it is over.

        Args:
            held: Where it did not take the call.
            error: How its agent refused the call; None: nobody answered.

        Raises:
            SessionFailed: It slept and could not be woken; the message says why.
            SandboxUnavailable: Nobody answered and nobody will: the session is over.
        """
        if self.endpoint is held:
            if self._work is None or self._work.done():
                self._work = asyncio.create_task(self._look(held, error))
                # Whoever waited for it may have gone away.
                self._work.add_done_callback(lambda work: work.cancelled() or work.exception())
            await asyncio.shield(self._work)
        return None if self.endpoint is held else self.endpoint

    async def close(self) -> None:
        """End what is under way, and the way to the session."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        async with self._retired, self._route:
            pass

    async def _look(self, held: Endpoint, error: SandboxError | None) -> None:
        try:
            async with asyncio.timeout(_LOOK):
                session = await self._cluster.get(self._name, seconds=_LOOK)
        except NotFound as failure:
            if error is None and failure.reason == "NOT_FOUND":
                raise self._over("it was deleted") from None
            return
        except (SandboxError, TimeoutError) as failure:
            # The caller's own error says more: it may be that nobody lets this client ask.
            _log.debug("session %s cannot be looked at: %s", self._name, failure)
            return
        standing = judge(session, held.life)
        if standing is Standing.ASLEEP:
            await self._wake(held)
        elif standing is Standing.OVER and error is None:
            is_another = life_of(session).session_uid != held.life.session_uid
            raise self._over("it was deleted, this is another one" if is_another else describe_failure(session))
        elif standing is Standing.ELSEWHERE or (standing is Standing.SAME and is_ending(error)):
            try:
                await self._go_on(held, MOVED)
            except SandboxError as failure:
                _log.debug("session %s does not go on: %s", self._name, failure)

    def _over(self, why: str) -> SandboxUnavailable:
        # Of a refused call the agent's own error says more.
        return SandboxUnavailable(f"session {self._name} is over: {why}", reason="SESSION_OVER")

    async def _wake(self, held: Endpoint) -> None:
        _log.info("session %s sleeps and is woken", self._name)
        try:
            await self._cluster.suspend(self._name, is_suspended=False)
            await self._go_on(held, SLEPT)
        except SandboxError as error:
            raise SessionFailed(
                f"session {self._name} slept and could not be woken: {error}", reason="NOT_READY"
            ) from error

    async def _go_on(self, held: Endpoint, what_happened: str) -> None:
        """Wait for the session in another pod, and connect to that."""

        def is_elsewhere(session: Mapping[str, Any]) -> bool:
            # A status that is still the old one says Ready, too.
            return is_ready(session) and life_of(session) != held.life

        def is_over(session: Mapping[str, Any]) -> bool:
            return is_elsewhere(session) or judge(session, held.life) in {Standing.OVER, Standing.ENDING}

        session = await self._cluster.wait_for(self._name, is_over, timeout=self._timeout, on_phase=self._on_phase)
        if not is_elsewhere(session):
            why = describe_failure(session)
            raise SessionFailed(f"it was not Ready again in {self._timeout:g} s: {why}", reason="NOT_READY")
        endpoint, route = await self._cluster.connect(self._name, session)
        retired, self._retired, self._route = self._retired, self._route, route
        self.on_notice(await _notice(endpoint, what_happened))
        self.endpoint = endpoint
        await retired.aclose()


async def _notice(endpoint: Endpoint, what_happened: str) -> str:
    connection = Connection(endpoint)
    try:
        variables = await AsyncContexts(connection).kept_variables()
    except SandboxError:
        # What cannot be asked just now is no reason not to go on.
        variables = None
    finally:
        await connection.close()
    return describe_wake(variables, what_happened)
