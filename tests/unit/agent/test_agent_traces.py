"""Whose trace a call becomes a part of: the caller's, if he may call and what he sent is a trace context."""

import grpc
import pytest

from sandbox_proto import tracing
from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc
from tests.support.recording import recorded

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"
METHOD = "sandbox.v1.InterpreterService/ListContexts"


@pytest.fixture
def spans(runtime, scripted):
    runtime.handlers["context.list"] = scripted.answer({"contexts": []})
    # Asked for before the agent: it looks when it starts whether it is to trace.
    with recorded() as exporter:
        yield exporter


async def list_contexts(channel, *metadata):
    stub = interpreter_pb2_grpc.InterpreterServiceStub(channel)
    return await stub.ListContexts(interpreter_pb2.ListContextsRequest(), metadata=metadata)


def find(spans):
    return [span for span in spans.get_finished_spans() if span.name == METHOD]


async def test_a_call_is_a_part_of_its_callers_trace_and_what_the_runtime_does_of_the_call(spans, client):
    await list_contexts(client, ("traceparent", GOOD))
    (span,) = find(spans)
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "sandbox.v1.InterpreterService",
        "rpc.method": "ListContexts",
        "rpc.grpc.status_code": 0,
    }
    (asked,) = [other for other in spans.get_finished_spans() if other.name == "runtime context.list"]
    assert asked.parent.span_id == span.context.span_id


@pytest.mark.parametrize(
    "metadata",
    [
        [("traceparent", "")],
        [("traceparent", "rubbish")],
        [("traceparent", "0" * 55)],
        [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
        [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
        [("traceparent", GOOD + "-" + "x" * 3000)],
        [("traceparent", GOOD), ("tracestate", "a=" + "b" * 3000)],
    ],
    ids=["empty", "rubbish", "zeros", "version", "no trace", "long", "long state"],
)
async def test_a_trace_context_that_is_none_begins_a_trace_of_its_own_and_harms_no_call(spans, client, metadata):
    await list_contexts(client, *metadata)
    (span,) = find(spans)
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE


def test_two_trace_contexts_are_none():
    # gRPC for C passes on the last one alone; another transport need not.
    with recorded() as spans, tracing.serving("/a.B/C", [("traceparent", GOOD), ("traceparent", GOOD)]):
        pass
    (span,) = spans.get_finished_spans()
    assert span.parent is None


async def test_a_trace_that_its_caller_does_not_record_is_not_recorded_here(spans, client):
    await list_contexts(client, ("traceparent", f"00-{TRACE}-{PARENT}-00"))
    assert not find(spans)


async def test_whoever_may_not_call_makes_no_span(spans, client, connect):
    async with connect("wrong") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await list_contexts(channel, ("traceparent", GOOD))
    assert not find(spans)


async def test_an_error_is_told_by_its_code_and_not_by_its_words(spans, client):
    stub = interpreter_pb2_grpc.InterpreterServiceStub(client)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Execute(interpreter_pb2.ExecuteRequest(language=1), metadata=(("traceparent", GOOD),)).read()
    (span,) = [span for span in spans.get_finished_spans() if span.name.endswith("/Execute")]
    assert span.attributes["rpc.grpc.status_code"] == caught.value.code().value[0] == 3
    assert not span.events
    assert caught.value.details() not in span.to_json()
