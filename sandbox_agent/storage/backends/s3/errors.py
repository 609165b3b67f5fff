"""Translates botocore's errors. Messages never contain headers of a request, and so no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.errors import (
    AccessDeniedError,
    CredentialsExpiredError,
    ObjectNotFoundError,
    ObjectRefusedError,
    PreconditionFailedError,
    StorageError,
    StorageUnavailableError,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_EXPIRED: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidTokenId",
        "TokenRefreshRequired",
    }
)
"""Some stores forget expired credentials, so unknown ones count as expired."""
_DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "SignatureDoesNotMatch"})
_CONFLICT: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NOT_FOUND: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_REFUSED: Final = frozenset({"EntityTooLarge", "InvalidObjectName", "KeyTooLongError", "XMinioInvalidObjectName"})
_FORBIDDEN: Final = frozenset({401, 403})
_CONFLICT_STATUS: Final = frozenset({409, 412})
_UNEXPLAINED: Final = "400"
"""S3's answer to a HEAD with an expired token, which has no body with a code."""


def translated(error: Exception) -> StorageError | None:
    """Return the StorageError for an exception of a request. Returns None if it is a bug of ours."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - late, see client.py

    if isinstance(error, ClientError):
        return _of_answer(error)
    if isinstance(error, BotoCoreError | OSError):
        return StorageUnavailableError(f"{type(error).__name__}: {error}")
    if type(error).__module__.startswith("urllib3."):
        return StorageUnavailableError(type(error).__name__)
    return None


def _of_answer(error: ClientError) -> StorageError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = f"{error.operation_name} was answered with {code or status}"
    if code in _EXPIRED:
        return CredentialsExpiredError(message)
    if code in _DENIED or code == _UNEXPLAINED or status in _FORBIDDEN:
        return AccessDeniedError(message)
    if code in _NOT_FOUND:
        return ObjectNotFoundError(message)
    if code in _CONFLICT or status in _CONFLICT_STATUS:
        return PreconditionFailedError(message)
    if code in _REFUSED:
        return ObjectRefusedError(message)
    return StorageUnavailableError(message)
