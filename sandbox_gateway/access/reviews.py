"""Kubernetes tokens: a TokenReview says whose a token is, and RBAC decides what its user may do."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox_client.errors import Unauthenticated
from sandbox_gateway.access.gatekeeper import USER_PREFIX
from sandbox_gateway.backend import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FRESH_SECONDS: Final = 5.0
"""Time for which a review counts."""
_MAX_ENTRIES: Final = 1000
_MAX_TOKEN: Final = 16 << 10
_NAMESPACE: Final = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE_ACCOUNT: Final = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
_SESSIONS: Final = ("sandboxsessions.dev", "sandboxsessions")
NEEDED: Final = (
    *((verb, *_SESSIONS) for verb in ("create", "get", "list", "patch", "delete")),
    # Users who may read the access Secret of a session can run code in it. The gateway gives no more than that.
    ("get", "", "secrets"),
)
"""Verb, API group and resource of each permission that the gateway's users need in their namespace."""


class ReviewApi(Protocol):
    """The API server."""

    async def review_token(self, token: str) -> dict[str, Any]:
        """Return the status of a TokenReview."""

    async def review_access(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the status of a SubjectAccessReview."""


class KubernetesTokens:
    """Checks Kubernetes tokens, and remembers a good one for some seconds.

    Args:
        api: The API server.
        clock: Returns the current time in seconds.
    """

    def __init__(self, api: ReviewApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._good: dict[tuple[str, str], tuple[Caller, float]] = {}

    async def review(self, token: str, namespace: str) -> Caller:
        """Return the user of a token.

        Args:
            token: The token.
            namespace: The namespace to use; that of a service account if empty.

        Raises:
            Unauthenticated: The token is not valid, or its user lacks a permission.
        """
        if not 0 < len(token) <= _MAX_TOKEN or not token.isascii() or not token.isprintable():
            raise _refuse("the token is neither an API key nor a Kubernetes token")
        key = (hashlib.sha256(token.encode()).hexdigest(), namespace)
        caller, reviewed_at = self._good.get(key, (None, 0.0))
        if caller is not None and self._clock() - reviewed_at <= FRESH_SECONDS:
            return caller
        began = self._clock()
        caller = await self._review(token, namespace)
        if len(self._good) >= _MAX_ENTRIES:
            self._good.clear()
        self._good[key] = (caller, began)
        return caller

    async def _review(self, token: str, namespace: str) -> Caller:
        status = await self._api.review_token(token)
        user = status.get("user") or {}
        name = str(user.get("username") or "")
        if status.get("authenticated") is not True or not name:
            raise _refuse("the token is neither a valid API key nor a valid Kubernetes token")
        account = _SERVICE_ACCOUNT.fullmatch(name)
        namespace = namespace or (account[1] if account else "")
        if not _NAMESPACE.fullmatch(namespace):
            raise _refuse(f"{name} is a user of the cluster: name a namespace in the header X-Sandbox-Namespace")
        reviews = (self._api.review_access(_access(user, namespace, *each)) for each in NEEDED)
        for (verb, _, resource), review in zip(NEEDED, await asyncio.gather(*reviews), strict=True):
            if review.get("allowed") is not True or review.get("denied"):
                raise _refuse(f"{name} may not {verb} {resource} in the namespace {namespace}")
        return Caller(name=USER_PREFIX + name, namespace=namespace)


def _access(user: Mapping[str, Any], namespace: str, verb: str, group: str, resource: str) -> dict[str, Any]:
    """Return the spec of a SubjectAccessReview."""
    place = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
    return {
        "user": user.get("username"),
        "groups": user.get("groups") or [],
        "uid": user.get("uid") or "",
        "extra": user.get("extra") or {},
        "resourceAttributes": place,
    }


def _refuse(why: str) -> Unauthenticated:
    return Unauthenticated(why, reason="UNAUTHENTICATED")
