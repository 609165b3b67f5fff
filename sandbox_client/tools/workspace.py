"""Saves, writes and reads workspace files for the tools, and verifies which files are really saved."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import FailedPrecondition, SandboxError
from sandbox_client.tools.results import ToolResult, describe_content, failure, outcome
from sandbox_client.tools.schemas import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.models.file_info import FileInfo
    from sandbox_client.models.workspace_status import Progress
    from sandbox_client.sandbox import AsyncSandbox

MAX_NAMES: Final = 1_000
"""Maximum number of names that one result lists. `count` counts all."""
_ALL_LEVELS: Final = 4_096
_MAX_LOOKUPS: Final = 20
"""Number of names up to which each is looked up in storage. For more, all stored files are listed."""


async def save_one(sandbox: AsyncSandbox, path: str) -> FileInfo:
    """Save one file and return its name and size.

    Raises:
        NotFound: The file does not exist.
        FailedPrecondition: It is not a regular file, or it was not saved. The message says why.
    """
    info = await sandbox.files.stat(path)
    if problem := _problem(info, is_folder_allowed=False):
        raise FailedPrecondition(problem, field="path")
    report = await sandbox.workspace.push([info.path])
    if report.failed:
        raise FailedPrecondition(report.failed[0].reason, field="path")
    return info


def _problem(info: FileInfo, *, is_folder_allowed: bool) -> str:
    if info.type == "symlink":
        return "it is a symlink: name the file that it points to"
    if info.type == "directory":
        return "" if is_folder_allowed else "it is a folder"
    return "" if info.type == "file" else "it is neither a file nor a folder"


async def push(sandbox: AsyncSandbox, paths: list[str], on_progress: Callable[[Progress], object] | None) -> ToolResult:
    """Save files or folders, or everything if no path is given. One failing path does not stop the others."""
    failed: list[dict[str, str]] = []
    named: dict[str, FileInfo] = {}
    for path in paths:
        try:
            info = await sandbox.files.stat(path)
        except SandboxError as error:
            failed.append({"path": path, "error": str(error)})
            continue
        if problem := _problem(info, is_folder_allowed=True):
            failed.append({"path": path, "error": problem})
        else:
            named[info.path] = info
    saved: list[str] = []
    if named or not paths:
        is_everything = not paths or "." in named
        report = await sandbox.workspace.push([] if is_everything else named, on_progress=on_progress)
        failed += [{"path": failure.path, "error": failure.reason} for failure in report.failed]
        saved = await _saved(sandbox, [] if is_everything else list(named.values()), {each["path"] for each in failed})
    value: dict[str, Any] = {"files_saved": saved[:MAX_NAMES], "count": len(saved), "failed": failed}
    if len(saved) > MAX_NAMES:
        value["truncated"] = True
    status = outcome([{"path": path} for path in saved], failed)
    if failed:
        value["error"] = "; ".join(f"{each['path']}: {each['error']}" for each in failed[:20])
    return ToolResult({**value, "status": status})


async def _saved(sandbox: AsyncSandbox, infos: list[FileInfo], failed: set[str]) -> list[str]:
    """Return the stored paths of those files that storage has with the sandbox's size. All files if none is named."""
    is_few = 0 < len(infos) <= _MAX_LOOKUPS
    stored: dict[str, int] = {}
    for prefix in [f"{NAMESPACE}{info.path}" for info in infos] if is_few else [NAMESPACE]:
        stored |= {file.path: file.size for file in await sandbox.workspace.list(prefix)}
    local = {info.path: info.size for info in infos if info.type == "file"}
    for folder in [info.path for info in infos if info.type == "directory"] if infos else ["."]:
        entries = await sandbox.files.list(folder, depth=_ALL_LEVELS)
        local |= {entry.path: entry.size for entry in entries if entry.type == "file"}
    saved = (path for path, size in local.items() if stored.get(f"{NAMESPACE}{path}") == size and path not in failed)
    return sorted(f"{NAMESPACE}{path}" for path in saved)


async def write_stored(sandbox: AsyncSandbox, path: str, content: bytes) -> ToolResult:
    """Write a file to the sandbox and save it. `path` begins with the namespace."""
    info = await sandbox.files.write(path.removeprefix(NAMESPACE), content)
    report = await sandbox.workspace.push([info.path])
    if report.failed:
        return failure(f"{path} was not saved: {report.failed[0].reason}", path=path)
    return ToolResult({"path": NAMESPACE + info.path, "size": info.size, "status": "success"})


async def read_stored(sandbox: AsyncSandbox, path: str, limit: int, max_text: int) -> dict[str, Any]:
    """Return a stored file, or its first `limit` bytes if it is larger. A text has at most `max_text` characters.

    Raises:
        NotFound: No file is stored under that path.
    """
    pieces: list[bytes] = []
    size = 0
    async with contextlib.aclosing(sandbox.workspace.stream(path)) as stream:
        async for piece in stream:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                break
    content = b"".join(pieces)[:limit]
    is_cut = size > limit
    if is_cut:
        size = next((file.size for file in await sandbox.workspace.list(path) if file.path == path), size)
    return {"path": path, **describe_content(content, is_cut=is_cut, limit=max_text), "size": size}
