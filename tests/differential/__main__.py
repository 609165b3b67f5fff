"""Runs files of cells on both sides and prints the differences: `python -m tests.differential FILE ...`."""

import sys
import tempfile
from pathlib import Path

from tests.differential.sides import describe, open_sides
from tests.differential.sources import read_cells


def main(paths):
    count = different = 0
    with tempfile.TemporaryDirectory() as folder, open_sides(Path(folder)) as sides:
        for number, path in enumerate(paths):
            if number:
                sides.restart()
            for cell in read_cells(Path(path)):
                pair = sides.run(cell.code)
                count += 1
                if pair.differences:
                    different += 1
                    print(f"\n=== {cell.name}\n{describe(cell.code, pair)}")
    print(f"\n{count} cells, {different} differ")


main(sys.argv[1:])
