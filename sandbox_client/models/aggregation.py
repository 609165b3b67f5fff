"""Folds the events of a cell or command into its result. Pure: no I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sandbox_client.models.events import Completed, Exited, Started, Stderr, Stdout, TypesChecked
from sandbox_client.models.results import CodeError, CommandResult, Execution, Result

if TYPE_CHECKING:
    from collections.abc import Callable


class OutputFold:
    """Collects output, and passes each piece to a callback as it arrives."""

    def __init__(
        self,
        request_id: str = "",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> None:
        self._fields: dict[str, Any] = {"request_id": request_id}
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._order: list[tuple[str, int]] = []
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr

    def add(self, event: object) -> bool:
        """Add an event. Return False if it does not change the result."""
        if isinstance(event, Stdout):
            self._stdout.append(event.text)
            self._note("stdout", len(event.text))
            if self._on_stdout:
                self._on_stdout(event.text)
        elif isinstance(event, Stderr):
            self._stderr.append(event.text)
            self._note("stderr", len(event.text))
            if self._on_stderr:
                self._on_stderr(event.text)
        elif isinstance(event, Completed | Exited):
            self._fields.update((name, getattr(event, name)) for name in event.__slots__)
        else:
            return False
        return True

    def _note(self, kind: str, count: int) -> None:
        """Record the order of the output. A piece that continues the one before it is added to that."""
        if self._order and self._order[-1][0] == kind:
            count += self._order.pop()[1]
        self._order.append((kind, count))

    def _finish(self) -> dict[str, Any]:
        order = tuple(self._order)
        return {**self._fields, "stdout": "".join(self._stdout), "stderr": "".join(self._stderr), "order": order}


class ExecutionFold(OutputFold):
    """Folds the events of a cell into an Execution."""

    def add(self, event: object) -> bool:
        """Add an event. Return False if it does not change the result."""
        if isinstance(event, Result):
            self._add_result(event)
        elif isinstance(event, CodeError):
            self._fields["error"] = event
        elif isinstance(event, TypesChecked):
            self._fields.update(diagnostics=event.diagnostics, diagnostics_omitted=event.omitted)
        elif isinstance(event, Started):
            self._fields["context_id"] = event.context_id
        else:
            return super().add(event)
        return True

    def _add_result(self, result: Result) -> None:
        results = self._fields.setdefault("results", [])
        if result.is_update and result.display_id:
            for index, shown in enumerate(results):
                if shown.display_id == result.display_id:
                    results[index] = replace(result, is_main=shown.is_main)
                    return
        results.append(result)
        self._note("result", 1)

    def finish(self) -> Execution:
        """Return the cell's result so far."""
        fields = self._finish()
        return Execution(**{**fields, "results": tuple(fields.get("results", ()))})


class CommandFold(OutputFold):
    """Folds the events of a command into a CommandResult."""

    def finish(self) -> CommandResult:
        """Return the command's result so far."""
        return CommandResult(**self._finish())
