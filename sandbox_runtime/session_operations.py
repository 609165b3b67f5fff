"""The link's operations on the session as a whole: configuration, restore, the stored commit, and status."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.settings import read_env

if TYPE_CHECKING:
    from sandbox_runtime.execution.context_registry import ContextRegistry
    from sandbox_runtime.interpreters.pool import InterpreterPool
    from sandbox_runtime.limits.metrics import Metrics
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.link.server_connection import Handler
    from sandbox_runtime.processes.command import Commands
    from sandbox_runtime.processes.operations import BackgroundProcesses
    from sandbox_runtime.session_state import SessionState

_MAX_COMMIT: Final = 1024


@dataclass(slots=True, eq=False)
class SessionOperations:
    """Handlers of `configure`, `restored`, `workspace.commit`, `status` and `metrics`.

    Attributes:
        state: The session.
        contexts: Its contexts.
        pool: Provides interpreters.
        commands: The running commands.
        processes: The background processes.
        metrics: Measures the session.
    """

    state: SessionState
    contexts: ContextRegistry
    pool: InterpreterPool
    commands: Commands
    processes: BackgroundProcesses
    metrics: Metrics

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers by operation."""
        return {
            "configure": self.configure,
            "restored": self.restored,
            "workspace.commit": self.commit,
            "status": self.status,
            "metrics": self.measure,
        }

    @property
    def is_busy(self) -> bool:
        """True if a cell, a command or a background process runs."""
        return self.contexts.is_busy or bool(self.commands.running) or self.processes.running > 0

    async def configure(self, channel: LinkChannel) -> dict[str, Any]:
        """Bind the runtime to a session. A repeat with the same uid changes only the environment and the limits."""
        arguments = channel.arguments
        uid = arguments.get("session_uid")
        if not isinstance(uid, str) or not uid:
            raise invalid("session_uid", "`session_uid` is missing")
        if self.state.session_uid not in ("", uid):
            raise _wrong_session("this runtime belongs to another session")
        env = read_env(arguments.get("env"))
        limits = arguments.get("limits") or {}
        if not isinstance(limits, dict):
            raise invalid("limits", "`limits` is not an object")
        for context in self.contexts:
            self.state.check_environment(env, context.env)
        denied = self.state.limits.deny_network
        self.state.limits.update(limits)
        self.state.session_uid, self.state.env = uid, env
        self.state.restart_file.bind(uid)
        if denied is not self.state.limits.deny_network:
            await self.contexts.renew_processes()
        return {"restored": self.state.restart_file.restored, "runtime_id": self.state.runtime_id}

    async def restored(self, channel: LinkChannel) -> dict[str, Any]:
        """Record that the workspace was restored."""
        if channel.arguments.get("session_uid") != self.state.session_uid or not self.state.session_uid:
            raise _wrong_session("this runtime is not bound to that session")
        self.state.restart_file.save(restored=True)
        self.pool.preload()
        return {}

    async def commit(self, channel: LinkChannel) -> dict[str, Any]:
        """Record the workspace's commit in storage if one is given, and return the recorded one."""
        commit = channel.arguments.get("commit")
        if commit is not None:
            if not isinstance(commit, str) or len(commit) > _MAX_COMMIT:
                raise invalid("commit", f"`commit` must be a string of at most {_MAX_COMMIT} characters")
            self.state.restart_file.save(commit=commit)
        return {"commit": self.state.restart_file.commit}

    async def status(self, _channel: LinkChannel) -> dict[str, Any]:
        """Return the numbers of busy contexts and running commands, of contexts, and of processes."""
        contexts = list(self.contexts)
        commands = len(self.commands.running) + self.processes.running
        return {
            "running": sum(context.is_busy for context in contexts) + commands,
            "contexts": self.contexts.count,
            "processes": sum(context.has_process for context in contexts) + commands,
        }

    async def measure(self, _channel: LinkChannel) -> dict[str, Any]:
        """Return what the session uses now."""
        return await asyncio.to_thread(self.metrics.measure)


def _wrong_session(message: str) -> OperationError:
    return OperationError("FAILED_PRECONDITION", "ALREADY_BOUND", message, "session_uid")
