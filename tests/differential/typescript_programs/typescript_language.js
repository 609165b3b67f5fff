//// closures and hoisting
console.log(typeof hoisted, hoisted()); function hoisted() { return 'h' }
var v1 = 1; { var v1 = 2 } console.log(v1);
const fs3 = []; for (let i = 0; i < 3; i++) fs3.push(() => i); console.log(fs3.map((f) => f()));
var fs4 = []; for (var j = 0; j < 3; j++) fs4.push(() => j); console.log(fs4.map((f) => f()));

//// temporal dead zone
try { early; let early = 1 } catch (e) { console.log(e.name, e.message) }
try { console.log(typeof dead); const dead = 1 } catch (e) { console.log(e.message) }
try { new K(); class K {} } catch (e) { console.log(e.message) }

//// top-level dead zone
console.log(before)
let before = 1

//// function hoists over blocks
console.log(typeof inner); { function inner() {} } console.log(typeof inner);
if (true) { function cond() { return 'c' } } console.log(cond());

//// destructuring
const { a, b: { c = 5, ...rest } = {}, ...others } = { a: 1, b: { d: 2, e: 3 }, f: 4 }; console.log(a, c, rest, others);
const [x, , y = 3, ...z] = [1, 2, undefined, 4, 5]; console.log(x, y, z);
let p = 1, q = 2; [p, q] = [q, p]; console.log(p, q); ({ p, q: q } = { p: 'P', q: 'Q' }); console.log(p, q);

//// spread and rest
console.log(Math.max(...[1, 5, 3]), [...'añ🎉'], { ...{ a: 1 }, ...null, ...'hi', ...[9] }, ((...r) => r.length)(1, 2, 3));

//// generators
function* fib() { let [a, b] = [0, 1]; for (;;) { yield a; [a, b] = [b, a + b] } }
const out = []; for (const n of fib()) { if (n > 50) break; out.push(n) } console.log(out);
function* two() { const got = yield 1; console.log('got', got); try { yield 2 } finally { console.log('cleanup') } }
const it = two(); console.log(it.next(), it.next('hello'), it.return('done'), it.next());
console.log(fib().take(5).map((n) => n * 2).toArray());

//// async iteration
async function* ticks() { for (let i = 0; i < 3; i++) { await null; yield i } }
for await (const t of ticks()) console.log(t);
for await (const t of [Promise.resolve('p'), 'q']) console.log(t);

//// classes
class Base { static count = 0; #secret = 1; constructor() { Base.count++ } get secret() { return this.#secret } set secret(v) { this.#secret = v } static #hidden() { return 'h' } static reveal() { return Base.#hidden() } static { this.ready = true } has(o) { return #secret in o } }
class Derived extends Base { field = super.secret; method() { return super.has(this) } toString() { return 'D' } }
const d = new Derived(); d.secret = 9; console.log(d.secret, d.field, d.method(), `${d}`, Base.count, Base.reveal(), Base.ready, d.has({}), Derived.name, Derived.length);

//// new.target and super
class P { constructor() { console.log(new.target.name) } } class C extends P {} new P(); new C();
const proto = { hi() { return 'proto' } }; const ob = { __proto__: proto, hi() { return 'own ' + super.hi() } }; console.log(ob.hi());

//// getters, setters, computed
const key = 'dyn'; const o = { [key + 1]: 1, get [key]() { return 'g' }, set [key](v) { console.log('set', v) }, 'quoted key': 2, async *gen() { yield 1 } }; o.dyn = 5; console.log(o.dyn, Object.keys(o));

//// labels and switch
outer: for (let i = 0; i < 3; i++) { for (let j = 0; j < 3; j++) { if (j === 1) continue outer; if (i === 2) break outer; console.log(i, j) } }
switch (3) { case 1: console.log(1); default: console.log('d'); case 2: console.log(2); break; case 4: console.log(4) }

//// exceptions
function f() { try { return 'try' } finally { console.log('finally') } } console.log(f());
function g() { try { throw 1 } catch { return 'catch' } finally { return 'finally wins' } } console.log(g());
try { try { throw new Error('a') } finally { console.log('f') } } catch ({ message }) { console.log(message) }

//// tagged templates
const tag = (s, ...v) => s.raw.join('|') + v.join(','); console.log(tag`a${1}\n${2}c`, String.raw`\u00e9\n${1}`);

//// regular expressions
console.log('2024-05-06'.match(/(?<y>\d+)-(?<m>\d+)/).groups.y, 'aBc'.replace(/b/i, (m) => `[${m}]`), [...'a1b2'.matchAll(/[a-z](\d)/g)].map((m) => m[1]), 'x'.replace(/(?<n>x)/, '$<n>$<n>'), /(?<=\$)\d+/.exec('$42')[0], /\p{L}+/u.exec('ñandú!')[0], 'a\nb'.split(/\n/), /a.c/s.test('a\nc'), /[\p{L}--[a-z]]/v.test('A'));
const re = /o/g; re.test('foo'); console.log(re.lastIndex, 'foo'.lastIndexOf('o'), 'a-b-c'.split('-', 2), /(a)|b/.exec('b'), 'abc'.match(/z/), /x/d.exec('ax').indices[0]);

//// numbers
console.log(0.1 + 0.2, 1e21, 1e-7, 0xff, 0b11, 0o17, 1_000, 2 ** 53 + 1, -7 % 3, -7 / 2 | 0, 5 / 0, (25).toString(2), parseInt('12px'), Number(''), Number('0x1f'), (1234.5678).toFixed(2), Number.MAX_SAFE_INTEGER, Number.EPSILON, Math.hypot(3, 4), Math.sign(-3), ~~-5.7, 1 / -0, [10, 9, 1].sort(), (0.000001234).toString(), 123456789012345680000 + '');

//// bigints
console.log(2n ** 64n, -7n / 2n, -7n % 3n, 5n > 4, 2n == 2, typeof 1n, BigInt.asUintN(8, 257n), BigInt('0xff'), (123n).toString(16), [3n, 1n, 2n].sort(), 1n < 1.5, BigInt(Number.MAX_SAFE_INTEGER) + 2n);

//// strings
console.log('abc'.at(-1), 'abc'.padStart(5, '*'), ' x '.trim() + '|', 'a,b'.split(','), 'ß'.toUpperCase(), 'İ'.toLowerCase().length, 'e\u0301'.normalize().length, '🎉'.length, [...'🎉'].length, '🎉'.codePointAt(0), String.fromCodePoint(127881), 'a'.localeCompare('b'), 'abc'.substring(2, 0), 'abc'.slice(-2), 'aXbX'.replaceAll('X', '$&$&'), 'x'.concat(1, null), 'abc'.includes('b'), 'ab'.isWellFormed(), escape('ü'), encodeURIComponent('ü &'));

//// arrays
console.log([3, 1, 2].toSorted(), [1, 2, 3].with(1, 9), [1, [2, [3]]].flat(Infinity), [1, 2, 3, 4].findLast((x) => x % 2), Array.from('ab', (c) => c + c), [1, 2, 3].copyWithin(0, 1), [1, 2].includes(NaN), [NaN].includes(NaN), [1, 2, 3].fill(0, 1), Array.of(7), [..."ab"].entries().next(), [1, 2, 3].reduceRight((a, b) => a + '-' + b), [5, 1, 10].sort((a, b) => b - a), [1, 2, 3, 4, 5].toSpliced(1, 2, 'x'), Object.groupBy([1, 2, 3], (x) => (x % 2 ? 'odd' : 'even')));

//// objects
console.log(Object.entries({ b: 1, a: 2, 1: 'x' }), Object.assign({}, { a: 1 }, null, { b: 2 }), Object.getOwnPropertyDescriptor({ get x() { return 1 } }, 'x'), Object.is(-0, 0), { a: 1 }?.b?.c.d, null ?? 'd', 0 || 'f', '' ?? 'n', structuredClone({ d: new Date(0), m: new Map([[1, new Set([2])]]) }), JSON.stringify({ u: undefined, f() {}, d: new Date(0), n: null, nan: NaN, nested: [undefined, () => 1] }), JSON.stringify({ a: [1, { b: 2 }] }, null, 2), JSON.stringify('\u2028\ud800'), JSON.parse('[1,{"a":null}]', (k, v) => (typeof v === 'number' ? v * 2 : v)));

//// dates
const dt = new Date(Date.UTC(2024, 1, 29, 12, 30)); console.log(dt.toISOString(), dt.getTime(), dt.getTimezoneOffset(), dt.toLocaleDateString('en-US'), dt.toLocaleTimeString('de-DE'), new Date('2024-02-30').toString(), new Intl.DateTimeFormat('en', { dateStyle: 'full', timeZone: 'Asia/Tokyo' }).format(dt), JSON.stringify(dt), dt.toJSON(), new Date(2024, 0, 31).getDay());

//// intl
console.log((1234567.891).toLocaleString('de-DE'), new Intl.NumberFormat('ja-JP', { style: 'currency', currency: 'JPY' }).format(5000), new Intl.ListFormat('en').format(['a', 'b', 'c']), new Intl.PluralRules('ar').select(3), ['ä', 'z', 'a'].sort(new Intl.Collator('sv').compare), new Intl.RelativeTimeFormat('en', { numeric: 'auto' }).format(-1, 'day'), [...new Intl.Segmenter('en', { granularity: 'word' }).segment('Hi you')].length);

//// proxies and reflect
const log = []; const px = new Proxy({ a: 1 }, { get: (t, k, r) => (log.push('get ' + String(k)), Reflect.get(t, k, r)), has: (t, k) => (log.push('has ' + k), k in t), set: (t, k, v) => (log.push(`set ${k}`), Reflect.set(t, k, v)), deleteProperty: (t, k) => (log.push('del'), delete t[k]), ownKeys: (t) => (log.push('keys'), Reflect.ownKeys(t)) });
px.a; px.b = 2; 'a' in px; delete px.a; Object.keys(px); console.log(log, Reflect.ownKeys({ b: 1, [Symbol.for('s')]: 2, 1: 3 }));

//// symbols as protocols
const money = { [Symbol.toPrimitive](hint) { return hint === 'number' ? 42 : hint === 'string' ? 'forty' : 'default' } }; console.log(+money, `${money}`, money + '', money > 41);
class Even { static [Symbol.hasInstance](n) { return n % 2 === 0 } } console.log(2 instanceof Even, 3 instanceof Even);
class Range { constructor(n) { this.n = n } *[Symbol.iterator]() { for (let i = 0; i < this.n; i++) yield i } } console.log([...new Range(3)], Math.max(...new Range(4)), Array.from(new Range(2)), new Set(new Range(2)));

//// weak references
const ref = new WeakRef({ a: 1 }); console.log(typeof ref.deref(), new WeakMap([[{}, 1]]).has({})); new FinalizationRegistry(() => {}).register({}, 1);

//// sloppy mode
undeclaredSloppy = 5; console.log(undeclaredSloppy, delete globalThis.undeclaredSloppy, typeof undeclaredSloppy);
function thisIs() { return this === globalThis } console.log(thisIs(), 010, "\07".length); with ({ w: 1 }) { console.log(w) } function dup(a, a) { return a } console.log(dup(1, 2));
Object.freeze([1]).length = 5; (function () { 'use strict'; console.log(this) })(); console.log((function () { return typeof arguments })(1), eval('1+1'), new Function('a', 'return a * 2')(4));

//// strict mode
'use strict';
console.log((function () { return this })()); try { undeclaredStrict = 1 } catch (e) { console.log(e.message) }
try { Object.freeze([1]).push(2) } catch (e) { console.log(e.message) } try { (() => { delete Object.prototype })() } catch (e) { console.log(e.message) }

//// eval scope
var ev = 1; eval('var ev2 = ev + 1'); console.log(ev2, eval('let hidden = 3; hidden'), typeof hidden, (0, eval)('typeof ev'));

//// this at the top
console.log(typeof this, this === globalThis || Object.keys(this).length === 0);

//// comma and void
console.log((1, 2), void 0, typeof void 0, !!'' + 1, +[], [] + {}, [] == false, null == 0, '5' * '2', '5' + 2, 3 > 2 > 1, [2] * [3]);

//// logical assignment
let la = null; la ??= 5; la &&= la + 1; la ||= 9; console.log(la); const lo = { a: 0 }; lo.a ||= 3; lo.b ??= 4; console.log(lo); let i = 5; i **= 2; i <<= 1; i >>>= 2; console.log(i++, ++i, i--);

//// unicode names
const ünï = 1, π = Math.PI, $ = 'd', _ = 'u', \u0061bc = 'esc'; console.log(ünï, π.toFixed(2), $, _, abc);

//// comments and semicolons
/* block */ console.log(1) // line
<!-- html comment
console.log(2)
/** doc */ ;;; console.log(3)

//// asi
let asi = 1
let next = asi
++next
console.log(asi, next)
const fnr = function () { return
  5 }
console.log(fnr())

//// hashbang
#!/usr/bin/env node
console.log('hashbang', new Error('x').stack.split('\n')[1].match(/:(\d+):/)[1]);

//// declarations over cells
let count = 0; const add = (n) => { count += n; return count };

class Shape { area() { return 0 } }
class Square extends Shape { constructor(s) { super(); this.s = s } area() { return this.s ** 2 } }

function use() { add(5); return new Square(3).area() + count }

console.log(use(), add(1), count, new Square(2) instanceof Shape);

var again = 1; var again = 2; function over() { return 1 } function over() { return 2 } console.log(again, over());

//// using in blocks
class R { constructor(n) { this.n = n; console.log('open', n) } [Symbol.dispose]() { console.log('close', this.n) } }
{ using a = new R('a'), b = new R('b'); console.log('body') }
function f() { using c = new R('c'); return 'returned' } console.log(f());
try { using e = new R('e'); throw new Error('boom') } catch (e) { console.log(e.message) }
for (using l of [new R('l1'), new R('l2')]) console.log('loop', l.n);
void (async () => { await using x = { async [Symbol.asyncDispose]() { await null; console.log('async closed') } }; console.log('in async') })();
try { using s = { [Symbol.dispose]() { throw new Error('dispose') } }; throw new Error('first') } catch (e) { console.log(e.name, e.error.message, e.suppressed.message) }
const stack = new DisposableStack(); stack.defer(() => console.log('deferred')); stack.use(new R('d')); stack.dispose();

//// using at the top
using top = { [Symbol.dispose]() { console.log('disposed at the end') } };
console.log('body', typeof top);

//// using at the top with an error
using top2 = { [Symbol.dispose]() { console.log('disposed anyway') } };
throw new Error('body failed');

//// modern methods
console.log(Promise.withResolvers !== undefined, Object.hasOwn({ a: 1 }, 'a'), new Set([1, 2, 3]).intersection(new Set([2, 3, 4])), new Set([1]).union(new Set([2])), Array.fromAsync !== undefined, [1, 2, 3].at(-1), 'ab'.at(-1), RegExp.escape ? RegExp.escape('a.b') : '-', Error.isError ? Error.isError(new Error()) : '-', Math.f16round ? Math.f16round(1.1) : '-', Iterator.from([1, 2]).filter((x) => x > 1).toArray());
const { promise, resolve } = Promise.withResolvers(); resolve('w'); console.log(await promise, await Promise.try(() => 'try'), await Array.fromAsync([Promise.resolve(1)]));
