"""A sample of tests/differential: cells show the same in a session as in a notebook."""

import pytest

from tests.differential.checking import check_file
from tests.differential.sides import open_sides
from tests.differential.sources import CELLS, NOTEBOOKS, read_cells


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    with open_sides(tmp_path_factory.mktemp("sides")) as sides:
        yield sides


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", [CELLS / "values.py", NOTEBOOKS / "first_steps.py", NOTEBOOKS / "classes.py"])
def test_a_sample_of_cells_shows_the_same(sides, path):
    check_file(sides, read_cells(path))
