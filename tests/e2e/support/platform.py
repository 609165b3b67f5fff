"""The cluster that the tests run on: an existing one by KUBECONFIG, or our own one-node cluster.

An existing cluster has to have the images (SANDBOX_E2E_REGISTRY, SANDBOX_E2E_TAG) and an S3 bucket
(SANDBOX_E2E_S3_ENDPOINT, _CIDR, _ACCESS_KEY, _SECRET_KEY). Tests that act on the node itself are skipped there. Without
user namespaces or gVisor the tests of attacks fail, unless SANDBOX_E2E_ISOLATIONS names what there is (isolations.py).
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from tests.e2e.support.kubectl import run

REPOSITORY = Path(__file__).parents[3]
TOOL = REPOSITORY / "tests/e2e/cluster/sandbox-cluster"
CHART = REPOSITORY / "deploy/helm/sandbox-operator"
STATE = Path(os.environ.get("SANDBOX_E2E_HOME", "/var/lib/sandbox-e2e"))
OWN_KUBECONFIG = STATE / "run/admin.conf"
NODE_IP = "10.201.0.1"
SECOND_IP = "10.201.0.2"


@dataclass(frozen=True)
class Storage:
    """The S3 endpoint of the tests."""

    endpoint: str
    cidr: str
    access_key: str
    secret_key: str
    bucket: str = "sandbox-e2e"
    prefix: str = "sandboxes"

    @property
    def port(self) -> int:
        """The endpoint's port."""
        parts = urlsplit(self.endpoint)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def client(self) -> Any:
        """A plain boto3 client, as anybody would make it."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def key(self, namespace: str, workspace: str, path: str = "") -> str:
        """Where a saved file of a workspace is; without a path, what the keys of all of them begin with."""
        return f"{self.prefix}/{namespace}/{workspace}/code-interpreter/{path}"

    def digests(self, namespace: str, workspace: str) -> dict[str, str]:
        """SHA-256 of each saved file of a workspace, by its path: what is below `code-interpreter/`."""
        client = self.client()
        prefix = self.key(namespace, workspace)
        listed = client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        contents = {
            item["Key"]: client.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read() for item in listed
        }
        return {key.removeprefix(prefix): hashlib.sha256(content).hexdigest() for key, content in contents.items()}


@dataclass
class Platform:
    """Where the tests run."""

    kubeconfig: str
    storage: Storage
    registry: str
    tag: str
    is_own: bool
    _started: bool = field(default=False)

    def image(self, name: str) -> str:
        """One of our images: `sandbox-operator`, `sandbox-agent` or `sandbox-slim`."""
        return f"{self.registry}{name}:{self.tag}"

    def stop(self) -> None:
        """Stop our own cluster, if this run started it and nobody wants to keep it."""
        if self._started and not os.environ.get("SANDBOX_E2E_KEEP"):
            run(str(TOOL), "down")

    def kill(self, pod: dict[str, Any], container: str, signal: str = "SIGKILL") -> None:
        """Send a signal to a container's first process, as the kernel would."""
        statuses = pod["status"]["containerStatuses"]
        container_id = next(status["containerID"] for status in statuses if status["name"] == container)
        run(str(TOOL), "kill-task", container_id.removeprefix("containerd://"), signal)

    def tag_image(self, name: str, tag: str) -> None:
        """Give one of our images a second tag, as a new version's would be."""
        run(str(TOOL), "ctr", "images", "tag", "--force", self.image(name), f"{self.registry}{name}:{tag}")

    @contextlib.contextmanager
    def storage_outage(self) -> Iterator[None]:
        """Object storage is down inside; it comes back with all that it had."""
        with self._without("storage"):
            yield

    @contextlib.contextmanager
    def api_server_outage(self) -> Iterator[None]:
        """The API server is down inside; etcd, the kubelet and all containers go on."""
        with self._without("apiserver"):
            yield

    @contextlib.contextmanager
    def kubelet_outage(self) -> Iterator[None]:
        """The kubelet is down inside; containers go on."""
        with self._without("kubelet"):
            yield

    @contextlib.contextmanager
    def killed(self, part: str) -> Iterator[None]:
        """A part of the cluster (`sandbox-cluster` lists them) is killed; it comes back with all that it had."""
        with self._without(part, "kill"):
            yield

    @contextlib.contextmanager
    def silence(self, pod: dict[str, Any]) -> Iterator[None]:
        """Nothing gets to a pod or from it inside, and nobody is told: as a host that is gone."""
        address = pod["status"]["podIP"]
        device = re.findall(r" dev (cali\w+)", run("ip", "route", "get", address))[0]
        run("ip", "link", "set", "dev", device, "down")
        try:
            yield
        finally:
            run("ip", "link", "set", "dev", device, "up")
            # The kernel forgot it with the link.
            run("ip", "route", "replace", f"{address}/32", "dev", device, "scope", "link")

    @contextlib.contextmanager
    def _without(self, part: str, verb: str = "stop") -> Iterator[None]:
        run(str(TOOL), f"{part}-{verb}")
        try:
            yield
        finally:
            run(str(TOOL), f"{part}-start")


def open_platform() -> Platform:
    """Use the cluster of KUBECONFIG, or start ours; then see to the images."""
    os.environ["PATH"] = f"{STATE / 'bin'}{os.pathsep}{os.environ['PATH']}"
    given = os.environ.get("KUBECONFIG")
    if given and Path(given) != OWN_KUBECONFIG:
        return _existing(given)
    started = "not running" in run(str(TOOL), "status")
    if started:
        run(str(TOOL), "build", timeout=7200)
        run(str(TOOL), "up")
    if not os.environ.get("SANDBOX_E2E_SAME_IMAGES"):
        run(str(TOOL), "images", timeout=3600)
    storage = Storage(f"http://{NODE_IP}:9000", f"{NODE_IP}/32", "sandbox-e2e", "sandbox-e2e-secret")
    return Platform(str(OWN_KUBECONFIG), storage, "localhost/", "e2e", is_own=True, _started=started)


def _existing(kubeconfig: str) -> Platform:
    missing = [name for name in ("kubectl", "helm") if not shutil.which(name)]
    if missing:
        raise RuntimeError(f"with KUBECONFIG set, these have to be on PATH: {', '.join(missing)}")
    settings = {
        name: os.environ.get(f"SANDBOX_E2E_S3_{name}", "") for name in ("ENDPOINT", "CIDR", "ACCESS_KEY", "SECRET_KEY")
    }
    if not all(settings.values()):
        raise RuntimeError(
            f"with KUBECONFIG set, SANDBOX_E2E_S3_* have to name a bucket's endpoint: {', '.join(settings)}"
        )
    storage = Storage(settings["ENDPOINT"], settings["CIDR"], settings["ACCESS_KEY"], settings["SECRET_KEY"])
    registry, tag = os.environ.get("SANDBOX_E2E_REGISTRY", ""), os.environ.get("SANDBOX_E2E_TAG", "latest")
    return Platform(kubeconfig, storage, registry, tag, is_own=False)
