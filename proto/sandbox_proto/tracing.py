"""Spans, and the W3C trace context that travels with a call: the same for client, agent and operator.

Off, which is the default, costs a look into a dictionary, and OpenTelemetry is never imported. It is on where the
process has a tracer provider: the application's own, or the one that `start` makes. A span tells names, numbers and
outcomes; no caller may put code, output, paths of files or tokens into one, and no message of an error gets in.
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
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    Attributes = Mapping[str, str | int | float | bool]

FLUSH_SECONDS: Final = 2.0
"""What the last spans may take at the end of a process: a collector that is down holds up nobody."""
_SCOPE: Final = "sandbox.v1"
_CARRIED: Final = {"traceparent": 55, "tracestate": 512}
"""Metadata of a trace context, and how long it may be; what is longer is taken for none."""


class TracingError(RuntimeError):
    """Tracing cannot be switched on; the message says what to change."""


class Span:
    """A span under way, or (this class itself) none at all.

    Attributes:
        metadata: What to send with a call that is part of it.
    """

    metadata: tuple[tuple[str, str], ...] = ()

    def set(self, name: str, value: str | float) -> None:
        """Add an attribute."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


NO_SPAN: Final = Span()


class _OpenSpan(Span):
    """One that is recorded.

    Args:
        inner: OpenTelemetry's.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def set(self, name: str, value: str | float) -> None:
        self.inner.set_attribute(name, value)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:  # type: ignore[override]  # made when it is asked for
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - late

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, _context_of(self))
        return tuple(carrier.items())

    def fail(self, error: BaseException) -> None:
        """Note an outcome, by its name alone: a message may tell of a file."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - late

        self.inner.set_attribute("error.type", _name_of(error))
        self.inner.set_status(Status(StatusCode.ERROR))


def is_on() -> bool:
    """Whether this process has a tracer provider."""
    return _tracer() is not None


def is_within() -> bool:
    """Whether a span is current in this task."""
    return is_on() and _has_current()


def span(name: str, attributes: Attributes | None = None, *, only_within: bool = False) -> AbstractContextManager[Span]:
    """A step of what is under way in this task: its parent is the current span, and it is current itself meanwhile.

    Args:
        name: Of the span.
        attributes: Of the span.
        only_within: None at all where no span is current.
    """
    tracer = _tracer()
    if tracer is None or (only_within and not _has_current()):
        return NO_SPAN
    return _current(tracer, name, "INTERNAL", attributes, None)


def serving(
    method: str, metadata: Iterable[tuple[str, str | bytes]], attributes: Attributes | None = None
) -> AbstractContextManager[Span]:
    """The server's side of a call, a part of the caller's trace where the metadata names one.

    Args:
        method: As gRPC has it, `/package.Service/Method`.
        metadata: As it was received; a trace context that is malformed, given twice or too long is none.
        attributes: More of them.
    """
    tracer = _tracer()
    if tracer is None:
        return NO_SPAN
    return _current(tracer, method[1:], "SERVER", {**_rpc(method), **(attributes or {})}, _read_context(metadata))


def operation(name: str) -> AbstractContextManager[Span]:
    """What takes several calls. It never is the current span, so that a generator may hold it while its caller runs."""
    tracer = _tracer()
    return NO_SPAN if tracer is None else _detached(tracer, name, "INTERNAL", None, NO_SPAN)


def calling(method: Any, under: Span = NO_SPAN, *, only_within: bool = False) -> AbstractContextManager[Span]:
    """The client's side of a call; send its `metadata`. It never is the current span, as `operation`.

    Args:
        method: A method of a stub.
        under: Its parent; the current span by default.
        only_within: None at all where no span is current.
    """
    tracer = _tracer()
    if tracer is None or (only_within and not _has_current()):
        return NO_SPAN
    path = getattr(method, "_method", b"/?/?")
    path = path.decode() if isinstance(path, bytes) else str(path)
    return _detached(tracer, path[1:], "CLIENT", _rpc(path), under)


def begin(name: str, under: Span = NO_SPAN) -> Span:
    """A span that `end` ends; never the current one, and below the current one unless `under` is its parent."""
    tracer = _tracer()
    return NO_SPAN if tracer is None else _OpenSpan(tracer.start_span(name, _context_of(under)))


def end(opened: Span, error: BaseException | None = None) -> None:
    """End what `begin` began; nothing where it has ended."""
    if isinstance(opened, _OpenSpan) and opened.inner.is_recording():
        if error is not None:
            opened.fail(error)
        opened.inner.end()


def start(service: str) -> None:
    """Make this process trace, as OpenTelemetry's environment variables say: endpoint, sampler, resource attributes.

    Args:
        service: The service's name, unless OTEL_SERVICE_NAME has another.

    Raises:
        TracingError: The packages of the [tracing] extra are missing, or another protocol than gRPC is asked for.
    """
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "grpc"):
        raise TracingError(f"spans are sent by OTLP over gRPC (port 4317), not by {protocol}")
    try:
        from opentelemetry import trace  # noqa: PLC0415 - only where it is on
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - same
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - same
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - same
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - same
    except ImportError as error:
        raise TracingError("tracing needs OpenTelemetry: pip install 'sandbox-operator[tracing]'") from error
    # It would tell of each attempt to reach a collector that is down.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    own = {"host.name": socket.gethostname()}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        own["service.name"] = service
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def start_where_configured(service: str) -> None:
    """As `start`, where OpenTelemetry's variables name a collector, for a program that is run; nothing elsewhere."""
    targets = (os.environ.get(name) for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"))
    if not any(targets) or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return
    # The variables may be there for other programs: without our extra, or with another protocol, there are no spans.
    with contextlib.suppress(TracingError):
        start(service)


def stop(seconds: float = FLUSH_SECONDS) -> None:
    """Send what is left, for so long at most. Blocks; does nothing where tracing is off."""
    tracer = _tracer()
    if tracer is None:
        return
    # The provider's own limit is half a minute.
    ending = threading.Thread(target=_known[0].shutdown, name="last-spans", daemon=True)
    ending.start()
    ending.join(seconds)


_known: tuple[Any, Any] = (None, None)
"""The provider seen last, and our tracer of it."""


def _tracer() -> Any:
    global _known  # noqa: PLW0603 - a cache; two threads may fill it with the same
    api: Any = sys.modules.get("opentelemetry.trace")
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
    from opentelemetry import trace  # noqa: PLC0415 - late

    return trace.get_current_span().get_span_context().is_valid


def _context_of(parent: Span) -> Any:
    from opentelemetry import trace  # noqa: PLC0415 - late

    return trace.set_span_in_context(parent.inner) if isinstance(parent, _OpenSpan) else None


@contextlib.contextmanager
def _current(tracer: Any, name: str, kind: str, attributes: Attributes | None, context: Any) -> Iterator[Span]:
    from opentelemetry.trace import use_span  # noqa: PLC0415 - late

    inner = tracer.start_span(name, context, _kind(kind), attributes)
    opened = _OpenSpan(inner)
    with use_span(inner, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield opened
        except BaseException as error:
            opened.fail(error)
            raise


@contextlib.contextmanager
def _detached(tracer: Any, name: str, kind: str, attributes: Attributes | None, parent: Span) -> Iterator[Span]:
    inner = tracer.start_span(name, _context_of(parent), _kind(kind), attributes)
    opened = _OpenSpan(inner)
    try:
        yield opened
    except GeneratorExit:
        # Whoever iterated has enough: no failure.
        raise
    except BaseException as error:
        opened.fail(error)
        raise
    finally:
        inner.end()


def _kind(name: str) -> Any:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - late

    return SpanKind[name]


def _rpc(method: str) -> dict[str, str]:
    service, _, name = method[1:].partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _read_context(metadata: Iterable[tuple[str, str | bytes]]) -> Any:
    """The caller's context, of hostile metadata; an empty one, so that a new trace begins, where there is none."""
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
    return reason if isinstance(reason, str) and reason.isascii() and len(reason) <= 64 else type(error).__name__  # noqa: PLR2004
