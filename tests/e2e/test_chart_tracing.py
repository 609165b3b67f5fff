"""The chart's values for spans, as helm renders them."""

import pytest
import yaml

from tests.e2e.support.kubectl import RefusedError, run
from tests.e2e.support.platform import CHART, Platform

ON = "tracing.enabled=true,tracing.endpoint=http://collector.o11y:4317,tracing.cidrs={10.7.7.7/32},tracing.ratio=0.1"
NAME = "x-sandbox-operator"


@pytest.fixture(scope="module")
def render(platform: Platform):
    """Environment and egress of the operator with these values; the platform has put helm where it is found."""
    del platform

    def with_values(values: str) -> tuple[dict[str, str], list[dict]]:
        text = run("helm", "template", "x", str(CHART), "--set", f"images.registry=localhost,{values}".rstrip(","))
        objects = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text) if each}
        (container,) = objects["Deployment", NAME]["spec"]["template"]["spec"]["containers"]
        environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        told = {name: value for name, value in environment.items() if "TRACING" in name}
        return told, objects["NetworkPolicy", NAME]["spec"]["egress"]

    return with_values


def test_the_operator_is_told_of_the_collector_and_may_reach_it_where_that_is_asked_for_only(render):
    (off, closed), (told, egress) = render(""), render(ON)
    assert off == {}
    assert told == {
        "SANDBOX_OPERATOR_TRACING_ENDPOINT": "http://collector.o11y:4317",
        "SANDBOX_OPERATOR_TRACING_CIDRS": "10.7.7.7/32",
        "SANDBOX_OPERATOR_TRACING_PORT": "4317",
        "SANDBOX_OPERATOR_TRACING_RATIO": "0.1",
    }
    assert [rule for rule in egress if rule not in closed] == [
        {"ports": [{"port": 4317}], "to": [{"ipBlock": {"cidr": "10.7.7.7/32"}}]}
    ]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ("tracing.enabled=true,tracing.cidrs={10.7.7.7/32}", "endpoint"),
        ("tracing.enabled=true,tracing.endpoint=http://c:4317", "cidrs"),
        ("tracing.ratio=2", "ratio"),
    ],
)
def test_a_value_that_is_wrong_or_missing_is_refused_by_its_name(render, values, name):
    with pytest.raises(RefusedError, match=name):
        render(values)
