"""Claims a blank pod for a session: a reservation in memory, then one JSON patch that succeeds or changes nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from sandbox_operator.api.values import format_time
from sandbox_operator.errors import ConflictError, InvalidError, NotFoundError
from sandbox_operator.kube.resources import PODS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.manifests.pod import build_claim
from sandbox_operator.pool.available_pods import is_blank, is_ready
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime
    from typing import Any

    from sandbox_operator.api.models import Session
    from sandbox_operator.api.session_spec import Egress
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.metrics import Metrics
    from sandbox_operator.pool.available_pods import AvailablePods, PodKind
    from sandbox_operator.pool.pod_factory import BlankPodFactory
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key

_LOG: Final = logging.getLogger(__name__)
_MAX_ATTEMPTS: Final = 5
"""Pods that one claim tries."""


class Claimer:
    """Claims pods for sessions."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        available_pods: AvailablePods,
        pod_factory: BlankPodFactory,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._api, self._store, self._metrics, self._clock = api, store, metrics, clock
        self._available_pods, self._pod_factory = available_pods, pod_factory

    async def claim(
        self,
        key: Key,
        session: Session,
        kind: PodKind,
        egress: Egress,
        meanwhile: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> Mapping[str, Any] | None:
        """Claim a blank pod for the session. Returns None if no pod is left.

        If the API server fails and the outcome is unknown, the reservation stays. The next claim then tries the same
        pod and finds out whether it already belongs to the session.

        Args:
            key: Key of the session.
            session: The session that claims.
            kind: Kind of pod that fits the session.
            egress: Addresses that the pod may connect to from then on.
            meanwhile: Called with the pod that the session will probably get, while the API server writes. It must not
                raise.
        """
        started = time.perf_counter()
        for _ in range(_MAX_ATTEMPTS):
            raw = self._available_pods.reserve(key, kind)
            if raw is None:
                return None
            claiming = asyncio.ensure_future(self._attempt(key, session, raw, egress))
            # Wait for both: if `meanwhile` continued alone, it would collide with that of the next attempt.
            await asyncio.gather(claiming, meanwhile(raw), return_exceptions=True)
            pod = claiming.result()
            if pod is not None:
                self._metrics.claim_seconds.observe(time.perf_counter() - started)
                return pod
            self._metrics.claim_conflicts.inc()
        return None

    async def _attempt(
        self, key: Key, session: Session, raw: Mapping[str, Any], egress: Egress
    ) -> Mapping[str, Any] | None:
        """Claim one pod. Returns None if the pod was deleted or belongs to another session."""
        try:
            pod = await self._patch(session, raw, egress)
        except NotFoundError:
            self._available_pods.end_reservation(key)
            self._store.remove(PODS, raw)
            return None
        self._available_pods.end_reservation(key)
        self._store.put(PODS, pod)
        if controller_uid(pod) == session.metadata.uid:
            return pod
        if is_blank(pod) and is_ready(pod):
            # No session took it, but the patch fails, for example because its annotations are missing. Replace the pod.
            _LOG.warning("blank pod cannot be claimed", extra={"pod": "/".join(name_of(raw))})
            await self._pod_factory.delete(pod)
        elif is_blank(pod):
            self._available_pods.release(pod)
        return None

    async def _patch(self, session: Session, raw: Mapping[str, Any], egress: Egress) -> Mapping[str, Any]:
        """Send the claim and return the pod as it is afterwards.

        After a refusal the pod may be another session's, or ours by an earlier attempt whose response was lost.
        """
        namespace, name = name_of(raw)
        patch = build_claim(session, raw, egress, format_time(self._clock()) or "")
        try:
            return await self._api.patch(PODS, namespace, name, patch, "json")
        except (InvalidError, ConflictError):
            return await self._api.get(PODS, namespace, name)
