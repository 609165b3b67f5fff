"""A cell's type check: it stands before the cell, tells what was found, and says whether the cell runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.typecheck import HOW_TO_GET_IT
from sandbox_runtime.typecheck.declarations import MAX_DIAGNOSTICS
from sandbox_runtime.typecheck.language_server import CheckerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sandbox_runtime.execution.execution import Execution
    from sandbox_runtime.typecheck.cell_history import CellHistory
    from sandbox_runtime.typecheck.checker import Checker

REPORT, REQUIRE, ONLY = "report", "require", "only"
MODES: Final = (REPORT, REQUIRE, ONLY)
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class TypeCheck:
    """One cell's type check.

    Attributes:
        mode: `report`: the cell runs anyway; `require`: it runs where it has no type errors; `only`: it does not run.
        checker: Does it.
        folder: The cell's working directory.
    """

    mode: str
    checker: Checker
    folder: Path

    async def pass_through(self, execution: Execution, context_id: str, history: CellHistory) -> str:
        """Check, and tell the agent; "" where the cell may run, otherwise the status it ends with."""
        code = execution.code.decode(errors="replace")
        try:
            found = await self.checker.check(context_id, history, self.folder, code)
        except CheckerError as error:
            execution.tell(_error("TypeCheckFailed", str(error), []))
            return "ERROR"
        shown = found[:MAX_DIAGNOSTICS]
        execution.tell({"type": "type_check", "diagnostics": shown, "omitted": len(found) - len(shown)})
        if self.mode == REPORT or not found:
            return "OK" if self.mode == ONLY else ""
        execution.tell(_describe(found))
        return "ERROR"


def read_type_check(arguments: dict[str, Any], language: str, checker: Checker, folder: Path) -> TypeCheck | None:
    """The type check that an `execute` asks for, if it does.

    Raises:
        OperationError: It makes no sense, or there is no checker. Field `type_check`.
    """
    mode = arguments.get("type_check") or ""
    if not mode:
        return None
    if mode not in MODES:
        message = f"`type_check` is none of {', '.join(MODES)}"
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", message, "type_check")
    if language != "typescript":
        message = f"`type_check` is for typescript; this cell is {language}"
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", message, "type_check")
    if not checker.is_there:
        raise OperationError("FAILED_PRECONDITION", "NO_TYPE_CHECKER", HOW_TO_GET_IT, "type_check")
    return TypeCheck(mode, checker, folder)


def _describe(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    count = f"{len(found)} type errors" if len(found) > 1 else "1 type error"
    lines = [f"{item['line']}:{item['column']} - error TS{item['code']}: {item['message']}" for item in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"... and {len(found) - _SHOWN} more")
    return _error("TypeCheckError", f"{count}; the cell did not run", lines)


def _error(name: str, value: str, traceback: list[str]) -> dict[str, Any]:
    return {"type": "error", "name": name, "value": value, "traceback": traceback}
