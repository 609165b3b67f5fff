"""Applies NetworkPolicies before the first pod that they select, and again periodically."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.errors import Blocked, InvalidError, NotFoundError
from sandbox_operator.kube.resources import NETWORK_POLICIES
from sandbox_operator.manifests.network_policy import build_network_policy

if TYPE_CHECKING:
    from sandbox_operator.api.models import Template
    from sandbox_operator.api.session_spec import Egress
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.settings import Settings

_MAX_AGE: Final = 60.0
"""Seconds after which an unchanged policy is applied again. It may have been deleted."""
_MAX_REMEMBERED: Final = 500
"""Policies whose last application is remembered."""
_FOREIGN: Final = ("ownerReferences", "finalizers")
"""Metadata that the operator never sets on a policy."""
_MAX_ATTEMPTS: Final = 3


class NetworkPolicies:
    """Applies policies, and remembers when each was last applied."""

    def __init__(self, api: KubeApi, settings: Settings) -> None:
        self._api, self._settings = api, settings
        self._applied: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def apply(self, template: Template, egress: Egress) -> None:
        """Apply the policy for a template's pods with this egress, unless that was done recently.

        Raises:
            Blocked: The API server refused the policy.
        """
        manifest = build_network_policy(template, egress, self._settings)
        key = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        # If many sessions start at once, the first one applies the policy and the others wait.
        async with self._locks[key]:
            known = self._applied.get(key)
            if known and known[1] == manifest and time.monotonic() - known[0] < _MAX_AGE:
                return
            await self._write(key, manifest)
            self._applied.pop(key, None)
            self._applied[key] = (time.monotonic(), manifest)
            if len(self._applied) > _MAX_REMEMBERED:
                self._forget_oldest()

    async def _write(self, key: tuple[str, str], manifest: dict[str, Any]) -> None:
        """Apply a policy that nothing else can delete.

        A tenant may have made one of this name before. With an owner, or a finalizer and a deletion, it would vanish
        later: the garbage collector may delete it, although the tenant may not.
        """
        for _ in range(_MAX_ATTEMPTS):
            try:
                answer = await self._api.patch(NETWORK_POLICIES, *key, manifest, "apply")
            except InvalidError as error:
                raise Blocked(
                    "TemplateInvalid", f"the API server refused its NetworkPolicy: {error}", retry_after=60
                ) from error
            if not any(answer["metadata"].get(name) for name in ("deletionTimestamp", *_FOREIGN)):
                return
            # Without its finalizers, one that is being deleted is gone at once, and the next attempt makes another.
            with contextlib.suppress(NotFoundError):
                await self._api.patch(NETWORK_POLICIES, *key, {"metadata": dict.fromkeys(_FOREIGN)})
        raise Blocked("PodRefused", f"NetworkPolicy {key[1]} has owners or finalizers again and again; delete it")

    def _forget_oldest(self) -> None:
        key = next(iter(self._applied))
        del self._applied[key]
        if not self._locks[key].locked():
            del self._locks[key]
