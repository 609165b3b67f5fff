"""The examples in docstrings of the standard library and of well-known packages show the same on both sides."""

import sys

import pytest

from tests.differential.checking import Comparison
from tests.differential.docstrings import PACKAGES, PRELUDE, SEED, needs_seed, read_docstrings

MAX_UNEXPLAINED = 0.005


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_show_the_same(sides, package):
    comparison, seen = Comparison(), set()
    for module in PACKAGES[package]:
        sides.restart()
        prelude = sides.run(PRELUDE.format(module=module))
        assert prelude.notebook.error is None is prelude.session.error
        for cells in read_docstrings(module, seen):
            if needs_seed(cells):
                sides.run(SEED)
            comparison.run(sides, cells)
    sys.stdout.write(f"{package}: {comparison}\n")
    assert comparison.count > 200
    assert len(comparison.unexplained) < MAX_UNEXPLAINED * comparison.count, "\n\n".join(comparison.unexplained)
    assert not comparison.outdated, "these no longer differ: remove them from explained.py"
