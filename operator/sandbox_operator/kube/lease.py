"""Elects a leader with a Lease, which is renewed every second, expires after four, and is released at the end.

The gate (`is_leading`) closes before another replica may take the lease, even if the API server does not respond.
Each replica uses its own monotonic clock. A follower measures how long it has seen the lease unchanged, so the wall
clocks of the machines may differ.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.errors import AlreadyExistsError, ApiError, ConflictError, InvalidError, NotFoundError
from sandbox_operator.kube.resources import LEASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_operator.kube.client import KubeApi

_LOG: Final = logging.getLogger(__name__)
DURATION: Final = 4.0
"""Seconds after the last renewal at which the lease expires."""
RENEW_INTERVAL: Final = 1.0
_MARGIN: Final = 1.0
"""Seconds before the lease expires at which the gate closes, so that writes in progress can finish."""
_CALL_TIMEOUT: Final = 2.0


class LeaderLease:
    """One replica's view of the lease.

    Args:
        api: The API server.
        namespace: Namespace of the lease.
        name: Name of the lease.
        identity: Name of this replica, different from that of any other.
        on_change: Called with True when this replica begins to lead, with False when it stops.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        name: str,
        identity: str,
        on_change: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._namespace, self._name, self._identity = api, namespace, name, identity
        self._on_change, self._clock = on_change, clock
        self._valid_until = float("-inf")
        self._seen: tuple[str, float] = ("", float("-inf"))
        self._was_leading = False

    @property
    def is_leading(self) -> bool:
        """True if this replica may write now."""
        return self._clock() < self._valid_until

    async def run(self) -> None:
        """Acquire and renew the lease until cancelled. Raises nothing but CancelledError."""
        while True:
            # After a late renewal the gate was closed for a while. Refused work has to be enqueued again.
            self._notify()
            started = self._clock()
            try:
                async with asyncio.timeout(_CALL_TIMEOUT):
                    if await self.step():
                        self._valid_until = started + DURATION - _MARGIN
            except (TimeoutError, ApiError) as error:
                _LOG.warning("lease not renewed: %s", str(error) or "no response in time")
            self._notify()
            await asyncio.sleep(RENEW_INTERVAL)

    async def step(self) -> bool:
        """Try once to acquire or renew the lease. Returns whether this replica holds it."""
        try:
            lease = await self._api.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            return await self._create()
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        if spec.get("holderIdentity") not in (self._identity, "", None) and not self._has_expired(version, spec):
            self._valid_until = float("-inf")
            return False
        return await self._acquire(version, spec)

    async def release(self) -> None:
        """Release the lease, so that another replica need not wait until it expires."""
        if not self.is_leading:
            return
        self._valid_until = float("-inf")
        self._notify()
        try:
            # A stopping process waits no longer for this than for a renewal, because the lease expires anyway.
            async with asyncio.timeout(_CALL_TIMEOUT):
                await self._clear_holder()
        except (TimeoutError, ApiError) as error:
            _LOG.warning("lease not released: %s", str(error) or "no response in time")

    async def _clear_holder(self) -> None:
        lease = await self._api.get(LEASES, self._namespace, self._name)
        if (lease.get("spec") or {}).get("holderIdentity") == self._identity:
            body = {
                "metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]},
                "spec": {"holderIdentity": ""},
            }
            await self._api.patch(LEASES, self._namespace, self._name, body)

    def _has_expired(self, version: str, spec: dict[str, Any]) -> bool:
        now = self._clock()
        if self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > float(spec.get("leaseDurationSeconds") or DURATION)

    async def _create(self) -> bool:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec({}),
        }
        try:
            await self._api.create(LEASES, self._namespace, body)
        except AlreadyExistsError:
            return False
        return True

    async def _acquire(self, version: str, spec: dict[str, Any]) -> bool:
        body = {"metadata": {"resourceVersion": version}, "spec": self._spec(spec)}
        try:
            await self._api.patch(LEASES, self._namespace, self._name, body)
        except (ConflictError, InvalidError, NotFoundError):
            return False
        return True

    def _spec(self, old: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        kept = old.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "renewTime": now,
            "acquireTime": old.get("acquireTime") if kept else now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if kept or not old else 1),
        }

    def _notify(self) -> None:
        if self.is_leading != self._was_leading:
            self._was_leading = self.is_leading
            _LOG.info("this replica %s", "leads" if self._was_leading else "does not lead")
            self._on_change(self._was_leading)
