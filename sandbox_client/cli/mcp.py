"""`sandbox mcp`: the tools for agents that speak the Model Context Protocol."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from typing import TYPE_CHECKING, Literal

import click

from sandbox_client.cli.options import Target, where, with_target
from sandbox_client.errors import SessionFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_client.sandbox import AsyncSandbox


@click.command(
    name="mcp",
    epilog="""\b
Examples:
  sandbox mcp                                    over stdio, in a local session
  sandbox mcp --session my-session -n team-a     in the cluster
  sandbox mcp --http 127.0.0.1:8765              for http://127.0.0.1:8765/mcp""",
)
@click.option("--keep-variables", is_flag=True, help="A session that is made keeps Python variables while it sleeps.")
@click.option("--http", metavar="HOST:PORT", help="Serve streamable HTTP, on loopback, instead of stdio.")
@where
@with_target
def mcp(
    target: Target,
    keep_variables: bool,  # noqa: FBT001 - click passes it by name
    http: str | None,
    session: str | None,
    workspace: str | None,
    store: str | None,
    egress: Literal["public", "none"],
) -> None:
    """Serve the tools to an agent, by the Model Context Protocol.

    The session is made with the first call. One of the cluster is created where it is not there, and resumed where it
    is suspended; a local one runs code as you, so it is for code you trust.
    """
    if importlib.util.find_spec("mcp") is None:
        raise SessionFailed("this needs the mcp package: pip install 'sandbox-operator[mcp]'", reason="EXTRA_MISSING")
    from sandbox_client.tools import SandboxTools, cluster_sessions, local_sessions  # noqa: PLC0415 - same
    from sandbox_client.tools.mcp_server import parse_address, serve_http, serve_stdio  # noqa: PLC0415 - of an extra

    if http:
        parse_address(http)
    opener: Callable[[], Awaitable[AsyncSandbox]]
    if session:
        opener = cluster_sessions(session, target.cluster, keep_variables=keep_variables)
    else:
        opener = local_sessions(store, workspace=workspace, egress=egress, keep_variables=keep_variables)
    tools = SandboxTools(opener)
    # Ctrl-C is the way to end it.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve_http(tools, http) if http else serve_stdio(tools))
