"""Checks that only read: the API server, its clock, the definitions, the operator, the template, the permissions."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.sessions import GROUP, PLURAL, VERSION
from sandbox_client.doctor.findings import Finding, failed, ok, skipped, warning

if TYPE_CHECKING:
    from sandbox_client.doctor.api import Answer, KubeHttp

_OLDEST: Final = (1, 30)
"""The oldest version of Kubernetes that the chart accepts."""
_KINDS: Final = ("sandboxsessions", "sandboxtemplates", "sandboxwarmpools")
_VERSION: Final = "sandboxsessions.dev/version"
_MAX_OFFSET: Final = 60.0
"""Seconds by which clocks may differ."""
_OPERATOR: Final = "app.kubernetes.io/name=sandbox-operator"
_INSTALL: Final = "Install the chart: docs/install/."
_UPGRADE: Final = (
    "Bring all three to one version: `helm upgrade` for the operator and the CRDs, pip or uv for the client."
)
WAITING_FOR_IMAGE: Final = "ImagePull", "ErrImage", "InvalidImage"
"""Beginnings of the reasons for which a container waits, if its image cannot be had."""


async def check_server(api: KubeHttp) -> Finding:
    """Check that the API server answers, knows the caller, and is new enough."""
    answer = await api.get("version")
    if not answer.is_ok and not answer.is_refused:
        return failed(
            "cluster",
            f"{api.server} is not a Kubernetes API server: {answer.problem}",
            "Name another kubeconfig or context: --kubeconfig, --context.",
        )
    if not answer.is_ok:
        return failed(
            "cluster",
            f"the API server {api.server} refuses this client: {answer.problem}",
            "Log in again, or name another kubeconfig or context: --kubeconfig, --context.",
        )
    name = str(answer.body.get("gitVersion", ""))
    number = tuple(int(part) for part in re.findall(r"\d+", name)[:2])
    if number < _OLDEST:
        return failed(
            "cluster",
            f"Kubernetes {name or 'of an unknown version'} at {api.server}",
            "Kubernetes 1.30 or newer is needed.",
        )
    return ok("cluster", f"Kubernetes {name} at {api.server}")


async def check_clock(api: KubeHttp) -> Finding:
    """Compare this machine's clock with the API server's."""
    offset = (await api.get("version")).clock_offset
    if offset is None:
        return skipped("clock", "the API server does not say what time it is")
    if abs(offset) > _MAX_OFFSET:
        return warning(
            "clock",
            f"the API server's clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} this machine's",
            "Set both by NTP: certificates and signatures of storage requests are valid for a limited time.",
        )
    return ok("clock", f"{max(0.0, abs(offset) - 0.5):.0f} s from the API server's")


async def check_definitions(api: KubeHttp) -> Finding:
    """Check that the API server knows all our kinds."""
    answer = await api.get("apis", GROUP, VERSION)
    known = {str(each.get("name")) for each in answer.body.get("resources", ())}
    missing = [kind for kind in _KINDS if kind not in known]
    if answer.status == HTTPStatus.NOT_FOUND or (answer.is_ok and missing):
        names = ", ".join(f"{kind}.{GROUP}" for kind in missing)
        return failed("CRDs", f"the cluster has no {names}", _INSTALL)
    if not answer.is_ok:
        return failed("CRDs", answer.problem, "Ask the cluster's administrator for the role system:discovery.")
    return ok("CRDs", f"{GROUP}/{VERSION}: {', '.join(_KINDS)}")


async def check_operator(api: KubeHttp, namespace: str | None) -> tuple[Finding, str | None]:
    """Check that the operator runs. Return its version too, if it is known.

    Args:
        api: The cluster.
        namespace: The operator's namespace; None if it is unknown.
    """
    place = ("namespaces", namespace) if namespace else ()
    answer = await api.get("apis", "apps", "v1", *place, "deployments", labelSelector=_OPERATOR)
    if answer.is_refused:
        return skipped(
            "operator",
            "this account may not list deployments"
            + (f" in the namespace {namespace}" if namespace else ", and the operator's namespace is unknown"),
            "Optional: name a namespace whose deployments you may list, with --operator-namespace.",
        ), None
    if not answer.items:
        where = f"in the namespace {namespace}" if namespace else "in any namespace"
        return failed("operator", f"there is no deployment {_OPERATOR} {where}", _INSTALL), None
    found = answer.items[0]
    metadata, status = found["metadata"], found.get("status", {})
    name = f"{metadata['namespace']}/{metadata['name']}"
    number = str(metadata.get("labels", {}).get("app.kubernetes.io/version", ""))
    ready, wanted = status.get("readyReplicas", 0), found.get("spec", {}).get("replicas", 1)
    if ready == 0:
        why = await _why_not_running(api, str(metadata["namespace"]))
        where = f"kubectl --namespace {metadata['namespace']} describe pods --selector {_OPERATOR}"
        return failed("operator", f"{name}: no replica is ready{why}", f"Look at `{where}`, and at its logs."), number
    if ready < wanted:
        why = await _why_not_running(api, str(metadata["namespace"]))
        message = f"{name}: {ready} of {wanted} replicas are ready{why}"
        return warning("operator", message, "It works. While the last replica restarts, new sessions wait."), number
    return ok("operator", f"{name} {number}: {ready} of {wanted} replicas are ready"), number


async def _why_not_running(api: KubeHttp, namespace: str) -> str:
    answer = await api.get("api", "v1", "namespaces", namespace, "pods", labelSelector=_OPERATOR)
    for pod in answer.items:
        for container in pod.get("status", {}).get("containerStatuses", ()):
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason", "").startswith(WAITING_FOR_IMAGE):
                return f": {waiting['reason']} for the image {container.get('image')}"
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                return f": {waiting['reason']}: {waiting.get('message', '')}"
    return ""


async def check_versions(api: KubeHttp, operator: str | None) -> Finding:
    """Compare the versions of operator, definitions and this client."""
    try:
        client = version("sandbox-operator")
    except PackageNotFoundError:
        client = ""
    answers = await asyncio.gather(
        *(
            api.get("apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions", f"{kind}.{GROUP}")
            for kind in _KINDS
        )
    )
    names = {"client": client} if client else {}
    if operator:
        names["operator"] = operator
    if all(answer.is_ok for answer in answers):
        names |= _versions_of_definitions(answers)
    elif len(names) < 2:  # noqa: PLR2004 - there is nothing to compare
        return skipped("versions", f"client {client}; this account may read neither the operator nor the CRDs")
    shown = ", ".join(f"{what} {number or 'before 0.1.0'}" for what, number in names.items())
    if len(set(names.values())) > 1:
        return warning("versions", shown, _UPGRADE)
    return ok("versions", shown)


def _versions_of_definitions(answers: list[Answer]) -> dict[str, str]:
    numbers = {str(answer.body["metadata"].get("annotations", {}).get(_VERSION, "")) for answer in answers}
    return {"CRDs": min(numbers)}


async def check_namespace(api: KubeHttp) -> Finding | None:
    """Return a finding if the namespace does not exist. None also if the caller may not read it."""
    answer = await api.get("api", "v1", "namespaces", api.namespace)
    if answer.status != HTTPStatus.NOT_FOUND:
        return None
    advice = f"Create it with `kubectl create namespace {api.namespace}`, or name another one with --namespace."
    return failed("namespace", f"the cluster has no namespace {api.namespace}", advice)


async def check_template(api: KubeHttp, name: str) -> list[Finding]:
    """Check that the template exists, and that the cluster has its RuntimeClass."""
    answer = await api.get("apis", GROUP, VERSION, "namespaces", api.namespace, "sandboxtemplates", name)
    if answer.status == HTTPStatus.NOT_FOUND:
        return [
            failed(
                "template",
                f"the namespace {api.namespace} has no SandboxTemplate {name}",
                f"Add the namespace to the chart's defaultTemplate.namespaces, or: kubectl --namespace {api.namespace} "
                "apply -f examples/template.yaml",
            )
        ]
    if not answer.is_ok:
        return [skipped("template", answer.problem)]
    spec = answer.body.get("spec", {})
    egress = spec.get("egress", {}).get("mode", "None")
    return [
        ok("template", f"{api.namespace}/{name}, egress {egress}"),
        await _check_runtime_class(api, str(spec.get("runtimeClassName") or "")),
    ]


async def _check_runtime_class(api: KubeHttp, wanted: str) -> Finding:
    answer = await api.get("apis", "node.k8s.io", "v1", "runtimeclasses")
    if not answer.is_ok:
        return skipped("RuntimeClass", f"the template asks for {wanted or 'none'}; {answer.problem}")
    names = sorted(str(each["metadata"]["name"]) for each in answer.items)
    present = f"the cluster has {', '.join(names) or 'none'}"
    if wanted and wanted not in names:
        return failed(
            "RuntimeClass",
            f"the template asks for {wanted}, but {present}",
            "Install that runtime on the nodes (docs/install/index.md#gvisor), or change spec.runtimeClassName.",
        )
    return ok("RuntimeClass", f"{wanted or 'the default runtime'} ({present})")


def needed_permissions(*, is_direct: bool) -> list[tuple[str, str, str, str]]:
    """Return group, resource, subresource and verb of all that a client of sessions does."""
    verbs = ("create", "get", "list", "watch", "patch", "delete")
    needed = [(GROUP, PLURAL, "", verb) for verb in verbs]
    needed.append(("", "secrets", "", "get"))
    if not is_direct:
        needed.append(("", "pods", "portforward", "create"))
    return needed


async def check_permissions(api: KubeHttp) -> Finding:
    """Ask the API server what the caller may do in the namespace."""
    needed = needed_permissions(is_direct=api.is_direct)
    answers = await asyncio.gather(*(may(api, *each) for each in needed))
    missing = [
        f"{verb} {resource}{'/' + subresource if subresource else ''}"
        for (_, resource, subresource, verb), allowed in zip(needed, answers, strict=True)
        if not allowed
    ]
    if missing:
        return failed(
            "permissions",
            f"in the namespace {api.namespace} this account may not: {', '.join(missing)}",
            "Bind the ClusterRole `edit` to it in that namespace, or a Role as in examples/agent-deployment.yaml.",
        )
    return ok("permissions", f"this account may use sessions in the namespace {api.namespace}")


async def may(api: KubeHttp, group: str, resource: str, subresource: str, verb: str) -> bool:
    """Return whether the caller has a permission in the namespace."""
    attributes: dict[str, Any] = {
        "namespace": api.namespace, "group": group, "resource": resource, "subresource": subresource, "verb": verb,
    }  # fmt: skip
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.post(review, "apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")
    return bool(answer.body.get("status", {}).get("allowed"))
