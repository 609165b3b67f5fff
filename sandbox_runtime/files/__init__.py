"""File and workspace operations of the runtime (`file.*` and `workspace.*` of docs/link.md), confined to one root.

Standard library only. Knows the link's Channel, and neither interpreters nor the supervisor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sandbox_link.protocol import Channel
from sandbox_runtime.files.confined.open_beneath import Workspace
from sandbox_runtime.files.confined.threads import Threads
from sandbox_runtime.files.listing import Listing
from sandbox_runtime.files.names import Entries
from sandbox_runtime.files.reading import Reading
from sandbox_runtime.files.search import Searching
from sandbox_runtime.files.watch import Watching
from sandbox_runtime.files.writing import FileLimits, Writing

if TYPE_CHECKING:
    import pathlib

__all__ = ["FileLimits", "Handler", "build_handlers"]

Handler = Callable[[Channel], Awaitable[dict[str, Any]]]


def build_handlers(root: pathlib.Path, limits: FileLimits) -> dict[str, Handler]:
    """The handlers by operation.

    Args:
        root: The workspace's folder; it exists whenever a handler runs.
        limits: Read at each call.
    """
    workspace, threads = Workspace(root), Threads()
    reading = Reading(workspace, threads)
    writing = Writing(workspace, threads, limits)
    listing = Listing(workspace, threads)
    entries = Entries(workspace, threads)
    searching = Searching(workspace, threads)
    watching = Watching(workspace, threads)
    return {
        "file.read": reading.read,
        "file.write": writing.write,
        "file.list": listing.list,
        "file.stat": entries.stat,
        "file.mkdir": entries.make_directory,
        "file.remove": entries.remove,
        "file.move": entries.move,
        "file.search": searching.search,
        "file.watch": watching.watch,
        "workspace.watch": watching.watch_all,
        "workspace.scan": listing.scan,
        "workspace.hash": reading.hash,
        "workspace.read": reading.read_for_storage,
        "workspace.write": writing.write_from_storage,
    }
