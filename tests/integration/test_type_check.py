"""R9, type errors on request: the real checker in a local session."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox_client import FailedPrecondition, InvalidArgument, Sandbox, Status
from sandbox_runtime.typecheck import HOW_TO_GET_IT, find_checker

if TYPE_CHECKING:
    from collections.abc import Iterator

CELL = """
import { readFileSync } from 'node:fs';
interface Point { x: number; y: number }
const points: Point[] = Array.from({ length: 10 }, (_, i) => ({ x: i, y: i * i }));
function size(p: Point): number { return Math.hypot(p.x, p.y) }
class Shape<T extends Point> {
  constructor(private items: T[]) {}
  total(): number { return this.items.reduce((sum, p) => sum + size(p), 0) }
}
const shape = new Shape(points);
const total: string = shape.total();
const map = new Map<string, Point>();
for (const p of points) map.set(`${p.x}`, p);
const sorted = [...map.values()].sort((a, b) => a.x - b.x);
async function later(ms: number): Promise<Point> { await new Promise((r) => setTimeout(r, ms)); return points[0]! }
const first = await later(1);
console.log(first.z, sorted.length);
type Keys = keyof Point;
const key: Keys = 'q';
readFileSync('x', 'utf8').toFixed();
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    assert find_checker(Path("/nonexistent")), HOW_TO_GET_IT
    with Sandbox.local() as session:
        yield session


@pytest.fixture
def context(sandbox) -> Iterator[str]:
    made = sandbox.contexts.create("typescript").id
    yield made
    sandbox.contexts.delete(made)


def checker_of(sandbox) -> int:
    """The process id of a session's checker."""
    root = sandbox.run("pwd -P").stdout.strip()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == Path(root) and (process / "exe").readlink().name == "tsc":
                return int(process.name)
    raise AssertionError("no checker runs")


def places(diagnostics) -> list[tuple[int, int, int]]:
    return [(found.line, found.column, found.code) for found in diagnostics]


def test_r9_type_errors_are_given_with_their_places_on_request(sandbox):
    found = sandbox.check_types(CELL)
    assert places(found) == [(11, 7, 2322), (17, 19, 2339), (19, 7, 2322), (20, 27, 2551)]
    assert found[0].message == "Type 'number' is not assignable to type 'string'."
    assert str(found[1]) == "17:19 - error TS2339: Property 'z' does not exist on type 'Point'."
    assert sandbox.run_code("typeof points", "typescript").text == "'undefined'"
    assert sandbox.check_types(CELL.replace("total: string", "total: number").split("console", maxsplit=1)[0]) == ()


def test_r9_the_declarations_of_earlier_cells_are_known(sandbox, context):
    sandbox.run_code(
        "const n: number = 1; let text = 'x'; enum Color { Red }\ninterface Point<T> { x: T }\n"
        "type Pair<A> = [A, A]; namespace Space { export const inside = 5 }\n"
        "class Box<T> { constructor(public value: T) {} }\n"
        "function over(a: string): string; function over(a: number): number; function over(a: any) { return a }\n"
        "import { readFileSync as read } from 'node:fs'; import type { Stats } from 'node:fs';\n"
        "for (const block of [1]) { const hidden = block }",
        "typescript",
        context=context,
    )
    sandbox.run_code("let plain = [1].map((x) => ({ y: x }))", "javascript", context=context)
    sandbox.run_code("const broken = = 1", "typescript", context=context)
    code = """n.foo
text = 5
Color.Blue
const p: Point<number> = { x: 's' }
const pair: Pair<string> = ['a', 1]
Space.inside.foo
new Box(3).value.foo
over(true)
read(true)
let stats: Stats = 4
plain[0].y.foo
hidden
broken
Space.inside + over(5) + text.length + read('x').length + new Box('s').value.length"""
    found = sandbox.check_types(code, context=context)
    codes = [2339, 2322, 2339, 2322, 2322, 2339, 2339, 2769, 2345, 2322, 2339, 2304, 2304]
    assert [(item.line, item.code) for item in found] == list(enumerate(codes, start=1))


def test_r9_a_name_that_is_declared_again_has_its_new_type(sandbox, context):
    sandbox.run_code("const value = 1", "typescript", context=context)
    assert sandbox.check_types("const value = 'text'; value.toUpperCase()", context=context) == ()
    sandbox.run_code("const value = 'text'", "typescript", context=context)
    assert sandbox.check_types("value.toUpperCase()", context=context) == ()
    sandbox.contexts.restart(context)
    assert places(sandbox.check_types("value", context=context)) == [(1, 1, 2304)]


def test_r9_a_cell_with_type_errors_runs_or_not_as_asked(sandbox, context):
    code = "const wrong: number = 'text' as any as string; wrong"
    reported = sandbox.run_code(code, "typescript", context=context, type_check="report")
    assert (reported.ok, reported.text, places(reported.diagnostics)) == (True, "'text'", [(1, 7, 2322)])
    refused = sandbox.run_code(f"{code}; globalThis.ran = 1", "typescript", context=context, type_check="require")
    assert refused.status is Status.ERROR
    assert (refused.error.name, refused.error.value) == ("TypeCheckError", "2 type errors; the cell did not run")
    assert refused.error.traceback[0] == "1:7 - error TS2322: Type 'string' is not assignable to type 'number'."
    assert sandbox.run_code("'ran' in globalThis", "typescript", context=context).text == "false"
    clean = sandbox.run_code("const right: number = 2; right", "typescript", context=context, type_check="require")
    assert (clean.text, clean.diagnostics, clean.error) == ("2", (), None)


def test_r9_imports_are_checked_as_the_files_are_now(sandbox):
    sandbox.files.write("helper.ts", "export const made: number = 5;\n")
    assert [item.message for item in sandbox.check_types("import { made } from './helper'; made.foo")] == [
        "Property 'foo' does not exist on type 'number'."
    ]
    sandbox.files.write("helper.ts", "export const made: string = 'now text';\n")
    assert sandbox.check_types("import { made } from './helper.ts'; made.toUpperCase()") == ()
    sandbox.files.write("node_modules/typed/package.json", '{"name": "typed", "types": "index.d.ts"}')
    sandbox.files.write("node_modules/typed/index.d.ts", "export function typed(): number;\n")
    found = sandbox.check_types("import { typed } from 'typed'; typed().foo; import 'not-there'; display.html('x')")
    assert [item.code for item in found] == [2339, 2882]


def test_r9_a_checker_that_dies_is_started_again(sandbox):
    assert sandbox.check_types("let sum: number = 1") == ()
    os.kill(checker_of(sandbox), signal.SIGKILL)
    assert places(sandbox.check_types("let sum: number = ''")) == [(1, 5, 2322)]


def test_r9_a_check_ends_at_its_time_limit_and_the_variables_stay(sandbox, context):
    sandbox.run_code("let kept = 1", "typescript", context=context)
    grow = "N['length'] extends 900 ? T : Grow<`${T}a`, [...N, 0]>"
    endless = f"type Grow<T extends string, N extends number[] = []> = {grow};\n"
    endless += "".join(f"let x{k}: Grow<'{k}'>;\n" for k in range(3000))
    start = time.monotonic()
    outcome = sandbox.run_code(endless, "typescript", context=context, type_check="require", timeout=1.0)
    assert outcome.status is Status.TIMED_OUT
    assert time.monotonic() - start < 20
    assert sandbox.run_code("kept", "typescript", context=context).text == "1"


def test_r9_only_typescript_is_checked_and_only_in_ways_that_exist(sandbox):
    for language in ("python", "javascript"):
        with pytest.raises(InvalidArgument, match="typescript") as caught:
            sandbox.run_code("1", language, type_check="require")
        assert caught.value.field == "type_check"
    with pytest.raises(InvalidArgument, match=r"report, require"):
        sandbox.run_code("1", "typescript", type_check="maybe")


def test_r9_without_a_checker_the_error_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SANDBOX_TYPE_CHECKER", str(tmp_path))
    with Sandbox.local() as session:
        with pytest.raises(FailedPrecondition, match=r"sandbox_runtime\.typecheck") as caught:
            session.check_types("1")
        assert caught.value.reason == "NO_TYPE_CHECKER"


def test_r9_time_of_a_warm_check_is_reported(sandbox, record_property):
    sandbox.check_types(CELL)
    times = []
    for number in range(20):
        start = time.perf_counter()
        sandbox.check_types(CELL.replace("points", f"points{number}"))
        times.append(time.perf_counter() - start)
    record_property("p50_ms", round(sorted(times)[10] * 1000, 1))


def test_cells_with_jsx_are_checked_as_such_and_known_in_the_next_ones(sandbox, context):
    code = (
        "/** @jsx h */\n"
        "const h = (tag: any, props: any, ...children: any[]) => ({ tag, props, children });\n"
        "const page = <p id='a'>{5}</p>;\n"
        "const size: number = 5;\n"
    )
    done = sandbox.run_code(code, "typescript", context=context, type_check="require")
    assert (done.error, done.diagnostics) == (None, ())
    assert places(sandbox.check_types("/** @jsx h */\nconst b = <b>{size.foo}</b>", context=context)) == [(2, 20, 2339)]
    assert places(sandbox.check_types("size.foo", context=context)) == [(1, 6, 2339)]
    # No JSX, although it has what looks like it.
    assert sandbox.check_types("const f = <T>(x: T): string => '</b>'; f(1)", context=context) == ()
