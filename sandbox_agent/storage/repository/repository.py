"""HEAD and manifests in the store: read them, and move HEAD from one state to the next if nobody else did.

Errors: StorageError; ManifestError where what is stored is not usable.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sandbox_agent.storage.backends.object_store import (
    ObjectNotFoundError,
    PreconditionFailedError,
    StorageError,
    StorageUnavailableError,
    read_all,
)
from sandbox_agent.storage.repository.delta import Changes
from sandbox_agent.storage.repository.head import Head, decode_head, encode_head
from sandbox_agent.storage.repository.keys import NameRefusedError
from sandbox_agent.storage.repository.manifest import (
    MAX_BYTES,
    MAX_FILES,
    Manifest,
    ManifestError,
    decode_manifest,
    encode_manifest,
    manifest_generation,
    manifest_name,
)
from sandbox_agent.storage.repository.prune import Garbage
from sandbox_agent.storage.repository.undo_journal import Leavings
from sandbox_agent.storage.restore.plan import Stored

if TYPE_CHECKING:
    from sandbox_agent.storage.backends.object_store import ObjectInfo, ObjectStore
    from sandbox_agent.storage.repository.keys import Keys

LEASE: Final = 300.0
"""Seconds after which a push that no longer says that it goes on counts as interrupted."""


@dataclass(frozen=True, slots=True)
class HeadState:
    """HEAD as it was read or written."""

    head: Head = field(default_factory=Head)
    etag: str = ""
    """Empty: there is no HEAD."""
    modified: float = 0.0
    """Unix time, by the store's clock."""
    age: float = 0.0
    """Seconds since then, by the store's clock, so that the clocks of two writers do not matter."""
    is_marked: bool = False
    """It was read with its mark: whoever wrote it marks, and this store keeps marks."""

    def is_claimed_by_other(self, writer: str) -> bool:
        """Whether another writer is pushing."""
        pushing = self.head.pushing
        return pushing is not None and pushing.writer != writer and self.age < LEASE


@dataclass(frozen=True, slots=True)
class Observed:
    """A state of storage that fits together."""

    state: HeadState
    stored: Stored
    refused: list[tuple[str, str]]
    """Keys whose names are refused, with the reason."""


@dataclass(slots=True)
class Listing:
    """What lies below a workspace's prefix."""

    is_empty: bool = True
    """Of whatever kind of object."""
    head_etag: str = ""
    objects: dict[str, ObjectInfo] = field(default_factory=dict)
    """By path."""
    refused: list[tuple[str, str]] = field(default_factory=list)


class Generations:
    """The bookkeeping of one workspace.

    Attributes:
        garbage: What of it is not needed any more.
    """

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self.garbage = Garbage(store, keys)

    async def read_head(self) -> HeadState:
        """HEAD; the empty one where there is none. An access that fails is never read as that."""
        try:
            async with self._store.get(self._keys.head) as stored:
                content = await read_all(stored, MAX_BYTES)
                modified = stored.info.last_modified.timestamp()
                age = stored.served_at.timestamp() - modified
                etag, is_marked = stored.info.etag, bool(stored.info.push)
        except ObjectNotFoundError:
            return HeadState()
        return HeadState(await asyncio.to_thread(decode_head, content), etag, modified, age, is_marked)

    async def move_head(self, old: HeadState, new: Head) -> HeadState:
        """Replace HEAD if it is still the old one.

        An answer that was lost on its way is found out: what is there now is compared.

        Raises:
            PreconditionFailedError: Somebody else replaced it.
        """
        body = await asyncio.to_thread(encode_head, new)
        try:
            etag = await self._store.put(
                self._keys.head, body, if_match=old.etag, if_none_match=not old.etag, push=new.generation + 1
            )
        except (PreconditionFailedError, StorageUnavailableError):
            now = await self.read_head()
            if now.head != new:
                raise
            etag = now.etag
        return HeadState(new, etag)

    async def read_manifest(self, head: Head) -> Manifest:
        """HEAD's generation: the manifest that it names, with its changes; the empty one where it names none.

        Raises:
            StorageError: It is not there.
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
        """Store a manifest; its name."""
        name = manifest_name(manifest.generation, secrets.token_hex(8))
        body = await asyncio.to_thread(encode_manifest, manifest)
        await self._store.put(self._keys.of_manifest(name), body)
        return name

    async def observe(self) -> Observed | None:
        """All that a restore needs to know; None where it changed while it was looked at.

        One listing, in which HEAD comes before the files; where HEAD is still the same after it, the files are that
        HEAD's, or a push's that is under way. A workspace in which nothing is stored yet costs this one request.
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
        leavings = Leavings(self._store, self._keys, state.head, is_marked=state.is_marked)
        _, foreign = await leavings.tell_apart(listing.objects)
        previous: dict[str, ObjectInfo] = {}
        if state.head.interrupted:
            # A push copies aside before it replaces: after the files, each that was seen to be replaced has its copy,
            # and while HEAD is the same nobody has removed it.
            previous = await self.list_previous(state.head)
            if _without_time((await self.read_head()).head) != _without_time(state.head):
                return None
        undo = {path: before for path, before in leavings.undo.items() if path not in foreign}
        stored = Stored(state.head, manifest, listing.objects, previous, undo, foreign, state.modified)
        return Observed(state, stored, listing.refused)

    async def list_previous(self, head: Head) -> dict[str, ObjectInfo]:
        """What pushes that are not committed have kept of replaced objects, by sha256."""
        found = {}
        async for page in self._store.pages(self._keys.previous):
            for info in page:
                generation, sha256 = self._keys.previous_of(info.key)
                if not generation or generation > head.generation:
                    found[sha256] = info
        return found

    async def list_all(self) -> Listing:
        """HEAD and the files: one request for each 1,000 objects."""
        listing, keys = Listing(), self._keys
        async for page in self._store.pages(keys.prefix):
            for info in page:
                listing.is_empty = False
                if info.key == keys.head:
                    listing.head_etag = info.etag
                elif info.key.startswith(keys.files) and not info.key.endswith("/"):
                    # One that ends so is how consoles of object stores show a folder.
                    try:
                        listing.objects[keys.path_of(info.key)] = info
                    except NameRefusedError as error:
                        listing.refused.append((info.key.removeprefix(keys.files), str(error)))
            if len(listing.objects) + len(listing.refused) > 2 * MAX_FILES:
                raise ManifestError(f"more than {2 * MAX_FILES} objects are stored")
        return listing


def _without_time(head: Head) -> Head:
    """Without what a long push writes again and again to say that it goes on."""
    return head if head.pushing is None else replace(head, pushing=replace(head.pushing, since=""))


def _decode(content: bytes, head: Head) -> Manifest:
    manifest = decode_manifest(content, manifest_generation(head.manifest))
    if manifest.generation == head.generation and head.changes == Changes():
        return manifest
    entries = head.changes.apply(manifest.by_path())
    return Manifest(head.generation, head.committed_at, head.writer, tuple(entries.values()))


class ManifestMissingError(StorageError):
    """HEAD names a manifest that is not there: a newer commit removed it, or somebody else did."""
