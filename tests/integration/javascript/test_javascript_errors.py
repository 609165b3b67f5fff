"""Exceptions, syntax errors, process.exit."""

from __future__ import annotations

import pytest


def test_an_exception_has_the_lines_of_the_cell_and_keeps_the_state(shared):
    outcome = shared.run(
        "let before = 1;\nfunction fail() {\n  throw new RangeError('too far');\n}\nbefore = 2; fail()"
    )
    file = f"cell-{outcome.ok['execution_count']}.js"
    assert outcome.status == "ERROR"
    assert outcome.error == {
        "type": "error",
        "name": "RangeError",
        "value": "too far",
        "traceback": ["RangeError: too far", f"    at fail ({file}:3:9)", f"    at {file}:5:13"],
    }
    assert shared.value("before") == 2


def test_columns_of_the_first_line_are_those_of_the_cell(shared):
    traceback = shared.run("const a_long_name = 1; await null; throw new Error('x')").error["traceback"]
    assert traceback[-1].endswith(".js:1:42)") or traceback[-1].endswith(".js:1:42")


def test_an_asynchronous_error_has_the_line_that_awaited_it(shared):
    error = shared.run("import fs from 'node:fs/promises';\n\nawait fs.readFile('/no/such/file')").error
    assert error["traceback"][0].startswith("Error: ENOENT")
    assert error["traceback"][-1].endswith(".js:3:1")
    assert len(error["traceback"]) == 2


def test_an_error_of_a_function_of_an_earlier_cell_names_that_cell(shared):
    defined = shared.run("\nfunction fromEarlier() { throw new Error('x') }").ok["execution_count"]
    error = shared.run("fromEarlier()").error
    assert error["traceback"][1:] == [
        f"    at fromEarlier (cell-{defined}.js:2:32)",
        f"    at cell-{defined + 1}.js:1:1",
    ]


def test_what_no_for_await_can_go_through_is_named(shared):
    error = shared.run("const rows = 7;\nfor await (const row of rows) console.log(row)").error
    assert (error["name"], error["value"]) == ("TypeError", "rows is not async iterable")
    assert error["traceback"][1].endswith(".js:2:25")


def test_causes_are_part_of_the_traceback(shared):
    error = shared.run("throw new Error('outer', {cause: new TypeError('inner')})").error
    assert [line for line in error["traceback"] if not line.startswith("    at")] == [
        "Error: outer",
        "[cause]: TypeError: inner",
    ]


@pytest.mark.parametrize(
    ("thrown", "name", "value"),
    [
        ("'text'", "Error", "text"),
        ("5", "Error", "5"),
        ("null", "Error", "null"),
        ("undefined", "Error", "undefined"),
        ("Symbol('s')", "Error", "Symbol(s)"),
        ("{a: 1}", "Object", "{ a: 1 }"),
    ],
)
def test_anything_can_be_thrown(shared, thrown: str, name: str, value: str):
    error = shared.run(f"throw {thrown}").error
    assert (error["name"], error["value"], error["traceback"][0]) == (name, value, f"Uncaught {value}")


@pytest.mark.parametrize(
    ("code", "where"),
    [("let a = = 1", "1:9"), ("let ok = 1;\n  foo bar", "2:7"), ("x = {\n", "2:1"), ("return 5", "1:1")],
)
def test_a_syntax_error_says_where(shared, code: str, where: str):
    outcome = shared.run(code)
    place = f"cell-{outcome.ok['execution_count']}.js:{where}"
    assert (outcome.status, outcome.error["name"], outcome.error["traceback"][0]) == ("ERROR", "SyntaxError", place)
    assert outcome.error["value"].endswith(f"({place})")


def test_a_syntax_error_that_only_the_engine_finds_declares_nothing(shared):
    outcome = shared.run("let fine = 1;\nlet undefined = 5;")
    assert (outcome.status, outcome.error["name"]) == ("ERROR", "SyntaxError")
    assert shared.value("typeof fine") == "undefined"
    assert shared.value("var fine = 3; fine") == 3


def test_errors_outside_of_the_cells_own_code_are_told_on_stderr_and_end_nothing(own):
    wait = "await new Promise((resolve) => setTimeout(resolve, 20)); 'alive'"
    rejected = own.run(f"Promise.reject(new Error('rejected'));\n{wait}")
    assert (rejected.text, rejected.stderr) == ("'alive'", "Uncaught Error: rejected\n    at cell-1.js:1:16\n")
    thrown = own.run(f"setTimeout(() => {{ throw new Error('thrown') }});\n{wait}")
    assert thrown.text == "'alive'"
    assert thrown.stderr.startswith("Uncaught Error: thrown\n    at Timeout._onTimeout (cell-2.js:1:26)")


@pytest.mark.parametrize(
    ("code", "status", "value"),
    [
        ("process.exit(3)", "ERROR", "3"),
        ("process.exit(0)", "OK", None),
        ("process.exit()", "OK", None),
        ("try { process.exit(4) } catch {}; await new Promise(() => {})", "ERROR", "4"),
        ("try { process.exit(5) } catch {}; for (;;) {}", "ERROR", "5"),
        ("setTimeout(() => process.exit(6), 1); await new Promise(() => {})", "ERROR", "6"),
        ("(function later() { console.log('x'); process.exit(7) })()", "ERROR", "7"),
    ],
)
def test_process_exit_ends_the_cell_and_not_the_process(shared, code: str, status: str, value: str | None):
    shared.run("var survivor = 'here'")
    outcome = shared.run(code)
    error = {"type": "error", "name": "ProcessExit", "value": value, "traceback": []} if value else {}
    assert (outcome.status, outcome.error) == (status, error)
    assert shared.value("survivor") == "here"


def test_an_object_that_inherits_from_error_is_described_as_one(shared):
    error = shared.run("throw Object.create(Error.prototype)").error
    assert (error["name"], error["value"], error["traceback"]) == ("Error", "", ["Error: "])
