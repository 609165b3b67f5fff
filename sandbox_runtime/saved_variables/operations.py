"""Saves and loads variables: `variables.save` collects them from each context, `variables.load` restores them.

Interpreters pickle and unpickle them (`python.pickling`); here they are bytes. This is best effort: if a context is
busy, dies or takes too long, the report says so, and the next context follows.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Stream
from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.execution.internal_task import TaskSink
from sandbox_runtime.python.variable_records import RecordError
from sandbox_runtime.saved_variables.report import DEFAULT_IDS, Report, Section, read_outcome, read_sections

if TYPE_CHECKING:
    from sandbox_runtime.execution.context import Context
    from sandbox_runtime.execution.context_registry import ContextRegistry
    from sandbox_runtime.interpreters.pool import InterpreterPool
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.link.server_connection import Handler

_ALL: Final = ""
_MAX_HEADERS: Final = 8 << 20
"""Bytes of names and reasons, in addition to the pickles."""
_PRELOAD_TIMEOUT: Final = 5.0
"""Seconds to wait for the preloaded zygote: its children have the libraries of most variables."""
_MAX_PROBLEM: Final = 500
_ENDED: Final = "the interpreter ended while its variables were {}"
_MIN_SECONDS: Final = 0.5
"""If less time is left, a context is skipped."""


class SavedVariables:
    """Handlers of `variables.save` and `variables.load`.

    Args:
        contexts: The session's contexts.
        pool: Provides interpreters.

    Attributes:
        report: The result of `variables.load`; None before it.
    """

    def __init__(self, contexts: ContextRegistry, pool: InterpreterPool) -> None:
        self.report: Report | None = None
        self._contexts = contexts
        self._pool = pool

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers by operation."""
        return {"variables.save": self.save, "variables.load": self.load}

    async def save(self, channel: LinkChannel) -> dict[str, Any]:
        """Send the variables of every context that can be saved, the default contexts first."""
        left, end = _read_limits(channel)
        size = 0
        for context in self._contexts:
            section = await self._save_context(context, channel.number, left, end)
            if section is None:
                continue
            left -= sum(len(content) for _, content in section.variables)
            for piece in section.encode():
                size += len(piece)
                await channel.send(Stream.BODY, piece)
        return {"bytes": size}

    async def load(self, channel: LinkChannel) -> dict[str, Any]:
        """Restore the variables of contexts. A repeat restores nothing. With `problem` there is no input."""
        limit, end = _read_limits(channel)
        problem, data = str(channel.arguments.get("problem") or ""), bytearray()
        while not problem and (piece := await channel.receive()) is not None:
            data += piece
            if len(data) > limit + _MAX_HEADERS:
                raise invalid("limit", "the variables exceed `limit`")
        if self.report is None:
            report = self.report = Report(problem=problem[:_MAX_PROBLEM])
            try:
                sections = read_sections(data)
            except RecordError as error:
                report.problem = f"the saved variables are damaged: {error}"[:_MAX_PROBLEM]
                sections = []
            if any(section.variables for section in sections):
                self._pool.preload()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PRELOAD_TIMEOUT):
                        await self._pool.preloaded_ready.wait()
            for section in sections:
                await self._load_section(section, channel.number, end, report)
        elif problem:
            # The agent gave up while the variables were being restored.
            self.report.problem = problem[:_MAX_PROBLEM]
        return {}

    async def _save_context(self, context: Context, number: int, limit: int, end: float) -> Section | None:
        """Return a context's variables, or None if it is a default context in which no cell ran."""
        if not context.execution_count and context.id in DEFAULT_IDS and not context.is_busy:
            return None
        section = Section(context.id, context.language, context.cwd, context.env, context.execution_count)
        seconds = end - asyncio.get_running_loop().time()
        if context.language != "python":
            if context.execution_count:
                section.lost.append((_ALL, "only variables of Python are kept"))
            section.execution_count = 0
        elif context.is_busy:
            section.lost.append((_ALL, "a cell was still running"))
            section.execution_count = 0
        elif context.has_process and seconds < _MIN_SECONDS:
            section.lost.append((_ALL, "there was no time left"))
            section.execution_count = 0
        elif context.has_process:
            await self._save_variables(context, section, TaskSink(number, limit + _MAX_HEADERS), limit, seconds)
        return section

    async def _save_variables(
        self, context: Context, section: Section, sink: TaskSink, limit: int, seconds: float
    ) -> None:
        ended = await context.run_task(sink, {"op": "variables.save", "limit": limit}, b"", seconds)
        outcome = read_outcome(sink.body)
        section.variables, section.cells = list(outcome.saved.items()), outcome.cells
        section.lost = [(name, why) for name, why in outcome.lost.items() if name not in outcome.saved]
        unreported = [name for name in outcome.names if name not in outcome.saved and name not in outcome.lost]
        why = "it took too long" if ended["status"] == "TIMED_OUT" else _ENDED.format("saved")
        section.lost.extend((name, why) for name in unreported)
        if not outcome.names and ended["status"] != "OK":
            section.lost.append((_ALL, why))
        if not section.variables:
            section.execution_count = 0

    async def _load_section(self, section: Section, number: int, end: float, report: Report) -> None:
        report.omitted[1] += section.omitted
        for name, why in section.lost:
            report.lose(section.id, name, why)
        try:
            context = self._contexts.get(section.id) or self._contexts.create(
                section.language, section.cwd, section.env, section.id
            )
        except OperationError as error:
            report.lose(section.id, _ALL, f"its context could not be created again: {error.message}")
            return
        if not section.variables or context.language != "python":
            return
        seconds = end - asyncio.get_running_loop().time()
        if seconds < _MIN_SECONDS:
            for name, _ in section.variables:
                report.lose(section.id, name, "there was no time left")
            return
        sink = TaskSink(number, _MAX_HEADERS)
        content = b"".join(section.encode_variables())
        ended = await context.run_task(sink, {"op": "variables.load"}, content, seconds)
        outcome = read_outcome(sink.body)
        is_alive = not ended["context_restarted"]
        for name, _ in section.variables:
            if name in outcome.restored and is_alive:
                report.keep(section.id, name)
            else:
                why = "it took too long" if ended["status"] == "TIMED_OUT" else _ENDED.format("restored")
                report.lose(section.id, name, outcome.lost.get(name, why))
        if is_alive and outcome.restored:
            context.execution_count = section.execution_count


def _read_limits(channel: LinkChannel) -> tuple[int, float]:
    """Return the limit in bytes, and the loop's time at which the operation must end."""
    limit, seconds = channel.arguments.get("limit"), channel.arguments.get("timeout")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise invalid("limit", "`limit` must be a number of bytes")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise invalid("timeout", "`timeout` must be a number of seconds above 0", "INVALID_TIMEOUT")
    return limit, asyncio.get_running_loop().time() + seconds
