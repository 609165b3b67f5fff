"""The routes of E2B's agent in a sandbox, envd: calls, files, and facts about the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from sandbox_client.errors import NotSupported, SandboxError
from sandbox_gateway.doors.e2b.envd import files_http, filesystem, process, rpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from sandbox_gateway.doors.e2b.sessions import OpenSession


async def _read_environment(session: OpenSession, _request: Request) -> Response:
    result = await session.sandbox.run(["env", "-0"], timeout=30)
    pairs = (pair.partition("=") for pair in result.stdout.split("\0"))
    return JSONResponse({name: value for name, equals, value in pairs if equals})


async def _refuse_metrics(_session: OpenSession, _request: Request) -> Response:
    raise NotSupported("figures of a sandbox are not supported", reason="NOT_SUPPORTED")


HTTP: Final[Mapping[str, Callable[[OpenSession, Request], Awaitable[Response]]]] = {
    "GET /files": files_http.download,
    "POST /files": files_http.upload,
    "POST /files/compose": files_http.compose,
    "GET /envs": _read_environment,
    "GET /metrics": _refuse_metrics,
}


class Envd:
    """The routes on port 49983."""

    def __init__(self) -> None:
        self.services: dict[str, rpc.Methods] = {
            process.SERVICE: process.METHODS,
            filesystem.SERVICE: filesystem.build_methods(),
        }

    async def serve(self, session: OpenSession, request: Request) -> Response:
        """Serve a request of an authorized client."""
        path = request.url.path
        if (method := rpc.find_method(self.services, path)) is not None:
            if request.method != "POST":
                return Response(status_code=405, headers={"Allow": "POST"})
            return await rpc.serve(method, session, request)
        handle = HTTP.get(f"{request.method} {path}")
        if handle is None:
            return rpc.unknown_method(path)
        try:
            return await handle(session, request)
        except SandboxError as error:
            return files_http.file_error_response(error)
        except HTTPException as error:
            # The form or the body was refused while it was read.
            body = {"code": error.status_code, "message": str(error.detail)}
            return JSONResponse(body, status_code=error.status_code)
