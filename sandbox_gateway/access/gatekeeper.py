"""Finds out who calls, by API keys, signatures, and Kubernetes tokens where there is a cluster."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from sandbox_client.errors import ResourceExhausted, SandboxError, Unauthenticated
from sandbox_gateway.access.keys import hash_key, is_key, is_same
from sandbox_gateway.access.sigv4 import check_scope, read_credential, verify
from sandbox_gateway.access.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_gateway.access.keys import ApiKey
    from sandbox_gateway.access.sigv4 import SignedRequest
    from sandbox_gateway.backend import Caller, GatewaySession

MAX_FAILURES: Final = 20
WINDOW_SECONDS: Final = 60.0
USER_PREFIX: Final = "user:"
"""Beginning of the caller's name of a Kubernetes user. No key has such a name."""
_MAX_ACCEPTED: Final = 10_000
SERVICES: Final = frozenset({"bedrock-agentcore", "bedrock-agentcore-control"})

_log: Final = logging.getLogger(__name__)


class KeyStore(Protocol):
    """The keys that are valid now."""

    async def by_hash(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash."""

    async def by_access_key_id(self, access_key_id: str) -> ApiKey | None:
        """Return the key with this id."""

    async def by_name(self, name: str) -> ApiKey | None:
        """Return the key of this name."""

    def note_use(self, key: ApiKey) -> None:
        """Record that a key was used, at some time soon."""


class TokenReviewer(Protocol):
    """Checks Kubernetes tokens."""

    async def review(self, token: str, namespace: str) -> Caller:
        """Return the user of a token, who may use the sessions of a namespace.

        Raises:
            Unauthenticated: The token is not valid, or its user may not.
        """


class Gatekeeper:
    """Finds out who calls. The class `Access` of gateway.py describes its methods.

    A key that is valid is never refused because of others' failures. A client that failed too often in a minute learns
    only that, and no more of its Kubernetes tokens are reviewed.

    Args:
        keys: The keys.
        secret: Signs tokens of single sessions. All replicas have the same.
        reviewer: Checks Kubernetes tokens; None without a cluster.
        clock: Returns the current time in seconds.
    """

    def __init__(
        self,
        keys: KeyStore,
        secret: bytes,
        reviewer: TokenReviewer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._secret = secret
        self._reviewer = reviewer
        self._failures = Window(MAX_FAILURES, WINDOW_SECONDS, clock)
        self._accepted: OrderedDict[str, None] = OrderedDict()

    async def by_key(self, key: str, *, peer: str) -> Caller:
        """Return the caller of an API key."""
        found = await self._keys.by_hash(hash_key(key)) if is_key(key) else None
        # The store compared hashes, perhaps by a dictionary. Hashes tell an attacker nothing, and this costs nothing.
        if found is None or not is_same(found.sha256, hash_key(key)):
            raise self._failed(peer, "the API key is not valid: it is wrong, or was revoked")
        self._keys.note_use(found)
        return found.caller

    async def by_bearer(self, token: str, *, peer: str, namespace: str = "") -> Caller:
        """Return the caller of an API key, or of a Kubernetes token."""
        if is_key(token) or self._reviewer is None:
            return await self.by_key(token, peer=peer)
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        try:
            # A proxy is the address of all its clients, so others' failures do not end a login that was right before.
            if digest in self._accepted:
                caller = await self._reviewer.review(token, namespace)
            else:
                caller = await self._review_new(self._reviewer, token, namespace, peer)
        except Unauthenticated as error:
            self._accepted.pop(digest, None)
            raise self._failed(peer, error.message) from None
        self._accepted[digest] = None
        self._accepted.move_to_end(digest)
        if len(self._accepted) > _MAX_ACCEPTED:
            self._accepted.popitem(last=False)
        return caller

    async def _review_new(self, reviewer: TokenReviewer, token: str, namespace: str, peer: str) -> Caller:
        """Review a token that was not accepted before. It counts as a failure until the answer is there."""
        if self._failures.wait(peer):
            raise Unauthenticated("the token was not reviewed")
        self._failures.add(peer)
        try:
            return await reviewer.review(token, namespace)
        finally:
            self._failures.take_back(peer)

    async def check_signer(self, request: SignedRequest, *, peer: str) -> None:
        """Check who claims to have signed a request whose body was not read yet."""
        try:
            key = await self._keys.by_access_key_id(read_credential(request).access_key_id)
            is_known = key is not None and bool(key.signing_secret)
            if is_known:
                check_scope(request, dt.datetime.now(dt.UTC), SERVICES)
        except Unauthenticated as error:
            raise self._failed(peer, error.message) from None
        if not is_known:
            raise self._failed(peer, "the signature does not match")

    async def by_signature(self, request: SignedRequest, *, peer: str) -> Caller:
        """Return the caller of a signed request."""
        try:
            key = await self._keys.by_access_key_id(read_credential(request).access_key_id)
            # Without a key, too, a signature is computed, so that the time tells nothing.
            verify(request, key.signing_secret if key else "", dt.datetime.now(dt.UTC), SERVICES)
        except Unauthenticated as error:
            raise self._failed(peer, error.message) from None
        if key is None or not key.signing_secret:
            raise self._failed(peer, "the signature does not match")
        self._keys.note_use(key)
        return key.caller

    async def by_owner(self, session: GatewaySession) -> Caller:
        """Return the caller that created a session. For requests with a token of the session."""
        if not session.key_id:
            # All keys of the namespace can read its token, and nothing would end it when one of them is revoked.
            message = "this session was created without an API key, so its token is not accepted: use one to create it"
            raise Unauthenticated(message, reason="UNAUTHENTICATED")
        key = await self._keys.by_name(session.owner)
        if key is None or key.id != session.key_id or key.namespace != session.info.namespace:
            raise Unauthenticated("the key that created this session was revoked", reason="UNAUTHENTICATED")
        return key.caller

    def session_token(self, session: GatewaySession, purpose: str) -> str:
        """Return a session's token for one purpose."""
        facts = (purpose, session.info.namespace, session.info.name, session.uid, session.owner, session.key_id)
        return hmac.new(self._secret, "\0".join(facts).encode(), hashlib.sha256).hexdigest()

    def check_session_token(self, session: GatewaySession, purpose: str, token: str) -> None:
        """Check a session's token."""
        if not is_same(self.session_token(session, purpose), token):
            raise Unauthenticated("the session's token is wrong", reason="UNAUTHENTICATED")

    def derive(self, purpose: str, text: str) -> str:
        """Return digits that stand for a text."""
        return hmac.new(self._secret, f"{purpose}\0\0{text}".encode(), hashlib.sha256).hexdigest()

    def _failed(self, peer: str, why: str) -> SandboxError:
        """Count a failure, and return its error."""
        if (seconds := self._failures.wait(peer)) > 0:
            message = f"too many failed logins from this address: wait {seconds:.0f} s"
            return ResourceExhausted(message, reason="TOO_MANY_FAILURES")
        self._failures.add(peer)
        _log.warning("a login from %s failed: %s", peer, why)
        return Unauthenticated(why, reason="UNAUTHENTICATED")
