"""The seven tools, each a method of SandboxTools. A failure is a result, never an exception."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import logging
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox_client.errors import InvalidArgument, NotFound, SandboxError
from sandbox_client.models.context import LANGUAGES
from sandbox_client.tools import files, results, workspace
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

MAX_IMAGE_BYTES: Final = 16 << 20
"""Maximum size of a picture that is shown."""
_Paths = list[str] | None
_log = logging.getLogger(__name__)


class SandboxTools:
    """The seven tools over one session, which is opened on first use and again after it ended.

    A failure is a result with `is_error`, never an exception. Use it as an async context manager, or call `close`.

    Args:
        open_session: Opens a session, as `local_sessions` and `cluster_sessions` do. If it has a method `close`, that
            is called when the tools are closed.
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
        """Call a tool by its name, as a model does. A wrong name or argument results in an error that names it.

        Args:
            name: The name of one of TOOL_SPECS.
            arguments: The arguments that the model gave.
            on_progress: Called with the progress of a push.
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
        """Run code. Variables persist from call to call.

        Args:
            code: The code.
            language: `python`, `javascript` or `typescript`.
            output_filename: A file that the code saves. It is pushed, and shown if it is a picture.
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
                raise InvalidArgument("the path leads out of the workspace", field="output_filename")

        return await self._guard(check, work, code_snippet=results.snippet(code) if isinstance(code, str) else "")

    async def execute_command(self, command: str) -> ToolResult:
        """Run a command line with bash.

        Args:
            command: The command line.
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
            paths: The paths, for all operations except `write`.
            content: The files for `write`, as `[{"path", "text"}]`.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            if operation == "write":
                return await files.write(sandbox, check_items(content))
            wanted = check_paths(paths or ["."])
            action = {"read": files.read, "list": files.list_folders, "remove": files.remove}[operation]
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
            paths: Files or folders. Default: everything.
        """
        return await self._push(paths, None)

    async def workspace_read(self, path: str) -> ToolResult:
        """Read one file of the workspace.

        Args:
            path: Its path, such as `code-interpreter/chart.png`.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            return ToolResult({**await workspace.read_stored(sandbox, path, results.MAX_READ), "status": "success"})

        return await self._guard(lambda: _check_path(path), work)

    async def workspace_list(self, path: str = "") -> ToolResult:
        """List files of the workspace.

        Args:
            path: The beginning of their paths, such as `code-interpreter/`.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            stored = await sandbox.workspace.list(path)
            listed = [
                {
                    "path": file.path,
                    "size": file.size,
                    "last_modified": file.last_modified.isoformat() if file.last_modified else None,
                }
                for file in stored
            ]
            return ToolResult({"files": listed, "count": len(listed), "status": "success"})

        return await self._guard(lambda: check_text(path, "path"), work)

    async def workspace_write(self, path: str, content: str, encoding: str = "text") -> ToolResult:
        """Write one file to the workspace and to the sandbox.

        Args:
            path: Its path, such as `code-interpreter/data.csv`. Other folders of a workspace cannot be written.
            content: The whole content.
            encoding: `text`, or `base64` for binary content.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            data = _decode(content, encoding)
            return await workspace.write_stored(sandbox, path, data)

        def check() -> None:
            _check_path(path)
            check_text(encoding, "encoding", choices=ENCODINGS)
            if not path.startswith(NAMESPACE) or path == NAMESPACE:
                message = f"only files below {NAMESPACE} can be written, such as {NAMESPACE}data.csv"
                raise InvalidArgument(message, field="path")
            _decode(check_text(content, "content"), encoding)

        return await self._guard(check, work)

    async def close(self) -> None:
        """Close the session: a local session ends, a session of the cluster keeps running. Idempotent."""
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
            return await workspace.push(sandbox, check_paths(paths or []), on_progress)

        return await self._guard(lambda: check_paths(paths or []), work)

    async def _guard(
        self,
        check: Callable[[], object],
        work: Callable[[AsyncSandbox], Awaitable[ToolResult]],
        **details: str,
    ) -> ToolResult:
        """Check the arguments, acquire the session, and do the work. Every failure becomes a result."""
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
        except Exception as error:  # noqa: BLE001 - the calling agent must be able to continue
            _log.exception("a tool failed")
            result = failure_of(error, **details)
        # The session may have been suspended right before the call, which then resumed it.
        return dataclasses.replace(result, notice=self._keeper.take_notice() or notice)


def _check_path(path: str) -> None:
    if not check_text(path, "path"):
        raise InvalidArgument(f"the path is empty. A path looks like {NAMESPACE}chart.png", field="path")


def _decode(content: str, encoding: str) -> bytes:
    if encoding == "text":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"it is not valid base64: {error}", field="content") from error


async def _deliver(sandbox: AsyncSandbox, execution: Execution, name: str) -> ToolResult:
    """Save a file that the code created. Return the output, the file's stored path, and its picture if it is one."""
    stdout = results.output_text(execution)
    shown = results.shown_images(execution)
    try:
        info = await workspace.save_one(sandbox, name)
        image = await _picture(sandbox, info)
    except SandboxError as error:
        reason = "the code created no file of that name" if isinstance(error, NotFound) else str(error)
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
    if not kind or info.size > MAX_IMAGE_BYTES:
        return ()
    return (Image(kind, await sandbox.files.read(info.path)),)
