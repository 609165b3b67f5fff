"""What a cell declares, and declares again."""

from __future__ import annotations

import re

import pytest

_DECLARATIONS = {
    "let": ("let {0} = 'let';", "{0}"),
    "const": ("const {0} = 'const';", "{0}"),
    "var": ("var {0} = 'var';", "{0}"),
    "function": ("function {0}() {{ return 'function'; }}", "{0}() + ({0}.name === '{0}' ? '' : {0}.name)"),
    "async function": ("async function {0}() {{ return 'async function'; }}", "await {0}()"),
    "class": ("class {0} {{ static kind = 'class'; }}", "{0}.kind"),
    "destructuring": ("const {{a: {0}, rest_{0} = 1}} = {{a: 'destructuring'}};", "{0}"),
    "uninitialized let": ("let {0};", "{0} ?? 'uninitialized let'"),
    "loop var": ("for (var {0} of ['loop var']) {{}}", "{0}"),
    "counting loop": ("for (var {0} = 0, end_{0} = 3; {0} < end_{0}; {0}++) {{}}", "{0} === 3 ? 'counting loop' : {0}"),
    "import": ("import {{sep as {0}}} from 'node:path';", "{0} === '/' ? 'import' : {0}"),
    "namespace import": ("import * as {0} from 'node:path';", "{0}.sep === '/' ? 'namespace import' : {0}"),
}


@pytest.mark.parametrize("first", _DECLARATIONS)
def test_what_is_declared_is_there_in_the_next_cell_and_can_be_declared_again_in_every_way(shared, first: str):
    for second in _DECLARATIONS:
        name = re.sub(r"\W", "_", f"n_{first}_{second}")
        for kind in (first, second):
            declare, read = _DECLARATIONS[kind]
            declared = shared.run(declare.format(name))
            assert declared.status == "OK", (kind, declared.error)
            assert shared.value(read.format(name)) == kind, (first, second)


def test_a_var_without_a_value_keeps_the_one_that_is_there(shared):
    shared.run("let kept = 5")
    assert shared.value("var kept; kept") == 5


def test_a_function_that_replaces_a_constant_can_be_called_before_its_declaration(shared):
    shared.run("const early = 1")
    assert shared.value("var r = early() + early.name; function early() { return 'called ' }; r") == "called early"


def test_names_of_builtin_globals_can_be_declared(own):
    assert own.value("var crypto = require('crypto'); typeof crypto.createHash") == "function"
    assert own.value("const fetch = 1, URL = 2, navigator = 3; fetch + URL + navigator") == 6


def test_a_cell_that_is_no_valid_code_declares_nothing(shared):
    assert shared.run("let undeclared = ;").error["name"] == "SyntaxError"
    assert shared.value("typeof undeclared") == "undefined"


def test_sloppy_code_runs(shared):
    assert shared.value("var sum = 0; with ({a: 8}) { sum = a + 010 }; sum") == 16


def test_exported_declarations_are_plain_declarations(shared):
    assert (
        shared.run("export const exported = 1; export default function main() { return exported + 1 }").status == "OK"
    )
    assert shared.value("main()") == 2


@pytest.mark.parametrize(
    "code",
    [
        "fixed = 2",
        "fixed += 1",
        "fixed++",
        "[fixed] = [2]",
        "({fixed} = {})",
        "({a: fixed = 5} = {})",
        "({...fixed} = {})",
        "for (fixed of [2]) {}",
        "(() => { fixed = 2 })()",
        "const fixed = 1; fixed = 2",
    ],
)
def test_a_constant_cannot_be_assigned_to_also_by_a_later_cell(shared, code):
    shared.run("const fixed = 1")
    error = shared.run(code).error
    assert (error["name"], error["value"]) == ("TypeError", "Assignment to constant variable.")
    assert shared.value("fixed") == 1


def test_what_only_has_the_name_of_a_constant_can_be_assigned_to(shared):
    shared.run("const outer = 1")
    code = """
function parameter(outer) { outer = 2; return outer }
const inner = (() => { var outer; outer = 3; return outer })();
let block = 0;
{ let outer = 3; outer = 4; block = outer }
try { throw 1 } catch (outer) { outer = 5 }
for (let outer = 0; outer < 1; outer++);
[parameter(1), inner, block, outer]
"""
    assert shared.value(code) == [2, 3, 4, 1]
    assert shared.value("let outer = 5; outer = 6; outer") == 6
    assert shared.value("outer = 7; outer") == 7
