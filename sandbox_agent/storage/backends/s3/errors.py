"""What botocore's errors mean: one table. No request's headers, so no credentials, get into a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.errors import (
    AccessDeniedError,
    CredentialsOverError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StorageError,
    StorageUnavailableError,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_OVER: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidTokenId",
        "TokenRefreshRequired",
    }
)
"""Stores do not tell credentials that ended from those that never were: some forget what has expired."""
_DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "SignatureDoesNotMatch"})
_CONFLICT: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NOT_FOUND: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_FORBIDDEN: Final = frozenset({401, 403})
_CONFLICT_STATUS: Final = frozenset({409, 412})
_UNEXPLAINED: Final = "400"
"""S3's answer to a HEAD with an expired token, which has no body with a code."""


def translated(error: Exception) -> StorageError | None:
    """The StorageError for what a request raised; None for what is a defect of ours."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - imported late, as s3_store says

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
    if code in _OVER:
        return CredentialsOverError(message)
    if code in _DENIED or code == _UNEXPLAINED or status in _FORBIDDEN:
        return AccessDeniedError(message)
    if code in _NOT_FOUND:
        return ObjectNotFoundError(message)
    if code in _CONFLICT or status in _CONFLICT_STATUS:
        return PreconditionFailedError(message)
    return StorageUnavailableError(message)
