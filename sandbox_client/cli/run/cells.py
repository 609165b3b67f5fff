"""Runs code as a cell, and writes everything that it prints and shows in its order."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from sandbox_client.cli.run.shown import shown_file, shown_text
from sandbox_client.models.aggregation import ExecutionFold
from sandbox_client.models.events import Started
from sandbox_client.models.results import Result

if TYPE_CHECKING:
    from sandbox_client.cli.output import Printer
    from sandbox_client.cli.run.shown import Shown
    from sandbox_client.models.results import Execution
    from sandbox_client.sync.sandbox import Sandbox


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A piece of code to run.

    Attributes:
        language: One of LANGUAGES.
        timeout: Seconds; the session's limit if None.
        context: Id of a context; the language's default one if None.
    """

    code: str
    language: str
    timeout: float | None = None
    context: str | None = None


def run_cell(printer: Printer, sandbox: Sandbox, cell: Cell) -> Execution:
    """Run a cell to its end. Ctrl-C interrupts it.

    Raises:
        SandboxError: It could not be run.
    """
    fold = ExecutionFold("", printer.write_stdout, printer.write_stderr)
    context = cell.context or cell.language
    events = sandbox.execute(cell.code, cell.language, timeout=cell.timeout, context=cell.context)
    try:
        for event in events:
            fold.add(event)
            if isinstance(event, Started):
                context = event.context_id or context
            elif isinstance(event, Result) and not event.is_update and (text := shown_text(event)):
                printer.write_stdout(text if text.endswith("\n") else f"{text}\n")
    except KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt):
            sandbox.contexts.interrupt(context)
        raise
    return fold.finish()


def shown_files(execution: Execution) -> list[Shown]:
    """Return the pictures and pages that a cell has shown."""
    return [file for result in execution.results if (file := shown_file(result)) is not None]


def execution_to_json(execution: Execution) -> dict[str, Any]:
    """Return an execution as a value for programs. Results have Jupyter's form of MIME bundles."""
    value = dataclasses.asdict(dataclasses.replace(execution, results=()))
    value["results"] = [result._repr_mimebundle_() for result in execution.results]
    return value
