"""Code that replaces what the built-in objects have breaks itself at most: the cells after it run as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.integration.javascript.conftest import Interpreter

# Node's own symbols are left alone. The species of Promise cannot be changed: the engine's inspector needs it.
_THROWING: Final = """
var known = new Set([Symbol.iterator, Symbol.asyncIterator, Symbol.replace, Symbol.match, Symbol.split]);
known.has = known.has; // its own, before the prototype is patched
var { ownKeys, getOwnPropertyDescriptor, defineProperty } = Reflect;
for (const holder of [%s]) {
  for (const key of ownKeys(holder)) {
    if (key === 'constructor' || key === Symbol.species) continue;
    if (typeof key === 'symbol' && !known.has(key)) continue;
    const descriptor = getOwnPropertyDescriptor(holder, key);
    if (!descriptor.configurable) {
      if (descriptor.writable && typeof descriptor.value === 'function') holder[key] = fail;
    } else if (descriptor.get) defineProperty(holder, key, { ...descriptor, get: fail });
    else if (typeof descriptor.value === 'function') defineProperty(holder, key, { ...descriptor, value: fail });
  }
}
"""
_FAIL: Final = """
var picture = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
var fail = function fail() { throw 'patched'; };
"""
_HOLDERS: Final = [
    "Array",
    "Array.prototype",
    "[][Symbol.iterator]().__proto__",
    "Iterator.prototype",
    "ArrayBuffer.prototype, SharedArrayBuffer.prototype",
    "Atomics",
    "AsyncDisposableStack.prototype, DisposableStack.prototype",
    "BigInt, BigInt.prototype",
    "Boolean.prototype",
    "Buffer",
    "Buffer.prototype",
    "DataView.prototype",
    "Date, Date.prototype",
    "Error, Error.prototype",
    "Function.prototype",
    "JSON",
    "Map, Map.prototype, new Map()[Symbol.iterator]().__proto__",
    "Math",
    "Number, Number.prototype",
    "Promise",
    "Promise.prototype",
    "Proxy",
    "Reflect",
    "RegExp, RegExp.prototype",
    "Set.prototype, new Set()[Symbol.iterator]().__proto__",
    "String, String.prototype",
    "Symbol, Symbol.prototype",
    "TextEncoder.prototype, TextDecoder.prototype",
    "URL, URL.prototype, URLSearchParams.prototype",
    "Uint8Array, Uint8Array.prototype, Uint8Array.__proto__, Uint8Array.prototype.__proto__",
    "WeakMap.prototype, WeakSet.prototype, WeakRef.prototype",
    "(function* () {}).prototype.__proto__.__proto__",
    "(async function* () {}).prototype.__proto__.__proto__",
    "require('async_hooks').AsyncLocalStorage.prototype",
    "require('child_process')",
    "require('events').prototype",
    "require('fs')",
    "require('module')",
    "require('path')",
    "require('stream').Writable.prototype",
    "require('url')",
    "require('util')",
    "require('vm')",
    "require('worker_threads').MessagePort.prototype, EventTarget.prototype",
]
_OTHERS: Final = {
    "Object": _THROWING.replace("%s", "Object"),
    "setters and getters": """
for (const key of ['then', 'toJSON', 'get', 'set', 'value', 'enumerable', 'configurable', 'type', 'late', 'id'])
  Object.defineProperty(Object.prototype, key, {
    __proto__: null,
    get: key === 'get' || key === 'set' ? undefined : fail,
    set: fail,
    configurable: true,
  });
""",
    "setters of indices": """
for (const holder of [Array.prototype, Object.prototype])
  for (const index of [0, 1, 2]) Object.defineProperty(holder, index, { set: fail, get: fail, configurable: true });
""",
    "values of indices": "for (const index of [0, 1, 2]) Object.defineProperty(Array.prototype, index, { value: 5 });",
    "more setters and getters": """
for (const key of ['message', 'stack', 'name', 'cause', 'code', 'errors', 'resolve', 'reject', 'promise', 'stdio', 'fd',
    'env', 'next', 'done', 'return', 'status', 'error', 'kind', 'raw', 'number', 'source', 'map', 'format', 'ports'])
  Object.defineProperty(Object.prototype, key, { __proto__: null, get: fail, set: fail, configurable: true });
""",
    "values everywhere": """
for (const key of ['then', 'toJSON', 'type', 'value', 'get', 'set', 'writable', 'enumerable', 'late', 'next', 'done'])
  Object.defineProperty(Object.prototype, key, { __proto__: null, value: fail, writable: true, configurable: true });
""",
    "a thenable prototype": "Object.prototype.then = (resolve) => resolve(7);",
    "a prototype that is a proxy": """
Object.setPrototypeOf(Array.prototype, new Proxy({}, { get: fail, has: fail, set: fail, ownKeys: fail }));
""",
    "no prototypes": """
for (const type of [Array, Function, Promise, Error]) Object.setPrototypeOf(type.prototype, null);
""",
    "frozen prototypes": """
for (const type of [Object, Array, Function, Promise, Error, String, Map, Set, RegExp, Uint8Array]) {
  Object.freeze(type);
  Object.freeze(type.prototype);
}
""",
    "conversions": """
for (const type of [Object, String, Number, Array, Error]) {
  type.prototype.toString = type.prototype.valueOf = fail;
  Object.defineProperty(type.prototype, Symbol.toPrimitive, { value: fail, configurable: true });
}
""",
    "species": """
for (const type of [Array, Map, Set, RegExp, ArrayBuffer, Uint8Array.__proto__])
  Object.defineProperty(type, Symbol.species, { get: fail, configurable: true });
""",
    "the limit of stack traces": "Object.defineProperty(Error, 'stackTraceLimit', { get: fail, set: fail });",
    "the module loader": """
const M = require('module');
M._load = M._resolveFilename = M._extensions['.js'] = M.prototype.require = M.prototype._compile = fail;
""",
    "listeners of the process": """
for (const name of ['unhandledRejection', 'warning', 'rejectionHandled', 'beforeExit', 'exit']) process.on(name, fail);
""",
    "constructors": "Promise.prototype.constructor = Array.prototype.constructor = RegExp.prototype.constructor = fail",
    "stack traces": "Error.prepareStackTrace = fail; Error.stackTraceLimit = 0;",
    "timers": "globalThis.setTimeout = globalThis.queueMicrotask = globalThis.setImmediate = process.nextTick = fail;",
    "process": "process.emit = process.on = process.cwd = process.listenerCount = process.binding = fail;",
    "constructors of the engine": "globalThis.Promise = globalThis.structuredClone = globalThis.Error = fail;",
    "options of inspect": "require('util').inspect.defaultOptions.depth = 0; require('util').inspect = fail;",
    "has instance": """
for (const type of [Error, Uint8Array, ArrayBuffer, Promise, Array])
  Object.defineProperty(type, Symbol.hasInstance, { value: fail, configurable: true });
""",
}
_WITHOUT_JSON: Final = {"setters and getters", "values everywhere", "a prototype that is a proxy"}
"""Patches of `toJSON`, which belongs to the value."""
_PATCHES: Final = {holder: _THROWING.replace("%s", holder) for holder in _HOLDERS} | _OTHERS
_TEXTS: Final = {
    "{ a: [ 1, 'x' ] }",
    '{"a":[1,"x"]}',
    "[object]",
}  # the others if Node's inspect has lost what it needs


@pytest.mark.parametrize("patch", _PATCHES)
def test_a_patched_object_does_not_reach_the_runtime(own: Interpreter, patch: str):
    patched = own.run(f"{_FAIL}\n{_PATCHES[patch]}\nvoid 0")
    assert patched.status == "OK", patched.error
    assert own.run("1 + 1").text == "2"
    assert own.run('console.log("x")').stdout == "x\n"
    plain = own.run("({a: [1, 'x']})")
    assert plain.text in _TEXTS
    assert plain.parts.get("application/json") == (None if patch in _WITHOUT_JSON else b'{"a":[1,"x"]}')
    assert own.run("picture").parts.keys() == {"text/plain", "image/png"}
    failed = own.run("null.x")
    assert failed.status == "ERROR"
    assert failed.error["name"] == "TypeError"
    assert failed.error["value"].startswith("Cannot read properties of null")
    assert own.run("throw 5").error["value"] == "5"
    assert own.run("const later: number = await 3; later", "typescript").text == "3"
    assert own.run("(async () => 8)()").text == "8"
    assert own.run("display.html('<b>')").shown[0][1] == {"text/html": b"<b>"}
    assert own.run("'between'").text == "'between'"
    assert own.run("display({a: 1}); 4").text == "4"
    exited = own.run("process.exit(3)")
    assert exited.error["name"] == "ProcessExit"
    assert exited.error["value"] == "3"
    assert own.run("'after'").text == "'after'"


def test_the_species_of_promise_cannot_be_changed(own: Interpreter):
    changed = own.run("Object.defineProperty(Promise, Symbol.species, { get() { throw 'patched' } })")
    assert changed.error["value"] == "Cannot redefine property: Symbol(Symbol.species)"
    assert own.run("class Own extends Promise { static get [Symbol.species]() { return Promise } }; 1 + 1").text == "2"


@pytest.mark.parametrize(
    "patch",
    [
        "Error.stackTraceLimit = undefined; Object.freeze(Error.prototype)",
        "process.emit = process.emitWarning = fail",
        "Object.defineProperty(Error, 'stackTraceLimit', { get: fail, set: fail })",
    ],
)
def test_imports_go_on_after_a_patch(own: Interpreter, patch: str):
    assert own.run(f"{_FAIL}\n{patch}; void 0").status == "OK"
    assert own.run("import os from 'node:os'; typeof os.cpus").text == "'function'"


def test_thousands_of_promises_that_are_rejected_at_once_do_not_end_the_context(own: Interpreter):
    own.run("var kept = 7; Array.from({ length: 15000 }, async () => { throw new Error('denied') }); void 0")
    assert own.run("kept").text == "7"


@pytest.mark.parametrize(
    "patch", [_THROWING.replace("%s", "Array.prototype"), "Object.defineProperty(Array.prototype, 1, { set: fail });"]
)
def test_a_node_that_no_longer_works_ends_and_says_why(own: Interpreter, patch: str):
    def run_until_it_ends():
        own.run(f"{_FAIL}\n{patch}\nfor (let i = 1; i < 9; i += 1) setTimeout(() => {{}}, i); void 0")
        while True:
            own.run("1")

    with pytest.raises(EOFError) as ended:
        run_until_it_ends()
    assert "10000 uncaught errors in a row: code has replaced built-in methods" in str(ended.value)
    assert own.process.returncode == 70


def test_a_listener_for_uncaught_errors_that_throws_does_not_end_the_interpreter(own: Interpreter):
    own.run("process.on('uncaughtException', () => { throw new Error('of the listener'); })")
    own.run("process.on('uncaughtExceptionMonitor', () => { throw new Error('of the monitor'); })")
    waited = own.run(
        "setTimeout(() => { throw new Error('x'); }); await new Promise((resolve) => setTimeout(resolve, 20))"
    )
    assert waited.status == "OK"
    assert "of the listener" in waited.stderr
    assert own.run("1 + 1").text == "2"


def test_objects_of_the_runtime_are_like_those_of_user_code(own: Interpreter):
    checks = {
        "import('node:os') instanceof Promise": True,
        "module instanceof Object && exports.constructor === Object && Array.isArray(module.children)": True,
    }
    for check, expected in checks.items():
        assert own.value(check) is expected, check
    refused = (
        "try { display(1, { displayId: 'x'.repeat(999) }) } catch (error) { console.log(error instanceof RangeError) }"
    )
    assert own.run(refused).stdout == "true\n"
