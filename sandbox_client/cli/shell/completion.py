"""`sandbox completion`: words that a shell completes with the tabulator key: commands, options, names of sessions."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT: Final = 3.0
"""Seconds for the names of sessions. A shell waits that long for a cluster that is away."""
_PROGRAMS: Final = ("sandbox", "sbx")


def complete_sessions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of sessions that begin with a text: those of the chosen namespace, or those on this machine.

    Returns none on any error.
    """
    import asyncio  # noqa: PLC0415 - slow to import, and help does not need it

    try:
        if incomplete.startswith("local/"):
            from sandbox_client.local.named.registry import Registry  # noqa: PLC0415 - slow to import

            return [f"local/{name}" for name in Registry().names() if f"local/{name}".startswith(incomplete)]
        return [name for name in asyncio.run(_names(_chosen(context))) if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a message would appear in the middle of the user's command line
        return []


def _chosen(context: click.Context) -> Mapping[str, Any]:
    """Return the options given so far, those after the command first."""
    chosen: dict[str, Any] = {}
    at: click.Context | None = context
    while at is not None:
        chosen = {**{key: value for key, value in at.params.items() if value is not None}, **chosen}
        at = at.parent
    return chosen


async def _names(chosen: Mapping[str, Any]) -> list[str]:
    import asyncio  # noqa: PLC0415 - slow to import

    from sandbox_client.cluster.sessions import ClusterOptions, SessionApi  # noqa: PLC0415 - same

    options = ClusterOptions(chosen.get("namespace"), chosen.get("kubeconfig"), chosen.get("kube_context"))
    async with asyncio.timeout(_TIMEOUT):
        sessions = await (await SessionApi.open(options)).list()
    return [str(session["metadata"]["name"]) for session in sessions]


@click.command(
    epilog="""\b
Examples:
  source <(sandbox completion bash)
  sandbox completion zsh > ~/.zfunc/_sandbox
  sandbox completion fish > ~/.config/fish/completions/sandbox.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--program", help="Name of the command to complete. Default: the name that was called.")
def completion(shell: str, program: str | None) -> None:
    """Print the script that completes words in a shell.

    It completes commands, options and the names of sessions, which it asks the cluster for.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only for this command

    called = os.path.basename(sys.argv[0])  # noqa: PTH119 - a name, not a path
    name = program or (called if called in _PROGRAMS else _PROGRAMS[0])
    variable = f"_{name.replace('-', '_').replace('.', '_')}_COMPLETE".upper()
    class_ = get_completion_class(shell)
    if class_ is None:
        raise click.UsageError(f"{shell} is not supported")
    click.echo(class_(click.Group(), {}, name, variable).source())
