"""Claiming a blank pod: reserved in memory, then one JSON patch that makes it the session's or changes nothing."""

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

    from sandbox_operator.api.models import Egress, Session
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.metrics import Metrics
    from sandbox_operator.pool.available_pods import Kind, WarmPods
    from sandbox_operator.pool.pod_factory import BlankPods
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key

_LOG: Final = logging.getLogger(__name__)
_TRIES: Final = 5
"""Pods that are tried in one go."""


class Claimer:
    """Claims pods for sessions."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        warm_pods: WarmPods,
        blank_pods: BlankPods,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._api, self._store, self._warm_pods, self._metrics, self._clock = api, store, warm_pods, metrics, clock
        self._blank_pods = blank_pods

    async def claim(
        self,
        key: Key,
        session: Session,
        kind: Kind,
        egress: Egress,
        meanwhile: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> Mapping[str, Any] | None:
        """Make a blank pod the session's; None where there is none any more.

        An error of the API server whose outcome is unknown leaves the reservation: the next try is for the same pod,
        and finds out whether it is the session's already.

        Args:
            key: The session's.
            session: It.
            kind: What pod it takes.
            egress: What the pod may reach from then on.
            meanwhile: Called with the pod that is probably had, while the API server writes. Must not raise.
        """
        started = time.perf_counter()
        for _ in range(_TRIES):
            raw = self._warm_pods.reserve(key, kind)
            if raw is None:
                return None
            claiming = asyncio.ensure_future(self._try(key, session, raw, egress))
            # To the end of both: a write that goes on alone would meet those of the next try.
            await asyncio.gather(claiming, meanwhile(raw), return_exceptions=True)
            pod = claiming.result()
            if pod is not None:
                self._metrics.claim_seconds.observe(time.perf_counter() - started)
                return pod
            self._metrics.claim_conflicts.inc()
        return None

    async def _try(
        self, key: Key, session: Session, raw: Mapping[str, Any], egress: Egress
    ) -> Mapping[str, Any] | None:
        """The pod where it is the session's now; None where it is somebody else's, or gone."""
        try:
            pod = await self._patch(session, raw, egress)
        except NotFoundError:
            self._warm_pods.settle(key)
            self._store.remove(PODS, raw)
            return None
        self._warm_pods.settle(key)
        self._store.put(PODS, pod)
        if controller_uid(pod) == session.metadata.uid:
            return pod
        if is_blank(pod) and is_ready(pod):
            # Nobody took it and yet it cannot be had, as without its annotations. The pool makes a better one.
            _LOG.warning("blank pod cannot be claimed", extra={"pod": "/".join(name_of(raw))})
            await self._blank_pods.delete(pod)
        elif is_blank(pod):
            self._warm_pods.release(pod)
        return None

    async def _patch(self, session: Session, raw: Mapping[str, Any], egress: Egress) -> Mapping[str, Any]:
        """The pod after the claim, or after its refusal: somebody else's, or ours by a try whose answer was lost."""
        namespace, name = name_of(raw)
        patch = build_claim(session, raw, egress, format_time(self._clock()) or "")
        try:
            return await self._api.patch(PODS, namespace, name, patch, "json")
        except (InvalidError, ConflictError):
            return await self._api.get(PODS, namespace, name)
