"""Storage in the cluster, as examples/install/minio.yaml and values-minio.yaml set it up."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import replicas_ready
from tests.e2e.support.chart import RELEASE, SYSTEM, install
from tests.e2e.support.kubectl import Kubectl, poll, run
from tests.e2e.support.platform import CHART, REPOSITORY, STATE, Platform
from tests.e2e.support.sessions import Sessions

INSTALL = REPOSITORY / "examples/install"


def adapted(platform: Platform, namespace: str) -> list[dict[str, Any]]:
    """The manifest for a cluster without a registry, without a provisioner of volumes and without DNS."""
    objects = list(yaml.safe_load_all((INSTALL / "minio.yaml").read_text()))
    for each in objects:
        if each["kind"] == "NetworkPolicy" and each["metadata"]["namespace"] == "default":
            each["metadata"]["namespace"] = namespace
        if each["kind"] == "Deployment":
            spec = each["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            container["image"] = platform.image("sandbox-slim")
            container["command"][-1] = container["command"][-1].replace("exec minio", "exec /programs/minio")
            container["volumeMounts"].append({"name": "programs", "mountPath": "/programs", "readOnly": True})
            spec["volumes"] = [
                {"name": "data", "emptyDir": {}},
                {"name": "programs", "hostPath": {"path": str(STATE / "bin")}},
            ]
    return [each for each in objects if each["kind"] != "PersistentVolumeClaim"]


@pytest.fixture
def minio(own_node: Platform, system: Kubectl, kubectl: Kubectl) -> Iterator[None]:
    """The release keeps workspaces in the MinIO of the manifest. The tests' storage comes back afterwards."""
    objects = adapted(own_node, kubectl.namespace)
    # Without a namespace, since the manifest names several.
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    run("kubectl", f"--kubeconfig={own_node.kubeconfig}", "apply", "-f", "-", stdin=manifest)
    inside = kubectl.within("minio")
    inside("wait", "--for=condition=Available", "deployment/minio", "--timeout=90s")
    address = inside.get("service", "minio")["spec"]["clusterIP"]
    values = [
        *("images.registry=localhost", "images.operator.tag=e2e", "images.agent.tag=e2e", "images.sandbox.tag=e2e"),
        *(f"storage.endpoint=http://{address}:9000", f"defaultTemplate.namespaces={{{kubectl.namespace}}}"),
    ]
    run(
        "helm", "upgrade", RELEASE, str(CHART), "--namespace", SYSTEM, "--kubeconfig", own_node.kubeconfig, "--wait",
        "--timeout", "120s", "--values", str(INSTALL / "values-minio.yaml"),
        *(part for value in values for part in ("--set", value)),
    )  # fmt: skip
    yield
    kubectl.within("minio").delete("namespace", "minio")
    for each in (kubectl, system):
        each.delete("networkpolicy", "sandbox-storage")
    install(own_node)
    poll("both replicas are ready", lambda: replicas_ready(system) >= 2, timeout=90)


def test_sessions_reach_a_store_in_the_cluster_by_its_labels(minio: None, platform: Platform, kubectl: Kubectl):
    sessions = Sessions(kubectl)
    command = [str(REPOSITORY / ".venv/bin/sandbox"), "doctor", "--namespace", kubectl.namespace]
    try:
        findings = json.loads(run(*command, "--kubeconfig", platform.kubeconfig, "--output", "json", timeout=240))
        storage = [each for each in findings["findings"] if each["check"] == "storage"]
        assert [(each["level"], each["message"]) for each in storage] == [
            ("ok", "put, get, list, copy, conditional put, delete")
        ]
        name = sessions.ready()
        with sessions.connect(name) as sandbox:
            sandbox.files.write("kept.txt", "kept")
            assert sandbox.workspace.push().files_saved == 1
    finally:
        sessions.close()
