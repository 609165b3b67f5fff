"""The containers of sessions and of the operator, by which a test sees that they stayed the same ones."""

from typing import Any

from kubernetes.client import CoreV1Api

from sandbox_client.cluster.api import ClusterOptions, open_client
from tests.e2e.support.chart import RELEASE, SYSTEM
from tests.e2e.support.kubectl import Kubectl

Identities = dict[str, tuple[str, int]]
"""Id and count of restarts of each container, by `POD/NAME`."""


class Containers:
    """The containers of some pods of one namespace, and those of the operator.

    Args:
        kubectl: In the namespace of the pods.
        pods: Names of the pods.
    """

    def __init__(self, kubectl: Kubectl, *pods: str) -> None:
        self._namespace, self._pods = kubectl.namespace, pods
        self._api = CoreV1Api(open_client(ClusterOptions(kubectl.namespace, kubectl.kubeconfig))[0])

    def identities(self) -> Identities:
        """Identify each of them."""
        return {name: (each.container_id or "", each.restart_count) for name, each in self._statuses()}

    def ready(self) -> Identities:
        """Identify each of them; empty if one is not ready."""
        return self.identities() if all(each.ready for _, each in self._statuses()) else {}

    def _statuses(self) -> list[tuple[str, Any]]:
        pods = [self._api.read_namespaced_pod(name, self._namespace) for name in self._pods]
        pods += self._api.list_namespaced_pod(SYSTEM, label_selector=f"app.kubernetes.io/name={RELEASE}").items
        return [
            (f"{pod.metadata.name}/{each.name}", each) for pod in pods for each in pod.status.container_statuses or ()
        ]
