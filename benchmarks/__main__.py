"""Runs the benchmarks and reports the results. It never fails because something is slow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.groups import GROUPS
from benchmarks.hops import build_hops_table, profile
from benchmarks.lab import Lab
from benchmarks.machine import describe_machine
from benchmarks.measuring import judge
from benchmarks.reporting import build_table, write_json
from benchmarks.running import rounds_of, take_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measuring import Measure, Row

RESULTS: Final = Path(__file__).parent / "results" / "interpreter.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice(list(GROUPS)), help="Run only this group. May be repeated.")
@click.option(
    "--quick", "is_quick", is_flag=True, help="Use fewer rounds and smaller files: seconds instead of minutes."
)
@click.option(
    "--hops", "has_hops", is_flag=True, help="Only measure how much time each process spends on a short call."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="JSON file. Default: benchmarks/results/interpreter.json, and none with --only, --quick or --hops.",
)
def main(only: Sequence[str], is_quick: bool, has_hops: bool, output: Path | None) -> None:  # noqa: FBT001 - click's
    """Measure a local session, a Jupyter kernel (peer) and bare gRPC (floor) in turns, in one run."""
    rows: list[Row] = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Lab(is_quick=is_quick) as lab, Progress(*columns, console=console) as progress:
        for name in () if has_hops else only or GROUPS:
            task = progress.add_task(f"{name}: preparing", total=None)
            for measure in GROUPS[name](lab):
                rows += _run(measure, progress, is_quick=is_quick)
            progress.remove_task(task)
        hops = {} if only else profile(lab)
    wide = Console(width=None if Console().is_terminal else 200)
    if rows:
        wide.print(build_table(rows))
    if hops:
        wide.print(build_hops_table(hops))
    if output is None and not only and not is_quick and not has_hops:
        output = RESULTS
    if output is not None:
        write_json(rows, output)
        console.print(f"wrote {output}")


def _run(measure: Measure, progress: Progress, *, is_quick: bool) -> list[Row]:
    total = sum(rounds_of(measure, side, is_quick=is_quick) for side in measure.sides)
    task = progress.add_task(measure.name, total=total)
    samples = take_samples(measure, is_quick=is_quick, on_sample=lambda: progress.advance(task))
    return judge(measure, samples, describe_machine())


if __name__ == "__main__":
    main()
