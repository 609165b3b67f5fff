"""The tools: each a method of SandboxTools, over whatever session it is given. No method raises for a failure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import logging
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox_client.errors import InvalidArgument, NotFound, SandboxError
from sandbox_client.models.context import LANGUAGES
from sandbox_client.tools import files as filing
from sandbox_client.tools import results
from sandbox_client.tools import workspace as saving
from sandbox_client.tools.results import Image, ToolResult, failure, failure_of
from sandbox_client.tools.schemas import (
    ENCODINGS,
    NAMESPACE,
    OPERATIONS,
    check_call,
    check_items,
    check_paths,
    check_text,
)
from sandbox_client.tools.sessions import SessionKeeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from sandbox_client.models.file_info import FileInfo
    from sandbox_client.models.results import Execution
    from sandbox_client.models.workspace_status import Progress
    from sandbox_client.sandbox import AsyncSandbox

MAX_IMAGE: Final = 16 << 20
"""Bytes of a picture that is shown."""
_Paths = list[str] | None
_log = logging.getLogger(__name__)


class SandboxTools:
    """The seven tools over one session, which is made on first use and again after it ended.

    A failure is a result with `is_error`, never an exception. Use it as an async context manager, or call `close`.

    Args:
        open_session: Makes a session; see `local_sessions` and `cluster_sessions`. Its `close`, where it has one, is
            called when the tools are closed.
    """

    def __init__(self, open_session: Callable[[], Awaitable[AsyncSandbox]]) -> None:
        self._open_session = open_session
        self._keeper = SessionKeeper(open_session)

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ToolResult:
        """Call a tool by its name, as a model does; wrong names and arguments give errors that name them.

        Args:
            name: One of TOOL_SPECS.
            arguments: As the model gave them.
            on_progress: Told how far a push is.
        """
        given = dict(arguments or {})
        try:
            check_call(name, given)
        except InvalidArgument as error:
            return failure_of(error)
        if name == "ci_push_to_workspace":
            return await self._push(given.get("paths"), on_progress)
        result: ToolResult = await getattr(self, name)(**given)
        return result

    async def execute_code(self, code: str, language: str = "python", output_filename: str = "") -> ToolResult:
        """Run code; variables persist from call to call.

        Args:
            code: What to run.
            language: `python`, `javascript` or `typescript`.
            output_filename: A file that the code saves: it is pushed, and shown where it is a picture.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            execution = await sandbox.run_code(code, language)
            self._keeper.note(execution)
            if not execution.ok:
                failed = results.execution_failure(execution, code)
                return dataclasses.replace(failed, images=results.shown_images(execution))
            if not output_filename:
                return ToolResult(results.output_text(execution), results.shown_images(execution))
            return await _deliver(sandbox, execution, output_filename)

        def check() -> None:
            if not check_text(code, "code").strip():
                raise InvalidArgument("there is nothing to run", field="code")
            check_text(language, "language", choices=LANGUAGES)
            if ".." in check_text(output_filename, "output_filename").split("/") or "\0" in output_filename:
                raise InvalidArgument("it leaves the workspace", field="output_filename")

        return await self._guard(check, work, code_snippet=results.snippet(code) if isinstance(code, str) else "")

    async def execute_command(self, command: str) -> ToolResult:
        """Run a command line with bash.

        Args:
            command: The line.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            result = await sandbox.run(command)
            if not result.ok:
                return results.command_failure(result, command)
            return ToolResult(results.output_text(result))

        def check() -> None:
            if not check_text(command, "command").strip():
                raise InvalidArgument("there is nothing to run", field="command")

        return await self._guard(check, work, code_snippet=results.snippet(command) if isinstance(command, str) else "")

    async def file_operations(
        self, operation: str, paths: _Paths = None, content: list[dict[str, str]] | None = None
    ) -> ToolResult:
        """Read, write, list or remove files of the sandbox.

        Args:
            operation: `read`, `write`, `list` or `remove`.
            paths: For all but write.
            content: For write: `[{"path", "text"}]`.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            if operation == "write":
                return await filing.write(sandbox, check_items(content))
            wanted = check_paths(paths or ["."])
            action = {"read": filing.read, "list": filing.list_folders, "remove": filing.remove}[operation]
            return await action(sandbox, wanted)

        def check() -> None:
            check_text(operation, "operation", choices=OPERATIONS)
            if operation == "write":
                if not content:
                    raise InvalidArgument('write needs content, a list of {"path", "text"}', field="content")
                check_items(content)
            elif operation != "list" and not paths:
                raise InvalidArgument(f"{operation} needs paths", field="paths")
            elif paths is not None:
                check_paths(paths)

        return await self._guard(check, work)

    async def ci_push_to_workspace(self, paths: _Paths = None) -> ToolResult:
        """Save files of the sandbox to the workspace.

        Args:
            paths: Files or folders; everything by default.
        """
        return await self._push(paths, None)

    async def workspace_read(self, path: str) -> ToolResult:
        """Read one file of the workspace.

        Args:
            path: As in `code-interpreter/chart.png`.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            return ToolResult({**await saving.read_stored(sandbox, path, results.MAX_READ), "status": "success"})

        return await self._guard(lambda: _check_path(path), work)

    async def workspace_list(self, path: str = "") -> ToolResult:
        """List files of the workspace.

        Args:
            path: A beginning of their paths, as in `code-interpreter/`.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            stored = await sandbox.workspace.list(path)
            files = [
                {
                    "path": file.path,
                    "size": file.size,
                    "last_modified": file.last_modified.isoformat() if file.last_modified else None,
                }
                for file in stored
            ]
            return ToolResult({"files": files, "count": len(files), "status": "success"})

        return await self._guard(lambda: check_text(path, "path"), work)

    async def workspace_write(self, path: str, content: str, encoding: str = "text") -> ToolResult:
        """Write one file to the workspace; it is in the sandbox too.

        Args:
            path: As in `code-interpreter/data.csv`; other places of a workspace cannot be written.
            content: The whole content.
            encoding: `text`, or `base64` for binary content.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            data = _decode(content, encoding)
            return await saving.write_stored(sandbox, path, data)

        def check() -> None:
            _check_path(path)
            check_text(encoding, "encoding", choices=ENCODINGS)
            if not path.startswith(NAMESPACE) or path == NAMESPACE:
                message = f"only files below {NAMESPACE} can be written, as in {NAMESPACE}data.csv"
                raise InvalidArgument(message, field="path")
            _decode(check_text(content, "content"), encoding)

        return await self._guard(check, work)

    async def close(self) -> None:
        """End the session: a local one ends, one of the cluster goes on. Idempotent."""
        await self._keeper.close()
        close = getattr(self._open_session, "close", None)
        if close is not None:
            close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _push(self, paths: _Paths, on_progress: Callable[[Progress], object] | None) -> ToolResult:
        async def work(sandbox: AsyncSandbox) -> ToolResult:
            return await saving.push(sandbox, check_paths(paths or []), on_progress)

        return await self._guard(lambda: check_paths(paths or []), work)

    async def _guard(
        self,
        check: Callable[[], object],
        work: Callable[[AsyncSandbox], Awaitable[ToolResult]],
        **details: str,
    ) -> ToolResult:
        """Check arguments, get the session, work; whatever fails is a result."""
        try:
            check()
        except InvalidArgument as error:
            return failure_of(error, **details)
        try:
            sandbox, notice = await self._keeper.acquire()
        except (SandboxError, OSError) as error:
            return failure(f"the code interpreter is not available: {error}", **details)
        try:
            result = await work(sandbox)
        except SandboxError as error:
            result = failure_of(error, **details)
        except Exception as error:  # noqa: BLE001 - the agent that called must go on, whatever it is
            _log.exception("a tool failed")
            result = failure_of(error, **details)
        # It may have fallen asleep just before the call itself, which then woke it.
        return dataclasses.replace(result, notice=self._keeper.take_notice() or notice)


def _check_path(path: str) -> None:
    if not check_text(path, "path"):
        raise InvalidArgument(f"it is empty; a path looks like {NAMESPACE}chart.png", field="path")


def _decode(content: str, encoding: str) -> bytes:
    if encoding == "text":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"it is no base64: {error}", field="content") from error


async def _deliver(sandbox: AsyncSandbox, execution: Execution, name: str) -> ToolResult:
    """The result of code that made a file: its output, where the file was saved, and the picture it holds."""
    stdout = results.output_text(execution)
    shown = results.shown_images(execution)
    try:
        info = await saving.save_one(sandbox, name)
        image = await _picture(sandbox, info)
    except SandboxError as error:
        reason = "the code made no file of that name" if isinstance(error, NotFound) else str(error)
        value = {"warning": f"{name} was not saved to the workspace: {reason}", "stdout": stdout, "status": "partial"}
        return ToolResult(value, shown)
    line = f"Saved {info.path} ({info.size / 1024:.1f} KB) to the workspace as {NAMESPACE}{info.path}"
    if stdout == results.NO_OUTPUT:
        return ToolResult(line, image or shown)
    return ToolResult(stdout + ("" if stdout.endswith("\n") else "\n") + line, image or shown)


async def _picture(sandbox: AsyncSandbox, info: FileInfo) -> tuple[Image, ...]:
    if not info.size:
        return ()
    kind = results.image_format(await sandbox.files.read(info.path, length=12))
    if not kind or info.size > MAX_IMAGE:
        return ()
    return (Image(kind, await sandbox.files.read(info.path)),)
