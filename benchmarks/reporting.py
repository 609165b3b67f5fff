"""Renders the results as a table for people and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.measuring import Row

_YES: Final = "[green]yes[/]"
_NO: Final = "[red]no[/]"


def build_table(rows: Sequence[Row]) -> Table:
    """Build a table with a line for each goal and the median of each side."""
    table = Table(title="medians of the same run, sides in turns", title_justify="left", caption=_caption(rows))
    for name in ("measure", "unit", "ours", "peer", "floor", "ratio", "must", "met", "moonshot", "met", "n"):
        table.add_column(name, justify="left" if name in ("measure", "unit") else "right", no_wrap=name != "measure")
    for row in rows:
        table.add_row(
            row.measure,
            row.unit,
            *(_number(value) for value in (row.ours, row.peer, row.floor)),
            f"{_ratio(row)} [dim]{row.ratio_of}[/]" if row.ratio is not None else "",
            row.must,
            _verdict(row.met),
            row.moonshot,
            _verdict(row.moonshot_met),
            str(row.n["ours"]),
        )
    return table


def write_json(rows: Sequence[Row], path: Path) -> None:
    """Write a JSON list with one object per goal and line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row.as_json()) for row in rows)
    path.write_text(f"[\n{lines}\n]\n")


def _ratio(row: Row) -> str:
    if row.interval is None:
        return _number(row.ratio)
    low, high = row.interval
    return f"{row.ratio:.3f} ({low:.3f} to {high:.3f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - digits


def _verdict(met: bool | None) -> str:  # noqa: FBT001 - the value shown
    return "" if met is None else _YES if met else _NO


def _caption(rows: Sequence[Row]) -> str:
    return rows[0].machine if rows else ""
