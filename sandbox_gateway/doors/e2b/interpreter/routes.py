"""The routes of E2B's code interpreter: run cells, and manage contexts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
import weakref
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response

from sandbox_client.errors import NotFound, SandboxError, SandboxUnavailable
from sandbox_client.models.events import Completed, Stderr, Stdout
from sandbox_client.models.results import CodeError, Result, Status
from sandbox_gateway.doors.e2b import values
from sandbox_gateway.doors.e2b.cut_off_response import CutOffResponse
from sandbox_gateway.doors.e2b.envd.streams import paced
from sandbox_gateway.doors.e2b.errors import interpreter_error
from sandbox_gateway.doors.e2b.interpreter import environment, messages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from sandbox_gateway.doors.e2b.sessions import OpenSession

KEEPALIVE_SECONDS: Final = 5.0
PATHS: Final = (
    "GET /health",
    "POST /execute",
    "GET /contexts",
    "POST /contexts",
    "DELETE /contexts/{id}",
    "POST /contexts/{id}/restart",
)
_ENDINGS: Final = {
    Status.TIMED_OUT: ("TimeoutError", "the cell took longer than its time limit, and was ended"),
    Status.OOM_KILLED: ("MemoryError", "the cell used more memory than it may, and was killed"),
    Status.KILLED: ("Killed", "the interpreter was killed"),
}


class Interpreter:
    """The routes on port 49999."""

    def __init__(self) -> None:
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def serve(self, session: OpenSession, request: Request) -> Response:
        """Serve a request of an authorized client."""
        try:
            return await self._serve(session, request)
        except SandboxError as error:
            status, text = interpreter_error(error)
            return PlainTextResponse(text, status_code=status)

    async def _serve(self, session: OpenSession, request: Request) -> Response:
        contexts = session.sandbox.contexts
        answer: Any = None
        match request.method, request.url.path.strip("/").split("/"):
            case "GET", ["health"]:
                answer = "OK"
            case "POST", ["execute"]:
                return await self._execute(session, messages.read_execute(await request.body()))
            case "GET", ["contexts"]:
                answer = [messages.context_message(each, session.place) for each in await contexts.list()]
            case "POST", ["contexts"]:
                answer = await _create_context(session, values.read_object(await request.body()))
            case "DELETE", ["contexts", identifier]:
                await contexts.delete(identifier)
            case "POST", ["contexts", identifier, "restart"]:
                await contexts.restart(identifier)
            case _:
                return JSONResponse({"detail": "Not Found"}, status_code=404)
        return JSONResponse(answer)

    async def _execute(self, session: OpenSession, cell: messages.ExecuteRequest) -> Response:
        language = cell.language
        if cell.context_id:
            found = {each.id: each.language for each in await session.sandbox.contexts.list()}
            if cell.context_id not in found:
                raise NotFound(f"Context {cell.context_id} not found", reason="UNKNOWN_CONTEXT")
            language = found[cell.context_id]
        events = self._run(session, cell, language)
        lines = paced(events, idle=messages.KEEPALIVE, idle_seconds=KEEPALIVE_SECONDS, check=session.check_owner)

        async def body() -> AsyncGenerator[bytes, None]:
            async with contextlib.aclosing(lines):
                async for line in lines:
                    yield json.dumps(line, separators=(",", ":")).encode() + b"\n"

        return CutOffResponse(body(), media_type="application/json")

    async def _run(
        self, session: OpenSession, cell: messages.ExecuteRequest, language: str
    ) -> AsyncGenerator[dict[str, Any], None]:
        if not cell.code.strip():
            # E2B runs nothing and counts nothing.
            yield messages.END
            return
        if not cell.env:
            async with contextlib.aclosing(_run_cell(session, cell, language)) as events:
                async for message in events:
                    yield message
            return
        key = f"{session.key}/{cell.context_id or language}"
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            context = cell.context_id or None
            code = environment.set_variables(language, cell.env)
            execution = await session.sandbox.run_code(code, language, context=context)
            late, before = environment.read_variables(execution.stdout)
            if late:
                yield messages.output_message(late, "stdout", time.time_ns())
            if before is None:
                yield messages.ending_message("EnvironmentError", "the variables could not be set: restart the context")
                yield messages.END
                return
            try:
                async with contextlib.aclosing(_run_cell(session, cell, language)) as events:
                    async for message in events:
                        yield message
            finally:
                code = environment.restore_variables(language, before)
                await session.sandbox.run_code(code, language, context=context)


async def _create_context(session: OpenSession, message: dict[str, Any]) -> dict[str, Any]:
    language = messages.read_language(values.text(message, "language"))
    cwd = session.place.to_files(values.text(message, "cwd"), "cwd")
    created = await session.sandbox.contexts.create(language, cwd="" if cwd == "." else cwd)
    return messages.context_message(created, session.place)


async def _run_cell(
    session: OpenSession, cell: messages.ExecuteRequest, language: str
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the messages of a cell. Leaving the iteration interrupts the cell."""
    request_id = uuid.uuid4().hex
    is_complete = False
    events = session.sandbox.execute(cell.code, language, context=cell.context_id or None, request_id=request_id)
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, Stdout | Stderr):
                    stream = "stdout" if isinstance(event, Stdout) else "stderr"
                    yield messages.output_message(event.text, stream, time.time_ns())
                elif isinstance(event, Result):
                    yield messages.result_message(event, language)
                elif isinstance(event, CodeError):
                    yield messages.error_message(event)
                elif isinstance(event, Completed):
                    is_complete = True
                    if event.status is Status.LOST:
                        # Only a broken connection tells E2B's clients that the sandbox is gone.
                        raise SandboxUnavailable("the sandbox ended while the cell was running", reason="STREAM_ENDED")
                    if event.status in _ENDINGS:
                        yield messages.ending_message(*_ENDINGS[event.status])
                    yield messages.count_message(event.execution_count)
                    yield messages.END
    finally:
        if not is_complete:
            with contextlib.suppress(SandboxError):
                await session.sandbox.contexts.interrupt(request_id=request_id)
