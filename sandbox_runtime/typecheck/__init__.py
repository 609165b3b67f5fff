"""Type errors of TypeScript cells, on request: a warm language server that knows the declarations of earlier cells.

It is TypeScript's own native checker, a program of its own: `find_checker` says where it is, `python -m` of this
package puts it where it is looked for.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["HOW_TO_GET_IT", "Installation", "find_checker", "own_folder"]

HOW_TO_GET_IT: Final = (
    "there is no TypeScript checker: run `python -m sandbox_runtime.typecheck` where this sandbox's runtime is "
    "installed, or `npm install -g typescript@7 @types/node` in the session"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """A checker on disk.

    Attributes:
        program: The native `tsc`.
        types: Folder of type packages; it has `node` where Node's types are there.
    """

    program: Path
    types: Path


def own_folder() -> Path:
    """Where `python -m sandbox_runtime.typecheck` installs to."""
    return Path(sys.prefix) / "share" / "sandbox" / "typescript"


def find_checker(home: Path) -> Installation | None:
    """The checker: `SANDBOX_TYPE_CHECKER`'s (a folder with node_modules), the runtime's own, else the session's.

    Args:
        home: HOME of user code, whose npm prefix is looked at last.
    """
    chosen = os.environ.get("SANDBOX_TYPE_CHECKER")
    folders = [Path(chosen)] if chosen else [own_folder(), home / "npm" / "lib"]
    for folder in folders:
        modules = folder / "node_modules"
        # A global installation of npm keeps what a package depends on inside of the package.
        for parent in (modules, modules / "typescript" / "node_modules"):
            for program in parent.glob("@typescript/typescript-*/lib/tsc"):
                if os.access(program, os.X_OK):
                    return Installation(program, modules / "@types")
    return None
