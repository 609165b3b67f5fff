"""Path confinement, pure: from a client's text to components below the workspace root, or an error. No I/O.

Symlinks are not seen here; `resolve` deals with them, component by component, on what this module lets through.
"""

from __future__ import annotations

from typing import Final

from sandbox_link.protocol import OperationError

MAX_PATH_BYTES: Final = 128 * 1024
"""Bytes of a path at most: its JSON with every byte escaped still fits a frame. Longer ones are not listed either."""
MAX_COMPONENTS: Final = 8192
"""Components of a path at most."""

Parts = tuple[bytes, ...]
"""Components of a path below the root, none of them empty, `.` or `..`; the root itself is the empty tuple."""


def confine(text: object, roots: tuple[bytes, ...], field: str = "path") -> Parts:
    """Components of a path below the workspace root.

    Args:
        text: As the client gave it: relative to the root, or absolute and inside it. Bytes that are not UTF-8 are
            `surrogateescape`d.
        roots: Absolute spellings of the root, such as the one configured and the one without symlinks.
        field: The request's field that errors name.

    Raises:
        OperationError: PATH_OUTSIDE_WORKSPACE: it is empty, has a NUL, leaves the root, or is no path at all.
    """
    raw = _encode(text, field)
    names = raw.split(b"/")
    if raw.startswith(b"/"):
        names = _strip_root(names, roots, field)
    parts: list[bytes] = []
    for name in names:
        if name == b"..":
            if not parts:
                raise outside("The path leaves the workspace; give one below its root.", field)
            parts.pop()
        elif name not in (b"", b"."):
            parts.append(name)
    if len(parts) > MAX_COMPONENTS:
        raise outside(f"The path has more than {MAX_COMPONENTS} components.", field)
    return tuple(parts)


def to_text(path: bytes) -> str:
    """A path as it stands in JSON: UTF-8, other bytes as lone surrogates."""
    return path.decode("utf-8", "surrogateescape")


def join(parts: Parts) -> str:
    """Components as text relative to the root; the root itself is `.`."""
    return to_text(b"/".join(parts)) or "."


def below_root(target: bytes, roots: tuple[bytes, ...]) -> bytes | None:
    """What an absolute path has below one of the roots, `..` left as it stands; None where it starts elsewhere."""
    for root in roots:
        prefix = root.rstrip(b"/") + b"/"
        if (target + b"/").startswith(prefix):
            return target[len(prefix) :]
    return None


def outside(message: str, field: str) -> OperationError:
    """The error for every path that is not surely inside the workspace."""
    return OperationError("INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE", message, field)


def _encode(text: object, field: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise outside("A path is needed; `.` is the workspace root.", field)
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise outside("The path has characters that no file name can have.", field) from None
    if b"\0" in raw:
        raise outside("The path has a NUL character.", field)
    if len(raw) > MAX_PATH_BYTES:
        raise outside(f"The path is longer than {MAX_PATH_BYTES} bytes.", field)
    return raw


def _strip_root(names: list[bytes], roots: tuple[bytes, ...], field: str) -> list[bytes]:
    """Components behind the root of an absolute path, once it is normalised: `/tmp/../workspace/a` is inside."""
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
    raise outside("The path is outside the workspace; give one relative to its root.", field)
