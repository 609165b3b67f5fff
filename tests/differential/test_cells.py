"""Cells and whole notebooks show the same in a session as in a notebook."""

import pytest

from tests.differential.checking import REASONS, check_file
from tests.differential.docstrings import PACKAGES
from tests.differential.sources import CELLS, NOTEBOOKS, read_cells

FILES = sorted([*CELLS.glob("*.py"), *NOTEBOOKS.glob("*.py")])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_cell_shows_the_same(sides, path):
    check_file(sides, read_cells(path))


def test_explained_cells_exist():
    names = {cell.name for path in FILES for cell in read_cells(path)}
    packages = {module.partition(".")[0] for modules in PACKAGES.values() for module in modules}
    docstrings = {name for name in REASONS if ":" not in name and name.partition(".")[0].split()[0] in packages}
    assert REASONS.keys() - names - docstrings == set()
