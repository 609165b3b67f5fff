"""Runs the code cells of a notebook file in order, in a context of their own, until one of them fails."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cli.run.cells import Cell, run_cell, shown_files
from sandbox_client.cli.run.file_kind import CannotRunError
from sandbox_client.errors import SandboxError

if TYPE_CHECKING:
    from sandbox_client.cli.output import Printer
    from sandbox_client.cli.run.shown import Shown
    from sandbox_client.models.results import Execution
    from sandbox_client.sync.sandbox import Sandbox

_LANGUAGES: Final = {"python": "python", "javascript": "javascript", "typescript": "typescript"}
_MIN_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Notebook:
    """The code of a notebook.

    Attributes:
        language: One of LANGUAGES.
        cells: Its code cells, in order, without those that are empty.
    """

    language: str
    cells: tuple[str, ...]


def read_notebook(path: str, content: bytes) -> Notebook:
    """Return the code of a notebook of format 4.

    Raises:
        CannotRunError: The file is no such notebook, or in a language that sessions do not have.
    """
    try:
        found = json.loads(content)
        cells = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
        sources = [_text(cell["source"]) for cell in cells]
        metadata = found.get("metadata", {})
        named = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CannotRunError(f"{path} is not a notebook of format 4: save it again with a current Jupyter") from error
    language = _LANGUAGES.get(str(named or "python").lower())
    if language is None:
        raise CannotRunError(f"{path} is a notebook in {named}: sessions run {', '.join(_LANGUAGES)}")
    return Notebook(language, tuple(source for source in sources if source.strip()))


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def run_notebook(
    printer: Printer, sandbox: Sandbox, notebook: Notebook, timeout: float
) -> tuple[list[Execution], list[Shown]]:
    """Run the cells until one fails or the time is over.

    Args:
        printer: Gets the output.
        sandbox: The session.
        notebook: The notebook.
        timeout: Seconds for all cells together.

    Returns:
        The executions, and what they have shown.

    Raises:
        SandboxError: A cell could not be run.
    """
    deadline = time.monotonic() + timeout
    context = sandbox.contexts.create("python" if notebook.language == "python" else "javascript").id
    executions: list[Execution] = []
    shown: list[Any] = []
    try:
        for source in notebook.cells:
            left = max(_MIN_SECONDS, deadline - time.monotonic())
            execution = run_cell(printer, sandbox, Cell(source, notebook.language, left, context))
            executions.append(execution)
            shown += shown_files(execution)
            if not execution.ok:
                break
    finally:
        # The end of the cells counts, also if the session has gone meanwhile.
        with contextlib.suppress(SandboxError):
            sandbox.contexts.delete(context)
    return executions, shown
