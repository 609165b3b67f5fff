"""Installs the checker from the npm registry, in the versions of package-lock.json, with Node's own npm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from sandbox_runtime.javascript import find_node
from sandbox_runtime.typecheck import own_folder

_LISTS: Final = ("package.json", "package-lock.json")


def install(folder: Path) -> int:
    """Install the checker into `folder`. Returns npm's exit code."""
    node = find_node()
    folder.mkdir(parents=True, exist_ok=True)
    for name in _LISTS:
        shutil.copyfile(Path(__file__).parent / name, folder / name)
    script = Path(node).resolve().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = [node, str(script)] if script.exists() else ["npm"]
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder)]
    return subprocess.run([*npm, *arguments], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(install(own_folder()))
