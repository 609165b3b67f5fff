"""Writes docs/faults.md from the fault tests: `generate_faults.py`, or with `--check` compares. Run by `make verify`.

A fault test is named `test_fault_<number>_...`; its docstring is one sentence that says what holds. The numbers and
titles of the faults are below. A new test of a known fault needs its docstring only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "docs/faults.md"
LEVELS: Final = ("unit", "integration", "e2e")
INTRODUCTION: Final = """\
# Faults

Each row is a fault that tests inject, with what holds then. After each fault of the operator one checker inspects the
cluster (`tests/support/invariants.py`): one pod per session, no orphan, one token, nothing lost that was acknowledged,
no agent bound twice. `sandbox_testing` has the API server and the storage that misbehave on demand. Tests in
`tests/e2e` need a cluster (`make e2e`).

`make faults` writes this page from the docstrings of the tests, which are named `test_fault_<number>_...`.
"""
FAULTS: Final[dict[str, dict[int, str]]] = {
    "Operator": {
        1: "A process is killed before or after any of its calls",
        2: "The operator crashes between creating a pod and writing the status",
        3: "The operator crashes during a deletion",
        4: "Two operators are active at once",
        5: "The leader is cut off or stopped",
        6: "The operator is upgraded",
        7: "A deletion is missed",
        8: "One resource is invalid or keeps failing",
        9: "5,000 sessions wait at once",
        10: "The operator is down for an hour",
    },
    "API server": {
        11: "The API server restarts",
        12: "A watch hangs, is cut off or is late",
        13: "A write is refused with 409 Conflict",
        14: "A watch or a list ends with 410 Gone",
        15: "A call is throttled with 429",
        16: "A write takes effect, but the answer is 500",
        17: "Reads are stale",
        18: "Clocks differ by ten minutes",
    },
    "Pod": {
        19: "The sandbox container runs out of memory or restarts",
        20: "The agent crashes",
        21: "An interpreter crashes in the middle of a cell",
        22: "The pod is evicted or gets SIGTERM",
        23: "The node is lost",
        24: "An image cannot be pulled, or no node takes the pod",
        25: "The kubelet restarts",
        26: "The disk is full",
        27: "The pod is deleted by hand",
    },
    "Storage": {
        28: "Storage is down",
        29: "Storage is slow or does not answer",
        30: "A transfer is cut off",
        31: "A multipart upload stops half-way",
        32: "Credentials expire in the middle of an upload",
        33: "Two sessions push the same workspace at the same time",
        34: "A restore is interrupted",
    },
    "Client and network": {
        35: "A request is sent twice",
        36: "A client disconnects in the middle of a stream",
        37: "A session is suspended while it works",
        38: "A session is deleted while it resumes",
        39: "Certificates, tokens and storage credentials are rotated",
        40: "A connection is silently dead",
        41: "A component of the cluster is killed and restarted",
    },
}
_NAME: Final = re.compile(r"test_fault_(\d+)(?:_and_(\d+))?_")


@dataclass(frozen=True, slots=True, order=True)
class FaultTest:
    """A test: where it is, and what it proves. Sorts by level, file and line."""

    level: int
    path: str
    line: int
    sentence: str


def read_tests(path: Path) -> Iterator[tuple[int, FaultTest]]:
    """Yield the fault tests of a module, each with the number of its fault.

    Raises:
        ValueError: A test has no docstring, or one of several lines.
    """
    place = path.relative_to(ROOT)
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        match = _NAME.match(node.name)
        if match is None:
            continue
        sentence = ast.get_docstring(node) or ""
        if not sentence or "\n" in sentence:
            raise ValueError(f"{place}: {node.name} needs a docstring of one sentence that says what holds")
        for number in filter(None, match.groups()):
            yield int(number), FaultTest(LEVELS.index(place.parts[1]), str(place), node.lineno, sentence)


def build_page(found: Iterable[tuple[int, FaultTest]]) -> str:
    """Return docs/faults.md.

    Raises:
        ValueError: A test's fault is not in FAULTS, or a fault has no test.
    """
    tests: dict[int, list[FaultTest]] = defaultdict(list)
    for number, test in found:
        tests[number].append(test)
    titles = {number: title for faults in FAULTS.values() for number, title in faults.items()}
    if tests.keys() != titles.keys():
        raise ValueError(f"faults without a test or without a title: {sorted(tests.keys() ^ titles.keys())}")
    parts = [INTRODUCTION]
    for component, faults in FAULTS.items():
        rows = [_row(f"{number}. {title}", sorted(tests[number])) for number, title in faults.items()]
        parts.append(f"## {component}\n\n| Fault | What holds | Tests |\n|---|---|---|\n" + "".join(rows))
    return "\n".join(parts)


def _row(title: str, tests: Sequence[FaultTest]) -> str:
    sentences = " ".join(dict.fromkeys(test.sentence for test in tests))
    paths = dict.fromkeys(test.path for test in tests)
    return f"| {title} | {sentences} | {', '.join(map(_link, paths))} |\n"


def _link(path: str) -> str:
    return f"[{Path(path).stem.removeprefix('test_')}](../{path})"


def main(*arguments: str) -> int:
    """Write the page, or with --check print that it is stale."""
    modules = [path for level in LEVELS for path in sorted((ROOT / "tests" / level).rglob("test_*.py"))]
    try:
        page = build_page(found for path in modules for found in read_tests(path))
    except ValueError as error:
        print(error)
        return 1
    if "--check" not in arguments:
        TARGET.write_text(page)
    elif TARGET.read_text() != page:
        print("stale: docs/faults.md; run `make faults`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
