"""`sandbox mcp`: serves the tools to agents that speak the Model Context Protocol."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from typing import TYPE_CHECKING, Final, Literal

import click

from sandbox_client.cli.options import Target, with_session_options, with_target
from sandbox_client.cli.run.limits import with_limits
from sandbox_client.errors import SessionFailed
from sandbox_proto.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_client.cli.run.limits import Limits
    from sandbox_client.sandbox import AsyncSandbox

_LOCAL: Final = "local session: code runs on this machine as your user, without isolation"


@click.command(
    name="mcp",
    epilog="""\b
Examples:
  sandbox mcp                                    over stdio, in a local session
  sandbox mcp --egress none --memory 2Gi         without network, with 2 GiB of memory
  sandbox mcp --session my-session -n team-a     in the cluster
  sandbox mcp --http 127.0.0.1:8765              for http://127.0.0.1:8765/mcp""",
)
@click.option("--keep-variables", is_flag=True, help="Keep the variables of a session that is created here.")
@click.option(
    "--http", metavar="HOST:PORT", help="Serve streamable HTTP, on loopback, instead of stdio. Port 0: any free port."
)
@with_limits(
    "Time limit of a call in a local session, in seconds. Default: 300.",
    memory_default="half of what is available, at most 4Gi",
)
@click.option(
    "--max-text",
    type=int,
    help="Characters of a result. A longer text keeps its beginning and end. Default: 30000. 0: no limit.",
)
@click.option(
    "--max-image-edge",
    type=int,
    help="Pixels of a picture's longer edge. Larger ones are scaled down. Default: 1568. 0: no limit.",
)
@click.option(
    "--on-cancel",
    type=click.Choice(["interrupt", "detach"]),
    default="interrupt",
    show_default=True,
    help="What a cancelled request does to its code: interrupt it, or let it run to its end.",
)
@with_session_options
@with_target
def mcp(
    target: Target,
    keep_variables: bool,  # noqa: FBT001 - click passes it by name
    http: str | None,
    limits: Limits,
    max_text: int | None,
    max_image_edge: int | None,
    on_cancel: Literal["interrupt", "detach"],
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
    from sandbox_client.tools.limits import ResultLimits  # noqa: PLC0415 - same
    from sandbox_client.tools.mcp_server import parse_address, serve_http, serve_stdio  # noqa: PLC0415 - needs an extra

    if http:
        parse_address(http)
    default = ResultLimits()
    write = target.printer.write_stderr
    opener: Callable[[], Awaitable[AsyncSandbox]]
    if session:
        for option in limits.given():
            raise click.UsageError(
                f"{option} cannot be given with --session: the session's template and spec decide this"
            )
        opener = cluster_sessions(session, target.cluster, keep_variables=keep_variables)
    else:
        opener = local_sessions(
            store,
            workspace=workspace,
            egress=egress,
            keep_variables=keep_variables,
            **limits.for_session(None),
        )
    tools = SandboxTools(
        opener,
        max_text=default.max_text if max_text is None else max_text or None,
        max_image_edge=default.max_image_edge if max_image_edge is None else max_image_edge or None,
        on_cancel=on_cancel,
    )
    if not session or session.startswith("local/"):
        write(f"{_LOCAL}\n")
    if http:
        served = serve_http(tools, http, on_listening=lambda url: write(f"listening on {url}\n"))
    else:
        served = serve_stdio(tools)
    # Ctrl-C is the normal way to stop the server.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(served)
