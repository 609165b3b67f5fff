"""An API server in memory that fails on demand: refusals, lost responses, stale reads, watches that hang or drop."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from sandbox_operator.errors import ConflictError, NotFoundError, UnavailableError
from sandbox_operator.kube.resources import EVENTS, LEASES, PODS, SECRETS
from sandbox_testing.api_server import FakeKube

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sandbox_operator.errors import ApiError
    from sandbox_operator.kube.client import Object, PatchKind
    from sandbox_operator.kube.resources import Resource
    from sandbox_operator.kube.write_hook import WriteHook


def no_answer() -> ApiError:
    """Make the error of an API server that does not respond."""
    return UnavailableError(0, "NoAnswer", "the API server does not answer")


def broken() -> ApiError:
    """Make a 500, after which the write may or may not have happened."""
    return UnavailableError(500, "InternalError", "etcd did not answer in time")


def throttled() -> ApiError:
    """Make a 429 with a Retry-After."""
    return UnavailableError(429, "TooManyRequests", "come back later", retry_after=0.0)


def conflict() -> ApiError:
    """Make a 409: another client has changed the object."""
    return ConflictError(409, "Conflict", "the object has been modified")


@dataclass
class Fault:
    """A fault of the API server: which calls fail, and with which error.

    Attributes:
        error: Makes the error that is raised.
        skip: Number of writes that succeed first.
        times: Number of calls that fail then.
        committed: Carry out the write, and lose only the response.
        reads: Make reads fail too.
        raised: Number of calls that have failed.
    """

    error: Callable[[], ApiError]
    skip: int = 0
    times: int = 1
    committed: bool = False
    reads: bool = False
    raised: int = 0


class FaultyKube(FakeKube):
    """FakeKube with faults. Every call yields to the loop once, so that two operators interleave.

    Attributes:
        fault: The fault that calls meet now, or None.
        writes: Verb, plural and name of the writes that were carried out, without Events and leases.
    """

    def __init__(self, write_hook: WriteHook | None, clock: Callable[[], datetime]) -> None:
        super().__init__(write_hook, clock)
        self.fault: Fault | None = None
        self.writes: list[tuple[str, str, str]] = []
        self._held: list[tuple[Resource, str, Object]] | None = None
        self._frozen: tuple[dict[tuple[str, str, str], Object], str] | None = None

    def hang_watch(self) -> None:
        """Stop delivering events."""
        self._held = []

    def resume_watch(self, *, dropped: bool = False) -> None:
        """Deliver the events that were held back, or drop them."""
        held, self._held = self._held or [], None
        for resource, type_, raw in () if dropped else held:
            self._notify(resource, type_, raw)

    def freeze_reads(self) -> None:
        """Make reads return the current state from now on, as a replica that lags behind does. Writes continue."""
        self._frozen = (copy.deepcopy(self.objects), str(next(self._versions)))

    def thaw_reads(self) -> None:
        """Make reads follow the writes again."""
        self._frozen = None

    def collect_orphans(self) -> None:
        """Play the garbage collector: remove objects whose owner no longer exists."""
        uids = {raw["metadata"]["uid"] for raw in self.objects.values()}
        for (plural, namespace, name), raw in list(self.objects.items()):
            owners = raw["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in uids for owner in owners):
                self.remove(next(kind for kind in (PODS, SECRETS) if kind.plural == plural), namespace, name)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object."""
        await self._read()
        if self._frozen is None:
            return await super().get(resource, namespace, name)
        try:
            return copy.deepcopy(self._frozen[0][resource.plural, namespace, name])
        except KeyError:
            raise NotFoundError(404, "NotFound", f"{resource.plural} {name} not found") from None

    async def list(self, resource: Resource, namespace: str | None, labels: str = "") -> tuple[list[Object], str]:
        """Return the objects that a label selector matches."""
        await self._read()
        if self._frozen is None:
            return await super().list(resource, namespace, labels)
        current, (self.objects, version) = self.objects, self._frozen
        try:
            return (await super().list(resource, namespace, labels))[0], version
        finally:
            self.objects = current

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object and return it as stored."""
        is_lost = await self._write(resource)
        answer = await super().create(resource, namespace, body)
        return self._written(is_lost, ("create", resource.plural, answer["metadata"]["name"]), resource, answer)

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
        is_lost = await self._write(resource)
        answer = await super().patch(resource, namespace, name, body, kind, subresource)
        return self._written(is_lost, ("patch", resource.plural, name), resource, answer)

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str = "", grace: int | None = None, version: str = ""
    ) -> Object:
        """Delete an object and return the server's response."""
        is_lost = await self._write(resource)
        answer = await super().delete(resource, namespace, name, uid, grace, version)
        return self._written(is_lost, ("delete", resource.plural, name), resource, answer)

    def _notify(self, resource: Resource, type_: str, raw: Object) -> None:
        if self._held is not None:
            self._held.append((resource, type_, copy.deepcopy(raw)))
            return
        super()._notify(resource, type_, raw)

    async def _read(self) -> None:
        await asyncio.sleep(0)
        fault = self.fault
        if fault and fault.reads and not fault.skip and fault.raised < fault.times:
            self._raise(fault)

    async def _write(self, resource: Resource) -> bool:
        """Meet the fault before a write. Returns whether the response is to be lost."""
        await asyncio.sleep(0)
        fault = self.fault
        if fault is None or resource in {EVENTS, LEASES}:
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        if fault.raised >= fault.times:
            return False
        if not fault.committed:
            self._raise(fault)
        return True

    def _raise(self, fault: Fault) -> NoReturn:
        fault.raised += 1
        raise fault.error()

    def _written(self, is_lost: bool, call: tuple[str, str, str], resource: Resource, answer: Object) -> Object:  # noqa: FBT001 - what _write returned
        if resource not in {EVENTS, LEASES}:
            self.writes.append(call)
        if is_lost and self.fault:
            self._raise(self.fault)
        return answer
