"""Restores the workspace in the background after Bind, with a few retries. Client calls wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.timeouts import time_limit
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox_agent.session.bound_session import BoundSession
    from sandbox_agent.storage.workspace import Workspace

RETRY_DELAYS: Final = (0.5, 2.0, 5.0)
"""Seconds between attempts while storage or the runtime is unavailable. After the last one the restore fails."""

_log = logging.getLogger(__name__)


class RestorePhase(enum.Enum):
    """Phases of a restore."""

    IDLE = "IDLE"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class StartupRestore:
    """The restore after Bind, and its outcome.

    Attributes:
        phase: The current phase.
        error: Why the restore failed, or which files it left out. Empty if there is nothing to report.
    """

    def __init__(self, delays: Sequence[float] = RETRY_DELAYS, on_end: Callable[[], None] = lambda: None) -> None:
        self.phase = RestorePhase.IDLE
        self.error = ""
        self._delays = delays
        self._on_end = on_end
        self._ended = asyncio.Event()
        self._done = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def skip(self) -> None:
        """Mark the restore as done, because the runtime reports that its workspace was restored before."""
        self._finish(RestorePhase.DONE, "")

    def start(self, session: BoundSession) -> None:
        """Start to restore the session's workspace in the background."""
        self.phase = RestorePhase.RUNNING
        self.error = ""
        self._ended.clear()
        self._task = asyncio.create_task(self._run(session))

    async def wait(self, timeout: float | None = None) -> RestorePhase:  # noqa: ASYNC109 - a bound, not a scope
        """Wait at most `timeout` seconds for the end, and return the phase reached."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ended.wait()
        return self.phase

    async def wait_done(self) -> None:
        """Wait until the restore has succeeded, possibly after it was started again."""
        await self._done.wait()

    async def close(self) -> None:
        """Cancel the restore."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, session: BoundSession) -> None:
        try:
            left_out = await self._attempts(session)
        except OperationError as error:
            _log.warning("restore failed", extra={"reason": error.reason, "error": error.message})
            self._finish(RestorePhase.FAILED, f"{error.reason}: {error.message}")
        except Exception:  # noqa: BLE001 - no caller awaits this task; callers see the phase
            _log.exception("restore failed unexpectedly")
            self._finish(RestorePhase.FAILED, "INTERNAL: see the agent's log")
        else:
            self._finish(RestorePhase.DONE, left_out)

    async def _attempts(self, session: BoundSession) -> str:
        variables = session.variables
        for delay in (*self._delays, None):
            try:
                left_out = await _restore(session.stored) if session.stored is not None else ""
                if variables is not None:
                    await variables.load()
                async with time_limit():
                    await session.runtime.call("restored", {"session_uid": session.session_uid})
            except OperationError as error:
                if error.code != "UNAVAILABLE" or delay is None:
                    raise
                await asyncio.sleep(delay)
            else:
                if variables is not None:
                    # They are loaded only once: from here on, user code changes them.
                    await variables.forget()
                return left_out
        raise AssertionError("the last attempt returns or raises")

    def _finish(self, phase: RestorePhase, error: str) -> None:
        self.phase = phase
        self.error = error
        self._on_end()
        self._ended.set()
        if phase is RestorePhase.DONE:
            self._done.set()


async def _restore(workspace: Workspace) -> str:
    left_out = ""
    async for response in workspace.restore():
        if response.WhichOneof("event") == "done" and response.done.failed:
            first = response.done.failed[0]
            left_out = f"{len(response.done.failed)} files were not restored, such as {first.path}: {first.reason}"
    return left_out
