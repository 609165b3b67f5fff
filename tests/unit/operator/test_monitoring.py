"""Alerts and dashboard of the chart: they ask for what the operator tells, and every alert says what to do."""

import json
import re
from pathlib import Path

import pytest
import yaml

from sandbox_operator.metrics import Metrics

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy/helm/sandbox-operator/monitoring"
RULES = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
PANELS = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
QUERIES = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.fixture(scope="module")
def told() -> set[str]:
    """Names that Prometheus will know."""
    kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    families = Metrics().registry.collect()
    return {f"{family.name}{kind}" for family in families for kind in kinds.get(family.type, ("",))}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_that_the_operator_tells(query, told):
    asked = set(re.findall(r"sandbox_operator_\w+", query))
    assert asked
    assert asked <= told


def test_every_metric_is_on_the_dashboard_but_those_of_the_machinery(told):
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    missing = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in told} - {
        re.sub(r"_(bucket|count|sum|total)$", "", name) for name in re.findall(r"sandbox_operator_\w+", shown)
    }
    assert missing == {"sandbox_operator_watch_events"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_words_for_people_and_a_place_in_the_documents(rule):
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert f"| `{rule['alert']}`" in (ROOT / "docs/operations/monitoring.md").read_text()


def test_panels_do_not_lie_over_one_another():
    places = [panel["gridPos"] for panel in PANELS]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_slowest_end_is_told_by_the_session_that_takes_longest_not_by_there_always_being_one():
    metrics = Metrics()
    told = lambda name, **labels: metrics.registry.get_sample_value(f"sandbox_operator_{name}", labels)  # noqa: E731
    for minute in range(10):
        metrics.show_sessions({f"a{minute}": "Terminating", "b": "Ready"}, 60.0 * minute)
        assert told("ending_seconds") == 0
    metrics.show_sessions({"a9": "Suspending", "new": "Terminating", "b": "Unheard"}, 600.0)
    assert told("ending_seconds") == 60
    assert [told("sessions", phase=phase) for phase in ("Ready", "Suspending", "Terminating", "Unheard")] == [
        0,
        1,
        1,
        1,
    ]
    metrics.show_sessions({}, 700.0)
    assert told("ending_seconds") == 0


def test_what_an_alert_sees_as_an_increase_begins_at_0():
    registry = Metrics().registry
    for name, label, values in (
        ("start_seconds_count", "source", ("Warm", "Cold")),
        ("assume_role_seconds_count", "result", ("ok", "error")),
    ):
        assert [registry.get_sample_value(f"sandbox_operator_{name}", {label: value}) for value in values] == [0, 0]
