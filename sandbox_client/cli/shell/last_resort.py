"""Ends the program with one sentence for whatever goes wrong: wrong usage, Ctrl-C, a broken pipe, a fault of ours."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from sandbox_client.cli.output import EXIT_ERROR, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable

DEBUG: Final = "SANDBOX_DEBUG"
"""Environment variable. If it is set, unexpected errors show their traceback."""
_EXIT_BROKEN_PIPE: Final = 141
"""128 + SIGPIPE, as for a program that does not ignore the signal."""
_ADVICE: Final = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EACCES: "check the permissions of the file and its folder",
    errno.EPERM: "check the permissions of the file and its folder",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

_OUTPUT_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a write. Only standard output is written without a name."""


class ReaderGoneError(Exception):
    """The reader of standard output has had enough, such as `head`."""


def ended_in_order(run: Callable[[], Any]) -> NoReturn:
    """Run the command line and exit with its code. Everything that it raises becomes a sentence and an exit code."""
    code: int | str | None
    try:
        try:
            code = run() or 0
        except SystemExit as end:
            code = end.code
        if sys.stdout is not None and not sys.stdout.closed:
            # An error of the last write would otherwise be Python's own message at the very end. Version 1 of the mcp
            # package closes the stream.
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        code = EXIT_INTERRUPTED
    except (ReaderGoneError, BrokenPipeError):
        _discard_output()
        code = _EXIT_BROKEN_PIPE
    except OSError as error:
        code = _end_of(error)
    except Exception as error:  # noqa: BLE001 - the last resort
        code = _fault(error)
    sys.exit(code)


def describe_os_error(error: OSError, doing: str = "") -> str:
    """Return one sentence with the file, the reason, and what to do.

    Args:
        error: What the system reported.
        doing: What failed, if the error names no file.
    """
    subject = str(error.filename) if error.filename is not None else doing
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "")
    return ": ".join(part for part in (subject, reason, advice) if part)


def _end_of(error: OSError) -> int:
    is_output = error.filename is None and error.errno in _OUTPUT_ERRORS
    if is_output:
        _discard_output()
    _say(f"error: {describe_os_error(error, 'the output cannot be written' if is_output else '')}")
    _show_traceback()
    return EXIT_ERROR


def _fault(error: Exception) -> int:
    text = " ".join(str(error).split()).rstrip(".") or "no message"
    _say(
        f"error: {type(error).__name__}: {text}. This is a fault of `sandbox` itself: "
        f"please report it with the traceback that {DEBUG}=1 shows"
    )
    _show_traceback()
    return EXIT_ERROR


def _discard_output() -> None:
    """Let Python's last flush succeed: it would report the same error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _show_traceback() -> None:
    if os.environ.get(DEBUG):
        _say(traceback.format_exc().rstrip())


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        # There is nowhere left to say it. The exit code remains.
        return
