"""A sample of tests/differential: programs show the same as cells as they do as files with Node."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from tests.differential.test_typescript_programs import GENERATED, PROGRAMS, compare, open_sides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.differential.typescript_sides import Node, Session

_SAMPLE: Final = random.Random(3).sample(PROGRAMS, 30)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Session]]:
    yield from open_sides(tmp_path_factory.mktemp("node"))


@pytest.mark.parametrize("part", range(3))
def test_a_sample_of_programs(sides, part: int):
    compare(sides, [*_SAMPLE[part::3], GENERATED[part]])
