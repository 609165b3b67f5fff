"""Creates and deletes the pods of a pool: first the NetworkPolicy, then the pod, then the certificate that it owns."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox_operator.api import naming
from sandbox_operator.api.models import Metadata
from sandbox_operator.errors import (
    AlreadyExistsError,
    Blocked,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from sandbox_operator.kube.resources import PODS, SECRETS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.manifests.pod import BLANK_EGRESS, BlankPodRequest, build_blank_pod
from sandbox_operator.manifests.secrets import build_blank_tls_secret
from sandbox_operator.session.admission import default_resources
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Pool, Template
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pki.certificates import Authority
    from sandbox_operator.pki.origin import Origins
    from sandbox_operator.pool.available_pods import AvailablePods
    from sandbox_operator.pool.pod_signer import PodSigner
    from sandbox_operator.session.network_policies import NetworkPolicies
    from sandbox_operator.settings import Settings
    from sandbox_operator.watch.store import Store


class BlankPodFactory:
    """Creates and deletes blank pods. Every call is safe to repeat."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        settings: Settings,
        authority: Authority,
        origins: Origins,
        signer: PodSigner,
        policies: NetworkPolicies,
        available_pods: AvailablePods,
    ) -> None:
        self._api, self._store, self._settings = api, store, settings
        self._authority, self._origins, self._signer = authority, origins, signer
        self._policies, self._available_pods = policies, available_pods
        self._certified: set[str] = set()
        store.pod_listeners.append(self._forget)

    async def prepare(self, template: Template) -> None:
        """Apply the NetworkPolicy, which must exist before any blank pod does.

        Raises:
            Blocked: The API server refuses the template's values.
        """
        await self._policies.apply(template, BLANK_EGRESS)

    async def create(self, pool: Pool, template: Template, name: str) -> None:
        """Create a pod under a name that only this pool uses.

        Raises:
            Blocked: The API server refuses the pod, or another owner has a Secret of that name.
        """
        request = BlankPodRequest(pool, name, template, default_resources(template), self._settings.images)
        namespace = pool.metadata.namespace
        try:
            created = await self._api.create(PODS, namespace, build_blank_pod(request))
            pod: Mapping[str, Any] = await self._signer.sign(created)
        except AlreadyExistsError:
            # Our own pod: the response to its creation was lost. A session may have claimed it since.
            pod = await self._get(namespace, name)
        except (ForbiddenError, InvalidError) as error:
            raise Blocked("PodRefused", str(error), retry_after=15) from error
        if pod:
            self._store.put(PODS, pod)
            if controller_uid(pod) == pool.metadata.uid and self._origins.is_own_pod(pod):
                await self.ensure_certificate(pod)

    async def delete_unproven(self, pool: Pool) -> None:
        """Delete pods that claim to be the pool's, but were forged, or not signed before a crash.

        Raises:
            Blocked: The API server refuses the signature of one that this process created.
        """
        for raw in self._store.unproven_pods_of(pool.metadata.namespace, pool.metadata.uid):
            if raw["metadata"].get("deletionTimestamp"):
                continue
            namespace, name = name_of(raw)
            if self._signer.is_pending(raw["metadata"]["uid"]):
                with contextlib.suppress(NotFoundError, ConflictError):
                    await self._signer.sign(raw)
                continue
            try:
                answer = await self._api.delete(PODS, namespace, name, uid=raw["metadata"]["uid"])
            except (NotFoundError, ConflictError):
                self._store.remove(PODS, raw)
                continue
            if answer.get("kind") == "Pod" and answer["metadata"].get("deletionTimestamp"):
                self._store.put(PODS, answer)
            else:
                self._store.remove(PODS, raw)

    async def delete(self, raw: Mapping[str, Any]) -> None:
        """Delete a blank pod, unless it has changed: a session's claim changes its resourceVersion.

        No session of this process claims the pod meanwhile. If the deletion fails, sessions can claim it again.
        """
        namespace, name = name_of(raw)
        metadata = raw["metadata"]
        self._available_pods.hold(raw)
        try:
            answer = await self._api.delete(
                PODS, namespace, name, uid=metadata["uid"], version=metadata["resourceVersion"]
            )
        except NotFoundError:
            self._store.remove(PODS, raw)
        except BaseException as error:
            self._available_pods.release(raw)
            # A conflict may be a mere status update by the kubelet. The pod's next event enqueues the pool.
            if not isinstance(error, ConflictError):
                raise
        else:
            if answer.get("kind") == "Pod" and answer["metadata"].get("deletionTimestamp"):
                self._store.put(PODS, answer)
            else:
                self._store.remove(PODS, raw)

    async def ensure_certificate(self, pod: Mapping[str, Any]) -> None:
        """Create the Secret that the pod mounts, unless this process has already done so."""
        uid = pod["metadata"]["uid"]
        if uid in self._certified:
            return
        metadata = Metadata.model_validate(pod["metadata"])
        server_name = naming.server_name(metadata.name, metadata.namespace)
        # A key takes one or two milliseconds of CPU. Many at once would block the event loop.
        pair = await asyncio.to_thread(self._authority.sign_server, server_name, datetime.now(UTC))
        body = build_blank_tls_secret(metadata, pair, self._authority.pem)
        name = body["metadata"]["name"]
        try:
            await self._api.create(SECRETS, metadata.namespace, body)
        except AlreadyExistsError:
            found = await self._api.get(SECRETS, metadata.namespace, name)
            if controller_uid(found) != uid:
                raise Blocked(
                    "PodRefused", f"Secret {name} belongs to another owner; delete it", retry_after=15
                ) from None
        self._certified.add(uid)

    def _forget(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        if old is not None and new is None:
            self._certified.discard(old["metadata"]["uid"])

    async def _get(self, namespace: str, name: str) -> Mapping[str, Any]:
        try:
            return await self._api.get(PODS, namespace, name)
        except NotFoundError:
            return {}
