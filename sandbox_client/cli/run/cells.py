"""Runs code as a cell, and writes everything that it prints and shows in its order."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cli.run.late_output import Unmarked
from sandbox_client.cli.run.shown import shown_file, shown_text
from sandbox_client.models.aggregation import ExecutionFold
from sandbox_client.models.events import Started
from sandbox_client.models.results import Result, Status

if TYPE_CHECKING:
    from sandbox_client.cli.output import Printer
    from sandbox_client.cli.run.late_output import Writer
    from sandbox_client.cli.run.shown import Shown
    from sandbox_client.models.results import Execution
    from sandbox_client.sync.sandbox import Sandbox

_MIN_SECONDS: Final = 0.001
_WAIT_IN_PYTHON: Final = """\
for _ in __import__("threading").enumerate():
    if _ is not __import__("threading").main_thread() and not _.daemon:
        _.join()
"""
_WAIT_IN_NODE: Final = """\
await new Promise((done) => {
  const isOwn = (name) => ["MessagePort", "PipeWrap", "TTYWrap"].includes(name);
  const look = () =>
    globalThis.process.getActiveResourcesInfo().every(isOwn) ? done() : setTimeout(look, 5).unref();
  look();
});
"""


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


def run_cell(printer: Writer, sandbox: Sandbox, cell: Cell) -> Execution:
    """Run a cell to its end. Ctrl-C interrupts it.

    Raises:
        SandboxError: It could not be run.
    """
    fold = ExecutionFold("", printer.write_stdout, printer.write_stderr)
    context = cell.context or cell.language
    updated: dict[str, Result] = {}
    events = sandbox.execute(cell.code, cell.language, timeout=cell.timeout, context=cell.context)
    try:
        for event in events:
            fold.add(event)
            if isinstance(event, Started):
                context = event.context_id or context
            elif isinstance(event, Result) and event.is_update:
                updated[event.display_id] = event
            elif isinstance(event, Result):
                _write_shown(printer, event)
        # What was printed cannot be replaced. So the last state follows at the end.
        for result in updated.values():
            _write_shown(printer, result)
    except KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt):
            sandbox.contexts.interrupt(context)
        raise
    return fold.finish()


def _write_shown(printer: Writer, result: Result) -> None:
    if text := shown_text(result):
        printer.write_stdout(text if text.endswith("\n") else f"{text}\n")


def wait_for_rest(printer: Printer, sandbox: Sandbox, cell: Cell, execution: Execution) -> Execution:
    """Wait for what a cell has left running, as `python` and `node` do at the end: threads, or timers and sockets.

    Args:
        printer: Gets the output that still comes.
        sandbox: A session that ends afterwards. In one that stays, the rest may go on.
        cell: The cell that ran.
        execution: Its end.

    Returns:
        The same execution, or the one that waited if that hit the time limit.
    """
    if execution.status not in (Status.OK, Status.ERROR) or execution.context_restarted:
        return execution
    left = None if cell.timeout is None else max(_MIN_SECONDS, cell.timeout - execution.duration)
    wait = _WAIT_IN_PYTHON if cell.language == "python" else _WAIT_IN_NODE
    rest = Unmarked(printer)
    waited = run_cell(rest, sandbox, Cell(wait, cell.language, left))
    rest.finish()
    if waited.status in (Status.OK, Status.ERROR):
        return execution
    return dataclasses.replace(waited, duration=execution.duration + waited.duration)


def shown_files(execution: Execution) -> list[Shown]:
    """Return the pictures and pages that a cell has shown."""
    return [file for result in execution.results if (file := shown_file(result)) is not None]


def execution_to_json(execution: Execution) -> dict[str, Any]:
    """Return an execution as a value for programs. Results have Jupyter's form of MIME bundles."""
    value = dataclasses.asdict(dataclasses.replace(execution, results=()))
    value["results"] = [result.to_bundle() for result in execution.results]
    return value
