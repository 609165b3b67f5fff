"""Finds the session that a request is for, and checks that the request may use it."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import (
    FailedPrecondition,
    NotFound,
    SandboxError,
    SandboxUnavailable,
    SessionFailed,
    Unauthenticated,
)
from sandbox_gateway.access.keys import is_same
from sandbox_gateway.access.requests import client_address
from sandbox_gateway.backend import Caller
from sandbox_gateway.backends.limits import is_suspended
from sandbox_gateway.doors.e2b import identity
from sandbox_gateway.doors.e2b.control.bodies import wake_seconds, wakes_by_traffic
from sandbox_gateway.doors.e2b.envd.paths import Place
from sandbox_gateway.doors.e2b.lookups import Lookups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from sandbox_client import AsyncSandbox
    from sandbox_gateway.backend import GatewaySession
    from sandbox_gateway.gateway import Gateway

_log: Final = logging.getLogger(__name__)
_MAX_PLACES: Final = 10_000
_HEALTH_SECONDS: Final = 4.0
"""Seconds that a healthy sandbox may take to answer. The SDKs wait for 5 s."""


class SandboxMissingError(Exception):
    """The session does not exist, is paused, or the request's token is not one of its own."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that a request may use.

    Attributes:
        sandbox: The connection, which other requests share.
        place: Where its code runs.
        key: Tells it from all other sessions, also earlier ones of its name.
        check_owner: Raises Unauthenticated if the key that created the session was revoked meanwhile.
    """

    sandbox: AsyncSandbox
    place: Place
    key: str
    check_owner: Callable[[], Awaitable[None]]


class Sessions:
    """The sessions, as requests to their hosts reach them.

    Attributes:
        lookups: The bound for requests without a right.
    """

    def __init__(self, gateway: Gateway) -> None:
        """Remember the gateway.

        Args:
            gateway: The sessions and who may use them.
        """
        self._gateway = gateway
        self.lookups = Lookups()
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def open(self, request: Request, target: identity.Target) -> OpenSession:
        """Check a request's token, and connect to its session.

        Raises:
            SandboxMissingError: There is no such session for this request.
            SandboxUnavailable: It takes no calls now.
            Unauthenticated: The request has no token, or a signature that is wrong.
        """
        session = await self._authorize(request, target)
        access, backend = self._gateway.access, self._gateway.backend
        caller = await access.by_owner(session)
        request.state.caller = caller.name
        name = session.info.name.removeprefix("local/")
        key = f"{identity.sandbox_id(session.info)}/{session.uid}"
        try:
            if is_suspended(session):
                await self._wake(caller, session, key)
            # A connection that follows its session would resume it for a stream that a pause has ended.
            sandbox = await backend.connect(caller, name, wake=False)
        except (NotFound, FailedPrecondition):
            raise SandboxMissingError from None
        except SessionFailed as error:
            # Its pod is being replaced, for example: another attempt may succeed.
            raise SandboxUnavailable(error.message, reason=error.reason) from None
        check = functools.partial(self._check_owner, session)
        return OpenSession(sandbox, await self._place(key, sandbox), key, check)

    async def check_running(self, request: Request, target: identity.Target) -> None:
        """Check that a request's session takes calls. It is not resumed.

        Raises:
            SandboxMissingError: It is paused, or there is no such session for this request.
            SandboxUnavailable: It does not answer.
            Unauthenticated: The request has no token.
        """
        session = await self._authorize(request, target)
        if is_suspended(session):
            raise SandboxMissingError
        caller = await self._gateway.access.by_owner(session)
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                name = session.info.name.removeprefix("local/")
                sandbox = await self._gateway.backend.connect(caller, name, wake=False)
                await sandbox.contexts.list()
        except (NotFound, FailedPrecondition):
            raise SandboxMissingError from None
        except SessionFailed as error:
            raise SandboxUnavailable(error.message, reason=error.reason) from None
        except TimeoutError:
            raise SandboxUnavailable("the sandbox does not answer", reason="RUNTIME_UNAVAILABLE") from None

    async def _check_owner(self, session: GatewaySession) -> None:
        try:
            await self._gateway.access.by_owner(session)
        except Unauthenticated:
            raise
        except SandboxError as error:
            # The keys cannot be read now. They were right before.
            _log.warning("the owner of %s was not checked: %s", session.info.name, error)

    async def _wake(self, caller: Caller, session: GatewaySession, key: str) -> None:
        """Resume a sandbox that was created to be resumed by traffic."""
        if not wakes_by_traffic(session.metadata):
            raise SandboxMissingError
        backend, name = self._gateway.backend, session.info.name.removeprefix("local/")
        async with self._locks.setdefault(key, asyncio.Lock()):
            # Another request may have resumed it meanwhile.
            if is_suspended(await backend.get(caller, name)):
                seconds = wake_seconds(session.metadata)
                bound = caller.max_seconds
                await backend.resume(caller, name, seconds if bound is None else min(seconds, bound))

    async def _authorize(self, request: Request, target: identity.Target) -> GatewaySession:
        tokens = _given_tokens(request, target)
        signature = request.query_params.get("signature", "") if request.url.path == "/files" else ""
        if not tokens and not signature:
            raise Unauthenticated("unauthorized access, please provide a valid access token or signature")
        proofs = [token for _, token in tokens] or [signature]
        peer = client_address(request)
        is_known = self.lookups.check(peer, target.sandbox_id, proofs)
        for session in await self._candidates(target, is_known=is_known):
            right = [token for purpose, token in tokens if self._is_token(session, purpose, token)]
            if not tokens and self._is_signed(session, request, signature):
                right = [signature]
            if right:
                self.lookups.note_right(target.sandbox_id, right)
                return session
        if not is_known:
            self.lookups.note_wrong(peer)
        # The answer must not tell whether there is such a session.
        if signature and not tokens:
            raise Unauthenticated("invalid signature")
        raise SandboxMissingError

    async def _candidates(self, target: identity.Target, *, is_known: bool) -> list[GatewaySession]:
        backend = self._gateway.backend
        if not target.sandbox_id:
            # On a laptop only: in a cluster, each namespace has callers of its own.
            return await backend.list(Caller(name="e2b"))
        namespace, name = identity.split_id(target.sandbox_id)
        try:
            return [await backend.get(Caller(name="e2b", namespace=namespace), name)]
        except SandboxError as error:
            # Only those who had the right before may learn why.
            if is_known and not isinstance(error, NotFound):
                raise
            return []

    def _is_token(self, session: GatewaySession, purpose: str, token: str) -> bool:
        try:
            self._gateway.access.check_session_token(session, purpose, token)
        except Unauthenticated:
            return False
        return True

    def _is_signed(self, session: GatewaySession, request: Request, signature: str) -> bool:
        query = request.query_params
        expiration = query.get("signature_expiration", "")
        if expiration and not (expiration.isascii() and expiration.isdigit() and len(expiration) < 16):  # noqa: PLR2004
            return False
        seconds = int(expiration) if expiration else None
        token = self._gateway.access.session_token(session, identity.ENVD)
        operation, user = "write" if request.method == "POST" else "read", query.get("username", "")
        if not identity.is_signable(user):
            return False
        expected = identity.sign(query.get("path", ""), operation, user, token, seconds)
        if not is_same(signature, expected):
            return False
        if seconds is not None and seconds < time.time():
            raise Unauthenticated("signature is already expired")
        return True

    async def _place(self, key: str, sandbox: AsyncSandbox) -> Place:
        if key not in self._places:
            async with self._locks.setdefault(key, asyncio.Lock()):
                if key not in self._places:
                    self._places[key] = await _find_place(sandbox)
                    while len(self._places) > _MAX_PLACES:
                        self._places.popitem(last=False)
        return self._places[key]


def _given_tokens(request: Request, target: identity.Target) -> list[tuple[str, str]]:
    """Return the tokens of a request with their purposes."""
    headers = {identity.ENVD: "x-access-token"}
    if identity.takes_traffic_token(target, request.url.path):
        headers[identity.TRAFFIC] = "e2b-traffic-access-token"
    return [(purpose, token) for purpose, name in headers.items() if (token := request.headers.get(name, ""))]


async def _find_place(sandbox: AsyncSandbox) -> Place:
    path = (await sandbox.run("pwd -P", timeout=30)).stdout.removesuffix("\n")
    if not path.startswith("/"):
        raise SandboxUnavailable("the sandbox could not say where its workspace is", reason="RUNTIME_UNAVAILABLE")
    return Place(path)
