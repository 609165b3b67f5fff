"""Turns cells into TypeScript modules, which import names of earlier cells and export their own declarations. Pure.

A module's text is one line of imports, then the unchanged cell, then one line per export. So a position in the cell
differs by one line from the position in the module.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_WORD: Final = re.compile(r"[\w$]+")
_BINDER: Final = re.compile(r"\b(const|let|var|using|import|function|class)\b")
_VARIABLE: Final = 13
"""Kind of a variable's symbol in the language server protocol. Imports have it too."""
_ERROR: Final = 1
_MISSING_TYPES: Final = frozenset({7016})
"""Codes of errors about packages without types, which are not the cell's mistake."""
_SYNTAX_ERRORS: Final = range(1001, 1200)
_UNKNOWN_NAMES: Final = frozenset({2304, 2552, 2503, 18004})
MAX_DIAGNOSTICS: Final = 200
_MAX_MESSAGE: Final = 4000

_JSX: Final = re.compile(r"(?:^|[=(,?:&|>{]|return)\s*<(?:[A-Za-z_$][^<>]*)?>?.*(?:</|/>)", re.MULTILINE | re.DOTALL)
GLOBALS: Final = """
interface SandboxDisplayOptions { raw?: boolean; displayId?: string; update?: boolean }
interface SandboxDisplay {
  (value: unknown, options?: SandboxDisplayOptions): void;
  html(text: string, options?: SandboxDisplayOptions): void;
  markdown(text: string, options?: SandboxDisplayOptions): void;
  svg(text: string, options?: SandboxDisplayOptions): void;
  json(value: unknown, options?: SandboxDisplayOptions): void;
  image(bytes: Uint8Array | ArrayBuffer, options?: SandboxDisplayOptions & { type?: string }): void;
}
declare var display: SandboxDisplay;
declare namespace JSX { interface IntrinsicElements { [name: string]: any } }
"""
"""Globals of a cell in addition to those of Node."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A name at a module's top level.

    Attributes:
        name: The name.
        binder: `const`, or `let` for a variable that may be assigned. "" if later cells import it directly.
    """

    name: str
    binder: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a name that a cell may use: the module, and the declaration in it."""

    module: str
    declaration: Declaration


def prepare(code: str) -> str:
    """Return the cell's code for its module, with a shebang line turned into a comment."""
    return f"//{code[2:]}" if code.startswith("#!") else code


def read_declarations(code: str, symbols: Iterable[Mapping[str, Any]]) -> dict[str, Declaration]:
    """Return a cell's declarations by name, from the symbols of a document that contains only the cell."""
    lines = code.splitlines()
    found = {}
    for symbol in symbols:
        name = symbol["name"]
        if not _WORD.fullmatch(name) or name == "default":
            continue
        binder = ""
        if symbol["kind"] == _VARIABLE:
            position = symbol["selectionRange"]["start"]
            binder = _find_binder(lines, position["line"], position["character"])
        found[name] = Declaration(name, binder)
    return found


def _find_binder(lines: Sequence[str], line: int, column: int) -> str:
    """Return the binder of a variable, from the last keyword before its name, on its line or above."""
    before = lines[line][:column] if line < len(lines) else ""
    while True:
        if words := _BINDER.findall(before):
            if words[-1] == "import":
                return ""
            return "const" if words[-1] in ("const", "using") else "let"
        line -= 1
        if line < 0:
            return "let"
        before = lines[line]


def build_module(code: str, known: Mapping[str, Origin], declared: Mapping[str, Declaration], *, typed: bool) -> str:
    """Return the module of a cell.

    Args:
        code: The cell.
        known: Names of earlier cells.
        declared: Names of this cell.
        typed: True for TypeScript. JavaScript has no type declarations.
    """
    used = dict.fromkeys(_WORD.findall(code))
    preamble = [_import(known[name], typed=typed) for name in used if name in known and name not in declared]
    exports = [f"export {{ {name} as $_{name} }};" for name in declared]
    return "\n".join([" ".join(preamble), prepare(code), *exports, "export {};"])


def _import(origin: Origin, *, typed: bool) -> str:
    module, name = json.dumps(f"./{origin.module}"), origin.declaration.name
    if typed and origin.declaration.binder:
        # Code cannot assign to an imported variable.
        return f"declare {origin.declaration.binder} {name}: typeof import({module}).$_{name};"
    return f"import {{ $_{name} as {name} }} from {module};"


def read_failed_exports(code: str, declared: Mapping[str, Declaration], items: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names that belong to a block and not to the module's top level: their exports have errors."""
    first = len(prepare(code).split("\n")) + 1
    names = list(declared)
    failed = set()
    for item in items:
        index = item["range"]["start"]["line"] - first
        if item.get("severity", _ERROR) == _ERROR and 0 <= index < len(names):
            failed.add(names[index])
    return failed


def has_jsx(code: str) -> bool:
    """Return True if a cell looks as if it contained JSX."""
    # Without an end there is none, and the search would take long.
    return ("</" in code or "/>" in code) and _JSX.search(code) is not None


def is_broken(items: Iterable[Mapping[str, Any]]) -> bool:
    """Return True if a cell has syntax errors, so that it cannot have run."""
    return any(_code(item) in _SYNTAX_ERRORS and item.get("severity", _ERROR) == _ERROR for item in items)


def read_diagnostics(code: str, items: Iterable[Mapping[str, Any]], *, is_complete: bool) -> list[dict[str, Any]]:
    """Return the cell's own type errors in the form of the link: lines and columns from 1, columns in UTF-16 units.

    Args:
        code: The cell.
        items: Diagnostics of its module.
        is_complete: True if all earlier cells are known. Otherwise they may declare an unknown name.
    """
    count = len(prepare(code).split("\n"))
    ignored = _MISSING_TYPES if is_complete else _MISSING_TYPES | _UNKNOWN_NAMES
    found = []
    for item in items:
        start, end = item["range"]["start"], item["range"]["end"]
        if item.get("severity", _ERROR) != _ERROR or not 1 <= start["line"] <= count or _code(item) in ignored:
            continue
        found.append(
            {
                "line": start["line"],
                "column": start["character"] + 1,
                "end_line": min(end["line"], count),
                "end_column": end["character"] + 1,
                "code": _code(item),
                "message": str(item["message"])[:_MAX_MESSAGE],
            }
        )
    return sorted(found, key=lambda item: (item["line"], item["column"]))


def _code(item: Mapping[str, Any]) -> int:
    try:
        return int(item.get("code", 0))
    except (TypeError, ValueError):
        return 0
