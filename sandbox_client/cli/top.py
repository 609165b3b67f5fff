"""`sandbox top`: a live table of sessions and warm pools."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sandbox_client.cli.options import Target, with_target
from sandbox_client.cluster.overview import SORTS, Overview, build_overview, format_age, format_bytes, format_cores
from sandbox_client.cluster.top import Reader
from sandbox_client.errors import SandboxUnavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sandbox_client.cluster.overview import PoolRow, SessionRow

_STYLES: Final = {"Ready": "green", "Failed": "bold red", "Suspended": "dim"}
_PLAIN_WIDTH: Final = 1000
"""Columns of a text that is no terminal's: nothing is cut there."""


@click.command(
    epilog="""\b
Examples:
  sandbox top                            this namespace, until Ctrl-C
  sandbox top -A --sort memory           all namespaces, the largest first
  sandbox top --once -n team-a           one look, as text
  sandbox top -A --output json | jq '.sessions[] | select(.phase == "Failed")'

\b
Columns:
  PHASE   with the reason where it is not Ready
  START   Warm (from a pool) or Cold, and how long the pod took to be Ready
  IDLE    since the last use, give or take a minute
  CPU     thousandths of a core, and MEMORY: agent and sandbox together, as
          metrics-server has them (a minute old, or less); without one the
          columns are left out
  Of a pool: blank pods that a session can claim now, that there are, and
  that are wanted.

Each look is one list of sessions, pools, pods and metrics. That needs the right to list sandboxsessions; what else may
not be listed is left out, and said so."""
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Sessions of all namespaces.")
@click.option("--once", is_flag=True, help="Print one look and end; so it does where its output is no terminal.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.5),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--sort", type=click.Choice(SORTS), default="phase", show_default=True, help="What comes first.")
@with_target
def top(
    target: Target,
    all_namespaces: bool,  # noqa: FBT001 - click passes it by name
    once: bool,  # noqa: FBT001 - same
    interval: float,
    sort: str,
) -> None:
    """Watch the sessions of a namespace, or of all: where they run, how they are, and what they use."""
    if all_namespaces and target.cluster.namespace:
        raise click.UsageError("give either --namespace or --all-namespaces")
    console = Console(highlight=False)
    is_live = console.is_terminal and not once and not target.terminal.is_json
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)

    async def look(reader: Reader) -> Overview:
        return build_overview(await reader.read(), datetime.now(UTC), sort)

    async def work() -> None:
        reader = await Reader.open(target.cluster, everywhere=all_namespaces)
        seen = await look(reader)
        if target.terminal.is_json:
            target.terminal.show({**dataclasses.asdict(seen), "summary": seen.summary})
        elif not is_live:
            console.print(render(seen, has_namespace=all_namespaces))
        else:
            await _watch(reader, seen)

    async def _watch(reader: Reader, seen: Overview) -> None:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            problem = ""
            while True:
                live.update(render(seen, has_namespace=all_namespaces, problem=problem), refresh=True)
                await asyncio.sleep(interval)
                try:
                    seen, problem = await look(reader), ""
                except SandboxUnavailable as error:
                    # It may come back; what was seen last stays, and is said to be old.
                    problem = problem or f"as of {datetime.now().astimezone():%H:%M:%S}: {error}"

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work())


def render(seen: Overview, *, has_namespace: bool, problem: str = "") -> RenderableType:
    """The tables, the sum, and what is to be said of them.

    Args:
        seen: What to show.
        has_namespace: Whether rows name their namespace.
        problem: Why this is not what is there now.
    """
    parts: list[RenderableType] = [Text(seen.summary, style="bold")]
    if problem:
        parts.append(Text(problem, style="bold red"))
    parts += [Text(note, style="yellow") for note in seen.notes]
    if seen.sessions:
        parts += [Text(), _sessions(seen.sessions, has_namespace=has_namespace)]
    if seen.pools:
        parts += [Text(), _pools(seen.pools, has_namespace=has_namespace)]
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
    # As Text: a plain string would be read as markup.
    texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
    table.add_row(*([] if namespace is None else [Text(namespace)]), *texts)


def _table(*titles: str, has_namespace: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (*(("NAMESPACE",) if has_namespace else ()), *titles):
        table.add_column(title, no_wrap=title == "NAME", overflow="ellipsis")
    return table
