"""Where interpreters come from: the light zygote at once, the preloaded one when it is ready, or a standby."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox_runtime.interpreters.interpreter import Interpreter
from sandbox_runtime.interpreters.standby import Standby
from sandbox_runtime.interpreters.zygote_protocol import CONTROL_FD
from sandbox_runtime.javascript import node_command
from sandbox_runtime.linux import syscalls as kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox_runtime.interpreters.zygote_client import Zygote
    from sandbox_runtime.limits.oom_guard import MemoryWatch
    from sandbox_runtime.session_state import State

_REFILL_AFTER: Final = 0.25


class Outlet(Protocol):
    """The way to the agent."""

    def hold(self) -> None:
        """Keep frames until `flush`."""

    def flush(self) -> None:
        """Send what is queued now, instead of in the loop's next round."""


class Nursery:
    """Makes interpreters for contexts.

    Args:
        state: The session.
        light: The zygote without preloads; also starts Node.
        loaded: The zygote with preloads.
        site_packages: The session's own packages, for Python.
        node: Path of node.
        outlet: What goes to the agent.
        memory: Watches what the interpreters use.

    Attributes:
        loaded_is_ready: Set once the preloaded zygote forks.
        preload: Has that one begin with its imports, if it has not.
    """

    def __init__(
        self,
        state: State,
        light: Zygote,
        loaded: Zygote,
        *,
        site_packages: Path,
        node: str,
        outlet: Outlet,
        memory: MemoryWatch,
    ) -> None:
        self._state = state
        self._light = light
        self._loaded = loaded
        self._site_packages = site_packages
        self._node = node
        self._python = Standby(self._fork_loaded, _REFILL_AFTER)
        self._javascript = Standby(self._start_node, _REFILL_AFTER)
        self.outlet = outlet
        self.memory = memory
        self.loaded_is_ready = asyncio.Event()
        self.preload: Callable[[], None] = lambda: None

    @property
    def has_node(self) -> bool:
        """Whether JavaScript can run at all."""
        return bool(self._node)

    def take(self, language: str) -> Interpreter:
        """An interpreter that nobody uses yet."""
        if language != "python":
            return self._javascript.take() or self._start_node()
        return self._python.take() or self._fork_loaded() or self._fork(self._light)

    def initialize(self, interpreter: Interpreter, cwd: str, env: dict[str, str]) -> None:
        """Give an interpreter its environment, as it is now."""
        folder = self._state.root
        # A folder that has gone since the context was made: the root will do.
        with contextlib.suppress(Exception):
            folder = self._state.resolve_cwd(cwd)
        arguments: dict[str, Any] = {"cwd": str(folder), "deny_network": self._state.limits.deny_network}
        if interpreter.language == "python":
            arguments["site_packages"] = str(self._site_packages)
            arguments["python"] = str(self._site_packages.parents[2] / "bin" / "python")
        interpreter.initialize(arguments, self._state.environment(env))
        if interpreter.child.pid is not None:
            # It may have been forked before the session's limits were known.
            kernel.limit_files(interpreter.child.pid, self._state.limits.file_bytes)

    def prepare_standbys(self) -> None:
        """Have a preloaded Python interpreter and Node wait for whoever needs one next."""
        self._python.prepare()
        if self._node:
            self._javascript.prepare()

    def renew_standbys(self) -> None:
        """Replace the standby that cannot take the session's limits on itself: Node."""
        self._javascript.renew()

    async def close(self) -> None:
        """End the standbys."""
        await asyncio.gather(self._python.close(), self._javascript.close())

    def _fork_loaded(self) -> Interpreter | None:
        return self._fork(self._loaded) if self._loaded.ready else None

    def _fork(self, zygote: Zygote) -> Interpreter:
        limits = {"processes": process_limit(self._state), "file_bytes": self._state.limits.file_bytes}
        request = {"kind": "python", **limits}
        return Interpreter(zygote, request, "python")

    def _start_node(self) -> Interpreter:
        request = {
            "kind": "exec",
            "argv": node_command(self._node),
            "env": {**self._state.environment({}), "SANDBOX_CONTROL_FD": str(CONTROL_FD)},
            "cwd": str(self._state.root),
            "deny_network": self._state.limits.deny_network,
            "processes": process_limit(self._state),
            "file_bytes": self._state.limits.file_bytes,
        }
        return Interpreter(self._light, request, "javascript")


def process_limit(state: State) -> int:
    """RLIMIT_NPROC for children, or 0.

    It counts the user's processes of the whole machine, so it is set in a container only.
    """
    return state.limits.processes if os.getpid() == 1 and os.getuid() != 0 else 0
