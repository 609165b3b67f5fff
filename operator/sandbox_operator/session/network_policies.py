"""NetworkPolicies, applied before the first pod that they select, and once in a while as somebody may delete them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.errors import Blocked, InvalidError
from sandbox_operator.kube.resources import NETWORK_POLICIES
from sandbox_operator.manifests.network_policy import build_network_policy

if TYPE_CHECKING:
    from sandbox_operator.api.models import Egress, Template
    from sandbox_operator.app.settings import Settings
    from sandbox_operator.kube.client import KubeApi

_MAX_AGE: Final = 60.0
"""Seconds after which a policy is applied again though we know of no change: somebody may have deleted it."""


class Policies:
    """Makes sure of policies; remembers when it last did."""

    def __init__(self, api: KubeApi, settings: Settings) -> None:
        self._api, self._settings = api, settings
        self._applied: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def apply(self, template: Template, egress: Egress) -> None:
        """The policy for a template's pods with this egress.

        Raises:
            Blocked: The API server refuses what the template says.
        """
        manifest = build_network_policy(template, egress, self._settings)
        key = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        # Of many sessions that start at once the first one applies it and the others wait for that.
        async with self._locks[key]:
            known = self._applied.get(key)
            if known and known[1] == manifest and time.monotonic() - known[0] < _MAX_AGE:
                return
            try:
                await self._api.patch(NETWORK_POLICIES, *key, manifest, "apply")
            except InvalidError as error:
                raise Blocked("TemplateInvalid", f"its NetworkPolicy is refused: {error}", retry_after=60) from error
            self._applied[key] = (time.monotonic(), manifest)
