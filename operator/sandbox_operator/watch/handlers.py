"""What kopf calls: copy each object into the store and put the sessions it concerns on the queue. Nothing else.

Only on.event: the other handlers add finalizers and annotations, and repeat or are quadratic where it is not wanted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import kopf
from kopf._core.reactor.inventory import ResourceMemories

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS, TEMPLATES
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.pool.available_pods import find_pool, is_blank
from sandbox_operator.watch.store import WATCHED, name_of, workspace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox_operator.app.metrics import Metrics
    from sandbox_operator.kube.resources import Resource
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key

POD_SELECTOR: Final = f"{naming.MANAGED_BY}={naming.MANAGER}"


def session_key(namespace: str, name: str) -> Key:
    """The queue's key of a session."""
    return SESSIONS.plural, namespace, name


def pool_key(namespace: str, name: str) -> Key:
    """The queue's key of a pool."""
    return POOLS.plural, namespace, name


class Handlers:
    """The event handlers, apart from kopf so that tests need none."""

    def __init__(self, store: Store, enqueue: Callable[[Key], None], metrics: Metrics, default_template: str) -> None:
        self._store, self._enqueue, self._metrics = store, enqueue, metrics
        self._default_template = default_template
        self.last_event = time.monotonic()
        store.pod_listeners.append(self._note_taken)

    def handle(self, kind: Resource, type_: str | None, raw: Mapping[str, Any]) -> None:
        """One watch event; type None is kopf's for an object that was there when the watch began."""
        self.last_event = time.monotonic()
        self._metrics.watch_events.labels(kind.plural).inc()
        if type_ == "DELETED":
            changed = self._store.bury(kind, name_of(raw), raw["metadata"].get("uid"))
        else:
            changed = self._store.put(kind, raw)
        if changed:
            self.enqueue_for(kind, raw)

    def enqueue_for(self, kind: Resource, raw: Mapping[str, Any]) -> None:
        """Put every session and pool on the queue that an object concerns."""
        namespace, name = name_of(raw)
        if kind is SESSIONS:
            self._enqueue(session_key(namespace, name))
            self._enqueue_claimants(namespace, raw)
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
        # A pod keeps this label when it is claimed: that is how its pool hears of it.
        if pool := (pod["metadata"].get("labels") or {}).get(naming.POOL):
            self._enqueue(pool_key(namespace, pool))
        for reference in pod["metadata"].get("ownerReferences") or []:
            if reference.get("kind") == SESSIONS.kind and reference.get("controller"):
                self._enqueue(session_key(namespace, reference["name"]))
                session = self._store.get(SESSIONS, (namespace, reference["name"]))
                if session is not None and session["metadata"].get("uid") == controller_uid(pod):
                    self._enqueue_claimants(namespace, session)

    def _note_taken(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        """Have a pool look which has lost a blank pod, whoever says so.

        The event of our own claim is an echo, and enqueues nothing, where the claim's answer was faster.
        """
        pool = find_pool(old) if old is not None and is_blank(old) else None
        if old is not None and pool is not None and (new is None or not is_blank(new)):
            self._enqueue(pool_key(name_of(old)[0], pool["name"]))

    def _enqueue_claimants(self, namespace: str, session: Mapping[str, Any]) -> None:
        """Others that may wait for the same workspace."""
        for other in self._store.claimants(namespace, workspace_of(session)):
            self._enqueue(session_key(*name_of(other)))


def register(registry: kopf.OperatorRegistry, handlers: Handlers) -> None:
    """Register the handlers with kopf."""
    for kind in WATCHED:
        labels: Any = {naming.MANAGED_BY: naming.MANAGER} if kind is PODS else None
        group, version, plural = kind.group, kind.version, kind.plural
        kopf.on.event(group, version, plural, registry=registry, labels=labels, id=plural)(_handler(kind, handlers))


def _handler(kind: Resource, handlers: Handlers) -> Any:
    async def on_event(event: Any, **_: Any) -> None:
        # kopf's body is a view that changes; the raw object is ours to keep.
        handlers.handle(kind, event["type"], event["object"])

    return on_event


class ForgetfulMemories(ResourceMemories):
    """Keeps nothing of an object between two of its events; kopf would keep 1.5 KiB of each for its other handlers.

    What is lost is that kopf waits after its own failures in handling an object; our handlers copy, and cannot fail.
    """

    async def recall(self, *arguments: Any, **options: Any) -> Any:
        """A memory that is dropped with the event."""
        return await super().recall(*arguments, **{**options, "ephemeral": True})


class NoDiffs(kopf.DiffBaseStorage):
    """Kopf compares no object with a former one: only its other handlers want that, and copies each object for it."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing of an object matters."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """There is no former one."""

    def store(self, **_: Any) -> None:
        """Nothing is kept."""


def build_kopf_settings() -> kopf.OperatorSettings:
    """Kopf's settings: nothing written, nothing scanned, quick reconnects."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 5
    settings.watching.chunk_size = 100
    settings.watching.label_selectors["v1/pods"] = POD_SELECTOR
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = [0.1, 0.5, 1, 2, 5, 5, 5]
    settings.execution.default_backoff = 1
    # An object's worker holds on to the whole of its last event until it ends: at a start, all objects at once.
    settings.queueing.idle_timeout = 0.1
    settings.persistence.diffbase_storage = NoDiffs()
    return settings
