"""`sandbox top`: a live table of sessions and warm pools."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sandbox_client.cli.local.sessions import list_beside_cluster, only_local_remark
from sandbox_client.cli.options import Target, with_target
from sandbox_client.cli.output import table_console
from sandbox_client.cluster.table import (
    SORTS,
    ClusterObjects,
    ClusterTable,
    build_table,
    format_age,
    format_bytes,
    format_cores,
)
from sandbox_client.cluster.top import ClusterReader
from sandbox_client.errors import SandboxUnavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sandbox_client.cluster.table import PoolRow, SessionRow

_STYLES: Final = {"Ready": "green", "Failed": "bold red", "Suspended": "dim"}
_NO_CLUSTER: Final = "no cluster is configured: only sessions on this machine are shown"


@click.command(
    epilog="""\b
Examples:
  sandbox top                            this namespace, until Ctrl-C
  sandbox top -A --sort memory           all namespaces, the largest first
  sandbox top --once -n team-a           print once, as text
  sandbox top -A --output json | jq '.sessions[] | select(.phase == "Failed")'

\b
Columns:
  PHASE   with the reason if it is not Ready
  START   Warm (from a pool) or Cold, and how long the pod took to be Ready
  IDLE    time since the last use, give or take a minute
  CPU     thousandths of a core, agent and sandbox together
  MEMORY  agent and sandbox together
          CPU and MEMORY come from metrics-server and are up to a minute old.
          Without metrics-server these columns are left out.
  READY, THERE, WANTED
          of a pool: numbers of blank pods that a session can claim now, that
          exist, and that are wanted

Each refresh lists sessions, pools, pods and metrics once. You need permission to list sandboxsessions. Other kinds that
you may not list are left out, with a note."""
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Show the sessions of all namespaces.")
@click.option("--once", is_flag=True, help="Print once and exit. This is the default if the output is not a terminal.")
@click.option(
    "--interval", type=click.FloatRange(min=0.5), default=2.0, show_default=True, help="Seconds between two refreshes."
)
@click.option(
    "--sort", type=click.Choice(SORTS), default="phase", show_default=True, help="Sort order of the sessions."
)
@with_target
def top(
    target: Target,
    all_namespaces: bool,  # noqa: FBT001 - click passes it by name
    once: bool,  # noqa: FBT001 - same
    interval: float,
    sort: str,
) -> None:
    """Show a live table of sessions and warm pools.

    It shows their state, where they run, and how much CPU and memory they use. Sessions on this machine, local/NAME,
    are among them unless an option names a namespace or a cluster. Nothing measures their CPU and memory.
    """
    console = table_console()
    is_live = console.is_terminal and not once and not target.printer.is_json

    async def refresh(reader: ClusterReader | str) -> ClusterTable:
        found = ClusterObjects((), notes=(reader,)) if isinstance(reader, str) else await reader.read()
        local = await asyncio.to_thread(list_beside_cluster, target)
        return build_table(dataclasses.replace(found, sessions=(*local, *found.sessions)), datetime.now(UTC), sort)

    async def work() -> None:
        reader: ClusterReader | str
        try:
            reader = await ClusterReader.open(target.cluster, everywhere=all_namespaces)
        except SandboxUnavailable as error:
            reader = only_local_remark(target, error, list_beside_cluster(target)) or _NO_CLUSTER
        table = await refresh(reader)
        if target.printer.is_json:
            target.printer.print_json({**dataclasses.asdict(table), "summary": table.summary})
        elif not is_live:
            console.print(render(table, has_namespace=all_namespaces))
        else:
            await _watch(reader, table)

    async def _watch(reader: ClusterReader | str, table: ClusterTable) -> None:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            problem = ""
            while True:
                live.update(render(table, has_namespace=all_namespaces, problem=problem), refresh=True)
                await asyncio.sleep(interval)
                try:
                    table, problem = await refresh(reader), ""
                except SandboxUnavailable as error:
                    # The API server may come back. The last table stays, with its time.
                    problem = problem or f"as of {datetime.now().astimezone():%H:%M:%S}: {error}"

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work())


def render(table: ClusterTable, *, has_namespace: bool, problem: str = "") -> RenderableType:
    """Return the summary, the notes, and the tables of sessions and pools.

    Args:
        table: The rows.
        has_namespace: Whether rows have a column with their namespace.
        problem: The reason why the table is out of date, or "".
    """
    parts: list[RenderableType] = [Text(table.summary, style="bold")]
    if problem:
        parts.append(Text(problem, style="bold red"))
    parts += [Text(note, style="yellow") for note in table.notes]
    if table.sessions:
        parts += [Text(), _sessions(table.sessions, has_namespace=has_namespace)]
    if table.pools:
        parts += [Text(), _pools(table.pools, has_namespace=has_namespace)]
    return Group(*parts)


def _sessions(rows: tuple[SessionRow, ...], *, has_namespace: bool) -> Table:
    is_measured = any(row.cpu is not None for row in rows)
    table = _table("NAME", "PHASE", "TEMPLATE", "NODE", "POD", has_namespace=has_namespace)
    for title in ("AGE", "START", "IDLE", *(("CPU", "MEMORY") if is_measured else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        phase = Text(f"{row.phase} ({row.reason})" if row.reason else row.phase, style=_STYLES.get(row.phase, "yellow"))
        cells: list[str | Text] = [row.name, phase, row.template, row.node, row.pod, format_age(row.age)]
        cells.append(f"{row.start} {row.start_ms} ms" if row.start else "")
        cells.append("" if row.idle is None else format_age(row.idle))
        if is_measured:
            cells.append("" if row.cpu is None else format_cores(row.cpu))
            cells.append("" if row.memory is None else format_bytes(row.memory))
        _add(table, row.namespace if has_namespace else None, cells)
    return table


def _pools(rows: tuple[PoolRow, ...], *, has_namespace: bool) -> Table:
    table = _table("POOL", "TEMPLATE", has_namespace=has_namespace)
    for title in ("READY", "THERE", "WANTED"):
        table.add_column(title, justify="right")
    table.add_column("REASON")
    for row in rows:
        ready = Text(str(row.ready), style="green" if row.ready >= row.wanted else "yellow")
        cells: list[str | Text] = [row.name, row.template, ready, str(row.there), str(row.wanted), row.reason]
        _add(table, row.namespace if has_namespace else None, cells)
    return table


def _add(table: Table, namespace: str | None, cells: list[str | Text]) -> None:
    # Rich would interpret a plain string as markup.
    texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
    table.add_row(*([] if namespace is None else [Text(namespace)]), *texts)


def _table(*titles: str, has_namespace: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (*(("NAMESPACE",) if has_namespace else ()), *titles):
        table.add_column(title, no_wrap=title == "NAME", overflow="ellipsis")
    return table
