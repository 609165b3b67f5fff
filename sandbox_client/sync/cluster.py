"""The synchronous cluster client. derive.py makes each method from its asynchronous namesake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sandbox_client.cluster.client import AsyncCluster
from sandbox_client.stored.workspaces import AsyncStoredWorkspaces
from sandbox_client.sync.derive import OwningProxy, SyncProxy, blocking, blocking_proxy
from sandbox_client.sync.loop_thread import LoopThread

if TYPE_CHECKING:
    import os
    from types import TracebackType


class StoredWorkspaces(SyncProxy[AsyncStoredWorkspaces]):
    """The stored workspaces of one namespace. `Cluster.workspaces` opens them, or `StoredWorkspaces.open`.

    It reads and deletes objects with the caller's own credentials for the store.
    """

    get = blocking(AsyncStoredWorkspaces.get)
    delete = blocking(AsyncStoredWorkspaces.delete)
    prune = blocking(AsyncStoredWorkspaces.prune)
    list = blocking(AsyncStoredWorkspaces.list)
    _owns_loop = False

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """Open the folder that local sessions use as their store (`AsyncSandbox.local(store=...)`).

        Raises:
            InvalidArgument: There is no such folder.
        """
        loop = LoopThread()
        try:
            opened = cls(loop.run(AsyncStoredWorkspaces.open(folder)), loop)
        except BaseException:
            loop.stop()
            raise
        opened._owns_loop = True
        return opened

    def close(self) -> None:
        """Close the connections to the store. Idempotent."""
        if not self._loop.is_closed:
            self._loop.run(self._core.close())
            if self._owns_loop:
                self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


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
    workspaces = blocking_proxy(StoredWorkspaces, AsyncCluster.workspaces)

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
