"""Modules, packages and files that cells import."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_builtin_modules_are_imported_statically_and_dynamically_and_required(shared):
    code = "import fs, {sep} from 'node:path';\nimport * as os from 'os';\n[fs.sep, sep, typeof os.cpus]"
    assert shared.value(code) == ["/", "/", "function"]
    assert shared.value("[(await import('path')).sep, require('node:path').sep]") == ["/", "/"]


def test_packages_come_from_node_modules_upward_and_from_node_path(tmp_path, start):
    def write_package(folder: Path, name: str, kind: str, code: str):
        package = folder / "node_modules" / name
        package.mkdir(parents=True)
        (package / "package.json").write_text(json.dumps({"name": name, "type": kind, "main": "index.js"}))
        (package / "index.js").write_text(code)

    write_package(tmp_path, "near", "module", "export default 'near'; export const named = 1;")
    write_package(tmp_path, "common", "commonjs", "module.exports = {named: 2};")
    write_package(tmp_path / "lib", "far", "module", "export const named = 3;")
    work = tmp_path / "work"
    work.mkdir()
    interpreter = start(work, env={"NODE_PATH": str(tmp_path / "lib" / "node_modules")})
    code = "import near, {named as one} from 'near'; import {named as two} from 'common'; import {named} from 'far';"
    assert interpreter.value(f"{code} [near, one, two, named]") == ["near", 1, 2, 3]
    assert interpreter.value("[require('common').named, require('far').named]") == [2, 3]
    missing = interpreter.run("import 'no-such-package'").error
    assert (missing["name"], missing["value"]) == ("Error", "Cannot find package 'no-such-package'")


def test_files_are_imported_relative_to_the_working_directory(own, tmp_path):
    (tmp_path / "a.mjs").write_text("export const a = 'mjs';")
    (tmp_path / "b.js").write_text("exports.b = 'js';")
    (tmp_path / "c.ts").write_text("export const c: string = 'ts'; export interface Unused {} export enum E { A = 7 }")
    (tmp_path / "d.json").write_text('{"d": "json"}')
    code = (
        "import {a} from './a.mjs'; import {b} from './b.js'; import {c} from './c.ts'; import {c as again} from './c';"
        " import d from './d.json' with {type: 'json'}; import e from './d.json'; import {E} from './c';"
        " [a, b, c, again, d.d, e.d, E.A]"
    )
    assert own.value(code) == ["mjs", "js", "ts", "ts", "json", "json", 7]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "e.mjs").write_text("export const e = 'sub';")
    assert own.value("process.chdir('sub'); (await import('./e.mjs')).e") == "sub"


def test_a_file_that_changed_is_imported_anew(own, tmp_path):
    module = tmp_path / "changing.mjs"
    module.write_text("export const version = 1;")
    assert own.value("import {version} from './changing.mjs'; version") == 1
    module.write_text("export const version = 2;")
    os.utime(module, (1, 1))
    assert own.value("import {version} from './changing.mjs'; version") == 2


def test_a_file_that_imports_one_that_changed_is_imported_anew_and_the_others_are_not(own, tmp_path):
    (tmp_path / "outer.mjs").write_text("export * from './middle'; export * from './same.mjs';")
    (tmp_path / "middle.ts").write_text(
        "import c from './common.cjs'; import './outer.mjs'; export const seen: any = c;"
    )
    (tmp_path / "common.cjs").write_text("exports.inner = require('./inner.json').x;")
    (tmp_path / "same.mjs").write_text(
        "globalThis.loads = (globalThis.loads ?? 0) + 1; export const loads = globalThis.loads;"
    )
    inner = tmp_path / "inner.json"
    for number in (1, 2, 3):
        inner.write_text(f'{{"x": {number}}}')
        os.utime(inner, (number, number))
        for _ in range(2):
            assert own.value("import * as m from './outer.mjs'; [m.seen.inner, m.loads]") == [number, 1]
    (tmp_path / "same.mjs").write_text("export const loads = 'edited';")
    os.utime(tmp_path / "same.mjs", (1, 1))
    assert own.value("import * as m from './outer.mjs'; [m.seen.inner, m.loads]") == [3, "edited"]


def test_an_import_of_a_name_that_is_not_exported_is_an_error(shared):
    error = shared.run("\nimport {nope} from 'fs'").error
    assert error["value"] == "The requested module 'fs' does not provide an export named 'nope'"
    assert "cell-" in error["traceback"][-1]
    assert error["traceback"][-1].endswith(":2:1")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("\nimport './missing.js'", "Cannot find module '{folder}/missing.js'"),
        ("\nawait import('./missing.js')", "Cannot find module '{folder}/missing.js'"),
        ("\nimport 'no-such-package'", "Cannot find package 'no-such-package'"),
    ],
)
def test_an_import_that_finds_nothing_is_an_error_at_its_line(own, tmp_path, code, message):
    outcome = own.run(code)
    assert outcome.error["value"] == message.format(folder=tmp_path)
    assert outcome.error["traceback"][-1] == "    at async cell-1.js:2:1"


def test_errors_of_imported_files_have_the_lines_of_those_files(own, tmp_path):
    (tmp_path / "thrower.ts").write_text(
        "enum E { A }\nexport function t(a: number) {\n  throw new Error('in file')\n}\n"
    )
    (tmp_path / "broken.ts").write_text("let a: number = 1;\nlet b = = 2;\n")
    assert own.run("import {t} from './thrower'\nt(1)").error["traceback"][1:] == [
        f"    at t ({(tmp_path / 'thrower.ts').as_uri()}:3:9)",
        "    at cell-1.js:2:1",
    ]
    broken = own.run("import './broken'").error
    assert broken["traceback"][0] == f"{tmp_path / 'broken.ts'}:2"
    assert broken["traceback"][-2:] == [
        "SyntaxError [ERR_INVALID_TYPESCRIPT_SYNTAX]: Expression expected",
        "    at async cell-2.js:1:1",
    ]
