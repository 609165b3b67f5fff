"""The cluster, the installed chart, a namespace under Pod Security `restricted`, and sessions that are cleaned up."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.kubectl import Kubectl, RefusedError, poll, run
from tests.e2e.support.platform import CHART, Platform, open_platform
from tests.e2e.support.sessions import Sessions

SYSTEM = "sandbox-system"
NAMESPACE = "sandbox-e2e"
RELEASE = "sandbox-operator"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster; building one takes longer than any test may."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if not item.get_closest_marker("full_image"):
                item.add_marker(pytest.mark.e2e)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The cluster with our images, and its object storage with an empty bucket."""
    platform = open_platform()
    try:
        client = platform.storage.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=platform.storage.bucket)
        yield platform
    finally:
        platform.stop()


@pytest.fixture(scope="session")
def system(platform: Platform) -> Kubectl:
    """kubectl in the operator's namespace, with the chart installed."""
    kubectl = Kubectl(platform.kubeconfig, SYSTEM)
    for name, labels in ((SYSTEM, {}), (NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    with contextlib.suppress(RefusedError):
        if kubectl("get", "crd", "sandboxsessions.sandboxsessions.dev"):
            # helm installs CRDs, it never changes them: on a cluster that was kept, ours may be newer.
            kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CHART / "crds"))
    try:
        install(platform)
    except RefusedError as error:
        logs = kubectl("logs", f"--selector=app.kubernetes.io/name={RELEASE}", "--tail=20", "--prefix")
        raise RefusedError(f"{error}\n{kubectl('get', 'pods', '-o', 'wide')}\n{logs}") from None
    return kubectl


def install(platform: Platform, *lists: str, **changes: str) -> None:
    """`helm upgrade --install` with the tests' images and storage, waiting until both replicas are ready.

    Args:
        platform: Where.
        lists: Further values that are no strings, as `--set` takes them.
        changes: Further values as strings; `__` in a name stands for a dot.
    """
    storage = platform.storage
    # Every test runs on credentials of its session's own workspace, where the store can make them.
    role = {"storage.credentials": "sts", "storage.sts.roleArn": "arn:minio:iam:::role/sandboxes"}
    values = {
        "images.operator.repository": f"{platform.registry}sandbox-operator",
        "images.agent.repository": f"{platform.registry}sandbox-agent",
        "images.sandbox.repository": f"{platform.registry}sandbox-slim",
        **{f"images.{name}.tag": platform.tag for name in ("operator", "agent", "sandbox")},
        "storage.bucket": storage.bucket,
        "storage.endpoint": storage.endpoint,
        "storage.prefix": storage.prefix,
        "storage.accessKeyId": storage.access_key,
        "storage.secretAccessKey": storage.secret_key,
        **(role if platform.is_own else {}),
        # Images keep their tag from run to run; this makes pods with the new ones.
        "podAnnotations.e2e-run": f"run-{int(time.time())}",
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    typed = ["storage.pathStyle=true", f"storage.port={storage.port}"]
    typed += [f"storage.cidrs={{{storage.cidr}}}", f"defaultTemplate.namespaces={{{NAMESPACE}}}"]
    run(
        "helm", "upgrade", "--install", RELEASE, str(CHART), "--namespace", SYSTEM, "--kubeconfig", platform.kubeconfig,
        "--wait", "--timeout", "90s",
        *(part for key, value in values.items() for part in ("--set-string", f"{key}={value}")),
        *(part for item in (*typed, *lists) for part in ("--set", item)),
    )  # fmt: skip


@pytest.fixture
def operator_is_up(system: Kubectl) -> None:
    """Both replicas are there again, whatever the test before did to them."""
    poll("the operator's replicas are ready", lambda: replicas_ready(system) >= 2, timeout=90)


def replicas_ready(system: Kubectl) -> int:
    """How many of the operator's pods are ready."""
    return system.get("deployment", RELEASE).get("status", {}).get("readyReplicas", 0)


@pytest.fixture(scope="session")
def kubectl(system: Kubectl) -> Kubectl:
    """kubectl in the test namespace."""
    return system.within(NAMESPACE)


@pytest.fixture
def sessions(kubectl: Kubectl, operator_is_up: None) -> Iterator[Sessions]:
    """Makes sessions, and deletes them after the test."""
    sessions = Sessions(kubectl)
    try:
        yield sessions
    finally:
        sessions.close()


@pytest.fixture
def image(platform: Platform) -> str:
    """The sandbox image."""
    return platform.image("sandbox-slim")


@pytest.fixture(scope="session")
def own_node(platform: Platform) -> Platform:
    """The platform, where tests may act on the node itself."""
    if not platform.is_own:
        pytest.skip("needs the node itself: runs on our own cluster only")
    return platform
