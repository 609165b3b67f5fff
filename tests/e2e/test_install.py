"""From `helm install` to a chart in the bucket, as a newcomer would do it; refusals; how long a cold start takes."""

import hashlib
import json
import time

import pytest

from sandbox_client import Sandbox
from tests.e2e.support.kubectl import Kubectl, RefusedError, poll
from tests.e2e.support.platform import REPOSITORY, Platform
from tests.e2e.support.sessions import Sessions, build

CHART_CODE = """
import matplotlib.pyplot as plt
plt.plot([1, 4, 9])
plt.savefig("chart.png")
import hashlib
print(hashlib.sha256(open("chart.png", "rb").read()).hexdigest())
"""


def test_the_example_session_runs_three_languages_and_keeps_its_chart(
    platform: Platform, kubectl: Kubectl, sessions: Sessions
):
    sessions.names.append("hello")
    kubectl("apply", "-f", str(REPOSITORY / "examples/session.yaml"))
    kubectl("wait", "--for=condition=Ready", "sandboxsession/hello", "--timeout=120s")
    with sessions.connect("hello") as sandbox:
        assert_languages_keep_variables(sandbox)
        assert sandbox.run("pip --version | head -1").stdout.startswith("pip ")
        drawn = sandbox.run_code(CHART_CODE)
        assert drawn.ok, drawn
        report = sandbox.workspace.push()
    assert (report.failed, report.files_saved) == ((), 1)
    key = platform.storage.key(kubectl.namespace, "hello", "chart.png")
    stored = platform.storage.client().get_object(Bucket=platform.storage.bucket, Key=key)["Body"].read()
    assert stored.startswith(b"\x89PNG")
    assert hashlib.sha256(stored).hexdigest() == drawn.stdout.strip()


def assert_languages_keep_variables(sandbox: Sandbox) -> None:
    """Each language remembers what an earlier call said."""
    for language, first, second in (
        ("python", "kept = 6", "print(kept * 7)"),
        ("javascript", "const kept = 6", "console.log(kept * 7)"),
        ("typescript", "const typed: number = 6", "console.log((typed as number) * 7)"),
    ):
        began = sandbox.run_code(first, language=language)
        assert began.ok, (language, began)
        assert sandbox.run_code(second, language=language).stdout == "42\n", language


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"lifecycle": {"idleTimeout": "-5m"}}, "spec.lifecycle.idleTimeout"),
        ({"lifecycle": {"maxLifetime": "10000h"}}, "spec.lifecycle.maxLifetime"),
        ({"egress": "Everything"}, "spec.egress"),
        ({"workspace": {"name": "../other"}}, "spec.workspace.name"),
    ],
)
def test_the_api_server_refuses_a_bad_value_by_its_field(kubectl: Kubectl, sessions: Sessions, spec, field):
    with pytest.raises(RefusedError) as refusal:
        kubectl.apply(build("bad-value", **spec))
    assert field in str(refusal.value)


def test_an_immutable_field_cannot_be_changed(kubectl: Kubectl, sessions: Sessions):
    name = sessions.create(workspace={"name": "first"}, suspended=True)
    with pytest.raises(RefusedError) as refusal:
        kubectl.patch("sandboxsession", name, {"spec": {"workspace": {"name": "second"}}})
    assert "immutable" in str(refusal.value)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"templateRef": {"name": "no-such-template"}}, "no-such-template"),
        ({"egress": "Public"}, "spec.egress"),
        ({"resources": {"limits": {"memory": "64Gi"}}}, "spec.resources.limits.memory"),
        ({"env": [{"name": "SANDBOX_X", "value": "1"}]}, "SANDBOX_"),
    ],
)
def test_a_session_that_asks_too_much_is_told_so_and_others_go_on(sessions: Sessions, spec, expected):
    name = sessions.create(**spec)
    good = sessions.create()
    condition = poll(
        "a condition names what is wrong",
        lambda: (
            (found := sessions.condition(name, "Ready")).get("status") == "False" and expected in str(found) and found
        ),
        timeout=30,
    )
    assert condition["reason"] not in {"", "Unknown"}
    assert not sessions.pod(name)
    sessions.wait_phase(good, "Ready")


def test_a_cold_start_costs_little_more_than_a_bare_pod(
    kubectl: Kubectl, sessions: Sessions, image: str, record_property
):
    bare, cold = [], []
    for number in range(3):
        began = time.monotonic()
        kubectl.apply(bare_pod(f"bare-{number}", image))
        kubectl("wait", "--for=condition=Ready", f"pod/bare-{number}", "--timeout=60s")
        bare.append(time.monotonic() - began)
        kubectl.delete("pod", f"bare-{number}", "--grace-period=0", "--force")
        began = time.monotonic()
        with Sandbox.create(namespace=kubectl.namespace, kubeconfig=kubectl.kubeconfig) as sandbox:
            sessions.names.append(sandbox.name)
            assert sandbox.run_code("print(1)").stdout == "1\n"
            cold.append(time.monotonic() - began)
        sessions.delete(sandbox.name)
    figures = {"bare_pod_seconds": min(bare), "cold_start_seconds": min(cold), "ratio": min(cold) / min(bare)}
    print("\ncold start:", json.dumps({key: round(value, 2) for key, value in figures.items()}))  # noqa: T201 - a measurement, for people
    for key, value in figures.items():
        record_property(key, value)
    assert figures["ratio"] < 15


def bare_pod(name: str, image: str) -> dict:
    """A pod of the sandbox image that does nothing, under the same security rules."""
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 10002,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "main", "image": image, "command": ["sleep", "3600"], "securityContext": restricted}
    spec = {"containers": [container], "automountServiceAccountToken": False, "enableServiceLinks": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
