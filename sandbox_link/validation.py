"""Validates the runtime's hello and CLOSE frames. Pure.

Errors: FrameError for everything that docs/link.md does not allow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import FrameError, FrameType
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from sandbox_link.frames import Frame

PROTOCOL: Final = 1
MAX_MESSAGE: Final = 1024
"""Maximum bytes of an error's message. gRPC trailers contain it twice, and clients accept only 8 KiB of trailers."""
CODES: Final = frozenset(
    {
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
)
"""gRPC status codes that the runtime may answer with. Only the agent may use UNAUTHENTICATED."""
AGENT_REASONS: Final = frozenset(
    {
        "NOT_BOUND",
        "DRAINING",
        "LIFETIME_EXPIRED",
        "UNAUTHENTICATED",
        "UNKNOWN_REQUEST",
        "REQUEST_ID_REUSED",
        "STORAGE_UNAVAILABLE",
        "WORKSPACE_CONFLICT",
        "FILES_NOT_SAVED",
        "DRAIN_TIMEOUT",
    }
)
"""Reasons that only the agent may give: on some, clients start another session or assume that a call did not run."""

_ID: Final = re.compile(r"[0-9A-Za-z_.:-]{1,128}")
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_FIELD: Final = re.compile(r"[a-z0-9_.]{0,128}")
_MAX_UID: Final = 256


@dataclass(frozen=True, slots=True)
class Hello:
    """The runtime's first frame."""

    runtime_id: str
    session_uid: str
    restored: bool
    workspace_root: str
    streams: bool = False
    """True if the runtime listens for bulk streams. Earlier versions do not."""


def read_hello(frame: Frame) -> Hello:
    """Return the hello in a connection's first frame.

    Raises:
        FrameError: The frame is not a hello of this protocol.
    """
    if frame.type is not FrameType.EVENT or frame.channel != 0:
        raise FrameError("the first frame is not a hello")
    value = frame.json()
    if value.get("type") != "hello" or value.get("protocol") != PROTOCOL:
        raise FrameError("not a hello of this protocol")
    runtime_id, uid = value.get("runtime_id"), value.get("session_uid")
    restored, root = value.get("restored"), value.get("workspace_root")
    if not isinstance(runtime_id, str) or not _ID.fullmatch(runtime_id):
        raise FrameError("hello without a valid runtime_id")
    if not isinstance(uid, str) or len(uid) > _MAX_UID or not isinstance(restored, bool) or not isinstance(root, str):
        raise FrameError("hello with values of the wrong type")
    return Hello(runtime_id, uid, restored, root, value.get("streams") is True)


def read_close(frame: Frame) -> dict[str, Any] | OperationError:
    """Return the `ok` object or the error in a CLOSE frame.

    Raises:
        FrameError: The frame has neither, or both.
    """
    value = frame.json()
    ok, error = value.get("ok"), value.get("error")
    if isinstance(ok, dict) and error is None:
        return ok
    if isinstance(error, dict) and ok is None:
        return _read_error(error)
    raise FrameError("CLOSE needs either `ok` or `error`")


def _read_error(error: dict[str, Any]) -> OperationError:
    code, reason, message, field = (error.get(name) for name in ("code", "reason", "message", "field"))
    if not isinstance(code, str) or code not in CODES:
        raise FrameError("CLOSE with an unknown code")
    if not isinstance(reason, str) or not _REASON.fullmatch(reason) or not isinstance(message, str):
        raise FrameError("CLOSE with a malformed error")
    if reason in AGENT_REASONS:
        raise FrameError("CLOSE with a reason that only the agent may give")
    field = "" if field is None else field
    if not isinstance(field, str) or not _FIELD.fullmatch(field):
        raise FrameError("CLOSE with a malformed field")
    return OperationError(code, reason, shorten(message), field)


def shorten(message: str) -> str:
    """Cut a message to at most MAX_MESSAGE bytes, between two characters."""
    # A protobuf string cannot contain lone surrogates, which come from names that are not UTF-8.
    text = message[:MAX_MESSAGE].encode("utf-8", "backslashreplace")
    return text[:MAX_MESSAGE].decode("utf-8", "ignore")
