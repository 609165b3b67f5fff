"""The link's operations on executions, contexts and the session: arguments checked, then handed on."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.execution.context import Context
from sandbox_runtime.execution.execution import Execution
from sandbox_runtime.execution.type_gate import read_type_check
from sandbox_runtime.saved_variables.operations import Variables
from sandbox_runtime.settings import LANGUAGES, read_env

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_runtime.interpreters.pool import Nursery
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.link.server_connection import Handler
    from sandbox_runtime.processes.command import Commands
    from sandbox_runtime.processes.operations import Processes
    from sandbox_runtime.session_state import State
    from sandbox_runtime.typecheck.checker import Checker

_MAX_CODE: Final = 256 << 20
_MAX_CONTEXTS: Final = 64
_MAX_COMMIT: Final = 1024


class Operations:
    """Handlers of the link.

    Args:
        state: The session.
        nursery: Makes interpreters.
        commands: Runs commands.
        processes: Runs background processes.
        checker: Checks types.
        announce: Sends an event on channel 0.
    """

    def __init__(
        self,
        state: State,
        nursery: Nursery,
        commands: Commands,
        processes: Processes,
        checker: Checker,
        announce: Callable[[dict[str, Any]], None],
    ) -> None:
        self._state = state
        self._nursery = nursery
        self._commands = commands
        self._processes = processes
        self._checker = checker
        self._announce = announce
        self.python = Context("python", "python", nursery, on_exit=self._on_exit)
        self.javascript = Context("javascript", "javascript", nursery, on_exit=self._on_exit)
        # Other ids of a context that has one already.
        self._contexts = {"python": self.python, "javascript": self.javascript, "typescript": self.javascript}
        self._variables = Variables(self._contexts, self._add_context, nursery)

    def handlers(self) -> dict[str, Handler]:
        """Operation to handler."""
        return {
            "configure": self.configure,
            "restored": self.restored,
            "workspace.commit": self.commit,
            "status": self.status,
            "interrupt": self.interrupt,
            "context.create": self.create_context,
            "context.list": self.list_contexts,
            "context.restart": self.restart_context,
            "context.delete": self.delete_context,
            "run": self._commands.run,
            **self._processes.handlers(),
            **self._variables.handlers(),
        }

    @property
    def is_busy(self) -> bool:
        """Whether a cell or command runs."""
        cells = any(context.is_busy for context in self._contexts.values())
        return cells or bool(self._commands.running) or self._processes.running > 0

    async def close(self) -> None:
        """End every context."""
        for context in {id(context): context for context in self._contexts.values()}.values():
            await context.close()
        await self._checker.close()

    # The session.

    async def configure(self, channel: LinkChannel) -> dict[str, Any]:
        """Bind the runtime to a session; again with the same uid changes nothing but the values."""
        arguments = channel.arguments
        uid = arguments.get("session_uid")
        if not isinstance(uid, str) or not uid:
            raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "`session_uid` is missing", "session_uid")
        if self._state.session_uid not in ("", uid):
            raise OperationError(
                "FAILED_PRECONDITION", "ALREADY_BOUND", "this runtime belongs to another session", "session_uid"
            )
        env = read_env(arguments.get("env"))
        limits = arguments.get("limits") or {}
        if not isinstance(limits, dict):
            raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "`limits` is not an object", "limits")
        denied = self._state.limits.deny_network
        self._state.limits.update(limits)
        self._state.session_uid, self._state.env = uid, env
        self._state.marks.bind(uid)
        if denied is not self._state.limits.deny_network:
            await self._renew_processes()
        return {"restored": self._state.marks.restored, "runtime_id": self._state.runtime_id}

    async def _renew_processes(self) -> None:
        # Node cannot take the socket filter on itself, and what a process opened before is beyond any filter.
        self._nursery.renew_standbys()
        for context in {id(context): context for context in self._contexts.values()}.values():
            if context.is_untouched:
                context.exchange()
            else:
                await context.restart()

    async def restored(self, channel: LinkChannel) -> dict[str, Any]:
        """Remember that the workspace was restored."""
        if channel.arguments.get("session_uid") != self._state.session_uid or not self._state.session_uid:
            raise OperationError(
                "FAILED_PRECONDITION", "ALREADY_BOUND", "this runtime is not bound to that session", "session_uid"
            )
        self._state.marks.note(restored=True)
        self._nursery.preload()
        return {}

    async def commit(self, channel: LinkChannel) -> dict[str, Any]:
        """Remember which commit of storage the workspace holds, or say it."""
        commit = channel.arguments.get("commit")
        if commit is not None:
            if not isinstance(commit, str) or len(commit) > _MAX_COMMIT:
                raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "`commit` is no short text", "commit")
            self._state.marks.note(commit=commit)
        return {"commit": self._state.marks.commit}

    async def status(self, _channel: LinkChannel) -> dict[str, Any]:
        """Count what runs."""
        contexts = {id(context): context for context in self._contexts.values()}.values()
        commands = len(self._commands.running) + self._processes.running
        return {
            "running": sum(context.is_busy for context in contexts) + commands,
            "contexts": len(self._contexts),
            "processes": sum(context.has_process for context in contexts) + commands,
        }

    # Executions.

    def execute(self, channel: LinkChannel) -> None:
        """Collect the code, then queue the execution; its channel is ended by the context."""
        arguments = channel.arguments
        context, language = self._find(arguments)
        timeout = self._state.read_timeout(arguments.get("timeout"))
        check = read_type_check(arguments, language, self._checker, self._state.root / context.cwd)
        size = arguments.get("code_bytes")
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_CODE:
            raise OperationError(
                "INVALID_ARGUMENT", "INVALID_ARGUMENT", f"`code` is more than {_MAX_CODE} bytes", "code"
            )
        if size == 0:
            raise _empty_code()
        code = bytearray()

        def collect(data: bytes) -> None:
            code.extend(data)
            if len(code) < size:
                return
            channel.on_input = None
            try:
                if not code.strip():
                    raise _empty_code()
                limit = self._state.limits.output_bytes
                context.submit(Execution(channel, language, bytes(code), timeout, limit, check))
            except OperationError as error:
                channel.fail(error)

        channel.on_input = collect

    async def interrupt(self, channel: LinkChannel) -> dict[str, Any]:
        """Interrupt what runs in a context."""
        return {"interrupted": self._named(channel.arguments).interrupt()}

    # Contexts.

    async def create_context(self, channel: LinkChannel) -> dict[str, Any]:
        """Make a context with a process of its own."""
        arguments = channel.arguments
        language = self._allowed(arguments.get("language"))
        cwd = arguments.get("cwd") or ""
        if not isinstance(cwd, str):
            raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "`cwd` is not a string", "cwd")
        folder = self._state.resolve_cwd(cwd)
        env = read_env(arguments.get("env"))
        relative = "" if folder == self._state.root else str(folder.relative_to(self._state.root))
        context = self._add_context(f"ctx-{secrets.token_hex(6)}", language, relative, env)
        context.warm()
        # After the answer, so that on few cores the process does not take the time of it.
        asyncio.get_running_loop().call_soon(context.settle)
        return context.describe()

    async def list_contexts(self, _channel: LinkChannel) -> dict[str, Any]:
        """All contexts, the aliases of default ones included, and what a wake brought back of their variables."""
        report = self._variables.report
        contexts = [self._describe(name) for name in self._contexts]
        return {"contexts": contexts, "variables": report.as_object() if report is not None else None}

    async def restart_context(self, channel: LinkChannel) -> dict[str, Any]:
        """Replace a context's process."""
        await self._named(channel.arguments).restart()
        return self._describe(channel.arguments["context_id"])

    async def delete_context(self, channel: LinkChannel) -> dict[str, Any]:
        """End a context that was created."""
        context = self._named(channel.arguments)
        if context in (self.python, self.javascript):
            message = "a default context cannot be deleted; restart it instead"
            raise OperationError("FAILED_PRECONDITION", "INVALID_ARGUMENT", message, "context_id")
        del self._contexts[context.id]
        await context.close()
        return {}

    def _add_context(self, context_id: str, language: str, cwd: str, env: dict[str, str]) -> Context:
        if len(self._contexts) >= _MAX_CONTEXTS:
            message = f"a session has at most {_MAX_CONTEXTS} contexts; delete one first"
            raise OperationError("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", message)
        kind = "python" if language == "python" else "javascript"
        context = Context(context_id, kind, self._nursery, cwd=cwd, env=env, on_exit=self._on_exit)
        context.shown_language = language
        self._contexts[context_id] = context
        return context

    def _describe(self, name: str) -> dict[str, Any]:
        return self._contexts[name].describe(name, "typescript" if name == "typescript" else "")

    def _find(self, arguments: dict[str, Any]) -> tuple[Context, str]:
        language = arguments.get("language") or ""
        if not arguments.get("context_id"):
            language = self._allowed(language)
            return self._contexts[language], language
        context = self._named(arguments)
        if not language:
            alias = arguments["context_id"] == "typescript"
            return context, "typescript" if alias else context.shown_language
        self._allowed(language)
        if (language == "python") is not (context.language == "python"):
            message = f"the context `{arguments['context_id']}` runs {context.language}, not {language}"
            raise OperationError("INVALID_ARGUMENT", "UNKNOWN_LANGUAGE", message, "language")
        return context, language

    def _named(self, arguments: dict[str, Any]) -> Context:
        name = arguments.get("context_id")
        context = self._contexts.get(name) if isinstance(name, str) else None
        if context is None:
            message = f"there is no context `{str(name)[:128]}`; list them, or create one"
            raise OperationError("NOT_FOUND", "UNKNOWN_CONTEXT", message, "context_id")
        return context

    def _allowed(self, language: object) -> str:
        allowed = self._state.limits.languages or LANGUAGES
        if not isinstance(language, str) or language not in LANGUAGES:
            names = ", ".join(LANGUAGES)
            message = f"unknown language `{str(language)[:64]}`; the languages are {names}"
        elif language != "python" and not self._nursery.has_node:
            message = f"{language} cannot run: there is no Node in the sandbox"
        elif language not in allowed:
            message = f"{language} is not allowed in this session; allowed: {', '.join(allowed)}"
        else:
            return language
        raise OperationError("INVALID_ARGUMENT", "UNKNOWN_LANGUAGE", message, "language")

    def _on_exit(self, context: Context, reason: str) -> None:
        self._announce({"type": "context_exited", "context_id": context.id, "reason": reason})


def _empty_code() -> OperationError:
    return OperationError("INVALID_ARGUMENT", "EMPTY_CODE", "`code` is empty", "code")
