"""Turns a client's path into components below a root, or raises an error. Pure: no I/O.

This module does not see symlinks. `open_beneath` handles them in the paths that pass these checks.
"""

from __future__ import annotations

from typing import Final

from sandbox_runtime.files.confined.errors import PathError

MAX_PATH_BYTES: Final = 128 * 1024
"""Largest size of a path in bytes: with every byte escaped, its JSON still fits into a frame.

Longer paths are not listed either.
"""
MAX_COMPONENTS: Final = 8192
"""Largest number of components in a path."""

OUTSIDE: Final = (
    "{path} is outside the workspace, /tmp and the home folder: "
    "give a path below one of them, or relative to the workspace"
)
Parts = tuple[bytes, ...]
"""Components of a path below the root. None is empty, `.` or `..`; the root itself is the empty tuple."""


def confine(text: object, roots: tuple[bytes, ...], field: str = "path") -> Parts:
    """Return the components of a path below a root: the workspace, /tmp or the home folder.

    Args:
        text: The client's path: relative to the root, or absolute and inside it. Bytes that are not UTF-8 arrive as
            lone surrogates.
        roots: Absolute spellings of the root, such as the configured one and the one without symlinks.
        field: The request's field, for errors.

    Raises:
        OperationError: PATH_OUTSIDE_WORKSPACE: the path is empty, has a NUL, leaves the root, or is not a string.
    """
    raw = _encode(text, field)
    names = raw.split(b"/")
    if raw.startswith(b"/"):
        names = _strip_root(names, roots, field)
    parts: list[bytes] = []
    for name in names:
        if name == b"..":
            if not parts:
                raise outside("{path} leaves its root folder: give a path relative to it", field)
            parts.pop()
        elif name not in (b"", b"."):
            parts.append(name)
    if len(parts) > MAX_COMPONENTS:
        raise outside(f"{{path}} has more than {MAX_COMPONENTS} components: give a shorter path", field)
    return tuple(parts)


def to_text(path: bytes) -> str:
    """Return a path as text for JSON. Bytes that are not UTF-8 become lone surrogates."""
    return path.decode("utf-8", "surrogateescape")


def join(parts: Parts) -> str:
    """Join components to text relative to the root. The root itself is `.`."""
    return to_text(b"/".join(parts)) or "."


def below_root(target: bytes, roots: tuple[bytes, ...]) -> bytes | None:
    """Return the part of an absolute path below one of the roots, or None. Leaves `..` unresolved."""
    for root in roots:
        prefix = root.rstrip(b"/") + b"/"
        if (target + b"/").startswith(prefix):
            return target[len(prefix) :]
    return None


def outside(template: str, field: str) -> PathError:
    """Return the error for a path that is not certain to be inside its root."""
    return PathError("INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE", template, field)


def _encode(text: object, field: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise outside("there is no path: give one as text, or `.` for the root of the workspace", field)
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise outside("{path} has characters that a file name cannot have: remove them", field) from None
    if b"\0" in raw:
        raise outside("{path} has a NUL character: remove it", field)
    if len(raw) > MAX_PATH_BYTES:
        raise outside(f"{{path}} is longer than {MAX_PATH_BYTES} bytes: give a shorter path", field)
    return raw


def _strip_root(names: list[bytes], roots: tuple[bytes, ...], field: str) -> list[bytes]:
    """Normalise an absolute path and return its components below the root: `/tmp/../workspace/a` is inside."""
    absolute: list[bytes] = []
    for name in names:
        if name == b"..":
            del absolute[-1:]
        elif name not in (b"", b"."):
            absolute.append(name)
    for root in roots:
        prefix = [name for name in root.split(b"/") if name]
        if absolute[: len(prefix)] == prefix:
            return absolute[len(prefix) :]
    raise outside(OUTSIDE, field)
