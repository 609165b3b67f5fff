"""Errors of storage, and their translation into errors for clients.

    StorageError
    ├── StorageUnavailableError   down, slow or full: try again later
    ├── AccessDeniedError         the credentials are wrong, or not for this prefix
    │   └── CredentialsExpiredError   expired or revoked: new credentials would work
    ├── PreconditionFailedError   the object does not match the condition, or no longer does
    ├── ObjectNotFoundError       no such object
    ├── ManifestMissingError      HEAD names a manifest that is not there
    ├── ObjectRefusedError        the store takes no such object: too large, or a key that it does not allow
    └── KeyObstructedError        keys are paths: a file is where a folder must be, or the reverse
    ManifestError                 stored bytes are not a valid HEAD or manifest

`translating` raises them as OperationError:

    PreconditionFailedError   ABORTED, WORKSPACE_CONFLICT
    other StorageError        UNAVAILABLE, STORAGE_UNAVAILABLE
    ManifestError             DATA_LOSS, STORAGE_UNAVAILABLE
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator


class StorageError(Exception):
    """Failure of a request to storage."""


class StorageUnavailableError(StorageError):
    """Failure that may be temporary: the store is down, slow or full."""


class AccessDeniedError(StorageError):
    """Refusal of the credentials."""


class CredentialsExpiredError(AccessDeniedError):
    """Refusal of credentials that the store does not know, or no longer knows."""


class PreconditionFailedError(StorageError):
    """Refusal of a conditional request: another writer changed the object."""


class ObjectNotFoundError(StorageError):
    """Absence of the requested object."""


class ManifestMissingError(StorageError):
    """Absence of the manifest that HEAD names: pruning after a newer commit deleted it, or another tool did."""


class ObjectRefusedError(StorageError):
    """Refusal of one object, because of its size or its key. Other objects can be stored."""


class KeyObstructedError(StorageError):
    """Refusal of a key that another object blocks: that object has to be deleted first."""


class ManifestError(ValueError):
    """Bytes from storage that are not a valid HEAD or manifest. The text says what is wrong."""


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Raise the body's storage errors as OperationError."""
    try:
        yield
    except PreconditionFailedError as error:
        message = "another writer changed this workspace at the same time: restore first, then push again"
        raise OperationError("ABORTED", "WORKSPACE_CONFLICT", message) from error
    except AccessDeniedError as error:
        message = f"storage refuses the session's credentials: {error}. Check the role and the bucket's policy"
        raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", message) from error
    except StorageError as error:
        raise OperationError(
            "UNAVAILABLE", "STORAGE_UNAVAILABLE", f"storage is not available: {error}. Nothing was lost: try again"
        ) from error
    except ManifestError as error:
        message = (
            f"the stored workspace is not usable: {error}. Restore the bucket's earlier versions (docs/storage.md)"
        )
        raise OperationError("DATA_LOSS", "STORAGE_UNAVAILABLE", message) from error
