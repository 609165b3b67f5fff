"""Errors of storage as OperationError: the one place.

PreconditionFailedError   ABORTED, WORKSPACE_CONFLICT
other StorageError        UNAVAILABLE, STORAGE_UNAVAILABLE
ManifestError             DATA_LOSS, STORAGE_UNAVAILABLE
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sandbox_agent.storage.backends.object_store import AccessDeniedError, PreconditionFailedError, StorageError
from sandbox_agent.storage.repository.manifest import ManifestError
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Raise the body's storage errors as OperationError."""
    try:
        yield
    except PreconditionFailedError as error:
        message = "another writer changed this workspace at the same time: restore first, then push again"
        raise OperationError("ABORTED", "WORKSPACE_CONFLICT", message) from error
    except AccessDeniedError as error:
        message = f"storage refuses these credentials: {error}"
        raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", message) from error
    except StorageError as error:
        raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", f"storage is not available: {error}") from error
    except ManifestError as error:
        message = f"what is stored is not usable: {error}"
        raise OperationError("DATA_LOSS", "STORAGE_UNAVAILABLE", message) from error
