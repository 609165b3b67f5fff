"""What the operator measures of its calls of an API server, over HTTP."""

import pytest

from sandbox_operator.errors import UnavailableError
from sandbox_operator.faults import FaultHook
from sandbox_operator.kube.client import KubeClient
from sandbox_operator.kube.connection import Connection
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.metrics import Metrics
from sandbox_operator.testing import FakeKube
from tests.support.api_server import ApiServer
from tests.unit.operator.conftest import NAMESPACE


async def test_each_call_is_counted_and_timed_by_verb_and_resource_also_one_that_nobody_answers():
    metrics, server = Metrics(), ApiServer(FakeKube())
    await server.start()
    server.kube.put(SECRETS, NAMESPACE, {"metadata": {"name": "there"}, "data": {}})
    async with KubeClient(Connection(server.url, tls=True), FaultHook(), on_call=metrics.count_call) as api:
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
