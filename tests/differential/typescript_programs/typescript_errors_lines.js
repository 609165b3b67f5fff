null.x
undefined.x.y
undefined()
let a = 1; a()
let o = {}; o.f()
let o = { a: { } }; o.a.b.c
const c = 1; c = 2
const c = { a: 1 }; c.a = 2; c.b.d = 3
missing
missing.prop
typeof missing; missing()
new Array(-1)
new Array(1.5)
'x'.repeat(-1)
(1).toFixed(101)
(1).toString(99)
(1).toPrecision(0)
BigInt(1.5)
BigInt('abc')
1n + 1
5n / 0n
Symbol() + ''
`${Symbol('s')}`
JSON.parse('{bad')
JSON.parse('')
JSON.parse('[1,]')
JSON.parse('{"a": undefined}')
JSON.stringify(1n)
const o = {}; o.self = o; JSON.stringify(o)
const o = { a: {} }; o.a.b = [o]; JSON.stringify(o)
new Proxy({}, null)
Reflect.construct(1)
Object.defineProperty(1, 'a', {})
Object.defineProperty({}, 'a', { get() {}, value: 1 })
'use strict'; Object.freeze([1]).push(2)
'use strict'; const o = Object.freeze({ a: 1 }); o.a = 2
'use strict'; delete Object.prototype
'use strict'; undeclared = 1
'use strict'; (function () { this.x = 1 })()
class A { constructor() { this.x } } A()
class A extends null {} new A()
class A { #p = 1; static t(o) { return o.#p } } A.t({})
class B extends Object { constructor() { this.a = 1 } } new B()
class B { static x = missing }
new (class { get a() { throw new RangeError('getter') } })().a
[].reduce((a, b) => a)
[...1]
const [x] = null
const { x } = null
const { x: { y } } = { }
const [a, [b]] = [1]
for (const x of 5) {}
for (const x of { a: 1 }) {}
new Map([1])
new Set(5)
new WeakMap([[1, 2]])
Symbol.keyFor('x')
new Symbol()
Promise()
new Promise()
new Promise(5)
await Promise.reject(new Error('rejected'))
await Promise.any([Promise.reject(new Error('one')), Promise.reject(new TypeError('two'))])
await Promise.all([1, Promise.reject(new RangeError('of all'))])
throw new Error('plain')
throw new Error('with cause', { cause: new TypeError('inner') })
throw new Error('cause is text', { cause: 'why' })
throw new AggregateError([new Error('a'), new Error('b')], 'both')
throw Object.assign(new Error('with code'), { code: 'E_CODE', extra: [1, 2] })
throw 'text'
throw 42
throw null
throw undefined
throw true
throw 10n
throw Symbol('thrown')
throw { a: 1 }
throw [1, 2]
throw function f() {}
throw { message: 'like an error', name: 'Custom' }
class MyError extends Error {} throw new MyError('mine')
class MyError extends Error { constructor(m) { super(m); this.name = 'MyError' } } throw new MyError('named')
class MyError extends TypeError { name = 'FieldName' } throw new MyError('field')
class MyError extends Error { get name() { return 'Getter' } } throw new MyError('getter')
class HttpError extends Error { constructor(s) { super(`HTTP ${s}`); this.status = s } } throw new HttpError(404)
throw Object.create(Error.prototype)
const e = new Error('changed'); e.message = 'other'; throw e
const e = new Error('renamed'); e.name = 'Renamed'; throw e
const e = new Error('no stack'); delete e.stack; throw e
const e = new Error('bad stack'); e.stack = 5; throw e
const e = new Error('x'); Object.defineProperty(e, 'message', { get() { throw new Error('in message') } }); throw e
throw new DOMException('dom', 'AbortError')
AbortSignal.abort().throwIfAborted()
structuredClone(() => {})
structuredClone(Symbol())
new URL('not a url')
new URL('/a', 'nope')
decodeURIComponent('%')
new RegExp('(')
new RegExp('a', 'zz')
'abc'.matchAll(/a/)
'abc'.replaceAll(/a/, 'b')
'a'.normalize('x')
new Date(NaN).toISOString()
new Intl.NumberFormat('xx-invalid-locale-zz')
Intl.DateTimeFormat('en', { timeZone: 'Nowhere/City' })
new Uint8Array(-1)
new Uint8Array([1]).set([1, 2])
new DataView(new ArrayBuffer(1)).getInt32(0)
new ArrayBuffer(-5)
Buffer.alloc(-1)
Buffer.from(5)
Buffer.from(undefined)
require('fs').readFileSync('/no/such/file')
require('fs').readdirSync('/no/such/dir')
require('fs').mkdirSync('/proc/x')
require('no-such-package-x')
require('./no-such-file')
require('node:nothing')
require('assert').strictEqual(1, 2)
require('assert').deepStrictEqual({ a: 1 }, { a: 2 })
require('assert')(false, 'failed')
require('assert').throws(() => {})
require('assert').ok(0)
require('child_process').execSync('exit 3', { stdio: 'pipe' })
require('crypto').createHash('nope')
require('path').join(1)
require('vm').runInNewContext('throw new Error("other realm")')
require('vm').runInThisContext('let x = ;')
require('util').promisify(5)
require('events').once()
new (require('events'))().emit('error', new Error('emitted'))
new (require('events'))().emit('error', 'not an error')
require('zlib').gunzipSync(Buffer.from('x'))
process.chdir('/no/such/folder')
process.kill(1, 'NOSIG')
process.exit(0)
process.exit(3)
process.exit('4')
console.log('before'); process.exit(2); console.log('after')
process.emitWarning(5)
(function f() { f() })()
let f = () => f(); f()
eval('let = 1; x y')
eval('throw new EvalError("from eval")')
new Function('return missing')()
new Function('(')
import('no-such-package-y').catch((e) => console.log(e.code))
await import('no-such-package-y')
await import('./no-such-file.js')
await import('node:nothing')
setTimeout(5)
setTimeout(() => { throw new Error('in timer') }, 1)
queueMicrotask(() => { throw new TypeError('in microtask') })
queueMicrotask(5)
process.nextTick(() => { throw new Error('in tick') })
Promise.reject(new Error('unhandled'))
(async () => { throw new Error('async main') })()
async function main() { await null; throw new SyntaxError('from main') } main()
new Promise((_, reject) => setTimeout(reject, 5, new Error('late')))
const it = { [Symbol.iterator]() { return {} } }; [...it]
const it = { [Symbol.iterator]() { return 5 } }; [...it]
function* g() { throw new Error('in generator') } [...g()]
const { a = (() => { throw new Error('default') })() } = {}
label: { break label } missingAfterLabel
void 0; null[Symbol.iterator]
const big = 10n ** 10n; Math.max(big)
Number(Symbol())
+1n
[1n, 2].sort((a, b) => a - b)
Object.setPrototypeOf(Object.preventExtensions({}), {})
const p = new Proxy({}, { get() { throw new Error('trap') } }); p.x
const r = Proxy.revocable({}, {}); r.revoke(); r.proxy.x
new (class { constructor() { return missing } })()
super_
import.meta.nope.x
Array.from({ length: -1 }).at(0).x
'abc'.at(10).x
Object.fromEntries([1])
Object.groupBy(5, (x) => x)
new Intl.PluralRules('en', { type: 'bad' })
new TextDecoder('nope')
new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255]))
atob('*')
new AbortController().signal.throwIfAborted.call(5)
new Worker('x')
new EventTarget().dispatchEvent({})
performance.measure('x', 'nope')
new Headers({ 'bad name': 'x' })
new Response('x', { status: 99 })
new Request('nope')
new WebSocket('nope')
new Blob(5)
