"""The operator's own Deployment, as helm renders it: placement, labels, volumes, and images by digest."""

import json

import pytest
import yaml

from tests.e2e.support.kubectl import RefusedError, run
from tests.e2e.support.platform import CHART, Platform

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def render(platform: Platform):
    """The Deployment with these values; the platform has put helm where it is found."""
    del platform

    def with_values(**values) -> dict:
        parts = [part for key, value in values.items() for part in ("--set-json", f"{key}={json.dumps(value)}")]
        text = run(
            "helm",
            "template",
            "x",
            str(CHART),
            "--set",
            "images.registry=r",
            "--show-only",
            "templates/deployment.yaml",
            *parts,
        )
        return yaml.safe_load(text)["spec"]["template"]

    return with_values


def test_the_operators_pods_are_placed_and_labelled_as_the_values_say(render):
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
    spread = [{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    plain = render()
    pod = render(affinity=affinity, priorityClassName="high", topologySpreadConstraints=spread, podLabels={"team": "x"})
    own = {"app.kubernetes.io/name": "sandbox-operator", "app.kubernetes.io/instance": "x"}
    selector = {"labelSelector": {"matchLabels": own}}
    assert pod["spec"] == {
        **plain["spec"],
        "affinity": affinity,
        "priorityClassName": "high",
        "topologySpreadConstraints": [{**spread[0], **selector}],
    }
    assert pod["metadata"]["labels"] == {**plain["metadata"]["labels"], "team": "x"}
    default = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    assert plain["spec"]["topologySpreadConstraints"] == [{**default, **selector}]


def test_further_volumes_are_mounted_read_only_unless_they_say_otherwise(render):
    volume = {"name": "ca", "configMap": {"name": "ca"}}
    mounts = [{"name": "ca", "mountPath": "/etc/ca"}, {"name": "ca", "mountPath": "/rw", "readOnly": False}]
    spec = render(extraVolumes=[volume], extraVolumeMounts=mounts)["spec"]
    assert volume in spec["volumes"]
    assert spec["containers"][0]["volumeMounts"][-2:] == [{**mounts[0], "readOnly": True}, mounts[1]]


def test_an_image_with_a_digest_is_named_by_it(render):
    values = {name: {"repository": f"r/{name}", "digest": DIGEST} for name in ("operator", "agent", "sandbox")}
    (container,) = render(images=values)["spec"]["containers"]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert container["image"] == f"r/operator@{DIGEST}"
    assert env["SANDBOX_OPERATOR_AGENT_IMAGE"] == f"r/agent@{DIGEST}"
    assert env["SANDBOX_OPERATOR_SANDBOX_IMAGE"] == f"r/sandbox@{DIGEST}"


def test_the_operator_gets_the_settings_for_sessions_and_templates(render):
    (container,) = render(**{"sessions.unnamedTtlSeconds": 60, "templateMetadata": ["a.b/*", "c"]})["spec"][
        "containers"
    ]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert env["SANDBOX_OPERATOR_UNNAMED_TTL"] == "60"
    assert env["SANDBOX_OPERATOR_TEMPLATE_METADATA"] == "a.b/*,c"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, "podLabels"),
        ({"podLabels": {"sandboxsessions.dev/client": "true"}}, "podLabels"),
        ({"extraVolumes": [{"name": "root", "hostPath": {"path": "/"}}]}, "extraVolumes/0/hostPath"),
        ({"extraVolumes": [{"name": "storage", "emptyDir": {}}]}, "extraVolumes/0/name"),
        ({"extraVolumeMounts": [{"name": "x", "mountPath": "/etc/sandbox-operator/storage"}]}, "extraVolumeMounts/0"),
        ({"images.agent.digest": "latest"}, "images/agent/digest"),
        ({"sessions.unnamedTtlSeconds": -1}, "sessions/unnamedTtlSeconds"),
        ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "topologySpreadConstraints/0"),
    ],
)
def test_a_value_that_would_weaken_the_operator_is_refused_by_its_name(render, values, name):
    with pytest.raises(RefusedError) as refusal:
        render(**values)
    assert name in str(refusal.value)
