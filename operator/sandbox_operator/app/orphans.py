"""Deletes pods whose session or pool is gone. Usually the garbage collector does, and this finds nothing.

A tenant who may delete a session can choose that its pod stays (`--cascade=orphan`), or that it gets days to end. No
session would then end that pod, and code in it would run for ever.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.errors import ApiError, ConflictError, NotFoundError
from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.manifests.pod import TERMINATION_GRACE
from sandbox_operator.session.plan.stop import lives_on
from sandbox_operator.session.pod_state import read_pod_state
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.kube.resources import Resource
    from sandbox_operator.watch.store import Store

_LOG: Final = logging.getLogger(__name__)
_WAIT: Final = 60.0
"""Seconds for which a pod has been an orphan before it is deleted. The garbage collector usually takes a few."""


class OrphanReaper:
    """Finds orphans in the store, and deletes those that stay."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._api, self._store, self._clock, self._monotonic = api, store, clock, monotonic
        self._since: dict[str, float] = {}
        """Time at which a pod was first seen as an orphan, by its uid."""

    async def sweep(self) -> None:
        """Delete the pods that have been orphans for a while. Call it periodically while the store is complete."""
        moment, now = self._monotonic(), self._clock()
        orphans = [raw for raw in self._store.all(PODS) if self._is_orphan(raw) and lives_on(read_pod_state(raw), now)]
        self._since = {raw["metadata"]["uid"]: self._since.get(raw["metadata"]["uid"], moment) for raw in orphans}
        for raw in orphans:
            if moment - self._since[raw["metadata"]["uid"]] < _WAIT:
                continue
            try:
                await self._delete(raw)
            except ApiError as error:
                _LOG.warning("an orphan was not deleted: %s", error, extra={"pod": "/".join(name_of(raw))})

    def _is_orphan(self, raw: Mapping[str, Any]) -> bool:
        """Return True if the operator created a pod, and its owner is not in the store."""
        if not raw["own"]:
            return False
        kind, uid = _kind_of_owner(raw), controller_uid(raw)
        for reference in raw["metadata"].get("ownerReferences") or []:
            owner = self._store.get(kind, (name_of(raw)[0], reference["name"]))
            if owner is not None and owner["metadata"].get("uid") == uid:
                return False
        return True

    async def _has_owner(self, raw: Mapping[str, Any]) -> bool:
        """Ask the API server for the owner: the store may miss what its watch did not report."""
        for reference in raw["metadata"].get("ownerReferences") or []:
            try:
                owner = await self._api.get(_kind_of_owner(raw), name_of(raw)[0], reference["name"])
            except NotFoundError as error:
                # A server that does not know the kind, as during an upgrade of the CRDs, knows nothing of the owner.
                if reference["name"] not in str(error):
                    raise
                continue
            if owner["metadata"]["uid"] == controller_uid(raw):
                return True
        return False

    async def _delete(self, raw: Mapping[str, Any]) -> None:
        namespace, name = name_of(raw)
        if await self._has_owner(raw):
            return
        _LOG.warning("a pod without its session or pool is deleted", extra={"pod": f"{namespace}/{name}"})
        try:
            answer = await self._api.delete(PODS, namespace, name, uid=raw["metadata"]["uid"], grace=TERMINATION_GRACE)
        except (NotFoundError, ConflictError):
            self._store.remove(PODS, raw)
            return
        if answer.get("kind") == "Pod" and answer["metadata"].get("deletionTimestamp"):
            self._store.put(PODS, answer)


def _kind_of_owner(raw: Mapping[str, Any]) -> Resource:
    return POOLS if naming.is_labelled_blank(raw) else SESSIONS
