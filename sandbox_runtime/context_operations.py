"""The link's operations on executions and contexts. They check the arguments, then call the context."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.execution.execution import Execution
from sandbox_runtime.execution.type_gate import read_type_gate
from sandbox_runtime.settings import LANGUAGES, read_env

if TYPE_CHECKING:
    from sandbox_runtime.execution.context import Context
    from sandbox_runtime.execution.context_registry import ContextRegistry
    from sandbox_runtime.interpreters.pool import InterpreterPool
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.link.server_connection import Handler
    from sandbox_runtime.saved_variables.operations import SavedVariables
    from sandbox_runtime.session_state import SessionState
    from sandbox_runtime.typecheck.checker import Checker

_MAX_CODE: Final = 256 << 20
_FAMILIES: Final = {name: "javascript" if name == "typescript" else name for name in LANGUAGES}
"""Languages that share contexts have the same family."""


@dataclass(slots=True, eq=False)
class ContextOperations:
    """Handlers of `execute`, `interrupt` and `context.*`.

    Attributes:
        state: The session.
        contexts: Its contexts.
        pool: Provides interpreters.
        checker: Checks types.
        variables: Reports which variables a resume has restored.
    """

    state: SessionState
    contexts: ContextRegistry
    pool: InterpreterPool
    checker: Checker
    variables: SavedVariables

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers by operation. `execute` is a starter and not among them."""
        return {
            "interrupt": self.interrupt,
            "context.create": self.create,
            "context.list": self.list,
            "context.restart": self.restart,
            "context.delete": self.delete,
        }

    def execute(self, channel: LinkChannel) -> None:
        """Collect the code, then queue the execution. The context ends the channel."""
        arguments = channel.arguments
        context, language = self._find(arguments)
        timeout = self.state.read_timeout(arguments.get("timeout"))
        gate = read_type_gate(arguments, language, self.checker, self.state.root / context.cwd)
        size = arguments.get("code_bytes")
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MAX_CODE:
            raise invalid("code", f"`code` may have at most {_MAX_CODE} bytes")
        if size == 0:
            raise _empty_code()
        code = bytearray()
        is_cancelled = False

        def cancel() -> None:
            nonlocal is_cancelled
            is_cancelled = True

        def collect(data: bytes) -> None:
            code.extend(data)
            if len(code) < size:
                return
            channel.on_input = None
            try:
                if not code.strip():
                    raise _empty_code()
                limits = self.state.limits
                execution = Execution(
                    channel,
                    language,
                    bytes(code),
                    timeout,
                    limits.output_bytes,
                    has_network=not limits.deny_network,
                )
                channel.on_cancel = lambda: context.cancel(execution)
                if is_cancelled:
                    execution.finish("INTERRUPTED")
                else:
                    context.submit(execution, gate)
            except OperationError as error:
                channel.fail(error)

        channel.on_input, channel.on_cancel = collect, cancel

    async def interrupt(self, channel: LinkChannel) -> dict[str, Any]:
        """Interrupt the running cell of a context."""
        return {"interrupted": self.contexts.find(channel.arguments).interrupt()}

    async def create(self, channel: LinkChannel) -> dict[str, Any]:
        """Create a context with a process of its own."""
        arguments = channel.arguments
        language = self._check_language(arguments.get("language"))
        cwd = arguments.get("cwd") or ""
        if not isinstance(cwd, str):
            raise invalid("cwd", "`cwd` is not a string")
        folder = self.state.resolve_cwd(cwd)
        context = self.contexts.create(language, self.state.describe_cwd(folder), read_env(arguments.get("env")))
        context.warm_up()
        # After the answer: on few cores the starting process would delay it.
        asyncio.get_running_loop().call_soon(context.initialize)
        return context.describe()

    async def list(self, _channel: LinkChannel) -> dict[str, Any]:
        """Return all contexts, aliases included, and the report on variables restored after a suspend."""
        report = self.variables.report
        return {
            "contexts": self.contexts.describe_all(),
            "variables": report.as_object() if report is not None else None,
        }

    async def restart(self, channel: LinkChannel) -> dict[str, Any]:
        """Replace a context's process."""
        await self.contexts.find(channel.arguments).restart()
        return self.contexts.describe(channel.arguments["context_id"])

    async def delete(self, channel: LinkChannel) -> dict[str, Any]:
        """End a context that was created."""
        await self.contexts.delete(self.contexts.find(channel.arguments))
        return {}

    def _find(self, arguments: dict[str, Any]) -> tuple[Context, str]:
        """Return the context and the language of an `execute`."""
        language = arguments.get("language") or ""
        if not arguments.get("context_id"):
            language = self._check_language(language)
            return self.contexts.find({"context_id": language}), language
        context = self.contexts.find(arguments)
        if not language:
            is_alias = arguments["context_id"] == "typescript"
            return context, "typescript" if is_alias else context.language
        self._check_language(language)
        if _FAMILIES[language] != _FAMILIES[context.language]:
            message = f"the context {context.id!r} runs {context.language}, not {language}: use another context"
            raise invalid("language", message, "UNKNOWN_LANGUAGE")
        return context, language

    def _check_language(self, language: object) -> str:
        allowed = self.state.limits.languages or LANGUAGES
        if not isinstance(language, str) or language not in LANGUAGES:
            names = ", ".join(LANGUAGES)
            message = f"there is no language {str(language)[:64]!r}: the languages are {names}"
        elif _FAMILIES[language] == "javascript" and not self.pool.has_node:
            message = f"{language} cannot run, because the sandbox has no Node: install it in the image, or run Python"
        elif language not in allowed:
            message = f"{language} is not allowed in this session: use {', '.join(allowed)}"
        else:
            return language
        raise invalid("language", message, "UNKNOWN_LANGUAGE")


def _empty_code() -> OperationError:
    return invalid("code", "the code is empty: send the source to run", "EMPTY_CODE")
