"""Lists and reads stored files for clients, without the bookkeeping.

Errors: OperationError for invalid requests; StorageError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.errors import ObjectNotFoundError
from sandbox_agent.storage.repository.keys import BOOKKEEPING, NameRefusedError, check_path, printable
from sandbox_link.protocol import OperationError, invalid
from sandbox_proto.v1 import workspace_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sandbox_agent.storage.backends.object_store import ObjectInfo, ObjectStore
    from sandbox_agent.storage.repository.keys import Keys

MAX_PAGE_SIZE: Final = 1000


class StoredFiles:
    """The stored files of one workspace."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def list(self, prefix: str, page_size: int, page_token: str) -> workspace_pb2.ListStoredResponse:
        """Return a page of the objects whose path begins with `prefix`, sorted by path.

        Args:
            prefix: Relative to the workspace's prefix, as in `code-interpreter/`.
            page_size: 1 to 1,000; 0 means 1,000.
            page_token: From the previous page; empty for the first page.

        Raises:
            OperationError: INVALID_ARGUMENT.
        """
        if page_size > MAX_PAGE_SIZE:
            raise invalid("page_size", f"page_size is too large: give at most {MAX_PAGE_SIZE}")
        _check_beginning(prefix, "prefix")
        _check_beginning(page_token, "page_token")
        if page_token and not page_token.startswith(prefix):
            raise invalid("page_token", "page_token belongs to a listing with another prefix: begin again without it")
        size = page_size or MAX_PAGE_SIZE
        found: list[workspace_pb2.StoredFile] = []
        after = self._keys.prefix + page_token if page_token else ""
        async for page in self._store.pages(self._keys.prefix + prefix, after=after):
            for info in page:
                if info.key.startswith(self._keys.bookkeeping):
                    continue
                if len(found) == size:
                    return workspace_pb2.ListStoredResponse(files=found, next_page_token=found[-1].path)
                found.append(self._describe(info))
        return workspace_pb2.ListStoredResponse(files=found)

    async def read(self, path: str) -> AsyncGenerator[workspace_pb2.ReadStoredResponse, None]:
        """Yield a file: `info`, then data.

        Raises:
            OperationError: NOT_FOUND, FILE_NOT_FOUND; INVALID_ARGUMENT. Field `path`.
        """
        try:
            check_path(path)
        except NameRefusedError as error:
            raise invalid(
                "path", f"{printable(path)!r} cannot be a stored file ({error}): list the stored files"
            ) from error
        if path.startswith(BOOKKEEPING):
            raise _missing(path)
        try:
            async with self._store.get(self._keys.prefix + path) as stored:
                yield workspace_pb2.ReadStoredResponse(info=self._describe(stored.info))
                async for chunk in stored.chunks:
                    yield workspace_pb2.ReadStoredResponse(data=chunk)
        except ObjectNotFoundError as error:
            raise _missing(path) from error

    def _describe(self, info: ObjectInfo) -> workspace_pb2.StoredFile:
        file = workspace_pb2.StoredFile(path=info.key.removeprefix(self._keys.prefix), size=info.size)
        file.last_modified.FromDatetime(info.last_modified)
        return file


def _check_beginning(path: str, field: str) -> None:
    """Check that the beginning of a path does not leave the workspace's prefix."""
    try:
        if path:
            check_path(path.rstrip("/"))
    except NameRefusedError as error:
        raise invalid(
            field, f"{printable(path)!r} cannot begin a stored path: {error}. List the stored files without it"
        ) from error


def _missing(path: str) -> OperationError:
    return OperationError(
        "NOT_FOUND",
        "FILE_NOT_FOUND",
        f"there is no stored file {printable(path)!r}: list the stored files, or push first",
        "path",
    )
