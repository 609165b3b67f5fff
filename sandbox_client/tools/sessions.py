"""Keeping one session for the tools: made on first use, made again when it is gone, and what was lost is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client.errors import FailedPrecondition, NotFound, SandboxError, SandboxUnavailable, Unauthenticated
from sandbox_client.sandbox import AsyncSandbox, note_wake

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable

    from sandbox_client.cluster.api import ClusterOptions
    from sandbox_client.models.context import Context
    from sandbox_client.models.results import Execution

RENEWED: Final = (
    "the earlier session had ended; a new one was started. Files saved to the workspace are there, "
    "variables, installed packages and unsaved files are not"
)
RESTARTED: Final = "the interpreter was restarted since the last call: variables of {} are gone, files are there"
_OVER: Final = frozenset({"LIFETIME_EXPIRED", "DRAINING", "NOT_BOUND"})
"""Reasons of an agent whose session is over."""
_log = logging.getLogger(__name__)


class SessionKeeper:
    """The session of one set of tools. Safe for calls at the same time on one event loop.

    Args:
        open_session: Makes a session, or connects to one.
    """

    def __init__(self, open_session: Callable[[], Awaitable[AsyncSandbox]]) -> None:
        self._open = open_session
        self._lock = asyncio.Lock()
        self._sandbox: AsyncSandbox | None = None
        self._had_one = False
        self._counts: dict[str, int] = {}

    async def acquire(self) -> tuple[AsyncSandbox, str]:
        """A session that answers just now, and a notice for the caller ("" where there is nothing to tell).

        The question whether it answers comes before each call, so that a call itself never has to run twice.

        Raises:
            SandboxError: None could be made.
            OSError: Same.
        """
        async with self._lock:
            if self._sandbox is not None:
                try:
                    restarted = self._notice(await self._sandbox.contexts.list(), RESTARTED)
                    return self._sandbox, self.take_notice() or restarted
                except SandboxError as error:
                    if not _is_gone(error):
                        raise
                    _log.info("the session is gone", extra={"reason": error.reason})
                await self._drop()
            sandbox = await self._open()
            self._sandbox = sandbox
            notice = self.take_notice()
            if self._had_one:
                # One that was only out of reach still has its variables.
                knew_some = bool(self._counts)
                lost = self._notice(await sandbox.contexts.list(), RENEWED)
                notice = notice or lost or ("" if knew_some else RENEWED)
            self._had_one = True
            return sandbox, notice

    def take_notice(self) -> str:
        """What the session has to tell since this was called last: that it slept, and what that has lost."""
        if self._sandbox is None:
            return ""
        notice, self._sandbox.notice = self._sandbox.notice, ""
        return notice

    def note(self, execution: Execution) -> None:
        """Remember how far a context is, to notice when it starts over."""
        self._counts[execution.context_id] = 0 if execution.context_restarted else execution.execution_count

    async def close(self) -> None:
        """End the session. Idempotent; the next `acquire` makes another."""
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
            # It is gone anyway: what fails here has no consequence.
            with contextlib.suppress(SandboxError, OSError):
                await sandbox.close()


def _is_gone(error: SandboxError) -> bool:
    if isinstance(error, SandboxUnavailable | Unauthenticated):
        return True
    return isinstance(error, FailedPrecondition) and error.reason in _OVER


class LocalSessions:
    """Opens local sessions that share one store, so that what was pushed outlives each of them.

    Args:
        store: The folder that keeps pushed files; a temporary one, removed by `close`, by default.
        options: Of `AsyncSandbox.local`.
    """

    def __init__(self, store: str | os.PathLike[str] | None, options: dict[str, Any]) -> None:
        self._store = None if store is None else Path(store)
        self._temporary: Path | None = None
        self._options = options

    async def __call__(self) -> AsyncSandbox:
        """Start a session."""
        if self._store is None:
            self._store = self._temporary = Path(tempfile.mkdtemp(prefix="sandbox-store-"))
        return await AsyncSandbox.local(store=self._store, **self._options)

    def close(self) -> None:
        """Remove the temporary store. Idempotent."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._store = self._temporary = None


def local_sessions(
    store: str | os.PathLike[str] | None = None,
    *,
    workspace: str | os.PathLike[str] | None = None,
    egress: Literal["public", "none"] = "public",
    execution_timeout: float | None = None,
    sync: Literal["manual", "on_change"] = "manual",
    keep_variables: bool = False,
) -> LocalSessions:
    """For SandboxTools: local sessions, for trusted code. Arguments are those of `AsyncSandbox.local`."""
    options = {
        "workspace": workspace,
        "egress": egress,
        "execution_timeout": execution_timeout,
        "sync": sync,
        "keep_variables": keep_variables,
    }
    return LocalSessions(store, options)


def cluster_sessions(
    name: str,
    options: ClusterOptions | None = None,
    *,
    template: str = "default",
    timeout: float = 120.0,
    keep_variables: bool = False,
) -> Callable[[], Awaitable[AsyncSandbox]]:
    """For SandboxTools: a session of the cluster, created where it is not there, resumed where it is suspended.

    Args:
        name: The SandboxSession's name.
        options: Which cluster and namespace.
        template: The SandboxTemplate of a session that is created.
        timeout: Seconds for it to be Ready.
        keep_variables: Whether one that is created keeps Python variables over a suspend; one that is there does as its
            own `lifecycle.keepVariables` says.
    """
    spec = {"lifecycle": {"keepVariables": True}} if keep_variables else {}

    async def open_session() -> AsyncSandbox:
        from sandbox_client.cluster.sessions import Cluster, ClusterOptions, SessionRequest  # noqa: PLC0415 - slow to import
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - same

        cluster = await Cluster.open(options or ClusterOptions())
        try:
            woken, created = await cluster.wake(name, timeout=timeout, on_phase=_log.debug), None
        except NotFound:
            woken, created = False, await cluster.create(SessionRequest(name, template, spec=spec))
        session = await cluster.wait_ready(name, timeout=timeout, on_phase=_log.debug, since=created)
        waker = await Waker.open(cluster, name, session, timeout=timeout, on_phase=_log.debug)
        sandbox = AsyncSandbox(waker.endpoint, name=name, waker=waker)
        if woken:
            await note_wake(sandbox)
        return sandbox

    return open_session
