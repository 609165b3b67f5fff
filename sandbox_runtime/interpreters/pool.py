"""Provides interpreters: forked from the plain zygote, or from the preloaded one once it is ready, or kept ready."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.interpreters.interpreter import Interpreter
from sandbox_runtime.interpreters.zygote_protocol import CONTROL_FD
from sandbox_runtime.javascript import node_command
from sandbox_runtime.linux import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sandbox_runtime.interpreters.zygote_client import ZygoteClient
    from sandbox_runtime.session_state import SessionState

_REFILL_DELAY: Final = 0.25
"""Seconds between using a standby and starting the next, so that the start does not slow down the cell."""


class InterpreterPool:
    """Makes interpreters for contexts, and keeps two standbys ready: a preloaded Python interpreter and Node.

    Args:
        state: The session.
        plain: The zygote without preloaded modules. It also starts Node.
        preloaded: The zygote with preloaded modules.
        site_packages: The session's own packages, for Python.
        node: Path of Node, or "".
        compilers: Folders whose node_modules may have the TypeScript compiler.

    Attributes:
        preloaded_ready: Set once the preloaded zygote serves requests.
        preload: Starts the preloaded zygote if it does not run yet.
    """

    def __init__(
        self,
        state: SessionState,
        plain: ZygoteClient,
        preloaded: ZygoteClient,
        *,
        site_packages: Path,
        node: str,
        compilers: Sequence[Path],
    ) -> None:
        self._state = state
        self._plain = plain
        self._preloaded = preloaded
        self._site_packages = site_packages
        self._node = node
        self._compilers = compilers
        self._python = _Standby(self._fork_preloaded)
        self._javascript = _Standby(self._start_node)
        self._kills: set[asyncio.Task[None]] = set()
        self.preloaded_ready = asyncio.Event()
        self.preload: Callable[[], None] = lambda: None

    @property
    def has_node(self) -> bool:
        """True if JavaScript can run at all."""
        return bool(self._node)

    def take(self, language: str) -> Interpreter:
        """Return an unused interpreter, which may still be starting."""
        if language == "bash":
            return self._fork(self._plain, "bash")
        if language != "python":
            return self._javascript.take() or self._start_node()
        return self._python.take() or self._fork_preloaded() or self._fork(self._plain)

    def initialize(self, interpreter: Interpreter, cwd: str, env: Mapping[str, str]) -> None:
        """Give an interpreter its environment, as configured now.

        Args:
            interpreter: One that was not initialized before.
            cwd: Working directory, relative to the workspace root.
            env: Added to the session's environment.
        """
        folder = self._state.root
        # If the folder was removed since the context was created, the root is used.
        with contextlib.suppress(Exception):
            folder = self._state.resolve_cwd(cwd)
        arguments: dict[str, Any] = {"cwd": str(folder), "sockets": self._state.sockets}
        if interpreter.language == "python":
            arguments["site_packages"] = str(self._site_packages)
            arguments["python"] = str(self._site_packages.parents[2] / "bin" / "python")
        elif interpreter.language == "bash":
            # Its shell starts at once, so a limit that is set afterwards could come too late.
            arguments["file_bytes"] = self._state.limits.file_bytes
        interpreter.initialize(arguments, self._state.environment(env))
        if interpreter.child.pid is not None:
            # It may have been forked before the session's limits were known.
            syscalls.limit_files(interpreter.child.pid, self._state.limits.file_bytes)

    def prepare_standbys(self) -> None:
        """Start a preloaded Python interpreter and Node, each ready for the next context that needs one."""
        self._python.prepare()
        if self._node:
            self._javascript.prepare()

    def renew_standbys(self) -> None:
        """Replace the Node standby, because only a new Node process gets the changed network policy."""
        if (interpreter := self._javascript.interpreter) is not None:
            self._javascript.interpreter = None
            self.kill(interpreter)
            self._javascript.prepare()

    def kill(self, interpreter: Interpreter) -> None:
        """Kill an interpreter in the background."""
        task = asyncio.get_running_loop().create_task(interpreter.kill())
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def close(self) -> None:
        """End the standbys, and wait for the kills in the background."""
        for standby in (self._python, self._javascript):
            if (interpreter := standby.close()) is not None:
                self.kill(interpreter)
        await asyncio.gather(*self._kills, return_exceptions=True)

    def _fork_preloaded(self) -> Interpreter | None:
        return self._fork(self._preloaded) if self._preloaded.ready else None

    def _fork(self, zygote: ZygoteClient, language: str = "python") -> Interpreter:
        processes, file_bytes = self._state.process_limit(), self._state.limits.file_bytes
        return Interpreter(zygote, {"kind": language, "processes": processes, "file_bytes": file_bytes}, language)

    def _start_node(self) -> Interpreter:
        request = {
            "kind": "exec",
            "argv": node_command(self._node, self._compilers),
            "env": {**self._state.environment({}), "SANDBOX_CONTROL_FD": str(CONTROL_FD)},
            "cwd": str(self._state.root),
            "sockets": self._state.sockets,
            "processes": self._state.process_limit(),
            "file_bytes": self._state.limits.file_bytes,
        }
        return Interpreter(self._plain, request, "javascript")


class _Standby:
    """At most one interpreter that waits to be used.

    Args:
        start: Starts one. Returns None if that is not possible yet.

    Attributes:
        interpreter: The one that waits.
    """

    def __init__(self, start: Callable[[], Interpreter | None]) -> None:
        self.interpreter: Interpreter | None = None
        self._start = start
        self._refill: asyncio.TimerHandle | None = None

    def prepare(self) -> None:
        """Start one unless one waits already."""
        self._refill = None
        if self.interpreter is None or self.interpreter.has_ended:
            self.interpreter = self._start()

    def take(self) -> Interpreter | None:
        """Return the one that waits, or None, and start the next one later."""
        interpreter, self.interpreter = self.interpreter, None
        if self._refill is None:
            self._refill = asyncio.get_running_loop().call_later(_REFILL_DELAY, self.prepare)
        return None if interpreter is None or interpreter.has_ended else interpreter

    def close(self) -> Interpreter | None:
        """Start no more. Returns the one that waits, or None."""
        if self._refill is not None:
            self._refill.cancel()
        return self.interpreter
