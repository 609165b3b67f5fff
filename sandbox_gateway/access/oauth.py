"""Checks OAuth access tokens: JSON Web Tokens of the one issuer that the administrator configured.

It needs PyJWT, which comes with the extra `mcp`.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import jwt

from sandbox_client.errors import SandboxError, SandboxUnavailable, SessionFailed, Unauthenticated
from sandbox_gateway.backend import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_gateway.access.gatekeeper import TokenReviewer

ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that only the issuer can make. Those with a shared secret are not among them."""
CLAIMS: Final = ["exp", "iss", "aud", "sub"]
LEEWAY: Final = 30
"""Seconds by which the clocks may differ."""
AGAIN_SECONDS: Final = 30.0
"""Time until an issuer is asked again, after it failed, or had no key of a token's id."""
_TIMEOUT: Final = 5.0
_MAX_THREADS: Final = 4
_MAX_DOCUMENT: Final = 1 << 20
_MAX_TOKEN: Final = 16 << 10
_MAX_NAME: Final = 200
_PREFIX: Final = "user:oauth:"
"""Beginning of the caller's name. No key and no user of Kubernetes has such a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An issuer of access tokens, and what its users may do.

    Attributes:
        url: The issuer, as its tokens name it.
        audience: The value that a token must have as its audience: the address of the MCP endpoint.
        namespace: The namespace of its users' sessions; "" for those of this machine.
        templates: Templates that its users may use; None for all.
        max_sessions: Sessions of one user at a time; None for no limit.
        max_seconds: Longest time of a session, in seconds; None for no limit.
    """

    url: str
    audience: str
    namespace: str = ""
    templates: frozenset[str] | None = None
    max_sessions: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_url(self.url)


def check_url(url: str) -> None:
    """Check an address from which keys are read.

    Raises:
        SessionFailed: It is neither HTTPS nor on this machine.
    """
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (is_local or (parts.scheme == "https" and parts.hostname)):
        message = f"{url!r} is not the address of an issuer: it must begin with https://"
        raise SessionFailed(message, reason="BAD_ISSUER", field="issuer")


def caller_of(claims: dict[str, Any], issuer: Issuer) -> Caller:
    """Return the caller that the claims of a valid token name.

    Raises:
        Unauthenticated: The subject cannot be the name of a caller.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_NAME or not subject.isprintable():
        raise Unauthenticated("the token's subject is not a name", reason="UNAUTHENTICATED")
    return Caller(
        name=_PREFIX + subject,
        namespace=issuer.namespace,
        templates=issuer.templates,
        max_sessions=issuer.max_sessions,
        max_seconds=issuer.max_seconds,
        # All users of an issuer have one namespace.
        sees_own_only=True,
    )


def metadata_urls(issuer: str) -> list[str]:
    """Return where an issuer publishes its metadata, by RFC 8414 and by OpenID Connect."""
    parts = urlsplit(issuer.rstrip("/"))
    before = f"/.well-known/oauth-authorization-server{parts.path}"
    after = f"{parts.path}/.well-known/openid-configuration"
    return [urlunsplit((parts.scheme, parts.netloc, path, "", "")) for path in (before, after)]


class OAuthReviewer:
    """Checks the tokens of an issuer, and leaves all others to the next reviewer.

    Args:
        issuer: The issuer, and what its users may do.
        following: Checks tokens of others, such as those of Kubernetes; None if there are none.
        clock: Returns the current time in seconds.
    """

    def __init__(
        self,
        issuer: Issuer,
        following: TokenReviewer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._following = following
        self._clock = clock
        self._keys: jwt.PyJWKClient | None = None
        self._finding = threading.Lock()
        self._find_again_at = float("-inf")
        # An issuer that hangs would otherwise take the threads of all other logins.
        self._threads = ThreadPoolExecutor(_MAX_THREADS, "oauth")

    async def review(self, token: str, namespace: str) -> Caller:
        """Return the user of a token.

        Raises:
            Unauthenticated: The token is not valid.
            SandboxUnavailable: The issuer does not answer.
        """
        if self._following is not None and not self._is_ours(token):
            return await self._following.review(token, namespace)
        if len(token) > _MAX_TOKEN:
            raise Unauthenticated("the token is too long", reason="UNAUTHENTICATED")
        # Keys are read from the network, and only from time to time.
        claims = await asyncio.get_running_loop().run_in_executor(self._threads, self._claims, token)
        return caller_of(claims, self._issuer)

    def _is_ours(self, token: str) -> bool:
        """Return whether a token claims to be the issuer's. Nothing is verified yet."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return False
        return claims.get("iss") == self._issuer.url

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            # Without this check, a request with any token would make this gateway ask the issuer.
            if jwt.get_unverified_header(token).get("alg") not in ALGORITHMS:
                raise Unauthenticated("the token has no signature of an issuer", reason="UNAUTHENTICATED")
            key = self._key_client().get_signing_key_from_jwt(token)
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._issuer.audience,
                issuer=self._issuer.url,
                leeway=LEEWAY,
                options={"require": CLAIMS, "strict_aud": False},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise SandboxUnavailable(f"the issuer {self._issuer.url} does not answer", reason="ISSUER") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {error}", reason="UNAUTHENTICATED") from error

    def _key_client(self) -> jwt.PyJWKClient:
        # Requests at the same time wait for the first one.
        with self._finding:
            if self._keys is None:
                if self._clock() < self._find_again_at:
                    raise self._without_keys()
                try:
                    self._keys = _Keys(self._find_keys(), self._clock)
                except SandboxError:
                    self._find_again_at = self._clock() + AGAIN_SECONDS
                    raise
            return self._keys

    def _find_keys(self) -> str:
        """Return where the issuer publishes its keys.

        Raises:
            SandboxUnavailable: It does not say.
        """
        for url in metadata_urls(self._issuer.url):
            try:
                # The scheme was checked.
                with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:  # noqa: S310
                    document = json.loads(response.read(_MAX_DOCUMENT))
            except (OSError, ValueError):
                continue
            # RFC 8414: otherwise another issuer could answer in this one's place.
            if isinstance(document, dict) and document.get("issuer") == self._issuer.url:
                uri = str(document.get("jwks_uri"))
                check_url(uri)
                return uri
        raise self._without_keys()

    def _without_keys(self) -> SandboxUnavailable:
        message = f"the issuer {self._issuer.url} does not say where its keys are"
        return SandboxUnavailable(message, reason="ISSUER")


class _Keys(jwt.PyJWKClient):
    """The keys of an issuer. Neither a failure nor an unknown key makes it ask again at once."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        super().__init__(url, timeout=_TIMEOUT)
        self._now = clock
        self._asked_at = float("-inf")

    def fetch_data(self) -> Any:
        if self._now() - self._asked_at < AGAIN_SECONDS:
            raise jwt.PyJWKClientConnectionError("the issuer was asked some seconds ago")
        self._asked_at = self._now()
        try:
            return super().fetch_data()
        except (OSError, ValueError) as error:
            raise jwt.PyJWKClientConnectionError(str(error)) from error
        finally:
            # A failure can take longer than the time until the next try.
            self._asked_at = self._now()
