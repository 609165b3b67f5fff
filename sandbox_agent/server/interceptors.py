"""Guards each port: checks the caller, counts activity, opens a span and maps errors to gRPC status.

On the clients' port every method except those of grpc.health.v1 needs the session's bearer token. On the control port
the caller's certificate must be the operator's own; TLS has already verified it against the CA.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_agent.server.grpc_errors import abort, abort_with
from sandbox_agent.server.request_budget import RequestBudget
from sandbox_link.protocol import OperationError
from sandbox_proto import tracing
from sandbox_proto.chunks import decode_write_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox_agent.session.gate import SessionGate

OPERATOR_NAME: Final = b"sandbox-operator"
OPEN_PREFIX: Final = "/grpc.health.v1.Health/"
WATCHING: Final = frozenset({"/sandbox.v1.FileService/Watch"})
_DECODERS: Final = {"/sandbox.v1.FileService/Write": decode_write_request}
"""Decoders that replace protobuf's own, by method."""
_BEARER: Final = "bearer "
_MALFORMED: Final = object()
"""In place of a request that could not be decoded."""
_TOO_MUCH: Final = object()
"""In place of a request for which there is no memory."""

Context = grpc.aio.ServicerContext[Any, Any]
Check = Callable[[Context], OperationError | None]
Guard = Callable[[Context], AbstractContextManager[None]]
Admit = Callable[[str], None]
"""Gets the peer of an authenticated call, as gRPC writes it."""


class ClientInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """The interceptor of the clients' port.

    It checks the token before gRPC reads the request, so a stranger's messages never fill the agent's memory.

    Args:
        gate: Knows the token.
        admit: Called with the peer of each authenticated call.
        is_limited: Returns whether a call may come over a connection that can send only so much until it is admitted.
    """

    def __init__(self, gate: SessionGate, admit: Admit, is_limited: Callable[[], bool] = lambda: False) -> None:
        self._gate = gate
        self._admit = admit
        self._is_limited = is_limited
        self._budget = RequestBudget()
        # gRPC intercepts each call, always with the same handler for a method.
        self._guarded: dict[str, tuple[object, grpc.RpcMethodHandler[Any, Any]]] = {}

    async def intercept_service(  # noqa: D102 - inherited
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if method.startswith(OPEN_PREFIX):
            return handler
        if not self._is_authenticated(handler_call_details.invocation_metadata or ()):
            return _REFUSING
        guarded = self._guard_once(handler, method)
        if guarded.request_streaming or (not self._is_limited() and self._budget.may_read_now()):
            return guarded
        return _admit_first(guarded, self._note_caller, self._budget)

    def _guard_once(
        self, handler: grpc.RpcMethodHandler[Any, Any] | None, method: str
    ) -> grpc.RpcMethodHandler[Any, Any]:
        known = self._guarded.get(method)
        if handler is not None and known is not None and known[0] is handler:
            return known[1]
        # Watching is not work: the session may become idle meanwhile, and a drain does not wait for it.
        enter = contextlib.nullcontext if method in WATCHING else self._gate.activity
        guarded = guard_handler(handler, method, self._note_caller, _with_span(enter, method), self._budget)
        if handler is not None:
            self._guarded[method] = (handler, guarded)
        return guarded

    def _is_authenticated(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        values = [value for name, value in metadata if name == "authorization"]
        return len(values) == 1 and self._is_session_token(values[0])

    def _note_caller(self, context: Context) -> None:
        self._admit(context.peer())

    def _is_session_token(self, value: str | bytes) -> bool:
        if not isinstance(value, str) or value[: len(_BEARER)].lower() != _BEARER:
            return False
        token = value[len(_BEARER) :].strip()
        return self._gate.is_token(hashlib.sha256(token.encode("utf-8", "replace")).digest())


class OperatorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """The interceptor of the control port.

    Args:
        admit: Called with the peer of each authenticated call.
    """

    def __init__(self, admit: Admit) -> None:
        self._admit = admit

    async def intercept_service(  # noqa: D102 - inherited
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        return guard_handler(handler, method, self._check, _with_span(contextlib.nullcontext, method))

    def _check(self, context: Context) -> OperationError | None:
        if list(context.auth_context().get("x509_common_name", ())) == [OPERATOR_NAME]:
            self._admit(context.peer())
            return None
        return OperationError(
            "UNAUTHENTICATED", "UNAUTHENTICATED", "only the operator may call this port: use the session's own port"
        )


async def _refuse_stranger(_requests: Any, context: Context) -> None:
    message = "the call has no valid access token: read it from the session's access Secret again"
    await abort(context, OperationError("UNAUTHENTICATED", "UNAUTHENTICATED", message))


# As for a stream of requests: for any other kind gRPC would read the whole message first.
_REFUSING: Final = grpc.stream_stream_rpc_method_handler(_refuse_stranger)


def _with_span(enter: Callable[[], AbstractContextManager[None]], method: str) -> Guard:
    """Return a guard that enters `enter`, and a span if this process traces. A refused call enters neither."""
    if not tracing.is_on():
        return lambda _context: enter()

    @contextlib.contextmanager
    def guard(context: Context) -> Iterator[None]:
        with enter(), tracing.serving(method, context.invocation_metadata() or ()) as span:
            try:
                yield
            finally:
                code: Any = context.code()
                number = code.value[0] if isinstance(code, grpc.StatusCode) else code
                span.set("rpc.grpc.status_code", int(number or 0))

    return guard


def guard_handler(
    handler: grpc.RpcMethodHandler[Any, Any] | None,
    method: str,
    check: Check,
    guard: Guard,
    budget: RequestBudget | None = None,
) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a handler that runs the check first, then the method within the guard, and maps errors.

    Args:
        handler: The method's own handler, or None if no service has the method.
        method: As gRPC writes it, `/package.Service/Method`.
        check: Returns the error with which the call is refused, or None.
        guard: Returns the context manager that the call runs in.
        budget: Bounds the memory for single requests.
    """
    if handler is None:
        return grpc.unary_unary_rpc_method_handler(_refuse_unknown(check))
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    wrap = _guard_stream if handler.response_streaming else _guard_unary
    wrapped: Any = wrap(behaviour, method, check, guard, budget)
    decode = _DECODERS.get(method, handler.request_deserializer)
    decode = _decode_in_stream(decode) if handler.request_streaming else _decode_or_mark(decode, budget)
    return make(wrapped, decode, _pass_bytes(handler.response_serializer))


def _admit_first(
    handler: grpc.RpcMethodHandler[Any, Any], note_caller: Callable[[Context], None], budget: RequestBudget
) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a guarded handler that notes the caller and has room before gRPC reads the request. It takes longer."""
    behaviour: Any = handler.unary_unary or handler.unary_stream

    async def read(requests: Any, context: Context) -> Any:
        note_caller(context)
        try:
            await budget.wait_to_read()
        except OperationError as error:
            await abort(context, error)
        return await anext(aiter(requests), _MALFORMED)

    async def answer(requests: Any, context: Context) -> Any:
        return await behaviour(await read(requests, context), context)

    async def answer_in_parts(requests: Any, context: Context) -> AsyncIterator[Any]:
        request = await read(requests, context)
        async with contextlib.aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                yield response

    make = grpc.stream_unary_rpc_method_handler
    call: Any = answer
    if handler.response_streaming:
        make, call = grpc.stream_stream_rpc_method_handler, answer_in_parts
    return make(call, handler.request_deserializer, handler.response_serializer)


def _decode_or_mark(decode: Any, budget: RequestBudget | None) -> Callable[[bytes], Any]:
    """Return a decoder that returns a mark for a message that is refused: gRPC would answer an error with UNKNOWN."""

    def decoder(data: bytes) -> Any:
        if budget is not None and not budget.take(len(data)):
            return _TOO_MUCH
        try:
            return decode(data)
        except Exception:  # noqa: BLE001 - whatever a decoder raises, the message is at fault
            return _MALFORMED

    return decoder


def _decode_in_stream(decode: Any) -> Callable[[bytes], Any]:
    """Return a decoder for messages that the method itself reads. There an error has the usual way."""

    def decoder(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception as error:
            raise _malformed() from error

    return decoder


def _refusal(request: Any, budget: RequestBudget | None) -> OperationError | None:
    if request is _TOO_MUCH and budget is not None:
        return budget.refusal()
    return _malformed() if request is _MALFORMED else None


def _malformed() -> OperationError:
    message = "the request is not a message of this method: use the protocol's .proto files of the agent's version"
    return OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", message)


def _pass_bytes(serialize: Any) -> Callable[[Any], bytes]:
    """Return a serializer for handlers that may return encoded bytes, as executions/event_encoding.py makes them."""

    def encode(response: Any) -> bytes:
        return response if isinstance(response, bytes) else serialize(response)

    return encode


def _guard_unary(
    behaviour: Any, method: str, check: Check, guard: Guard, budget: RequestBudget | None
) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:
        refusal = check(context) or _refusal(request, budget)
        if refusal is not None:
            await abort(context, refusal)
        with guard(context):
            try:
                return await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - everything is mapped
                await abort_with(context, error, method)

    return call


def _guard_stream(
    behaviour: Any, method: str, check: Check, guard: Guard, budget: RequestBudget | None
) -> Callable[[Any, Context], Any]:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        refusal = check(context) or _refusal(request, budget)
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


def _refuse_unknown(check: Check) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(_request: Any, context: Context) -> Any:
        unknown = OperationError(
            "UNIMPLEMENTED",
            "NOT_IMPLEMENTED",
            "this agent has no such method: use a client and an agent of the same version",
        )
        await abort(context, check(context) or unknown)

    return call
