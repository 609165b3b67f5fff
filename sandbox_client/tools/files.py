"""The operations of the tool `file_operations`. One failing path does not stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import FailedPrecondition, InvalidArgument, NotFound, SandboxError
from sandbox_client.tools import limits, results
from sandbox_client.tools.results import ToolResult, failure_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.models.file_info import FileInfo
    from sandbox_client.sandbox import AsyncSandbox

_MARKER: Final = 300
"""Characters for what surrounds the text of a file in a result."""


async def read(sandbox: AsyncSandbox, paths: list[str], max_text: int | None) -> ToolResult:
    """Read files, up to the size that a model receives.

    Args:
        sandbox: The session.
        paths: The files.
        max_text: Characters of one result. A longer file is read at its beginning and its end.
    """
    files: list[Mapping[str, Any]] = []
    share = None if max_text is None else max(max_text // len(paths) - _MARKER, _MARKER)
    failed: list[dict[str, str]] = []
    for path in paths:
        size = 0

        def remember_size(info: FileInfo) -> None:
            nonlocal size
            size = info.size

        try:
            content = b"".join(
                [piece async for piece in sandbox.files.stream(path, length=results.MAX_READ, on_info=remember_size)]
            )
        except SandboxError as error:
            failed.append({"path": path, "error": str(error)})
            continue
        described = results.describe_content(content, is_cut=size > len(content))
        if share is not None and described.get("truncated") and described["encoding"] == "text":
            end = await sandbox.files.read(path, offset=size - share // 2)
            described["content"] = limits.join_ends(
                described["content"][: share - share // 2],
                end.decode(errors="replace").lstrip("\ufffd"),
                f"about {size - share:,} of {size:,} bytes",
                path,
            )
        files.append({"path": path, **described, "size": size})
    return _summary(files, failed, {"files": files})


async def list_folders(sandbox: AsyncSandbox, paths: list[str]) -> ToolResult:
    """List the entries of each folder with name, type and size. Fails if any folder fails."""
    entries: list[dict[str, Any]] = []
    for path in paths:
        try:
            found = await sandbox.files.list(path)
        except SandboxError as error:
            return failure_of(error, path=path)
        entries += [{"name": entry.path, "type": entry.type, "size": entry.size} for entry in found]
    return ToolResult(entries)


async def write(sandbox: AsyncSandbox, items: list[tuple[str, str]]) -> ToolResult:
    """Write files, given as pairs of path and text."""
    done: list[Mapping[str, Any]] = []
    failed: list[dict[str, str]] = []
    for path, text in items:
        try:
            info = await sandbox.files.write(path, text)
        except SandboxError as error:
            failed.append({"path": path, "error": str(error)})
        else:
            done.append({"path": info.path, "line": f"Wrote {info.path} ({info.size} bytes)"})
    return _lines(done, failed)


async def remove(sandbox: AsyncSandbox, paths: list[str]) -> ToolResult:
    """Remove files, and folders with everything in them."""
    done: list[Mapping[str, Any]] = []
    failed: list[dict[str, str]] = []
    for path in paths:
        try:
            await sandbox.files.remove(path, recursive=True)
        except (FailedPrecondition, InvalidArgument, NotFound) as error:
            failed.append({"path": path, "error": str(error)})
        else:
            done.append({"path": path, "line": f"Removed {path}"})
    return _lines(done, failed)


def _lines(done: list[Mapping[str, Any]], failed: list[dict[str, str]]) -> ToolResult:
    """Build a result with a line for each path, or an object if some failed."""
    if not failed:
        return ToolResult("\n".join(each["line"] for each in done))
    return _summary(done, failed, {"done": [each["path"] for each in done]})


def _summary(done: list[Mapping[str, Any]], failed: list[dict[str, str]], value: dict[str, Any]) -> ToolResult:
    status = results.outcome(done, failed)
    if status == "success":
        return ToolResult({**value, "status": status})
    message = "; ".join(f"{each['path']}: {each['error']}" for each in failed)
    return ToolResult({"error": message, **value, "failed": failed, "status": status})
