"""E2B's process service over our background processes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import DeadlineExceeded, InvalidArgument, NotFound
from sandbox_client.models.results import Status
from sandbox_gateway.doors.e2b import values
from sandbox_gateway.doors.e2b.envd import process_messages as messages
from sandbox_gateway.doors.e2b.envd.rpc import Call, Methods, Stream, Unary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sandbox_client.models.process_info import ProcessInfo
    from sandbox_client.processes import AsyncProcess

SERVICE: Final = "process.Process"


async def _list(call: Call) -> dict[str, Any]:
    infos = await call.session.sandbox.processes.list()
    shown = [messages.process_message(info, call.session.place) for info in infos if info.running]
    return {"processes": shown}


async def _start(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    request = messages.read_start(call.message, call.session.place)
    try:
        process = await call.session.sandbox.processes.start(
            request.command,
            keep_input=request.keep_input,
            terminal=request.terminal,
            tag=request.tag,
            cwd=request.cwd,
            env=request.env,
            # As with E2B, the time limit ends the command and not only its stream.
            timeout=call.seconds,
        )
    except NotFound as error:
        raise InvalidArgument(error.message, reason=error.reason, field=error.field) from error
    yield messages.start_event(process.pid)
    async with contextlib.aclosing(_follow(process, 0, has_terminal=request.terminal is not None)) as events:
        async for event in events:
            yield event


async def _connect(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    info = await _find(call, call.message)
    process = await call.session.sandbox.processes.get(info)
    yield messages.start_event(process.pid)
    async with contextlib.aclosing(_follow(process, info.output_bytes, has_terminal=info.has_terminal)) as events:
        async for event in events:
            yield event


async def _follow(process: AsyncProcess, offset: int, *, has_terminal: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Yield a process's output from an offset on, and its end."""
    async with contextlib.aclosing(process.output(offset)) as pieces:
        async for piece in pieces:
            stream = "pty" if has_terminal else "stderr" if piece.is_stderr else "stdout"
            yield messages.data_event(piece.data, stream)
    exited = (await process.info()).exited
    if exited is None:
        raise NotFound(f"process with pid {process.pid} ended", reason="UNKNOWN_PROCESS")
    if exited.status is Status.TIMED_OUT:
        raise DeadlineExceeded("the command was killed at its time limit", reason="DEADLINE_EXCEEDED")
    yield messages.end_event(exited)


async def _update(call: Call) -> dict[str, Any]:
    process = await _get(call, call.message)
    if call.message.get("pty") is not None:
        await process.resize(*messages.read_size(call.message))
    return {}


async def _send_input(call: Call) -> dict[str, Any]:
    process = await _get(call, call.message)
    if data := messages.read_input(call.message):
        await process.send_input(data)
    return {}


async def _stream_input(call: Call) -> dict[str, Any]:
    process: AsyncProcess | None = None
    async for request in call.requests:
        if "start" in request:
            process = await _get(call, values.child(request, "start"))
        elif "data" in request:
            if process is None:
                raise InvalidArgument("the first message must be start", reason="INVALID_ARGUMENT", field="start")
            if data := messages.read_input(values.child(request, "data")):
                await process.send_input(data)
    return {}


async def _send_signal(call: Call) -> dict[str, Any]:
    name = messages.read_signal(call.message)
    process = await _get(call, call.message)
    if name == "KILL":
        await process.kill()
    else:
        await process.signal(name)
    return {}


async def _close_stdin(call: Call) -> dict[str, Any]:
    process = await _get(call, call.message)
    await process.send_input(end=True)
    return {}


async def _get(call: Call, message: dict[str, Any]) -> AsyncProcess:
    return await call.session.sandbox.processes.get(await _find(call, message))


async def _find(call: Call, message: dict[str, Any]) -> ProcessInfo:
    info = messages.select(message, await call.session.sandbox.processes.list())
    if info is None:
        raise NotFound(f"{messages.describe_selector(message)} not found", reason="UNKNOWN_PROCESS")
    return info


METHODS: Final[Methods] = {
    "List": Unary(_list),
    "Start": Stream(_start, messages.KEEPALIVE, is_limited=False),
    "Connect": Stream(_connect, messages.KEEPALIVE),
    "Update": Unary(_update),
    "SendInput": Unary(_send_input),
    "StreamInput": Unary(_stream_input, streams_requests=True),
    "SendSignal": Unary(_send_signal),
    "CloseStdin": Unary(_close_stdin),
}
