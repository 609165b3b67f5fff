"""The program behind the command `sandbox-script`. It runs as a script, in the Python of the session's shell.

    sandbox-script ID FILE [ARGS]    runs FILE as `python FILE ARGS` does, and keeps what it shows under ID
    sandbox-script --results ID      prints what was kept, a line of JSON for each, and deletes it
    sandbox-script --discard ID      prints the names alone, and deletes it

It imports as little as possible before FILE does. docs/decisions/0020-files-run-as-commands.md says why it exists.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - no import of pathlib
_CANNOT_OPEN = 2
"""Exit status of `python FILE` if FILE cannot be opened."""


def main() -> None:
    """Run what the command line asks for."""
    first, second, *words = sys.argv[1:]
    # In a checkout, the shell's Python does not know this package.
    sys.path.insert(0, _PACKAGES)
    from sandbox_runtime.scripts.kept_results import KeptResults, print_results  # noqa: PLC0415 - after the path

    sys.path.remove(_PACKAGES)
    if first in ("--results", "--discard"):
        print_results(second, has_content=first == "--results")
    else:
        run_file(second, words, KeptResults(first))


def run_file(path: str, words: list[str], results: Any) -> None:
    """Run a file in `__main__`, and end as the interpreter would.

    Args:
        path: Path of the file.
        words: Its arguments.
        results: Keeps what the file shows.

    Raises:
        SystemExit: The file called `sys.exit`, raised an exception, or cannot be opened.
    """
    file = os.path.abspath(path)  # noqa: PTH100 - pathlib resolves nothing here, and its import takes time
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - same
            source = opened.read()
    except OSError as error:
        sys.stderr.write(f"python: can't open file {file!r}: [Errno {error.errno}] {error.strerror}\n")
        sys.exit(_CANNOT_OPEN)
    try:
        code = compile(source, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        # The interpreter reads a file in its own way, and only it words every error so.
        os.execv(sys.executable, [sys.executable, file, *words])  # noqa: S606 - no shell is meant
    module = _main_module(file)
    sys.argv = [path, *words]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(file))  # noqa: PTH120 - same
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As on a terminal: each line arrives when it is printed.
        sys.stdout.reconfigure(line_buffering=True)
    atexit.register(_die_of_interrupt, interrupted := [])
    results.install()
    try:
        exec(code, module.__dict__)  # noqa: S102 - it is what this is for
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - as the interpreter does
        if isinstance(error, KeyboardInterrupt):
            interrupted.append(error)
        _report(error)
        sys.exit(1)
    finally:
        results.show_figures()


def _main_module(file: str) -> types.ModuleType:
    module = types.ModuleType("__main__")
    values: dict[str, Any] = {"__file__": file, "__cached__": None, "__spec__": None, "__package__": None}
    values["__loader__"] = SourceFileLoader("__main__", file)
    module.__dict__.update(values)
    sys.modules["__main__"] = module
    return module


def _report(error: BaseException) -> None:
    """Call the exception hook with a traceback that begins in the file."""
    frames = _without_own(error.__traceback__)
    error.__traceback__ = frames
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, frames
    try:
        sys.excepthook(type(error), error, frames)
    except SystemExit:
        raise
    except BaseException as second:  # noqa: BLE001 - the hook is the file's own
        sys.stderr.write("Error in sys.excepthook:\n")
        sys.__excepthook__(type(second), second, _without_own(second.__traceback__))
        sys.stderr.write("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, frames)


def _without_own(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return frames


def _die_of_interrupt(interrupted: list[KeyboardInterrupt]) -> None:
    """End by SIGINT if an interrupt ended the file, as the interpreter does. It was registered first, so it is last."""
    if interrupted:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
