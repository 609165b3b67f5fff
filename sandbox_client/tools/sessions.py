"""Keeps one session for the tools: opens it on first use, replaces it after its end, and reports what was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client.errors import FailedPrecondition, NotFound, SandboxError, SandboxUnavailable, Unauthenticated
from sandbox_client.local.address import local_name
from sandbox_client.sandbox import AsyncSandbox, note_wake
from sandbox_client.tools.named_local import NamedLocalSession

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable

    from sandbox_client.cluster.api import ClusterOptions
    from sandbox_client.models.context import Context
    from sandbox_client.models.results import Execution

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

    def note(self, execution: Execution) -> None:
        """Remember a context's execution count, to detect a restart of its interpreter."""
        self._counts[execution.context_id] = 0 if execution.context_restarted else execution.execution_count

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


class LocalSessions:
    """A callable that opens local sessions. They share one store, so that pushed files outlive each session.

    Args:
        store: The folder for pushed files. Default: a temporary folder that `close` removes.
        options: Options of `AsyncSandbox.local`.
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
    """Return an opener of local sessions for SandboxTools. Use it only for code that you trust.

    Arguments are those of `AsyncSandbox.local`.
    """
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
    """Return an opener of one session of the cluster, or of `local/NAME` on this machine, for SandboxTools.

    The opener creates the session if it does not exist, and resumes it if it is suspended.

    Args:
        name: The SandboxSession's name, or `local/NAME`.
        options: The cluster and namespace.
        template: The SandboxTemplate, if the session is created.
        timeout: Seconds to wait until it is Ready.
        keep_variables: Whether a session that is created here keeps Python variables when it is suspended. An existing
            session follows its own `lifecycle.keepVariables`.
    """
    if (local := local_name(name)) is not None:
        return NamedLocalSession(local, options, timeout=timeout, keep_variables=keep_variables)
    spec = {"lifecycle": {"keepVariables": True}} if keep_variables else {}

    async def open_session() -> AsyncSandbox:
        from sandbox_client.cluster.sessions import Cluster, ClusterOptions, SessionRequest  # noqa: PLC0415 - slow to import
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - same

        cluster = await Cluster.open(options or ClusterOptions())
        try:
            was_suspended, created = await cluster.wake(name, timeout=timeout, on_phase=_log.debug), None
        except NotFound:
            was_suspended, created = False, await cluster.create(SessionRequest(name, template, spec=spec))
        session = await cluster.wait_ready(name, timeout=timeout, on_phase=_log.debug, since=created)
        waker = await Waker.open(cluster, name, session, timeout=timeout, on_phase=_log.debug)
        sandbox = AsyncSandbox(waker.endpoint, name=name, waker=waker, control=waker.control)
        if was_suspended:
            await note_wake(sandbox)
        return sandbox

    return open_session
