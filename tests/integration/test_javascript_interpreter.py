"""The JavaScript interpreter as the supervisor uses it: a real Node process behind a socketpair."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox_agent.link.frames import Frame, FrameDecoder, FrameType, Stream, encode_json, split_data
from sandbox_agent.runtime.javascript import find_node, node_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEADLINE = 30.0


@dataclass
class Outcome:
    """What one cell sent, up to its CLOSE."""

    status: str = ""
    ok: dict[str, Any] = field(default_factory=dict)
    output: list[tuple[str, bytes]] = field(default_factory=list)
    parts: dict[str, bytes] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def stdout(self) -> str:
        return b"".join(data for stream, data in self.output if stream == "STDOUT").decode()

    @property
    def stderr(self) -> str:
        return b"".join(data for stream, data in self.output if stream == "STDERR").decode()

    @property
    def text(self) -> str:
        return self.parts.get("text/plain", b"").decode()


class Interpreter:
    """A frame client and the process it talks to."""

    def __init__(self, cwd: Path, *, env: dict[str, str] | None = None, control_fd: int | None = None) -> None:
        ours, theirs = socket.socketpair()
        number = theirs.fileno() if control_fd is None else os.dup2(theirs.fileno(), control_fd)
        self.process = subprocess.Popen(
            node_command(find_node()),
            pass_fds=[number],
            env={"PATH": os.environ["PATH"], "SANDBOX_CONTROL_FD": str(number)},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if control_fd is not None:
            os.close(number)
        theirs.close()
        ours.settimeout(_DEADLINE)
        self.socket = ours
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []
        self._channel = 0
        self._send_open(0, {"op": "init", "env": env or {}, "cwd": str(cwd)})
        assert self._next() == Frame(FrameType.EVENT, 0, b'{"type":"ready"}')

    def _send_open(self, channel: int, message: dict[str, Any]) -> None:
        self.socket.sendall(encode_json(FrameType.OPEN, channel, message))

    def _next(self) -> Frame:
        while not self._frames:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError(self.process.communicate())
            self._frames.extend(self._decoder.feed(data))
        return self._frames.pop(0)

    def begin(self, code: str, language: str = "javascript") -> None:
        self._channel += 1
        body = code.encode()
        self._send_open(self._channel, {"op": "execute", "language": language, "code_bytes": len(body)})
        self.socket.sendall(b"".join(split_data(self._channel, Stream.BODY, body)))

    def finish(self, on_frame: Callable[[Frame], None] = lambda _: None) -> Outcome:
        outcome, body, sizes = Outcome(), b"", []
        while True:
            frame = self._next()
            on_frame(frame)
            assert frame.channel == self._channel
            if frame.type is FrameType.CLOSE:
                break
            if frame.type is FrameType.EVENT:
                event = frame.json()
                if event["type"] == "error":
                    outcome.error = event
                else:
                    assert (event["type"], event["is_main"]) == ("result", True)
                    sizes = event["parts"]
            elif frame.payload[0] == Stream.BODY:
                body += frame.payload[1:]
            else:
                outcome.output.append((Stream(frame.payload[0]).name, frame.payload[1:]))
        outcome.ok = frame.json()["ok"]
        outcome.status = outcome.ok["status"]
        assert len(body) == sum(size for _, size in sizes)
        for mime, size in sizes:
            outcome.parts[mime], body = body[:size], body[size:]
        return outcome

    def run(self, code: str, language: str = "javascript") -> Outcome:
        self.begin(code, language)
        return self.finish()

    def value(self, code: str, language: str = "javascript") -> Any:
        """The value of a cell that is expected to have one."""
        outcome = self.run(code, language)
        assert outcome.status == "OK", outcome
        return json.loads(outcome.parts["application/json"])

    def interrupt(self) -> None:
        self.socket.sendall(encode_json(FrameType.EVENT, 0, {"type": "interrupt"}))

    def run_interrupted(self, code: str) -> Outcome:
        """Interrupts a cell once it has printed `go`."""
        self.begin(f"console.log('go'); {code}")

        def interrupt_at_output(frame: Frame) -> None:
            if frame.type is FrameType.DATA and b"go\n" in frame.payload:
                self.interrupt()

        return self.finish(interrupt_at_output)

    def close(self) -> None:
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    """For tests that do no more than declare names of their own."""
    interpreter = Interpreter(tmp_path_factory.mktemp("shared"), env={"GREETING": "hello"})
    yield interpreter
    interpreter.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Interpreter]:
    interpreter = Interpreter(tmp_path)
    yield interpreter
    interpreter.close()


# Declarations

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
def test_what_is_declared_is_there_in_the_next_cell_and_can_be_declared_again_in_every_way(
    shared: Interpreter, first: str
) -> None:
    for second in _DECLARATIONS:
        name = re.sub(r"\W", "_", f"n_{first}_{second}")
        for kind in (first, second):
            declare, read = _DECLARATIONS[kind]
            declared = shared.run(declare.format(name))
            assert declared.status == "OK", (kind, declared.error)
            assert shared.value(read.format(name)) == kind, (first, second)


def test_a_var_without_a_value_keeps_the_one_that_is_there(shared: Interpreter) -> None:
    shared.run("let kept = 5")
    assert shared.value("var kept; kept") == 5


def test_a_function_that_replaces_a_constant_can_be_called_before_its_declaration(shared: Interpreter) -> None:
    shared.run("const early = 1")
    assert shared.value("var r = early() + early.name; function early() { return 'called ' }; r") == "called early"


def test_names_of_builtin_globals_can_be_declared(own: Interpreter) -> None:
    assert own.value("var crypto = require('crypto'); typeof crypto.createHash") == "function"
    assert own.value("const fetch = 1, URL = 2, navigator = 3; fetch + URL + navigator") == 6


def test_a_cell_that_is_no_valid_code_declares_nothing(shared: Interpreter) -> None:
    assert shared.run("let undeclared = ;").error["name"] == "SyntaxError"
    assert shared.value("typeof undeclared") == "undefined"


def test_sloppy_code_runs(shared: Interpreter) -> None:
    assert shared.value("var sum = 0; with ({a: 8}) { sum = a + 010 }; sum") == 16


def test_exported_declarations_are_plain_declarations(shared: Interpreter) -> None:
    assert (
        shared.run("export const exported = 1; export default function main() { return exported + 1 }").status == "OK"
    )
    assert shared.value("main()") == 2


# Values


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
        ("5; var nothing", "5", "5"),
        ("'use strict'", "'use strict'", '"use strict"'),
        ("/* nothing */ 7 // comment", "7", "7"),
        ("#!/usr/bin/env node\n8", "8", "8"),
    ],
)
def test_the_value_of_the_last_expression_is_a_result(
    shared: Interpreter, code: str, text: str, json_text: str | None
) -> None:
    expected = {"text/plain": text.encode()} | ({"application/json": json_text.encode()} if json_text else {})
    assert shared.run(code).parts == expected


@pytest.mark.parametrize("code", ["undefined", "let x = 5", "console.log(1)", "if (true) { 5 }", "// nothing"])
def test_a_cell_without_a_last_value_has_no_result(shared: Interpreter, code: str) -> None:
    assert shared.run(code).parts == {}


def test_a_value_too_large_for_json_has_a_shortened_text_only(shared: Interpreter) -> None:
    outcome = shared.run("Array.from({length: 100}, () => 'é'.repeat(20000))")
    assert list(outcome.parts) == ["text/plain"]
    assert len(outcome.parts["text/plain"]) <= 1 << 20


# Imports


def test_builtin_modules_are_imported_statically_and_dynamically_and_required(shared: Interpreter) -> None:
    code = "import fs, {sep} from 'node:path';\nimport * as os from 'os';\n[fs.sep, sep, typeof os.cpus]"
    assert shared.value(code) == ["/", "/", "function"]
    assert shared.value("[(await import('path')).sep, require('node:path').sep]") == ["/", "/"]


def test_packages_come_from_node_modules_upward_and_from_node_path(tmp_path: Path) -> None:
    def write_package(folder: Path, name: str, kind: str, code: str) -> None:
        package = folder / "node_modules" / name
        package.mkdir(parents=True)
        (package / "package.json").write_text(json.dumps({"name": name, "type": kind, "main": "index.js"}))
        (package / "index.js").write_text(code)

    write_package(tmp_path, "near", "module", "export default 'near'; export const named = 1;")
    write_package(tmp_path, "common", "commonjs", "module.exports = {named: 2};")
    write_package(tmp_path / "lib", "far", "module", "export const named = 3;")
    work = tmp_path / "work"
    work.mkdir()
    interpreter = Interpreter(work, env={"NODE_PATH": str(tmp_path / "lib" / "node_modules")})
    try:
        code = (
            "import near, {named as one} from 'near'; import {named as two} from 'common'; import {named} from 'far';"
        )
        assert interpreter.value(f"{code} [near, one, two, named]") == ["near", 1, 2, 3]
        assert interpreter.value("[require('common').named, require('far').named]") == [2, 3]
        missing = interpreter.run("import 'no-such-package'").error
        assert (missing["name"], missing["value"]) == ("Error", "Cannot find package 'no-such-package'")
    finally:
        interpreter.close()


def test_files_are_imported_relative_to_the_working_directory(own: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "a.mjs").write_text("export const a = 'mjs';")
    (tmp_path / "b.js").write_text("exports.b = 'js';")
    (tmp_path / "c.ts").write_text("export const c: string = 'ts'; export interface Unused {}")
    (tmp_path / "d.json").write_text('{"d": "json"}')
    code = (
        "import {a} from './a.mjs'; import {b} from './b.js'; import {c} from './c.ts'; import {c as again} from './c';"
        " import d from './d.json' with {type: 'json'}; [a, b, c, again, d.d]"
    )
    assert own.value(code) == ["mjs", "js", "ts", "ts", "json"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "e.mjs").write_text("export const e = 'sub';")
    assert own.value("process.chdir('sub'); (await import('./e.mjs')).e") == "sub"


def test_a_file_that_changed_is_imported_anew(own: Interpreter, tmp_path: Path) -> None:
    module = tmp_path / "changing.mjs"
    module.write_text("export const version = 1;")
    assert own.value("import {version} from './changing.mjs'; version") == 1
    module.write_text("export const version = 2;")
    os.utime(module, (1, 1))
    assert own.value("import {version} from './changing.mjs'; version") == 2


def test_an_import_of_a_name_that_is_not_exported_is_an_error(shared: Interpreter) -> None:
    error = shared.run("\nimport {nope} from 'fs'").error
    assert error["value"] == "The requested module 'fs' does not provide an export named 'nope'"
    assert "cell-" in error["traceback"][-1]
    assert error["traceback"][-1].endswith(":2:1")


# Output


def test_console_and_streams_keep_their_order(shared: Interpreter) -> None:
    outcome = shared.run(
        "console.log('1'); console.error('2'); process.stdout.write('3'); console.info('4'); console.debug('5');"
        "console.warn('6 %d', 6); process.stderr.write(Buffer.from('7')); console.table([[1]])"
    )
    assert outcome.output[:5] == [
        ("STDOUT", b"1\n"),
        ("STDERR", b"2\n"),
        ("STDOUT", b"34\n5\n"),
        ("STDERR", b"6 6\n7"),
        ("STDOUT", outcome.output[4][1]),
    ]


def test_ten_megabytes_arrive_complete_and_in_order(shared: Interpreter) -> None:
    outcome = shared.run("for (let n = 0; n < 200000; n++) console.log(String(n).padStart(49, '-'))")
    assert outcome.status == "OK"
    assert outcome.stdout == "".join(f"{number:->49}\n" for number in range(200000))


def test_one_string_larger_than_every_buffer_arrives_whole(shared: Interpreter) -> None:
    outcome = shared.run("process.stdout.write('é'.repeat(5e6)); void 0")
    assert outcome.stdout == "é" * 5_000_000


def test_a_reader_that_pauses_loses_nothing(own: Interpreter) -> None:
    own.begin("for (let n = 0; n < 300; n++) process.stdout.write('x'.repeat(1e5)); console.error('end')")
    paused = threading.Event()
    # Nothing is read until the process waits for room, which shows in that it stops to consume processor time.
    seen = -1
    while not paused.wait(0.1):
        ticks = int(Path(f"/proc/{own.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()[11])
        if ticks == seen:
            paused.set()
        seen = ticks
    outcome = own.finish()
    assert (len(outcome.stdout), outcome.stderr, outcome.status) == (30_000_000, "end\n", "OK")


def test_output_of_child_processes_is_on_the_descriptors_of_the_process(own: Interpreter) -> None:
    own.run("require('child_process').execSync('echo from-child; echo err >&2', {stdio: 'inherit'})")
    own.socket.close()
    stdout, stderr = own.process.communicate(timeout=_DEADLINE)
    assert (stdout, stderr) == (b"from-child\n", b"err\n")


def test_process_stdout_can_be_piped_into_any_number_of_times(own: Interpreter) -> None:
    code = "await require('stream/promises').pipeline(require('stream').Readable.from(['a', 'b']), process.stdout)"
    assert own.run(code).stdout + own.run(code).stdout == "abab"


def test_what_a_timer_prints_between_cells_comes_with_the_next_cell(own: Interpreter) -> None:
    own.run("setTimeout(() => console.log('late'), 200); void 0")
    printed = ""
    deadline = time.monotonic() + _DEADLINE
    while not printed and time.monotonic() < deadline:
        printed = own.run("1").stdout
    assert printed == "late\n"


def test_a_short_cell_is_one_write(own: Interpreter) -> None:
    # Where the machine is busy a cell is not short, so one of several will do.
    writes = []
    for _ in range(50):
        own.begin("console.log('out'); console.error('err'); 42")
        own._frames = list(FrameDecoder().feed(own.socket.recv(1 << 20)))
        writes.append([frame.type.name for frame in own._frames])
        own.finish()
    assert ["DATA", "DATA", "EVENT", "DATA", "CLOSE"] in writes


# Errors


def test_an_exception_has_the_lines_of_the_cell_and_keeps_the_state(shared: Interpreter) -> None:
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


def test_columns_of_the_first_line_are_those_of_the_cell(shared: Interpreter) -> None:
    traceback = shared.run("const a_long_name = 1; await null; throw new Error('x')").error["traceback"]
    assert traceback[-1].endswith(".js:1:42)") or traceback[-1].endswith(".js:1:42")


def test_an_asynchronous_error_has_the_line_that_awaited_it(shared: Interpreter) -> None:
    error = shared.run("import fs from 'node:fs/promises';\n\nawait fs.readFile('/no/such/file')").error
    assert error["traceback"][0].startswith("Error: ENOENT")
    assert error["traceback"][-1].endswith(".js:3:1")
    assert len(error["traceback"]) == 2


def test_an_error_of_a_function_of_an_earlier_cell_names_that_cell(shared: Interpreter) -> None:
    defined = shared.run("\nfunction fromEarlier() { throw new Error('x') }").ok["execution_count"]
    error = shared.run("fromEarlier()").error
    assert error["traceback"][1:] == [
        f"    at fromEarlier (cell-{defined}.js:2:32)",
        f"    at cell-{defined + 1}.js:1:1",
    ]


def test_causes_are_part_of_the_traceback(shared: Interpreter) -> None:
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
def test_anything_can_be_thrown(shared: Interpreter, thrown: str, name: str, value: str) -> None:
    error = shared.run(f"throw {thrown}").error
    assert (error["name"], error["value"], error["traceback"][0]) == (name, value, f"Uncaught {value}")


@pytest.mark.parametrize(
    ("code", "where"),
    [("let a = = 1", "1:9"), ("let ok = 1;\n  foo bar", "2:7"), ("x = {\n", "2:1"), ("return 5", "1:1")],
)
def test_a_syntax_error_says_where(shared: Interpreter, code: str, where: str) -> None:
    outcome = shared.run(code)
    place = f"cell-{outcome.ok['execution_count']}.js:{where}"
    assert (outcome.status, outcome.error["name"], outcome.error["traceback"][0]) == ("ERROR", "SyntaxError", place)
    assert outcome.error["value"].endswith(f"({place})")


def test_a_syntax_error_that_only_the_engine_finds_declares_nothing(shared: Interpreter) -> None:
    outcome = shared.run("let fine = 1;\nlet undefined = 5;")
    assert (outcome.status, outcome.error["name"]) == ("ERROR", "SyntaxError")
    assert shared.value("typeof fine") == "undefined"
    assert shared.value("var fine = 3; fine") == 3


def test_errors_outside_of_the_cells_own_code_are_told_on_stderr_and_end_nothing(own: Interpreter) -> None:
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
def test_process_exit_ends_the_cell_and_not_the_process(
    shared: Interpreter, code: str, status: str, value: str | None
) -> None:
    shared.run("var survivor = 'here'")
    outcome = shared.run(code)
    error = {"type": "error", "name": "ProcessExit", "value": value, "traceback": []} if value else {}
    assert (outcome.status, outcome.error) == (status, error)
    assert shared.value("survivor") == "here"


# TypeScript


def test_typescript_and_javascript_share_their_variables(shared: Interpreter) -> None:
    shared.run("const typed: number = 20 as any", "typescript")
    assert shared.value("typed + 1") == 21
    assert shared.value("let back: number = typed! + 2; back", "typescript") == 22


def test_types_are_taken_out_and_enums_are_kept(shared: Interpreter) -> None:
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
def test_lines_are_those_of_the_typescript_that_was_written(shared: Interpreter, extra: str) -> None:
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


def test_javascript_is_not_read_as_typescript(shared: Interpreter) -> None:
    assert shared.run("let a: number = 1").error["name"] == "SyntaxError"
    # A call with type arguments in TypeScript, two comparisons in JavaScript.
    assert shared.value("var f = 1, g = 2; f<g>(7)") is False


def test_decorators_are_refused_by_name(shared: Interpreter) -> None:
    error = shared.run("const d = (x: any) => x;\n@d class A {}", "typescript").error
    assert error["value"].startswith("Decorators are not supported (cell-")
    assert error["traceback"][0].endswith(".ts:2:1")


# Interrupts


@pytest.mark.parametrize(
    "code",
    [
        "while (true) {}",
        "await new Promise(() => {})",
        "for (;;) await null",
        "for (;;) { await new Promise((resolve) => setTimeout(resolve, 1)); ticks++ }",
        "for (;;) { try { for (;;) {} } catch {} finally {} }",
        "(function spin() { for (;;) {} })()",
        "setTimeout(() => { for (;;) {} }); await new Promise(() => {})",
        "for (;;) console.log('x'.repeat(1000))",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
        "require('child_process').execSync('sleep 60')",
    ],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_state(own: Interpreter, code: str) -> None:
    own.run("let ticks = 0, kept = [1]")
    start = time.monotonic()
    assert own.run_interrupted(code).status == "INTERRUPTED"
    assert time.monotonic() - start < 10
    assert own.value("kept.push(2); kept") == [1, 2]
    assert own.run("console.log('still prints')").stdout.endswith("still prints\n")
    before = own.value("ticks")
    assert own.value("await new Promise((resolve) => setTimeout(resolve, 20)); ticks") <= before + 1


def test_an_interrupt_without_a_cell_changes_nothing(own: Interpreter) -> None:
    own.interrupt()
    assert own.value("1 + 1") == 2


# The process


def test_environment_and_working_directory_are_those_of_init(shared: Interpreter) -> None:
    assert shared.value(
        "[process.env.GREETING, process.cwd() === __dirname, process.env.SANDBOX_CONTROL_FD ?? null]"
    ) == [
        "hello",
        True,
        None,
    ]


def test_user_code_sees_a_plain_node(shared: Interpreter) -> None:
    assert shared.value("[process.argv.length, process.execArgv, require.main === module]") == [1, [], True]
    assert shared.run("require('internal/deps/acorn/acorn/dist/acorn')").error["value"].startswith("Cannot find module")


@pytest.mark.parametrize("control_fd", [None, 60])
def test_children_do_not_inherit_the_control_socket(tmp_path: Path, control_fd: int | None) -> None:
    interpreter = Interpreter(tmp_path, control_fd=control_fd)
    try:
        listing = interpreter.value(
            "require('child_process').execFileSync("
            f"{json.dumps(sys.executable)}, ['-c', `import os, stat\n"
            "for fd in range(3, 100):\n"
            "    try: print(stat.S_ISSOCK(os.fstat(fd).st_mode))\n"
            "    except OSError: pass`]).toString()"
        )
        assert "True" not in listing
    finally:
        interpreter.close()


def test_the_process_ends_when_its_supervisor_is_gone(own: Interpreter) -> None:
    own.begin("for (;;) {}")
    own.socket.close()
    assert own.process.wait(timeout=_DEADLINE) == -signal.SIGKILL


def test_an_unknown_operation_is_refused(own: Interpreter) -> None:
    own._send_open(7, {"op": "nonsense"})
    assert own._next().json()["error"]["code"] == "UNIMPLEMENTED"
    assert own.value("1") == 1


def test_cells_sent_at_once_run_one_after_the_other(own: Interpreter) -> None:
    own.begin("let order = []; await new Promise((resolve) => setTimeout(resolve, 5)); order.push('first')")
    own.begin("order.push('second'); order")
    own._channel = 1
    own.finish()
    own._channel = 2
    assert json.loads(own.finish().parts["application/json"]) == ["first", "second"]


def test_latency_of_a_small_cell_is_reported(own: Interpreter, record_property: Callable[[str, object], None]) -> None:
    times = []
    for _ in range(200):
        start = time.perf_counter()
        own.run("1 + 1")
        times.append(time.perf_counter() - start)
    record_property("p50_ms", round(sorted(times)[100] * 1000, 3))


def test_node_is_found_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    monkeypatch.setenv("SANDBOX_NODE", str(node))
    assert find_node() == str(node)
    monkeypatch.setenv("SANDBOX_NODE", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError, match="SANDBOX_NODE"):
        find_node()
