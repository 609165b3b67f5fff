"""Keeps one session for the tools: opens it on first use, replaces it after its end, and reports what was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import FailedPrecondition, SandboxError, SandboxUnavailable, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from sandbox_client.models.context import Context
    from sandbox_client.models.results import Execution
    from sandbox_client.sandbox import AsyncSandbox

RENEWED: Final = (
    "the session had ended and a new one was started: its saved files were kept; variables, installed packages, "
    "processes and unsaved files were lost"
)
RESTARTED: Final = "the interpreter was restarted since the last call: files were kept; variables of {} were lost"
_OVER_REASONS: Final = frozenset({"LIFETIME_EXPIRED", "DRAINING", "NOT_BOUND"})
"""Error reasons of an agent whose session is over."""
_log = logging.getLogger(__name__)


class SessionKeeper:
    """The session of one set of tools. Safe for concurrent calls on one event loop.

    Args:
        open_session: Creates a session, or connects to one.
    """

    def __init__(self, open_session: Callable[[], Awaitable[AsyncSandbox]]) -> None:
        self._open = open_session
        self._lock = asyncio.Lock()
        self._sandbox: AsyncSandbox | None = None
        self._had_one = False
        self._counts: dict[str, int] = {}

    async def acquire(self) -> tuple[AsyncSandbox, str]:
        """Return a session that answers, and a notice for the caller, or "" if there is nothing to report.

        The session is checked before each call, so that a call never has to run twice.

        Raises:
            SandboxError: No session could be opened.
            OSError: The same.
        """
        async with self._lock:
            if self._sandbox is not None:
                try:
                    restarted = self._notice(await self._sandbox.contexts.list(), RESTARTED)
                    return self._sandbox, self.take_notice() or restarted
                except SandboxError as error:
                    if not _is_over(error):
                        raise
                    _log.info("the session is over (%s): opening another", error.reason)
                await self._drop()
            sandbox = await self._open()
            self._sandbox = sandbox
            notice = self.take_notice()
            if self._had_one:
                # A session that was only unreachable still has its variables.
                had_variables = bool(self._counts)
                lost = self._notice(await sandbox.contexts.list(), RENEWED)
                notice = notice or lost or ("" if had_variables else RENEWED)
            self._had_one = True
            return sandbox, notice

    def take_notice(self) -> str:
        """Return and clear the session's notice, or "" if it has none. It says what a suspension kept and lost."""
        if self._sandbox is None:
            return ""
        notice, self._sandbox.notice = self._sandbox.notice, ""
        return notice

    @property
    def seen(self) -> dict[str, int]:
        """The execution count of each context, as far as `note` knows."""
        return dict(self._counts)

    def note(self, execution: Execution, seen: Mapping[str, int]) -> str:
        """Remember a context's execution count, to detect a restart of its interpreter.

        Args:
            execution: What has ended.
            seen: The counts before it was sent. Others may have ended meanwhile.

        Returns:
            A notice if the interpreter was restarted between the check of `acquire` and this execution, as after a
            cancelled cell that could not be interrupted. Otherwise "".
        """
        context_id, count = execution.context_id, execution.execution_count
        was_restarted = 0 < count <= seen.get(context_id, 0)
        known = 0 if was_restarted else self._counts.get(context_id, 0)
        self._counts[context_id] = 0 if execution.context_restarted else max(count, known)
        return RESTARTED.format(context_id) if was_restarted else ""

    async def close(self) -> None:
        """End the session. Idempotent. The next `acquire` opens another."""
        async with self._lock:
            await self._drop()

    def _notice(self, contexts: Iterable[Context], text: str) -> str:
        counts = {context.id: context.execution_count for context in contexts}
        lost = sorted(id_ for id_, count in self._counts.items() if counts.get(id_, 0) < count)
        for id_ in lost:
            self._counts.pop(id_)
        return text.format(", ".join(lost)) if lost else ""

    async def _drop(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            # The session is discarded anyway, so errors have no consequence.
            with contextlib.suppress(SandboxError, OSError):
                await sandbox.close()


def _is_over(error: SandboxError) -> bool:
    if isinstance(error, SandboxUnavailable | Unauthenticated):
        return True
    return isinstance(error, FailedPrecondition) and error.reason in _OVER_REASONS
