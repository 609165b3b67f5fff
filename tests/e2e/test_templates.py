"""Devices, volumes, placement, labels and annotations of templates on a real node, and what the API server refuses."""

import contextlib
import json
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.support.kubectl import Kubectl, RefusedError, poll
from tests.e2e.support.platform import STATE, Platform
from tests.e2e.support.sessions import Sessions, build_template

TEMPLATE = "equipped"
DEVICE = "example.com/gizmo"
MODELS = STATE / "run/e2e-models"
MOUNTS = [
    {"name": "models", "mountPath": "/models", "persistentVolumeClaim": {"claimName": "e2e-models"}},
    {"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "64Mi"}},
    {"name": "fast", "mountPath": "/mnt/fast", "emptyDir": {"sizeLimit": "16Mi", "medium": "Memory"}},
]
PARTS = {
    "resources": {"extended": {DEVICE: 1}},
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}]
            }
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "e2e-low",
    "podLabels": {"team": "blue"},
    "podAnnotations": {"karpenter.sh/do-not-disrupt": "true"},
    "mounts": MOUNTS,
}


@pytest.fixture(scope="module")
def node(own_node: Platform, kubectl: Kubectl) -> Iterator[Kubectl]:
    """A node with a device, a volume with a model on it, a claim of that volume, and a PriorityClass."""
    MODELS.mkdir(parents=True, exist_ok=True)
    (MODELS / "weights.bin").write_text("the model")
    (name,) = (each["metadata"]["name"] for each in kubectl.list("nodes"))
    capacity = {"status": {"capacity": {DEVICE: "2"}}}
    kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(capacity))
    storage = {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    claim = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": "e2e-models"}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "e2e-models"},
            "spec": {**storage, "hostPath": {"path": str(MODELS)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "e2e-models"},
            "spec": {**claim, "resources": {"requests": {"storage": "1Mi"}}},
        },
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "e2e-low"},
            "value": -10,
        },
    )
    try:
        poll("the claim is bound", lambda: kubectl.get("pvc", "e2e-models")["status"].get("phase") == "Bound")
        yield kubectl
    finally:
        kubectl.delete("sbtpl", TEMPLATE)
        kubectl.delete("priorityclass", "e2e-low")
        for kind in ("pvc", "pv"):
            kubectl.delete(kind, "e2e-models")
            poll(f"{kind} is gone", lambda kind=kind: not kubectl.get(kind, "e2e-models"), timeout=90)
        shutil.rmtree(MODELS)


def test_a_session_gets_what_its_template_adds(node: Kubectl, image: str, sessions: Sessions):
    node.apply(build_template(TEMPLATE, image, **PARTS))
    name = sessions.ready(templateRef={"name": TEMPLATE})
    pod = sessions.pod(name)
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert pod["spec"]["priority"] == -10
    agent, sandbox = pod["spec"]["containers"]
    assert sandbox["resources"]["limits"][DEVICE] == "1"
    assert {"/models", "/scratch", "/mnt/fast"}.isdisjoint(each["mountPath"] for each in agent["volumeMounts"])
    with sessions.connect(name) as sandbox:
        assert sandbox.run("cat /models/weights.bin").stdout == "the model"
        assert "Read-only file system" in sandbox.run("touch /models/x 2>&1").stdout
        assert (
            sandbox.run("echo a > /scratch/a && echo b > /mnt/fast/b && cat /scratch/a /mnt/fast/b").stdout == "a\nb\n"
        )
        assert sandbox.run("stat -f -c %T /mnt/fast").stdout == "tmpfs\n"
    assert (MODELS / "weights.bin").read_text() == "the model"


def test_a_pool_of_such_a_template_is_claimed(node: Kubectl, image: str, sessions: Sessions):
    pool = {
        "apiVersion": "sandboxsessions.dev/v1alpha1",
        "kind": "SandboxWarmPool",
        "metadata": {"name": TEMPLATE},
        "spec": {"templateRef": {"name": TEMPLATE}, "replicas": 1},
    }
    node.apply(build_template(TEMPLATE, image, **PARTS), pool)
    try:
        ready = {"type": "Ready", "status": "True"}.items()
        poll(
            "the pool is ready",
            lambda: any(
                ready <= each.items() for each in node.get("sbwp", TEMPLATE).get("status", {}).get("conditions", [])
            ),
        )
        name = sessions.ready(templateRef={"name": TEMPLATE})
        assert sessions.status(name)["startup"]["source"] == "Warm"
        assert sessions.run_soon(name, "print(open('/models/weights.bin').read())") == "the model\n"
    finally:
        node.delete("sbwp", TEMPLATE)


def mount(**change):
    return {"mounts": [{**MOUNTS[0], **change}]}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (mount(mountPath="/run/sandbox"), "spec.mounts[0].mountPath"),
        (mount(mountPath="/etc"), "spec.mounts[0].mountPath"),
        (mount(mountPath="/mnt/../etc"), "spec.mounts[0].mountPath"),
        (mount(mountPath="models"), "spec.mounts[0].mountPath"),
        (mount(emptyDir={"sizeLimit": "1Mi"}), "spec.mounts[0]"),
        ({"mounts": [{"name": "none", "mountPath": "/none"}]}, "spec.mounts[0]"),
        (mount(hostPath={"path": "/"}), "hostPath"),
        ({"mounts": [MOUNTS[0], {**MOUNTS[1], "name": "models"}]}, "spec.mounts[1]"),
        ({"resources": {"extended": {"cpu": 64}}}, "spec.resources.extended"),
        ({"resources": {"extended": {"x.kubernetes.io/y": 1}}}, "spec.resources.extended"),
        ({"resources": {"extended": {DEVICE: 0}}}, "spec.resources.extended"),
        ({"priorityClassName": "system-node-critical"}, "spec.priorityClassName"),
        ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "topologyKey"),
        ({"affinity": {"nodeAffinity": {"odd": True}}}, "odd"),
        ({"lifecycle": {"maxLifetime": "10000h"}}, "spec.lifecycle.maxLifetime"),
    ],
)
def test_the_api_server_refuses_a_part_that_is_not_allowed_by_its_field(kubectl: Kubectl, image: str, spec, field):
    with contextlib.suppress(RefusedError):
        kubectl.delete("sbtpl", "refused")
    with pytest.raises(RefusedError) as refusal:
        kubectl.apply(build_template("refused", image, **spec))
    assert field in str(refusal.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"podLabels": {"sandboxsessions.dev/client": "true"}}, "sandboxsessions.dev/client belongs to the operator"),
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, "selects the operator's own pods"),
        ({"podLabels": {"istio.io/rev": "x"}}, "TEMPLATE_METADATA does not allow it"),
        ({"podAnnotations": {"dev.gvisor.spec.rootfs": "x"}}, "could weaken the isolation"),
    ],
)
def test_a_session_of_a_template_with_a_forbidden_label_gets_no_pod_and_says_why(
    kubectl: Kubectl, image: str, sessions: Sessions, spec, message
):
    kubectl.apply(build_template("forbidden", image, **spec))
    try:
        name = sessions.create(templateRef={"name": "forbidden"})
        condition = poll(
            "the condition says why",
            lambda: (found := sessions.condition(name, "Ready")).get("reason") == "TemplateInvalid" and found,
            timeout=30,
        )
        assert message in condition["message"]
        assert not sessions.pod(name)
    finally:
        kubectl.delete("sbtpl", "forbidden")


def test_kubectl_explains_every_field_and_knows_the_short_names(kubectl: Kubectl):
    spoken = json.loads(kubectl("get", "--raw", "/openapi/v3/apis/sandboxsessions.dev/v1alpha1"))["components"][
        "schemas"
    ]
    kinds = [name for name in spoken if name.startswith("dev.sandboxsessions.v1alpha1.Sandbox")]
    assert len(kinds) == 6, "three kinds and their lists"

    def silent(schema, path):
        for name, field in schema.get("properties", {}).items():
            if not field.get("description"):
                yield f"{path}.{name}"
            yield from silent(field, f"{path}.{name}")
        for part in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(part, dict):
                yield from silent(part, path)

    # `metadata` refers to Kubernetes' own schema, which describes it.
    found = {path for kind in kinds for path in silent(spoken[kind], kind)}
    assert {path for path in found if not path.endswith((".metadata", ".items"))} == set()
    explained = kubectl("explain", "sandboxsession.spec.lifecycle.expiresAt")
    assert "It may be moved while the session runs" in " ".join(explained.split())
    assert kubectl("get", "sbses,sbtpl,sbwp", "-o", "name")
    with pytest.raises(RefusedError, match="the server doesn't have a resource type"):
        kubectl("get", "sandbox")
