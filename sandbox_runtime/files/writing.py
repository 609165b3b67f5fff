"""`file.write` and `workspace.write`: whole files, and the folders and symlinks that a restore creates."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.files.arguments import MAX_INT, PERMISSION_BITS, take_int, take_sha256, take_text
from sandbox_runtime.files.bulk_transfer import receive_file
from sandbox_runtime.files.confined.atomic_write import PartFile, Target, part_name
from sandbox_runtime.files.confined.errors import is_a_directory
from sandbox_runtime.files.confined.info import Info, observe
from sandbox_runtime.files.confined.metadata import take_metadata
from sandbox_runtime.files.confined.open_beneath import Location, Lookup
from sandbox_runtime.files.confined.path_checks import Parts, join
from sandbox_runtime.files.confined.roots import Place
from sandbox_runtime.files.confined.threads import finish, wait_for_end
from sandbox_runtime.files.confined.walk import FOLDER_FLAGS

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from sandbox_link.protocol import Channel
    from sandbox_runtime.files.confined.open_beneath import FileRoot
    from sandbox_runtime.files.confined.roots import Roots
    from sandbox_runtime.files.confined.threads import Threads

_WRITTEN: Final = Lookup(make_parents=True)
_RESTORED: Final = Lookup(follow=False, follow_last=False, make_parents=True)
_MAX_TARGET: Final = 4095
"""Largest size of a symlink's target in bytes, as in the kernel."""


class FileLimits(Protocol):
    """Limits that are read at each call, so that `configure` can change them."""

    file_bytes: int
    """Largest size of a file in bytes; 0 for no limit."""


class WriteHandlers:
    """Handlers of writing."""

    def __init__(self, roots: Roots, threads: Threads, limits: FileLimits) -> None:
        self._roots = roots
        self._threads = threads
        self._limits = limits

    async def write(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.write`."""
        arguments = channel.arguments
        target = Target(
            self._roots.find(arguments),
            _WRITTEN,
            mode=take_int(arguments, "mode", PERMISSION_BITS),
            sha256=take_sha256(arguments),
            max_bytes=self._limits.file_bytes,
            metadata=take_metadata(arguments),
        )
        return await self._receive(channel, target)

    async def write_from_storage(self, channel: Channel) -> dict[str, Any]:
        """Handle `workspace.write`. The size limit does not apply: a saved file must be restored whatever its size."""
        arguments = channel.arguments
        kind = take_text(arguments, "type") or "file"
        # A manifest may name bits such as setuid. They are not restored.
        mode = take_int(arguments, "mode", 0o7777) & PERMISSION_BITS
        mtime_ns = take_int(arguments, "mtime_ns", low=-MAX_INT)  # negative before 1970; 0 means now
        workspace = self._roots.workspace
        parts = workspace.confine(arguments.get("path"))
        if kind == "file":
            place = Place(workspace, parts)
            target = Target(
                place,
                _RESTORED,
                mode,
                take_sha256(arguments),
                mtime_ns=mtime_ns or None,
                is_restored=True,
                metadata=_take_stored_metadata(arguments),
            )
            return await self._receive(channel, target)
        if kind == "directory":
            info = await self._threads.run(_restore_folder, workspace, parts, mode, mtime_ns)
        elif kind == "symlink":
            link = _take_link_target(arguments)
            info = await self._threads.run(_restore_link, workspace, parts, link, mtime_ns)
        else:
            raise invalid("type", "`type` must be `file`, `symlink` or `directory`.")
        return {"info": info, "sha256": ""}

    async def _receive(self, channel: Channel, target: Target) -> dict[str, Any]:
        """Write the content that arrives. A file that fits into one piece costs one thread call."""
        part = PartFile(target)
        try:
            if (sock := await channel.stream()) is not None:
                return await self._receive_stream(channel, sock, part)
            piece = await channel.receive()
            following = None if piece is None else await channel.receive()
            if following is None:
                info, digest = await self._threads.run(_write_at_once, part, piece or b"")
                return {"info": info, "sha256": digest}
            await self._threads.run(part.begin)
            while piece is not None:
                writing = self._threads.submit(part.write, piece)
                try:
                    # The next piece arrives while this one is written.
                    piece, following = following, None if following is None else await channel.receive()
                except BaseException:
                    await wait_for_end(writing)
                    raise
                await finish(writing)
            info, digest = await self._threads.run(part.commit)
            return {"info": info, "sha256": digest}
        finally:
            if part.is_open:
                await self._threads.run(part.abort)

    async def _receive_stream(self, channel: Channel, sock: socket.socket, part: PartFile) -> dict[str, Any]:
        with sock:
            await self._threads.run(part.begin)
            await receive_file(sock, part.write, self._threads)
        # A sender that gives up closes the socket too, so the end of the socket does not prove a complete file.
        if await channel.receive() is not None:
            raise invalid("stream", "After a bulk stream no more content may follow.")
        info, digest = await self._threads.run(part.commit)
        return {"info": info, "sha256": digest}


def _take_stored_metadata(arguments: dict[str, Any]) -> Mapping[str, str]:
    """Return stored metadata, or none if no file can have it. Others write to storage too: the content still counts."""
    try:
        return take_metadata(arguments) or {}
    except OperationError:
        return {}


def _write_at_once(part: PartFile, content: bytes) -> tuple[Info, str]:
    try:
        part.begin()
        part.write(content)
        return part.commit()
    finally:
        part.abort()


def _take_link_target(arguments: dict[str, Any]) -> bytes:
    text = take_text(arguments, "symlink_target")
    try:
        target = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        target = b""
    if not target or b"\0" in target or len(target) > _MAX_TARGET:
        raise invalid("symlink_target", f"`symlink_target` must have 1 to {_MAX_TARGET} bytes and no NUL.")
    return target


def _restore_folder(workspace: FileRoot, parts: Parts, mode: int, mtime_ns: int) -> Info:
    with workspace.locate(parts, _RESTORED) as location:
        location.make_folder()
        descriptor = os.open(location.name, FOLDER_FLAGS, dir_fd=location.folder)
        try:
            if mode:
                os.fchmod(descriptor, mode)
            if mtime_ns:
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(descriptor)
        return observe(join(parts), location, detailed=True)


def _restore_link(workspace: FileRoot, parts: Parts, target: bytes, mtime_ns: int) -> Info:
    with workspace.locate(parts, _RESTORED) as location:
        if location.name == b".":
            raise is_a_directory()
        part = Location(location.folder, part_name())
        os.symlink(target, part.name, dir_fd=part.folder)
        try:
            if mtime_ns:
                os.utime(part.name, ns=(mtime_ns, mtime_ns), dir_fd=part.folder, follow_symlinks=False)
            os.rename(part.name, location.name, src_dir_fd=part.folder, dst_dir_fd=part.folder)
        except BaseException:
            os.unlink(part.name, dir_fd=part.folder)
            raise
        return observe(join(parts), location, detailed=True)
