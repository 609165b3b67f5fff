"""The runtime's main process: builds the parts, serves the link, reaps orphans, ends everything on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.bulk_streams import SOCKET_NAME
from sandbox_runtime import user_home as home
from sandbox_runtime.files import build_handlers
from sandbox_runtime.interpreters.pool import Nursery, process_limit
from sandbox_runtime.interpreters.zygote_client import Child, Zygote, reap
from sandbox_runtime.limits.oom_guard import MemoryWatch
from sandbox_runtime.link.server_connection import Link
from sandbox_runtime.link.session_operations import Operations
from sandbox_runtime.link.streams import Streams
from sandbox_runtime.processes.command import Commands
from sandbox_runtime.processes.operations import LASTING, Processes
from sandbox_runtime.processes.start import Starter
from sandbox_runtime.restart_file import Marks
from sandbox_runtime.session_state import State
from sandbox_runtime.typecheck.checker import Checker
from sandbox_runtime.typecheck.language_server import SOFT_MEMORY

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sandbox_runtime.settings import Settings
    from sandbox_runtime.typecheck import Installation

_PROTOCOL: Final = 1
_END_WITHIN: Final = 4.0
_PRELOAD_AFTER: Final = 1.0
"""Seconds that a runtime without a session leaves the processors to what else starts in its pod."""
_LASTING: Final = frozenset({"run", "execute"}) | LASTING


class Supervisor:
    """One runtime.

    Args:
        settings: From the environment.
        environment: What interpreters and commands start from.
        node: Path of node, or "".
        light: The light zygote, started already.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        node: str,
        light: tuple[int, socket.socket],
    ) -> None:
        self._settings = settings
        self._children: dict[int, Child] = {}
        marks = Marks(settings.home / ".sandbox-marks.json")
        self._state = State(settings.workspace.resolve(), dict(environment), marks)
        self._state.limits.deny_network = settings.deny_network
        self._light = Zygote((), self._children, environment, light)
        self._loaded = Zygote(settings.preload, self._children, environment)
        self._memory = MemoryWatch(self._state.limits, self._children)
        site_packages = home.venv_site_packages(settings.home)
        self._nursery = Nursery(
            self._state,
            self._light,
            self._loaded,
            site_packages=site_packages,
            node=node,
            outlet=self,
            memory=self._memory,
        )
        self._nursery.preload = self._preload
        starter = Starter(self._state, self._light, self._memory)
        self._commands = Commands(starter)
        self._processes = Processes(starter, self._commands)
        checker = Checker(settings.home, self._spawn_checker)
        self._operations = Operations(
            self._state, self._nursery, self._commands, self._processes, checker, self._announce
        )
        handlers = {**build_handlers(self._state.root, self._state.limits), **self._operations.handlers()}
        self._streams = Streams()
        starters = {"execute": self._operations.execute}
        self._link = Link(handlers, starters, self._hello, _LASTING, self._streams)
        self._stop = asyncio.Event()
        self._preload_later: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then end everything."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGCHLD, reap, self._children)
        self._light.attach(self._on_light_ready)
        self._operations.python.warm()
        self._memory.start(lambda: self._operations.is_busy, lambda: self._loaded.pid or self._light.pid)
        path = self._settings.link_dir / "runtime.sock"
        path.parent.mkdir(parents=True, exist_ok=True)
        stops = [self._streams.listen(path.with_name(SOCKET_NAME)), self._link.listen(path)]
        try:
            await self._stop.wait()
            await self._outlast_agent()
        finally:
            for stop in stops:
                stop()
            self._link.replace(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_WITHIN):
                    await self._end()

    async def _outlast_agent(self) -> None:
        """Both containers of a pod are told to end at once, and the agent's last push needs the files from here."""
        if not self._settings.stop_seconds:
            return
        await self._processes.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.stop_seconds):
                await self._link.wait_alone()

    def _on_light_ready(self) -> None:
        if self._state.marks.restored:
            self._preload()
        else:
            self._preload_later = asyncio.get_running_loop().call_later(_PRELOAD_AFTER, self._preload)

    def _preload(self) -> None:
        # Not earlier: on few cores the preloads would delay the session's start, and the first cell.
        if self._light.ready and not self._loaded.pid:
            self._loaded.attach(self._on_loaded_ready)

    def _on_loaded_ready(self) -> None:
        self._operations.python.exchange()
        # The first JavaScript cell takes Node's standby, whichever context it is for.
        self._nursery.prepare_standbys()
        self._nursery.loaded_is_ready.set()

    def _spawn_checker(self, installation: Installation, folder: Path, descriptors: Sequence[int]) -> Child:
        # A soft limit makes it collect garbage more eagerly; the hard one is the checker's own.
        environment = self._state.environment({"GOMEMLIMIT": str(SOFT_MEMORY), "GOMAXPROCS": "2"})
        request = {
            "kind": "exec",
            "argv": [str(installation.program), "--lsp", "--stdio"],
            "env": environment,
            "cwd": str(folder),
            "deny_network": self._state.limits.deny_network,
            "processes": process_limit(self._state),
        }
        return self._light.spawn(request, descriptors)

    async def _end(self) -> None:
        self._memory.close()
        if self._preload_later is not None:
            self._preload_later.cancel()
        parts = (self._operations, self._commands, self._processes, self._nursery)
        await asyncio.gather(*(part.close() for part in parts))
        self._light.close()
        self._loaded.close()
        if os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "protocol": _PROTOCOL,
            "runtime_id": self._state.runtime_id,
            "session_uid": self._state.session_uid,
            "restored": self._state.marks.restored,
            "workspace_root": str(self._state.root),
            "streams": True,
        }

    def _announce(self, event: dict[str, Any]) -> None:
        self._link.announce(event)

    def hold(self) -> None:
        """Keep frames for the agent until `flush`."""
        self._link.hold()

    def flush(self) -> None:
        """Send what is queued for the agent."""
        self._link.flush()
