"""An index of the blank pods that a session can claim now, and of the pods that this process has reserved.

A reservation only keeps two workers of this process from choosing the same pod. The API server decides a claim: the
claim's JSON patch tests that the pod is still blank.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, POOLS
from sandbox_operator.watch.store import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.watch.store import Name, Store
    from sandbox_operator.watch.work_queue import Key

PodKind = tuple[str, str, str]
"""Namespace, template, and hash of the pod. Pods of one kind are interchangeable, even if different pools made them."""


def is_blank(raw: Mapping[str, Any]) -> bool:
    """Return whether a pod belongs to a pool and no session has claimed it."""
    return naming.is_labelled_blank(raw) and find_pool(raw) is not None


def find_pool(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner reference to the pool that controls a pod, or None."""
    for reference in raw["metadata"].get("ownerReferences") or []:
        if reference.get("controller") and reference.get("kind") == POOLS.kind:
            return dict(reference)
    return None


def is_ready(raw: Mapping[str, Any]) -> bool:
    """Return whether a pod can take a Bind: it runs and its agent's readiness probe succeeds."""
    status = raw.get("status") or {}
    if raw["metadata"].get("deletionTimestamp") or not status.get("podIP") or status.get("phase") != "Running":
        return False
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or [])


class AvailablePods:
    """The blank pods that are free. Reserves from the node with the fewest pods of sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._free: dict[PodKind, dict[str, dict[Name, Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
        self._counts: Counter[PodKind] = Counter()
        self._per_node: Counter[str] = Counter()
        self._held: set[str] = set()
        """Uids of pods that are reserved or about to be deleted."""
        self._reservations: dict[Key, Mapping[str, Any]] = {}
        store.pod_listeners.append(self._update)

    def count(self, key: Key, kind: PodKind) -> int:
        """Count the pods that a session could claim, including one that it has already reserved."""
        return self._counts[kind] + (key in self._reservations)

    def counts(self) -> dict[tuple[str, str], int]:
        """Count the free pods by namespace and template. A pool that wants pods but has none counts as 0."""
        found = dict.fromkeys(filter(None, map(_wanted_of, self._store.all(POOLS))), 0)
        for (namespace, template, _), count in self._counts.items():
            if count:
                found[namespace, template] = found.get((namespace, template), 0) + count
        return found

    def reserve(self, key: Key, kind: PodKind) -> Mapping[str, Any] | None:
        """Reserve a pod for a session. Returns None if no pod is free.

        A session whose last claim has an unknown outcome gets the same pod again.
        """
        if key in self._reservations:
            return self._reservations[key]
        nodes = self._free.get(kind)
        if not nodes:
            return None
        node = min(nodes, key=lambda each: (self._per_node[each], each))
        raw = next(iter(nodes[node].values()))
        self._reservations[key] = raw
        self.hold(raw)
        return raw

    def hold(self, raw: Mapping[str, Any]) -> None:
        """Keep a pod from being claimed until it changes: it is reserved, or about to be deleted."""
        self._remove(raw)
        self._held.add(raw["metadata"]["uid"])

    @property
    def held(self) -> frozenset[str]:
        """Return the uids of pods that are reserved or about to be deleted."""
        return frozenset(self._held)

    def is_held(self, raw: Mapping[str, Any]) -> bool:
        """Return whether a pod is reserved or about to be deleted."""
        return raw["metadata"]["uid"] in self._held

    def end_reservation(self, key: Key) -> None:
        """Forget a reservation once its claim has a result. The pod stays held until the store sees a change."""
        self._reservations.pop(key, None)

    def cancel_reservation(self, key: Key) -> None:
        """Free the pod that a deleted session had reserved. It must still be blank."""
        if raw := self._reservations.pop(key, None):
            self.release(raw)

    def release(self, raw: Mapping[str, Any]) -> None:
        """Let sessions claim a held pod again."""
        uid = raw["metadata"]["uid"]
        if uid in self._held:
            self._held.remove(uid)
            self._add(self._store.get(PODS, name_of(raw)))

    def _update(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        if old is not None:
            self._remove(old)
            self._count_node(old, -1)
        if new is not None:
            self._count_node(new, 1)
            if old is not None and not is_blank(new):
                self._held.discard(old["metadata"]["uid"])
            self._add(new)
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._held.discard(old["metadata"]["uid"])

    def _count_node(self, raw: Mapping[str, Any], step: int) -> None:
        node = (raw.get("spec") or {}).get("nodeName")
        if node and not is_blank(raw):
            self._per_node[node] += step

    def _add(self, raw: Mapping[str, Any] | None) -> None:
        if raw is None or not is_blank(raw) or not is_ready(raw) or self.is_held(raw):
            return
        pods = self._free[kind_of(raw)][_node_of(raw)]
        if name_of(raw) not in pods:
            self._counts[kind_of(raw)] += 1
        pods[name_of(raw)] = raw

    def _remove(self, raw: Mapping[str, Any]) -> None:
        kind, node = kind_of(raw), _node_of(raw)
        nodes = self._free.get(kind)
        if nodes is None or nodes.get(node, {}).pop(name_of(raw), None) is None:
            return
        self._counts[kind] -= 1
        if not self._counts[kind]:
            del self._counts[kind]
        if not nodes[node]:
            del nodes[node]
        if not nodes:
            del self._free[kind]


def kind_of(raw: Mapping[str, Any]) -> PodKind:
    """Return the kind of a blank pod, which decides the sessions that can claim it."""
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    return str(metadata.get("namespace") or ""), labels.get(naming.TEMPLATE, ""), labels.get(naming.POD_HASH, "")


def _wanted_of(pool: Mapping[str, Any]) -> tuple[str, str] | None:
    spec = pool.get("spec") or {}
    template = (spec.get("templateRef") or {}).get("name") or "default"
    return (name_of(pool)[0], template) if spec.get("replicas") else None


def _node_of(raw: Mapping[str, Any]) -> str:
    return str((raw.get("spec") or {}).get("nodeName") or "")
