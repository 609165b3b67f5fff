"""TypeScript cells."""

from __future__ import annotations

import pytest


def test_typescript_and_javascript_share_their_variables(shared):
    shared.run("const typed: number = 20 as any", "typescript")
    assert shared.value("typed + 1") == 21
    assert shared.value("let back: number = typed! + 2; back", "typescript") == 22


def test_types_are_taken_out_and_enums_are_kept(shared):
    code = """
import type { PathLike } from 'node:fs';
enum Color { Red = 1, Blue }
namespace Space { export const inside = 5 }
interface Named<T> { name: T }
type Pair<A, B = A> = [A, B];
abstract class Base<T> { constructor(protected readonly value: T) {} abstract get(): T }
class Derived extends Base<number> { get(): number { return this.value } }
function identity<T extends object>(value: T): T { return value }
const named = <T,>(name: T): Named<T> => ({ name });
const pair: Pair<string> = ['a', 'b'] satisfies string[];
[Color.Blue, Color[1], Space.inside, new Derived(7).get(), identity<{a: number}>({a: 1}), named('n'), pair]
"""
    assert shared.value(code, "typescript") == [2, "Red", 5, 7, {"a": 1}, {"name": "n"}, ["a", "b"]]
    assert shared.value("Color.Red") == 1


@pytest.mark.parametrize("extra", ["", "enum Extra { A }\n"])
def test_lines_are_those_of_the_typescript_that_was_written(shared, extra: str):
    code = (
        extra
        + "interface I {\n  a: number\n}\n\nfunction thrower(x: I): never {\n  throw new Error('typed')\n}\n"
        + "thrower({a: 1})"
    )
    outcome = shared.run(code, "typescript")
    file = f"cell-{outcome.ok['execution_count']}.ts"
    shift = extra.count("\n")
    assert outcome.error["traceback"] == [
        "Error: typed",
        f"    at thrower ({file}:{6 + shift}:9)",
        f"    at {file}:{8 + shift}:1",
    ]


def test_javascript_is_not_read_as_typescript(shared):
    assert shared.run("let a: number = 1").error["name"] == "SyntaxError"
    # A call with type arguments in TypeScript, two comparisons in JavaScript.
    assert shared.value("var f = 1, g = 2; f<g>(7)") is False


def test_an_enum_or_namespace_that_is_declared_again_is_a_new_one(shared):
    shared.run("enum Again { A = 1 } namespace Space { export const old = 1 }", "typescript")
    code = "enum Again { B = 2 } namespace Space { export const made = 1 } enum Again { C = 3 }\n"
    assert shared.value(code + "[Again, Object.keys(Space)]", "typescript") == [
        {"2": "B", "3": "C", "B": 2, "C": 3},
        ["made"],
    ]
    merged = "function Both() { return 1 } namespace Both { export const member = 2 }\n[Both(), Both.member]"
    assert [shared.value(merged, "typescript") for _ in range(2)] == [[1, 2], [1, 2]]


def test_positions_are_right_in_output_too_where_the_code_was_transformed(shared):
    code = "enum Far { A }\ninterface I {\n  a: number\n}\nconst late = async (x: I): Promise<never> => {\n"
    code += (
        "  await null\n  throw new Error('async')\n}\nlate({a: 1}).catch((error) => console.log(error.stack))\nawait 1"
    )
    outcome = shared.run(code, "typescript")
    assert outcome.stdout == f"Error: async\n    at late (cell-{outcome.ok['execution_count']}.ts:7:9)\n"
