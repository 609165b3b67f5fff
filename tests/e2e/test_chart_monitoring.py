"""The chart's ServiceMonitor, alerts and dashboard, as helm renders them."""

import json

import pytest
import yaml

from tests.e2e.support.kubectl import RefusedError, run
from tests.e2e.support.platform import CHART, Platform

CREATE = "monitoring.serviceMonitor.create=true,monitoring.alerts.create=true,monitoring.dashboard.create=true"


@pytest.fixture(scope="module")
def render(platform: Platform):
    """The chart's objects by kind and name, with these values set; the platform has put helm where it is found."""
    del platform

    def with_values(values: str) -> dict[tuple[str, str], dict]:
        text = run("helm", "template", "x", str(CHART), "--set", f"images.registry=localhost,{values}".rstrip(","))
        return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text) if each}

    return with_values


def test_monitoring_is_there_where_it_is_asked_for_only(render):
    asked = render(CREATE).keys() - render("").keys()
    assert asked == {
        ("ServiceMonitor", "x-sandbox-operator"),
        ("PrometheusRule", "x-sandbox-operator"),
        ("ConfigMap", "x-sandbox-operator-dashboard"),
    }


def test_rules_and_dashboard_arrive_as_they_are_written(render):
    objects = render(CREATE)
    rules = objects["PrometheusRule", "x-sandbox-operator"]["spec"]
    assert rules == yaml.safe_load((CHART / "monitoring/alerts.yaml").read_text())
    (shown,) = objects["ConfigMap", "x-sandbox-operator-dashboard"]["data"].values()
    assert json.loads(shown) == json.loads((CHART / "monitoring/dashboard.json").read_text())


def test_the_service_monitor_finds_the_metrics_of_the_operator_alone(render):
    objects = render(CREATE)
    monitor = objects["ServiceMonitor", "x-sandbox-operator"]["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    found = [
        each
        for (kind, _), each in objects.items()
        if kind == "Service" and wanted <= each["metadata"]["labels"].items()
    ]
    assert [each["metadata"]["name"] for each in found] == ["x-sandbox-operator-metrics"]
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} == {
        port["name"] for port in found[0]["spec"]["ports"]
    }
    # A warm pool's namespace is a label of the metric's own.
    assert [endpoint["honorLabels"] for endpoint in monitor["endpoints"]] == [True]


def test_a_wrong_value_is_refused_by_its_name(render):
    with pytest.raises(RefusedError, match="interval"):
        render("monitoring.serviceMonitor.interval=often")
