"""Variables over a suspend: `variables.save` asks each context for them, `variables.load` gives them back.

The pickles are made and read in the interpreters (`runtime.python.variables`); here they are bytes. Best effort: a
context that is busy, dies or takes too long is named in the report and holds nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Stream
from sandbox_link.protocol import OperationError
from sandbox_runtime.execution.internal_task import TaskChannel, run_task
from sandbox_runtime.saved_variables.record_format import RecordError
from sandbox_runtime.saved_variables.report import Report, Section, read_outcome, read_sections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_runtime.execution.context import Context
    from sandbox_runtime.interpreters.pool import Nursery
    from sandbox_runtime.link.channel import LinkChannel
    from sandbox_runtime.link.server_connection import Handler

_ALL: Final = ""
_HEADERS: Final = 8 << 20
"""Bytes of names and reasons, beside the pickles."""
_PRELOADS: Final = 5.0
"""Seconds to wait for the preloaded zygote: its children have the libraries of most variables."""
_LONGEST_PROBLEM: Final = 500
_ENDED: Final = "the interpreter ended while its variables were {}"
_SHORT: Final = 0.5


class Variables:
    """The two operations.

    Args:
        contexts: All of them by id; aliases too.
        make: Adds a context: id, language, cwd, env.
        nursery: Makes interpreters.

    Attributes:
        report: What `variables.load` brought back; None before it.
    """

    def __init__(
        self,
        contexts: Mapping[str, Context],
        make: Callable[[str, str, str, dict[str, str]], Context],
        nursery: Nursery,
    ) -> None:
        self.report: Report | None = None
        self._contexts = contexts
        self._make = make
        self._nursery = nursery

    def handlers(self) -> dict[str, Handler]:
        """Operation to handler."""
        return {"variables.save": self.save, "variables.load": self.load}

    async def save(self, channel: LinkChannel) -> dict[str, Any]:
        """Send what can be saved of every context, the default ones first; nothing where there is nothing."""
        left, end = _read_limits(channel)
        size = 0
        # By object: `typescript` is another id of `javascript`.
        for context in {id(context): context for context in self._contexts.values()}.values():
            section = await self._save_context(context, channel.number, left, end)
            if section is None:
                continue
            left -= sum(len(content) for _, content in section.variables)
            for piece in section.encode():
                size += len(piece)
                await channel.send(Stream.BODY, piece)
        return {"bytes": size}

    async def load(self, channel: LinkChannel) -> dict[str, Any]:
        """Give contexts their variables; once, a repeat changes nothing. With `problem` there is no input."""
        limit, end = _read_limits(channel)
        problem, data = str(channel.arguments.get("problem") or ""), bytearray()
        while not problem and (piece := await channel.receive()) is not None:
            data += piece
            if len(data) > limit + _HEADERS:
                raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "more variables than the limit", "limit")
        if self.report is None:
            report = self.report = Report(problem=problem[:_LONGEST_PROBLEM])
            try:
                sections = read_sections(data)
            except RecordError as error:
                report.problem = f"what was saved of the variables is damaged: {error}"[:_LONGEST_PROBLEM]
                sections = []
            if any(section.variables for section in sections):
                self._nursery.preload()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PRELOADS):
                        await self._nursery.loaded_is_ready.wait()
            for section in sections:
                await self._load_section(section, channel.number, end, report)
        elif problem:
            # Of an agent that gave up while they were being brought back.
            self.report.problem = problem[:_LONGEST_PROBLEM]
        return {}

    async def _save_context(self, context: Context, number: int, limit: int, end: float) -> Section | None:
        """A context's variables; None where nobody would miss it."""
        if not context.execution_count and context.id in ("python", "javascript") and not context.is_busy:
            return None
        section = Section(context.id, context.shown_language, context.cwd, context.env, context.execution_count)
        seconds = end - asyncio.get_running_loop().time()
        if context.language != "python":
            if context.execution_count:
                section.lost.append((_ALL, "variables of Python alone are kept"))
            section.execution_count = 0
        elif context.is_busy:
            section.lost.append((_ALL, "a cell was still running"))
            section.execution_count = 0
        elif context.has_process and seconds < _SHORT:
            section.lost.append((_ALL, "there was no time left"))
            section.execution_count = 0
        elif context.has_process:
            await self._save_variables(context, section, TaskChannel(number, limit + _HEADERS), limit, seconds)
        return section

    async def _save_variables(
        self, context: Context, section: Section, channel: TaskChannel, limit: int, seconds: float
    ) -> None:
        ended = await run_task(context, channel, {"op": "variables.save", "limit": limit}, b"", seconds)
        outcome = read_outcome(channel.body)
        section.variables, section.cells = list(outcome.saved.items()), outcome.cells
        section.lost = [(name, why) for name, why in outcome.lost.items() if name not in outcome.saved]
        untold = [name for name in outcome.names if name not in outcome.saved and name not in outcome.lost]
        why = "it took too long" if ended["status"] == "TIMED_OUT" else _ENDED.format("saved")
        section.lost.extend((name, why) for name in untold)
        if not outcome.names and ended["status"] != "OK":
            section.lost.append((_ALL, why))
        if not section.variables:
            section.execution_count = 0

    async def _load_section(self, section: Section, number: int, end: float, report: Report) -> None:
        report.omitted[1] += section.omitted
        for name, why in section.lost:
            report.lose(section.id, name, why)
        try:
            context = self._contexts.get(section.id) or self._make(
                section.id, section.language, section.cwd, section.env
            )
        except OperationError as error:
            report.lose(section.id, _ALL, f"its context could not be made again: {error.message}")
            return
        if not section.variables or context.language != "python":
            return
        seconds = end - asyncio.get_running_loop().time()
        if seconds < _SHORT:
            for name, _ in section.variables:
                report.lose(section.id, name, "there was no time left")
            return
        channel = TaskChannel(number, _HEADERS)
        content = b"".join(section.encode_variables())
        ended = await run_task(context, channel, {"op": "variables.load"}, content, seconds)
        outcome = read_outcome(channel.body)
        is_alive = not ended["context_restarted"]
        for name, _ in section.variables:
            if name in outcome.restored and is_alive:
                report.keep(section.id, name)
            else:
                why = "it took too long" if ended["status"] == "TIMED_OUT" else _ENDED.format("brought back")
                report.lose(section.id, name, outcome.lost.get(name, why))
        if is_alive and outcome.restored:
            context.execution_count = section.execution_count


def _read_limits(channel: LinkChannel) -> tuple[int, float]:
    """Bytes, and the loop's time at which the operation is over."""
    limit, seconds = channel.arguments.get("limit"), channel.arguments.get("timeout")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "`limit` is no number of bytes", "limit")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise OperationError("INVALID_ARGUMENT", "INVALID_TIMEOUT", "`timeout` is no number of seconds", "timeout")
    return limit, asyncio.get_running_loop().time() + seconds
