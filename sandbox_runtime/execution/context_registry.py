"""The session's contexts, by id and alias."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.execution.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sandbox_runtime.interpreters.interpreter import OutputBuffer
    from sandbox_runtime.interpreters.pool import InterpreterPool
    from sandbox_runtime.limits.oom_guard import OomGuard
    from sandbox_runtime.session_state import SessionState

_MAX_CONTEXTS: Final = 64
_BASH: Final = "bash"
"""Language and id of the default context of bash."""


class ContextRegistry:
    """All contexts: the default ones, and those that clients create. That of bash begins with its first use.

    Args:
        state: The session.
        pool: Provides interpreters.
        output: The output to the agent.
        oom_guard: Watches the memory of interpreters.
        on_exit: Called with the context and the reason when a process ended by itself.

    Attributes:
        python: The default context of Python.
        javascript: The default context of JavaScript. Its alias `typescript` is for TypeScript.
    """

    def __init__(
        self,
        state: SessionState,
        pool: InterpreterPool,
        output: OutputBuffer,
        oom_guard: OomGuard,
        on_exit: Callable[[Context, str], None],
    ) -> None:
        self._state = state
        self._pool = pool
        self._output = output
        self._oom_guard = oom_guard
        self._on_exit = on_exit
        self.python = self._make("python", "python")
        self.javascript = self._make("javascript", "javascript")
        self._contexts = {"python": self.python, "javascript": self.javascript, "typescript": self.javascript}

    def __iter__(self) -> Iterator[Context]:
        """Iterate over the contexts, each once."""
        return iter(list({id(context): context for context in self._contexts.values()}.values()))

    @property
    def count(self) -> int:
        """Number of ids, aliases included."""
        return len(self._contexts)

    @property
    def is_busy(self) -> bool:
        """True if a cell runs or waits."""
        return any(context.is_busy for context in self._contexts.values())

    def get(self, context_id: str) -> Context | None:
        """Return a context by its id or alias, or None if there is none."""
        return self._contexts.get(context_id)

    def find(self, arguments: Mapping[str, Any]) -> Context:
        """Return the context that an operation's `context_id` names.

        Raises:
            OperationError: NOT_FOUND, UNKNOWN_CONTEXT.
        """
        name = arguments.get("context_id")
        context = self._contexts.get(name) if isinstance(name, str) else None
        if context is None and name == _BASH:
            context = self._contexts[_BASH] = self._make(_BASH, _BASH)
        if context is None:
            message = f"there is no context {str(name)[:128]!r}: list the contexts, or create one"
            raise OperationError("NOT_FOUND", "UNKNOWN_CONTEXT", message, "context_id")
        return context

    def describe(self, name: str) -> dict[str, Any]:
        """Return a context's object on the link, under an id or alias."""
        return self._contexts[name].describe(name, "typescript" if name == "typescript" else "")

    def describe_all(self) -> list[dict[str, Any]]:
        """Return the objects of all ids, aliases included."""
        return [self.describe(name) for name in self._contexts]

    def create(self, language: str, cwd: str, env: dict[str, str], context_id: str = "") -> Context:
        """Add a context.

        Args:
            language: Its default language.
            cwd: Working directory, relative to the workspace root.
            env: Added to the session's environment.
            context_id: Its id; by default a random one.

        Raises:
            OperationError: RESOURCE_EXHAUSTED: the session has too many. INVALID_ARGUMENT: `env` is too large.
        """
        self._state.check_environment(self._state.env, env)
        if len(self._contexts) >= _MAX_CONTEXTS:
            message = f"a session has at most {_MAX_CONTEXTS} contexts; delete one first"
            raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", message)
        context = self._make(context_id or f"ctx-{secrets.token_hex(6)}", language, cwd, env)
        self._contexts[context.id] = context
        return context

    async def delete(self, context: Context) -> None:
        """End a context that was created.

        Raises:
            OperationError: FAILED_PRECONDITION: it is a default context.
        """
        if context in (self.python, self.javascript) or context.id == _BASH:
            message = f"the default context {context.id!r} cannot be deleted: restart it instead"
            raise OperationError("FAILED_PRECONDITION", "INVALID_ARGUMENT", message, "context_id")
        del self._contexts[context.id]
        await context.close()

    async def renew_processes(self) -> None:
        """Replace every process, because the session's network policy changed.

        Node cannot install the socket filter itself, and no filter reaches sockets that a process has open already.
        """
        self._pool.renew_standbys()
        for context in self:
            if context.is_untouched:
                context.exchange_process()
            else:
                await context.restart()

    async def close(self) -> None:
        """End every context."""
        for context in self:
            await context.close()

    def _make(self, context_id: str, language: str, cwd: str = "", env: dict[str, str] | None = None) -> Context:
        return Context(
            context_id, language, self._pool, self._output, self._oom_guard, cwd=cwd, env=env, on_exit=self._on_exit
        )
