"""Finds out whether the CNI enforces NetworkPolicies: two pods try to connect to a session's pod.

The session's policy admits pods with the client label. The pod with the label shows that the network works at all, the
pod without it that the policy holds.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.cluster.sessions import AGENT_PORT, GROUP, VERSION
from sandbox_client.doctor.cluster_checks import may
from sandbox_client.doctor.findings import Finding, failed, ok, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.doctor.api import KubeHttp
    from sandbox_client.doctor.probe_session import ProbeSession

CLIENT_LABEL: Final = "sandboxsessions.dev/client"
_POLL: Final = 0.5
_START_SECONDS: Final = 60.0
_TRIES: Final = 10
"""Attempts to connect, a second apart: a CNI may need some seconds to learn of a new pod."""
_REACHED, _BLOCKED = 0, 3
"""Exit codes of the pods."""
_PROGRAM: Final = f"""
import socket, sys, time
failures = 0
for _ in range({_TRIES}):
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
        failures = 0
    except OSError:
        failures += 1
    if sys.argv[3] == "client" and not failures:
        break
    if sys.argv[3] == "stranger" and failures == 2:
        break
    time.sleep(1)
sys.exit({_BLOCKED} if failures else {_REACHED})
"""
"""Ends with the first connection of a client, or the second failure of a stranger in a row."""
_CNI_ADVICE: Final = (
    "User code in sessions can reach everything that the nodes reach. Install a CNI that enforces NetworkPolicies, or "
    "switch that on (docs/install/index.md#network-policies)."
)


async def check_policies(api: KubeHttp, session: ProbeSession) -> Finding:
    """Connect to the session's pod from a pod with the client label, and from one without it."""
    address = session.pod.get("status", {}).get("podIP")
    if not address:
        return skipped("network policies", "this account may not read the session's pod")
    for verb in ("create", "get", "delete"):
        if not await may(api, "", "pods", "", verb):
            return skipped("network policies", f"this account may not {verb} pods in the namespace {api.namespace}")
    unique = secrets.token_hex(4)
    pods = {
        name: build_probe(f"sandbox-doctor-{name}-{unique}", session.resource, session.pod, is_client=name == "client")
        for name in ("client", "stranger")
    }
    try:
        codes = await asyncio.gather(*(_run(api, pod) for pod in pods.values()))
    finally:
        for pod in pods.values():
            await api.delete(*_path(api), pod["metadata"]["name"], gracePeriodSeconds="0")
    return judge(*codes)


def judge(client: int | str, stranger: int | str) -> Finding:
    """Return the finding for two exit codes, or for the reasons why a pod did not run.

    Args:
        client: Of the pod with the label.
        stranger: Of the pod without it.
    """
    for outcome in (client, stranger):
        if isinstance(outcome, str):
            return skipped("network policies", f"a pod of the doctor did not run: {outcome}")
    if client == _BLOCKED:
        return warning(
            "network policies",
            f"a pod with the label {CLIENT_LABEL}=true cannot connect to a session in its own namespace",
            "Check for other NetworkPolicies in the namespace, such as a default deny of egress: clients in the "
            f"cluster need TCP port {AGENT_PORT} of the sessions' pods.",
        )
    if stranger == _REACHED:
        return failed(
            "network policies", f"not enforced: a pod without the label {CLIENT_LABEL}=true connected", _CNI_ADVICE
        )
    if (client, stranger) == (_REACHED, _BLOCKED):
        return ok("network policies", "enforced: only the pod with the client label could connect")
    return skipped("network policies", f"the doctor's pods ended with exit codes {client} and {stranger}")


def build_probe(
    name: str, session: Mapping[str, Any], session_pod: Mapping[str, Any], *, is_client: bool
) -> dict[str, Any]:
    """Build a pod that tries to connect to a session's pod, and ends. The session owns it, so it goes with it.

    Args:
        name: The pod's name.
        session: The session's custom resource.
        session_pod: The session's pod. Its image and placement work here, so the probe takes them over.
        is_client: Whether the pod has the client label.
    """
    spec = session_pod["spec"]
    image = next(container["image"] for container in spec["containers"] if container["name"] == "sandbox")
    placement = {key: spec[key] for key in ("imagePullSecrets", "nodeSelector", "tolerations") if spec.get(key)}
    arguments = [session_pod["status"]["podIP"], str(AGENT_PORT), "client" if is_client else "stranger"]
    labels = {"app.kubernetes.io/name": "sandbox-doctor", **({CLIENT_LABEL: "true"} if is_client else {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": "SandboxSession",
                    "name": session["metadata"]["name"],
                    "uid": session["metadata"]["uid"],
                }
            ],
        },
        "spec": {
            **placement,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 120,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "command": ["python3", "-c", _PROGRAM, *arguments],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"cpu": "500m", "memory": "64Mi"},
                    },
                    "securityContext": {
                        "runAsUser": 10002,
                        "runAsGroup": 10002,
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def _path(api: KubeHttp) -> tuple[str, ...]:
    return ("api", "v1", "namespaces", api.namespace, "pods")


async def _run(api: KubeHttp, pod: Mapping[str, Any]) -> int | str:
    """Run a pod and return its exit code, or why it did not end."""
    answer = await api.post(pod, *_path(api))
    if not answer.is_ok:
        return answer.problem
    end = time.monotonic() + _START_SECONDS + 3 * _TRIES
    reason = "it did not end in time"
    while time.monotonic() < end:
        answer = await api.get(*_path(api), pod["metadata"]["name"])
        status = answer.body.get("status", {})
        for container in status.get("containerStatuses", ()):
            state = container.get("state", {})
            if "terminated" in state:
                return int(state["terminated"]["exitCode"])
            reason = state.get("waiting", {}).get("message") or reason
        if status.get("phase") == "Failed":
            return str(status.get("message") or status.get("reason") or reason)
        await asyncio.sleep(_POLL)
    return str(reason)
