"""The Secret of the CA: made at the first start, kept up to date by the leader, read again by every replica."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from sandbox_operator.api import naming
from sandbox_operator.errors import AlreadyExistsError, NotFoundError, OperatorError, SettingsError
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.pki.certificates import Authority, create_authority
from sandbox_operator.pki.rotation import Succession, advance, from_data, to_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_operator.kube.client import KubeApi, Object

RENEW: Final = f"{naming.DOMAIN}/renew-ca"
"""Annotation of the Secret: begin a succession now."""
_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
_LOOK_SECONDS: Final = 600.0
T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)


class AuthorityKeeper:
    """Keeps one Authority as its Secret says, and the Secret as time goes on.

    A CA that somebody else put there is theirs to renew: it is read once.
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
        """The CA in its Secret, made where there is none. Of two replicas that start together, the first one's counts.

        Raises:
            SettingsError: The Secret is there, and holds no CA.
        """
        try:
            secret = await self._api.get(SECRETS, self._namespace, self._name)
        except NotFoundError:
            try:
                secret = await self._api.create(
                    SECRETS, self._namespace, self._build(Succession(create_authority(self._clock())))
                )
            except AlreadyExistsError:
                secret = await self._api.get(SECRETS, self._namespace, self._name)
        held = self._read(secret)
        return self._check(lambda: Authority(held.current, held.others))

    async def run(self, authority: Authority) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                await self.look(authority)
            except OperatorError as error:
                _LOG.warning("the CA's Secret was not looked at: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self, authority: Authority) -> None:
        """Take over what the Secret holds; the leader also brings it a step further where that is due."""
        secret = await self._api.get(SECRETS, self._namespace, self._name)
        metadata = secret["metadata"]
        if (metadata.get("labels") or {}).get(_MANAGED_BY) != naming.MANAGER:
            return
        held = self._read(secret)
        is_told = RENEW in (metadata.get("annotations") or {})
        wanted = advance(held, self._clock(), is_told=is_told)
        if wanted != held and self._may_write():
            # What is trusted is written before anything is made with it; with the version, by one replica only.
            changes = {"resourceVersion": metadata["resourceVersion"]}
            begins = wanted.next is not None and held.next is None
            annotations = {"annotations": {RENEW: None}} if begins and is_told else {}
            body = {"metadata": {**changes, **annotations}, "data": to_data(wanted)}
            await self._api.patch(SECRETS, self._namespace, self._name, body)
            held = wanted
            _LOG.info("the CA's succession went a step further", extra={"trusted": 1 + bool(held.others)})
        self._check(lambda: authority.become(held.current, held.others))

    def _read(self, secret: Object) -> Succession:
        return self._check(lambda: from_data(secret.get("data") or {}))

    def _check(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except (KeyError, ValueError) as error:
            message = f"Secret {self._namespace}/{self._name} is not a CA: tls.crt and tls.key are needed"
            raise SettingsError(message) from error

    def _build(self, held: Succession) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {_MANAGED_BY: naming.MANAGER},
            },
            "data": {name: value for name, value in to_data(held).items() if value},
        }
