"""The parts that every door gets: the sessions, who may use them, and the settings."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sandbox_client.errors import InvalidArgument
from sandbox_gateway.access.sigv4 import SignedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_gateway.backend import Backend, Caller, GatewaySession

__all__ = ["Access", "Gateway", "Settings", "SignedRequest"]


class Access(Protocol):
    """Finds out who calls. Each method raises Unauthenticated, or ResourceExhausted after too many failures or calls.

    `peer` is the client's address, which is only used to limit failures.
    """

    async def by_key(self, key: str, *, peer: str) -> Caller:
        """Return the caller of an API key, such as `e2b_` and 40 hex digits."""

    async def by_bearer(self, token: str, *, peer: str, namespace: str = "") -> Caller:
        """Return the caller of a bearer token: an API key, or a Kubernetes token where there is a cluster.

        `namespace` is the one that a Kubernetes user wants to use; an API key has its own.
        """

    async def check_signer(self, request: SignedRequest, *, peer: str) -> None:
        """Check who claims to have signed a request, before its body is read; `body_sha256` does not count."""

    async def by_signature(self, request: SignedRequest, *, peer: str) -> Caller:
        """Return the caller of a signed request."""

    async def by_owner(self, session: GatewaySession) -> Caller:
        """Return the caller that created a session, if its key still exists. For tokens of one session.

        A session that was created without a key, and one whose key was made again under the same name, has none.
        """

    def session_token(self, session: GatewaySession, purpose: str) -> str:
        """Return a token for one session and one purpose, such as `envd`: 64 hex digits, always the same."""

    def check_session_token(self, session: GatewaySession, purpose: str, token: str) -> None:
        """Check a token of `session_token` in constant time."""

    def derive(self, purpose: str, text: str) -> str:
        """Return 64 hex digits that stand for a text, always the same, and that no client can compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The addresses of this gateway, and its limits.

    Attributes:
        url: The address, such as `https://sandboxes.example`, without a slash at its end.
        domain: Hosts of sessions are `{port}-{id}.{domain}`; "" if there are none.
        aliases: Names of templates that clients use, such as `base`, and what they stand for; "" is the default one.
        max_body: Bytes of a request, unless its route says otherwise.
        issuer: The OAuth issuer whose tokens serve as well, and which the MCP door names to clients; "" for none.
        issuer_namespace: The namespace of the sessions of its users; "" for sessions on this machine.
        proxies: Addresses and networks of proxies. Their header `X-Forwarded-For` names the client.
    """

    url: str = "http://127.0.0.1"
    domain: str = ""
    aliases: Mapping[str, str] = field(default_factory=lambda: {"base": "", "code-interpreter-v1": ""})
    max_body: int = 128 << 20
    issuer: str = ""
    issuer_namespace: str = ""
    proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                message = f"{proxy!r} is neither an address nor a network, such as 10.0.0.0/8"
                raise InvalidArgument(message, field="proxy") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The argument of a door's `build_routes`.

    Attributes:
        backend: The sessions.
        access: Who calls.
        settings: How clients reach this gateway.
    """

    backend: Backend
    access: Access
    settings: Settings = field(default_factory=Settings)
