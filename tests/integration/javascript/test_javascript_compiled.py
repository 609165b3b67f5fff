"""Cells and files that need more than the removal of types: decorators, `accessor`, JSX and `using`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sandbox_runtime.typecheck import find_checker, own_folder

if TYPE_CHECKING:
    from pathlib import Path

needs_compiler = pytest.mark.skipif(
    find_checker(own_folder()) is None, reason="needs the compiler: python -m sandbox_runtime.typecheck"
)
TWICE = "function twice(m: any, _c: any) { return function (this: any) { return m.call(this) * 2 } }\n"
PRAGMA = "/** @jsx h */\nconst h = (tag: any, props: any, ...children: any[]) => ({ tag, props, children });\n"


@needs_compiler
def test_a_decorated_class_runs_and_is_there_in_the_next_cell(own):
    assert own.value(TWICE + "class A { @twice n() { return 21 } }\nnew A().n()", "typescript") == 42
    assert own.value("[new A().n(), A.name]", "typescript") == [42, "A"]
    assert own.value("class A { @twice n() { return 1 } }\nnew A().n()", "typescript") == 2


@needs_compiler
@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_accessors_run(own, language: str):
    code = "class B { accessor v = 3 }\nconst b = new B(); b.v += 1; [b.v, Object.keys(b).length]"
    assert own.value(code, language) == [4, 0]


@needs_compiler
@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_jsx_is_a_call_of_the_function_that_a_comment_names(own, language: str):
    code = PRAGMA if language == "typescript" else PRAGMA.replace(": any[]", "").replace(": any", "")
    found = own.value(f"{code}<a b={{1}}>hi {{2}}<c/></a>", language)
    child = {"tag": "c", "props": None, "children": []}
    assert found == {"tag": "a", "props": {"b": 1}, "children": ["hi ", 2, child]}


@needs_compiler
def test_jsx_without_react_says_what_is_missing(own):
    error = own.run("const x: any = <p>hi</p>", "typescript").error
    assert error["value"].startswith("Cannot find package 'react', which JSX needs: run `npm install react`")


@needs_compiler
def test_jsx_uses_the_library_of_the_workspace_and_its_tsconfig(own, tmp_path: Path):
    folder = tmp_path / "node_modules" / "tiny"
    folder.mkdir(parents=True)
    exports = {"./jsx-runtime": "./runtime.js"}
    (folder / "package.json").write_text(json.dumps({"name": "tiny", "type": "module", "exports": exports}))
    (folder / "runtime.js").write_text("export const jsx = (tag, props) => [tag, props]; export const jsxs = jsx;")
    (tmp_path / "base.json").write_text('{"compilerOptions": {"jsxImportSource": "tiny", "jsx": "preserve"}}')
    config = '{\n// a comment\n"extends": "./base.json", "compilerOptions": {"experimentalDecorators": true}}'
    (tmp_path / "tsconfig.json").write_text(config)
    assert own.value("<p a='b'>hi</p>", "typescript") == ["p", {"a": "b", "children": "hi"}]
    # The decorators of tsconfig.json's option get three arguments.
    code = "let seen: any\nconst d = (...given: any[]) => { seen = given.slice(1) }\nclass A { @d m() {} }\nseen[0]"
    assert own.run(code, "typescript").text == "'m'"


@needs_compiler
def test_lines_are_those_of_the_code_that_was_written(own):
    code = (
        TWICE
        + "interface I {\n  a: number\n}\n\nclass D {\n  @twice boom(): any {\n    throw new Error('far')\n  }\n}\n"
    )
    code += (
        "const show = (error: Error) => console.log(error.stack)\ntry { new D().boom() } catch (e) { show(e as any) }\n"
    )
    outcome = own.run(code + "new D().boom()", "typescript")
    lines = ["Error: far", "    at D.boom (cell-1.ts:8:11)", "    at D.<anonymous> (cell-1.ts:1:74)"]
    assert outcome.error["traceback"] == [*lines, "    at cell-1.ts:13:9"]
    assert outcome.stdout.splitlines() == [*lines, "    at cell-1.ts:12:15"]


@needs_compiler
def test_frames_of_the_compilers_own_functions_are_hidden(own):
    code = "const bad = (): any => { throw new Error('in decorator') }\n\n@bad class A {}"
    lines = own.run(code, "typescript").error["traceback"]
    assert lines[:2] == ["Error: in decorator", "    at bad (cell-1.ts:1:32)"]
    assert len(lines) > 2
    assert all("cell-1.ts:3:" in line and "__" not in line for line in lines[2:])


@needs_compiler
@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("class A {\n  @d m() { let = }\n}", "2:18"),
        ("const x = (\n  <a><b></a>\n)", "2:13"),
        ("@d class A { accessor x: = 1 }", "1:26"),
    ],
)
def test_a_syntax_error_has_its_own_position(own, code: str, place: str):
    error = own.run(code, "typescript").error
    assert (error["name"], error["traceback"][0]) == ("SyntaxError", f"cell-1.ts:{place}")


@pytest.mark.parametrize(
    ("code", "feature"),
    [("@d class A {}", "Decorators"), ("class A { accessor x = 1 }", "Accessors"), ("let x = <p/>", "JSX elements")],
)
@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_without_a_compiler_one_error_says_what_to_install(start, tmp_path: Path, code, feature, language):
    error = start(compilers=[tmp_path]).run(code, language).error
    assert error["name"] == "SyntaxError"
    assert error["value"].startswith(f"{feature} need the TypeScript compiler, which is not installed: run `python -m")
    assert "npm install -g typescript@7" in error["value"]


def test_other_syntax_errors_do_not_ask_for_a_compiler(start, tmp_path: Path):
    interpreter = start(compilers=[tmp_path])
    for code in ("let a = ;", "if (a < ) b", "const s = 'a@b", "a <b> c >"):
        for language in ("javascript", "typescript"):
            assert "compiler" not in interpreter.run(code, language).error["value"], code


@pytest.mark.parametrize(
    "code", ["@d export class A {}", "export class A { accessor x = 1 }", "class A {\n  @d m() {}\n}"]
)
def test_a_file_that_is_imported_without_a_compiler_says_so_too(start, tmp_path: Path, code):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "a.ts").write_text(code)
    error = start(compilers=[tmp_path]).run(f"import({str(folder / 'a.ts')!r})", "typescript").error
    assert error["name"] == "SyntaxError"
    assert error["value"].startswith(
        f"Decorators ({folder / 'a.ts'}) need the TypeScript compiler, which is not installed"
    )
    assert "npm install -g typescript@7" in error["value"]


def test_a_file_that_only_looks_decorated_needs_no_compiler(start, tmp_path: Path):
    (tmp_path / "a.ts").write_text("export const text: string = `\n@mention\n accessor x`")
    interpreter = start(compilers=[tmp_path])
    assert interpreter.value(f"(await import({str(tmp_path / 'a.ts')!r})).text") == "\n@mention\n accessor x"
    (tmp_path / "b.ts").write_text("`\n@mention`; let a = ;")
    assert "compiler" not in interpreter.run(f"import({str(tmp_path / 'b.ts')!r})").error["value"]


@needs_compiler
def test_files_with_jsx_and_decorators_are_imported(own, tmp_path: Path):
    (tmp_path / "h.ts").write_text("export const h = (tag: string, _props: any, ...children: any[]) => [tag, children]")
    text = "/** @jsx h */\nimport { h } from './h.js';\nexport const element = <p>{'x'}</p>;\n"
    (tmp_path / "part.tsx").write_text(text + "export function boom(): never {\n\n  throw new Error('far')\n}\n")
    text = "const mark = (c: any, x: any) => { c.mark = x.name };\n@mark\nexport class K { accessor z = 1 }"
    (tmp_path / "decorated.ts").write_text(text)
    (tmp_path / "common.cts").write_text("const d = (c: any, _x: any) => { c.n = 4 };\n@d class C {}\nexports.C = C")
    code = "import { element } from './part'; import { K } from './decorated'; [element, K.mark, new K().z]"
    assert own.value(code) == [["p", ["x"]], "K", 1]
    assert own.value("require('./common').C.n") == 4
    frame = own.run("const { boom } = await import('./part.tsx'); boom()").error["traceback"][1]
    assert frame == f"    at boom ({(tmp_path / 'part.tsx').as_uri()}:6:9)"
    (tmp_path / "broken.tsx").write_text("export const x = <p>;\n")
    value = own.run("import './broken'").error["value"]
    assert value.startswith("JSX element 'p' has no corresponding closing tag")
    assert value.endswith(f"({tmp_path / 'broken.tsx'}:1:19)")


def test_what_is_declared_with_using_is_disposed_of_at_the_end_of_the_cell(own):
    resource = "const make = (n: string) => ({ n, [Symbol.dispose]() { console.log('end', n) } });\n"
    outcome = own.run(f"{resource}using a = make('a'), b = make('b'); console.log('body'); a.n", "typescript")
    assert (outcome.stdout, outcome.text) == ("body\nend b\nend a\n", "'a'")
    assert own.run("a.n").text == "'a'"
    assert own.run("a = 1").error["value"] == "Assignment to constant variable."
    later = "await using c = { async [Symbol.asyncDispose]() { await null; console.log('later') } }, d = null;"
    outcome = own.run(f"{later} throw new Error('body')")
    assert (outcome.stdout, outcome.error["value"]) == ("later\n", "body")
    failing = own.run("using e = { [Symbol.dispose]() { throw new TypeError('no') } }; 1")
    assert (failing.error["name"], failing.error["traceback"][-1]) == (
        "TypeError",
        "    at [Symbol.dispose] (cell-5.js:1:40)",
    )
    assert own.run("using f = {}").error["value"] == "Symbol(Symbol.dispose) is not a function"
    assert own.value("1") == 1


def test_an_interrupted_cell_disposes_of_nothing(own):
    code = "using r = { [Symbol.dispose]() { console.log('disposed') } }; console.log('go'); for (;;) {}"
    assert own.run_interrupted(code, before="").status == "INTERRUPTED"
    assert own.run("using s = null").stdout == ""


@needs_compiler
def test_using_at_the_top_level_beside_a_decorator_is_refused_by_name(own):
    error = own.run("const d = (c: any) => c\nusing r = null\n@d class A {}", "typescript").error
    assert error["value"].startswith("Decorators and a 'using' at the top level cannot be in one cell")
    assert error["traceback"][0] == "cell-1.ts:2:1"


def test_a_name_that_the_type_stripper_takes_for_a_keyword_can_end_a_cell(own):
    assert own.value("let module = 3; module", "typescript") == 3


def test_a_strict_cell_is_strict(own):
    assert own.run("'use strict'; undeclared = 1").error["name"] == "ReferenceError"
    assert own.value("'use strict';\nfunction f() { return this === undefined }\nf()") is True
    assert own.value("undeclared = 1") == 1
