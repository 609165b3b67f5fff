"""`sandbox get` and `sandbox list`: the sessions of a namespace, or of all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from sandbox_client.cli.options import Target, with_target
from sandbox_client.cli.output import table_console
from sandbox_client.cli.shell.completion import complete_sessions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMNS: Final = ("name", "phase", "template", "pod", "expires")
_WIDE_COLUMNS: Final = (*_COLUMNS, "age", "source", "reason", "endpoint")


@click.command(
    epilog="""\b
Examples:
  sandbox get
  sandbox get -A -o wide
  sandbox get my-session -o yaml      the whole object, as the API server has it
  sandbox delete "$(sandbox get -o name | head -1)\""""
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_sessions)
@click.option("-A", "--all-namespaces", is_flag=True, help="Show the sessions of all namespaces.")
@with_target
def get(target: Target, names: tuple[str, ...], all_namespaces: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Show the sessions of a namespace, or those that are named.

    With -o json or -o yaml, a named session is shown as the whole object; a list has a row for each session.
    """
    if names and all_namespaces:
        raise click.UsageError("a session that is named is in one namespace: leave out --all-namespaces")
    _show(target, names)


@click.command(
    name="list",
    epilog="""\b
Examples:
  sandbox list
  sandbox list --local
  sandbox list -n team-a --output json
  sandbox list -A -o wide""",
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Show the sessions of all namespaces.")
@click.option("--local", "is_local", is_flag=True, help="List only the sessions on this machine.")
@with_target
def list_(target: Target, all_namespaces: bool, is_local: bool) -> None:  # noqa: ARG001, FBT001 - `with_target` reads it
    """List the sessions of a namespace. `sandbox top` shows more about each.

    Sessions on this machine, local/NAME, come first, unless an option names a namespace or a cluster.
    """
    _show(target, (), is_local=is_local)


def _show(target: Target, names: Sequence[str], *, is_local: bool = False) -> None:
    import asyncio  # noqa: PLC0415 - slow to import, and help does not need it

    from sandbox_client.cli.local.sessions import (  # noqa: PLC0415 - same
        list_beside_cluster,
        list_objects,
        only_local_remark,
    )
    from sandbox_client.errors import SandboxUnavailable  # noqa: PLC0415 - same

    printer, where = target.printer, "in any namespace" if target.is_everywhere else "in this namespace"
    local, cluster = [], []
    if is_local:
        local, where = list_objects(), "on this machine"
    elif names:
        cluster = asyncio.run(_named(target, names))
    else:
        local = list_beside_cluster(target)
        try:
            cluster = asyncio.run(_all(target))
        except SandboxUnavailable as error:
            where = "on this machine, and no cluster is configured"
            if remark := only_local_remark(target, error, local):
                printer.write_stderr(f"{remark}\n")
    sessions = [*local, *cluster]
    if printer.is_json and names:
        printer.print_json(sessions[0] if len(names) == 1 else sessions)
        return
    rows = [session_row(session, datetime.now(UTC)) for session in sessions]
    columns = _WIDE_COLUMNS if printer.is_wide else _COLUMNS
    shown = ("namespace", *columns) if target.is_everywhere else columns
    if printer.is_json:
        printer.print_json([{column: row.get(column) for column in shown} for row in rows])
    elif printer.form == "name":
        for row in rows:
            printer.print_text(row["name"])
    elif rows:
        _print_table(rows, shown)
    else:
        command = "sandbox create --local NAME" if "on this machine" in where else "sandbox create"
        printer.write_stderr(f"there are no sessions {where}: `{command}` makes one\n")


async def _named(target: Target, names: Sequence[str]) -> list[dict[str, Any]]:
    from sandbox_client.cli.gateway.sessions import open_gateway, read_objects  # noqa: PLC0415 - only for a gateway
    from sandbox_client.cli.local.sessions import find_object  # noqa: PLC0415 - only for local sessions
    from sandbox_client.cluster.sessions import SessionApi  # noqa: PLC0415 - slow to import, and help does not need it
    from sandbox_client.local.address import local_name  # noqa: PLC0415 - same

    bare = {name: local_name(name) for name in names}
    with open_gateway(target) as api:
        if api is not None:
            return [
                find_object(target, local) if (local := bare[name]) else (await read_objects(api, [name]))[0]
                for name in names
            ]
    cluster = None if all(bare.values()) else await SessionApi.open(target.cluster)
    return [
        find_object(target, local) if (local := bare[name]) or cluster is None else await cluster.get(name)
        for name in names
    ]


async def _all(target: Target) -> list[dict[str, Any]]:
    from sandbox_client.cli.gateway.sessions import open_gateway, read_objects  # noqa: PLC0415 - only for a gateway
    from sandbox_client.cluster.top import ClusterReader  # noqa: PLC0415 - slow to import

    with open_gateway(target) as api:
        if api is not None:
            return await read_objects(api)
    return await (await ClusterReader.open(target.cluster, everywhere=target.is_everywhere)).sessions()


def session_row(session: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the columns of a session. Those that it does not have are None."""
    metadata, status = session["metadata"], session.get("status", {})
    ready: Mapping[str, Any] = next((each for each in status.get("conditions", []) if each.get("type") == "Ready"), {})
    return {
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "phase": status.get("phase"),
        "template": session.get("spec", {}).get("templateRef", {}).get("name"),
        "pod": status.get("podName"),
        "expires": status.get("expiresAt"),
        "age": _age(metadata.get("creationTimestamp"), now),
        "source": status.get("startup", {}).get("source"),
        "reason": ready.get("reason"),
        "endpoint": status.get("endpoint"),
    }


def _age(created: str | None, now: datetime) -> str | None:
    from sandbox_client.cluster.table import format_age  # noqa: PLC0415 - only here

    if not created:
        return None
    return format_age(max(0.0, (now - datetime.fromisoformat(created)).total_seconds()))


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to import, and help does not need it
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(*(column.upper() for column in columns), box=None, pad_edge=False)
    for row in rows:
        # Rich would interpret a plain string as markup.
        table.add_row(*(Text(str(row.get(column) or "")) for column in columns))
    table_console().print(table)
