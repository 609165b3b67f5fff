"""Runs the nine tools of a code interpreter on a session."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import FailedPrecondition, InvalidArgument, NotFound, SandboxError
from sandbox_gateway.doors.agentcore import requests, results

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from sandbox_client import AsyncSandbox
    from sandbox_client.models.file_info import FileInfo
    from sandbox_gateway.doors.agentcore.requests import Invocation

    Result = dict[str, Any]
    Run = Callable[[AsyncSandbox], AsyncGenerator[Result, None]]

_TOO_LARGE: Final = (
    f"it is too large for one event, which holds {results.MAX_BLOCKS >> 20} MiB as JSON: read it in parts, "
    "for example with executeCommand and split"
)


def prepare(call: Invocation) -> Run:
    """Check the arguments of a call, and return what runs it and yields its results.

    Raises:
        InvalidArgument: An argument is wrong.
        NotSupported: The runtime is Deno.
    """
    return TOOLS[call.tool](call)


def _execute_code(call: Invocation) -> Run:
    code = requests.text_argument(call, "code")
    language = requests.language_argument(call)
    # AWS documents that it has no effect in other languages.
    clears = requests.flag_argument(call, "clearContext") and language == "python"

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        if clears:
            # A context that does not exist yet has no variables either.
            with contextlib.suppress(NotFound):
                await sandbox.contexts.restart(language)
        yield results.code_result(await sandbox.run_code(code, language, on_cancel="detach"), code)

    return run


def _execute_command(call: Invocation) -> Run:
    command = requests.text_argument(call, "command")

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        yield results.command_result(await sandbox.run(command, on_cancel="detach"), command)

    return run


def _read_files(call: Invocation) -> Run:
    paths = requests.paths_argument(call)

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        blocks: list[results.Block] = []
        failed: list[tuple[str, str]] = []
        room = results.MAX_BLOCKS
        for path in paths:
            try:
                block = results.file_block(path, await _read_whole(sandbox, path))
            except SandboxError as error:
                failed.append((path, str(error)))
                continue
            size = results.size_of(block) + 1
            if size > results.MAX_BLOCKS:
                failed.append((path, _TOO_LARGE))
                continue
            if size > room:
                yield results.files_result(blocks, ())
                blocks, room = [], results.MAX_BLOCKS
            blocks.append(block)
            room -= size
        yield results.files_result(blocks, failed)

    return run


def _list_files(call: Invocation) -> Run:
    path = requests.text_argument(call, "path", default="") or requests.text_argument(call, "directoryPath", default="")

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        try:
            entries = await sandbox.files.list(path or ".")
        except (FailedPrecondition, InvalidArgument, NotFound) as error:
            yield results.text_result(str(error), is_error=True)
            return
        for result in results.list_results(entries):
            yield result

    return run


def _remove_files(call: Invocation) -> Run:
    paths = requests.paths_argument(call)

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        failed: list[tuple[str, str]] = []
        for path in paths:
            try:
                await sandbox.files.remove(path, recursive=True)
            except (FailedPrecondition, InvalidArgument, NotFound) as error:
                failed.append((path, str(error)))
        yield results.done_result("removed", len(paths) - len(failed), failed)

    return run


def _write_files(call: Invocation) -> Run:
    files = requests.content_argument(call)

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        failed: list[tuple[str, str]] = []
        for path, content in files:
            try:
                await sandbox.files.write(path, content)
            except SandboxError as error:
                failed.append((path, str(error)))
        yield results.done_result("wrote", len(files) - len(failed), failed)

    return run


def _start_command(call: Invocation) -> Run:
    command = requests.text_argument(call, "command")

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        process = await sandbox.processes.start(command, keep_input=False)
        yield results.task_started(process.id)

    return run


def _get_task(call: Invocation) -> Run:
    task_id = requests.text_argument(call, "taskId")

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        try:
            process = await sandbox.processes.get(task_id)
            info = await process.info()
            if info.exited is None:
                yield results.task_working(task_id)
            else:
                yield results.task_ended(info, await process.wait())
        except NotFound as error:
            yield results.text_result(str(error), is_error=True)

    return run


def _stop_task(call: Invocation) -> Run:
    task_id = requests.text_argument(call, "taskId")

    async def run(sandbox: AsyncSandbox) -> AsyncGenerator[Result, None]:
        try:
            process = await sandbox.processes.get(task_id)
            info = await process.info()
            if info.exited is not None:
                yield results.task_not_stopped(info)
                return
            await process.kill()
            yield results.task_stopped(task_id)
        except NotFound as error:
            yield results.text_result(str(error), is_error=True)

    return run


async def _read_whole(sandbox: AsyncSandbox, path: str) -> bytes:
    """Return a file.

    Raises:
        FailedPrecondition: It is larger than an event.
    """

    def check(info: FileInfo) -> None:
        if info.size > results.MAX_BLOCKS:
            raise FailedPrecondition(_TOO_LARGE, reason="EVENT_TOO_LARGE", field="path")

    # A file of a device, or one that grows, may have more bytes than its size says.
    pieces = sandbox.files.stream(path, length=results.MAX_BLOCKS, on_info=check)
    async with contextlib.aclosing(pieces):
        return b"".join([piece async for piece in pieces])


TOOLS: Final[dict[str, Callable[[Invocation], Run]]] = {
    "executeCode": _execute_code,
    "executeCommand": _execute_command,
    "readFiles": _read_files,
    "listFiles": _list_files,
    "removeFiles": _remove_files,
    "writeFiles": _write_files,
    "startCommandExecution": _start_command,
    "getTask": _get_task,
    "stopTask": _stop_task,
}
"""A function for each tool. It checks the arguments and returns a function that runs the tool."""
