"""The chart on a cluster, with the tests' images and storage."""

import contextlib
import time

from tests.e2e.support.kubectl import Kubectl, RefusedError, run
from tests.e2e.support.platform import CHART, Platform

SYSTEM = "sandbox-system"
NAMESPACE = "sandbox-e2e"
RELEASE = "sandbox-operator"


def create_bucket(platform: Platform) -> None:
    """The bucket of all workspaces, where it is not there."""
    client = platform.storage.client()
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=platform.storage.bucket)


def open_system(platform: Platform) -> Kubectl:
    """The namespaces and the chart in them; kubectl in the operator's."""
    kubectl = Kubectl(platform.kubeconfig, SYSTEM)
    for name, labels in ((SYSTEM, {}), (NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
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
        "images.registry": platform.registry.rstrip("/") or "docker.io/library",
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
