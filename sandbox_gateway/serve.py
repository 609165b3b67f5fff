"""The gateway's process: it builds all parts, listens, and ends in order."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import ipaddress
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import uvicorn

from sandbox_client.cluster.api import open_client
from sandbox_client.errors import InvalidArgument, SessionFailed
from sandbox_gateway.access.cluster_keys import ClusterKeys
from sandbox_gateway.access.gatekeeper import Gatekeeper
from sandbox_gateway.access.kube import KubeAccess
from sandbox_gateway.access.local_keys import LocalCredentials, LocalKeys
from sandbox_gateway.access.reviews import KubernetesTokens
from sandbox_gateway.app import MAX_HEADERS, build_app
from sandbox_gateway.backends.cluster import ClusterBackend
from sandbox_gateway.backends.local import LocalBackend
from sandbox_gateway.gateway import Gateway, Settings
from sandbox_proto.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette

    from sandbox_client.cluster.api import ClusterOptions
    from sandbox_gateway.access.gatekeeper import TokenReviewer

_BACKLOG: Final = 512
_KEEP_ALIVE: Final = 75
"""Seconds that an unused connection stays open, longer than clients and proxies keep theirs."""
_GRACE: Final = 10
"""Seconds that running requests have at the end."""
_THREADS: Final = 64
_REGION: Final = "us-east-1"
"""AWS's SDKs want one. Any will do."""


async def serve_local(
    listen: str,
    domain: str | None = None,
    *,
    is_public: bool = False,
    issuer: str = "",
    on_listening: Callable[[str], object] = lambda _url: None,
) -> None:
    """Serve the sessions of this machine until Ctrl-C or SIGTERM. The sessions continue.

    Args:
        listen: `HOST:PORT`. Port 0 stands for any free port.
        domain: The domain of sessions' hosts; `localhost` if None.
        is_public: Whether the host may be another one than loopback.
        issuer: The OAuth issuer whose tokens serve as well; "" for none.
        on_listening: Called with the URL once clients can connect.

    Raises:
        InvalidArgument: The address is malformed, or not on loopback.
        SessionFailed: The port is in use, or not allowed.
    """
    host, port = parse_address(listen)
    if not is_public and not _is_loopback(host):
        message = (
            f"{host} is not a loopback address, and code in sessions of this machine runs as your user. Serve on "
            "127.0.0.1, or add --any-address if everyone with the key may do that"
        )
        raise InvalidArgument(message, field="listen")
    _add_threads()
    with open_listener(host, port) as listener:
        url = _url(host, listener.getsockname()[1])
        settings = Settings(url=url, domain=_hosts(domain, listener.getsockname()[1]), issuer=issuer)
        await run(build_app(local_gateway(settings)), listener, url, on_listening)


async def serve_cluster(
    listen: str,
    options: ClusterOptions,
    gateway_namespace: str | None = None,
    settings: Settings | None = None,
    *,
    on_listening: Callable[[str], object] = lambda _url: None,
) -> None:
    """Serve the sessions of a cluster until Ctrl-C or SIGTERM.

    Args:
        listen: `HOST:PORT`. Port 0 stands for any free port.
        options: The cluster.
        gateway_namespace: The namespace of the keys' Secrets; this pod's, or that of the kubeconfig, if None.
        settings: How clients reach this gateway.
        on_listening: Called with the URL once clients can connect.

    Raises:
        InvalidArgument: The address is malformed.
        SessionFailed: The port is in use, or not allowed.
        SandboxUnavailable: There is no cluster, or this account lacks a permission.
    """
    host, port = parse_address(listen)
    _add_threads()
    client, namespace, is_direct = await asyncio.to_thread(open_client, options)
    kube = KubeAccess(client, gateway_namespace or namespace)
    with open_listener(host, port) as listener:
        url = _url(host, listener.getsockname()[1])
        chosen = settings or Settings(url=url)
        reviewer = reviewer_of(chosen, KubernetesTokens(kube))
        access = Gatekeeper(ClusterKeys(kube), await kube.session_secret(), reviewer)
        backend = ClusterBackend(client, chosen.aliases, is_direct=is_direct)
        await run(build_app(Gateway(backend=backend, access=access, settings=chosen)), listener, url, on_listening)


def _add_threads() -> None:
    """Give short calls more threads than a machine has processors: they wait for answers of other servers."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "gateway"))


def local_gateway(settings: Settings) -> Gateway:
    """Return the gateway of this machine's sessions, with the key of this user.

    Raises:
        SessionFailed: The file with the key is damaged, or others may read it.
    """
    credentials = LocalCredentials.load()
    reviewer = reviewer_of(settings)
    access = Gatekeeper(LocalKeys(credentials), credentials.session_secret.encode(), reviewer)
    return Gateway(backend=LocalBackend(settings.aliases), access=access, settings=settings)


def reviewer_of(settings: Settings, following: TokenReviewer | None = None) -> TokenReviewer | None:
    """Return what checks bearer tokens: those of the issuer, if there is one, and then those of others.

    Args:
        settings: The gateway's.
        following: Checks tokens of others.

    Raises:
        SessionFailed: The issuer's address is wrong, or a package is missing.
    """
    if not settings.issuer:
        return following
    if importlib.util.find_spec("jwt") is None:
        message = f"tokens of an issuer need PyJWT. Run: {install_command('mcp')}"
        raise SessionFailed(message, reason="EXTRA_MISSING")
    from sandbox_gateway.access.oauth import Issuer, OAuthReviewer  # noqa: PLC0415 - needs an extra

    issuer = Issuer(url=settings.issuer, audience=f"{settings.url}/mcp", namespace=settings.issuer_namespace)
    return OAuthReviewer(issuer, following)


def environment(listen: str, domain: str | None = None) -> dict[str, dict[str, str]]:
    """Return the environment variables with which clients find a gateway on this machine, by kind of client.

    Args:
        listen: `HOST:PORT` of the gateway, which need not run.
        domain: The domain of sessions' hosts; `localhost` if None.

    Raises:
        InvalidArgument: The address is malformed, or the port is 0.
    """
    host, port = parse_address(listen)
    if port == 0:
        raise InvalidArgument("port 0 stands for any free port: give the port that the gateway printed", field="listen")
    # Clients on this machine reach a gateway that listens everywhere by loopback.
    url = _url("127.0.0.1" if host in ("0.0.0.0", "::") else host, port)  # noqa: S104 - compared, not listened on
    credentials = LocalCredentials.load()
    return {
        "sandbox": {"SANDBOX_GATEWAY": url, "SANDBOX_API_KEY": credentials.api_key},
        "e2b": {
            "E2B_API_URL": url,
            "E2B_SANDBOX_URL": url,
            "E2B_DOMAIN": _hosts(domain, port),
            "E2B_API_KEY": credentials.api_key,
        },
        "agentcore": {
            "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE": url,
            "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE_CONTROL": url,
            "BEDROCK_AGENTCORE_DP_ENDPOINT": url,
            "BEDROCK_AGENTCORE_CP_ENDPOINT": url,
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": "",
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
        },
        "mcp": {"SANDBOX_MCP_URL": f"{url}/mcp", "SANDBOX_MCP_AUTHORIZATION": f"Bearer {credentials.api_key}"},
    }


async def run(app: Starlette, listener: socket.socket, url: str, on_listening: Callable[[str], object]) -> None:
    """Serve an application on a socket until SIGINT or SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = uvicorn.Config(
        app,
        http="h11",
        h11_max_incomplete_event_size=MAX_HEADERS,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config)
    server.url, server.on_listening = url, on_listening
    await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that reports when it listens."""

    url: str
    on_listening: Callable[[str], object]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_listening(self.url)


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        SessionFailed: The port is in use, or not allowed, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # asyncio does this only for sockets that name their protocol. Without it, each answer takes 40 ms longer.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        message = f"cannot listen on port {port} of {host}: {reason}. Choose another address with --listen"
        raise SessionFailed(message, reason="PORT_UNAVAILABLE", field="listen") from error
    return listener


def parse_address(address: str) -> tuple[str, int]:
    """Parse `HOST:PORT` or `PORT`. The default host is 127.0.0.1.

    Raises:
        InvalidArgument: The address is malformed.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not (port.isascii() and port.isdecimal()) or int(port) > 0xFFFF:  # noqa: PLR2004 - the largest port
        message = f"{address!r} is not an address to listen on: give HOST:PORT, such as 127.0.0.1:8700"
        raise InvalidArgument(message, field="listen")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback
    except ValueError:
        return False


def _hosts(domain: str | None, port: int) -> str:
    """Return the domain of sessions' hosts, with the port at which a gateway on this machine serves them."""
    return f"{domain or 'localhost'}:{port}"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
