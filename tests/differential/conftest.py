"""Both sides, one pair for each module of tests."""

import pytest

from tests.differential.sides import open_sides


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    with open_sides(tmp_path_factory.mktemp("sides")) as sides:
        yield sides
