"""Names that a cell declares, and objects that it changes, never reach the runtime."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from sandbox_runtime import javascript
from sandbox_runtime.javascript import find_node

_FOLDER: Final = Path(javascript.__file__).parent
_OTHER_THREAD: Final = {"control.cjs", "globals.cjs"}
_USERS_REALM: Final = ("main.cjs", "realm.cjs", "user_side.cjs")
_NODE: Final = find_node()
_LIST: Final = "Object.getOwnPropertyNames(globalThis).concat(['require', 'module', 'exports', '__dirname', 'display'])"
_NAMES: Final = [
    name
    for name in subprocess.check_output([_NODE, "-p", f"{_LIST}.join(' ')"], text=True).split()
    if name.isidentifier() and name not in {"undefined", "NaN", "Infinity"}
]
_DECLARATIONS: Final = {
    "function": "function {0}() {{ throw new globalThis.Error('of the cell') }}",
    "class": "class {0} {{}}",
    "let": "let {0} = 5",
    "var": "var {0} = null",
    "assignment": "globalThis.{0} = null",
}


def main_thread_modules() -> list[Path]:
    """The modules that main.cjs loads, directly or not."""
    found: dict[str, Path] = {}
    waiting = ["main.cjs"]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in _OTHER_THREAD:
            found[name] = _FOLDER / name
            waiting += re.findall(r"require(?:InRealm)?\('\./([\w.]+)'\)", found[name].read_text())
    return list(found.values())


def test_no_module_beside_user_code_uses_a_global_that_a_cell_may_declare():
    modules = main_thread_modules()
    assert len(modules) > 10
    script = Path(__file__).with_name("free_names.cjs")
    ours = [module for module in modules if module.name not in _USERS_REALM]
    for given in ([str(_FOLDER / name) for name in _USERS_REALM], ["--realm", *map(str, ours)]):
        assert subprocess.check_output([_NODE, "--expose-internals", str(script), *given], text=True) == ""


@pytest.mark.parametrize("kind", _DECLARATIONS)
def test_each_global_of_node_can_be_declared_and_the_runtime_goes_on(own, kind: str):
    """All in one interpreter, one after the other: what the runtime needs is never what the cell has."""
    for name in _NAMES:
        if name in {"globalThis", "Function"} and kind == "assignment":
            continue  # Node's own inspector needs them
        if name == "eval" and kind == "class":
            continue  # no name for a class
        declared = own.run(_DECLARATIONS[kind].format(name))
        assert declared.status == "OK", (name, declared.error)
        assert own.value("1 + 1") == 2, name
    plain = own.run("({a: [1, 'x']})")
    assert plain.text == "{ a: [ 1, 'x' ] }"
    assert own.run("null.x").error["name"] == "TypeError"
    assert own.value("import { sep as separator } from 'node:path'; separator") == "/"
    assert own.value("(await import('node:path')).sep") == "/"
    assert own.value("(async () => 8)()") == 8
    assert own.value("let typed: number = 3; typed", "typescript") == 3
    assert own.run("import.meta.url").text.startswith("'file:")
