"""`sandbox gateway`: serves sessions to clients of several protocols, and prints what these clients need."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shlex
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from sandbox_client.cli.options import Target, with_target
from sandbox_client.errors import SessionFailed
from sandbox_proto.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEEDED: Final = ("starlette", "uvicorn", "python_multipart")
_LOCAL: Final = "sessions on this machine: code runs as your user, without isolation"


@click.command(
    name="gateway",
    epilog="""\b
Examples:
  sandbox gateway --listen 127.0.0.1:8700        serve sessions of this machine
  eval "$(sandbox gateway env --listen 127.0.0.1:8700)"
                                                 set what clients need, in another shell
  sandbox gateway env --for e2b                  only what E2B's SDKs need""",
)
@click.argument("action", type=click.Choice(["serve", "env"]), default="serve", metavar="[env]")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:8700",
    show_default=True,
    help="Address of the gateway.",
)
@click.option(
    "--cluster", "is_cluster", is_flag=True, help="Serve the sessions of a cluster instead of this machine's."
)
@click.option(
    "--gateway-namespace", help="With --cluster: namespace of the keys. Default: this pod's, or the kubeconfig's."
)
@click.option("--url", help="With --cluster: the address at which clients reach the gateway, such as https://HOST.")
@click.option("--any-address", is_flag=True, help="Serve sessions of this machine on another address than loopback.")
@click.option("--domain", metavar="DOMAIN", help="Hosts of sessions are PORT-NAME.DOMAIN. Default: localhost.")
@click.option("--oauth-issuer", metavar="URL", default="", help="OAuth issuer whose tokens serve as well as keys.")
@click.option("--oauth-namespace", metavar="NAME", default="", help="Namespace of the sessions of its users.")
@click.option(
    "--proxy",
    "proxies",
    metavar="NETWORK",
    multiple=True,
    help="With --cluster: proxies whose header X-Forwarded-For names the client. Repeatable.",
)
@click.option(
    "--for",
    "clients",
    multiple=True,
    type=click.Choice(["sandbox", "e2b", "agentcore", "mcp"]),
    help="Of `env`: only for these clients. Repeatable. Default: all of them.",
)
@with_target
def gateway(
    target: Target,
    action: Literal["serve", "env"],
    listen: str,
    is_cluster: bool,  # noqa: FBT001 - click passes it by name
    gateway_namespace: str | None,
    url: str | None,
    any_address: bool,  # noqa: FBT001 - same
    domain: str | None,
    oauth_issuer: str,
    oauth_namespace: str,
    proxies: tuple[str, ...],
    clients: tuple[str, ...],
) -> None:
    """Serve sessions to clients of several protocols at one address.

    E2B's SDKs, AgentCore's, MCP clients and our own SDK find it by environment variables, which `sandbox gateway env`
    prints. The key is made at the first start and kept in ~/.local/state/sandbox/gateway.json.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        message = f"the gateway needs {', '.join(missing)}. Run: {install_command('gateway')}"
        raise SessionFailed(message, reason="EXTRA_MISSING")
    from sandbox_gateway import serve  # noqa: PLC0415 - needs an extra
    from sandbox_gateway.gateway import Settings  # noqa: PLC0415 - same

    write = target.printer.write_stderr
    if action == "env":
        groups = serve.environment(listen, domain)
        chosen = {name: values for name, values in groups.items() if not clients or name in clients}
        target.printer.print({key: value for group in chosen.values() for key, value in group.items()}, _export(chosen))
        return

    def announce(place: str) -> None:
        write(f"listening on {place}; {_LOCAL}\n")
        write(f'in another shell: eval "$(sandbox gateway env --listen {shlex.quote(place.partition("://")[2])})"\n')

    if proxies and not (is_cluster and url):
        raise click.UsageError("--proxy needs --cluster, and --url for the address at the proxy")
    if is_cluster:
        if oauth_issuer and not (url and oauth_namespace):
            raise click.UsageError("--oauth-issuer needs --url, for which its tokens are made, and --oauth-namespace")
        more: Any = {"issuer": oauth_issuer, "issuer_namespace": oauth_namespace, "proxies": proxies}
        settings = Settings(url=url.rstrip("/"), domain=domain or "", **more) if url else None
        place: Any = {"gateway_namespace": gateway_namespace, "settings": settings}
        started = serve.serve_cluster(
            listen, target.cluster, **place, on_listening=lambda place: write(f"listening on {place}\n")
        )
    else:
        started = serve.serve_local(listen, domain, is_public=any_address, issuer=oauth_issuer, on_listening=announce)
    # Ctrl-C is the normal way to stop the server.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(started)


def _export(groups: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        f"export {name}={shlex.quote(value)}" for values in groups.values() for name, value in values.items()
    )
