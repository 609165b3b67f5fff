"""The operator at scale: 100 fake nodes, a warm pool, sessions arriving by the clock, 5,000 idle ones, a restart.

    python -m benchmarks.cluster [--quick] [--output benchmarks/results/cluster.json]

Needs etcd, kube-apiserver, kube-scheduler and kube-controller-manager (of the test cluster, or on PATH) and kwok
(`go install sigs.k8s.io/kwok/cmd/kwok@v0.8.0`). Everything shares this machine's processors, the load generator too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.cluster import load, ready_made
from benchmarks.cluster.control_plane import REPOSITORY, free_port, open_control_plane

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.cluster.control_plane import ControlPlane

Rows = list[dict[str, Any]]
NAMESPACE = "bench"
SYSTEM = "bench-system"
COLLECTION = f"/apis/sandboxsessions.dev/v1alpha1/namespaces/{NAMESPACE}"
POOL = 1050
IDLE_SECONDS = 90.0
RATES = (  # sessions a second, seconds, p50 and p99 that it must meet in ms
    (5, 10, 30, 120),
    (20, 10, 100, 400),
    (75, 10, None, None),
)


class Operator:
    """The operator as a process, and what it says of itself."""

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
        profile = os.environ.get("SANDBOX_BENCH_PROFILE")
        command = [sys.executable, *(["-m", "cProfile", "-o", profile] if profile else [])]
        self.plane.start("operator", *command, "-m", "sandbox_operator", "run", env=environment)
        wait(lambda: self.metric("sandbox_operator_is_leader") == 1, "the operator leads")

    @property
    def pid(self) -> int:
        return self.plane.processes["operator"].pid

    def stop(self) -> None:
        self.plane.stop("operator")

    def metrics(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30).text

    def metric(self, name: str) -> float | None:
        """A metric's sum over its labels."""
        with contextlib.suppress(requests.RequestException):
            found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.metrics(), re.MULTILINE)
            return sum(map(float, found))
        return None

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[0]) / 1024


def wait(probe: Callable[[], object], what: str, timeout: float = 120.0, pause: float = 0.2) -> None:
    deadline = time.monotonic() + timeout
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(pause)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small pool and the first rate only")
    parser.add_argument("--idle", type=int, default=5000, help="idle sessions; 0 leaves that part out")
    parser.add_argument("--only-idle", action="store_true", help="that part only")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks/results/cluster.json")
    parsed = parser.parse_args()
    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder, open_control_plane(Path(folder), 100) as plane:
        try:
            measure(plane, parsed, rows)
        finally:
            for name in ("operator", "agents"):
                log = Path(folder) / f"{name}.log"
                if log.exists():
                    Path(tempfile.gettempdir(), f"sandbox-bench-{name}.log").write_bytes(log.read_bytes())
            write(parsed.output, rows)


def measure(plane: ControlPlane, parsed: argparse.Namespace, rows: Rows) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    prepare(plane)
    operator = Operator(plane)
    operator.start()
    start_agents(plane)
    if parsed.only_idle:
        measure_idle(plane, operator, rows, parsed.idle)
        return
    pool = 60 if parsed.quick else POOL
    began = time.monotonic()
    set_pool(plane, pool)
    record(rows, f"fill a pool of {pool}", "s", round(time.monotonic() - began, 1), None)
    for rate, seconds, p50, p99 in RATES[:1] if parsed.quick else RATES:
        set_pool(plane, pool)
        measure_rate(plane, operator, rows, rate, seconds, p50, p99)
        clean(plane)
    if parsed.idle and not parsed.quick:
        measure_idle(plane, operator, rows, parsed.idle)


def prepare(plane: ControlPlane) -> None:
    for name in (NAMESPACE, SYSTEM):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        plane.call("POST", "/api/v1/namespaces", body)
    template = {"metadata": {"name": "default"}, "spec": {"image": "sandbox:bench"}}
    create(plane, "SandboxTemplate", template)
    create(plane, "SandboxWarmPool", {"metadata": {"name": "default"}, "spec": {"replicas": 0}})


def create(plane: ControlPlane, kind: str, body: dict[str, Any]) -> None:
    head = {"apiVersion": "sandboxsessions.dev/v1alpha1", "kind": kind}
    plane.call("POST", f"{COLLECTION}/{kind.lower()}s", head | body)


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


def set_pool(plane: ControlPlane, replicas: int) -> None:
    path = f"{COLLECTION}/sandboxwarmpools/default"
    plane.call("PATCH", path, {"spec": {"replicas": replicas}})

    def is_filled() -> bool:
        pool = plane.call("GET", path)
        status = pool.get("status") or {}
        is_new = status.get("observedGeneration") == pool["metadata"]["generation"]
        return bool(is_new) and status.get("readyReplicas") == replicas == status.get("replicas")

    wait(is_filled, f"a pool of {replicas}", timeout=240, pause=0.5)


def measure_rate(
    plane: ControlPlane, operator: Operator, rows: Rows, rate: int, seconds: int, p50: int | None, p99: int | None
) -> None:
    time.sleep(3)
    writes = write_calls(operator)
    cpu = operator.cpu_seconds()
    arrivals = asyncio.run(load.run(plane.server, NAMESPACE, f"r{rate}", rate, seconds, 60))
    total, what = rate * seconds, f"warm start at {rate}/s x {seconds} s"
    last = max(arrivals.due.values())
    record(rows, f"{what}: Ready", "sessions", len(arrivals.ready), total, at_least=True)
    record(rows, f"{what}: p50", "ms", arrivals.quantile(0.5), p50)
    record(rows, f"{what}: p99", "ms", arrivals.quantile(0.99), p99)
    drained = max(arrivals.ready.values(), default=float("inf")) - last
    record(rows, f"{what}: last Ready after the last arrival", "s", round(drained, 2), 20)
    record(rows, f"{what}: from a warm pod", "sessions", arrivals.sources.get("Warm", 0), None)
    pods = list(arrivals.pods.values())
    record(rows, f"{what}: pods that two sessions have", "pods", len(pods) - len(set(pods)), 0)
    told = sorted(arrivals.told)
    record(rows, f"{what}: startup.milliseconds p50", "ms", told[len(told) // 2] if told else None, None)
    spent = {key: round((value - writes.get(key, 0)) / total, 2) for key, value in write_calls(operator).items()}
    record(rows, f"{what}: operator CPU a session", "ms", round((operator.cpu_seconds() - cpu) / total * 1000, 1), None)
    print(f"  calls a session, the refill included: { {key: value for key, value in spent.items() if value} }")


def write_calls(operator: Operator) -> dict[str, float]:
    found = re.findall(r"^sandbox_operator_api_calls_total{([^}]*)} (\S+)$", operator.metrics(), re.MULTILINE)
    result = {}
    for labels, count in found:
        names = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if names["resource"] != "leases":
            key = f"{names['verb']} {names['resource']} {names['code']}"
            result[key] = float(count)
    return result


def clean(plane: ControlPlane) -> None:
    """Delete all sessions; the collector deletes what they own."""
    plane.call("DELETE", f"{COLLECTION}/sandboxsessions")
    selector = "sandboxsessions.dev/state=bound"
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    wait(lambda: not plane.call("GET", pods, labelSelector=selector, limit=1)["items"], "pods are collected", 300, 1)


def measure_idle(plane: ControlPlane, operator: Operator, rows: Rows, count: int) -> None:
    set_pool(plane, 0)
    operator.stop()
    plane.stop("agents")
    template = plane.call("GET", f"{COLLECTION}/sandboxtemplates/default")
    start_agents(plane, asyncio.run(ready_made.create(plane.server, template, count)))
    began = time.monotonic()
    operator.start()
    wait(lambda: (operator.metric("sandbox_operator_reconcile_seconds_count") or 0) >= count, "reconciled", 300, 0.1)
    wait(lambda: operator.metric("sandbox_operator_queue_depth") == 0, "the queue is empty", 300, 0.1)
    seconds = round(time.monotonic() - began, 1)
    record(rows, f"restart with {count} sessions: process start to all reconciled", "s", seconds, 30)
    record(rows, f"restart with {count} sessions: operator CPU until then", "s", round(operator.cpu_seconds(), 1), None)
    cpu, seconds = operator.cpu_seconds(), IDLE_SECONDS
    time.sleep(seconds)
    share = (operator.cpu_seconds() - cpu) / seconds * 100
    asked = f"{count} idle sessions, {seconds:.0f} s after a restart, while agents are asked"
    record(rows, f"{asked}: operator CPU", "% of a core", round(share, 1), 5)
    record(rows, f"{count} idle sessions: operator RSS", "MiB", round(operator.rss_mib()), 250)


def record(
    rows: Rows, measure: str, unit: str, ours: float | None, must: float | None, *, at_least: bool = False
) -> None:
    met = None if must is None or ours is None else ours >= must if at_least else ours <= must
    rows.append({"measure": measure, "unit": unit, "ours": ours, "peer": None, "floor": None, "ratio": None,
                 "must": must, "met": met})  # fmt: skip
    print(
        f"{measure}: {ours} {unit}" + ("" if must is None else f" (must: {must}, {'met' if met else 'NOT MET'})"),
        flush=True,
    )


def write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kwok = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    machine = {
        "processors": os.cpu_count(),
        "model": model[1] if model else platform.processor(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
    }
    document = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": kwok.stdout.strip(), "runs": 1,
                "machine": machine, "rows": rows}  # fmt: skip
    path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
