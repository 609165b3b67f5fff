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

    def __init__(self, on_stdout: Callable[[str], object] | None, on_stderr: Callable[[str], object] | None) -> None:
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr

    def add(self, event: object) -> bool:
        """Add an event. Return False if it is not output."""
        if isinstance(event, Stdout):
            self._stdout.append(event.text)
            if self._on_stdout:
                self._on_stdout(event.text)
        elif isinstance(event, Stderr):
            self._stderr.append(event.text)
            if self._on_stderr:
                self._on_stderr(event.text)
        else:
            return False
        return True

    @property
    def stdout(self) -> str:
        """All of standard output."""
        return "".join(self._stdout)

    @property
    def stderr(self) -> str:
        """All of standard error."""
        return "".join(self._stderr)


class ExecutionFold(OutputFold):
    """Folds the events of a cell into an Execution."""

    def __init__(
        self,
        request_id: str = "",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(on_stdout, on_stderr)
        self._results: list[Result] = []
        self._execution = Execution(request_id=request_id)

    def add(self, event: object) -> bool:
        """Add an event. Return False if it does not change the result."""
        if super().add(event):
            return True
        if isinstance(event, Result):
            self._add_result(event)
        elif isinstance(event, CodeError):
            self._execution = replace(self._execution, error=event)
        elif isinstance(event, TypesChecked):
            self._execution = replace(self._execution, diagnostics=event.diagnostics)
        elif isinstance(event, Started):
            self._execution = replace(self._execution, context_id=event.context_id)
        elif isinstance(event, Completed):
            self._execution = replace(self._execution, **_fields(event))
        else:
            return False
        return True

    def _add_result(self, result: Result) -> None:
        if result.is_update and result.display_id:
            for index, shown in enumerate(self._results):
                if shown.display_id == result.display_id:
                    self._results[index] = replace(result, is_main=shown.is_main)
                    return
        self._results.append(result)

    def finish(self) -> Execution:
        """Return the cell's result so far."""
        return replace(self._execution, results=tuple(self._results), stdout=self.stdout, stderr=self.stderr)


class CommandFold(OutputFold):
    """Folds the events of a command into a CommandResult."""

    def __init__(
        self,
        request_id: str = "",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(on_stdout, on_stderr)
        self._result = CommandResult(request_id=request_id)

    def add(self, event: object) -> bool:
        """Add an event. Return False if it does not change the result."""
        if super().add(event):
            return True
        if isinstance(event, Exited):
            self._result = replace(self._result, **_fields(event))
            return True
        return False

    def finish(self) -> CommandResult:
        """Return the command's result so far."""
        return replace(self._result, stdout=self.stdout, stderr=self.stderr)


def _fields(event: Completed | Exited) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}
