"""The routes of AgentCore's code interpreter: its data plane, and the part of its control plane that the SDK uses."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import uuid
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sandbox_client.errors import InvalidArgument, SandboxError, SandboxUnavailable
from sandbox_gateway.access.requests import client_address
from sandbox_gateway.background import run_in_background
from sandbox_gateway.doors.agentcore import interpreters, requests, sessions, tools
from sandbox_gateway.doors.agentcore.errors import ErrorForm, error_form
from sandbox_gateway.doors.agentcore.event_stream import CONTENT_TYPE, encode_event, encode_exception, encode_json
from sandbox_gateway.doors.agentcore.identifiers import check_session_id, read_interpreter
from sandbox_gateway.doors.agentcore.request_bodies import RequestBodies
from sandbox_gateway.gateway import SignedRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from sandbox_client import AsyncSandbox
    from sandbox_gateway.backend import Caller
    from sandbox_gateway.doors.agentcore.request_bodies import RequestBody
    from sandbox_gateway.doors.agentcore.tools import Run
    from sandbox_gateway.gateway import Gateway

    Operation = Callable[[Gateway, Caller, Request, bytes], Awaitable[Response]]

SESSION_HEADER: Final = "x-amzn-code-interpreter-session-id"
MAX_BODY: Final = 1 << 20
"""Bytes of a request other than a tool's. The gateway's own limit allows a tool 100 MB of files as base64."""
_MAX_WAITING: Final = 2
"""Messages that wait for a slow client. Each may have 16 MiB."""
_ORDERED_SECONDS: Final = 10.0
_log: Final = logging.getLogger(__name__)


def build_routes(gateway: Gateway) -> list[BaseRoute]:
    """Return the routes. AWS's SDKs reach them with `AWS_ENDPOINT_URL_BEDROCK_AGENTCORE` and `..._CONTROL`."""
    routes: list[BaseRoute] = []
    bodies = RequestBodies()
    for method, path, operation in OPERATIONS.values():
        limit = None if operation is _invoke else MAX_BODY
        routes.append(Route(path, Endpoint(gateway, operation, bodies), methods=[method], max_body_size=limit))
    return routes


class Endpoint:
    """The ASGI application of one operation.

    Args:
        gateway: The sessions, and who may use them.
        operation: The operation.
        bodies: The bodies of all requests.
    """

    def __init__(self, gateway: Gateway, operation: Operation, bodies: RequestBodies) -> None:
        self._gateway = gateway
        self._operation = operation
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. Its body counts until the end of the response, since a tool writes its files meanwhile."""
        with self._bodies.open() as body:
            response = await self._respond(Request(scope, receive), body)
            await response(scope, receive, send)

    async def _respond(self, request: Request, body: RequestBody) -> Response:
        request_id = str(uuid.uuid4())
        try:
            response = await self._operate(request, body)
        except SandboxError as error:
            response = _error_response(error)
        except HTTPException as error:
            # The body is too large.
            response = _form_response(ErrorForm("RequestEntityTooLargeException", error.status_code, error.detail))
        except ClientDisconnect:
            response = Response(status_code=400)
        except Exception:  # noqa: BLE001 - the client must get an error of its protocol
            _log.exception("request %s failed", request_id)
            response = _error_response(SandboxUnavailable(f"the gateway failed; its log has request {request_id}"))
        response.headers["x-amzn-RequestId"] = request_id
        return response

    async def _operate(self, request: Request, body: RequestBody) -> Response:
        access, peer = self._gateway.access, client_address(request)
        # Bodies are large and part of what is signed, so only the owner of a key has one read.
        await access.check_signer(_signed(request, b""), peer=peer)
        content = await body.read(request)
        caller = await access.by_signature(_signed(request, content), peer=peer)
        request.state.caller = caller.name
        return await self._operation(self._gateway, caller, request, content)


async def _start_session(gateway: Gateway, caller: Caller, request: Request, body: bytes) -> Response:
    wanted = requests.read_start(body)
    return _json(await sessions.start(gateway.backend, caller, _interpreter(request), wanted))


async def _get_session(gateway: Gateway, caller: Caller, request: Request, _body: bytes) -> Response:
    interpreter = _interpreter(request)
    name = check_session_id(request.query_params.get("sessionId"))
    return _json(sessions.describe(await sessions.find(gateway.backend, caller, interpreter, name), interpreter))


async def _list_sessions(gateway: Gateway, caller: Caller, request: Request, body: bytes) -> Response:
    page = requests.read_page(requests.read_object(body))
    return _json(await sessions.list_page(gateway.backend, caller, _interpreter(request), page))


async def _stop_session(gateway: Gateway, caller: Caller, request: Request, body: bytes) -> Response:
    requests.read_token(requests.read_object(body).get("clientToken", ""))
    name = check_session_id(request.query_params.get("sessionId"))
    return _json(await sessions.stop(gateway.backend, caller, _interpreter(request), name))


async def _invoke(gateway: Gateway, caller: Caller, request: Request, body: bytes) -> Response:
    """Run a tool.

    Whatever fails before the tool starts is an error of the request, which SDKs may repeat. Whatever fails later is an
    error in the stream, which they do not repeat. So code never runs twice.
    """
    call = requests.read_invocation(body)
    run = tools.prepare(call)
    _interpreter(request)
    name = check_session_id(request.headers.get(SESSION_HEADER))
    # That it belongs to this code interpreter is not checked: it would cost a request to the API server.
    sandbox = await gateway.backend.connect(caller, name)
    work = _Work(run, sandbox)
    await work.begin()
    return StreamingResponse(work.messages(), media_type=CONTENT_TYPE, headers={SESSION_HEADER: name})


async def _create_interpreter(_gateway: Gateway, caller: Caller, _request: Request, body: bytes) -> Response:
    return _json(interpreters.create(caller, body), status=202)


async def _get_interpreter(_gateway: Gateway, caller: Caller, request: Request, _body: bytes) -> Response:
    return _json(interpreters.get(caller, request.path_params["identifier"]))


async def _list_interpreters(_gateway: Gateway, caller: Caller, request: Request, _body: bytes) -> Response:
    return _json(interpreters.list_page(caller, request.query_params))


async def _delete_interpreter(_gateway: Gateway, caller: Caller, request: Request, _body: bytes) -> Response:
    interpreters.refuse_delete(caller, request.path_params["identifier"])


_ONE: Final = "/code-interpreters/{identifier:path}"
OPERATIONS: Final[dict[str, tuple[str, str, Operation]]] = {
    "StartCodeInterpreterSession": ("PUT", f"{_ONE}/sessions/start", _start_session),
    "GetCodeInterpreterSession": ("GET", f"{_ONE}/sessions/get", _get_session),
    "ListCodeInterpreterSessions": ("POST", f"{_ONE}/sessions/list", _list_sessions),
    "StopCodeInterpreterSession": ("PUT", f"{_ONE}/sessions/stop", _stop_session),
    "InvokeCodeInterpreter": ("POST", f"{_ONE}/tools/invoke", _invoke),
    "CreateCodeInterpreter": ("PUT", "/code-interpreters", _create_interpreter),
    "ListCodeInterpreters": ("POST", "/code-interpreters", _list_interpreters),
    "GetCodeInterpreter": ("GET", _ONE, _get_interpreter),
    "DeleteCodeInterpreter": ("DELETE", _ONE, _delete_interpreter),
}
"""Method, path and function of each operation. The first path that matches counts."""


class _Work:
    """A tool that runs in a task of its own, so that a client that goes away does not cut it short.

    Args:
        run: Runs the tool and yields its results.
        sandbox: The session.
    """

    def __init__(self, run: Run, sandbox: AsyncSandbox) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)
        run_in_background(self._put_all(run, sandbox))
        self._first = run_in_background(self._queue.get())

    async def begin(self) -> None:
        """Wait for the first message, but not for long.

        A client may send the next call without reading this one's answer, and expects that it is done. If nothing is
        sent for a minute, SDKs repeat the call.
        """
        await asyncio.wait([self._first], timeout=_ORDERED_SECONDS)

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield the messages of the tool's results."""
        message = None
        try:
            message = await asyncio.shield(self._first)
            while message:
                yield message
                message = await self._queue.get()
        finally:
            if message != b"":
                # Nothing reads the rest, so it must not wait.
                run_in_background(self._discard())

    async def _put_all(self, run: Run, sandbox: AsyncSandbox) -> None:
        """Put all messages into the queue, and an empty one. An error ends them as AWS's protocol demands."""
        try:
            async with contextlib.aclosing(run(sandbox)) as results:
                async for result in results:
                    await self._queue.put(encode_event("result", encode_json(result)))
        except SandboxError as error:
            await self._queue.put(_exception(error))
        except Exception:  # noqa: BLE001 - the client must get an error of its protocol
            _log.exception("a tool failed")
            fault = SandboxUnavailable("the gateway failed while the tool ran; its log says why")
            await self._queue.put(_exception(fault))
        await self._queue.put(b"")

    async def _discard(self) -> None:
        while await self._queue.get():
            pass


def _exception(error: SandboxError) -> bytes:
    form = error_form(error)
    return encode_exception(form.event_type, form.body)


def _interpreter(request: Request) -> Any:
    return read_interpreter(request.path_params["identifier"])


def _json(value: dict[str, Any], *, status: int = 200) -> Response:
    return Response(encode_json(value), status_code=status, media_type="application/json")


def _error_response(error: SandboxError) -> Response:
    return _form_response(error_form(error))


def _form_response(form: ErrorForm) -> Response:
    response = _json(form.body, status=form.status)
    response.headers["x-amzn-ErrorType"] = form.code
    return response


def _signed(request: Request, body: bytes) -> SignedRequest:
    """Return a request as its client signed it.

    Raises:
        InvalidArgument: A header is not text.
    """
    try:
        headers = tuple((name.decode("ascii"), value.decode()) for name, value in request.headers.raw)
    except UnicodeDecodeError as error:
        raise InvalidArgument("a header is not UTF-8", reason="CANNOT_PARSE") from error
    return SignedRequest(
        method=request.method,
        path=(request.scope.get("raw_path") or request.url.path.encode()).decode("ascii", "replace"),
        query=request.url.query,
        headers=headers,
        body_sha256=hashlib.sha256(body).hexdigest(),
    )
