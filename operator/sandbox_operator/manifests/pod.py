"""The pod of a session: docs/pod-contract.md in one object, hardened by default. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.manifests.ownership import owner_reference

if TYPE_CHECKING:
    from sandbox_operator.api.models import Egress, Resources, Session, Template

AGENT_UID: Final = 10001
SANDBOX_UID: Final = 10002
"""The sandbox image's own user and group."""
_OWN_UIDS: Final = range(1_000_000_000, 2_000_000_000)
GROUP: Final = 10000
_AGENT_RESOURCES: Final = {
    "requests": {"cpu": "50m", "memory": "96Mi", "ephemeral-storage": "64Mi"},
    "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "512Mi"},
}
_TERMINATION_GRACE: Final = 10
"""Seconds. The operator drains before it deletes, so nothing is waited for here that matters."""


@dataclass(frozen=True, slots=True)
class PodRequest:
    """Everything a pod is built from."""

    session: Session
    template: Template
    egress: Egress
    resources: Resources
    agent_image: str
    sandbox_image: str


def build_pod(request: PodRequest) -> dict[str, Any]:
    """The pod, blank as every pod is, and already its session's."""
    session, template = request.session, request.template
    name = naming.pod_name(session)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": session.metadata.namespace,
            "labels": build_labels(request),
            "ownerReferences": [owner_reference(session)],
        },
        "spec": _build_spec(request, name, template),
    }


def build_labels(request: PodRequest) -> dict[str, str]:
    """Labels that NetworkPolicies, watches and claims select by."""
    return {
        naming.MANAGED_BY: naming.MANAGER,
        naming.STATE: "bound",
        naming.TEMPLATE: request.template.metadata.name,
        naming.EGRESS: request.egress.value.lower(),
        naming.SESSION: request.session.metadata.uid,
    }


def _build_spec(request: PodRequest, name: str, template: Template) -> dict[str, Any]:
    spec = template.spec
    result: dict[str, Any] = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": _TERMINATION_GRACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": False,
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_build_agent(request), _build_sandbox(request, name)],
        "volumes": _build_volumes(name, template),
    }
    optional: dict[str, Any] = {
        "hostUsers": spec.host_users,
        "runtimeClassName": spec.runtime_class_name or None,
        "nodeSelector": spec.node_selector or None,
        "tolerations": list(spec.tolerations) or None,
        "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets] or None,
    }
    return result | {key: value for key, value in optional.items() if value is not None}


def _build_agent(request: PodRequest) -> dict[str, Any]:
    spec = request.template.spec
    return {
        "name": "agent",
        "image": spec.agent_image or request.agent_image,
        "imagePullPolicy": spec.image_pull_policy,
        "command": ["sandbox-agent", "serve"],
        "ports": [
            {"name": "grpc", "containerPort": naming.GRPC_PORT, "protocol": "TCP"},
            {"name": "control", "containerPort": naming.CONTROL_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": naming.HEALTH_PORT, "protocol": "TCP"},
        ],
        "resources": _AGENT_RESOURCES,
        "securityContext": _build_security_context(AGENT_UID, AGENT_UID),
        "startupProbe": _build_probe("/livez", period=1, failures=60),
        "readinessProbe": _build_probe("/readyz", period=5, failures=3),
        "livenessProbe": _build_probe("/livez", period=10, failures=6),
        "volumeMounts": [
            {"name": "link", "mountPath": "/run/sandbox"},
            {"name": "tls", "mountPath": "/etc/sandbox/tls", "readOnly": True},
            {"name": "agent-tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume's mount path
        ],
    }


def _build_sandbox(request: PodRequest, name: str) -> dict[str, Any]:
    spec = request.template.spec
    return {
        "name": "sandbox",
        "image": spec.image or request.sandbox_image,
        "imagePullPolicy": spec.image_pull_policy,
        "command": ["sandbox-runtime"],
        "resources": {"requests": request.resources.requests, "limits": request.resources.limits},
        "securityContext": _build_security_context(_choose_uid(request, name), SANDBOX_UID),
        "volumeMounts": [
            {"name": "link", "mountPath": "/run/sandbox"},
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "home", "mountPath": "/home/sandbox"},
            {"name": "sandbox-tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume's mount path
        ],
    }


def _choose_uid(request: PodRequest, name: str) -> int:
    """The sandbox's user id, of no other pod.

    The kernel counts processes (RLIMIT_NPROC) by user id over the whole node: with one id for all, a session that
    forks up to its limit would leave its neighbours none. A user namespace has a count of its own, and small ids only.
    """
    if request.template.spec.host_users is False:
        return SANDBOX_UID
    digest = hashlib.sha256(f"{request.session.metadata.namespace}/{name}".encode()).digest()
    return _OWN_UIDS[int.from_bytes(digest[:8]) % len(_OWN_UIDS)]


def _build_security_context(uid: int, gid: int) -> dict[str, Any]:
    return {
        "runAsUser": uid,
        "runAsGroup": gid,
        "runAsNonRoot": True,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _build_probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "health"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _build_volumes(name: str, template: Template) -> list[dict[str, Any]]:
    sizes = template.spec.volumes
    return [
        {"name": "link", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "agent-tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "workspace", "emptyDir": {"sizeLimit": sizes.workspace}},
        {"name": "home", "emptyDir": {"sizeLimit": sizes.home}},
        {"name": "sandbox-tmp", "emptyDir": {"sizeLimit": sizes.tmp}},
        # 0440: the kubelet gives the file to root and the pod's group, which is the agent's only way to read it.
        {"name": "tls", "secret": {"secretName": naming.tls_secret_name(name), "defaultMode": 0o440}},
    ]
