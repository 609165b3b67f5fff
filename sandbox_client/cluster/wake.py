"""Resumes a suspended session for a connected client, and follows a session that moved to another pod.

transport/waker.py says when this happens. wake_policy.py makes the decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox_client.cluster.client import ClusterControl
from sandbox_client.cluster.sessions import describe_failure, is_ready
from sandbox_client.cluster.start_policy import UNSCHEDULABLE, StartWatch, describe_with_advice
from sandbox_client.cluster.wake_policy import SessionFate, fate_of, is_draining, life_of
from sandbox_client.contexts import kept_variables_at
from sandbox_client.errors import NotFound, SandboxError, SandboxUnavailable, SessionFailed
from sandbox_client.models.saved_variables import MOVED, RESUMED, describe_wake
from sandbox_client.transport.waker import BaseWaker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_client.cluster.sessions import SessionApi
    from sandbox_client.transport.endpoint import Endpoint

_log: Final = logging.getLogger(__name__)
_CHECK_TIMEOUT: Final = 5.0
"""Seconds to wait for the session's state. The network to the API server may be down together with the session's."""


class Waker(BaseWaker):
    """The route to one session of a cluster, renewed when the session is resumed or moves. For one event loop.

    Attributes:
        control: Suspends, resumes and deletes the session.
    """

    def __init__(
        self,
        sessions: SessionApi,
        name: str,
        endpoint: Endpoint,
        route: contextlib.AsyncExitStack,
        *,
        timeout: float,
        on_phase: Callable[[str], object],
    ) -> None:
        """Take over a connection of `SessionApi.connect`.

        Args:
            sessions: The sessions of its namespace.
            name: The session's name.
            endpoint: The session's current endpoint.
            route: Closes the route to the endpoint.
            timeout: Seconds that a wake may take.
            on_phase: Called with each phase of the session during a wake.
        """
        super().__init__(endpoint)
        self.control = ClusterControl(sessions, name)
        self._sessions = sessions
        self._name = name
        self._timeout = timeout
        self._on_phase = on_phase
        self._route = route
        # Calls may still use the previous route, so the next renewal closes it.
        self._retired = contextlib.AsyncExitStack()

    @classmethod
    async def open(
        cls,
        sessions: SessionApi,
        name: str,
        session: Mapping[str, Any] | None = None,
        *,
        timeout: float,  # noqa: ASYNC109 - it is kept for later
        on_phase: Callable[[str], object],
    ) -> Self:
        """Connect to a session that is Ready. Arguments and errors as for the class and `SessionApi.connect`."""
        endpoint, route = await sessions.connect(name, session)
        return cls(sessions, name, endpoint, route, timeout=timeout, on_phase=on_phase)

    async def close(self) -> None:
        """Cancel a check or wake in progress, and close the route to the session."""
        await super().close()
        async with self._retired, self._route:
            pass

    async def _check(self, previous: Endpoint, error: SandboxError | None) -> None:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                session = await self._sessions.get(self._name, seconds=_CHECK_TIMEOUT)
        except NotFound as failure:
            if error is None and failure.reason == "NOT_FOUND":
                raise self._over("it was deleted") from None
            return
        except (SandboxError, TimeoutError) as failure:
            # The caller's own error says more. This client may simply lack permission to read sessions.
            _log.debug("session %s cannot be read: %s", self._name, failure)
            return
        fate = fate_of(session, previous.life)
        if fate is SessionFate.SUSPENDED:
            await self._wake(previous)
        elif fate is SessionFate.OVER and error is None:
            is_another = life_of(session).session_uid != previous.life.session_uid
            reason = "it was deleted, and its name now belongs to another session"
            raise self._over(reason if is_another else describe_failure(session))
        elif fate is SessionFate.MOVED or (fate is SessionFate.UNCHANGED and is_draining(error)):
            try:
                await self._follow(previous, MOVED)
            except SandboxError as failure:
                _log.debug("session %s is not available in another pod: %s", self._name, failure)

    def _over(self, why: str) -> SandboxUnavailable:
        # Only for calls without an answer: after a refusal, the agent's own error says more.
        return SandboxUnavailable(f"session {self._name} is over: {why}", reason="SESSION_OVER")

    async def _wake(self, previous: Endpoint) -> None:
        _log.info("session %s is suspended: resuming it", self._name)
        try:
            await self._resume()
            await self._follow(previous, RESUMED)
        except SandboxError as error:
            raise SessionFailed(
                f"session {self._name} was suspended and could not be resumed: {error}", reason="NOT_READY"
            ) from error

    async def _resume(self) -> None:
        await self._sessions.suspend(self._name, is_suspended=False)

    async def _follow(self, previous: Endpoint, what_happened: str) -> None:
        """Wait until the session is Ready in another pod, and connect to that pod."""

        def has_moved(session: Mapping[str, Any]) -> bool:
            # The status may still be the old one, which says Ready too.
            return is_ready(session) and life_of(session) != previous.life

        def is_done(session: Mapping[str, Any]) -> bool:
            return has_moved(session) or fate_of(session, previous.life) in {SessionFate.OVER, SessionFate.ENDING}

        problems = StartWatch()
        # A node may still come.
        problems.excuse(UNSCHEDULABLE)
        session = await self._sessions.wait_for(
            self._name, is_done, timeout=self._timeout, on_phase=self._on_phase, give_up_at=problems.give_up_at
        )
        if not has_moved(session):
            raise SessionFailed(describe_with_advice(self._name, session), reason="NOT_READY")
        endpoint, route = await self._sessions.connect(self._name, session)
        retired, self._retired, self._route = self._retired, self._route, route
        self.on_notice(describe_wake(await kept_variables_at(endpoint), what_happened))
        self.endpoint = endpoint
        await retired.aclose()
