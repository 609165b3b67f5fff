"""Says how user code ended, and with which exit code the command line ends then."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from sandbox_client.cli.output import (
    EXIT_ERROR,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NO_PROGRAM,
    EXIT_NOT_EXECUTABLE,
    EXIT_TIMED_OUT,
)
from sandbox_client.errors import InvalidArgument, NotFound, SandboxError
from sandbox_client.models.missing_network import NO_NETWORK
from sandbox_client.models.results import Status

if TYPE_CHECKING:
    from sandbox_client.cli.output import Printer
    from sandbox_client.models.results import CommandResult, Execution

_SIGNAL_EXIT = 128
_EXITS = ("SystemExit", "ProcessExit")
"""Errors of a cell that called `sys.exit`, or Node's `process.exit`."""
_QUIET_SIGNALS = (signal.SIGINT, signal.SIGPIPE)
"""The user pressed Ctrl-C, or the reader of the output has gone."""


def command_exit_code(result: CommandResult) -> int:
    """Return the exit code for the end of a command or script."""
    if result.status is Status.TIMED_OUT:
        return EXIT_TIMED_OUT
    if result.status is Status.LOST:
        return EXIT_ERROR
    return result.exit_code or (0 if result.status is Status.OK else EXIT_FAILED)


def describe_command_end(result: CommandResult) -> str:
    """Return one line about an end that the exit code alone does not explain, or ""."""
    if result.message:
        return f"the command was {result.message}"
    number = result.signal
    if result.status is Status.KILLED and number not in _QUIET_SIGNALS:
        return f"the command was killed by signal {_signal_name(number)}" if number else "the command was killed"
    return "" if result.status in (Status.OK, Status.ERROR, Status.KILLED) else _describe(result.status, result)


def report_command_end(printer: Printer, result: CommandResult) -> None:
    """Write what a reader of the output should know about the end."""
    if text := describe_command_end(result):
        printer.write_stderr(f"{text}\n")
    if result.dropped_bytes:
        printer.write_stderr(
            f"{result.dropped_bytes} bytes of output were dropped: the output limit was hit. Write it to a file\n"
        )


def report_missing_network(printer: Printer, result: CommandResult) -> None:
    """Say so if a command failed because its session has no network."""
    if result.limit == "network":
        printer.write_stderr(f"{NO_NETWORK}\n")


def execution_exit_code(execution: Execution) -> int:
    """Return the exit code for the end of a cell."""
    if execution.ok:
        return 0
    by_status = {
        Status.TIMED_OUT: EXIT_TIMED_OUT,
        Status.LOST: EXIT_ERROR,
        Status.INTERRUPTED: EXIT_INTERRUPTED,
        Status.OOM_KILLED: _SIGNAL_EXIT + signal.SIGKILL,
    }
    if execution.status in by_status:
        return by_status[execution.status]
    if execution.error is not None and execution.error.name in _EXITS:
        code = execution.error.value.strip()
        return int(code) & 0xFF if code.lstrip("-").isdecimal() else EXIT_FAILED
    code_number = execution.exit_code
    # Python's subprocess module counts signals downwards from 0, a shell upwards from 128.
    return (_SIGNAL_EXIT - code_number if code_number < 0 else code_number) or EXIT_FAILED


def describe_execution_end(execution: Execution) -> str:
    """Return the error of a cell, and the limit that it hit, for people. Returns "" if it ended well."""
    error = execution.error
    if error is not None and error.name in _EXITS:
        # As `python` does: a number is only the exit status, a text is an error message.
        text = error.value.strip()
        return "" if text.lstrip("-").isdecimal() or text in ("", "True", "False") else text
    lines = [str(error)] if error is not None else []
    if execution.status in (Status.TIMED_OUT, Status.OOM_KILLED, Status.LOST, Status.INTERRUPTED):
        lines.append(_describe(execution.status, execution))
    elif not execution.ok and error is None:
        lines.append(f"the code ended its interpreter, exit code {execution.exit_code}; its variables are lost")
    if execution.dropped_bytes:
        lines.append(
            f"{execution.dropped_bytes} bytes of output were dropped: the output limit was hit. Write it to a file"
        )
    return "\n".join(lines)


def start_exit_code(error: SandboxError, program: str) -> int | None:
    """Return the exit code for a command that could not be started, or None if the error is about something else.

    Args:
        error: The error of the start.
        program: The first word of the command. Without one, the command line is wrong.
    """
    if error.field != "command" or not program:
        return None
    if isinstance(error, NotFound):
        return EXIT_NO_PROGRAM
    return EXIT_NOT_EXECUTABLE if isinstance(error, InvalidArgument) else None


def _describe(status: Status, ended: Execution | CommandResult) -> str:
    return {
        Status.TIMED_OUT: f"the time limit was hit after {ended.duration:.1f} s: --timeout raises it",
        Status.OOM_KILLED: "the code was killed because it ran out of memory",
        Status.INTERRUPTED: "the code was interrupted",
        Status.LOST: "the sandbox restarted while the code ran; it was not run again",
    }.get(status, f"the code ended with {status}")


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)
