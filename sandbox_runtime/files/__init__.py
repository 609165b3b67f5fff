"""File operations, confined to the workspace, /tmp and the home folder: `file.*` and `workspace.*` of docs/link.md.

Standard library only. It knows the link's Channel, but neither interpreters nor the supervisor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sandbox_link.protocol import Channel
from sandbox_runtime.files.confined.roots import TEMPORARY, Roots
from sandbox_runtime.files.confined.threads import Threads
from sandbox_runtime.files.listing import ListHandlers
from sandbox_runtime.files.names import NameHandlers
from sandbox_runtime.files.reading import ReadHandlers
from sandbox_runtime.files.search import SearchHandlers
from sandbox_runtime.files.watch import WatchHandlers
from sandbox_runtime.files.writing import FileLimits, WriteHandlers

if TYPE_CHECKING:
    import pathlib

__all__ = ["TEMPORARY", "FileLimits", "Handler", "build_handlers"]

Handler = Callable[[Channel], Awaitable[dict[str, Any]]]


def build_handlers(
    root: pathlib.Path, limits: FileLimits, home: pathlib.Path | None = None, temporary: pathlib.Path | None = None
) -> dict[str, Handler]:
    """Return the handler of each operation.

    Args:
        root: The workspace's folder. It exists whenever a handler runs.
        limits: The limits, read at each call.
        home: The home folder that `file.*` may also reach; None for none.
        temporary: The same for /tmp.
    """
    roots, threads = Roots(root, home, temporary), Threads()
    reading = ReadHandlers(roots, threads)
    writing = WriteHandlers(roots, threads, limits)
    listing = ListHandlers(roots, threads)
    names = NameHandlers(roots, threads)
    searching = SearchHandlers(roots, threads)
    watching = WatchHandlers(roots, threads)
    return {
        "file.read": reading.read,
        "file.write": writing.write,
        "file.list": listing.list,
        "file.stat": names.stat,
        "file.mkdir": names.make_directory,
        "file.remove": names.remove,
        "file.move": names.move,
        "file.search": searching.search,
        "file.watch": watching.watch,
        "workspace.watch": watching.watch_all,
        "workspace.scan": listing.scan,
        "workspace.hash": reading.hash,
        "workspace.read": reading.read_for_storage,
        "workspace.write": writing.write_from_storage,
    }
