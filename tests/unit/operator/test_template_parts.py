"""Parts that a template may add to its pods. None may weaken a pod's isolation."""

import copy

import pytest

from sandbox_operator.api import pod_rules
from sandbox_operator.api.models import Pool, Session, Template, parse
from sandbox_operator.api.session_spec import Egress, Resources
from sandbox_operator.errors import SpecError
from sandbox_operator.kube.resources import PODS, TEMPLATES
from sandbox_operator.manifests.pod import BlankPodRequest, PodRequest, build_blank_pod, build_pod, hash_pod
from sandbox_operator.manifests.template_parts import check_metadata
from sandbox_operator.settings import Images, Settings, load_settings
from tests.unit.operator.conftest import NAMESPACE

META = {"namespace": NAMESPACE, "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z"}
SESSION = parse(Session, {"metadata": {"name": "one", **META}})
POOL = parse(Pool, {"metadata": {"name": "pool", **META}})
RESOURCES = Resources(requests={"cpu": "1"}, limits={"cpu": "2"})
IMAGES = Images("agent:1", "sandbox:default")
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a100"]}]}]
        }
    }
}
SPREAD = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
MODELS = {"name": "models", "mountPath": "/models", "persistentVolumeClaim": {"claimName": "models"}}
SHARED = {"name": "shared", "mountPath": "/mnt/shared", "persistentVolumeClaim": {"claimName": "s", "readOnly": False}}
SCRATCH = {"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "8Gi"}}
FAST = {"name": "fast", "mountPath": "/fast", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}}
EVERYTHING = {
    "resources": {"extended": {"nvidia.com/gpu": 2}},
    "affinity": AFFINITY,
    "topologySpreadConstraints": [SPREAD],
    "priorityClassName": "batch",
    "podLabels": {"team": "blue", "app.kubernetes.io/part-of": "lab", "empty": ""},
    "podAnnotations": {"note": "any text\n", "karpenter.sh/do-not-disrupt": "true"},
    "mounts": [MODELS, SHARED, SCRATCH, FAST],
}


def make_template(**spec):
    return parse(Template, {"metadata": {"name": "default", **META}, "spec": {"image": "sandbox:1", **spec}})


def build(template):
    return build_pod(PodRequest(SESSION, template, Egress.NONE, RESOURCES, IMAGES))


def build_blank(template):
    return build_blank_pod(BlankPodRequest(POOL, "sbx-pool-1", template, RESOURCES, IMAGES))


def test_the_pod_has_what_its_template_adds_and_is_otherwise_the_same():
    pod, plain = build(make_template(**EVERYTHING)), build(make_template())
    expected = copy.deepcopy(plain)
    expected["metadata"]["labels"] |= {"team": "blue", "app.kubernetes.io/part-of": "lab", "empty": ""}
    expected["metadata"]["annotations"] = {"note": "any text\n", "karpenter.sh/do-not-disrupt": "true"}
    own = {"sandboxsessions.dev/managed-by": "sandbox-operator", "sandboxsessions.dev/template": "default"}
    expected["spec"] |= {
        "affinity": AFFINITY,
        "topologySpreadConstraints": [{**SPREAD, "labelSelector": {"matchLabels": own}}],
        "priorityClassName": "batch",
    }
    expected["spec"]["volumes"] += [
        {"name": "mount-models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        {"name": "mount-shared", "persistentVolumeClaim": {"claimName": "s"}},
        {"name": "mount-scratch", "emptyDir": {"sizeLimit": "8Gi"}},
        {"name": "mount-fast", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
    ]
    sandbox = expected["spec"]["containers"][1]
    sandbox["resources"] = {
        "requests": {"cpu": "1", "nvidia.com/gpu": "2"},
        "limits": {"cpu": "2", "nvidia.com/gpu": "2"},
    }
    sandbox["volumeMounts"] += [
        {"name": "mount-models", "mountPath": "/models", "readOnly": True},
        {"name": "mount-shared", "mountPath": "/mnt/shared"},
        {"name": "mount-scratch", "mountPath": "/scratch"},
        {"name": "mount-fast", "mountPath": "/fast"},
    ]
    assert pod == expected
    assert pod["spec"]["containers"][0] == plain["spec"]["containers"][0], "the agent gets nothing of it"


def test_a_pools_pod_has_the_same_parts_and_keeps_its_own_labels():
    pod, blank = build(make_template(**EVERYTHING)), build_blank(make_template(**EVERYTHING))
    assert blank["metadata"]["annotations"] == {**EVERYTHING["podAnnotations"], "sandboxsessions.dev/claimed-at": ""}
    assert blank["metadata"]["labels"].items() >= EVERYTHING["podLabels"].items()
    for part in ("affinity", "topologySpreadConstraints", "priorityClassName"):
        assert blank["spec"][part] == pod["spec"][part]
    assert blank["spec"]["volumes"][-4:] == pod["spec"]["volumes"][-4:]
    assert blank["spec"]["containers"][1]["resources"] == pod["spec"]["containers"][1]["resources"]
    assert blank["spec"]["containers"][1]["volumeMounts"] == pod["spec"]["containers"][1]["volumeMounts"]


def test_the_operators_own_labels_win_over_any_that_slipped_through():
    own = {"sandboxsessions.dev/egress": "public", "sandboxsessions.dev/state": "bound", "team": "blue"}
    template = make_template()
    template = template.model_copy(update={"spec": template.spec.model_copy(update={"pod_labels": own})})
    assert build(template)["metadata"]["labels"] == build(make_template())["metadata"]["labels"] | {"team": "blue"}
    blank = build_blank(template)["metadata"]["labels"]
    assert (blank["sandboxsessions.dev/egress"], blank["sandboxsessions.dev/state"]) == ("none", "blank")


@pytest.mark.parametrize("part", EVERYTHING)
def test_each_part_replaces_the_blank_pods_of_a_pool(part):
    plain = hash_pod(make_template(), RESOURCES, IMAGES)
    assert hash_pod(make_template(**{part: EVERYTHING[part]}), RESOURCES, IMAGES) != plain
    assert hash_pod(make_template(lifecycle={"maxLifetime": "1h"}), RESOURCES, IMAGES) == plain


def test_a_spread_with_a_selector_of_its_own_keeps_it():
    selector = {"matchLabels": {"team": "blue"}}
    template = make_template(topologySpreadConstraints=[{**SPREAD, "labelSelector": selector}])
    assert build(template)["spec"]["topologySpreadConstraints"] == [{**SPREAD, "labelSelector": selector}]


def mount(**change):
    return {"mounts": [{**MODELS, **change}]}


ATTACKS = {
    # Label that would open the network of a session, or give it to another operator's selectors.
    "podLabels": [
        {"podLabels": {key: "x"}}
        for key in (
            "sandboxsessions.dev/client",
            "sandboxsessions.dev/egress",
            "sandboxsessions.dev/session",
            "x.sandboxsessions.dev/client",
            "azure.workload.identity/use",
            "bad key",
            "/team",
            "a/b/c",
            "team/",
            "-team",
            "x" * 64,
            f"{'x' * 254}/team",
        )
    ]
    + [{"podLabels": {"team": "two words"}}, {"podLabels": {"team": "x" * 64}}],
    "podAnnotations": [
        {"podAnnotations": {key: "unconfined"}}
        for key in (
            "container.apparmor.security.beta.kubernetes.io/sandbox",
            "container.seccomp.security.alpha.kubernetes.io/sandbox",
            "seccomp.security.alpha.kubernetes.io/pod",
            "io.kubernetes.cri.untrusted-workload",
            "io.kubernetes.cri-o.userns-mode",
            "io.kubernetes.cri-o.Devices",
            "cpu-quota.crio.io",
            "io.katacontainers.config.hypervisor.kernel_params",
            "dev.gvisor.spec.mount.x.type",
            "run.oci.keep_original_groups",
            "cdi.k8s.io/gpu",
            "nvidia.cdi.k8s.io/container.sandbox",
            "devices.nri.io/container.sandbox",
            "k8s.v1.cni.cncf.io/networks",
            "v1.multus-cni.io/default-network",
            "iam.amazonaws.com/role",
            "sandboxsessions.dev/claimed-at",
        )
    ],
    "mounts": [mount(mountPath=f"/{folder}/x") for folder in pod_rules.RESERVED_FOLDERS]
    + [
        mount(mountPath=path)
        for path in (
            *("/", "", "models", "/workspace", "/run/sandbox", "/etc/sandbox/tls", "/usr/local/lib/sandbox", "/proc"),
            *("/mnt/../run", "/mnt/./x", "//run", "/mnt//x", "/mnt/", "/./run", "/..", "/../etc"),
        )
    ]
    + [
        mount(hostPath={"path": "/"}, persistentVolumeClaim=None),
        mount(secret={"secretName": "s"}, persistentVolumeClaim=None),
        mount(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}, persistentVolumeClaim=None),
        mount(emptyDir={"sizeLimit": "1Gi"}),
        mount(persistentVolumeClaim=None, emptyDir={"medium": "Memory"}),
        {"mounts": [MODELS, {**SCRATCH, "name": "models"}]},
        {"mounts": [MODELS, {**SCRATCH, "mountPath": "/models"}]},
        {"mounts": [MODELS, {**SCRATCH, "mountPath": "/models/new"}]},
        {"mounts": [{**MODELS, "mountPath": "/a/b"}, {**SCRATCH, "mountPath": "/a"}]},
    ],
    "resources.extended": [
        {"resources": {"extended": extended}}
        for extended in (
            {"cpu": 64},
            {"memory": 1},
            {"hugepages-2Mi": 1},
            {"kubernetes.io/x": 1},
            {"x.kubernetes.io/y": 1},
            {"nvidia.com/gpu": 0},
            {"nvidia.com/gpu": -1},
            {"nvidia.com/": 1},
        )
    ],
    "priorityClassName": [{"priorityClassName": "system-node-critical"}, {"priorityClassName": "system-x"}],
}


@pytest.mark.parametrize(("field", "spec"), [(field, spec) for field, specs in ATTACKS.items() for spec in specs])
def test_a_part_that_would_weaken_isolation_is_refused_by_its_field(field, spec):
    with pytest.raises(SpecError, match=rf"^spec\.{field.replace('.', '[.]')}"):
        make_template(**spec)


@pytest.mark.parametrize(
    ("labels", "annotations", "allowed", "problem"),
    [
        ({"team": "x"}, {"team": "x"}, "", ""),
        ({"app.kubernetes.io/part-of": "x"}, {"prometheus.io/scrape": "true"}, "", ""),
        ({"app.kubernetes.io/name": "x"}, {}, "", "spec.podLabels: app.kubernetes.io/name selects the operator's own"),
        ({"app.kubernetes.io/name": "x"}, {}, "*", "spec.podLabels: app.kubernetes.io/name selects the operator's own"),
        ({"example.com/team": "x"}, {}, "", "spec.podLabels: example.com/team: the operator's setting"),
        ({"example.com/team": "x"}, {}, "other.com/*,example.com/*", ""),
        ({"istio.io/rev": "x"}, {}, "", "spec.podLabels: istio.io/rev: the operator's setting"),
        ({"dotted.key": "x"}, {}, "", "spec.podLabels: dotted.key: the operator's setting"),
        ({}, {"linkerd.io/inject": "x"}, "", "spec.podAnnotations: linkerd.io/inject: the operator's setting"),
        ({}, {"linkerd.io/inject": "x"}, "linkerd.io/*", ""),
        ({}, {"gke-gcsfuse/volumes": "x"}, "", "spec.podAnnotations: gke-gcsfuse/volumes: the operator's setting"),
        ({}, {"app.kubernetes.io/part-of": "x"}, "", "spec.podAnnotations: app.kubernetes.io/part-of: the operator's"),
    ],
)
def test_only_harmless_keys_and_those_of_the_installer_are_allowed(labels, annotations, allowed, problem):
    template = make_template(podLabels=labels, podAnnotations=annotations)
    settings = load_settings({"SANDBOX_OPERATOR_TEMPLATE_METADATA": allowed})
    if not problem:
        check_metadata(template, settings)
        return
    with pytest.raises(SpecError) as caught:
        check_metadata(template, settings)
    assert str(caught.value).startswith(problem)


def test_what_is_never_allowed_is_not_allowed_by_the_installer_either():
    assert Settings(template_metadata=("*",)).template_metadata == ("*",)
    with pytest.raises(SpecError, match=r"spec\.podAnnotations: .*cdi\.k8s\.io/gpu could weaken the isolation"):
        make_template(podAnnotations={"cdi.k8s.io/gpu": "all"})


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("sandboxsessions.dev/client", "belongs to the operator; use another key"),
        ("app.kubernetes.io/name", "selects the operator's own pods; use another key"),
    ],
)
async def test_a_template_with_such_a_part_starts_no_pod_and_says_why(world, key, problem):
    world.add_template(podLabels={key: "true"})
    world.add_session()
    world.add_pool()
    await world.settle()
    assert world.pods() == {}
    assert world.condition() == (
        "False",
        "TemplateInvalid",
        f"SandboxTemplate default: spec.podLabels: {key} {problem}",
    )
    assert world.pool()["status"]["conditions"][0]["reason"] == "TemplateInvalid"
    world.kube.change(TEMPLATES, NAMESPACE, "default", {"spec": {"podLabels": {key: None}}})
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_blank_pods_are_replaced_by_such_with_the_new_parts_and_claimed_with_them(world):
    world.add_template()
    world.add_pool(replicas=1)
    await world.settle()
    first = world.pod()
    world.kube.change(TEMPLATES, NAMESPACE, "default", {"spec": {"podLabels": {"team": "blue"}, "mounts": [MODELS]}})
    await world.settle()
    assert world.pod() != first
    world.add_session()
    await world.settle()
    assert world.status()["startup"]["source"] == "Warm"
    pod = world.kube.objects[PODS.plural, NAMESPACE, world.status()["podName"]]
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["spec"]["volumes"][-1]["name"] == "mount-models"
