"""An API server in memory that misbehaves on demand: refusals, lost answers, stale reads, watches that hang or drop.

Ships with the code, as `testing` does; nothing at run time uses it.
"""

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
    from sandbox_operator.kube.write_hook import FaultHook


def no_answer() -> ApiError:
    """The API server is not there."""
    return UnavailableError(0, "NoAnswer", "the API server does not answer")


def broken() -> ApiError:
    """500, which says nothing about whether the write happened."""
    return UnavailableError(500, "InternalError", "etcd did not answer in time")


def throttled() -> ApiError:
    """429 with a Retry-After."""
    return UnavailableError(429, "TooManyRequests", "come back later", retry_after=0.0)


def conflict() -> ApiError:
    """409: somebody else changed the object."""
    return ConflictError(409, "Conflict", "the object has been modified")


@dataclass
class Trouble:
    """What happens to calls from the `skip`-th on.

    Attributes:
        error: Makes what is raised.
        skip: Writes that succeed before.
        times: Calls that fail then.
        committed: Whether the write is carried out before its answer is lost.
        reads: Whether reads fail as well.
    """

    error: Callable[[], ApiError]
    skip: int = 0
    times: int = 1
    committed: bool = False
    reads: bool = False
    struck: int = 0


class TroubledKube(FakeKube):
    """FakeKube with troubles. Every call yields to the loop once, so that two operators interleave.

    Attributes:
        trouble: What goes wrong with calls now, or None.
        writes: Writes that were carried out, Events and leases left out: verb, plural, name.
    """

    def __init__(self, faults: FaultHook | None, clock: Callable[[], datetime]) -> None:
        super().__init__(faults, clock)
        self.trouble: Trouble | None = None
        self.writes: list[tuple[str, str, str]] = []
        self._held: list[tuple[Resource, str, Object]] | None = None
        self._frozen: tuple[dict[tuple[str, str, str], Object], str] | None = None

    def hang_watch(self) -> None:
        """Events are not delivered from now on."""
        self._held = []

    def resume_watch(self, *, dropped: bool = False) -> None:
        """Deliver what was held back, or never."""
        held, self._held = self._held or [], None
        for resource, type_, raw in () if dropped else held:
            self._tell(resource, type_, raw)

    def freeze_reads(self) -> None:
        """Reads answer with what is there now, as a replica that lags behind does; writes go on."""
        self._frozen = (copy.deepcopy(self.objects), str(next(self._versions)))

    def thaw_reads(self) -> None:
        """Reads are up to date again."""
        self._frozen = None

    def collect_orphans(self) -> None:
        """Play the garbage collector: what was created for an owner that was gone by then is removed."""
        uids = {raw["metadata"]["uid"] for raw in self.objects.values()}
        for (plural, namespace, name), raw in list(self.objects.items()):
            owners = raw["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in uids for owner in owners):
                self.remove(next(kind for kind in (PODS, SECRETS) if kind.plural == plural), namespace, name)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """See KubeApi."""
        await self._read()
        if self._frozen is None:
            return await super().get(resource, namespace, name)
        try:
            return copy.deepcopy(self._frozen[0][resource.plural, namespace, name])
        except KeyError:
            raise NotFoundError(404, "NotFound", f"{resource.plural} {name} not found") from None

    async def list(self, resource: Resource, namespace: str | None, labels: str = "") -> tuple[list[Object], str]:
        """See KubeApi."""
        await self._read()
        if self._frozen is None:
            return await super().list(resource, namespace, labels)
        current, (self.objects, version) = self.objects, self._frozen
        try:
            return (await super().list(resource, namespace, labels))[0], version
        finally:
            self.objects = current

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """See KubeApi."""
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
        """See KubeApi."""
        is_lost = await self._write(resource)
        answer = await super().patch(resource, namespace, name, body, kind, subresource)
        return self._written(is_lost, ("patch", resource.plural, name), resource, answer)

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str = "", grace: int | None = None, version: str = ""
    ) -> Object:
        """See KubeApi."""
        is_lost = await self._write(resource)
        answer = await super().delete(resource, namespace, name, uid, grace, version)
        return self._written(is_lost, ("delete", resource.plural, name), resource, answer)

    def _tell(self, resource: Resource, type_: str, raw: Object) -> None:
        if self._held is not None:
            self._held.append((resource, type_, copy.deepcopy(raw)))
            return
        super()._tell(resource, type_, raw)

    async def _read(self) -> None:
        await asyncio.sleep(0)
        trouble = self.trouble
        if trouble and trouble.reads and not trouble.skip and trouble.struck < trouble.times:
            self._strike(trouble)

    async def _write(self, resource: Resource) -> bool:
        """Whether the answer is to be lost."""
        await asyncio.sleep(0)
        trouble = self.trouble
        if trouble is None or resource in {EVENTS, LEASES}:
            return False
        if trouble.skip:
            trouble.skip -= 1
            return False
        if trouble.struck >= trouble.times:
            return False
        if not trouble.committed:
            self._strike(trouble)
        return True

    def _strike(self, trouble: Trouble) -> NoReturn:
        trouble.struck += 1
        raise trouble.error()

    def _written(self, is_lost: bool, call: tuple[str, str, str], resource: Resource, answer: Object) -> Object:  # noqa: FBT001 - what _write returned
        if resource not in {EVENTS, LEASES}:
            self.writes.append(call)
        if is_lost and self.trouble:
            self._strike(self.trouble)
        return answer
