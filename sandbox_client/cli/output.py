"""Writes results to stdout, and errors and progress to stderr, as text, JSON or YAML. Defines the exit codes."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from sandbox_client.errors import SandboxError

FORMATS: Final = ("text", "wide", "json", "yaml", "name")
_PLAIN_WIDTH: Final = 1000
"""Columns of a table if the output is not a terminal, so that no text is cut off."""
EXIT_FAILED: Final = 1
"""A search found nothing, or a push has left files out. User code exits with its own code."""
EXIT_USAGE: Final = 2
"""The command line is wrong."""
EXIT_TIMED_OUT: Final = 124
"""User code hit its time limit."""
EXIT_ERROR: Final = 125
"""The command itself failed."""
EXIT_NOT_EXECUTABLE: Final = 126
"""The program cannot be executed."""
EXIT_NO_PROGRAM: Final = 127
"""There is no such program."""
EXIT_INTERRUPTED: Final = 130
"""Ctrl-C ended user code, or this command: 128 + SIGINT."""


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints the output of a command.

    Attributes:
        form: One of FORMATS.
    """

    form: str = "text"

    @property
    def is_json(self) -> bool:
        """True if both streams get values for programs instead of text: JSON or YAML."""
        return self.form in ("json", "yaml")

    @property
    def is_wide(self) -> bool:
        """True if tables have all their columns."""
        return self.form == "wide"

    @property
    def errors(self) -> Console:
        """Standard error. It shows progress and colours only if it is a terminal."""
        return _open_console(sys.stderr, stderr=True, soft_wrap=True)

    def print_text(self, text: str) -> None:
        """Print a line for people. Does nothing in JSON mode."""
        if not self.is_json:
            print(text)  # noqa: T201 - this is the CLI's standard output

    def print(self, value: Any, text: str) -> None:
        """Print a value for programs in JSON mode, else a text for people."""
        if self.is_json:
            self.print_json(value)
        self.print_text(str(value["name"]) if self.form == "name" and "name" in value else text)

    def print_json(self, value: Any) -> None:
        """Print a value for programs."""
        text = json.dumps(value, default=str, ensure_ascii=False)
        if self.form == "yaml":
            import yaml  # noqa: PLC0415 - only if asked for

            text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True).rstrip("\n")
        print(text)  # noqa: T201 - same

    def write_stdout(self, text: str) -> None:
        """Write output of user code and flush it. Does nothing in JSON mode."""
        # The stream is None if the caller has closed it.
        if not self.is_json and sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()

    def write_stderr(self, text: str) -> None:
        """Write error output of user code, or a remark, and flush it. Does nothing in JSON mode."""
        if not self.is_json and sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()

    def fail(self, error: SandboxError) -> int:
        """Print an error and return its exit code."""
        from sandbox_client.errors import InvalidArgument  # noqa: PLC0415 - slow to import, and help does not need it

        if self.is_json:
            print(json.dumps({**error.to_dict(), "status": "error"}), file=sys.stderr)  # noqa: T201 - same
        else:
            self.errors.print(f"[bold red]error:[/] {_escape(str(error))}")
        return EXIT_USAGE if isinstance(error, InvalidArgument) else EXIT_ERROR

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
        from rich.progress import (  # noqa: PLC0415 - slow to import, and help does not need it
            BarColumn,
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TransferSpeedColumn,
        )

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


def table_console() -> Console:
    """Return the console for tables on standard output. No text is cut off if that is not a terminal."""
    console = _open_console(sys.stdout)
    return console if console.is_terminal else _open_console(sys.stdout, width=_PLAIN_WIDTH)


def _open_console(stream: TextIO | None, **options: Any) -> Console:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and help does not need it

    # Jupyter sets FORCE_COLOR for the commands of a notebook, which would show the codes of a spinner as text.
    return Console(highlight=False, force_terminal=stream is not None and stream.isatty(), **options)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
