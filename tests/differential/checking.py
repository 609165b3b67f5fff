"""Compares both sides over many cells, and checks the differences against the explained ones."""

import sys
from dataclasses import dataclass, field

from tests.differential.explained import EXPLAINED
from tests.differential.sides import describe

REASONS = {name: reason for reason, names in EXPLAINED.items() for name in names}
assert len(REASONS) == sum(map(len, EXPLAINED.values())), "a cell is explained twice"


@dataclass
class Comparison:
    """Counts and differences of the cells that ran.

    Attributes:
        unexplained: The text of each difference without a reason.
        outdated: Names of explained cells that no longer differ.
    """

    count: int = 0
    explained: int = 0
    unexplained: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)

    def run(self, sides, cells):
        for cell in cells:
            pair = sides.run(cell.code)
            self.count += 1
            if not pair.differences:
                self.outdated += [cell.name] if cell.name in REASONS else []
            elif cell.name in REASONS:
                self.explained += 1
            else:
                self.unexplained.append(f"=== {cell.name}\n{describe(cell.code, pair)}")

    def __str__(self):
        return f"{self.count} cells: {self.explained} differ as explained, {len(self.unexplained)} otherwise"


def check_file(sides, cells):
    """Run a file's cells in new interpreters. Each difference must be explained, and each explanation needed."""
    sides.restart()
    comparison = Comparison()
    comparison.run(sides, cells)
    sys.stdout.write(f"{comparison}\n")
    assert not comparison.unexplained, "\n\n".join(comparison.unexplained)
    assert not comparison.outdated, "these no longer differ: remove them from explained.py"
