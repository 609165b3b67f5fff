"""Calls to agents that may take minutes: drains, and renewals of storage credentials. No worker waits for them.

When a call ends, its session goes back on the queue. Nothing here has to survive a crash: an agent remembers that it
was drained, and reports when its credentials expire.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sandbox_operator.errors import AgentError, Blocked, NotLeadingError, OperatorError
from sandbox_operator.session.model import DrainState, RenewalState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sandbox_operator.agent.model import AgentView
    from sandbox_operator.watch.work_queue import Key

State = TypeVar("State")
_LOG: Final = logging.getLogger(__name__)


class BackgroundCalls(Generic[State]):
    """The latest call for each session, at most one at a time, and the state that the planner sees.

    Args:
        name: Prefix of the tasks' names, and of log messages.
        on_end: Called with the session's key when a call has ended.
        on_start: Returns the state of a call to the pod with this uid, given the state of the call before it.
        on_done: Returns the state after a call, given its state meanwhile and its result or error.
    """

    def __init__(
        self,
        name: str,
        on_end: Callable[[Key], None],
        on_start: Callable[[str, State | None], State],
        on_done: Callable[[State, AgentView | Exception], State],
    ) -> None:
        self._name, self._on_end, self._on_start, self._on_done = name, on_end, on_start, on_done
        self._states: dict[Key, State] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def get(self, key: Key) -> State | None:
        """Return the state of the session's latest call, or None if there was no call."""
        return self._states.get(key)

    def start(self, key: Key, pod_uid: str, call: Callable[[], Awaitable[AgentView]]) -> None:
        """Start a call, unless one is running."""
        if key not in self._tasks:
            state = self._states[key] = self._on_start(pod_uid, self._states.get(key))
            self._tasks[key] = asyncio.create_task(self._run(key, state, call), name=f"{self._name}-{key[1]}-{key[2]}")

    def forget(self, key: Key) -> None:
        """Cancel the session's call and drop its state, because the session or its pod was deleted."""
        self._states.pop(key, None)
        if task := self._tasks.pop(key, None):
            task.cancel()

    async def stop(self) -> None:
        """Cancel all calls. The next leader makes those that are still needed."""
        tasks = list(self._tasks.values())
        for key in list(self._tasks):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, state: State, call: Callable[[], Awaitable[AgentView]]) -> None:
        result: AgentView | Exception
        try:
            result = await call()
        except OperatorError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - the call would otherwise seem to run for ever
            _LOG.error("%s failed unexpectedly", self._name, exc_info=error, extra={"key": "/".join(key)})
            result = error
        self._tasks.pop(key, None)
        self._states[key] = self._on_done(state, result)
        self._on_end(key)


def track_drains(on_end: Callable[[Key], None], clock: Callable[[], datetime]) -> BackgroundCalls[DrainState]:
    """Return the tracker of Drain calls."""

    def done(state: DrainState, result: AgentView | Exception) -> DrainState:
        error = _describe(result, "{0.reason}: {0}") if isinstance(result, Exception) else ""
        return DrainState(state.pod_uid, is_running=False, error=error, ended=clock())

    return BackgroundCalls("drain", on_end, lambda pod_uid, _: DrainState(pod_uid, is_running=True), done)


def track_renewals(on_end: Callable[[Key], None], clock: Callable[[], datetime]) -> BackgroundCalls[RenewalState]:
    """Return the tracker of Renew calls. A failed renewal's error stays visible until a later one succeeds."""

    def start(pod_uid: str, before: RenewalState | None) -> RenewalState:
        if before is None or before.pod_uid != pod_uid:
            return RenewalState(pod_uid, is_running=True)
        return RenewalState(pod_uid, is_running=True, failures=before.failures, error=before.error)

    def done(state: RenewalState, result: AgentView | Exception) -> RenewalState:
        if isinstance(result, Exception):
            # Without the agent's message, which may differ each time: an unchanged condition is not written again.
            error = _describe(result, "the call to the agent failed with {0.reason}")
        else:
            error = "storage refuses the new credentials too" if result.needs_credentials else ""
        failures = state.failures + 1 if error else 0
        return RenewalState(state.pod_uid, failures=failures, error=error, ended=clock())

    return BackgroundCalls("renew", on_end, start, done)


def _describe(error: Exception, agent_error: str) -> str:
    match error:
        case AgentError():
            return agent_error.format(error)
        case Blocked():
            return str(error)
        case NotLeadingError():
            return "this replica is no longer the leader"
        case OperatorError():
            return type(error).__name__
    return "unexpected error, see the operator's log"
