"""What the watches have seen: objects in memory, by kind and name, never older than what is there already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS, TEMPLATES
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.watch.transform import slim

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from sandbox_operator.kube.resources import Resource

_BURIED: Final = 10_000
"""Deleted objects that are remembered: more than can be deleted while one of our own calls is under way."""
WATCHED: Final = (SESSIONS, TEMPLATES, POOLS, PODS)
Name = tuple[str, str]
"""Namespace and name."""
PodListener = Callable[[Mapping[str, Any] | None, Mapping[str, Any] | None], None]
"""Called with what a pod was and is; None: not there."""


def version_of(raw: Mapping[str, Any]) -> int:
    """An object's resourceVersion as a number; objects of one kind are ordered by it."""
    text = str((raw.get("metadata") or {}).get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0


def name_of(raw: Mapping[str, Any]) -> Name:
    """An object's namespace and name."""
    metadata = raw["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])


class Store:
    """Objects of the watched kinds."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Name, Mapping[str, Any]]] = {kind.plural: {} for kind in WATCHED}
        self._by_workspace: dict[Name, set[Name]] = defaultdict(set)
        self._by_owner: dict[str, set[Name]] = defaultdict(set)
        self._buried: dict[str, None] = {}
        self.pod_listeners: list[PodListener] = []

    def get(self, kind: Resource, name: Name) -> Mapping[str, Any] | None:
        """An object, or None."""
        return self._objects[kind.plural].get(name)

    def count(self, kind: Resource) -> int:
        """How many objects of a kind there are."""
        return len(self._objects[kind.plural])

    def all(self, kind: Resource) -> list[Mapping[str, Any]]:
        """All objects of a kind."""
        return list(self._objects[kind.plural].values())

    def put(self, kind: Resource, raw: Mapping[str, Any]) -> bool:
        """Remember an object; False where it is known: an echo of our own write, or a watch that lags behind one.

        One that was buried stays so. The answer of our own write may come later than the event that it was deleted,
        and a session that is not there any more would take one warm pod after the other until the next list.
        """
        name = name_of(raw)
        if raw["metadata"].get("uid") in self._buried:
            return False
        old = self._objects[kind.plural].get(name)
        if old is not None and version_of(old) >= version_of(raw) > 0:
            return False
        raw = slim(kind, raw)
        self._objects[kind.plural][name] = raw
        self._index(kind, name, old, raw)
        return True

    def bury(self, kind: Resource, name: Name, uid: str | None) -> bool:
        """Forget an object that was surely deleted, for good; False where another of its name is there by now."""
        if uid:
            self._buried[uid] = None
            if len(self._buried) > _BURIED:
                del self._buried[next(iter(self._buried))]
        return self._forget(kind, name, uid)

    def remove(self, kind: Resource, raw: Mapping[str, Any]) -> bool:
        """Forget an object that was deleted; False where another of its name is there by now."""
        return self._forget(kind, name_of(raw), raw["metadata"].get("uid"))

    def _forget(self, kind: Resource, name: Name, uid: str | None) -> bool:
        old = self._objects[kind.plural].get(name)
        if old is None or old["metadata"].get("uid") != uid:
            return False
        del self._objects[kind.plural][name]
        self._index(kind, name, old, None)
        return True

    def begin_listing(self, kind: Resource) -> Listing:
        """Take over a LIST, page by page."""
        return Listing(self, kind)

    def remove_ghosts(self, kind: Resource, listed: Container[Name], version: int) -> list[Mapping[str, Any]]:
        """Forget what is not in a list of this version; newer objects were created after it."""
        ghosts = [
            raw for name, raw in self._objects[kind.plural].items() if name not in listed and version_of(raw) <= version
        ]
        for raw in ghosts:
            self.remove(kind, raw)
        return ghosts

    def pods_of(self, namespace: str, uid: str) -> list[Mapping[str, Any]]:
        """Pods that a session or a pool controls."""
        pods = self._objects[PODS.plural]
        return [pods[name] for name in sorted(self._by_owner.get(uid, ())) if name[0] == namespace]

    def claimants(self, namespace: str, workspace: str) -> Iterator[Mapping[str, Any]]:
        """Sessions that name a workspace."""
        for name in sorted(self._by_workspace.get((namespace, workspace), ())):
            yield self._objects[SESSIONS.plural][name]

    def _index(self, kind: Resource, name: Name, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        if kind is SESSIONS:
            before, after = ((name[0], workspace_of(raw)) if raw else None for raw in (old, new))
            _move(self._by_workspace, name, before, after)
        elif kind is PODS:
            _move(self._by_owner, name, controller_uid(old or {}), controller_uid(new or {}))
            for listener in self.pod_listeners:
                listener(old, new)


class Listing:
    """A LIST on its way into the store: newer objects in, and at its end ghosts out.

    Page by page: thousands of pods as the API server tells them are several times what is kept of them, and memory that
    a process once had it mostly keeps. (A watch that was interrupted reports no deletions: hence the ghosts.)
    """

    def __init__(self, store: Store, kind: Resource) -> None:
        self._store, self._kind = store, kind
        self._listed: set[Name] = set()
        self._version: int | None = None

    def add(self, items: Iterable[Mapping[str, Any]], version: str) -> list[Mapping[str, Any]]:
        """A page, and the list's resourceVersion; the objects that were not known so."""
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
        """All pages were added; what is gone."""
        return self._store.remove_ghosts(self._kind, self._listed, self._version or 0)


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


def workspace_of(raw: Mapping[str, Any]) -> str:
    """The workspace's name of a session that may not be well-formed."""
    workspace = (raw.get("spec") or {}).get("workspace")
    name = workspace.get("name") if isinstance(workspace, dict) else None
    return str(name or raw["metadata"]["name"])
