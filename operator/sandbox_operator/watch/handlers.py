"""Kopf's event handlers: they copy each object into the store and enqueue the sessions and pools that it concerns.

We use only on.event. Kopf's other handlers add finalizers and annotations to the objects, retry on their own schedule,
or take quadratic time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kopf

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS, TEMPLATES
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.pool.available_pods import find_pool, is_blank
from sandbox_operator.watch.store import WATCHED, name_of, wants_pod, workspace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_operator.kube.resources import Resource
    from sandbox_operator.metrics import Metrics
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key


def session_key(namespace: str, name: str) -> Key:
    """Return the queue key of a session."""
    return SESSIONS.plural, namespace, name


def pool_key(namespace: str, name: str) -> Key:
    """Return the queue key of a pool."""
    return POOLS.plural, namespace, name


class Handlers:
    """Handles watch events. It does not need kopf, so tests can call it."""

    def __init__(self, store: Store, enqueue: Callable[[Key], None], metrics: Metrics, default_template: str) -> None:
        self._store, self._enqueue, self._metrics = store, enqueue, metrics
        self._default_template = default_template
        store.pod_listeners += [self._enqueue_pool_of, self._enqueue_after]

    def handle(self, kind: Resource, type_: str | None, raw: Mapping[str, Any]) -> None:
        """Handle a watch event. Kopf's type None stands for an object that existed before the watch began."""
        self._metrics.watch_events.labels(kind.plural).inc()
        if type_ == "DELETED":
            changed = self._store.mark_deleted(kind, name_of(raw), raw["metadata"].get("uid"))
        else:
            changed = self._store.put(kind, raw)
        if changed:
            self.enqueue_for(kind, raw)

    def enqueue_for(self, kind: Resource, raw: Mapping[str, Any]) -> None:
        """Enqueue every session and pool that an object concerns."""
        namespace, name = name_of(raw)
        if kind is SESSIONS:
            self._enqueue(session_key(namespace, name))
            if self._store.get(SESSIONS, (namespace, name)) is None or not wants_pod(raw):
                self._enqueue_next(namespace, raw)
        elif kind is PODS:
            self._enqueue_owner(namespace, raw)
        elif kind is POOLS:
            self._enqueue(pool_key(namespace, name))
        elif kind is TEMPLATES:
            for pool in self._store.all(POOLS):
                reference = (pool.get("spec") or {}).get("templateRef") or {}
                if name_of(pool)[0] == namespace and (reference.get("name") or "default") == name:
                    self._enqueue(pool_key(*name_of(pool)))
            for session in self._store.all(SESSIONS):
                reference = (session.get("spec") or {}).get("templateRef") or {}
                wanted = reference.get("name") or self._default_template
                if name_of(session)[0] == namespace and wanted == name:
                    self._enqueue(session_key(*name_of(session)))

    def _enqueue_owner(self, namespace: str, pod: Mapping[str, Any]) -> None:
        # A claimed pod keeps this label, and so its pool is notified.
        if pool := (pod["metadata"].get("labels") or {}).get(naming.POOL):
            self._enqueue(pool_key(namespace, pool))
        for reference in pod["metadata"].get("ownerReferences") or []:
            if reference.get("kind") == SESSIONS.kind and reference.get("controller"):
                self._enqueue(session_key(namespace, reference["name"]))

    def _enqueue_pool_of(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        """Enqueue the pool that has lost a blank pod.

        The event of our own claim does not do this if the claim's answer came first: the store then has the new version
        already.
        """
        pool = find_pool(old) if old is not None and is_blank(old) else None
        if old is not None and pool is not None and (new is None or not is_blank(new)):
            self._enqueue(pool_key(name_of(old)[0], pool["name"]))

    def _enqueue_after(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        """Enqueue the session that gets the workspace of a pod that is gone, however the operator learned of that."""
        if old is None or new is not None:
            return
        namespace, uid = name_of(old)[0], controller_uid(old)
        for reference in old["metadata"].get("ownerReferences") or []:
            session = self._store.get(SESSIONS, (namespace, reference["name"]))
            if session is not None and session["metadata"].get("uid") == uid:
                self._enqueue_next(namespace, session)

    def _enqueue_next(self, namespace: str, session: Mapping[str, Any]) -> None:
        """Enqueue the session that gets the workspace of a session that has ended, or may have.

        Only that one: a tenant decides how many sessions wait for one workspace, or could.
        """
        if (following := self._store.find_next(namespace, workspace_of(session))) is not None:
            self._enqueue(session_key(*following))


def register(registry: kopf.OperatorRegistry, handlers: Handlers) -> None:
    """Register the handlers with kopf."""
    for kind in WATCHED:
        labels: Any = {naming.MANAGED_BY: naming.MANAGER} if kind is PODS else None
        group, version, plural = kind.group, kind.version, kind.plural
        kopf.on.event(group, version, plural, registry=registry, labels=labels, id=plural)(_handler(kind, handlers))


def _handler(kind: Resource, handlers: Handlers) -> Any:
    async def on_event(event: Any, **_: Any) -> None:
        # Kopf's body is a view that changes. The raw object is ours to keep.
        handlers.handle(kind, event["type"], event["object"])

    return on_event
