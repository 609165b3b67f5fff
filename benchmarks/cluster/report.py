"""Prints each result and saves the file after each row, so that an aborted run loses nothing."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.cluster.control_plane import REPOSITORY

_COLUMNS: Final = ("measure", "unit", "ours", "peer", "ratio", "must", "met")


@dataclass
class Report:
    """The rows of a results file. Rows of the groups that run are replaced, the others stay.

    Attributes:
        path: The file. None if the results are not saved.
        group: The group that is running.
        rows: All rows.
    """

    path: Path | None
    group: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path is not None and self.path.exists():
            self.rows = json.loads(self.path.read_text())["rows"]

    def begin(self, group: str) -> None:
        """Start a group, and drop its rows of an earlier run."""
        print(f"== {group}", flush=True)
        self.group = group
        self.rows = [row for row in self.rows if row["group"] != group]

    def add(
        self, measure: str, unit: str, ours: float | None, must: float | None = None, *, at_least: bool = False
    ) -> None:
        """Add a value of ours, with its required maximum or minimum."""
        met = None if must is None or ours is None else ours >= must if at_least else ours <= must
        self._add({"measure": measure, "unit": unit, "ours": ours, "must": must, "met": met})

    def compare(
        self, measure: str, unit: str, ours: float, peer: float, must: float | None, *, at_least: bool = True
    ) -> None:
        """Add two values, with the required ratio of ours to the peer's."""
        ratio = ours / peer
        met = None if must is None else ratio >= must if at_least else ratio <= must
        row = {"measure": measure, "unit": unit, "ours": ours, "peer": peer, "ratio": ratio, "ratio_of": "ours / peer"}
        self._add({**row, "must": must, "met": met})

    def table(self) -> Table:
        """Build a table of all rows."""
        table = Table(title="at scale", title_justify="left")
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name in ("measure", "unit") else "right")
        for row in self.rows:
            table.add_row(*(_text(row[name]) for name in _COLUMNS))
        return table

    def _add(self, row: dict[str, Any]) -> None:
        blank: dict[str, Any] = {"group": self.group, "peer": None, "floor": None, "ratio": None, "ratio_of": ""}
        whole = {**blank, **row, "machine": _describe_machine(), "commit": _commit()}
        self.rows.append({name: float(f"{v:.4g}") if isinstance(v, float) else v for name, v in whole.items()})
        found = ", ".join(
            f"{name} {_text(row[name])}" for name in ("ours", "peer", "ratio", "must") if row.get(name) is not None
        )
        print(f"{row['measure']} [{row['unit']}]: {found}{' NOT MET' if row['met'] is False else ''}", flush=True)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            document = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "rows": self.rows}
            self.path.write_text(json.dumps(document, indent=1) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _describe_machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    load = f"load {os.getloadavg()[0]:.0f}"
    return f"{os.cpu_count()} cores, {model[1] if model else platform.processor()}, {platform.python_version()}, {load}"


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False).stdout.strip()


def show(report: Report) -> None:
    """Print the table."""
    Console(width=None if Console().is_terminal else 200).print(report.table())
