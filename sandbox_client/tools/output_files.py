"""Saves a cell's output file to the workspace, and keeps in the sandbox what a model got only in part."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import NotFound, SandboxError
from sandbox_client.tools import limits, results, workspace
from sandbox_client.tools.pictures import OUTPUT_FOLDER
from sandbox_client.tools.results import ToolResult
from sandbox_client.tools.schemas import NAMESPACE

if TYPE_CHECKING:
    from sandbox_client.models.results import CommandResult, Execution
    from sandbox_client.sandbox import AsyncSandbox
    from sandbox_client.tools.pictures import Pictures

_MAX_KEPT: Final = 20
_log = logging.getLogger(__name__)


class WholeOutputs:
    """The files with whole outputs. The oldest are removed.

    Args:
        max_text: Characters of one result; None for no limit.
    """

    def __init__(self, max_text: int | None) -> None:
        self._max_text = max_text
        self._paths: deque[str] = deque()

    async def keep(self, sandbox: AsyncSandbox, result: ToolResult, execution: Execution | CommandResult) -> ToolResult:
        """Save the whole output if the result is too long for the model. Return the result, which then says where."""
        if self._max_text is None:
            return limits.bound_texts(result)
        if not limits.is_too_long(result, self._max_text):
            return result
        path = f"{OUTPUT_FOLDER}/{execution.request_id[:12]}.txt"
        try:
            await sandbox.files.write(path, results.output_text(execution))
            self._paths.append(path)
            if len(self._paths) > _MAX_KEPT:
                await sandbox.files.remove(self._paths.popleft())
        except SandboxError as error:
            _log.info("the whole output was not kept: %s", error)
            return result
        return dataclasses.replace(result, whole=f"{path} in the sandbox")


async def deliver(sandbox: AsyncSandbox, execution: Execution, name: str, pictures: Pictures) -> ToolResult:
    """Save a file that the code created, and add it to the pictures. Return the output and the file's stored path."""
    try:
        info = await workspace.save_one(sandbox, name)
        await pictures.add_file(info)
    except SandboxError as error:
        reason = "the code created no file of that name" if isinstance(error, NotFound) else str(error)
        warning = f"{name} was not saved to the workspace: {reason}"
        return ToolResult({"warning": warning, "stdout": results.output_text(execution), "status": "partial"})
    stdout = results.output_text(execution, shown_instead=name if pictures.shown else "")
    line = f"Saved {info.path} ({info.size / 1024:.1f} KB) to the workspace as {NAMESPACE}{info.path}"
    if stdout == results.NO_OUTPUT:
        return ToolResult(line)
    return ToolResult(stdout + ("" if stdout.endswith("\n") else "\n") + line)
