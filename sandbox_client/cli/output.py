"""Writes results to stdout, and errors and progress to stderr, as text or JSON. Defines the exit codes."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

from sandbox_client.errors import InvalidArgument, SandboxError, SandboxUnavailable, SessionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXIT_FAILED: Final = 1
"""User code or the call failed."""
EXIT_USAGE: Final = 2
"""The command line is wrong."""
EXIT_UNAVAILABLE: Final = 3
"""No sandbox is available."""


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints the output of a command.

    Attributes:
        is_json: Whether both streams get JSON instead of text.
    """

    is_json: bool

    @property
    def errors(self) -> Console:
        """Standard error. It shows progress and colours only if it is a terminal."""
        return Console(stderr=True, highlight=False, soft_wrap=True)

    def print_text(self, text: str) -> None:
        """Print a line for people. Does nothing in JSON mode."""
        if not self.is_json:
            print(text)  # noqa: T201 - this is the CLI's standard output

    def print(self, value: Any, text: str) -> None:
        """Print a value for programs in JSON mode, else a text for people."""
        if self.is_json:
            self.print_json(value)
        self.print_text(text)

    def print_json(self, value: Any) -> None:
        """Print a value for programs."""
        print(json.dumps(value, default=str, ensure_ascii=False))  # noqa: T201 - same

    def write_stdout(self, text: str) -> None:
        """Write output of user code and flush it. Does nothing in JSON mode."""
        if not self.is_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    def write_stderr(self, text: str) -> None:
        """Write error output of user code, or a remark, and flush it. Does nothing in JSON mode."""
        if not self.is_json:
            sys.stderr.write(text)
            sys.stderr.flush()

    def fail(self, error: SandboxError) -> int:
        """Print an error and return its exit code."""
        if self.is_json:
            print(json.dumps({**error.to_dict(), "status": "error"}), file=sys.stderr)  # noqa: T201 - same
        else:
            self.errors.print(f"[bold red]error:[/] {_escape(str(error))}")
        if isinstance(error, InvalidArgument):
            return EXIT_USAGE
        return EXIT_UNAVAILABLE if isinstance(error, SandboxUnavailable | SessionFailed) else EXIT_FAILED

    @contextlib.contextmanager
    def spinner(self, first: str) -> Iterator[Callable[[str], None]]:
        """Show a spinner with the current step. Shows nothing if stderr is not a terminal.

        Args:
            first: Text of the first step.

        Yields:
            A function that takes the next step's text.
        """
        console = self.errors
        if self.is_json or not console.is_terminal:
            yield lambda _text: None
            return
        with console.status(first) as status:
            yield lambda text: status.update(_escape(text))

    @contextlib.contextmanager
    def progress_bar(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Show a progress bar. Shows nothing if stderr is not a terminal.

        Args:
            title: Text before the bar.

        Yields:
            A function that takes the number of bytes transferred and the total.
        """
        console = self.errors
        if self.is_json or not console.is_terminal:
            yield lambda _done, _total: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(_escape(title), total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
