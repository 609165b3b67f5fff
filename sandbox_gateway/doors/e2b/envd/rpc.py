"""Serves Connect calls: finds the method, reads its messages, and writes answers, streams and errors."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response, StreamingResponse

from sandbox_client.errors import InvalidArgument, NotSupported, SandboxError
from sandbox_gateway.doors.e2b.envd import protocol
from sandbox_gateway.doors.e2b.envd.streams import paced
from sandbox_gateway.doors.e2b.errors import rpc_error
from sandbox_gateway.doors.e2b.values import read_object

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from starlette.requests import Request

    from sandbox_gateway.doors.e2b.sessions import OpenSession

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method.

    Attributes:
        session: The session.
        message: The request; empty for a stream of requests.
        seconds: The time limit, or None.
        requests: The requests of a stream.
    """

    session: OpenSession
    message: dict[str, Any]
    seconds: float | None
    requests: AsyncIterator[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one answer.

    Attributes:
        handle: Returns the answer.
        streams_requests: Whether the client sends a stream of requests.
    """

    handle: Callable[[Call], Awaitable[dict[str, Any]]]
    streams_requests: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """A method with a stream of answers.

    Attributes:
        handle: Yields the answers.
        idle: The sign of life between answers.
        is_limited: Whether the call's time limit ends the stream. Otherwise the method itself keeps it.
    """

    handle: Callable[[Call], AsyncGenerator[dict[str, Any], None]]
    idle: dict[str, Any]
    is_limited: bool = True


Methods = dict[str, Unary | Stream]


async def serve(method: Unary | Stream, session: OpenSession, request: Request) -> Response:
    """Serve a call."""
    is_stream = isinstance(method, Stream) or method.streams_requests
    wanted = protocol.STREAM_TYPE if is_stream else protocol.UNARY_TYPE
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        return Response(status_code=415, headers={"Accept-Post": wanted})
    try:
        call = await _read_call(session, request, method, is_stream=is_stream)
    except SandboxError as error:
        return error_response(error, is_stream=is_stream)
    if isinstance(method, Stream):
        return await _serve_stream(method, call, request)
    try:
        answer = await method.handle(call)
    except SandboxError as error:
        return error_response(error, is_stream=is_stream)
    if not is_stream:
        return JSONResponse(answer)
    return Response(protocol.envelope(answer) + protocol.end_of_stream(), media_type=protocol.STREAM_TYPE)


def error_response(error: SandboxError, *, is_stream: bool) -> Response:
    """Return an error as the answer of a call."""
    status, body = rpc_error(error)
    if is_stream:
        return Response(protocol.end_of_stream(body), media_type=protocol.STREAM_TYPE)
    return JSONResponse(body, status_code=status)


def unknown_method(path: str) -> Response:
    """Return the answer for a method that does not exist."""
    error = NotSupported(f"there is no method {path}", reason="NOT_IMPLEMENTED")
    return error_response(error, is_stream=False)


async def _read_call(session: OpenSession, request: Request, method: Unary | Stream, *, is_stream: bool) -> Call:
    seconds = protocol.read_timeout(request.headers)
    requests = _requests(request)
    if isinstance(method, Unary) and method.streams_requests:
        return Call(session, {}, seconds, requests)
    if not is_stream:
        return Call(session, read_object(await request.body()), seconds, requests)
    found: dict[str, Any] | None = None
    async for message in requests:
        if found is not None:
            found = None
            break
        found = message
    if found is None:
        raise InvalidArgument("the call takes one message", reason="INVALID_ARGUMENT", field="body")
    return Call(session, found, seconds, requests)


async def _requests(request: Request) -> AsyncIterator[dict[str, Any]]:
    reader = protocol.EnvelopeReader()
    async for chunk in request.stream():
        for message in reader.feed(chunk):
            yield message
    reader.finish()


async def _serve_stream(method: Stream, call: Call, request: Request) -> Response:
    answers = paced(
        method.handle(call),
        idle=method.idle,
        idle_seconds=protocol.read_keepalive(request.headers),
        check=call.session.check_owner,
        seconds=call.seconds if method.is_limited else None,
    )

    async def body() -> AsyncGenerator[bytes, None]:
        try:
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    yield protocol.envelope(answer)
        except SandboxError as error:
            yield protocol.end_of_stream(rpc_error(error)[1])
        except Exception:  # noqa: BLE001 - its client gets an error instead of a stream without an end
            _log.exception("a stream of %s failed", request.url.path)
            yield protocol.end_of_stream({"code": "internal", "message": "the gateway failed"})
        else:
            yield protocol.end_of_stream()

    return StreamingResponse(body(), media_type=protocol.STREAM_TYPE)


def find_method(services: Mapping[str, Methods], path: str) -> Unary | Stream | None:
    """Return the method of a path such as `/process.Process/List`, or None."""
    service, _, name = path.strip("/").partition("/")
    return services.get(service, {}).get(name)
