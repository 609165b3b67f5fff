"""Checks a cell's types before the cell runs, and decides whether it may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.typecheck import HOW_TO_GET_IT
from sandbox_runtime.typecheck.declarations import MAX_DIAGNOSTICS
from sandbox_runtime.typecheck.language_server import CheckerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sandbox_runtime.typecheck.cell_history import CellHistory
    from sandbox_runtime.typecheck.checker import Checker

    Verdict = tuple[Sequence[dict[str, Any]], str]

REPORT, REQUIRE, ONLY = "report", "require", "only"
MODES: Final = (REPORT, REQUIRE, ONLY)
_MAX_LINES: Final = 20
"""Diagnostics in an error's traceback."""


@dataclass(slots=True, eq=False)
class TypeGate:
    """The type check that a client requested for one cell.

    Attributes:
        mode: `report`: the cell runs anyway; `require`: it runs if it has no type errors; `only`: it never runs.
        checker: Checks types.
        folder: The cell's working directory.
    """

    mode: str
    checker: Checker
    folder: Path

    @property
    def may_run(self) -> bool:
        """False if the cell is only checked."""
        return self.mode != ONLY

    async def check(self, code: bytes, context_id: str, history: CellHistory) -> Verdict:
        """Check a cell.

        Args:
            code: The cell, UTF-8.
            context_id: Its context.
            history: The cells that ran before it in its context.

        Returns:
            Events for the client, and the status that ends the cell without running it, or "" if it may run.
        """
        try:
            found = await self.checker.check(context_id, history, self.folder, code.decode(errors="replace"))
        except CheckerError as error:
            return [_error("TypeCheckFailed", str(error), [])], "ERROR"
        shown = found[:MAX_DIAGNOSTICS]
        event = {"type": "type_check", "diagnostics": shown, "omitted": len(found) - len(shown)}
        if self.mode == REPORT or not found:
            return [event], "" if self.may_run else "OK"
        return [event, _describe(found)], "ERROR"


def read_type_gate(arguments: dict[str, Any], language: str, checker: Checker, folder: Path) -> TypeGate | None:
    """Return the type check that an `execute` asks for, or None if it asks for none.

    Raises:
        OperationError: The mode is unknown, the cell is not TypeScript, or there is no checker. Field `type_check`.
    """
    mode = arguments.get("type_check") or ""
    if not mode:
        return None
    if mode not in MODES:
        raise invalid("type_check", f"`type_check` must be one of {', '.join(MODES)}")
    if language != "typescript":
        raise invalid("type_check", f"`type_check` is for typescript, and this cell is {language}: leave it out")
    if not checker.is_installed:
        raise OperationError("FAILED_PRECONDITION", "NO_TYPE_CHECKER", HOW_TO_GET_IT, "type_check")
    return TypeGate(mode, checker, folder)


def _describe(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    count = f"{len(found)} type errors" if len(found) > 1 else "1 type error"
    lines = [
        f"{item['line']}:{item['column']} - error TS{item['code']}: {item['message']}" for item in found[:_MAX_LINES]
    ]
    if len(found) > _MAX_LINES:
        lines.append(f"... and {len(found) - _MAX_LINES} more")
    return _error("TypeCheckError", f"{count}; the cell did not run", lines)


def _error(name: str, value: str, traceback: list[str]) -> dict[str, Any]:
    return {"type": "error", "name": name, "value": value, "traceback": traceback}
