//// plain values
console.log(1, 'two', true, null, undefined, 3n, Symbol('four'), -0, NaN, Infinity);
console.log('a', ['a', "it's", 'say "x"', `both ' and "`], { k: 'v' });

//// nested
console.log({ a: { b: { c: { d: { e: 1 } } } } });
console.log([[[[[1]]]]], [{ a: [{ b: [{ c: 1 }] }] }]);

//// circular
const o = { name: 'o' }; o.self = o; o.list = [o, { o }];
console.log(o);
const m = new Map(); m.set('m', m); console.log(m);
const a = [1]; a.push(a); console.log(a);
const p = { child: {} }; p.child.parent = p; console.log(p.child);

//// collections
console.log(new Map([['a', 1], [{ k: 1 }, [2]]]), new Set([1, 'x', { y: 2 }]), new WeakMap(), new WeakSet());
console.log(new Map().entries(), new Map([[1, 2]]).keys(), new Set([1]).values(), [1, 2][Symbol.iterator]());

//// typed arrays
console.log(new Uint8Array([1, 2, 3]), new Float64Array(2), new BigInt64Array([1n]), Buffer.from('hi'), new ArrayBuffer(4), new DataView(new ArrayBuffer(2)), new SharedArrayBuffer(1));

//// long lists
console.log(Array.from({ length: 120 }, (_, i) => i));
console.log(Array.from({ length: 30 }, (_, i) => 'item ' + i));
console.log(new Set(Array.from({ length: 110 }, (_, i) => i)));

//// holes
console.log([, 1, , , 2, ,], [undefined, , null], new Array(3), [,]);

//// extra properties
const list = [1, 2]; list.name = 'list'; list[-1] = 'minus'; console.log(list);
const fn = function named() {}; fn.extra = 1; console.log(fn);
const s = new String('abc'); s.extra = 1; console.log(s, new Number(-0), new Boolean(false), Object(1n), Object(Symbol('s')));

//// classes and instances
class A { x = 1; #hidden = 2; static s = 3; get g() { return 1 } method() {} }
class B extends A { constructor() { super(); this.y = { z: 1 } } }
console.log(A, B, new A(), new B(), [new B()], class {}, class extends A {});
console.log(Object.create(A.prototype), Object.create(null), Object.create({ a: 1 }), Object.create({ constructor: null }));

//// functions
console.log(() => {}, function () {}, function named() {}, async () => {}, function* g() {}, async function* ag() {}, Math.max, class X {}, [function a() {}, () => 1], { f() {}, g: () => 1, get h() { return 1 }, set h(v) {}, async i() {}, *j() {} });

//// getters
console.log({ get a() { return 1 } }, { set a(v) {} }, { get a() { return 1 }, set a(v) {} });
console.log(require('util').inspect({ get a() { throw new Error('x') } }, { getters: true }));

//// errors
try { null.x } catch (e) { console.log(e.message, e.name, e instanceof TypeError, String(e)) }
console.log(String(new RangeError('r')), Object.prototype.toString.call(new Error('x')));
const e = new Error('no stack'); e.stack = undefined; console.log(e);
const e2 = new Error('custom'); e2.stack = 'my stack'; e2.code = 'C'; console.log(e2);
console.log([Object.assign(new Error('in list'), { stack: 'Error: in list' })]);
console.log(Object.assign(new AggregateError([1, 'two'], 'agg'), { stack: 'AggregateError: agg' }));
console.log(Object.assign(new Error('c', { cause: 'why' }), { stack: 'Error: c' }));

//// error with stack
function thrower() { throw new Error('deep') }
try { thrower() } catch (e) { console.log(e.stack) }

//// error printed
function thrower() { throw new TypeError('deep') }
try { thrower() } catch (e) { console.error(e) }
console.log(new Error('made here'));

//// error with cause printed
const inner = new RangeError('inner');
console.log(new Error('outer', { cause: inner }));
console.log({ nested: new Error('in an object') });

//// async stack
async function f() { await null; throw new Error('async deep') }
async function g() { await f() }
g().catch((e) => console.log(e.stack));

//// symbols
console.log(Symbol(), Symbol('d'), Symbol.for('f'), Symbol.iterator, { [Symbol('k')]: 1, [Symbol.toStringTag]: 'Tag' });

//// dates and regexps
console.log(new Date(0), new Date(NaN), [new Date(1e12)], /a"b'/gi, [/x/], new Date(0).toString(), new Date(0).toLocaleString());

//// promises
console.log(Promise.resolve(1), new Promise(() => {}), Promise.resolve({ a: 1 }));
const r = Promise.reject(3); r.catch(() => {}); console.log(r);

//// proxies
console.log(new Proxy({ a: 1 }, {}), new Proxy([1], {}), new Proxy(() => {}, {}), new Proxy({ a: 1 }, { get() { return 5 } }));
const bad = new Proxy({}, { ownKeys() { throw new Error('trap') } }); console.log(bad);
console.log(require('util').inspect(new Proxy({ a: 1 }, {}), { showProxy: true }));

//// custom inspect
const util = require('util');
class Money { constructor(n) { this.n = n } [util.inspect.custom](depth, options) { return `$${this.n} ${depth}` } }
console.log(new Money(5), [new Money(6)], { m: { n: new Money(7) } });
class Tagged { get [Symbol.toStringTag]() { return 'T' } } console.log(new Tagged());
console.log({ toString() { return 'no' }, inspect() { return 'no' } });

//// format directives
console.log('%s|%d|%i|%f|%j|%o|%O|%%|%c|', 'a', '42', 3.7, '1.5', { j: 1 }, [1], { o: { p: {} } }, 'css', 'rest', 1);
console.log('%s %s', 'one'); console.log('%d', 'x', '%s'); console.log('%s', { a: 1 }, [1, [2, [3]]], null, undefined, 5n, Symbol('x'), () => {}, class Q {});
console.log('%i %i %f', 5n, 'z', 'q', -0); console.log('100%', 5); console.log('%', '%s'); console.log('%x %s', 1, 2);

//// streams
console.log('out'); console.error('err'); console.warn('warn'); console.info('info'); console.debug('debug');

//// group
console.group('title'); console.log('inside'); console.group(); console.log('a\nb', { x: 1 }); console.groupEnd(); console.error('inside error'); console.groupEnd(); console.log('outside');
console.groupCollapsed('c'); console.table([1]); console.groupEnd(); console.groupEnd(); console.log('end');

//// table
console.table([{ a: 1, b: 'x' }, { a: 2, c: true }]);
console.table([[1, 2], [3, 4]]); console.table([1, 'a', { z: 1 }]); console.table({ r1: { c: 1 }, r2: { c: 2 } });
console.table(new Map([['k', 1]])); console.table(new Set([1])); console.table([{ a: 1, b: 2 }], ['b']); console.table(5); console.table('text'); console.table([]); console.table([{ n: 'ü漢字🎉' }]);

//// dir
console.dir({ a: { b: { c: { d: 1 } } } }); console.dir({ a: { b: { c: { d: 1 } } } }, { depth: 0 }); console.dir({ a: { b: { c: { d: 1 } } } }, { depth: null }); console.dir([1], { showHidden: true }); console.dirxml({ a: 1 }, [2]);

//// count
console.count(); console.count(); console.count('x'); console.countReset(); console.count(); console.countReset('nope'); console.count(5);

//// assert
console.assert(true, 'no'); console.assert(false, 'yes'); console.assert(false); console.assert(0, 'with %s', 'format', { a: 1 }); console.assert(false, { o: 1 });

//// trace and time
console.timeEnd('nope'); console.timeLog('nope'); console.time('t'); console.time('t');

//// trace
console.trace('here %s', 1);

//// no newline
process.stdout.write('no newline'); process.stdout.write(' more\n'); process.stderr.write('err\n'); process.stdout.write(Buffer.from('bytes\n')); process.stdout.write(new Uint8Array([104, 105, 10]));

//// encodings
process.stdout.write('68690a', 'hex'); process.stdout.write('aGkK', 'base64'); process.stdout.write('ü\n', 'latin1'); console.log('ü漢字🎉', '\ud800', '\u0000|\u001b[31mred\u001b[0m|\t|\r|\b');

//// invalid bytes
process.stdout.write(Buffer.from([0xff, 0xfe, 10]));

//// write callbacks
process.stdout.write('a\n', () => console.log('written')); console.log(process.stdout.write('b\n'));

//// stream properties
console.log(process.stdout.isTTY, process.stdout.writable, typeof process.stdout.fd, process.stdout.fd, process.stderr.fd, process.stdout.columns, process.stdin.isTTY, process.stdin.fd);

//// long strings
console.log('x'.repeat(20000).length, ['y'.repeat(12000)]);
console.log({ text: 'line one\nline two' }, ['a\nb'], 'a\nb');
console.log('z'.repeat(70000));

//// many lines
for (let i = 0; i < 3000; i++) console.log('line', i);

//// interleaved
for (let i = 0; i < 5; i++) { console.log('o', i); console.error('e', i) }

//// wide objects
console.log({ alpha: 'a'.repeat(30), beta: 'b'.repeat(30), gamma: 'c'.repeat(30) }, { a: 1, b: 2 });
console.log(Object.fromEntries(Array.from({ length: 40 }, (_, i) => ['key' + i, i])));
console.log({ 'a-b': 1, 2: 2, valid_id: 3, 'with space': 4, ünï: 5, '': 6, '0x': 7 });

//// iterators and generators
function* g() { yield 1 } console.log(g(), g, [..."abc"].entries(), 'x'[Symbol.iterator](), 'aXb'.matchAll(/X/g));
console.log(Object.getOwnPropertyNames(class { static a() {} }), arguments => 1);

//// intl and urls
console.log(new URL('http://u:p@h:1/p?q=1#f'), new URLSearchParams('a=1&b=2'), new Intl.NumberFormat('en'), new AbortController(), new Headers({ a: 'b' }), new TextEncoder(), new Blob(['x']));

//// globals
console.log(typeof globalThis, typeof window, typeof global, typeof self, Math, JSON, Reflect, Atomics, Intl.toString());

//// console itself
console.log(typeof console.Console, Object.keys(console).length > 15, console[Symbol.toStringTag]);
const { log } = console; log('detached'); [1, 2].forEach(console.log); console.log.call(null, 'called');

//// own Console
const { Console } = require('console'); const c = new Console(process.stdout, process.stderr); c.log('own'); c.error('own err'); c.table([[1]]);
new console.Console({ stdout: process.stdout, inspectOptions: { depth: 0 } }).log({ a: { b: 1 } });

//// util
const util = require('util');
console.log(util.inspect('str'), util.format('%s', 1), util.inspect(new Map([[1, { a: { b: {} } }]]), { depth: 0 }), util.inspect({ a: 1n, b: [undefined, null] }, { compact: false }), util.inspect({ b: 1, a: 2 }, { sorted: true }));
console.log(util.types.isProxy(new Proxy({}, {})), util.isDeepStrictEqual({ a: [1] }, { a: [1] }), util.inspect('a'.repeat(200)), util.inspect([['a', ['b', ['c', ['d']]]]], false, 1), util.styleText('red', 'x', { validateStream: false }), util.stripVTControlCharacters('\u001b[1mx'));
