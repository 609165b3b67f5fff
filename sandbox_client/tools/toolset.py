"""The seven tools, each a method of SandboxTools. A failure is a result, never an exception."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, Literal, Self

from sandbox_client.errors import InvalidArgument, NotFound, SandboxError
from sandbox_client.tools import files, limits, results, workspace
from sandbox_client.tools.facts import (
    SessionFacts,
    describe_session,
    describe_tools,
    explain_network,
    may_lack_network,
)
from sandbox_client.tools.limits import DEFAULT_MAX_IMAGE_EDGE, DEFAULT_MAX_TEXT, ResultLimits
from sandbox_client.tools.output_files import WholeOutputs, deliver
from sandbox_client.tools.pictures import Pictures
from sandbox_client.tools.results import ToolResult, failure, failure_of
from sandbox_client.tools.schemas import (
    ENCODINGS,
    LANGUAGES,
    NAMESPACE,
    OPERATIONS,
    check_call,
    check_items,
    check_paths,
    check_text,
    decode_content,
    quote,
)
from sandbox_client.tools.sessions import SessionKeeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from sandbox_client.models.workspace_status import Progress
    from sandbox_client.sandbox import AsyncSandbox
    from sandbox_client.tools.schemas import ToolSpec

_Paths = list[str] | None
_log = logging.getLogger(__name__)


class SandboxTools:
    """The seven tools over one session, which is opened on first use and again after it ended.

    A failure is a result with `is_error`, never an exception. Use it as an async context manager, or call `close`.

    Args:
        open_session: Opens a session, as `local_sessions` and `cluster_sessions` do. If it has a method `close`, that
            is called when the tools are closed. If it has an async method `facts`, that tells what is known about the
            session.
        max_text: Characters of one result, from 500 to 1,000,000. A longer text keeps its beginning and end, and says
            where the whole text is. None: only the tools' own limits apply.
        max_image_edge: Pixels of a picture's longer edge, from 64 to 8,000. A larger picture is scaled down in the
            sandbox. None: only the tools' own limit of 16 MiB applies.
        on_cancel: A cancelled call interrupts its cell or kills its command. `detach` lets it run to its end.

    Raises:
        InvalidArgument: `max_text` or `max_image_edge` is wrong.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[AsyncSandbox]],
        *,
        max_text: int | None = DEFAULT_MAX_TEXT,
        max_image_edge: int | None = DEFAULT_MAX_IMAGE_EDGE,
        on_cancel: Literal["interrupt", "detach"] = "interrupt",
    ) -> None:
        self._open_session = open_session
        self._keeper = SessionKeeper(open_session)
        self._limits = ResultLimits(max_text, max_image_edge)
        self._on_cancel: Literal["interrupt", "detach"] = on_cancel
        self._facts: SessionFacts | None = None
        self._outputs = WholeOutputs(max_text)

    async def facts(self) -> SessionFacts:
        """Return what is known about the session before it is opened. It is read once."""
        if self._facts is None:
            read = getattr(self._open_session, "facts", None)
            self._facts = SessionFacts() if read is None else await read()
        return self._facts

    async def specs(self) -> tuple[ToolSpec, ...]:
        """Return the tools with descriptions that state the facts of this session: network, limits, isolation."""
        return describe_tools(await self.facts())

    async def instructions(self) -> str:
        """Return a text for the model's system prompt. It states the same facts."""
        return describe_session(await self.facts())

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
        try:
            given = check_call(name, arguments)
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
            seen = self._keeper.seen
            execution = await sandbox.run_code(code, language, on_cancel=self._on_cancel)
            restarted = self._keeper.note(execution, seen)
            pictures = Pictures(sandbox, self._limits.max_image_edge)
            if not execution.ok:
                result = results.execution_failure(execution, code)
            elif output_filename:
                result = await deliver(sandbox, execution, output_filename, pictures)
            else:
                result = ToolResult(results.output_text(execution))
            await pictures.add_displayed(execution)
            # A suspension during the call has a notice of its own, which says more.
            notes = [restarted, *pictures.notes] if restarted and not sandbox.notice else pictures.notes
            result = dataclasses.replace(result, images=pictures.shown, notice="; ".join(notes))
            return await self._outputs.keep(sandbox, result, execution)

        def check() -> None:
            if not check_text(code, "code").strip():
                raise InvalidArgument("code is empty: give the code to run", field="code")
            check_text(language, "language", choices=LANGUAGES)
            if ".." in check_text(output_filename, "output_filename").split("/") or "\0" in output_filename:
                message = f"output_filename {quote(output_filename)} leads out of the workspace: give a path inside it"
                raise InvalidArgument(message, field="output_filename")

        return await self._guard(check, work, code_snippet=results.snippet(code) if isinstance(code, str) else "")

    async def execute_command(self, command: str) -> ToolResult:
        """Run a command line with bash.

        Args:
            command: The command line.
        """

        async def work(sandbox: AsyncSandbox) -> ToolResult:
            done = await sandbox.run(command, on_cancel=self._on_cancel)
            result = ToolResult(results.output_text(done)) if done.ok else results.command_failure(done, command)
            return await self._outputs.keep(sandbox, result, done)

        def check() -> None:
            if not check_text(command, "command").strip():
                raise InvalidArgument("command is empty: give the command line to run", field="command")

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
            if operation == "read":
                return await files.read(sandbox, wanted, self._limits.max_text)
            return await {"list": files.list_folders, "remove": files.remove}[operation](sandbox, wanted)

        def check() -> None:
            check_text(operation, "operation", choices=OPERATIONS)
            if operation == "write":
                if not content:
                    raise InvalidArgument('write needs content, a list of {"path", "text"}', field="content")
                check_items(content)
            elif operation != "list" and not paths:
                raise InvalidArgument(f'{operation} needs paths, a list such as ["data.csv"]', field="paths")
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
            max_text = results.MAX_TEXT if self._limits.max_text is None else results.MAX_READ
            try:
                stored = await workspace.read_stored(sandbox, path, results.MAX_READ, max_text)
            except NotFound as error:
                message = f"no file is saved as {quote(path)}: workspace_list lists the saved files"
                return failure(message, reason=error.reason, field="path")
            here = f"{path.removeprefix(NAMESPACE)} in the sandbox" if path.startswith(NAMESPACE) else ""
            return ToolResult({**stored, "status": "success"}, whole=here)

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
            data = decode_content(content, encoding)
            return await workspace.write_stored(sandbox, path, data)

        def check() -> None:
            _check_path(path)
            check_text(encoding, "encoding", choices=ENCODINGS)
            if not path.startswith(NAMESPACE) or path == NAMESPACE:
                message = f"{quote(path)} cannot be written: give a path below {NAMESPACE}, such as {NAMESPACE}data.csv"
                raise InvalidArgument(message, field="path")
            decode_content(check_text(content, "content"), encoding)

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
        result = limits.bound(result, self._limits.max_text)
        if may_lack_network(result):
            result = explain_network(result, await self.facts())
        # The session may have been suspended right before the call, which then resumed it.
        notices = (self._keeper.take_notice() or notice, result.notice)
        return dataclasses.replace(result, notice="; ".join(each for each in notices if each))


def _check_path(path: str) -> None:
    if not check_text(path, "path"):
        raise InvalidArgument(f"path is empty: give one such as {NAMESPACE}chart.png", field="path")
