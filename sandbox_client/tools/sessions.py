"""Keeps one session for the tools: opens it on first use, replaces it after its end, and reports what was lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client.errors import FailedPrecondition, NotFound, SandboxError, SandboxUnavailable, Unauthenticated
from sandbox_client.models.sizes import read_size
from sandbox_client.options import LOCAL_DEFAULTS
from sandbox_client.sandbox import AsyncSandbox, note_wake
from sandbox_client.tools.facts import SessionFacts, read_facts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from sandbox_client.cluster.api import ClusterOptions
    from sandbox_client.models.context import Context
    from sandbox_client.models.results import Execution

RENEWED: Final = (
    "the session had ended and a new one was started: its saved files were kept; variables, installed packages, "
    "processes and unsaved files were lost"
)
RESTARTED: Final = "the interpreter was restarted since the last call: files were kept; variables of {} were lost"
_DEFAULT_TIME_LIMIT: Final = 300.0
"""Seconds of a cell or command, if a local session has no other limit."""
_FACTS_SECONDS: Final = 5.0
"""Seconds to read the facts of a session of the cluster. An MCP client waits for them when it connects."""
_MEMORY_OPTION: Final = "memory_limit" if "memory_limit" in LOCAL_DEFAULTS else "memory_bytes"
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

    async def facts(self) -> SessionFacts:
        """Return what is known about the sessions."""
        return SessionFacts(
            is_isolated=False,
            network=self._options["egress"],
            time_limit=self._options["execution_timeout"] or _DEFAULT_TIME_LIMIT,
            memory_limit=self._options[_MEMORY_OPTION],
        )

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
    memory_limit: int | str | None = None,
    sync: Literal["manual", "on_change"] = "manual",
    keep_variables: bool = False,
) -> LocalSessions:
    """Return an opener of local sessions for SandboxTools. Use it only for code that you trust.

    Arguments are those of `AsyncSandbox.local`, with one other default: without `memory_limit`, a session may use half
    of the memory that is available now, and at most 4 GiB, so that the machine stays usable.

    Raises:
        InvalidArgument: `memory_limit` is neither a number of bytes nor a quantity such as `2Gi`.
    """
    options = {
        _MEMORY_OPTION: read_size(memory_limit, "memory_limit") or default_memory(),
        "workspace": workspace,
        "egress": egress,
        "execution_timeout": execution_timeout,
        "sync": sync,
        "keep_variables": keep_variables,
    }
    return LocalSessions(store, options)


def default_memory(meminfo: str = "/proc/meminfo") -> int:
    """Return half of the available memory in bytes, at least 512 MiB and at most 4 GiB.

    Args:
        meminfo: The kernel's file. Without it, half of the machine's whole memory counts.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(meminfo).read_text().splitlines()
        available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    return max(512 << 20, min(available // 2, 4 << 30))


def cluster_sessions(
    name: str,
    options: ClusterOptions | None = None,
    *,
    template: str = "default",
    timeout: float = 120.0,
    keep_variables: bool = False,
) -> Callable[[], Awaitable[AsyncSandbox]]:
    """Return an opener of one session of the cluster, for SandboxTools.

    The opener creates the session if it does not exist, and resumes it if it is suspended.

    Args:
        name: The SandboxSession's name.
        options: The cluster and namespace.
        template: The SandboxTemplate, if the session is created.
        timeout: Seconds to wait until it is Ready.
        keep_variables: Whether a session that is created here keeps Python variables when it is suspended. An existing
            session follows its own `lifecycle.keepVariables`.
    """
    spec = {"lifecycle": {"keepVariables": True}} if keep_variables else {}

    async def facts() -> SessionFacts:
        from sandbox_client.cluster.api import ClusterOptions  # noqa: PLC0415 - slow to import
        from sandbox_client.cluster.session_facts import read_specs  # noqa: PLC0415 - same

        try:
            async with asyncio.timeout(_FACTS_SECONDS):
                return read_facts(*await read_specs(options or ClusterOptions(), name, template))
        except (SandboxError, TimeoutError):
            # The first call reports that the cluster cannot be reached.
            return read_facts({}, {})

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

    open_session.facts = facts  # type: ignore[attr-defined]
    return open_session
