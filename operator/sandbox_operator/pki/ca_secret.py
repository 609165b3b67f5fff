"""The Secret with the CA. The first replica creates it, the leader rotates it, and every replica rereads it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from sandbox_operator.api import naming
from sandbox_operator.errors import AlreadyExistsError, NotFoundError, OperatorError, SettingsError
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.pki.certificates import Authority, create_authority
from sandbox_operator.pki.rotation import Rotation, advance, from_data, to_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_operator.kube.client import KubeApi, Object

RENEW: Final = f"{naming.DOMAIN}/renew-ca"
"""Annotation on the Secret that makes a rotation begin now."""
_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
_REFRESH_SECONDS: Final = 600.0
T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)


class CASecret:
    """Keeps an Authority equal to its Secret, and rotates the CA in the Secret when it is due.

    A Secret that an administrator created is read once. Its rotation is up to the administrator.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        name: str,
        may_write: Callable[[], bool],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._namespace, self._name = api, namespace, name
        self._may_write, self._clock = may_write, clock

    async def load(self) -> Authority:
        """Read the CA from its Secret, which is created if it is missing. If two replicas create it, the first wins.

        Raises:
            SettingsError: The Secret exists but contains no CA.
        """
        try:
            secret = await self._api.get(SECRETS, self._namespace, self._name)
        except NotFoundError:
            try:
                secret = await self._api.create(
                    SECRETS, self._namespace, self._build(Rotation(create_authority(self._clock())))
                )
            except AlreadyExistsError:
                secret = await self._api.get(SECRETS, self._namespace, self._name)
        rotation = self._read(secret)
        return self._check(lambda: Authority(rotation.current, rotation.others))

    async def run(self, authority: Authority) -> None:
        """Refresh the authority every ten minutes until cancelled."""
        while True:
            try:
                await self.refresh(authority)
            except OperatorError as error:
                _LOG.warning("the CA's Secret was not refreshed: %s", error)
            await asyncio.sleep(_REFRESH_SECONDS)

    async def refresh(self, authority: Authority) -> None:
        """Update the authority from the Secret. The leader also takes the next step of a rotation if it is due."""
        secret = await self._api.get(SECRETS, self._namespace, self._name)
        metadata = secret["metadata"]
        if (metadata.get("labels") or {}).get(_MANAGED_BY) != naming.MANAGER:
            return
        rotation = self._read(secret)
        is_requested = RENEW in (metadata.get("annotations") or {})
        wanted = advance(rotation, self._clock(), is_requested=is_requested)
        if wanted != rotation and self._may_write():
            # A CA is written to the Secret before it signs anything. The version makes one replica succeed.
            version = {"resourceVersion": metadata["resourceVersion"]}
            begins = wanted.next is not None and rotation.next is None
            annotations = {"annotations": {RENEW: None}} if begins and is_requested else {}
            body = {"metadata": {**version, **annotations}, "data": to_data(wanted)}
            await self._api.patch(SECRETS, self._namespace, self._name, body)
            rotation = wanted
            _LOG.info("the CA's rotation took its next step: %d CAs are trusted", 1 + bool(rotation.others))
        self._check(lambda: authority.replace(rotation.current, rotation.others))

    def _read(self, secret: Object) -> Rotation:
        return self._check(lambda: from_data(secret.get("data") or {}))

    def _check(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except (KeyError, ValueError) as error:
            message = f"Secret {self._namespace}/{self._name} does not contain a CA: it needs tls.crt and tls.key"
            raise SettingsError(message) from error

    def _build(self, rotation: Rotation) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {_MANAGED_BY: naming.MANAGER},
            },
            "data": {name: value for name, value in to_data(rotation).items() if value},
        }
