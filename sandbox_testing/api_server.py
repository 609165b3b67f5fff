"""An API server in memory, for tests of the operator and of code that uses it.

FakeKube implements what the operator relies on: uid, resourceVersion, generation and status as a subresource; merge and
JSON patches, forced apply, preconditions and label selectors; graceful deletion of pods, and garbage collection of what
a deleted owner owned. It checks no schema. A test plays the kubelet with `run_pod` and `remove`.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sandbox_operator.api.values import format_time, parse_time
from sandbox_operator.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    NotFoundError,
)
from sandbox_operator.kube.resources import EVENTS, LEASES, PODS, POOLS, SECRETS, SESSIONS
from sandbox_operator.kube.write_hook import WriteHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox_operator.kube.client import Object, PatchKind
    from sandbox_operator.kube.resources import Resource


class FakeKube:
    """KubeApi in memory.

    Attributes:
        is_watch_late: Notify watchers after the response to a write instead of before. A real watch does either.
    """

    def __init__(
        self, write_hook: WriteHook | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.write_hook = write_hook or WriteHook()
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.is_watch_late = False
        self._writes = 0
        self.watchers: list[Callable[[Resource, str, Object], None]] = []
        self.calls: list[tuple[str, str, str]] = []
        self._clock, self._versions, self._uids = clock, itertools.count(100), itertools.count(1)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object."""
        return copy.deepcopy(self._find(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str | None, labels: str = "") -> tuple[list[Object], str]:
        """Return the objects that a label selector matches. It may contain equality only."""
        wanted = dict(part.split("=", 1) for part in labels.split(",") if part)
        items = [
            copy.deepcopy(found)
            for (plural, where, _), found in self.objects.items()
            if plural == resource.plural
            and namespace in {None, where}
            and wanted.items() <= (found["metadata"].get("labels") or {}).items()
        ]
        return items, str(next(self._versions))

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object and return it as stored."""
        with self._counted("create", resource, body["metadata"].get("name", "")):
            return self.put(resource, namespace, body)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Any,
        kind: PatchKind = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch an object and return it as stored."""
        with self._counted("patch", resource, name):
            key = (resource.plural, namespace, name)
            if kind == "apply" and key not in self.objects:
                self.put(resource, namespace, body)
            old = self._find(resource, namespace, name)
            new = copy.deepcopy(old)
            if kind == "json":
                _apply_json_patch(new, body)
            else:
                _check_preconditions(old, body)
                is_status = subresource == "status"
                _merge(new, {"status": body.get("status", {})} if is_status else _spec_part(resource, body))
            self._store(resource, old, new)
            if new["metadata"].get("deletionTimestamp") and old["metadata"].get("finalizers"):
                self._end_without_finalizers(resource, new)
            return copy.deepcopy(new)

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str = "", grace: int | None = None, version: str = ""
    ) -> Object:
        """Delete an object and return the server's response."""
        with self._counted("delete", resource, name):
            found = self._find(resource, namespace, name)
            for field, wanted in (("uid", uid), ("resourceVersion", version)):
                if wanted and found["metadata"][field] != wanted:
                    raise ConflictError(409, "Conflict", f"the {field} differs")
            if resource is PODS and (new := _end_gracefully(found, grace, self._clock())) is not None:
                self._store(resource, found, new)
                return {"kind": "Pod", **copy.deepcopy(new)}
            self.remove(resource, namespace, name)
            return {"kind": "Status"}

    def put(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object as another client would. It does not count as a write of the operator."""
        created = copy.deepcopy(body)
        number = next(self._uids)
        metadata = created.setdefault("metadata", {})
        metadata.setdefault("name", f"{metadata.get('generateName', 'object-')}{number}")
        key = (resource.plural, namespace, metadata["name"])
        if key in self.objects:
            raise AlreadyExistsError(409, "AlreadyExists", f"{resource.plural} {metadata['name']} already exists")
        metadata |= {"namespace": namespace, "resourceVersion": str(next(self._versions)), "generation": 1}
        metadata.setdefault("uid", f"00000000-0000-4000-8000-{number:012d}")
        metadata.setdefault("creationTimestamp", format_time(self._clock()))
        self.objects[key] = created
        self._notify(resource, "ADDED", created)
        return copy.deepcopy(created)

    def change(self, resource: Resource, namespace: str, name: str, change: Object) -> Object:
        """Merge a change, status included, as another client would. It does not count as a write of the operator."""
        old = self._find(resource, namespace, name)
        new = copy.deepcopy(old)
        _merge(new, change)
        self._store(resource, old, new)
        return new

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Remove an object and everything that it owned, at once."""
        found = self.objects.pop((resource.plural, namespace, name), None)
        if found is None:
            return
        found["metadata"]["resourceVersion"] = str(next(self._versions))
        self._notify(resource, "DELETED", found)
        uid = found["metadata"]["uid"]
        for (plural, where, child), body in list(self.objects.items()):
            owners = body["metadata"].get("ownerReferences") or []
            if any(owner["uid"] == uid for owner in owners):
                self.remove(_RESOURCES.get(plural, resource), where, child)

    def run_pod(self, namespace: str, name: str, ip: str = "10.1.0.1", **status: Any) -> None:
        """Play scheduler and kubelet: let the pod's containers run."""
        running: list[Object] = [
            {"name": part, "restartCount": 0, "state": {"running": {}}, "image": part} for part in ("agent", "sandbox")
        ]
        ready = [{"type": "Ready", "status": "True"}]
        change = {"phase": "Running", "podIP": ip, "containerStatuses": running, "conditions": ready, **status}
        self.change(PODS, namespace, name, {"spec": {"nodeName": "node1"}, "status": change})

    def named(self, resource: Resource) -> dict[str, Object]:
        """Return the objects of a kind by name."""
        return {name: found for (plural, _, name), found in self.objects.items() if plural == resource.plural}

    def _find(self, resource: Resource, namespace: str, name: str) -> Object:
        try:
            return self.objects[resource.plural, namespace, name]
        except KeyError:
            raise NotFoundError(404, "NotFound", f"{resource.plural} {name} not found") from None

    def _store(self, resource: Resource, old: Object, new: Object) -> None:
        if new == old:
            return
        new["metadata"]["resourceVersion"] = str(next(self._versions))
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        metadata = new["metadata"]
        self.objects[resource.plural, metadata["namespace"], metadata["name"]] = new
        self._notify(resource, "MODIFIED", new)

    def _end_without_finalizers(self, resource: Resource, raw: Object) -> None:
        if not raw["metadata"].get("finalizers"):
            self.remove(resource, raw["metadata"]["namespace"], raw["metadata"]["name"])

    def _notify(self, resource: Resource, type_: str, raw: Object) -> None:
        for watcher in self.watchers:
            if self.is_watch_late and self._writes:
                asyncio.get_running_loop().call_soon(watcher, resource, type_, copy.deepcopy(raw))
            else:
                watcher(resource, type_, copy.deepcopy(raw))

    @contextlib.contextmanager
    def _counted(self, verb: str, resource: Resource, name: str) -> Iterator[None]:
        self.calls.append((verb, resource.plural, name))
        with contextlib.nullcontext() if resource in {EVENTS, LEASES} else self.write_hook.write():
            self._writes += 1
            try:
                yield
            finally:
                self._writes -= 1


_RESOURCES = {resource.plural: resource for resource in (PODS, POOLS, SECRETS, SESSIONS)}


def _end_gracefully(pod: Object, grace: int | None, now: datetime) -> Object | None:
    """Return a pod with the deadline of its deletion, or None if it is gone at once.

    As the real server does: a deletion can only become shorter, and only by a grace period that is given. That period
    began with the first request, so the new deadline may have passed already.
    """
    new, spec = copy.deepcopy(pod), pod.get("spec") or {}
    metadata = new["metadata"]
    has_ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    if "deletionTimestamp" in metadata:
        before = metadata.get("deletionGracePeriodSeconds", 0)
        now = (parse_time(metadata["deletionTimestamp"]) or now) - timedelta(seconds=before)
        grace = before if grace is None else min(before, grace)
    elif not spec.get("nodeName") or has_ended:
        grace = 0
    elif grace is None:
        grace = spec.get("terminationGracePeriodSeconds", 30)
    metadata["deletionTimestamp"] = format_time(now + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    return new if grace else None


def _spec_part(resource: Resource, body: Object) -> Object:
    return {key: value for key, value in body.items() if resource not in {SESSIONS, POOLS} or key != "status"}


def _check_preconditions(old: Object, body: Object) -> None:
    for name in ("resourceVersion", "uid"):
        wanted = (body.get("metadata") or {}).get(name)
        if wanted is not None and wanted != old["metadata"][name]:
            raise ConflictError(409, "Conflict", f"{name} differs")


def _merge(target: Object, patch: Object) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            inner = target.get(key)
            target[key] = inner if isinstance(inner, dict) else {}
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def _apply_json_patch(target: Object, operations: list[Object]) -> None:
    for operation in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"][1:].split("/")]
        place: Any = target
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        where: Any = int(last) if isinstance(place, list) else last
        if operation["op"] == "test":
            present = place.get(where) if isinstance(place, dict) else place[where]
            if present != operation["value"]:
                raise InvalidError(422, "Invalid", f"test of {operation['path']} failed")
        elif operation["op"] == "remove":
            del place[where]
        else:
            place[where] = copy.deepcopy(operation["value"])
