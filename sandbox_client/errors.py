# ruff: noqa: N818 - the names say what happened (NotFound), as gRPC's statuses do
"""Every error this package raises, and the one table that makes them from gRPC statuses.

SandboxError
├── InvalidArgument      a field of the call is wrong; `field` names it
├── NotFound             the path, context or session is not there
├── Conflict             it exists already, or another writer was first
├── FailedPrecondition   not possible in this state (a directory as a file, a session that drains)
├── Unauthenticated      the access token was refused
├── ResourceExhausted    a limit was hit: disk, file size, message size
├── DeadlineExceeded     the call took longer than it may
├── DataCorrupted        a digest differs from what was sent
├── NotSupported         this agent does not have that call
├── SandboxUnavailable   nobody answers: try again, or create the session anew
└── SessionFailed        a session could not be started or became Failed

Failures of user code are no errors of the call: see `Execution.error` and `CommandResult.exit_code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Conflict",
    "DataCorrupted",
    "DeadlineExceeded",
    "FailedPrecondition",
    "InvalidArgument",
    "NotFound",
    "NotSupported",
    "ResourceExhausted",
    "SandboxError",
    "SandboxUnavailable",
    "SessionFailed",
    "Unauthenticated",
    "from_rpc_error",
]

_DETAILS_KEY: Final = "grpc-status-details-bin"


class SandboxError(Exception):
    """Base of every error of this package.

    Attributes:
        message: A sentence for people.
        reason: UPPER_SNAKE word for programs, such as `FILE_NOT_FOUND`; docs/pod-contract.md lists them.
        field: The request's field at fault, or "".
    """

    def __init__(self, message: str, *, reason: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def to_dict(self) -> dict[str, str]:
        """The error as JSON-ready words, empty ones left out."""
        words = {"error": self.message, "type": type(self).__name__, "reason": self.reason, "field": self.field}
        return {key: value for key, value in words.items() if value}


class InvalidArgument(SandboxError):
    """A field of the call is wrong; `field` names it."""


class NotFound(SandboxError):
    """The path, context or session is not there."""


class Conflict(SandboxError):
    """It exists already, or another writer was first."""


class FailedPrecondition(SandboxError):
    """Not possible in this state, such as reading a directory as a file."""


class Unauthenticated(SandboxError):
    """The access token was refused."""


class ResourceExhausted(SandboxError):
    """A limit was hit; the message names it."""


class DeadlineExceeded(SandboxError):
    """The call took longer than it may."""


class DataCorrupted(SandboxError):
    """A digest differs from what was sent."""


class NotSupported(SandboxError):
    """This agent does not have that call."""


class SandboxUnavailable(SandboxError):
    """Nobody answers at the sandbox's address, or its runtime is gone."""


class SessionFailed(SandboxError):
    """A session could not be started, or became Failed."""


_BY_STATUS: Final[Mapping[grpc.StatusCode, tuple[type[SandboxError], str]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (InvalidArgument, ""),
    grpc.StatusCode.OUT_OF_RANGE: (InvalidArgument, ""),
    grpc.StatusCode.NOT_FOUND: (NotFound, ""),
    grpc.StatusCode.ALREADY_EXISTS: (Conflict, ""),
    grpc.StatusCode.ABORTED: (Conflict, ""),
    grpc.StatusCode.FAILED_PRECONDITION: (FailedPrecondition, ""),
    grpc.StatusCode.UNAUTHENTICATED: (Unauthenticated, "Read the session's access Secret again: the token changed."),
    grpc.StatusCode.PERMISSION_DENIED: (Unauthenticated, ""),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (ResourceExhausted, ""),
    grpc.StatusCode.DEADLINE_EXCEEDED: (DeadlineExceeded, "Raise the call's timeout, or look whether the agent hangs."),
    grpc.StatusCode.DATA_LOSS: (DataCorrupted, "Send the data again."),
    grpc.StatusCode.UNIMPLEMENTED: (NotSupported, "Use an agent of this client's version."),
    grpc.StatusCode.UNAVAILABLE: (SandboxUnavailable, "Try again; if it stays so, the session has ended."),
}
"""Status to class, and what to do next where the server's message does not say it."""


def from_rpc_error(error: grpc.RpcError) -> SandboxError:
    """Our error for a failed call, with reason and field from its ErrorInfo.

    Args:
        error: As grpc or grpc.aio raised it.
    """
    code = error.code()
    message = error.details() or f"the call failed with {code.name}"
    class_, advice = _BY_STATUS.get(code, (SandboxError, ""))
    info = _error_info(error.trailing_metadata() or ())
    if advice and info is None:
        message = f"{message.rstrip('.')}. {advice}"
    if info is None:
        return class_(message, reason=code.name)
    return class_(message, reason=info.reason, field=info.metadata.get("field", ""))


def _error_info(metadata: Iterable[Any]) -> error_details_pb2.ErrorInfo | None:
    for key, value in metadata:
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        info = error_details_pb2.ErrorInfo()
        try:
            if any(detail.Unpack(info) for detail in status_pb2.Status.FromString(value).details):
                return info
        except DecodeError:
            # Not ours, or damaged: the status itself still tells what happened.
            return None
    return None
