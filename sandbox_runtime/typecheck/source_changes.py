"""Which source files of a folder changed since the last look: the server is told, because it watches none itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MAX_FILES: Final = 2000
_SUFFIXES: Final = (".ts", ".tsx", ".mts", ".cts", ".js", ".mjs", ".cjs", ".json")
CREATED, CHANGED, DELETED = 1, 2, 3


def scan_sources(root: Path) -> dict[str, int]:
    """Path to modification time (ns) of a folder's source files, packages and hidden folders left out.

    The first `MAX_FILES` only: beyond them an edit may go unseen until the server is started again.
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
    """The changes, as the language server protocol has them."""
    changes = [(path, CHANGED if path in before else CREATED) for path in after if before.get(path) != after[path]]
    changes += [(path, DELETED) for path in before if path not in after]
    return [{"uri": Path(path).as_uri(), "type": kind} for path, kind in changes]


def packages_stamp(root: Path, home: Path) -> tuple[int, ...]:
    """Changes where packages were installed or removed."""
    marks = (root / "node_modules" / ".package-lock.json", root / "node_modules", home / "npm" / "lib" / "node_modules")
    return tuple(mark.stat().st_mtime_ns if mark.exists() else 0 for mark in marks)


def _modified(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except OSError:
        return 0
