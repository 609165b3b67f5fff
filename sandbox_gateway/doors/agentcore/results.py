"""Builds the results of the tools, in the form of an event `result`. Pure: no I/O.

The texts are those of the seven tools for models. Beside them, AgentCore has both streams, the exit code and the
duration on their own, and whole files.
"""

from __future__ import annotations

import base64
import mimetypes
import posixpath
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.models.readable import join_lines
from sandbox_client.models.results import CommandResult, Execution, Status
from sandbox_client.models.text.last_state import last_state
from sandbox_client.tools.limits import cut_middle
from sandbox_client.tools.results import MAX_TEXT, command_failure, describe_content, execution_failure
from sandbox_client.tools.shown import displayed_pictures, image_format, shown_text
from sandbox_gateway.doors.agentcore.event_stream import MAX_PAYLOAD, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox_client.models.file_info import FileInfo
    from sandbox_client.models.process_info import ProcessInfo
    from sandbox_client.tools.results import ToolResult

Block = dict[str, Any]
MAX_BLOCKS: Final = MAX_PAYLOAD - (256 << 10)
"""Bytes of all content blocks of an event. What surrounds them takes the rest."""
_KILLED: Final = 9
"""The signal with which `stopTask` ends a task."""
_MIN_TEXT: Final = 1_000
_MAX_LINES: Final = 100
_MAX_LINE: Final = 400
"""Failures that a result names, and characters of each. All of them take less than the room beside the blocks."""


def text_result(text: str, *, is_error: bool = False) -> dict[str, Any]:
    """Return a result that is a sentence."""
    return {"content": [_text(text)], "isError": is_error}


def code_result(execution: Execution, code: str) -> dict[str, Any]:
    """Return the result of a cell. The value of its last expression is a part of stdout, as in a notebook.

    Args:
        execution: A cell that has ended.
        code: Its code.
    """
    errors = [last_state(execution.stderr)]
    if not execution.ok:
        if execution.status is not Status.ERROR:
            # A limit is named beside the exception with which it shows up in the code.
            errors.append(_message_of(execution_failure(execution, code)))
        errors.append(str(execution.error) if execution.error else "")
        if execution.context_restarted:
            errors.append("the interpreter was restarted: its variables are lost")
    pictures = [
        {"type": "image", "data": _encode(content), "mimeType": f"image/{image_format(content)}"}
        for content in displayed_pictures(execution)
    ]
    exit_code = 0 if execution.ok else execution.exit_code or 1
    return _end_result(execution, shown_text(execution), join_lines(errors, keeps_end=True), exit_code, pictures)


def command_result(done: CommandResult, command: str) -> dict[str, Any]:
    """Return the result of a command.

    Args:
        done: A command that has ended.
        command: Its command line.
    """
    errors = [last_state(done.stderr)]
    if done.status is not Status.OK:
        errors += [_message_of(command_failure(done, command)), done.message]
    exit_code = 0 if done.ok else done.exit_code or 1
    return _end_result(done, last_state(done.stdout), join_lines(errors, keeps_end=True), exit_code, [])


def task_started(task_id: str) -> dict[str, Any]:
    """Return the result of `startCommandExecution`."""
    structured = {"taskId": task_id, "taskStatus": "submitted", "stdout": "", "stderr": ""}
    return {**text_result("Successfully started a command execution task"), "structuredContent": structured}


def task_working(task_id: str) -> dict[str, Any]:
    """Return the result of `getTask` for a task that runs."""
    structured = {"taskId": task_id, "taskStatus": "working"}
    return {**text_result("Task is working"), "structuredContent": structured}


def task_ended(info: ProcessInfo, done: CommandResult) -> dict[str, Any]:
    """Return the result of `getTask` for a task that has ended.

    Args:
        info: The task's process.
        done: Its output and how it ended.
    """
    result = command_result(done, info.command)
    result["structuredContent"] |= {"taskId": info.id, "taskStatus": task_status(info)}
    return result


def task_stopped(task_id: str) -> dict[str, Any]:
    """Return the result of `stopTask` for a task that it has stopped."""
    structured = {"taskId": task_id, "taskStatus": "canceled"}
    return {**text_result("Successfully canceled the task"), "structuredContent": structured}


def task_not_stopped(info: ProcessInfo) -> dict[str, Any]:
    """Return the result of `stopTask` for a task that had ended before."""
    status = task_status(info)
    result = text_result(f"Task cannot be canceled (current status: {status})", is_error=True)
    return {**result, "structuredContent": {"taskId": info.id, "taskStatus": status}}


def task_status(info: ProcessInfo) -> str:
    """Return a task's status. A task that was killed from outside counts as canceled."""
    if info.exited is None:
        return "working"
    if info.exited.signal == _KILLED and info.exited.status in (Status.OK, Status.KILLED):
        return "canceled"
    return "completed" if info.exited.status is Status.OK and info.exited.exit_code == 0 else "failed"


def list_results(entries: Sequence[FileInfo]) -> Iterator[dict[str, Any]]:
    """Yield the results of `listFiles`: a link for each entry, and one result unless they are too many for an event."""
    part: list[Block] = []
    room = MAX_BLOCKS
    for link in map(_link, entries):
        size = size_of(link) + 1
        if size > room:
            yield {"content": part, "isError": False}
            part, room = [], MAX_BLOCKS
        part.append(link)
        room -= size
    yield {"content": part, "isError": False}


def file_block(path: str, content: bytes) -> Block:
    """Return the content block of a file. Its URI is `file://` and the path as the client gave it.

    Args:
        path: The path.
        content: The whole file.
    """
    described = describe_content(content, is_cut=False, limit=len(content))
    resource: Block = {"uri": f"file://{path}", "mimeType": _mime_type(path, described["encoding"])}
    if described["encoding"] == "text":
        resource |= {"type": "text", "text": described["content"]}
    else:
        resource |= {"type": "blob", "blob": described["content"]}
    return {"type": "resource", "resource": resource}


def files_result(blocks: Sequence[Block], failed: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the result of `readFiles`.

    Args:
        blocks: The files that were read.
        failed: Path and reason of each file that was not.
    """
    return {"content": [*blocks, *map(_text, _lines(failed))], "isError": bool(failed)}


def done_result(verb: str, count: int, failed: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the result of `writeFiles` or `removeFiles`.

    Args:
        verb: The past tense, such as `wrote`.
        count: Number of files for which it was done.
        failed: Path and reason of each other file.
    """
    if not failed:
        return text_result(f"Successfully {verb} all {count} files")
    lines = [f"{verb} {count} of {count + len(failed)} files", *_lines(failed)]
    return text_result("\n".join(lines), is_error=True)


def size_of(value: object) -> int:
    """Return the bytes that a result or content block takes in an event."""
    return len(encode_json(value))


def _end_result(
    end: Execution | CommandResult, stdout: str, stderr: str, exit_code: int, pictures: list[Block]
) -> dict[str, Any]:
    if end.dropped_bytes:
        dropped = f"the output limit was hit: {end.dropped_bytes} bytes in the middle were dropped"
        stderr = join_lines([stderr, dropped])
    limit = MAX_TEXT
    while True:
        out, err = cut_middle(stdout, limit), cut_middle(stderr, limit)
        structured = {"stdout": out, "stderr": err, "exitCode": exit_code, "executionTime": end.duration}
        content = [_text(text) for text in (out, err) if text] or [_text("")]
        result = {"content": content, "structuredContent": structured, "isError": not end.ok}
        # JSON escapes a control character with six, and both texts are there twice.
        if (size := size_of(result)) <= MAX_PAYLOAD // 2 or limit <= _MIN_TEXT:
            return {**result, "content": [*content, *_fitting(pictures, MAX_BLOCKS - size)]}
        limit //= 2


def _fitting(pictures: list[Block], room: int) -> Iterator[Block]:
    """Yield the pictures that an event has room for, and a sentence in place of each other one."""
    for number, picture in enumerate(pictures, start=1):
        size = size_of(picture) + 1
        if size > room:
            yield _text(f"[picture {number} is too large for an event: save it as a file, or smaller]")
            continue
        room -= size
        yield picture


def _lines(failed: Sequence[tuple[str, str]]) -> list[str]:
    lines = [f"{path}: {reason}"[:_MAX_LINE] for path, reason in failed[:_MAX_LINES]]
    more = len(failed) - _MAX_LINES
    return [*lines, f"and {more} more"] if more > 0 else lines


def _message_of(failed: ToolResult) -> str:
    return str(failed.value["error"]) if isinstance(failed.value, dict) else failed.text


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _link(entry: FileInfo) -> Block:
    link: Block = {"type": "resource_link", "uri": f"file://{entry.path}", "name": posixpath.basename(entry.path)}
    if entry.type == "directory":
        return {**link, "description": "Directory"}
    return {**link, "mimeType": _mime_type(entry.path, ""), "size": entry.size, "description": entry.type.capitalize()}


def _mime_type(path: str, encoding: str) -> str:
    default = "text/plain" if encoding == "text" else "application/octet-stream"
    return mimetypes.guess_type(path)[0] or default


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
