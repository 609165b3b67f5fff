"""Rows 42 and 45 on a real API server: each field that could weaken a session's isolation, and each value of others.

Admission decides before anything runs, so everything is a dry run. tests/unit/operator/test_forbidden_fields.py tries
the same against the schemas.
"""

import json

import pytest

from tests.e2e.support.kubectl import Kubectl, Object, RefusedError
from tests.e2e.support.tenants import Try
from tests.support import crd_values
from tests.support.forbidden_fields import ADMINISTRATOR, POD, STORAGE, build_spec

SESSION_FIELDS = {**POD, **ADMINISTRATOR, **STORAGE}
TEMPLATE_FIELDS = {path: value for path, value in {**POD, **STORAGE}.items() if path != "volumes"}
DRY = ("create", "--dry-run=server", "-o", "json", "-f", "-")


def build(kind: str, spec: object) -> Object:
    return {"apiVersion": "sandboxsessions.dev/v1alpha1", "kind": kind, "metadata": {"name": "attack"}, "spec": spec}


def has(spec: object, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(spec, dict) or part not in spec:
            return False
        spec = spec[part]
    return True


@pytest.mark.parametrize("path", SESSION_FIELDS)
def test_attack_42_and_45_a_session_has_no_such_field(tenant: Try, path: str):
    body = build("SandboxSession", build_spec(path, SESSION_FIELDS[path]))
    with pytest.raises(RefusedError, match=f'unknown field "spec.{path}'):
        tenant(*DRY, "--validate=strict", stdin=body)
    # A client that asks for no validation gets an object without the field.
    found = json.loads(tenant(*DRY, "--validate=ignore", stdin=body))
    assert not has(found.get("spec"), path)


@pytest.mark.parametrize("path", TEMPLATE_FIELDS)
def test_attack_42_and_45_nor_has_a_template_an_administrators_included(kubectl: Kubectl, path: str):
    body = json.dumps(build("SandboxTemplate", build_spec(path, TEMPLATE_FIELDS[path])))
    # A template has no `workspace` at all.
    with pytest.raises(RefusedError, match=f'unknown field "spec.{path.partition(".")[0]}'):
        kubectl(*DRY, "--validate=strict", stdin=body)
    assert not has(json.loads(kubectl(*DRY, "--validate=ignore", stdin=body)).get("spec"), path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"priorityClassName": "system-node-critical"}, "spec.priorityClassName: .*for parts of Kubernetes only"),
        ({"resources": {"extended": {"kubernetes.io/x": 1}}}, "spec.resources.extended: .*extended resources"),
        (
            {"mounts": [{"name": "m", "mountPath": "/proc", "emptyDir": {"sizeLimit": "1Gi"}}]},
            r"spec.mounts\[0\].mountPath: .*outside of the sandbox's own",
        ),
        ({"mounts": [{"name": "m", "mountPath": "/m"}]}, r"spec.mounts\[0\]: .*set persistentVolumeClaim or emptyDir"),
        ({"egress": {"mode": "Everything"}}, "spec.egress.mode: Unsupported value"),
        ({"languages": ["perl"]}, r"spec.languages\[0\]: Unsupported value"),
        ({"limits": {"processes": 2**32}}, "spec.limits.processes .*less than or equal to 4194304"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_attack_42_what_a_template_may_not_have_is_refused_by_field(kubectl: Kubectl, spec: Object, message: str):
    with pytest.raises(RefusedError, match=message):
        kubectl(*DRY, stdin=json.dumps(build("SandboxTemplate", spec)))


def test_attack_42_what_an_administrator_may_set_is_taken(kubectl: Kubectl):
    spec = {**ADMINISTRATOR, "resources": {"extended": {"nvidia.com/gpu": 1}}, "egress": {"mode": "Public"}}
    found = json.loads(kubectl(*DRY, "--validate=strict", stdin=json.dumps(build("SandboxTemplate", spec))))
    assert {name: found["spec"][name] for name in ADMINISTRATOR} == ADMINISTRATOR


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"templateRef": {"name": "weaker"}}, "templateRef is immutable"),
        ({"workspace": {"name": "others"}}, "workspace.name is immutable"),
        ({"workspace": {"name": "../others"}}, "spec.workspace.name"),
        ({"egress": "Everything"}, "spec.egress: Unsupported value"),
        ({"env": [{"name": "A=B", "value": "x"}]}, r"spec.env\[0\].name"),
        (
            {"env": [{"name": "A", "secretKeyRef": {"name": "../../kube-system/secrets/theirs", "key": "k"}}]},
            r"spec.env\[0\].secretKeyRef.name",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_attack_42_and_45_a_session_cannot_change_to_another_template_or_workspace(
    tenant: Try, kubectl: Kubectl, change: Object, message: str
):
    session = build("SandboxSession", {"suspended": True})
    session["metadata"]["name"] = "changed"
    tenant("apply", "-f", "-", stdin=session)
    try:
        with pytest.raises(RefusedError, match=message):
            tenant("patch", "sandboxsession", "changed", "--type=merge", "-p", json.dumps({"spec": change}))
    finally:
        kubectl.delete("sandboxsession", "changed")


@pytest.mark.parametrize(("kind", "path", "message"), crd_values.FIELDS, ids=lambda value: str(value)[:60])
def test_each_duration_quantity_and_time_is_refused_by_field_and_range(
    kubectl: Kubectl, kind: str, path: tuple[str | int, ...], message: str
):
    field = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    for value in crd_values.BAD[message]:
        with pytest.raises(RefusedError) as refusal:
            kubectl(*DRY, stdin=json.dumps(build(kind, crd_values.build_spec(path, value))))
        assert f"{field}: " in str(refusal.value), (value, refusal.value)
        assert message in str(refusal.value), (value, refusal.value)
    for value in crd_values.GOOD[message]:
        kubectl(*DRY, stdin=json.dumps(build(kind, crd_values.build_spec(path, value))))


READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sandboxsessions": ((*READ, *WRITE), ("administer", "escalate")),
    "sandboxtemplates": (READ, WRITE),
    "sandboxwarmpools": (READ, WRITE),
    "sandboxwarmpools/scale": ((), ("update", "patch")),
    "sandboxsessions/status": ((), ("update", "patch")),
    "sandboxwarmpools/status": ((), ("update", "patch")),
    "resourcequotas": (READ, WRITE),
    "limitranges": (READ, WRITE),
    "roles": ((), (*WRITE, "bind", "escalate")),
    "rolebindings": ((), WRITE),
    "pods/status": (("get",), ("update", "patch")),
    "pods/binding": ((), ("create",)),
    "namespaces": (("get",), WRITE),
    "nodes": ((), (*READ, *WRITE)),
    "customresourcedefinitions.apiextensions.k8s.io": ((), WRITE),
    "validatingadmissionpolicies.admissionregistration.k8s.io": ((), WRITE),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": ((), WRITE),
}
"""What the role `edit` of a namespace may do, and what it may not."""


@pytest.mark.parametrize("resource", VERBS)
def test_attack_46_each_verb_of_a_tenant_is_known(tenant: Try, resource: str):
    allowed, refused = VERBS[resource]
    kind, _, part = resource.partition("/")
    for verb in (*allowed, *refused):
        question = ("auth", "can-i", verb, kind, *([f"--subresource={part}"] if part else []), "--quiet")
        if verb in allowed:
            tenant(*question)
        else:
            with pytest.raises(RefusedError):
                tenant(*question)
