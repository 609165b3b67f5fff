"""Describes an exception of user code as the `error` event, with a traceback of the user's own frames."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.python.output.user_frames import drop_internal_frames

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMITS: Final = {
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
    errno.EFBIG: "file_bytes",
    errno.EMFILE: "open_files",
    errno.ENFILE: "open_files",
    errno.ENOMEM: "memory",
}
_FORKING: Final = frozenset({"_execute_child", "_launch", "_spawnvef"})
_MAX_LINES: Final = 400
_MAX_LINE: Final = 2_000
_MAX_VALUE: Final = 60 << 10
"""Characters. With a note on what was left out, they fit into the 64 Ki characters that the agent passes on."""


def describe_error(
    error: BaseException, formatter: Callable[[BaseException], list[str] | None] = lambda _: None
) -> dict[str, Any]:
    """Return the `error` event (docs/link.md) of an exception. Never fails, whatever the exception's methods do.

    Args:
        error: The exception of the cell.
        formatter: Formats the lines. If it returns None, Python's own format is used.
    """
    drop_internal_frames(error)
    try:
        lines = formatter(error) or _format(error)
    except Exception:  # noqa: BLE001 - __str__ of user code
        lines = [type(error).__name__]
    if len(lines) > _MAX_LINES:
        half = _MAX_LINES // 2
        lines = [*lines[:half], f"  ... {len(lines) - 2 * half} lines left out ...", *lines[-half:]]
    limit = name_limit(error)
    if limit:
        lines.append(f"  a limit of the sandbox was hit: {limit}")
    return {
        **({"limit": limit} if limit else {}),
        "type": "error",
        "name": type(error).__name__,
        "value": _beginning(_text_of(error), _MAX_VALUE),
        "traceback": [_beginning(line, _MAX_LINE) for line in lines],
    }


def _beginning(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... ({len(text) - limit} of {len(text)} characters left out)"


def record_last_error(error: BaseException) -> None:
    """Set `sys.last_value` and its companions, which `pdb.pm()`, `traceback.print_last()` and `%tb` read."""
    drop_internal_frames(error)
    frames = error.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, frames
    sys.last_exc = error  # type: ignore[attr-defined]  # since 3.12


def name_limit(error: BaseException) -> str:
    """Return the name of the limit that caused an exception, or ""."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, RuntimeError) and "can't start new thread" in _text_of(error):
        return "processes"
    if not isinstance(error, OSError):
        return ""
    if error.errno == errno.EAGAIN:
        # A non-blocking read raises it too. It is a limit only in a fork.
        return "processes" if _was_forking(error) else ""
    return _LIMITS.get(error.errno or 0, "")


def _was_forking(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and ("fork" in (frames[-1].line or "") or frames[-1].name in _FORKING)


def _format(error: BaseException) -> list[str]:
    return "".join(traceback.TracebackException.from_exception(error, compact=True).format()).splitlines()


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - __str__ of user code
        return "<exception str() failed>"
