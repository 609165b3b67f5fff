"""Cells as TypeScript modules: each imports what it uses of the earlier ones, and exports what it declares. Pure.

The text of a module is one line of imports, then the cell as it is, then one line an export; so a position in the cell
is the module's but for one line.
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
"""Kind of a symbol in the language server protocol; imports have it too."""
_ERROR: Final = 1
_OF_TYPES_MISSING: Final = frozenset({7016})
"""A package without types is not the cell's mistake."""
_OF_SYNTAX: Final = range(1001, 1200)
_UNKNOWN_NAME: Final = frozenset({2304, 2552, 2503, 18004})
MAX_DIAGNOSTICS: Final = 200
_MAX_MESSAGE: Final = 4000

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
"""
"""What a cell finds beside Node's own globals."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A name of a module's top level.

    Attributes:
        name: The name.
        binder: `const`, `let` for a variable that may be assigned; "" for what is imported as it is.
    """

    name: str
    binder: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a name that a cell may use comes from: the module's name, and how it is declared there."""

    module: str
    declaration: Declaration


def prepare(code: str) -> str:
    """The cell as a module may have it."""
    return f"//{code[2:]}" if code.startswith("#!") else code


def read_declarations(code: str, symbols: Iterable[Mapping[str, Any]]) -> dict[str, Declaration]:
    """What a cell declares, from the symbols of its document, which was the bare cell."""
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
    """The word that the declaration of a variable begins with: on its line, or on one above."""
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
    """The module of a cell.

    Args:
        code: The cell.
        known: Names of earlier cells.
        declared: Names of this one.
        typed: Whether it is TypeScript; JavaScript has no declarations of types.
    """
    used = dict.fromkeys(_WORD.findall(code))
    preamble = [_import(known[name], typed=typed) for name in used if name in known and name not in declared]
    exports = [f"export {{ {name} as $_{name} }};" for name in declared]
    return "\n".join([" ".join(preamble), prepare(code), *exports, "export {};"])


def _import(origin: Origin, *, typed: bool) -> str:
    module, name = json.dumps(f"./{origin.module}"), origin.declaration.name
    if typed and origin.declaration.binder:
        # An imported variable could not be assigned.
        return f"declare {origin.declaration.binder} {name}: typeof import({module}).$_{name};"
    return f"import {{ $_{name} as {name} }} from {module};"


def read_failed_exports(code: str, declared: Mapping[str, Declaration], items: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names that are no names of the module's top level, but of a block: their exports have errors."""
    first = len(prepare(code).split("\n")) + 1
    names = list(declared)
    failed = set()
    for item in items:
        index = item["range"]["start"]["line"] - first
        if item.get("severity", _ERROR) == _ERROR and 0 <= index < len(names):
            failed.add(names[index])
    return failed


def is_broken(items: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a cell cannot have run, because its text is no code."""
    return any(_code(item) in _OF_SYNTAX and item.get("severity", _ERROR) == _ERROR for item in items)


def read_diagnostics(code: str, items: Iterable[Mapping[str, Any]], *, is_complete: bool) -> list[dict[str, Any]]:
    """The cell's own type errors, as the link has them: line and column from 1, columns in UTF-16 units.

    Args:
        code: The cell.
        items: Diagnostics of its module.
        is_complete: Whether all earlier cells are known; otherwise an unknown name may be one of theirs.
    """
    count = len(prepare(code).split("\n"))
    ignored = _OF_TYPES_MISSING if is_complete else _OF_TYPES_MISSING | _UNKNOWN_NAME
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
