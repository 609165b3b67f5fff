"""Checks the shape of the code: import cycles, module length and folder size. Run by `make lint`.

A module or folder that must exceed a bound says why in its docstring, with the words that the error asks for.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import grimp

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = {
    "sandbox_agent": "sandbox_agent",
    "sandbox_client": "sandbox_client",
    "sandbox_gateway": "sandbox_gateway",
    "sandbox_link": "sandbox_link",
    "sandbox_operator": "operator/sandbox_operator",
    "sandbox_proto": "proto/sandbox_proto",
    "sandbox_runtime": "sandbox_runtime",
    "sandbox_testing": "sandbox_testing",
}
MAX_LINES: Final = 340
MAX_MODULES: Final = 12
LONG_MODULE: Final = "longer than 340 lines"
LARGE_FOLDER: Final = "more than twelve modules"


def check_lengths(folder: Path) -> list[str]:
    """Return an error for each module below a folder that is too long."""
    errors = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        lines = len(text.splitlines())
        if lines > MAX_LINES and not _is_generated(path) and LONG_MODULE not in _docstring(text):
            errors.append(
                f"{path}: {lines} lines, at most {MAX_LINES}."
                f" Split it, or say in its docstring why it is {LONG_MODULE}."
            )
    return errors


def check_folders(folder: Path) -> list[str]:
    """Return an error for each folder that holds too many modules. `__init__` and `__main__` do not count."""
    modules: dict[Path, int] = defaultdict(int)
    for path in folder.rglob("*.py"):
        if path.stem not in {"__init__", "__main__"} and not _is_generated(path):
            modules[path.parent] += 1
    errors = []
    for parent, count in sorted(modules.items()):
        init = parent / "__init__.py"
        if count > MAX_MODULES and LARGE_FOLDER not in _docstring(init.read_text() if init.exists() else ""):
            errors.append(
                f"{parent}: {count} modules, at most {MAX_MODULES}. Split the folder, or say in the docstring of its"
                f" __init__.py why it holds {LARGE_FOLDER}."
            )
    return errors


def find_cycle(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules of one import cycle, the first one again at the end. Empty if there is no cycle.

    Args:
        imports: What each module imports, type-only imports included.
    """
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def read_imports(*packages: str) -> dict[str, set[str]]:
    """Return what each module of some installed packages imports of them, type-only imports included."""
    graph = grimp.build_graph(*packages, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def _is_generated(path: Path) -> bool:
    return path.stem.endswith(("_pb2", "_pb2_grpc"))


def _docstring(text: str) -> str:
    return " ".join((ast.get_docstring(ast.parse(text)) or "").split())


def main() -> int:
    """Check every package and print what is wrong."""
    errors = []
    for folder in PACKAGES.values():
        errors += [*check_lengths(ROOT / folder), *check_folders(ROOT / folder)]
    cycle = find_cycle(read_imports(*PACKAGES))
    if cycle:
        errors.append("import cycle: " + " -> ".join(cycle))
    for error in errors:
        print(error.replace(f"{ROOT}/", ""))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
