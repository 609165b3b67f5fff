"""The runtime's main process: builds the parts, serves the link, reaps orphans, and ends everything on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.bulk_streams import SOCKET_NAME
from sandbox_runtime.context_operations import ContextOperations
from sandbox_runtime.execution.context_registry import ContextRegistry
from sandbox_runtime.files import TEMPORARY, build_handlers
from sandbox_runtime.interpreters.pool import InterpreterPool
from sandbox_runtime.interpreters.zygote_client import Child, ZygoteClient, reap
from sandbox_runtime.limits.oom_guard import OomGuard
from sandbox_runtime.limits.process_count import count_all
from sandbox_runtime.link.listeners import BulkStreams
from sandbox_runtime.link.server_connection import LinkServer
from sandbox_runtime.processes.command import Commands
from sandbox_runtime.processes.operations import LASTING, BackgroundProcesses
from sandbox_runtime.processes.start import Starter
from sandbox_runtime.restart_file import RestartFile
from sandbox_runtime.saved_variables.operations import SavedVariables
from sandbox_runtime.session_operations import SessionOperations
from sandbox_runtime.session_state import SessionState
from sandbox_runtime.typecheck import checker_folders
from sandbox_runtime.typecheck.checker import Checker
from sandbox_runtime.typecheck.language_server import SOFT_MEMORY
from sandbox_runtime.user_home import venv_site_packages

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from sandbox_runtime.execution.context import Context
    from sandbox_runtime.settings import Settings
    from sandbox_runtime.typecheck import Installation

_PROTOCOL: Final = 1
_END_TIMEOUT: Final = 4.0
_PRELOAD_DELAY: Final = 1.0
"""Seconds that a runtime without a session leaves the processors to the other processes that start in its pod."""
_LASTING: Final = frozenset({"run", "execute"}) | LASTING


class Supervisor:
    """One runtime.

    Args:
        settings: Read from the environment.
        environment: The environment that interpreters and commands start from.
        node: Path of Node, or "".
        plain: Pid and socket of the plain zygote, which runs already.
    """

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], node: str, plain: tuple[int, socket.socket]
    ) -> None:
        self._settings = settings
        self._children: dict[int, Child] = {}
        restart_file = RestartFile(settings.home / ".sandbox-marks.json")
        other_roots = (settings.home, Path(TEMPORARY))
        self._state = SessionState(settings.workspace.resolve(), dict(environment), restart_file, other_roots)
        self._state.limits.deny_network = settings.deny_network
        self._plain = ZygoteClient((), self._children, environment, plain)
        self._preloaded = ZygoteClient(settings.preload, self._children, environment)
        self._oom_guard = OomGuard(
            self._state.limits, self._children, count_all if self._state.is_in_container else None
        )
        self._bulk_streams = BulkStreams()
        self._link = LinkServer(self._hello, self._bulk_streams)
        self._pool = InterpreterPool(
            self._state,
            self._plain,
            self._preloaded,
            site_packages=venv_site_packages(settings.home),
            node=node,
            compilers=checker_folders(settings.home),
        )
        self._pool.preload = self._preload
        self._contexts = ContextRegistry(self._state, self._pool, self._link, self._oom_guard, self._on_context_exit)
        starter = Starter(self._state, self._plain, self._oom_guard)
        self._commands = Commands(starter)
        self._processes = BackgroundProcesses(starter, self._commands)
        self._checker = Checker(settings.home, self._spawn_checker)
        self._stop = asyncio.Event()
        self._preload_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end everything."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGCHLD, reap, self._children)
        self._plain.attach(self._on_plain_ready)
        self._contexts.python.warm_up()
        session = SessionOperations(self._state, self._contexts, self._pool, self._commands, self._processes)
        self._oom_guard.start(lambda: session.is_busy, lambda: self._preloaded.pid or self._plain.pid)
        path = self._settings.link_dir / "runtime.sock"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._add_operations(session)
        stops = [self._bulk_streams.listen(path.with_name(SOCKET_NAME)), self._link.listen(path)]
        try:
            await self._stop.wait()
            await self._outlast_agent()
        finally:
            for stop in stops:
                stop()
            self._link.replace(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_TIMEOUT):
                    await self._end()

    def _add_operations(self, session: SessionOperations) -> None:
        variables = SavedVariables(self._contexts, self._pool)
        contexts = ContextOperations(self._state, self._contexts, self._pool, self._checker, variables)
        self._link.handlers = {
            **build_handlers(self._state.root, self._state.limits, *self._state.other_roots),
            **session.handlers(),
            **contexts.handlers(),
            "run": self._commands.run,
            **self._processes.handlers(),
            **variables.handlers(),
        }
        self._link.starters = {"execute": contexts.execute}
        self._link.lasting = _LASTING

    async def _outlast_agent(self) -> None:
        """Wait for the agent: both containers of a pod get SIGTERM at once, and its last push needs the files."""
        if not self._settings.stop_seconds:
            return
        await self._processes.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.stop_seconds):
                await self._link.wait_alone()

    def _on_plain_ready(self) -> None:
        if self._state.restart_file.restored:
            self._preload()
        else:
            self._preload_timer = asyncio.get_running_loop().call_later(_PRELOAD_DELAY, self._preload)

    def _preload(self) -> None:
        # Not earlier: on few cores the preloads would delay the session's start and its first cell.
        if self._plain.ready and not self._preloaded.pid:
            self._preloaded.attach(self._on_preloaded_ready)

    def _on_preloaded_ready(self) -> None:
        self._contexts.python.exchange_process()
        # The first JavaScript cell takes the Node standby, in whichever context it runs.
        self._pool.prepare_standbys()
        self._pool.preloaded_ready.set()

    def _on_context_exit(self, context: Context, reason: str) -> None:
        self._link.notify({"type": "context_exited", "context_id": context.id, "reason": reason})

    def _spawn_checker(self, installation: Installation, folder: Path, descriptors: Sequence[int]) -> Child:
        # The soft limit makes it collect garbage more eagerly. The checker itself enforces the hard limit.
        environment = self._state.environment({"GOMEMLIMIT": str(SOFT_MEMORY), "GOMAXPROCS": "2"})
        request = {
            "kind": "exec",
            "argv": [str(installation.program), "--lsp", "--stdio"],
            "env": environment,
            "cwd": str(folder),
            "sockets": self._state.sockets,
            "processes": self._state.process_limit(),
        }
        return self._plain.spawn(request, descriptors)

    async def _end(self) -> None:
        self._oom_guard.close()
        if self._preload_timer is not None:
            self._preload_timer.cancel()
        parts = (self._contexts, self._checker, self._commands, self._processes, self._pool)
        await asyncio.gather(*(part.close() for part in parts))
        self._plain.close()
        self._preloaded.close()
        if os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "protocol": _PROTOCOL,
            "runtime_id": self._state.runtime_id,
            "session_uid": self._state.session_uid,
            "restored": self._state.restart_file.restored,
            "workspace_root": str(self._state.root),
            "streams": True,
        }
