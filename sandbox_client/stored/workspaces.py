"""The stored workspaces of one namespace: list, show, delete, prune."""

from __future__ import annotations

import asyncio
import datetime as dt
import fnmatch
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sandbox_client.errors import Conflict, InvalidArgument, NotFound
from sandbox_client.lifecycle.durations import parse_duration
from sandbox_client.stored.directory import DirectoryObjects
from sandbox_client.stored.head import HEAD, HeadSummary, read_head
from sandbox_client.stored.stores import open_objects
from sandbox_client.transport.arguments import checks_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from sandbox_client.lifecycle.durations import Duration
    from sandbox_client.stored.objects import Objects

LOCK_SECONDS: Final = 300.0
"""Seconds after which the lock of a push counts as abandoned, as for the agents."""
_FORCE: Final = "force it (--force, force=True)"
_BATCH: Final = 1_000
"""Objects that are deleted between two looks at HEAD."""
_PARALLEL: Final = 8
"""Workspaces that are read at the same time."""


@dataclass(frozen=True, slots=True)
class StoredWorkspace:
    """A workspace in a store.

    Attributes:
        name: The workspace's name.
        bytes: Size of all its objects, with bookkeeping and copies.
        objects: Number of its objects.
        modified: When an object was last written, by the store's clock. Its age counts from here.
        saved: When the last push was complete; None if there was none, or if HEAD cannot be read.
        last_session: The session that pushed last, as `namespace/name`; "" if unknown.
        pushing: The session that is pushing, or whose push was interrupted; "" if there is none.
        used_by: The session that uses the workspace; "" if none does.
    """

    name: str
    bytes: int
    objects: int
    modified: dt.datetime
    saved: dt.datetime | None = None
    last_session: str = ""
    pushing: str = ""
    used_by: str = ""

    def age(self, now: dt.datetime | None = None) -> dt.timedelta:
        """Return the time since the last write."""
        return (now or dt.datetime.now(dt.UTC)) - self.modified


@checks_arguments
class AsyncStoredWorkspaces:
    """The stored workspaces of one namespace. `AsyncCluster.workspaces` opens them, or `AsyncStoredWorkspaces.open`.

    It reads and deletes objects with the caller's own credentials for the store. Every method raises Unauthenticated if
    these do not suffice, and SandboxUnavailable if the store does not answer.
    """

    def __init__(self, objects: Objects, namespace: str, users: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        """Take over a store.

        Args:
            objects: The store.
            namespace: The namespace, or `local`.
            users: Returns the workspaces that sessions use, with the name of such a session.
        """
        self._objects = objects
        self._prefix = f"{_check_part(namespace, 'namespace')}/"
        self._namespace = namespace
        self._users = users

    @classmethod
    async def open(cls, folder: str | os.PathLike[str], *, may_be_missing: bool = False) -> Self:
        """Open the folder that local sessions use as their store (`AsyncSandbox.local(store=...)`).

        Args:
            folder: The folder.
            may_be_missing: Whether a folder that does not exist counts as an empty one. It is not created.

        Raises:
            InvalidArgument: There is no such folder.
        """
        if str(folder).startswith("s3://"):
            message = f"{folder} is not a folder. Open a bucket with AsyncCluster.workspaces, which knows its sessions"
            raise InvalidArgument(message, field="folder")

        async def no_users() -> Mapping[str, str]:
            return {}

        return cls(DirectoryObjects(Path(folder)) if may_be_missing else open_objects(folder), "local", no_users)

    async def close(self) -> None:
        """Close the connections to the store."""
        await asyncio.to_thread(self._objects.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def get(self, name: str) -> StoredWorkspace:
        """Return one workspace.

        Raises:
            NotFound: The store has no workspace of that name.
        """
        _check_part(name, "name")
        users = await self._find_users()
        found = await asyncio.to_thread(self._read, name)
        if found is None:
            raise self._not_found(name)
        return replace(found, used_by=users.get(name, ""))

    async def delete(self, name: str, *, force: bool = False) -> StoredWorkspace:
        """Delete a workspace for good, and return what it was.

        An interrupted deletion can be repeated: the object that names the snapshot goes last.

        Args:
            name: The workspace's name.
            force: Delete it even if a session uses it or is pushing to it.

        Raises:
            NotFound: The store has no workspace of that name.
            Conflict: A session uses the workspace, is pushing to it, or pushed while it was deleted.
        """
        found = await self.get(name)
        if not force:
            _check_unused(found)
        await asyncio.to_thread(self._delete, found, force)
        return found

    async def prune(self, older_than: Duration, *, match: str = "*", dry_run: bool = False) -> list[StoredWorkspace]:
        """Delete the workspaces that were not written for some time, except those that a session uses.

        A suspended session uses its workspace, too.

        Args:
            older_than: Smallest age: seconds, a timedelta, or a text such as `30d`.
            match: Pattern of names, such as `sandbox-*` for those of sessions without a name.
            dry_run: Only return the workspaces.

        Returns:
            The workspaces that were deleted, or would be.
        """
        age, now = parse_duration(older_than, "older_than"), dt.datetime.now(dt.UTC)
        found = [
            each
            for each in await self.list()
            if each.age(now) >= age and not each.used_by and fnmatch.fnmatchcase(each.name, match)
        ]
        if dry_run:
            return found
        deleted = []
        for each in found:
            # The list may have taken long. A session may have begun to use the workspace since.
            try:
                current = await self.get(each.name)
                if current.age(now) < age:
                    continue
                _check_unused(current)
                await asyncio.to_thread(self._delete, current, force=False)
            except (Conflict, NotFound):
                continue
            deleted.append(each)
        return deleted

    async def list(self) -> list[StoredWorkspace]:
        """Return all workspaces, by name. This lists every object of the namespace."""
        users = await self._find_users()
        names = await asyncio.to_thread(self._objects.folders, self._prefix)
        slots = asyncio.Semaphore(_PARALLEL)

        async def read(name: str) -> StoredWorkspace | None:
            async with slots:
                return await asyncio.to_thread(self._read, name)

        found = await asyncio.gather(*(read(name) for name in names))
        return [replace(each, used_by=users.get(each.name, "")) for each in found if each is not None]

    async def _find_users(self) -> dict[str, str]:
        held = await asyncio.to_thread(self._objects.in_use, self._namespace)
        return {**held, **await self._users()}

    def _read(self, name: str) -> StoredWorkspace | None:
        prefix = f"{self._prefix}{name}/"
        total, count, modified = 0, 0, None
        for each in self._objects.list(prefix):
            total, count = total + each.size, count + 1
            modified = each.modified if modified is None else max(modified, each.modified)
        if modified is None:
            return None
        head = self._read_head(name)
        return StoredWorkspace(name, total, count, modified, head.saved, head.last_session, head.pushing)

    def _read_head(self, name: str) -> HeadSummary:
        return read_head(self._objects.read(f"{self._prefix}{name}/{HEAD}"))

    def _delete(self, workspace: StoredWorkspace, force: bool) -> None:  # noqa: FBT001 - internal
        prefix = f"{self._prefix}{workspace.name}/"
        head = prefix + HEAD
        keys: list[str] = []
        for each in self._objects.list(prefix):
            if each.key != head:
                keys.append(each.key)
            if len(keys) >= _BATCH:
                self._check_same(workspace, force=force)
                self._objects.delete(keys)
                keys = []
        self._check_same(workspace, force=force)
        self._objects.delete(keys)
        self._objects.delete([head])

    def _check_same(self, workspace: StoredWorkspace, *, force: bool) -> None:
        now = self._read_head(workspace.name)
        if not force and (now.saved, now.pushing) != (workspace.saved, workspace.pushing):
            message = (
                f"workspace {workspace.name} changed while it was being deleted: a session has pushed to it. Files "
                "that were not deleted yet stay"
            )
            raise Conflict(message, reason="WORKSPACE_CONFLICT")

    def _not_found(self, name: str) -> NotFound:
        place = f"{self._objects.place.rstrip('/')}/{self._prefix}"
        return NotFound(f"there is no workspace {name} in {place}", reason="WORKSPACE_NOT_FOUND")


def _check_unused(workspace: StoredWorkspace) -> None:
    if workspace.used_by:
        message = f"workspace {workspace.name} is in use by {workspace.used_by}: end that session first, or {_FORCE}"
        raise Conflict(message, reason="WORKSPACE_IN_USE")
    if workspace.pushing and workspace.age().total_seconds() < LOCK_SECONDS:
        message = f"{workspace.pushing} is pushing to workspace {workspace.name}: try again later, or {_FORCE}"
        raise Conflict(message, reason="WORKSPACE_IN_USE")


def _check_part(name: str, field: str) -> str:
    if not isinstance(name, str) or name in {"", ".", ".."} or any(each in name for each in "/\\\0"):
        raise InvalidArgument(f"{name!r} is not a name: give one without / or \\", field=field)
    return name
