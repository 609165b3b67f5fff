"""Programs that show something else in a cell than as a file, by the reason (docs/results.md)."""

from __future__ import annotations

from typing import Final

EXPLAINED: Final[dict[str, set[str]]] = {
    "a cell ends with its last statement: what comes later is reported as late output": {
        "typescript_errors_lines: setTimeout(() => { throw new Error('in timer') }, 1)",
        "typescript_errors_lines: queueMicrotask(() => { throw new TypeError('in microtask') }",
        "typescript_errors_lines: process.nextTick(() => { throw new Error('in tick') })",
        "typescript_node: worker fails unheard",
    },
    "the process outlives the cell": {
        "typescript_node: process events",
        "typescript_node: process before exit",
        "typescript_node: process exit code",
        "typescript_node: process exit in try",
        "typescript_node: pipeline to stdout",
    },
    "a cell awaits its last value": {"typescript_console: async stack"},
    "the top level of a cell is global, sloppy, and may be declared again": {
        "typescript_language: top-level dead zone",
        "typescript_language: eval scope",
        "typescript_modules: this in a module",
        "typescript_modules: strict by import",
        "typescript_node: import files",
    },
    "a cell runs as a microtask": {"typescript_node: promises order"},
    "imports of files and packages run in their place": {"typescript_modules: missing module"},
    "the error's own getter fails": {
        "typescript_errors_lines: const e = new Error('x'); Object.defineProperty(e, 'message'",
    },
}
REASONS: Final = {name: reason for reason, names in EXPLAINED.items() for name in names}
