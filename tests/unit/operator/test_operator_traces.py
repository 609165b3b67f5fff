"""Spans of what the operator does for a session; and how tracing reaches its agents."""

import pytest

from sandbox_operator.api.models import Template, parse
from sandbox_operator.api.session_spec import Egress
from sandbox_operator.errors import SettingsError
from sandbox_operator.kube.resources import SESSIONS
from sandbox_operator.manifests.network_policy import build_network_policy
from sandbox_operator.settings import Settings, load_settings
from tests.support.recording import recorded

COLLECTOR = {
    "SANDBOX_OPERATOR_TRACING_ENDPOINT": "http://10.7.7.7:4317",
    "SANDBOX_OPERATOR_TRACING_CIDRS": "10.7.7.7/32",
    "SANDBOX_OPERATOR_TRACING_RATIO": "0.1",
}


def way_up(spans, span):
    by_id = {other.context.span_id: other for other in spans}
    names = []
    while span is not None:
        names.append(span.name)
        span = by_id[span.parent.span_id] if span.parent else None
    return names


async def test_a_start_is_a_trace_of_what_was_done_for_it_and_a_look_without_work_is_none(world):
    with recorded() as exporter:
        await world.start()
        spans = exporter.get_finished_spans()
        exporter.clear()
        world.operator._enqueue((SESSIONS.plural, "team", "one"))
        await world.operator.settle()
        assert not exporter.get_finished_spans()
    ways = {span.name: way_up(spans, span) for span in spans}
    for action in ("CreatePod", "EnsureAccessSecret", "BindAgent"):
        assert ways[action] == [action, "sandbox.reconcile"]
    assert {span.attributes["sandbox.session"] for span in spans if span.name == "sandbox.reconcile"} == {"team/one"}


def egress_of(settings):
    metadata = {"name": "default", "namespace": "team", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    template = parse(Template, {"metadata": metadata, "spec": {"image": "sandbox:1"}})
    return build_network_policy(template, Egress.NONE, settings)["spec"]["egress"]


def test_an_agent_traces_where_its_operator_does_and_reaches_the_collector_and_no_more():
    settings = load_settings(COLLECTOR)
    assert dict(settings.images.environment) == {
        "SANDBOX_TRACING": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://10.7.7.7:4317",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    }
    assert egress_of(settings) == [
        {"to": [{"ipBlock": {"cidr": "10.7.7.7/32"}}], "ports": [{"protocol": "TCP", "port": 4317}]}
    ]
    assert egress_of(Settings()) == []
    assert Settings().images.environment == ()


def test_addresses_without_an_endpoint_open_nothing():
    assert egress_of(Settings(tracing_cidrs=("10.7.7.7/32",))) == []


@pytest.mark.parametrize(
    ("name", "value"), [("ENDPOINT", "collector:4317"), ("CIDRS", "here"), ("PORT", "0"), ("RATIO", "2")]
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(SettingsError, match=f"TRACING_{name}"):
        load_settings({f"SANDBOX_OPERATOR_TRACING_{name}": value})
