"""The synchronous cluster client. derive.py makes each method from its asynchronous namesake."""

from __future__ import annotations

from typing import Self

from sandbox_client.cluster.client import AsyncCluster
from sandbox_client.sync.derive import OwningProxy, blocking
from sandbox_client.sync.loop_thread import LoopThread


class Cluster(OwningProxy[AsyncCluster]):
    """The sessions of one namespace of a cluster. Open it with `Cluster.open()`, and use it as a context manager.

    Its methods read and change SandboxSessions. To run code in one, use `Sandbox.connect`.
    """

    list = blocking(AsyncCluster.list)
    get = blocking(AsyncCluster.get)
    create = blocking(AsyncCluster.create)
    delete = blocking(AsyncCluster.delete)
    suspend = blocking(AsyncCluster.suspend)
    resume = blocking(AsyncCluster.resume)
    set_timeout = blocking(AsyncCluster.set_timeout)

    @classmethod
    def open(
        cls, namespace: str | None = None, *, kubeconfig: str | None = None, kube_context: str | None = None
    ) -> Self:
        """Read the kubeconfig, or this pod's service account. Nothing is asked of the API server yet.

        Args:
            namespace: The namespace; that of the kubeconfig, or of this pod, if None.
            kubeconfig: Path of a kubeconfig; the usual one if None.
            kube_context: Context of the kubeconfig; the current one if None.

        Raises:
            SandboxUnavailable: There is no kubeconfig and no service account.
        """
        loop = LoopThread()
        try:
            core = loop.run(AsyncCluster.open(namespace, kubeconfig=kubeconfig, kube_context=kube_context))
        except BaseException:
            loop.stop()
            raise
        return cls(core, loop)

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self._core.namespace
