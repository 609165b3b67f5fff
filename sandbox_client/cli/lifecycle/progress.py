"""Shows the phase of a session, and its problem, while a command waits for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox_client.cli.output import Printer


@contextlib.contextmanager
def show_progress(printer: Printer, name: str, first: str) -> Iterator[Callable[[str], None]]:
    """Show each step: in a spinner on a terminal. Elsewhere, such as in a CI job's log, write only problems.

    Args:
        printer: The command's output.
        name: The session's name.
        first: Text of the first step.

    Yields:
        A function that takes the next step's text, as `on_phase` does.
    """
    is_terminal = printer.errors.is_terminal
    with printer.spinner(first) as step:

        def show(text: str) -> None:
            step(f"{name}: {text}")
            if not is_terminal and ": " in text:
                printer.write_stderr(f"{name}: {text}\n")

        yield show
