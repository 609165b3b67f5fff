"""What the CLI writes: results on stdout, errors and progress on stderr, as text or as JSON; and its exit codes."""

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
"""User code failed, or the call did."""
EXIT_USAGE: Final = 2
"""The command line is wrong."""
EXIT_UNAVAILABLE: Final = 3
"""No sandbox to talk to."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a command writes.

    Attributes:
        is_json: JSON instead of text, on both streams.
    """

    is_json: bool

    @property
    def errors(self) -> Console:
        """Standard error; bars and colours only where it is a terminal."""
        return Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line for people; nothing with JSON."""
        if not self.is_json:
            print(text)  # noqa: T201 - this is the CLI's standard output

    def show(self, value: Any) -> None:
        """A value for programs."""
        print(json.dumps(value, default=str, ensure_ascii=False))  # noqa: T201 - same

    def write_stdout(self, text: str) -> None:
        """Output of user code, at once."""
        if not self.is_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    def write_stderr(self, text: str) -> None:
        """Error output of user code, at once."""
        if not self.is_json:
            sys.stderr.write(text)
            sys.stderr.flush()

    def fail(self, error: SandboxError) -> int:
        """Report an error; the exit code for it."""
        if self.is_json:
            print(json.dumps({**error.to_dict(), "status": "error"}), file=sys.stderr)  # noqa: T201 - same
        else:
            self.errors.print(f"[bold red]error:[/] {_escape(str(error))}")
        if isinstance(error, InvalidArgument):
            return EXIT_USAGE
        return EXIT_UNAVAILABLE if isinstance(error, SandboxUnavailable | SessionFailed) else EXIT_FAILED

    @contextlib.contextmanager
    def steps(self, first: str) -> Iterator[Callable[[str], None]]:
        """A spinner with the current step; nothing where stderr is no terminal.

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
    def bar(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar of bytes; nothing where stderr is no terminal.

        Yields:
            A function that takes bytes done and bytes in all.
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
