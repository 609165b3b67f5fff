"""Opens spans and carries the W3C trace context with calls, for client, agent and operator alike.

Tracing is off by default and then OpenTelemetry is never imported. It is on if the process has a tracer provider: the
application's own, or the one that `start` makes. A span contains names, numbers and outcomes only. Callers must not put
code, output, file paths or tokens into one. Spans never contain the messages of errors.

OpenTelemetry's API with its no-op default would cost more: 15 us for a no-op span, here 0.4 us. Its import takes 15 ms
and 0.4 MiB in every agent, and the client would depend on it. The instrumentation of gRPC adds 55 us on each side to a
call of 380 us, and 100 ms and 2 MiB to the start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Attributes = Mapping[str, str | int | float | bool]

FLUSH_TIMEOUT: Final = 2.0
"""Seconds for the last spans at the end of a process, so that an unreachable collector does not delay it."""
_SCOPE: Final = "sandbox.v1"
_CARRIED: Final = {"traceparent": 55, "tracestate": 512}
"""Metadata keys of a trace context, each with its maximum length in characters. A longer value is ignored."""
_MAX_REASON: Final = 64


class TracingError(RuntimeError):
    """Tracing cannot be switched on; the message says what to change."""


class Span:
    """A span that is open. This base class stands for no span and does nothing.

    As a context manager it ends with its block.

    Attributes:
        metadata: Metadata to send with a call that is part of the span.
    """

    metadata: tuple[tuple[str, str], ...] = ()

    def set(self, name: str, value: str | float) -> None:
        """Set an attribute."""

    def end(self, error: BaseException | None = None) -> None:
        """End the span, as failed if there is an error. Does nothing if it has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


NO_SPAN: Final = Span()


class _OpenSpan(Span):
    """A recorded span.

    Args:
        inner: OpenTelemetry's span.
        is_current: Make it the current span of the task within its block.
    """

    def __init__(self, inner: Any, *, is_current: bool) -> None:
        self.inner = inner
        self._is_current = is_current
        self._token: Any = None

    def set(self, name: str, value: str | float) -> None:
        self.inner.set_attribute(name, value)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:  # type: ignore[override]  # made on demand
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - late

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, _context_of(self))
        return tuple(carrier.items())

    def end(self, error: BaseException | None = None) -> None:
        if not self.inner.is_recording():
            return
        if error is not None:
            # The name alone: the message may contain the name of a file.
            self.inner.set_attribute("error.type", _name_of(error))
            self.inner.set_status(_api().Status(_api().StatusCode.ERROR))
        self.inner.end()

    def __enter__(self) -> Self:
        if self._is_current:
            self._token = sys.modules["opentelemetry.context"].attach(_context_of(self))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        # GeneratorExit is not a failure: the caller stopped the iteration because it needs no more.
        self.end(None if isinstance(error, GeneratorExit) else error)
        if self._token is not None:
            sys.modules["opentelemetry.context"].detach(self._token)


def is_on() -> bool:
    """Return whether this process has a tracer provider."""
    return _tracer() is not None


def is_within() -> bool:
    """Return whether this task has a current span."""
    return is_on() and _has_current()


def span(name: str, attributes: Attributes | None = None, *, only_within: bool = False) -> Span:
    """Open a span for a step of the current task. Within its block it is the current span.

    Args:
        name: Name of the span.
        attributes: Attributes of the span.
        only_within: Open no span if the task has no current one.
    """
    tracer = _tracer()
    if tracer is None or (only_within and not _has_current()):
        return NO_SPAN
    return _OpenSpan(tracer.start_span(name, attributes=attributes), is_current=True)


def serving(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Span:
    """Open the server's span for a call. It belongs to the caller's trace if the metadata names one.

    Args:
        method: As gRPC writes it, `/package.Service/Method`.
        metadata: Metadata as received. A trace context that is malformed, repeated or too long is ignored.
    """
    tracer = _tracer()
    if tracer is None:
        return NO_SPAN
    kind = _api().SpanKind.SERVER
    return _OpenSpan(tracer.start_span(method[1:], _read_context(metadata), kind, _rpc(method)), is_current=True)


def operation(name: str, under: Span = NO_SPAN) -> Span:
    """Open a span for work that takes several calls.

    It never becomes the current span, so a generator may keep it open while its caller runs.

    Args:
        name: Name of the span.
        under: Its parent. By default this is the current span.
    """
    tracer = _tracer()
    return NO_SPAN if tracer is None else _OpenSpan(tracer.start_span(name, _context_of(under)), is_current=False)


def calling(method: Any, under: Span = NO_SPAN, *, only_within: bool = False) -> Span:
    """Open the client's span for a call, whose metadata the call has to send. It never becomes the current span.

    Args:
        method: A method of a stub.
        under: Its parent. By default this is the current span.
        only_within: Open no span if the task has no current one.
    """
    tracer = _tracer()
    if tracer is None or (only_within and not _has_current()):
        return NO_SPAN
    path = getattr(method, "_method", b"/?/?")
    path = path.decode() if isinstance(path, bytes) else str(path)
    inner = tracer.start_span(path[1:], _context_of(under), _api().SpanKind.CLIENT, _rpc(path))
    return _OpenSpan(inner, is_current=False)


def start(service: str) -> None:
    """Switch tracing on. OpenTelemetry's environment variables set endpoint, sampler and resource attributes.

    Args:
        service: Name of the service, unless OTEL_SERVICE_NAME sets another.

    Raises:
        TracingError: The packages of the [tracing] extra are missing, or a protocol other than gRPC is set.
    """
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "grpc"):
        raise TracingError(f"spans are sent by OTLP over gRPC (port 4317), not by {protocol}")
    try:
        from opentelemetry import trace  # noqa: PLC0415 - only if tracing is on
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - same
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - same
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - same
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - same
    except ImportError as error:
        from sandbox_proto.extras import install_command  # noqa: PLC0415 - agents need it only here

        raise TracingError(f"OpenTelemetry is not installed. Run: {install_command('tracing')}") from error
    # It would log each attempt to reach a collector that is down.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    attributes = {"host.name": socket.gethostname()}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def start_where_configured(service: str) -> None:
    """Switch tracing on if OpenTelemetry's variables name a collector. For commands; never raises."""
    targets = (os.environ.get(name) for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"))
    if not any(targets) or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return
    # The variables may be meant for other programs: without our extra, or with another protocol, there are no spans.
    with contextlib.suppress(TracingError):
        start(service)


def stop(seconds: float = FLUSH_TIMEOUT) -> None:
    """Send the remaining spans, blocking for at most `seconds`. Does nothing if tracing is off."""
    if not is_on():
        return
    # The provider's own limit is half a minute.
    ending = threading.Thread(target=_known[0].shutdown, name="last-spans", daemon=True)
    ending.start()
    ending.join(seconds)


_known: tuple[Any, Any] = (None, None)
"""The last known provider and our tracer from it."""


def _api() -> Any:
    """Return the module `opentelemetry.trace`, or None if the process has not imported it."""
    return sys.modules.get("opentelemetry.trace")


def _tracer() -> Any:
    global _known  # noqa: PLW0603 - a cache; two threads may fill it with the same values
    api = _api()
    if api is None:
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, api.ProxyTracerProvider):
        return None
    known = _known
    if known[0] is not provider:
        known = _known = (provider, provider.get_tracer(_SCOPE))
    return known[1]


def _has_current() -> bool:
    return bool(_api().get_current_span().get_span_context().is_valid)


def _context_of(parent: Span) -> Any:
    """Return a context whose current span is `parent`, or None (the task's own context) if that is no span."""
    return _api().set_span_in_context(parent.inner) if isinstance(parent, _OpenSpan) else None


def _rpc(method: str) -> dict[str, str]:
    service, _, name = method[1:].partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _read_context(metadata: Iterable[tuple[str, str | bytes]]) -> Any:
    """Return the caller's context from untrusted metadata, or an empty context, which starts a new trace."""
    from opentelemetry.context import Context  # noqa: PLC0415 - late
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - late

    carrier: dict[str, str] = {}
    for key, value in metadata:
        if key not in _CARRIED:
            continue
        if key in carrier or not isinstance(value, str) or len(value) > _CARRIED[key]:
            return Context()
        carrier[key] = value
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _name_of(error: BaseException) -> str:
    code = getattr(error, "code", None)
    reason = getattr(error, "reason", None)
    if isinstance(code, str):
        return code
    is_short = isinstance(reason, str) and reason.isascii() and len(reason) <= _MAX_REASON
    return reason if is_short else type(error).__name__
