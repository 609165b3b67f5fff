"""E2B's own forms of errors: one for each part of its protocol. Pure: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import (
    Conflict,
    DataCorrupted,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotSupported,
    PermissionDenied,
    ResourceExhausted,
    SandboxError,
    SandboxUnavailable,
    Unauthenticated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUSES: Final[Mapping[type[SandboxError], int]] = {
    InvalidArgument: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    Conflict: 409,
    FailedPrecondition: 409,
    ResourceExhausted: 429,
    NotSupported: 501,
    SandboxUnavailable: 503,
    DeadlineExceeded: 504,
}
_FILE_STATUSES: Final[Mapping[str, int]] = {
    "DISK_FULL": 507,
    "FILE_TOO_LARGE": 413,
    "IS_A_DIRECTORY": 400,
    "NOT_A_DIRECTORY": 400,
    "NOT_A_FILE": 400,
}
_CODES: Final[Mapping[type[SandboxError], str]] = {
    InvalidArgument: "invalid_argument",
    Unauthenticated: "unauthenticated",
    PermissionDenied: "permission_denied",
    NotFound: "not_found",
    Conflict: "already_exists",
    FailedPrecondition: "failed_precondition",
    ResourceExhausted: "resource_exhausted",
    NotSupported: "unimplemented",
    SandboxUnavailable: "unavailable",
    DeadlineExceeded: "deadline_exceeded",
    DataCorrupted: "data_loss",
}
_CODES_BY_REASON: Final[Mapping[str, str]] = {
    "IS_A_DIRECTORY": "invalid_argument",
    "NOT_A_DIRECTORY": "invalid_argument",
    "NOT_A_FILE": "invalid_argument",
    "PROCESS_ENDED": "not_found",
}
_CODE_STATUSES: Final[Mapping[str, int]] = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "already_exists": 409,
    "resource_exhausted": 429,
    "unimplemented": 501,
    "unavailable": 503,
    "deadline_exceeded": 504,
}


def control_error(error: SandboxError) -> tuple[int, dict[str, Any]]:
    """Return status and body of an error of the control plane."""
    status = _STATUSES.get(type(error), 500)
    body: dict[str, Any] = {"code": status, "message": error.message}
    if error.reason:
        body["error_code"] = error.reason.lower()
    return status, body


def file_error(error: SandboxError) -> tuple[int, dict[str, Any]]:
    """Return status and body of an error of the HTTP routes for files."""
    status = _FILE_STATUSES.get(error.reason) or _STATUSES.get(type(error), 500)
    return status, {"code": status, "message": error.message}


def rpc_error(error: SandboxError) -> tuple[int, dict[str, Any]]:
    """Return status and body of an error of a Connect call. A stream has the body in its last message."""
    code = _CODES_BY_REASON.get(error.reason) or _CODES.get(type(error), "internal")
    return _CODE_STATUSES.get(code, 500), {"code": code, "message": error.message}


def interpreter_error(error: SandboxError) -> tuple[int, str]:
    """Return status and text of an error of the code interpreter."""
    return _STATUSES.get(type(error), 500), error.message


def missing_sandbox(identifier: str) -> tuple[int, dict[str, Any]]:
    """Return status and body for a session that does not exist or is paused. The SDKs look for these words."""
    return 502, {"sandboxId": identifier, "message": "The sandbox was not found", "code": 502}


def closed_port(identifier: str, port: int) -> tuple[int, dict[str, Any]]:
    """Return status and body for a port on which nothing listens. The SDKs look for these words."""
    message = "The sandbox is running but port is not open"
    return 502, {"sandboxId": identifier, "message": message, "port": port, "code": 502}
