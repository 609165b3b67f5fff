"""TypeScript diagnostics on request, from a warm language server that knows the declarations of earlier cells.

The checker is TypeScript's own native program. `find_checker` finds it, and `python -m sandbox_runtime.typecheck`
installs it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["HOW_TO_GET_IT", "Installation", "checker_folders", "find_checker", "own_folder"]

HOW_TO_GET_IT: Final = (
    "no TypeScript checker is installed: run `python -m sandbox_runtime.typecheck` where this sandbox's runtime is "
    "installed, or `npm install -g typescript@7 @types/node` in the session"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """A checker on disk.

    Attributes:
        program: The native `tsc`.
        types: Folder of type packages. It contains `node` if Node's types are installed.
    """

    program: Path
    types: Path


def own_folder() -> Path:
    """Return the folder that `python -m sandbox_runtime.typecheck` installs to."""
    return Path(sys.prefix) / "share" / "sandbox" / "typescript"


def checker_folders(home: Path) -> list[Path]:
    """Return the folders whose node_modules may have the checker.

    They are the one that `SANDBOX_TYPE_CHECKER` names, or else the runtime's own folder and then the session's npm
    prefix.

    Args:
        home: HOME of user code, which contains the npm prefix.
    """
    chosen = os.environ.get("SANDBOX_TYPE_CHECKER")
    return [Path(chosen)] if chosen else [own_folder(), home / "npm" / "lib"]


def find_checker(home: Path) -> Installation | None:
    """Return the checker, or None if there is none.

    Args:
        home: HOME of user code.
    """
    for folder in checker_folders(home):
        modules = folder / "node_modules"
        # A global installation of npm keeps a package's dependencies inside the package.
        for parent in (modules, modules / "typescript" / "node_modules"):
            for program in parent.glob("@typescript/typescript-*/lib/tsc"):
                if os.access(program, os.X_OK):
                    return Installation(program, modules / "@types")
    return None
