"""Runs the node of `make e2e` with our images and the chart, and a separate namespace for the benchmark."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.cluster.api import Api
from benchmarks.cluster.operating import COLLECTION, NAMESPACE, create, wait
from sandbox_client.cluster.api import ClusterOptions, open_client
from sandbox_operator.api.models import Session, Template, parse
from sandbox_operator.api.session_spec import Egress
from sandbox_operator.manifests.pod import PodRequest, build_pod
from sandbox_operator.session.admission import default_resources
from sandbox_operator.settings import Images
from tests.e2e.support.chart import create_bucket, open_system
from tests.e2e.support.platform import OWN_KUBECONFIG, STATE, open_platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.support.kubectl import Kubectl
    from tests.e2e.support.platform import Platform

COLD: Final = "cold"
"""A template without a warm pool."""
WARM: Final = "default"
_POLICY: Final = "bench-requests"


@dataclass(frozen=True)
class RealNode:
    """The node, and access to its API server.

    Attributes:
        image: The sandbox image, which is present on the node.
    """

    api: Api
    kubeconfig: str
    image: str

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Keep new pods off the node during the block. A pool's new pods then stay pending instead of using its CPU."""
        name = self.api.call("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
        self.api.call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        try:
            yield
        finally:
            self.api.call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})


def find_missing() -> str:
    """Return the reason why no node can run here, or ""."""
    given = os.environ.get("KUBECONFIG")
    if given and given != str(OWN_KUBECONFIG):
        return "KUBECONFIG names another cluster. Unset it: this group needs a node for itself, because it cordons it"
    if os.geteuid() != 0:
        return "a node needs root"
    if not (STATE / "bin/kubelet").exists():
        return "the test cluster's binaries are missing: run make cluster once (half an hour)"
    return ""


@contextlib.contextmanager
def open_node() -> Iterator[RealNode]:
    """Start the node, build and import the images that changed, install the chart, and stop everything at the end."""
    print("starting the node, its images and the chart (a minute or two, longer if images must be built)", flush=True)
    platform = open_platform()
    try:
        create_bucket(platform)
        system = open_system(platform)
        with _namespace(system, platform) as node:
            yield node
    finally:
        platform.stop()


@contextlib.contextmanager
def _namespace(system: Kubectl, platform: Platform) -> Iterator[RealNode]:
    image = platform.image("sandbox-slim")
    node = RealNode(_open_api(platform.kubeconfig), platform.kubeconfig, image)
    _remove(system)
    try:
        system.apply(*_build_policy(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        wait(lambda: _is_policy_effective(node.api), "the policy is effective")
        # Small requests, so that more pods fit than the processors would allow. They idle anyway.
        resources = {"default": {"requests": {"cpu": "1m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}}
        for name in (COLD, WARM):
            create(
                node.api,
                "SandboxTemplate",
                {"metadata": {"name": name}, "spec": {"image": image, "resources": resources}},
            )
        create(node.api, "SandboxWarmPool", {"metadata": {"name": "default"}, "spec": {"replicas": 0}})
        yield node
    finally:
        _remove(system)


def build_shape(api: Api) -> dict[str, Any]:
    """Return the spec of a session's pod whose containers sleep and have no probes. Creates its Secret."""
    name = "shape-tls"
    secret = {"metadata": {"name": name}, "stringData": dict.fromkeys(("tls.crt", "tls.key", "ca.crt"), "none")}
    api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", {"apiVersion": "v1", "kind": "Secret", **secret})
    template = parse(Template, api.call("GET", f"{COLLECTION}/sandboxtemplates/{COLD}"))
    metadata = {"name": "shape", "namespace": NAMESPACE, "uid": "shape", "creationTimestamp": "2026-01-01T00:00:00Z"}
    session = parse(Session, {"metadata": metadata, "spec": {}})
    images = Images("localhost/sandbox-agent:e2e", template.spec.image)
    request = PodRequest(session, template, Egress.NONE, default_resources(template), images)
    spec: dict[str, Any] = build_pod(request)["spec"]
    for container in spec["containers"]:
        container["command"] = ["sleep", "3600"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(probe, None)
    for volume in spec["volumes"]:
        if "secret" in volume:
            volume["secret"]["secretName"] = name
    return spec


def _remove(system: Kubectl) -> None:
    kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
    system("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=300)
    system("delete", kinds, _POLICY, "--ignore-not-found")


def _is_policy_effective(api: Api) -> bool:
    """Return whether the API server applies the policy. A pod created before that would request more CPU."""
    container = {"name": "agent", "image": "none", "resources": {"requests": {"cpu": "50m"}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": [container]}}
    made = api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod, dryRun="All")
    return bool(made["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1m")


def _build_policy() -> list[dict[str, Any]]:
    """Build a policy that lowers the agents' CPU requests. 55 agents at 50m each would exceed two cores."""
    group = "admissionregistration.k8s.io/v1"
    is_pod = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    is_ours = {"name": "agent", "expression": "object.spec.containers[0].name == 'agent'"}
    path = "/spec/containers/0/resources/requests/cpu"
    patch = f'[JSONPatch{{op: "replace", path: "{path}", value: "1m"}}]'
    policy = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "resourceRules": [is_pod],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        },
        "matchConditions": [is_ours],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    }
    head = {"apiVersion": group, "metadata": {"name": _POLICY}}
    return [
        {**head, "kind": "MutatingAdmissionPolicy", "spec": policy},
        {**head, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": _POLICY}},
    ]


def _open_api(kubeconfig: str) -> Api:
    configuration = open_client(ClusterOptions(NAMESPACE, kubeconfig))[0].configuration
    certificate = (configuration.cert_file, configuration.key_file)
    return Api(configuration.host, authority=configuration.ssl_ca_cert, certificate=certificate)
