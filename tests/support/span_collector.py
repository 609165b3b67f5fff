"""A collector of spans, as OTLP over gRPC has it: keeps all that it is sent."""

import contextlib
from collections.abc import Iterator
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Spans = list[tuple[str, Span]]
"""Each with the name of its service."""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps each span it is sent.

    Attributes:
        spans: All of them.
        raw: The bytes of all requests.
        port: Where it listens.
    """

    def __init__(self):
        self.spans: Spans = []
        self.raw, self.port = b"", 0

    def Export(self, request, context):  # noqa: N802 - gRPC's name
        self.raw += request.SerializeToString()
        for of_resource in request.resource_spans:
            service = next(a.value.string_value for a in of_resource.resource.attributes if a.key == "service.name")
            for of_scope in of_resource.scope_spans:
                self.spans += [(service, span) for span in of_scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@contextlib.contextmanager
def collecting(address: str = "127.0.0.1:0") -> Iterator[Collector]:
    """One that listens; port 0: any."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    collector = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port(address)
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def way_up(spans: Spans, span: Span | None) -> list[str]:
    """Names of a span and of all above it; a KeyError where one of them was not sent."""
    by_id = {other.span_id: (service, other) for service, other in spans}
    names = []
    while span is not None:
        service, _ = by_id[span.span_id]
        names.append(f"{service}: {span.name}")
        span = by_id[span.parent_span_id][1] if span.parent_span_id else None
    return names


def find(spans: Spans, name: str, within: str = "") -> Span:
    """The first of that name that has something of the other name above it."""
    return next(
        span for _, span in spans if span.name == name and any(within in above for above in way_up(spans, span))
    )
