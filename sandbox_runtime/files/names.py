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
from sandbox_runtime.files.confined.remove_tree import remove_tree
from sandbox_runtime.linux import syscalls

if TYPE_CHECKING:
    from sandbox_link.protocol import Channel
    from sandbox_runtime.files.confined.roots import Place, Roots
    from sandbox_runtime.files.confined.threads import StopFlag, Threads

_MAKE: Final = Lookup(make_parents=True)


class NameHandlers:
    """Handlers of the operations on names."""

    def __init__(self, roots: Roots, threads: Threads) -> None:
        self._roots = roots
        self._threads = threads

    async def stat(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.stat`."""
        place = self._roots.find(channel.arguments)
        return await self._threads.run(_stat, place)

    async def make_directory(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.mkdir`."""
        place = self._roots.find(channel.arguments)
        return await self._threads.run(_make_directory, place)

    async def remove(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.remove`."""
        place = self._roots.find(channel.arguments)
        recursive = take_bool(channel.arguments, "recursive")
        if not place.parts:
            raise invalid("path", f"{place.root.title} cannot be removed as a whole: remove its contents instead")
        await self._threads.run_stoppable(lambda flag: _remove(place, flag, recursive=recursive))
        return {}

    async def move(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.move`."""
        source = self._roots.find(channel.arguments, "source")
        destination = self._roots.find(channel.arguments, "destination")
        overwrite = take_bool(channel.arguments, "overwrite")
        for place, field in ((source, "source"), (destination, "destination")):
            if not place.parts:
                raise invalid(field, f"{place.root.title} cannot be moved or replaced: name something in it")
        below = destination.parts[: len(source.parts)]
        if source.root is destination.root and destination.parts != source.parts and below == source.parts:
            raise invalid("destination", "a folder cannot be moved into itself: choose a destination outside it")
        return await self._threads.run(_move, source, destination, overwrite=overwrite)


def _stat(place: Place) -> dict[str, Any]:
    with place.locate(ITSELF) as location:
        return {"info": observe(place.text, location)}


def _make_directory(place: Place) -> dict[str, Any]:
    with place.locate(_MAKE) as location:
        location.make_folder()
        return {"info": observe(place.text, location)}


def _remove(place: Place, flag: StopFlag, *, recursive: bool) -> None:
    with place.locate(ITSELF) as location:
        if not stat.S_ISDIR(location.stat().st_mode):
            os.unlink(location.name, dir_fd=location.folder)
        elif recursive:
            remove_tree(location, flag)
        else:
            raise is_a_directory()


def _move(source: Place, destination: Place, *, overwrite: bool) -> dict[str, Any]:
    with source.locate(ITSELF, "source") as old:
        old.stat()
        with destination.locate(ITSELF, "destination") as new:
            if overwrite:
                os.rename(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)
            else:
                _rename_to_new(old, new)
            return {"info": observe(destination.text, new)}


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
