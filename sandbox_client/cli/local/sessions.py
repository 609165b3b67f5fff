"""The sessions on this machine that have a name, `local/NAME`: how the commands about sessions handle them."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sandbox_client.cli.options import Target, read_pair, with_target
from sandbox_client.local.address import LOCAL_PREFIX, check_local_name
from sandbox_client.options import LOCAL_DEFAULTS

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from sandbox_client.errors import SandboxUnavailable
    from sandbox_client.lifecycle.durations import Duration
    from sandbox_client.local.named.record import Record

_LIMITS: Final = {
    "execution_timeout": ("--execution-timeout", float, "Seconds that code or a command may take."),
    "memory_limit": ("--memory", str, "Memory of all processes together, such as 2Gi."),
    "file_size_limit": ("--file-size", str, "Largest size of one file, such as 500Mi."),
}
"""Limits of a local session that become options if LocalOptions has them."""


class LocalOrCluster(click.Command):
    """`sandbox create`: with --local, or for `local/NAME`, the command below, which has other options."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments of the command that is meant."""
        if "--local" in args or any(word.startswith(LOCAL_PREFIX) for word in args):
            return create.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def with_local_flag(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --local to the help of `sandbox create`. LocalOrCluster acts on it."""
    text = "Create it on this machine, as local/NAME. `sandbox create --local --help` lists the options."
    return click.option("--local", is_flag=True, expose_value=False, help=text)(function)


def _with_limits(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, (flag, type_, text) in reversed(_LIMITS.items()):
        if name in LOCAL_DEFAULTS:
            function = click.option(flag, name, type=type_, help=text)(function)
    return function


@click.command(
    name="create",
    epilog="""\b
Examples:
  sandbox create --local demo
  sandbox create --local demo --workspace . --idle-timeout 30m
  sandbox run --session local/demo script.py
  sandbox delete local/demo""",
)
@click.argument("name")
@click.option("--local", is_flag=True, expose_value=False, help="Create the session on this machine.")
@click.option(
    "--workspace",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that the code works in. Default: one that is deleted with the session.",
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for pushed files, which outlive the session. Default: `~/.local/share/sandbox/store`.",
)
@click.option(
    "--egress", type=click.Choice(["public", "none"]), default="public", show_default=True, help="Network access."
)
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="Environment variable. May be repeated.")
@click.option("--keep-variables", is_flag=True, help="Restore Python variables after a suspend (best effort).")
@click.option(
    "--sync",
    type=click.Choice(["manual", "on_change"]),
    default="manual",
    show_default=True,
    help="Save files to the store on `sandbox push`, or every change within seconds.",
)
@_with_limits
@click.option("--idle-timeout", default="4h", show_default=True, help="Time without use until --on-idle happens.")
@click.option(
    "--on-idle",
    type=click.Choice(["suspend", "delete"]),
    default="suspend",
    show_default=True,
    help="Save the session and end its processes until it is used again, or delete it.",
)
@click.option("--lifetime", default="24h", show_default=True, help="Time from each start until a suspend.")
@with_target
def create(target: Target, name: str, env: tuple[str, ...], **options: Any) -> None:
    """Create a session on this machine, start it, and print its name, local/NAME.

    Nothing is isolated: code runs as your user, so use it only for code that you trust. The session outlives this
    command, the terminal and a logout. Processes end when the session is deleted, idle for too long, or too old.
    """
    from sandbox_client.local.named.operations import create  # noqa: PLC0415 - slow to import
    from sandbox_client.local.named.record import LocalRequest  # noqa: PLC0415 - same
    from sandbox_client.options import complete  # noqa: PLC0415 - same

    bare = check_local_name(name)
    refuse_cluster(target, bare)
    places = {key: options.pop(key) for key in ("workspace", "store", "idle_timeout", "lifetime", "on_idle")}
    given = {key: value for key, value in options.items() if value is not None}
    with target.printer.spinner(f"Creating local/{bare}") as step:
        chosen: Any = complete(
            {**given, "env": dict(read_pair(word, "--env") for word in env), "on_progress": step}, LOCAL_DEFAULTS
        )
        record = asyncio.run(create(LocalRequest(bare, **places), chosen))
    target.printer.write_stderr("a local session: the code runs as your user on this machine, without isolation\n")
    target.printer.print({"name": record.address, "status": "ready"}, record.address)


def list_objects() -> list[dict[str, Any]]:
    """Return each session in the form of a SandboxSession, for `sandbox list` and `sandbox get`."""
    from sandbox_client.local.named import reports  # noqa: PLC0415 - slow to import

    return [_to_object(reports.describe(record)) for record in reports.list_records()]


def list_beside_cluster(target: Target) -> list[dict[str, Any]]:
    """Return what `list_objects` does, or nothing if an option names a cluster or a namespace."""
    return [] if _is_elsewhere(target) else list_objects()


def only_local_remark(target: Target, error: SandboxUnavailable, local: Sequence[object]) -> str:
    """Return a remark for a list that has only the sessions on this machine. "" if no cluster was ever configured.

    Args:
        target: The options.
        error: The reason why there is no cluster.
        local: The sessions on this machine.

    Raises:
        SandboxUnavailable: The error, if a cluster was meant.
    """
    if error.reason != "NO_KUBECONFIG" or _is_elsewhere(target):
        raise error
    if not os.environ.get("KUBECONFIG"):
        return ""
    if not local:
        raise error
    return f"only sessions on this machine are shown: {error}"


def _is_elsewhere(target: Target) -> bool:
    from sandbox_client.cluster.api import ClusterOptions  # noqa: PLC0415 - slow to import

    return target.cluster != ClusterOptions() or target.is_everywhere


def find_object(target: Target, name: str | None) -> dict[str, Any]:
    """Return one session in the form of a SandboxSession. Raises NotFound."""
    from sandbox_client.local.named import reports  # noqa: PLC0415 - slow to import
    from sandbox_client.local.named.registry import Registry  # noqa: PLC0415 - same

    refuse_cluster(target, name or "")
    return _to_object(reports.describe(Registry().read(name or "")))


def _to_object(described: dict[str, Any]) -> dict[str, Any]:
    spec = {key: described[key] for key in ("workspace", "store", "idle_timeout", "lifetime", "on_idle", "options")}
    status = {"phase": described["phase"], "expiresAt": described["expires"], "logs": described["logs"]}
    if described["problem"]:
        reason = {"type": "Ready", "status": "False", "reason": "Ended", "message": described["problem"]}
        status["conditions"] = [reason]
    metadata = {"name": described["name"], "creationTimestamp": described["created"]}
    return {"kind": "LocalSession", "metadata": metadata, "spec": spec, "status": status}


def suspend(target: Target, name: str) -> None:
    """Suspend a session and say so."""
    from sandbox_client.local.named import operations  # noqa: PLC0415 - slow to import

    refuse_cluster(target, name)
    with target.printer.spinner(f"Saving local/{name}"):
        record = asyncio.run(operations.suspend(name))
    if record.problem:
        target.printer.write_stderr(f"{record.problem}\n")
    target.printer.print({"name": record.address, "status": "suspended"}, f"{record.address} is Suspended")


def resume(target: Target, name: str, expires: Duration | dt.datetime | None) -> None:
    """Resume a session and say so."""
    from sandbox_client.local.named import operations  # noqa: PLC0415 - slow to import

    refuse_cluster(target, name)

    async def work(step: Callable[[str], object]) -> Record:
        record = await operations.resume(name, step)
        return record if expires is None else await operations.set_expiry(name, expires)

    with target.printer.spinner(f"Starting local/{name}") as step:
        record = asyncio.run(work(step))
    target.printer.print({"name": record.address, "status": "ready"}, f"{record.address} is Ready")


def delete(target: Target, name: str) -> None:
    """Delete a session, and say where its pushed files are."""
    from sandbox_client.local.named import operations  # noqa: PLC0415 - slow to import

    refuse_cluster(target, name)
    with target.printer.spinner(f"Deleting local/{name}"):
        stored = asyncio.run(operations.delete(name))
    if stored is not None:
        target.printer.write_stderr(f"its pushed files stay in {stored}\n")
    answer = {"name": f"local/{name}", "status": "deleted", "stored_files": None if stored is None else str(stored)}
    target.printer.print(answer, f"local/{name} is deleted")


def refuse_cluster(target: Target, name: str) -> None:
    """Refuse options that choose a cluster. Raises InvalidArgument, which names the option's field."""
    from sandbox_client.local.named.connect import refuse_cluster_options  # noqa: PLC0415 - slow to import

    refuse_cluster_options(name, dataclasses.asdict(target.cluster))
