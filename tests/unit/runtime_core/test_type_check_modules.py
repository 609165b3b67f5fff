"""Pure parts of the type check: modules of cells, diagnostics, history, what changed on disk."""

from __future__ import annotations

import os

import pytest

from sandbox_link.protocol import OperationError
from sandbox_runtime.execution.type_gate import read_type_gate
from sandbox_runtime.typecheck import find_checker
from sandbox_runtime.typecheck.cell_history import MAX_BYTES, Cell, CellHistory
from sandbox_runtime.typecheck.declarations import (
    Declaration,
    Origin,
    build_module,
    is_broken,
    read_declarations,
    read_diagnostics,
    read_failed_exports,
)
from sandbox_runtime.typecheck.source_changes import CHANGED, CREATED, DELETED, compare, scan_sources


def symbol(name, kind, line, column):
    return {"name": name, "kind": kind, "selectionRange": {"start": {"line": line, "character": column}}}


def diagnostic(line, column=0, code=2322, severity=1):
    place = {"line": line, "character": column}
    return {"range": {"start": place, "end": place}, "code": code, "severity": severity, "message": "wrong"}


def test_declarations_know_by_which_word_they_were_made():
    code = "import { a } from 'x'; const b = 1, c = 2\nlet {\n  d,\n} = b\nclass E {}\nfor (const f of []) {}"
    symbols = [
        symbol("a", 13, 0, 9),
        symbol("b", 13, 0, 29),
        symbol("c", 13, 0, 36),
        symbol("d", 13, 2, 2),
        symbol("E", 5, 4, 6),
        symbol("f", 13, 5, 11),
        symbol("<unnamed>", 12, 0, 0),
        symbol("default", 12, 0, 0),
    ]
    found = read_declarations(code, symbols)
    assert {name: declaration.binder for name, declaration in found.items()} == {
        "a": "",
        "b": "const",
        "c": "const",
        "d": "let",
        "E": "",
        "f": "const",
    }


def test_a_module_imports_what_it_uses_and_does_not_declare_itself():
    known = {
        "n": Origin("one", Declaration("n", "let")),
        "Point": Origin("one", Declaration("Point", "")),
        "mine": Origin("one", Declaration("mine", "let")),
        "unused": Origin("one", Declaration("unused", "let")),
    }
    code = "#!shebang\nconst mine: Point = n"
    declared = {"mine": Declaration("mine", "const")}
    assert build_module(code, known, declared, typed=True).split("\n") == [
        'import { $_Point as Point } from "./one"; declare let n: typeof import("./one").$_n;',
        "//shebang",
        "const mine: Point = n",
        "export { mine as $_mine };",
        "export {};",
    ]
    assert 'import { $_n as n } from "./one";' in build_module(code, known, declared, typed=False)


def test_diagnostics_are_those_of_the_cell_in_their_order_with_its_own_lines():
    code = "one\ntwo"
    items = [
        diagnostic(2, 3),
        diagnostic(0),
        diagnostic(1, 4, code=2304),
        diagnostic(3),
        diagnostic(1, severity=4),
        diagnostic(1, code=7016),
    ]
    found = read_diagnostics(code, items, is_complete=True)
    assert [(item["line"], item["column"], item["code"]) for item in found] == [(1, 5, 2304), (2, 4, 2322)]
    # An unknown name may be one of a cell that was forgotten.
    assert [item["code"] for item in read_diagnostics(code, items, is_complete=False)] == [2322]


def test_names_of_blocks_are_found_by_their_exports():
    declared = {"top": Declaration("top", "let"), "inner": Declaration("inner", "let")}
    assert read_failed_exports("a\nb", declared, [diagnostic(1), diagnostic(4), diagnostic(3, severity=4)]) == {"inner"}
    assert is_broken([diagnostic(1, code=1005)])
    assert not is_broken([diagnostic(1, code=2322)])


def test_history_is_of_one_process_and_bounded():
    history = CellHistory()
    history.follow("first")
    history.add(Cell(1, "typescript", "a"))
    history.follow("first")
    assert [cell.number for cell in history.cells] == [1]
    history.add(Cell(2, "typescript", "b" * MAX_BYTES))
    assert ([cell.number for cell in history.cells], history.is_complete) == ([2], False)
    generation = history.generation
    history.follow("second")
    assert (list(history.cells), history.is_complete, history.generation) == ([], True, generation + 1)


def test_changes_of_source_files_are_seen(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "node_modules").mkdir()
    for name in ("a.ts", "sub/b.json", "node_modules/c.ts", "d.txt", "sub/.e.ts"):
        (tmp_path / name).write_text("")
    before = scan_sources(tmp_path)
    assert {os.path.relpath(path, tmp_path) for path in before} == {"a.ts", "sub/b.json"}
    os.utime(tmp_path / "a.ts", ns=(1, 1))
    (tmp_path / "sub" / "b.json").unlink()
    (tmp_path / "new.ts").write_text("")
    changes = {
        str(change["uri"]).rsplit("/", 1)[1]: change["type"] for change in compare(before, scan_sources(tmp_path))
    }
    assert changes == {"a.ts": CHANGED, "b.json": DELETED, "new.ts": CREATED}


class Nowhere:
    is_installed = False


def test_without_a_checker_the_error_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SANDBOX_TYPE_CHECKER", str(tmp_path))
    assert find_checker(tmp_path) is None
    with pytest.raises(OperationError, match="npm install -g typescript") as caught:
        read_type_gate({"type_check": "only"}, "typescript", Nowhere(), tmp_path)
    assert (caught.value.code, caught.value.reason, caught.value.field) == (
        "FAILED_PRECONDITION",
        "NO_TYPE_CHECKER",
        "type_check",
    )


@pytest.mark.parametrize(("mode", "language"), [("nonsense", "typescript"), ("only", "python"), ("only", "javascript")])
def test_a_type_check_that_makes_no_sense_is_refused(mode, language, tmp_path):
    with pytest.raises(OperationError) as caught:
        read_type_gate({"type_check": mode}, language, Nowhere(), tmp_path)
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", "type_check")


def test_a_checker_that_npm_installed_in_the_session_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("SANDBOX_TYPE_CHECKER", raising=False)
    monkeypatch.setattr("sandbox_runtime.typecheck.own_folder", lambda: tmp_path / "nothing")
    modules = tmp_path / "npm" / "lib" / "node_modules"
    program = modules / "typescript" / "node_modules" / "@typescript" / "typescript-linux-x64" / "lib" / "tsc"
    program.parent.mkdir(parents=True)
    program.write_text("")
    assert find_checker(tmp_path) is None
    program.chmod(0o755)
    found = find_checker(tmp_path)
    assert found is not None
    assert (found.program, found.types) == (program, modules / "@types")
