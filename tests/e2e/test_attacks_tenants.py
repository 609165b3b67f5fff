"""Attacks of a tenant who may edit a namespace but not administer it: rows 42 to 46. Each verb and each field is tried.

Admission decides before anything runs. So most attempts are dry runs, beside a harmless one that passes.
"""

import copy
import json
import secrets

import pytest

from tests.e2e.support.chart import RELEASE, SYSTEM
from tests.e2e.support.kubectl import Kubectl, Object, RefusedError
from tests.e2e.support.tenants import MANAGED, SECURITY, VICTIM, Try, create, denied, granted, pod, policy, secret

OPERATOR = f"system:serviceaccount:{SYSTEM}:{RELEASE}"

RESERVED = "sandbox operator's"
OWNER = {"apiVersion": "sandboxsessions.dev/v1alpha1", "kind": "SandboxSession", "name": "one", "uid": "1"}


@pytest.mark.parametrize("verb", ["exec", "attach"])
def test_attack_43_a_tenant_runs_nothing_in_a_sessions_pod(tenant: Try, verb: str):
    command = ("--", "true") if verb == "exec" else ()
    denied(tenant, "hold credentials", verb, VICTIM, *command)


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"labels": {"sandboxsessions.dev/managed-by": None}}},
        {"metadata": {"labels": {"sandboxsessions.dev/egress": "public"}}},
        {"metadata": {"labels": {"team": "evil"}}},
        {"metadata": {"annotations": {"sandboxsessions.dev/claimed-at": "2100-01-01T00:00:00Z"}}},
        {"metadata": {"ownerReferences": [{**OWNER, "controller": True}]}},
        {"metadata": {"finalizers": ["example.com/stay"]}},
        {"spec": {"containers": [{"name": "agent", "image": "evil:1"}]}},
        {"spec": {"activeDeadlineSeconds": 5}},
    ],
    ids=["unmanage", "egress", "label", "claimed-at", "owner", "finalizer", "image", "deadline"],
)
def test_attack_43_no_field_of_a_sessions_pod_can_be_changed(tenant: Try, change: Object):
    denied(
        tenant, "belongs to the sandbox operator", "patch", "pod", VICTIM, "--type=strategic", "-p", json.dumps(change)
    )


def test_attack_43_no_container_joins_a_sessions_pod(tenant: Try):
    # The namespace's Pod Security may be the first to say no.
    with pytest.raises(RefusedError, match="Forbidden"):
        tenant("debug", VICTIM, "--image=evil:1", "--target=agent")


@pytest.mark.parametrize(
    "change", [{"data": {"token": "QQ=="}}, {"metadata": {"annotations": {"sandboxsessions.dev/origin": "x"}}}]
)
def test_attack_43_no_secret_of_a_session_can_be_changed(tenant: Try, change: Object):
    denied(tenant, "belongs to the sandbox operator", "patch", "secret", "victim-access", "-p", json.dumps(change))


@pytest.mark.parametrize("verb", ["patch", "delete"])
def test_attack_43_a_sessions_network_policy_can_be_neither_changed_nor_deleted(tenant: Try, verb: str):
    arguments = ("-p", '{"spec": {"egress": [{}]}}') if verb == "patch" else ()
    # Two policies deny the patch, and the server names one.
    message = "belongs to the sandbox operator|would widen what sandbox sessions may reach"
    denied(tenant, message, verb, "networkpolicy", "sandbox-victim-none", *arguments)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": MANAGED},
        {"labels": {"sandboxsessions.dev/session": "1"}},
        {"labels": {"sandboxsessions.dev/state": "blank"}},
        {"annotations": {"sandboxsessions.dev/origin": "x"}},
        {"ownerReferences": [OWNER]},
        {"ownerReferences": [{**OWNER, "kind": "SandboxWarmPool", "controller": True}]},
    ],
    ids=["managed-by", "session", "state", "origin", "owner", "pool"],
)
@pytest.mark.parametrize("kind", ["pod", "secret", "networkpolicy"])
def test_attack_43_no_object_claims_to_be_the_operators(tenant: Try, kind: str, metadata: Object):
    bodies = {
        "pod": pod("forged", metadata),
        "secret": secret("forged-access", metadata),
        "networkpolicy": policy("forged", {"matchLabels": {"app": "mine"}}, metadata),
    }
    create(tenant, bodies[kind], RESERVED)
    harmless = copy.deepcopy(bodies[kind])
    for name in metadata:
        del harmless["metadata"][name]
    create(tenant, harmless)


def test_attack_43_a_clients_pod_needs_and_may_have_its_label(tenant: Try):
    create(tenant, pod("client", {"labels": {"sandboxsessions.dev/client": "true"}}))


@pytest.mark.parametrize(
    "volume",
    [
        {"secret": {"secretName": f"{VICTIM}-tls"}},
        {"projected": {"sources": [{"secret": {"name": f"{VICTIM}-tls"}}]}},
    ],
    ids=["secret", "projected"],
)
def test_attack_43_no_other_pod_gets_a_sessions_certificate(tenant: Try, volume: Object):
    create(tenant, pod("thief", volumes=[{"name": "v", **volume}]), "certificates of sandbox sessions")


@pytest.mark.parametrize(
    "reference",
    [
        {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": f"{VICTIM}-tls", "key": "tls.key"}}}]},
        {"envFrom": [{"secretRef": {"name": f"{VICTIM}-tls"}}]},
    ],
    ids=["env", "envFrom"],
)
@pytest.mark.parametrize("place", ["containers", "initContainers"])
def test_attack_43_nor_in_its_environment(tenant: Try, place: str, reference: Object):
    body = pod("thief")
    container = {**body["spec"]["containers"][0], "name": "thief"}
    body["spec"][place] = [{**container, **reference}]
    create(tenant, body, "certificates of sandbox sessions")
    body["spec"][place] = [json.loads(json.dumps({**container, **reference}).replace(f"{VICTIM}-tls", "mine"))]
    create(tenant, body)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (
            {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": f"{VICTIM}-tls", "key": "tls.key"}}}]},
            "certificates of sandbox sessions",
        ),
        # The namespace's Pod Security may be the first to say no.
        ({"securityContext": {"privileged": True}}, "beside sandbox sessions|violates PodSecurity"),
    ],
    ids=["certificate", "privileged"],
)
def test_attack_43_nor_in_a_container_that_joins_a_tenants_pod_later(
    tenant: Try, kubectl: Kubectl, container: Object, message: str
):
    name = f"later-{secrets.token_hex(4)}"
    tenant("create", "-f", "-", stdin=pod(name))
    joining = {"name": "late", "image": "pause:none", "securityContext": SECURITY}

    def join(fields: Object) -> None:
        body = json.dumps({"spec": {"ephemeralContainers": [{**joining, **fields}]}})
        arguments = ("--subresource=ephemeralcontainers", "--type=strategic", "--dry-run=server", "-p", body)
        tenant("patch", "pod", name, *arguments)

    try:
        with granted(kubectl, "", "pods/ephemeralcontainers", "patch", "get"):
            join({})
            with pytest.raises(RefusedError, match=message):
                join(container)
    finally:
        tenant("delete", "pod", name, "--wait=false", "--grace-period=0", "--force")


@pytest.mark.parametrize("name", ["system-node-critical", "system-cluster-critical"])
def test_attack_of_priority_no_tenants_pod_ends_those_of_others(tenant: Try, name: str):
    """The scheduler would end the pods of other tenants, and the operator, to make room for it."""
    create(tenant, pod("urgent", priorityClassName=name), "priority classes of the system")
    create(tenant, pod("patient"))


def test_attack_of_external_addresses_no_service_takes_others_traffic(tenant: Try):
    """On every node, what is sent to such an address would go to the tenant's pod: the storage's, or an agent's."""
    spec = {"selector": {"app": "mine"}, "ports": [{"port": 9000}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "storage"}, "spec": spec}
    create(tenant, {**service, "spec": {**spec, "externalIPs": ["10.201.0.1"]}}, "would redirect what others send")
    create(tenant, service)


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        {"hostNetwork": True},
        {"hostPID": True},
        {"hostIPC": True},
        {"container": {"securityContext": {"privileged": True}}},
        {"container": {"securityContext": {**SECURITY, "capabilities": {"add": ["SYS_ADMIN"]}}}},
    ],
    ids=["hostPath", "hostNetwork", "hostPID", "hostIPC", "privileged", "capability"],
)
def test_attack_42_no_privileged_pod_beside_sessions(tenant: Try, spec: Object):
    # The namespace's Pod Security may be the first to say no; the policies hold without it.
    with pytest.raises(
        RefusedError, match=r"beside sandbox sessions|violates PodSecurity|disallowed by cluster policy"
    ):
        tenant("create", "--dry-run=server", "-f", "-", stdin=pod("strong", **spec))


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": MANAGED},
        {"matchLabels": {"sandboxsessions.dev/egress": "none"}},
        {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
        {"matchExpressions": [{"key": "sandboxsessions.dev/session", "operator": "Exists"}]},
        # Kubernetes copies it from the node to each pod.
        {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "Exists"}]},
        {"matchLabels": {"topology.kubernetes.io/region": "r"}},
    ],
    ids=["all", "managed", "egress", "without app", "session", "zone", "region"],
)
@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_attack_43_no_network_policy_widens_what_sessions_reach(tenant: Try, selector: Object, direction: str):
    create(tenant, policy("wide", selector, **{direction: [{}]}), "widen what sandbox sessions may reach")
    create(tenant, policy("deny", {}, policyTypes=["Egress"]))
    create(tenant, policy("mine", {"matchLabels": {"app": "mine"}}, **{direction: [{}]}))
    others = {"matchExpressions": [{"key": "sandboxsessions.dev/managed-by", "operator": "DoesNotExist"}]}
    create(tenant, policy("others", others, **{direction: [{}]}))


@pytest.mark.parametrize("resource", ["sandboxsessions", "sandboxwarmpools"])
def test_attack_44_the_operator_alone_writes_a_status(tenant: Try, kubectl: Kubectl, resource: str):
    kind = {"sandboxsessions": "SandboxSession", "sandboxwarmpools": "SandboxWarmPool"}[resource]
    body = {"apiVersion": "sandboxsessions.dev/v1alpha1", "kind": kind, "metadata": {"name": "status-victim"}}
    kubectl.apply({**body, "spec": {"suspended": True} if kind == "SandboxSession" else {"replicas": 0}})
    try:
        # Even with the right to write it.
        with granted(kubectl, "sandboxsessions.dev", f"{resource}/status", "patch", "get"):
            change = json.dumps({"status": {"observedGeneration": 7}})
            patch = ("patch", resource, "status-victim", "--subresource=status", "--type=merge", "-p", change)
            denied(tenant, "alone writes this status", *patch)
    finally:
        kubectl.delete(resource, "status-victim")


def test_attack_46_the_operators_rights_are_no_wider_than_it_needs(kubectl: Kubectl):
    """Nothing that would let it take more, and no Secret may be listed."""
    for verb, resource in (
        *(("list", "secrets"), ("watch", "secrets"), ("delete", "secrets"), ("create", "pods/exec")),
        *(("create", "pods/attach"), ("update", "pods/ephemeralcontainers"), ("create", "serviceaccounts/token")),
        *(("impersonate", "users"), ("escalate", "roles"), ("bind", "clusterroles"), ("get", "configmaps")),
        *(("create", "deployments"), ("get", "nodes"), ("patch", "namespaces"), ("update", "sandboxtemplates")),
    ):
        kind, _, part = resource.partition("/")
        with pytest.raises(RefusedError):
            kubectl("auth", "can-i", verb, kind, f"--subresource={part}", f"--as={OPERATOR}", "--quiet")
    kubectl("auth", "can-i", "get", "secrets", f"--as={OPERATOR}", "--quiet")
