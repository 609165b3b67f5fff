"""The interpreter's sys.stdin and `input`: a sandbox has no keyboard, but user code may set a stream of its own."""

from __future__ import annotations

import builtins
import io
import sys
from typing import TYPE_CHECKING

from sandbox_runtime.python.import_hooks import after_import

if TYPE_CHECKING:
    from types import ModuleType


class _NoInput(io.TextIOWrapper):
    """An empty sys.stdin."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def close(self) -> None:
        """Stay open: `exit()` closes sys.stdin, but the interpreter continues."""

    def fileno(self) -> int:
        return 0


class StdinNotAvailable(EOFError):  # noqa: N818 - users read this name
    """Code asked for input, and a sandbox has no keyboard."""

    # Tracebacks show it without a module.
    __module__ = "builtins"


_read_input = builtins.input


def _input(prompt: object = "", /) -> str:
    """Read a line of a sys.stdin that user code has set. The sandbox itself has none."""
    if not isinstance(sys.stdin, _NoInput):
        return _read_input(prompt)
    raise _not_available("input", prompt)


def _getpass(prompt: object = "Password: ", stream: object = None) -> str:
    """Read a password from nowhere: a sandbox has no terminal."""
    del stream
    raise _not_available("getpass", prompt)


def _not_available(name: str, prompt: object) -> StdinNotAvailable:
    asked = f" (the prompt was {str(prompt)[:200]!r})" if str(prompt) else ""
    return StdinNotAvailable(
        f"{name}() is not available: a sandbox has no keyboard{asked}. Assign the value in the code, or read it from a "
        "file or an environment variable. Run a program that reads its input as a command with stdin."
    )


def _patch_getpass(module: ModuleType) -> None:
    module.getpass = module.unix_getpass = _getpass  # type: ignore[attr-defined]


def install_stdin() -> None:
    """Replace the process's standard input and `input`."""
    builtins.input = _input
    after_import("getpass", _patch_getpass)
    sys.stdin = sys.__stdin__ = _NoInput()  # type: ignore[misc]  # code that captures output restores from these
