"""A tenant with the role `edit` of a namespace, and the objects that it tries to make or to change."""

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.support.chart import NAMESPACE
from tests.e2e.support.kubectl import Kubectl, Object, RefusedError

TENANT = f"system:serviceaccount:{NAMESPACE}:tenant"
MANAGED = {"sandboxsessions.dev/managed-by": "sandbox-operator"}
VICTIM = "sbx-victim-0123abcd"
SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
Try = Callable[..., None]


def pod(name: str = "plain", metadata: Object | None = None, container: Object | None = None, **spec: object) -> Object:
    containers = [{"name": "agent", "image": "pause:none", "securityContext": SECURITY, **(container or {})}]
    body = {"automountServiceAccountToken": False, "containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **(metadata or {})}, "spec": body}


def secret(name: str, metadata: Object | None = None) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **(metadata or {})}}


def policy(name: str, selector: Object, metadata: Object | None = None, **spec: object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"podSelector": selector, **spec},
    }


@contextlib.contextmanager
def open_tenant(kubectl: Kubectl) -> Iterator[Try]:
    """Run kubectl as a tenant with the role `edit`, beside objects of the operator."""
    kubectl.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}})
    kubectl.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "tenant"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": NAMESPACE}],
        }
    )
    owned = {"labels": MANAGED}
    kubectl.apply(pod(VICTIM, owned), secret("victim-access", owned), policy("sandbox-victim-none", {}, owned))

    def run(*arguments: str, stdin: object = None, user: str = TENANT) -> str:
        text = None if stdin is None else json.dumps(stdin)
        return kubectl(f"--as={user}", "--as-group=system:serviceaccounts", *arguments, stdin=text)

    yield run
    for kind, name in (("pod", VICTIM), ("secret", "victim-access"), ("networkpolicy", "sandbox-victim-none")):
        kubectl.delete(kind, name)


@contextlib.contextmanager
def granted(kubectl: Kubectl, group: str, resource: str, *verbs: str) -> Iterator[None]:
    """Give the tenant a right that `edit` does not have."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "further"}}
    kubectl.apply(
        {**role, "kind": "Role", "rules": [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}]}
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "further"}
    subjects = [{"kind": "ServiceAccount", "name": "tenant", "namespace": NAMESPACE}]
    kubectl.apply({**role, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects})
    try:
        yield
    finally:
        for kind in ("rolebinding", "role"):
            kubectl.delete(kind, "further")


def denied(tenant: Try, message: str, *arguments: str, **options: object) -> None:
    """Check that a policy denies a command."""
    with pytest.raises(RefusedError, match=message) as refusal:
        tenant(*arguments, **options)
    assert "ValidatingAdmissionPolicy" in str(refusal.value)


def create(tenant: Try, body: Object, message: str = "") -> None:
    """Create an object as a dry run: denied with a message, or allowed without one."""
    arguments = ("create", "--dry-run=server", "-f", "-")
    if message:
        denied(tenant, message, *arguments, stdin=body)
    else:
        tenant(*arguments, stdin=body)
