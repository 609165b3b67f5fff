"""Finds the source files of a folder that changed since the last scan, for a language server that watches no files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MAX_FILES: Final = 2000
_SUFFIXES: Final = (".ts", ".tsx", ".mts", ".cts", ".js", ".mjs", ".cjs", ".json")
CREATED, CHANGED, DELETED = 1, 2, 3


def scan_sources(root: Path) -> dict[str, int]:
    """Return the modification times (ns) of a folder's source files by path, without packages and hidden files.

    Only about the first `MAX_FILES` are included. Edits of further files may go unnoticed until the server restarts.
    """
    found: dict[str, int] = {}
    pending = [str(root)]
    while pending and len(found) < MAX_FILES:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "node_modules":
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif entry.name.endswith(_SUFFIXES):
                found[entry.path] = _modified(entry)
    return found


def compare(before: dict[str, int], after: dict[str, int]) -> list[dict[str, object]]:
    """Return the changes between two scans in the form of the language server protocol."""
    changes = [(path, CHANGED if path in before else CREATED) for path in after if before.get(path) != after[path]]
    changes += [(path, DELETED) for path in before if path not in after]
    return [{"uri": Path(path).as_uri(), "type": kind} for path, kind in changes]


def packages_stamp(root: Path, home: Path) -> tuple[int, ...]:
    """Return a value that changes when packages are installed or removed."""
    paths = (root / "node_modules" / ".package-lock.json", root / "node_modules", home / "npm" / "lib" / "node_modules")
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def _modified(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except OSError:
        return 0
