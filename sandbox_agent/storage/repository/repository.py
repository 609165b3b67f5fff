"""Reads HEAD, manifests and listings, and moves HEAD to its next state unless another writer did so first.

Errors: StorageError; ManifestError if what is stored is not usable.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.backends.object_store import read_all
from sandbox_agent.storage.errors import (
    ManifestError,
    ManifestMissingError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from sandbox_agent.storage.repository.delta import Delta
from sandbox_agent.storage.repository.head import Head, decode_head, encode_head
from sandbox_agent.storage.repository.interrupted_push import InterruptedPush
from sandbox_agent.storage.repository.keys import NameRefusedError
from sandbox_agent.storage.repository.manifest import (
    MAX_BYTES,
    MAX_FILES,
    Manifest,
    decode_manifest,
    encode_manifest,
    manifest_generation,
    manifest_name,
)
from sandbox_agent.storage.repository.prune import Pruner

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sandbox_agent.storage.backends.object_store import ObjectInfo, ObjectStore
    from sandbox_agent.storage.repository.head import PreviousObject
    from sandbox_agent.storage.repository.keys import Keys

LOCK_EXPIRY: Final = 300.0
"""Seconds without a refresh after which a lock is stale: its push counts as interrupted."""


@dataclass(frozen=True, slots=True)
class HeadState:
    """HEAD as it was read or written."""

    head: Head = field(default_factory=Head)
    etag: str = ""
    """Empty if there is no HEAD."""
    modified: float = 0.0
    """Unix time, by the store's clock."""
    age: float = 0.0
    """Seconds since `modified`, by the store's clock, so that the clocks of two writers do not matter."""
    is_tagged: bool = False
    """HEAD was read with its writer tag, so its writer tags objects and this store keeps tags."""

    def is_locked_by_other(self, writer: str) -> bool:
        """Return whether another writer is pushing."""
        lock = self.head.lock
        return lock is not None and lock.writer != writer and self.age < LOCK_EXPIRY


@dataclass(frozen=True, slots=True)
class StoredState:
    """A consistent view of all that is stored."""

    state: HeadState
    manifest: Manifest
    objects: Mapping[str, ObjectInfo]
    """Files by path."""
    backups: Mapping[str, ObjectInfo]
    """Backups of objects that an interrupted push replaced, by sha256."""
    undo: Mapping[str, PreviousObject]
    """An interrupted push's undo journal by path, without the paths in `foreign`."""
    foreign: Collection[str]
    """Paths that other writers changed since an interrupted push."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Keys whose names are refused, with the reason."""


@dataclass(slots=True)
class Listing:
    """All objects below a workspace's prefix."""

    is_empty: bool = True
    """There is no object of any kind."""
    head_etag: str = ""
    objects: dict[str, ObjectInfo] = field(default_factory=dict)
    """Files by path."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Keys whose names are refused, with the reason."""
    requests: int = 0


class Repository:
    """The bookkeeping of one workspace in its bucket.

    Attributes:
        pruner: Deletes what no snapshot needs.
    """

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self.pruner = Pruner(store, keys)

    async def read_head(self) -> HeadState:
        """Return HEAD, or an empty one if there is none. A failed request never counts as an empty workspace."""
        try:
            async with self._store.get(self._keys.head) as stored:
                content = await read_all(stored, MAX_BYTES)
                modified = stored.info.last_modified.timestamp()
                age = stored.served_at.timestamp() - modified
                etag, is_tagged = stored.info.etag, bool(stored.info.writer_tag)
        except ObjectNotFoundError:
            return HeadState()
        return HeadState(await asyncio.to_thread(decode_head, content), etag, modified, age, is_tagged)

    async def move_head(self, old: HeadState, new: Head) -> HeadState:
        """Replace HEAD if it is still the old one.

        If the answer is lost, read HEAD again to find out whether the write succeeded.

        Raises:
            PreconditionFailedError: Another writer replaced HEAD.
        """
        body = await asyncio.to_thread(encode_head, new)
        try:
            etag = await self._store.put(
                self._keys.head, body, if_match=old.etag, if_none_match=not old.etag, writer_tag=new.generation + 1
            )
        except (PreconditionFailedError, StorageUnavailableError):
            now = await self.read_head()
            if now.head != new:
                raise
            etag = now.etag
        return HeadState(new, etag)

    async def read_manifest(self, head: Head) -> Manifest:
        """Return HEAD's snapshot: the manifest that HEAD names, with HEAD's delta applied. Empty if HEAD names none.

        Raises:
            ManifestMissingError: The manifest is not there.
        """
        if not head.generation:
            return Manifest(0, "", "")
        try:
            async with self._store.get(self._keys.of_manifest(head.manifest)) as stored:
                content = await read_all(stored, MAX_BYTES)
        except ObjectNotFoundError as error:
            raise ManifestMissingError(f"{head.manifest}, which HEAD names, is not there") from error
        return await asyncio.to_thread(_decode, content, head)

    async def write_manifest(self, manifest: Manifest) -> str:
        """Store a manifest and return its name."""
        name = manifest_name(manifest.generation, secrets.token_hex(8))
        body = await asyncio.to_thread(encode_manifest, manifest)
        await self._store.put(self._keys.of_manifest(name), body)
        return name

    async def observe(self) -> StoredState | None:
        """Return all that a restore needs to know. Returns None if the workspace changed during the observation.

        One listing shows HEAD before the files. If HEAD is still the same after it, the files belong to that HEAD, or
        to a push that is running. An empty workspace costs one request.
        """
        listing = await self.list_all()
        state = HeadState() if listing.is_empty else await self.read_head()
        if state.etag != listing.head_etag:
            return None
        try:
            manifest = await self.read_manifest(state.head)
        except ManifestMissingError:
            if (await self.read_head()).etag == state.etag:
                raise
            return None
        interrupted = InterruptedPush(self._store, self._keys, state.head, is_tagged=state.is_tagged)
        _, foreign = await interrupted.find_all(listing.objects)
        backups: dict[str, ObjectInfo] = {}
        if state.head.interrupted:
            # A push backs up each object before it replaces it. Backups are listed after the files, so there is one
            # for every replaced file in the listing. None is deleted while HEAD stays the same.
            backups = await self.list_backups(state.head)
            if _without_time((await self.read_head()).head) != _without_time(state.head):
                return None
        undo = {path: before for path, before in interrupted.undo.items() if path not in foreign}
        return StoredState(state, manifest, listing.objects, backups, undo, foreign, listing.refused)

    async def list_backups(self, head: Head) -> dict[str, ObjectInfo]:
        """Return the backups that uncommitted pushes made of replaced objects, by sha256."""
        found = {}
        async for page in self._store.pages(self._keys.backups):
            for info in page:
                generation, sha256 = self._keys.read_backup(info.key)
                if not generation or generation > head.generation:
                    found[sha256] = info
        return found

    async def list_all(self) -> Listing:
        """List HEAD and the files: one request for each 1,000 objects."""
        listing, keys = Listing(), self._keys
        async for page in self._store.pages(keys.prefix):
            listing.requests += 1
            for info in page:
                listing.is_empty = False
                if info.key == keys.head:
                    listing.head_etag = info.etag
                elif info.key.startswith(keys.files) and not info.key.endswith("/"):
                    # Consoles of object stores create keys with a final slash to show a folder.
                    try:
                        listing.objects[keys.path_of(info.key)] = info
                    except NameRefusedError as error:
                        listing.refused.append((info.key.removeprefix(keys.files), str(error)))
            if len(listing.objects) + len(listing.refused) > 2 * MAX_FILES:
                raise ManifestError(f"more than {2 * MAX_FILES} objects are stored")
        return listing


def _without_time(head: Head) -> Head:
    """Return HEAD without the time of the lock, which changes with every refresh."""
    return head if head.lock is None else replace(head, lock=replace(head.lock, since=""))


def _decode(content: bytes, head: Head) -> Manifest:
    manifest = decode_manifest(content, manifest_generation(head.manifest))
    if manifest.generation == head.generation and head.delta == Delta():
        return manifest
    entries = head.delta.apply(manifest.by_path())
    return Manifest(head.generation, head.committed_at, head.writer, tuple(entries.values()))
