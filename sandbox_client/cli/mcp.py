"""`sandbox mcp`: serves the tools to agents that speak the Model Context Protocol."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from typing import TYPE_CHECKING, Literal

import click

from sandbox_client.cli.options import Target, with_session_options, with_target
from sandbox_client.errors import SessionFailed
from sandbox_proto.extras import install_command

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
@click.option("--keep-variables", is_flag=True, help="Keep the variables of a session that is created here.")
@click.option("--http", metavar="HOST:PORT", help="Serve streamable HTTP, on loopback, instead of stdio.")
@with_session_options
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
    """Serve the sandbox tools over the Model Context Protocol.

    The first call opens the session. With --session, the session is created if it does not exist, and resumed if it is
    suspended. Without it, a local session is started. It runs code as your user: use it only for code that you trust.
    """
    if importlib.util.find_spec("mcp") is None:
        raise SessionFailed(f"the mcp package is not installed. Run: {install_command('mcp')}", reason="EXTRA_MISSING")
    from sandbox_client.tools import SandboxTools, cluster_sessions, local_sessions  # noqa: PLC0415 - slow to import
    from sandbox_client.tools.mcp_server import parse_address, serve_http, serve_stdio  # noqa: PLC0415 - needs an extra

    if http:
        parse_address(http)
    opener: Callable[[], Awaitable[AsyncSandbox]]
    if session:
        opener = cluster_sessions(session, target.cluster, keep_variables=keep_variables)
    else:
        opener = local_sessions(store, workspace=workspace, egress=egress, keep_variables=keep_variables)
    tools = SandboxTools(opener)
    # Ctrl-C is the normal way to stop the server.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve_http(tools, http) if http else serve_stdio(tools))
