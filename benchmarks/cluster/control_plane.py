"""Runs etcd, kube-apiserver, scheduler, garbage collector and kwok with fake nodes, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import urllib3
import yaml

from benchmarks.cluster.api import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
REPOSITORY = Path(__file__).parents[2]
CRDS = REPOSITORY / "deploy/helm/sandbox-operator/crds"
TOKEN = "benchmark"
POD_ADDRESSES = "127.64.0.0/10"
"""Addresses of the fake pods. All of 127/8 is this machine, so one stub answers for every pod."""


@dataclass
class ControlPlane:
    """The processes of a control plane, and access to its API server."""

    folder: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def start(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        self.processes[name] = process

    def stop(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def cpu_seconds(self, name: str) -> float:
        """Return the CPU seconds that a process has used so far."""
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def api(self) -> Api:
        return Api(self.server, token=TOKEN)

    def call(self, method: str, path: str, body: object = None, **parameters: str | int) -> dict[str, Any]:
        """Make one call and return its JSON."""
        return self.api.call(method, path, body, **parameters)


def find_binary(name: str, *folders: Path | str) -> str:
    for folder in folders:
        if folder and (Path(folder) / name).is_file():
            return str(Path(folder) / name)
    found = shutil.which(name)
    if not found:
        sys.exit(f"benchmarks.cluster needs {name} on PATH or in $SANDBOX_E2E_HOME/bin (make cluster builds it)")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def open_control_plane(folder: Path, nodes: int) -> Iterator[ControlPlane]:
    """Start all processes, and stop them at the end of the block."""
    binaries = Path(os.environ.get("SANDBOX_E2E_HOME", "/var/lib/sandbox-e2e")) / "bin"
    gopath = os.environ.get("SANDBOX_BENCH_BIN", "")
    plane = ControlPlane(folder, free_port())
    try:
        _start_etcd_and_apiserver(plane, binaries)
        _write_kubeconfig(plane)
        _wait(lambda: plane.call("GET", "/api/v1/namespaces/default"), "the API server")
        for file in sorted(CRDS.glob("*.yaml")):
            _create_from_yaml(plane, file)
        wait_until_served(plane)
        scheduler = find_binary("kube-scheduler", binaries)
        plane.start(
            "scheduler", scheduler, f"--kubeconfig={plane.kubeconfig}", "--leader-elect=false", "--secure-port=0",
            "--kube-api-qps=500", "--kube-api-burst=1000",
        )  # fmt: skip
        plane.start(
            "gc", find_binary("kube-controller-manager", binaries), f"--kubeconfig={plane.kubeconfig}",
            "--leader-elect=false", "--secure-port=0", "--controllers=garbage-collector-controller",
            "--kube-api-qps=500", "--kube-api-burst=1000",
        )  # fmt: skip
        for number in range(nodes):
            plane.call("POST", "/api/v1/nodes", _node(f"fake-{number:03d}"))
        plane.start(
            "kwok", find_binary("kwok", gopath, binaries, Path.home() / "go/bin"), f"--kubeconfig={plane.kubeconfig}",
            "--manage-all-nodes", f"--cidr={POD_ADDRESSES}", f"--config={Path(__file__).parent / 'kubelet.yaml'}",
            "--v=WARN",
        )  # fmt: skip
        yield plane
    finally:
        for name in reversed(list(plane.processes)):
            plane.stop(name)


def _start_etcd_and_apiserver(plane: ControlPlane, binaries: Path) -> None:
    client, peer = free_port(), free_port()
    plane.start(
        "etcd", find_binary("etcd", binaries), "--data-dir", str(plane.folder / "etcd"), "--unsafe-no-fsync",
        "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
        "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
        "--initial-cluster", f"default=http://127.0.0.1:{peer}", "--quota-backend-bytes", str(4 << 30),
    )  # fmt: skip
    tokens, key = plane.folder / "tokens.csv", plane.folder / "accounts.key"
    tokens.write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    plane.start(
        "apiserver", find_binary("kube-apiserver", binaries), f"--etcd-servers=http://127.0.0.1:{client}",
        f"--secure-port={plane.port}", "--bind-address=127.0.0.1", f"--cert-dir={plane.folder / 'pki'}",
        f"--token-auth-file={tokens}", "--authorization-mode=RBAC", f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}", "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.98.0.0/16", "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        # Streaming lists need a newer etcd than Debian's. Clients fall back if the server does not support them.
        "--feature-gates=WatchList=false", "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000",
    )  # fmt: skip


def _write_kubeconfig(plane: ControlPlane) -> None:
    plane.kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "bench",
                "clusters": [{"name": "bench", "cluster": {"server": plane.server, "insecure-skip-tls-verify": True}}],
                "users": [{"name": "admin", "user": {"token": TOKEN}}],
                "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "admin"}}],
            }
        )
    )


def _create_from_yaml(plane: ControlPlane, file: Path) -> None:
    body = yaml.safe_load(file.read_text())
    plane.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)


def wait_until_served(plane: ControlPlane) -> None:
    for plural in ("sandboxsessions", "sandboxtemplates", "sandboxwarmpools"):
        _wait(partial(plane.call, "GET", f"/apis/sandboxsessions.dev/v1alpha1/{plural}"), plural)


def _node(name: str) -> dict[str, Any]:
    room = {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "1Ti", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": room, "capacity": room},
    }


def _wait(probe: Callable[[], object], what: str, timeout: float = 90) -> None:
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(requests.RequestException, RuntimeError, ValueError):
            if probe():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.3)
