"""What the operator measures and traces of its calls of an API server, over HTTP."""

import pytest

from sandbox_operator.errors import UnavailableError
from sandbox_operator.kube.client import KubeClient
from sandbox_operator.kube.connection import Connection
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.metrics import Metrics
from sandbox_proto import tracing
from sandbox_testing.api_server import FakeKube
from tests.support.api_server import ApiServer
from tests.support.recording import recorded
from tests.unit.operator.conftest import NAMESPACE


async def test_each_call_is_counted_and_timed_by_verb_and_resource_also_one_that_nobody_answers():
    metrics, server = Metrics(), ApiServer(FakeKube())
    await server.start()
    server.kube.put(SECRETS, NAMESPACE, {"metadata": {"name": "there"}, "data": {}})
    async with KubeClient(Connection(server.url, tls=True), WriteHook(), on_call=metrics.record_call) as api:
        await api.get(SECRETS, NAMESPACE, "there")
        await server.stop()
        with pytest.raises(UnavailableError):
            await api.create(SECRETS, NAMESPACE, {"metadata": {"name": "new"}, "data": {}})

    def told(name, **labels):
        return metrics.registry.get_sample_value(f"sandbox_operator_{name}", {"resource": "secrets", **labels})

    assert told("api_calls_total", verb="GET", code="200") == 1
    assert told("api_calls_total", verb="POST", code="0") == 1
    assert [told("api_seconds_count", verb=verb) for verb in ("GET", "POST")] == [1, 1]
    assert 0 < told("api_seconds_sum", verb="GET") < 10


async def test_a_call_that_is_part_of_something_is_a_span_of_it_and_any_other_is_none():
    server = ApiServer(FakeKube())
    await server.start()
    with recorded() as exporter:
        async with KubeClient(Connection(server.url, tls=True), WriteHook()) as api:
            await api.create(SECRETS, NAMESPACE, {"metadata": {"name": "private"}, "data": {}})
            with tracing.span("sandbox.reconcile"):
                await api.get(SECRETS, NAMESPACE, "private")
        spans = {span.name: span for span in exporter.get_finished_spans()}
    await server.stop()
    assert spans.keys() == {"sandbox.reconcile", "GET secrets"}
    assert spans["GET secrets"].parent.span_id == spans["sandbox.reconcile"].context.span_id
    assert "private" not in str([span.attributes for span in spans.values()])
