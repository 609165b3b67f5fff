"""Validates the runtime's file infos: the runtime is untrusted. Pure: no I/O.

An info that violates docs/link.md raises OperationError INTERNAL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_agent.storage.push.plan import Local
from sandbox_agent.storage.repository.keys import is_confined, printable
from sandbox_agent.storage.repository.manifest import MAX_TARGET, EntryType
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SIZE: Final = 1 << 50
_I64: Final = (1 << 63) - 1
_U64: Final = (1 << 64) - 1
MODE: Final = 0o777
"""Permission bits that are stored. Set-id and sticky bits are not: a folder's come from the volume."""
_TYPES: Final = frozenset({"file", "symlink", "directory"})


def read_local(info: Any, path: str | None = None) -> Local:
    """Validate an `info` object.

    Args:
        info: The object from the runtime.
        path: The path that it must have; None for any path inside the workspace.

    Raises:
        OperationError: INTERNAL: the object violates the protocol.
    """
    if not isinstance(info, dict):
        raise breach("an info is not an object")
    name = info.get("path")
    if not isinstance(name, str) or len(name) > MAX_TARGET or not is_confined(name):
        raise breach("an info has a path outside the workspace")
    if path is not None and name != path:
        raise breach("an info has another path than requested")
    kind = info.get("type")
    target = info.get("symlink_target")
    target = "" if target is None else target
    if not isinstance(kind, str) or kind not in _TYPES or not isinstance(target, str) or len(target) > MAX_TARGET:
        raise breach(f"the info of {printable(name)} is malformed")
    return Local(
        path=name,
        type=cast("EntryType", kind),
        size=_integer(info, "size", 0, _MAX_SIZE),
        mode=_integer(info, "mode", 0, 0o7777) & MODE,
        mtime_ns=_integer(info, "mtime_ns", -_I64, _I64),
        ctime_ns=_integer(info, "ctime_ns", -_I64, _I64),
        ino=_integer(info, "ino", 0, _U64),
        symlink_target=target if kind == "symlink" else "",
    )


def breach(what: str) -> OperationError:
    """Return the error for an answer of the runtime that violates the link's protocol."""
    return OperationError("INTERNAL", "RUNTIME_UNAVAILABLE", f"the sandbox's answer is not usable: {what}")


def _integer(value: Mapping[str, Any], name: str, low: int, high: int) -> int:
    found = value.get(name, 0)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise breach(f"`{name}` is out of bounds")
    return found
