"""The value of a cell's last expression."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("code", "text", "json_text"),
    [
        ("1 + 1", "2", "2"),
        ("'é'", "'é'", '"é"'),
        ("await Promise.resolve([1, {a: null}])", "[ 1, { a: null } ]", '[1,{"a":null}]'),
        ("new Map([[1, 2]])", "Map(1) { 1 => 2 }", None),
        ("(() => 1)", "[Function (anonymous)]", None),
        ("NaN", "NaN", None),
        ("const circle = {}; circle.self = circle; circle", "<ref *1> { self: [Circular *1] }", None),
        ("10n", "10n", None),
        ("null", "null", "null"),
        ("1, 2", "2", "2"),
        ("{a: 1, b: await 2}", "{ a: 1, b: 2 }", '{"a":1,"b":2}'),
        ("Promise.resolve(5)", "5", "5"),
        ("class Point { x = 1 }; new Point()", "Point { x: 1 }", None),
        ("5; var nothing", "5", "5"),
        ("'use strict'", "'use strict'", '"use strict"'),
        ("/* nothing */ 7 // comment", "7", "7"),
        ("#!/usr/bin/env node\n8", "8", "8"),
    ],
)
def test_the_value_of_the_last_expression_is_a_result(shared, code: str, text: str, json_text: str | None):
    expected = {"text/plain": text.encode()} | ({"application/json": json_text.encode()} if json_text else {})
    assert shared.run(code).parts == expected


@pytest.mark.parametrize(
    "code", ["undefined", "let x = 5", "console.log(1)", "if (true) { 5 }", "{ 5 }", "{}", "// nothing"]
)
def test_a_cell_without_a_last_value_has_no_result(shared, code: str):
    assert shared.run(code).parts == {}


def test_a_value_too_large_for_json_has_a_shortened_text_only(shared):
    outcome = shared.run("Array.from({length: 100}, () => 'é'.repeat(20000))")
    assert list(outcome.parts) == ["text/plain"]
    assert len(outcome.parts["text/plain"]) <= (1 << 20) + 100


def test_a_value_that_is_a_picture_or_has_a_bundle_of_its_own_is_shown_so(shared):
    assert shared.run("Buffer.from('ffd8ff00', 'hex')").parts == {
        "text/plain": b"<Buffer ff d8 ff 00>",
        "image/jpeg": b"\xff\xd8\xff\0",
    }
    code = "({ [Symbol.for('Jupyter.display')]: () => ({'text/html': '<i/>', 'text/plain': 'plain'}) })"
    assert shared.run(code).parts == {"text/html": b"<i/>", "text/plain": b"plain"}


@pytest.mark.parametrize(
    ("loop", "seen"),
    [
        ("for await (const x of [1, Promise.resolve(2)]) seen.push(x)", [1, 2]),
        ("for await (const x of (0, some())) { seen.push(x); break }", [1, "closed"]),
        ("for await (const x of await some()) seen.push(x)", [1, 2, "closed"]),
        (
            "try { for await (const x of some()) throw x } catch (thrown) { seen.push('caught', thrown) }",
            ["closed", "caught", 1],
        ),
    ],
)
def test_a_for_await_loop_runs_as_the_language_says(own, loop: str, seen: list[object]):
    some = "async function* some() { try { yield 1; yield 2 } finally { seen.push('closed') } }"
    assert own.value(f"const seen = []; {some}\n{loop};\nseen") == seen
