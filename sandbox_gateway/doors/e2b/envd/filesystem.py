"""E2B's filesystem service over the files of the workspace."""

from __future__ import annotations

import contextlib
import posixpath
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import Conflict, InvalidArgument, NotFound, SandboxError
from sandbox_gateway.doors.e2b import values
from sandbox_gateway.doors.e2b.envd import file_messages as messages
from sandbox_gateway.doors.e2b.envd.rpc import Call, Methods, Stream, Unary
from sandbox_gateway.doors.e2b.envd.watchers import Watchers, watch_changes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sandbox_client.models.file_info import FileInfo
    from sandbox_gateway.doors.e2b.sessions import OpenSession

SERVICE: Final = "filesystem.Filesystem"


async def _stat(call: Call) -> dict[str, Any]:
    path = call.session.place.to_files(values.text(call.message, "path"))
    return {"entry": await read_entry(call.session, await call.session.sandbox.files.stat(path))}


async def _make_directory(call: Call) -> dict[str, Any]:
    files, path = call.session.sandbox.files, call.session.place.to_files(values.text(call.message, "path"))
    with contextlib.suppress(NotFound):
        found = await files.stat(path)
        if found.type == "directory":
            raise Conflict(f"directory already exists: {call.session.place.to_absolute(path)}", reason="ALREADY_EXISTS")
        raise InvalidArgument(f"path already exists but it is not a directory: {path}", reason="NOT_A_DIRECTORY")
    return {"entry": await read_entry(call.session, await files.make_directory(path))}


async def _move(call: Call) -> dict[str, Any]:
    files, place = call.session.sandbox.files, call.session.place
    source = place.to_files(values.text(call.message, "source"), "source")
    destination = place.to_files(values.text(call.message, "destination"), "destination")
    await files.stat(source)
    if parent := posixpath.dirname(destination):
        await files.make_directory(parent)
    return {"entry": await read_entry(call.session, await files.move(source, destination, overwrite=True))}


async def _list_directory(call: Call) -> dict[str, Any]:
    files, path = call.session.sandbox.files, call.session.place.to_files(values.text(call.message, "path"))
    depth = min(values.integer(call.message, "depth", 1) or 1, (1 << 32) - 1)
    found = await files.list(path, depth=depth)
    return {"entries": [await read_entry(call.session, info) for info in messages.sort_entries(found)]}


async def _remove(call: Call) -> dict[str, Any]:
    path = call.session.place.to_files(values.text(call.message, "path"))
    # As with E2B, a path that does not exist is no error.
    with contextlib.suppress(NotFound):
        await call.session.sandbox.files.remove(path, recursive=True)
    return {}


async def _watch(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    async with contextlib.aclosing(watch_changes(call.session, call.message)) as changes:
        async for change in changes:
            yield messages.WATCH_STARTED if change is None else {"filesystem": change}


async def read_entry(session: OpenSession, info: FileInfo) -> dict[str, Any]:
    """Return a file's message, with the type and mode of what a symlink points to."""
    target = None
    if info.type == "symlink":
        linked = posixpath.join(posixpath.dirname(session.place.to_absolute(info.path)), info.symlink_target)
        with contextlib.suppress(SandboxError):
            target = await session.sandbox.files.stat(session.place.to_files(linked))
    return messages.entry(info, session.place, target)


def build_methods() -> Methods:
    """Return the methods. Watchers without a stream live in this process."""
    watchers = Watchers()

    async def create_watcher(call: Call) -> dict[str, Any]:
        return {"watcherId": await watchers.create(call.session, call.message)}

    async def read_events(call: Call) -> dict[str, Any]:
        return {"events": watchers.read(call.session, values.text(call.message, "watcherId"))}

    async def remove_watcher(call: Call) -> dict[str, Any]:
        watchers.remove(call.session, values.text(call.message, "watcherId"))
        return {}

    return {
        "Stat": Unary(_stat),
        "MakeDir": Unary(_make_directory),
        "Move": Unary(_move),
        "ListDir": Unary(_list_directory),
        "Remove": Unary(_remove),
        "WatchDir": Stream(_watch, messages.WATCH_KEEPALIVE),
        "CreateWatcher": Unary(create_watcher),
        "GetWatcherEvents": Unary(read_events),
        "RemoveWatcher": Unary(remove_watcher),
    }
