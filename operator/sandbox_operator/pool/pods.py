"""The blank pods of each pool. Each pod is parsed when it changes, because a pool of a thousand is planned often."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox_operator.api import naming
from sandbox_operator.api.values import parse_time
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.pool.available_pods import is_blank, is_ready
from sandbox_operator.pool.plan import BlankPod
from sandbox_operator.session.pod_state import read_pod_state
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Pool
    from sandbox_operator.watch.store import Store

PoolId = tuple[str, str]
"""Namespace and uid."""


class PoolPods:
    """An index of the blank pods that are not being deleted, by the pool that controls them."""

    def __init__(self, store: Store) -> None:
        self._pods: defaultdict[PoolId, dict[str, BlankPod]] = defaultdict(dict)
        store.pod_listeners.append(self._update)

    def of(self, pool: Pool) -> tuple[BlankPod, ...]:
        """Return a pool's blank pods."""
        return tuple(self._pods.get((pool.metadata.namespace, pool.metadata.uid), {}).values())

    def _update(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        if old is not None:
            pods = self._pods.get(_pool_of(old), {})
            if pods.pop(name_of(old)[1], None) and not pods:
                del self._pods[_pool_of(old)]
        if new is not None and is_blank(new) and not new["metadata"].get("deletionTimestamp"):
            self._pods[_pool_of(new)][name_of(new)[1]] = _view(new)


def _pool_of(raw: Mapping[str, Any]) -> PoolId:
    return name_of(raw)[0], controller_uid(raw)


def _view(raw: Mapping[str, Any]) -> BlankPod:
    metadata, ready = raw["metadata"], is_ready(raw)
    view = None if ready else read_pod_state(raw)
    return BlankPod(
        name=metadata["name"],
        uid=metadata["uid"],
        created=parse_time(metadata.get("creationTimestamp")) or datetime.now(UTC),
        pod_hash=(metadata.get("labels") or {}).get(naming.POD_HASH, ""),
        is_ready=ready,
        has_ended=view is not None and view.has_ended,
        problem=view.problem if view else None,
    )
