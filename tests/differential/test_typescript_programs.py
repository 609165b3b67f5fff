"""JavaScript and TypeScript programs show the same as cells as they do as files with Node."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sandbox_runtime.javascript import find_node
from tests.differential.typescript_explained import REASONS
from tests.differential.typescript_sides import Node, Program, Session, is_compile_error, open_sandbox, read_programs
from tests.differential.typescript_values import generate_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS: Final = read_programs(Path(__file__).parent / "typescript_programs")
GENERATED: Final = generate_programs(random.Random(7), 48)
_SECTIONS: Final = sorted({program.name.partition(":")[0] for program in PROGRAMS})


def open_sides(node_folder: Path) -> Iterator[tuple[Node, Session]]:
    """Yield Node and a session, as the value of a fixture."""
    with open_sandbox() as sandbox:
        folder = Path(sandbox.run_code("process.cwd()", language="javascript").text.strip("'"))
        yield Node(node_folder), Session(sandbox, folder)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Session]]:
    yield from open_sides(tmp_path_factory.mktemp("node"))


def compare(sides: tuple[Node, Session], programs: list[Program], *, split: bool = False) -> None:
    """Compare programs. Each difference must be explained, and each explanation needed."""
    node, session = sides
    different, outdated = [], []
    for program in programs:
        expected, shown = node.run(program), session.run(program, split=split)
        if is_compile_error(shown) and expected.error[0] == "SyntaxError":
            continue  # each parser says it in its own words
        if expected != shown and program.name not in REASONS:
            different.append(f"=== {program.name}\n{program.code}\n  node {expected}\n  cell {shown}")
        elif expected == shown and program.name in REASONS:
            outdated.append(program.name)
    assert not different, "\n\n".join(different)
    assert not outdated, "these no longer differ: remove them from typescript_explained.py"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("section", _SECTIONS)
def test_programs(sides, section: str):
    compare(sides, [program for program in PROGRAMS if program.name.startswith(f"{section}:")])


@pytest.mark.timeout(900)
def test_programs_of_several_paragraphs_are_the_same_with_a_cell_for_each(sides):
    programs = [program for program in PROGRAMS if "\n\n" in program.code and program.name not in REASONS]
    assert len(programs) > 3
    compare(sides, programs, split=True)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(6))
def test_generated_values(sides, part: int):
    compare(sides, GENERATED[part::6])


def test_explained_programs_exist():
    assert REASONS.keys() - {program.name for program in PROGRAMS} == set()


SCRIPTS: Final = [program for program in PROGRAMS if program.name.startswith("typescript_language:")][:12]


@pytest.mark.parametrize("program", SCRIPTS, ids=lambda program: program.name)
def test_a_file_that_sandbox_runs_is_the_file_that_node_runs(tmp_path: Path, program: Program):
    file = tmp_path / "program.js"
    file.write_text(program.code)
    found = [
        subprocess.run([*command, str(file)], cwd=tmp_path, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        for command in ([find_node()], [str(Path(sys.executable).with_name("sandbox")), "run"])
    ]
    assert found[0].stdout == found[1].stdout
    assert found[0].returncode == found[1].returncode
