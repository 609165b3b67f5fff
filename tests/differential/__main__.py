"""Prints the differences of files of cells, or of docstrings: `python -m tests.differential FILE|PACKAGE ...`.

A package is one of `docstrings.PACKAGES`, such as `numpy`.
"""

import sys
import tempfile
from pathlib import Path

from tests.differential.docstrings import PACKAGES, PRELUDE, SEED, needs_seed, read_docstrings
from tests.differential.sides import describe, open_sides
from tests.differential.sources import read_cells


def read_groups(argument):
    """Yield the code that prepares an interpreter, and the cells that run in it."""
    if argument not in PACKAGES:
        yield "", [read_cells(Path(argument))]
        return
    seen = set()
    for module in PACKAGES[argument]:
        yield PRELUDE.format(module=module), read_docstrings(module, seen)


def _print(text, file=None):
    (file or sys.stdout).write(f"{text}\n")
    (file or sys.stdout).flush()


def main(arguments):
    count = different = 0
    with tempfile.TemporaryDirectory() as folder, open_sides(Path(folder)) as sides:
        for argument in arguments:
            for prelude, lists in read_groups(argument):
                sides.restart()
                if prelude:
                    sides.run(prelude)
                _print(f"... {prelude.splitlines()[-1] if prelude else argument}", file=sys.stderr)
                for cells in lists:
                    if prelude and needs_seed(cells):
                        sides.run(SEED)
                    for cell in cells:
                        pair = sides.run(cell.code)
                        count += 1
                        if pair.differences:
                            different += 1
                            _print(f"\n=== {cell.name}\n{describe(cell.code, pair)}")
            _print(f"\n{argument}: {count} cells so far, {different} differ")


main(sys.argv[1:])
