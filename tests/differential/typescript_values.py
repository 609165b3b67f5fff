"""Generates programs that print values: nested, long, unusual, formatted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.differential.typescript_sides import Program

if TYPE_CHECKING:
    from random import Random

_SCALARS: Final = (
    "undefined",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1.5",
    "1e21",
    "1e-7",
    "NaN",
    "-Infinity",
    "255n",
    "-1n",
    "Symbol()",
    "Symbol('s')",
    "Symbol.iterator",
    "Math.max",
    "()=>1",
    "async()=>{}",
    "function(){}",
    "Object(1)",
    "Object('abc')",
    "Object(false)",
    "Object(2n)",
    "Math",
    "JSON",
    "Reflect",
    "''",
    "'a'",
    "`b'\"`",
    "'l1\\nl2'",
    "'\\u0000\\u001b[1m'",
    "'ü漢🎉'",
    "'\\ud800'",
    "'x'.repeat(90)",
    "Symbol.for('k')",
    "/a'b/gi",
    '"it\'s"',
    "'say \"x\"'",
    "class{}",
    "class A { static x = 1 }",
    "new Date(0)",
    "new Date(NaN)",
    "new Uint8Array([1, 2])",
    "new Float32Array(3)",
    "Buffer.from('hi')",
    "new ArrayBuffer(3)",
    "Promise.resolve(1)",
    "new WeakMap()",
    "new URL('http://h/p?q=1')",
)
_KEYS: Final = ("a", "b1", "'c d'", "7", "[Symbol('k')]", "'é'", "constructor", "longer_key_name", "''")
_OPTIONS: Final = (
    "",
    ", { depth: 0 }",
    ", { compact: false }",
    ", { sorted: true }",
    ", { showHidden: true }",
    ", { depth: null, breakLength: 40 }",
)
_FORMATS: Final = ("%s", "%d", "%i", "%f", "%j", "%o", "%O", "%%", "%c", "%x")


def _scalar(random: Random) -> str:
    return f"({random.choice(_SCALARS)})"


def _value(random: Random, depth: int) -> str:
    if depth == 0 or random.random() < 0.35:
        return _scalar(random)
    count = random.choice((0, 1, 2, 3, 7, 30))
    items = [_value(random, depth - 1) for _ in range(min(count, 8))] * (1 if count < 8 else 4)
    pairs = ", ".join(f"{random.choice(_KEYS)}: {item}" for item in items)
    entries = ", ".join(f"[{_scalar(random)}, {item}]" for item in items)
    forms = (
        f"[{', '.join(items)}]",
        f"({{ {pairs} }})",
        f"new Map([{entries}])",
        f"new Set([{', '.join(items)}])",
        f"Object.assign(Object.create(null), {{ {pairs} }})",
        f"Object.assign(new (class Own {{ #p = 1; get g() {{ return 1 }} }})(), {{ {pairs} }})",
        f"((o) => (o.self = o, o))({{ {pairs} }})",
    )
    return random.choice(forms)


def _statement(random: Random) -> str:
    value, one = _value(random, random.randrange(4)), _scalar(random)
    text = f"JSON.stringify({value}, null, {random.choice((0, 2))})"
    forms = (
        f"console.log({value})",
        f"console.log({one}, {value}, {_scalar(random)})",
        f"console.log('{' '.join(random.choices(_FORMATS, k=3))}', {value}, {one})",
        f"console.table({value})",
        f"console.error(require('util').inspect({value}{random.choice(_OPTIONS)}))",
        f"try {{ console.log({text}) }} catch (e) {{ console.log(e.name, e.message) }}",
    )
    return random.choice(forms)


def generate_programs(random: Random, count: int) -> list[Program]:
    """Return programs of 20 statements. Half of them are TypeScript, with an annotation."""
    programs = []
    for number in range(count):
        lines = [_statement(random) for _ in range(20)]
        language = "typescript" if number % 2 else "javascript"
        if language == "typescript":
            lines.insert(0, "const typed: number = 1 as any; enum Kind { A = 'a' }; console.log(typed, Kind)")
        programs.append(Program(f"generated {number}", language, "\n".join(lines)))
    return programs
