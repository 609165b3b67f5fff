"""Who may call: a server interceptor for each port, which also maps errors and counts activity.

On the clients' port every method but those of grpc.health.v1 needs the session's bearer token. On the control port the
caller's certificate (already verified against the CA by TLS) must be the operator's own.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_agent.server.grpc_errors import abort, abort_with
from sandbox_agent.server.rpc_spans import spanned
from sandbox_link.protocol import OperationError
from sandbox_proto.chunks import decode_write_request

if TYPE_CHECKING:
    from sandbox_agent.session.gate import SessionGate

OPERATOR_NAME: Final = b"sandbox-operator"
OPEN_PREFIX: Final = "/grpc.health.v1.Health/"
WATCHING: Final = frozenset({"/sandbox.v1.FileService/Watch"})
_DECODERS: Final = {"/sandbox.v1.FileService/Write": decode_write_request}
"""Of what is decoded without protobuf."""
_BEARER: Final = "bearer "

Context = grpc.aio.ServicerContext[Any, Any]
Check = Callable[[Context], OperationError | None]
Guard = Callable[[Context], AbstractContextManager[None]]


class ClientInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """For the clients' port."""

    def __init__(self, gate: SessionGate) -> None:
        self._gate = gate
        # gRPC asks anew for each call, and has the same handler for each call of a method.
        self._guarded: dict[str, tuple[object, grpc.RpcMethodHandler[Any, Any]]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if method.startswith(OPEN_PREFIX):
            return handler
        known = self._guarded.get(method)
        if handler is not None and known is not None and known[0] is handler:
            return known[1]
        # Whoever only watches does no work: the session may become idle, and a drain does not wait for it.
        guard = contextlib.nullcontext if method in WATCHING else self._gate.activity
        checked = guarded(handler, method, self._check, spanned(guard, method))
        if handler is not None:
            self._guarded[method] = (handler, checked)
        return checked

    def _check(self, context: Context) -> OperationError | None:
        shown = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
        if len(shown) == 1 and self._is_bearer(shown[0]):
            return None
        return OperationError("UNAUTHENTICATED", "UNAUTHENTICATED", "the call needs this session's access token")

    def _is_bearer(self, value: str | bytes) -> bool:
        if not isinstance(value, str) or value[: len(_BEARER)].lower() != _BEARER:
            return False
        token = value[len(_BEARER) :].strip()
        return self._gate.is_token(hashlib.sha256(token.encode("utf-8", "replace")).digest())


class OperatorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """For the control port."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        return guarded(handler, method, _check_operator, spanned(contextlib.nullcontext, method))


def _check_operator(context: Context) -> OperationError | None:
    if list(context.auth_context().get("x509_common_name", ())) == [OPERATOR_NAME]:
        return None
    return OperationError("UNAUTHENTICATED", "UNAUTHENTICATED", "only the operator may call this port")


def guarded(
    handler: grpc.RpcMethodHandler[Any, Any] | None, method: str, check: Check, guard: Guard
) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler with the check before it, the guard around it and errors mapped; None: a method nobody knows."""
    if handler is None:
        return grpc.unary_unary_rpc_method_handler(_unknown(check))
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    wrap = _guard_stream if handler.response_streaming else _guard_unary
    wrapped: Any = wrap(behaviour, method, check, guard)
    decode = _DECODERS.get(method, handler.request_deserializer)
    return make(wrapped, decode, _passing_bytes(handler.response_serializer))


def _passing_bytes(serialize: Any) -> Callable[[Any], bytes]:
    """A serializer for handlers that may answer what is encoded already; see wire.py."""

    def encode(response: Any) -> bytes:
        return response if isinstance(response, bytes) else serialize(response)

    return encode


def _guard_unary(behaviour: Any, method: str, check: Check, guard: Guard) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:
        refusal = check(context)
        if refusal is not None:
            await abort(context, refusal)
        with guard(context):
            try:
                return await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - everything is mapped
                await abort_with(context, error, method)

    return call


def _guard_stream(behaviour: Any, method: str, check: Check, guard: Guard) -> Callable[[Any, Context], Any]:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        refusal = check(context)
        if refusal is not None:
            await abort(context, refusal)
        with guard(context):
            try:
                async with contextlib.aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        yield response
            except Exception as error:  # noqa: BLE001 - everything is mapped
                await abort_with(context, error, method)

    return call


def _unknown(check: Check) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(_request: Any, context: Context) -> Any:
        unknown = OperationError("UNIMPLEMENTED", "NOT_IMPLEMENTED", "this agent has no such method")
        await abort(context, check(context) or unknown)

    return call
