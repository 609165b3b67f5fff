"""`file.stat`, `file.mkdir`, `file.remove` and `file.move`: operations on names, not on contents."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import invalid
from sandbox_runtime.files.arguments import take_bool
from sandbox_runtime.files.confined.errors import is_a_directory
from sandbox_runtime.files.confined.info import observe
from sandbox_runtime.files.confined.open_beneath import ITSELF, Location, Lookup
from sandbox_runtime.files.confined.path_checks import Parts, join
from sandbox_runtime.files.confined.remove_tree import remove_tree
from sandbox_runtime.linux import syscalls

if TYPE_CHECKING:
    from sandbox_link.protocol import Channel
    from sandbox_runtime.files.confined.open_beneath import Workspace
    from sandbox_runtime.files.confined.threads import StopFlag, Threads

_MAKE: Final = Lookup(make_parents=True)


class NameHandlers:
    """Handlers of the operations on names."""

    def __init__(self, workspace: Workspace, threads: Threads) -> None:
        self._workspace = workspace
        self._threads = threads

    async def stat(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.stat`."""
        parts = self._workspace.confine(channel.arguments.get("path"))
        return await self._threads.run(_stat, self._workspace, parts)

    async def make_directory(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.mkdir`."""
        parts = self._workspace.confine(channel.arguments.get("path"))
        return await self._threads.run(_make_directory, self._workspace, parts)

    async def remove(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.remove`."""
        parts = self._workspace.confine(channel.arguments.get("path"))
        recursive = take_bool(channel.arguments, "recursive")
        if not parts:
            raise invalid("path", "the root of the workspace cannot be removed: remove its contents instead")
        await self._threads.run_stoppable(lambda flag: _remove(self._workspace, parts, flag, recursive=recursive))
        return {}

    async def move(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.move`."""
        source = self._workspace.confine(channel.arguments.get("source"), "source")
        destination = self._workspace.confine(channel.arguments.get("destination"), "destination")
        overwrite = take_bool(channel.arguments, "overwrite")
        for parts, field in ((source, "source"), (destination, "destination")):
            if not parts:
                raise invalid(field, "the root of the workspace cannot be moved or replaced: name something in it")
        if len(destination) > len(source) and destination[: len(source)] == source:
            raise invalid("destination", "a folder cannot be moved into itself: choose a destination outside it")
        return await self._threads.run(_move, self._workspace, source, destination, overwrite=overwrite)


def _stat(workspace: Workspace, parts: Parts) -> dict[str, Any]:
    with workspace.locate(parts, ITSELF) as location:
        return {"info": observe(join(parts), location)}


def _make_directory(workspace: Workspace, parts: Parts) -> dict[str, Any]:
    with workspace.locate(parts, _MAKE) as location:
        location.make_folder()
        return {"info": observe(join(parts), location)}


def _remove(workspace: Workspace, parts: Parts, flag: StopFlag, *, recursive: bool) -> None:
    with workspace.locate(parts, ITSELF) as location:
        if not stat.S_ISDIR(location.stat().st_mode):
            os.unlink(location.name, dir_fd=location.folder)
        elif recursive:
            remove_tree(location, flag)
        else:
            raise is_a_directory()


def _move(workspace: Workspace, source: Parts, destination: Parts, *, overwrite: bool) -> dict[str, Any]:
    with workspace.locate(source, ITSELF, "source") as old:
        old.stat()
        with workspace.locate(destination, ITSELF, "destination") as new:
            if overwrite:
                os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)
            else:
                _rename_to_new(old, new)
            return {"info": observe(join(destination), new)}


def _rename_to_new(old: Location, new: Location) -> None:
    """Rename, unless something has the new name already."""
    try:
        syscalls.rename_without_replacing(old.folder, old.name, new.folder, new.name)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            raise
    else:
        return
    if not stat.S_ISDIR(old.stat().st_mode):
        os.link(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder, follow_symlinks=False)
        os.unlink(old.name, dir_fd=old.folder)
        return
    # A folder cannot be renamed atomically here. If something appears in between, only an empty folder is replaced.
    with contextlib.suppress(FileNotFoundError):
        new.stat()
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)
