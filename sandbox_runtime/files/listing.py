"""`file.list` and `workspace.scan`: threads read the entries, and each batch becomes an event."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import invalid
from sandbox_runtime.files.arguments import take_int, take_text, take_texts
from sandbox_runtime.files.confined.errors import translating
from sandbox_runtime.files.confined.info import Info, build_info
from sandbox_runtime.files.confined.left_out import LeftOut
from sandbox_runtime.files.confined.open_beneath import THROUGH
from sandbox_runtime.files.confined.path_checks import to_text
from sandbox_runtime.files.confined.walk import FOLDER_FLAGS, Walk, visit_tree
from sandbox_runtime.files.globs import Globs
from sandbox_runtime.files.scan import scan
from sandbox_runtime.files.scan_cache import Comparison, ScanCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox_link.protocol import Channel
    from sandbox_runtime.files.confined.roots import Place, Roots
    from sandbox_runtime.files.confined.threads import StopFlag, Threads

MAX_ENTRIES: Final = 500
"""Entries in one event at most."""
_MAX_EVENT: Final = 900_000
"""Characters of one event at most, even if every byte of a name is escaped. Less than frames.MAX_JSON."""
_MAX_METADATA: Final = 256 * 1024
"""Characters of metadata in one page at most, so that it fits into a message however many files have some."""
_ESCAPED: Final = 6
_ENTRY_OVERHEAD: Final = 400
DEFAULT_PAGE: Final = 1_000
MAX_PAGE: Final = 10_000
_MAX_DEPTH: Final = (1 << 32) - 1
_MAX_PATTERNS: Final = 1_000


class Batches:
    """Cuts a blocking iterator of file infos into events. Its methods run in threads."""

    def __init__(self, entries: Iterator[Info]) -> None:
        self._entries = entries
        self._next: Info | None = None

    def take(self, flag: StopFlag) -> list[Info]:
        """Return the entries of the next event; empty at the end."""
        batch: list[Info] = []
        room = _MAX_EVENT
        while len(batch) < MAX_ENTRIES:
            flag.check()
            entry, self._next = self._next or next(self._entries, None), None
            if entry is None:
                break
            metadata = entry.get("metadata", {})
            texts = (entry["path"], entry["symlink_target"], *metadata, *metadata.values())
            room -= _ESCAPED * sum(map(len, texts)) + _ENTRY_OVERHEAD + 8 * len(metadata)
            if room < 0 and batch:
                self._next = entry
                break
            batch.append(entry)
        return batch

    def close(self) -> None:
        """Close the iterator and the folders that it has open."""
        close = getattr(self._entries, "close", None)
        if close is not None:
            close()


@dataclass(slots=True)
class _Page:
    """One page of a folder. `next_token` is set once the entries have been read."""

    place: Place
    depth: int
    size: int
    after: bytes
    next_token: str = ""

    def entries(self) -> Iterator[Info]:
        prefix = self.place.below
        last, remaining, metadata_room = b"", self.size, _MAX_METADATA
        with self.place.locate(THROUGH) as location:
            base = os.open(location.name, FOLDER_FLAGS, dir_fd=location.folder)
            try:
                for visit in visit_tree(base, Walk(depth=self.depth, after=self.after, with_metadata=True)):
                    if visit.leaving:
                        continue
                    metadata_room -= sum(map(len, visit.metadata)) + sum(map(len, visit.metadata.values()))
                    if not remaining or (metadata_room < 0 and last):
                        self.next_token = base64.urlsafe_b64encode(last).decode()
                        return
                    last, remaining = visit.path, remaining - 1
                    yield build_info(to_text(prefix + visit.path), visit.status, visit.target, metadata=visit.metadata)
            finally:
                os.close(base)


class ListHandlers:
    """Handlers of listing and scanning."""

    def __init__(self, roots: Roots, threads: Threads) -> None:
        self._roots = roots
        self._threads = threads
        self._scan_cache = ScanCache()

    async def list(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.list`. An empty path means the root."""
        arguments = channel.arguments
        page = _Page(
            self._roots.find(arguments, default="."),
            depth=take_int(arguments, "depth", _MAX_DEPTH) or 1,
            size=take_int(arguments, "page_size", MAX_PAGE) or DEFAULT_PAGE,
            after=_parse_token(take_text(arguments, "page_token")),
        )
        await self._send(channel, Batches(page.entries()))
        return {"next_page_token": page.next_token}

    async def scan(self, channel: Channel) -> dict[str, Any]:
        """Handle `workspace.scan`."""
        arguments = channel.arguments
        workspace = self._roots.workspace
        tops = [workspace.confine(path, "paths") for path in take_texts(arguments, "paths")]
        patterns = take_texts(arguments, "exclude")
        if len(patterns) > _MAX_PATTERNS:
            raise invalid("exclude", f"`exclude` has more than {_MAX_PATTERNS} patterns: give fewer")
        try:
            excluded = Globs(patterns)
        except ValueError as error:
            raise invalid("exclude", f"`exclude` is not possible: {error}") from error
        left_out = LeftOut()
        if tops or "since" not in arguments:
            await self._send(channel, Batches(scan(workspace, tops or [()], excluded, left_out)))
            return _send_left_out(channel, left_out)
        comparison = Comparison(self._scan_cache, take_text(arguments, "since"), tuple(patterns))
        await self._send(channel, Batches(scan(workspace, [()], excluded, left_out, comparison)))
        for paths in _cut(comparison.deleted()):
            channel.send_event({"type": "gone", "paths": paths})
        self._scan_cache = comparison.to_cache()
        return {
            **_send_left_out(channel, left_out),
            "token": self._scan_cache.token,
            "is_difference": comparison.is_difference,
        }

    async def _send(self, channel: Channel, batches: Batches) -> None:
        try:
            while entries := await self._threads.run_stoppable(batches.take):
                channel.send_event({"type": "entries", "entries": entries})
        finally:
            with translating():
                await self._threads.run(batches.close)


def _send_left_out(channel: Channel, left_out: LeftOut) -> dict[str, Any]:
    for event in left_out.events():
        channel.send_event(event)
    return {"left_out": left_out.count}


def _cut(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the paths in pieces that fit into an event."""
    start, room = 0, _MAX_EVENT
    for end, path in enumerate(paths):
        room -= _ESCAPED * len(path) + 3
        if end > start and (room < 0 or end - start >= MAX_ENTRIES):
            yield paths[start:end]
            start, room = end, _MAX_EVENT - _ESCAPED * len(path)
    if paths:
        yield paths[start:]


def _parse_token(token: str) -> bytes:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise invalid("page_token", "`page_token` must be the `next_page_token` of an earlier listing.") from error
