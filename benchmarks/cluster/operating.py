"""Runs the operator and the agents of its fake pods as processes on the fake cluster, and prepares the cluster."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import requests

from benchmarks.cluster.control_plane import REPOSITORY, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.cluster.api import Api
    from benchmarks.cluster.control_plane import ControlPlane

NAMESPACE: Final = "bench"
SYSTEM: Final = "bench-system"
COLLECTION: Final = f"/apis/sandboxsessions.dev/v1alpha1/namespaces/{NAMESPACE}"
_RUN: Final = (
    "import sys; sys.modules['kubernetes'] = None; from sandbox_operator.__main__ import main; sys.exit(main(['run']))"
)
"""Runs without the `kubernetes` client, as in the operator's image. kopf imports it if it is installed."""


class Operator:
    """The operator as a process, with its metrics."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane, self.metrics_port, self.health_port = plane, free_port(), free_port()

    def start(self) -> None:
        roots = os.pathsep.join(str(REPOSITORY / root) for root in (".", "operator", "proto"))
        settings = {
            "NAMESPACE": SYSTEM,
            "POD_NAME": "bench",
            "METRICS_PORT": str(self.metrics_port),
            "HEALTH_PORT": str(self.health_port),
            "WATCH_NAMESPACES": NAMESPACE,
        }
        environment = {**os.environ, "PYTHONPATH": roots, "KUBECONFIG": str(self.plane.kubeconfig)}
        environment |= {f"SANDBOX_OPERATOR_{name}": value for name, value in settings.items()}
        self.plane.start("operator", sys.executable, "-c", _RUN, env=environment)
        wait(lambda: self.metric("sandbox_operator_is_leader") == 1, "the operator leads")

    @property
    def pid(self) -> int:
        return self.plane.processes["operator"].pid

    def stop(self) -> None:
        self.plane.stop("operator")

    def metrics(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30).text

    def metric(self, name: str) -> float | None:
        """Return a metric's sum over its labels, or None if the operator does not answer."""
        with contextlib.suppress(requests.RequestException):
            found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.metrics(), re.MULTILINE)
            return sum(map(float, found))
        return None

    def cpu_seconds(self) -> float:
        return self.plane.cpu_seconds("operator")

    def rss_mib(self) -> float:
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[0]) / 1024


def wait(probe: Callable[[], object], condition: str, timeout: float = 120.0, pause: float = 0.2) -> None:
    deadline = time.monotonic() + timeout
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(pause)


def prepare(plane: ControlPlane) -> None:
    for name in (NAMESPACE, SYSTEM):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        plane.call("POST", "/api/v1/namespaces", body)
    template = {"metadata": {"name": "default"}, "spec": {"image": "sandbox:bench"}}
    create(plane.api, "SandboxTemplate", template)
    create(plane.api, "SandboxWarmPool", {"metadata": {"name": "default"}, "spec": {"replicas": 0}})


def create(api: Api, kind: str, body: dict[str, Any]) -> None:
    head = {"apiVersion": "sandboxsessions.dev/v1alpha1", "kind": kind}
    api.call("POST", f"{COLLECTION}/{kind.lower()}s", head | body)


def start_agents(plane: ControlPlane, bound: dict[str, str] | None = None) -> None:
    secret = plane.folder / "authority.json"
    path = f"/api/v1/namespaces/{SYSTEM}/secrets/sandbox-operator-ca"
    secret.write_text(json.dumps(plane.call("GET", path)))
    roots = os.pathsep.join(str(REPOSITORY / root) for root in (".", "operator", "proto"))
    known = plane.folder / "bound.json"
    known.write_text(json.dumps(bound or {}))
    command = [sys.executable, "-m", "benchmarks.cluster.agents", str(secret), NAMESPACE, str(known)]
    plane.start("agents", *command, env={**os.environ, "PYTHONPATH": roots})
    wait(lambda: b"ready" in (plane.folder / "agents.log").read_bytes(), "the agents")


def set_pool(api: Api, replicas: int, timeout: float = 240.0) -> None:
    """Set the pool's size and wait until it is full."""
    path = f"{COLLECTION}/sandboxwarmpools/default"
    api.call("PATCH", path, {"spec": {"replicas": replicas}})

    def is_filled() -> bool:
        pool = api.call("GET", path)
        status = pool.get("status") or {}
        is_new = status.get("observedGeneration") == pool["metadata"]["generation"]
        return bool(is_new) and status.get("readyReplicas") == replicas == status.get("replicas")

    wait(is_filled, f"a pool of {replicas}", timeout, pause=0.5)


def clean(api: Api) -> None:
    """Delete all sessions, and wait until the garbage collector has deleted their pods."""
    api.call("DELETE", f"{COLLECTION}/sandboxsessions")
    selector = "sandboxsessions.dev/state=bound"
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    wait(lambda: not api.call("GET", pods, labelSelector=selector, limit=1)["items"], "pods are collected", 300, 1)
