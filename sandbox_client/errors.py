# ruff: noqa: N818 - the names say what happened (NotFound), as gRPC's statuses do
"""All errors that this package raises, and the one table that maps gRPC statuses to them.

SandboxError
├── InvalidArgument      a field of the call is wrong; `field` names it.
├── NotFound             the path, context or session does not exist.
├── Conflict             it exists already, or another writer was first.
├── FailedPrecondition   not possible in this state (reading a directory as a file, a session that is draining).
├── Unauthenticated      the access token was refused.
├── PermissionDenied     the permissions of a file do not allow the call.
├── ResourceExhausted    a limit was hit: disk, file size, message size.
├── DeadlineExceeded     the call took longer than its time limit.
├── DataCorrupted        a digest differs from that of the data that was sent.
├── NotSupported         this agent does not have the call.
├── SandboxUnavailable   the agent does not answer: try again, or create the session again.
└── SessionFailed        a session could not be started or became Failed.

A failure of user code is not an error of the call: see `Execution.error` and `CommandResult.exit_code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.rpc import error_details_pb2

__all__ = [
    "Conflict",
    "DataCorrupted",
    "DeadlineExceeded",
    "FailedPrecondition",
    "InvalidArgument",
    "NotFound",
    "NotSupported",
    "PermissionDenied",
    "ResourceExhausted",
    "SandboxError",
    "SandboxUnavailable",
    "SessionFailed",
    "Unauthenticated",
    "from_rpc_error",
]


class SandboxError(Exception):
    """Base class of the errors of this package.

    Attributes:
        message: A sentence for people.
        reason: An UPPER_SNAKE word for programs, such as `FILE_NOT_FOUND`; docs/pod-contract.md lists them.
        field: The argument or field of the request that is wrong, or "".
    """

    def __init__(self, message: str, *, reason: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, str]:
        """Return the error as a dictionary for JSON, without empty values."""
        values = {"error": self.message, "type": type(self).__name__, "reason": self.reason, "field": self.field}
        return {key: value for key, value in values.items() if value}


class InvalidArgument(SandboxError):
    """A field of the call is wrong; `field` names it."""


class NotFound(SandboxError):
    """The path, context or session does not exist."""


class Conflict(SandboxError):
    """The target exists already, or another writer was first."""


class FailedPrecondition(SandboxError):
    """The call is not possible in this state, such as reading a directory as a file."""


class Unauthenticated(SandboxError):
    """The access token was refused."""


class PermissionDenied(SandboxError):
    """The permissions of a file do not allow the call, or its file system is read-only."""


class ResourceExhausted(SandboxError):
    """A limit was hit; the message names it."""


class DeadlineExceeded(SandboxError):
    """The call took longer than its time limit."""


class DataCorrupted(SandboxError):
    """A digest differs from that of the data that was sent."""


class NotSupported(SandboxError):
    """The agent does not have this call."""


class SandboxUnavailable(SandboxError):
    """The agent does not answer, or its runtime has ended."""


class SessionFailed(SandboxError):
    """A session could not be started, or became Failed."""


_BY_STATUS: Final[Mapping[grpc.StatusCode, tuple[type[SandboxError], str]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (InvalidArgument, ""),
    grpc.StatusCode.OUT_OF_RANGE: (InvalidArgument, ""),
    grpc.StatusCode.NOT_FOUND: (NotFound, ""),
    grpc.StatusCode.ALREADY_EXISTS: (Conflict, ""),
    grpc.StatusCode.ABORTED: (Conflict, ""),
    grpc.StatusCode.FAILED_PRECONDITION: (FailedPrecondition, ""),
    grpc.StatusCode.UNAUTHENTICATED: (
        Unauthenticated,
        "Read the session's access Secret again: the token has changed.",
    ),
    grpc.StatusCode.PERMISSION_DENIED: (PermissionDenied, ""),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (ResourceExhausted, ""),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        DeadlineExceeded,
        "Raise the call's timeout, or check whether the agent hangs.",
    ),
    grpc.StatusCode.DATA_LOSS: (DataCorrupted, "Send the data again."),
    grpc.StatusCode.UNIMPLEMENTED: (NotSupported, "Use an agent of this client's version."),
    grpc.StatusCode.UNAVAILABLE: (SandboxUnavailable, "Try again. If the error persists, the session may have ended."),
}
"""Class for each status, and advice for messages that do not come from our agent."""


def from_rpc_error(error: grpc.RpcError) -> SandboxError:
    """Return our error for a failed call, with the reason and field of the agent's ErrorInfo.

    Args:
        error: The error that grpc or grpc.aio raised.
    """
    code = error.code()
    message = error.details() or f"the call failed with {code.name}"
    class_, advice = _BY_STATUS.get(code, (SandboxError, ""))
    info = _error_info(error)
    if info is not None:
        return class_(message, reason=info.reason, field=info.metadata.get("field", ""))
    if advice:
        message = f"{message.rstrip('.')}. {advice}"
    return class_(message, reason=code.name)


def _error_info(error: Any) -> error_details_pb2.ErrorInfo | None:
    # Only for errors: these imports would slow down the import of the SDK.
    from google.rpc import error_details_pb2  # noqa: PLC0415
    from grpc_status import rpc_status  # noqa: PLC0415

    info = error_details_pb2.ErrorInfo()
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        # Not from our agent, or damaged. The status code and message still say what happened.
        return None
    return info if status is not None and any(detail.Unpack(info) for detail in status.details) else None
