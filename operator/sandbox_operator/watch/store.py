"""In-memory copy of the watched objects, by kind and name. An older version never replaces a newer one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sandbox_operator.api import naming
from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS, TEMPLATES
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.watch.transform import strip_unused

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from sandbox_operator.kube.resources import Resource

_MAX_TOMBSTONES: Final = 10_000
"""Deleted objects that are remembered. Fewer can be deleted while one of our own calls is in progress."""
WATCHED: Final = (SESSIONS, TEMPLATES, POOLS, PODS)
POD_SELECTOR: Final = f"{naming.MANAGED_BY}={naming.MANAGER}"
"""Label selector of the pods that are watched and listed."""
Name = tuple[str, str]
"""Namespace and name."""
PodListener = Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]
"""Called with a pod before and after a change; None if it does not exist."""


def version_of(raw: Mapping[str, Any]) -> int:
    """Return an object's resourceVersion as a number, by which objects of one kind are ordered."""
    text = str((raw.get("metadata") or {}).get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


def name_of(raw: Mapping[str, Any]) -> Name:
    """Return an object's namespace and name."""
    metadata = raw["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])


class Store:
    """The objects of the watched kinds, with indexes of sessions by workspace and of pods by owner.

    Attributes:
        is_own_pod: Returns True if the operator created a pod. Others belong to no session and no pool.
        pod_listeners: Called after each change of a pod that the operator created.
        all_pod_listeners: Called after each change of any pod. Its key "own" is True if the operator created it.
    """

    def __init__(self, is_own_pod: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> None:
        self.is_own_pod = is_own_pod
        self._objects: dict[str, dict[Name, Mapping[str, Any]]] = {kind.plural: {} for kind in WATCHED}
        self._by_workspace: dict[Name, set[Name]] = defaultdict(set)
        self._wanting: dict[Name, set[Name]] = defaultdict(set)
        """The sessions of a workspace that should have a pod."""
        self._by_owner: dict[str, set[Name]] = defaultdict(set)
        self._unproven: dict[str, set[Name]] = defaultdict(set)
        self._tombstones: dict[str, None] = {}
        self.pod_listeners: list[PodListener] = []
        self.all_pod_listeners: list[PodListener] = []

    def get(self, kind: Resource, name: Name) -> Mapping[str, Any] | None:
        """Return an object, or None if it does not exist."""
        return self._objects[kind.plural].get(name)

    def count(self, kind: Resource) -> int:
        """Return the number of objects of a kind."""
        return len(self._objects[kind.plural])

    def all(self, kind: Resource) -> list[Mapping[str, Any]]:
        """Return all objects of a kind."""
        return list(self._objects[kind.plural].values())

    def put(self, kind: Resource, raw: Mapping[str, Any]) -> bool:
        """Store an object. Return False if the store has this version or a newer one already.

        It does if the watch delivers our own write, whose answer was stored already, or a version from before it.

        An object that was marked as deleted is not stored again: the answer to our own write may arrive after the event
        of the deletion. A deleted session would then claim warm pods until the next list.
        """
        name = name_of(raw)
        if raw["metadata"].get("uid") in self._tombstones:
            return False
        old = self._objects[kind.plural].get(name)
        if old is not None and version_of(old) >= version_of(raw) > 0:
            return False
        raw = strip_unused(kind, raw)
        if kind is PODS:
            # Found out once: the CA may change, and the indexes must know what they hold.
            raw = {**raw, "own": self.is_own_pod(raw)}
        self._objects[kind.plural][name] = raw
        self._index(kind, name, old, raw)
        return True

    def mark_deleted(self, kind: Resource, name: Name, uid: str | None) -> bool:
        """Remove a deleted object for good. Return False if the store has another object of that name."""
        if uid:
            self._tombstones[uid] = None
            if len(self._tombstones) > _MAX_TOMBSTONES:
                del self._tombstones[next(iter(self._tombstones))]
        return self._discard(kind, name, uid)

    def remove(self, kind: Resource, raw: Mapping[str, Any]) -> bool:
        """Remove an object that no longer exists. Return False if the store has another object of that name."""
        return self._discard(kind, name_of(raw), raw["metadata"].get("uid"))

    def _discard(self, kind: Resource, name: Name, uid: str | None) -> bool:
        old = self._objects[kind.plural].get(name)
        if old is None or old["metadata"].get("uid") != uid:
            return False
        del self._objects[kind.plural][name]
        self._index(kind, name, old, None)
        return True

    def begin_listing(self, kind: Resource) -> Listing:
        """Begin to store a list of a kind, page by page."""
        return Listing(self, kind)

    def remove_stale(self, kind: Resource, listed: Container[Name], version: int) -> list[Mapping[str, Any]]:
        """Remove and return the objects that a list of this version lacks, except those that were created after it."""
        stale = [
            raw for name, raw in self._objects[kind.plural].items() if name not in listed and version_of(raw) <= version
        ]
        for raw in stale:
            self.remove(kind, raw)
        return stale

    def pods_of(self, namespace: str, uid: str) -> list[Mapping[str, Any]]:
        """Return the pods that a session or a pool controls, sorted by name."""
        pods = self._objects[PODS.plural]
        return [pods[name] for name in sorted(self._by_owner.get(uid, ())) if name[0] == namespace]

    def unproven_pods_of(self, namespace: str, uid: str) -> list[Mapping[str, Any]]:
        """Return the pods that claim to belong to a session or a pool, but that the operator did not create."""
        pods = self._objects[PODS.plural]
        return [pods[name] for name in sorted(self._unproven.get(uid, ())) if name[0] == namespace]

    def claimants(self, namespace: str, workspace: str) -> Iterator[Mapping[str, Any]]:
        """Yield the sessions that name a workspace, in no order."""
        for name in self._by_workspace.get((namespace, workspace), ()):
            yield self._objects[SESSIONS.plural][name]

    def find_next(self, namespace: str, workspace: str) -> Name | None:
        """Return the session that gets a workspace next: the oldest that wants a pod and has none."""
        sessions = map(self._objects[SESSIONS.plural].__getitem__, self._wanting.get((namespace, workspace), ()))
        waiting = (raw for raw in sessions if raw["metadata"].get("uid") not in self._by_owner)
        oldest = min(waiting, key=age_of, default=None)
        return None if oldest is None else name_of(oldest)

    def _index(self, kind: Resource, name: Name, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        if kind is SESSIONS:
            before, after = ((name[0], workspace_of(raw)) if raw else None for raw in (old, new))
            _move(self._by_workspace, name, before, after)
            before, after = (place if wants_pod(raw or {}) else None for place, raw in ((before, old), (after, new)))
            _move(self._wanting, name, before, after)
        elif kind is PODS:
            former, owner = controller_uid(old or {}), controller_uid(new or {})
            was_own, is_own = (each is not None and bool(each["own"]) for each in (old, new))
            _move(self._by_owner, name, former if was_own else "", owner if is_own else "")
            _move(self._unproven, name, "" if was_own else former, "" if is_own else owner)
            for listener in self.all_pod_listeners:
                listener(old, new)
            if was_own or is_own:
                for listener in self.pod_listeners:
                    listener(old if was_own else None, new if is_own else None)


class Listing:
    """A list that is being stored page by page. At its end, objects that it does not contain are removed.

    A watch that was interrupted does not report deletions, so such objects are stale. Pages keep memory low: thousands
    of pods as the API server sends them are several times what the store keeps, and a process rarely returns memory.
    """

    def __init__(self, store: Store, kind: Resource) -> None:
        self._store, self._kind = store, kind
        self._listed: set[Name] = set()
        self._version: int | None = None

    def add(self, items: Iterable[Mapping[str, Any]], version: str) -> list[Mapping[str, Any]]:
        """Store a page of a list with this resourceVersion. Return the objects that were new or changed."""
        number = int(version) if version.isdigit() else 0
        self._version = number if self._version is None else min(number, self._version)
        changed = []
        for raw in items:
            name = name_of(raw)
            self._listed.add(name)
            if self._store.put(self._kind, raw) and (kept := self._store.get(self._kind, name)):
                changed.append(kept)
        return changed

    def finish(self) -> list[Mapping[str, Any]]:
        """End the list after its last page. Return the stale objects that were removed."""
        return self._store.remove_stale(self._kind, self._listed, self._version or 0)


IndexKey = TypeVar("IndexKey", str, Name)


def _move(index: dict[IndexKey, set[Name]], name: Name, before: IndexKey | None, after: IndexKey | None) -> None:
    if before == after:
        return
    if before:
        index[before].discard(name)
        if not index[before]:
            del index[before]
    if after:
        index[after].add(name)


def wants_pod(session: Mapping[str, Any]) -> bool:
    """Return True if a session should have a pod, whether it has one or not. The session may be malformed."""
    metadata = session.get("metadata") or {}
    is_over = metadata.get("deletionTimestamp") or (session.get("status") or {}).get("phase") == "Failed"
    return bool(metadata) and not is_over and not (session.get("spec") or {}).get("suspended")


def age_of(session: Mapping[str, Any]) -> tuple[str, str]:
    """Return a key by which older sessions come first."""
    # The API server writes all times in the same form, so they sort as texts. Many sessions may name one workspace.
    return str(session["metadata"].get("creationTimestamp") or ""), str(session["metadata"]["uid"])


def workspace_of(raw: Mapping[str, Any]) -> str:
    """Return the name of a session's workspace. The session may be malformed."""
    workspace = (raw.get("spec") or {}).get("workspace")
    name = workspace.get("name") if isinstance(workspace, dict) else None
    return str(name or raw["metadata"]["name"])
