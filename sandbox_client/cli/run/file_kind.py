"""Decides how a file is run: by its suffix, else by its first line. Reads only the beginning of the file."""

from __future__ import annotations

import enum
import shlex
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_BYTES: Final = 8192
"""Bytes of the file that `file_kind` wants."""
NODE_LAUNCHER: Final = "sandbox-node"
"""The command of the runtime that runs Node with what TypeScript and JSX need (sandbox_runtime/user_home.py)."""
_TYPESCRIPT: Final = (NODE_LAUNCHER,)
_PROGRAMS: Final[dict[str, tuple[str, ...]]] = {
    ".js": ("node",),
    ".mjs": ("node",),
    ".cjs": ("node",),
    ".ts": _TYPESCRIPT,
    ".mts": _TYPESCRIPT,
    ".cts": _TYPESCRIPT,
    ".tsx": _TYPESCRIPT,
    ".jsx": _TYPESCRIPT,
    ".sh": ("bash",),
    ".bash": ("bash",),
}
_NODE_SUFFIXES: Final = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx")
_LANGUAGES: Final[dict[str, tuple[str, ...]]] = {"javascript": ("node",), "typescript": _TYPESCRIPT}
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class Kind(enum.Enum):
    """The ways in which a file is run."""

    PYTHON = "python"
    NOTEBOOK = "notebook"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A way to run one file.

    Attributes:
        kind: The way.
        program: The words before the file, for a COMMAND.
    """

    kind: Kind
    program: Sequence[str] = ()


_KINDS: Final = {".py": Kind.PYTHON, ".pyw": Kind.PYTHON, ".ipynb": Kind.NOTEBOOK}


class CannotRunError(ValueError):
    """The file is not a program that can be run here. The message names it and says what to do."""


def file_kind(path: str, head: bytes, language: str | None = None) -> FileKind:
    """Return how a file is run.

    Args:
        path: The file, as the user named it.
        head: The first HEAD_BYTES bytes of the file.
        language: The language that the user named, if any. It wins over suffix and first line.

    Raises:
        CannotRunError: It is a binary file, or nothing says what it is.
    """
    _check_text(path, head)
    suffix = PurePath(path).suffix.lower()
    if language is not None:
        return FileKind(Kind.PYTHON) if language == "python" else FileKind(Kind.COMMAND, _LANGUAGES[language])
    if suffix in _KINDS:
        return FileKind(_KINDS[suffix])
    words = _shebang(head)
    if words and suffix not in _NODE_SUFFIXES:
        return FileKind(Kind.PYTHON) if _is_plain_python(words) else FileKind(Kind.COMMAND, words)
    if suffix in _PROGRAMS:
        return FileKind(Kind.COMMAND, _PROGRAMS[suffix])
    if suffix:
        raise CannotRunError(
            f"{path}: nothing says what a {suffix} file is. Name its language with --language, "
            f"or its interpreter in a first line such as #!/usr/bin/env python3"
        )
    return FileKind(Kind.PYTHON)


def _check_text(path: str, head: bytes) -> None:
    if head.startswith(_UTF16):
        raise CannotRunError(f"{path} is text in UTF-16: save it as UTF-8 first")
    if b"\0" in head:
        raise CannotRunError(
            f"{path} is a binary file, not a script. `sandbox exec -- PROGRAM` runs a program that is in the session"
        )


def _shebang(head: bytes) -> tuple[str, ...]:
    """Return the words of the first line's interpreter, as the kernel would split them. Returns () without one."""
    first = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    if not first.startswith(b"#!"):
        return ()
    program, _, argument = first[2:].decode(errors="replace").strip().partition(" ")
    return tuple(word for word in (program, argument.strip()) if word)


def _is_plain_python(words: Sequence[str]) -> bool:
    """Return True for Python without options of its own, in any version."""
    name = PurePath(words[0]).name
    if name == "env":
        parts = shlex.split(words[1]) if len(words) > 1 else []
        parts = parts[1:] if parts[:1] == ["-S"] else parts
        return len(parts) == 1 and parts[0].startswith("python")
    return name.startswith("python") and len(words) == 1
