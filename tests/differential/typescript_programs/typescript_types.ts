//// annotations
const n: number = 1, s: string = 'a'; let u: string | undefined; function f(a: number, b?: string, ...c: boolean[]): [number, string?] { return [a, b] } const g = <T,>(x: T): T => x; const h = async <T extends object>(x: T): Promise<T> => x;
console.log(n, s, u, f(1), g('g'), await h({ a: 1 }), (s as unknown as any).length, n satisfies number, u!, <any>s);

//// interfaces and types
interface Point { x: number; readonly y?: number } type Fn<T = Point> = (p: T) => string; type Keys = keyof Point; declare const ghost: number; declare function ghostly(): void; abstract class Shape { abstract area(): number; describe(): string { return `area ${this.area()}` } } class Sq extends Shape implements Point { constructor(public x: number, private readonly side = 2) { super() } area() { return this.side ** 2 } }
console.log(new Sq(1).describe(), new Sq(3, 4), typeof ghost);

//// enums
enum Color { Red, Green = 'g', Blue = 5, Next } const enum Flag { A = 1 << 0, B = 1 << 1, AB = A | B } enum Computed { Len = 'abc'.length, Neg = -1 }
console.log(Color, Color.Red, Color[5], Color.Next, Flag.AB, Computed, Object.keys(Color)); function name(c: Color): string { switch (c) { case Color.Red: return 'r'; default: return 'o' } } console.log(name(Color.Red), name(Color.Blue));

//// enum merging
enum M { A } enum M { B = 1 } console.log(M); namespace M { export const extra = 2 } console.log((M as any).extra);

//// namespaces
namespace Outer { export const a = 1; const hidden = 2; export namespace Inner { export function f() { return a + hidden } } export class K {} export type T = string; export enum E { X = 'x' } } namespace Outer { export const later = a + 10 }
import Alias = Outer.Inner; console.log(Outer.a, Alias.f(), Outer.later, Object.keys(Outer), new Outer.K(), Outer.E.X); namespace Empty { export type T = 1 }

//// parameter properties
class P { constructor(public a: number, protected b = 2, private c?: string, readonly d: number[] = []) { this.d.push(a) } get sum() { return this.a + this.b } } console.log(new P(1), new P(1, 5).sum);
class Q extends P { constructor(public e: string) { super(7); console.log(this.e) } } console.log(new Q('q'));

//// class fields
class F { declare ghost: string; a!: number; b?: string; static c: number = 1; private static readonly d = 2; #e: number = 3; toString(): string { return `F${this.#e}` } [key: string]: any; constructor() {} method(this: F): this { return this } } console.log(new F(), Object.keys(new F()), `${new F()}`, F.c);

//// overloads and guards
function over(a: string): string; function over(a: number): number; function over(a: any): any { return a } class O { m(a: 1): 1; m(a: any): any { return a } } function isStr(x: unknown): x is string { return typeof x === 'string' } function assertOk(x: unknown): asserts x { if (!x) throw new Error('not ok') }
console.log(over('a'), over(1), new O().m(1), isStr(1)); try { assertOk(0) } catch (e: unknown) { console.log((e as Error).message) }

//// generics
class Stack<T> { private items: T[] = []; push(...x: T[]): this { this.items.push(...x); return this } pop(): T | undefined { return this.items.pop() } *[Symbol.iterator](): Iterator<T> { yield* this.items } } const st = new Stack<number>().push(1, 2); console.log([...st], st.pop(), new Map<string, Array<number>>([['a', [1]]]), f<number>(1)); function f<T>(x: T) { return [x] as const }
const r = new Array<Promise<string>>(Promise.resolve('x')); console.log(await r[0], Object.entries<number>({ a: 1 }), a < b, a < (b)); var a = 1, b = 2;

//// type imports
import type { PathLike } from 'node:fs'; import { type Stats, statSync } from 'node:fs'; import { type ParsedPath } from 'path'; export type { PathLike }; export type Mine = number; const p: PathLike = '/'; console.log(statSync(p).isDirectory());

//// imports of types without the word
import { EventEmitter } from 'node:events'; class Bus extends EventEmitter {} console.log(new Bus() instanceof EventEmitter);

//// import require
import fs = require('node:fs'); console.log(typeof fs.readFileSync);

//// commonjs style
const path = require('node:path') as typeof import('node:path'); console.log(path.sep, typeof module, require.main === module);

//// top-level await
const v: number = await Promise.resolve(1); console.log(v); export {};

//// keyword names
let type = 1, declare = 2, namespace = 3, module1 = 4, abstract = 5, as = 6, is = 7, of = 8, readonly = 9, keyof = 10, infer = 11, unique = 12, satisfies = 13, accessor = 14, override = 15, out = 16, asserts = 17, global1 = 18, any = 19, never = 20, from = 21; console.log(type + declare + namespace + module1 + abstract, as, is, of, readonly, keyof, infer, unique, satisfies, accessor, override, out, asserts, any, never, from);
type
= 5
console.log(type)

//// arrow generics and asserts
const id = <T extends unknown>(x: T) => x, opt = (a?: number, b: number = 2): number => (a ?? 0) + b, cond = true ? (x: number): number => x : (y: any) => y; console.log(id(1), opt(), (cond as any)(3), ((x: any): x is string => true)(1), [1, 2].map((x): number => x * 2), (<T,>(x: T) => x)(5), (function <T>(this: void, x: T) { return x })(6));

//// satisfies and const
const cfg = { a: 1, b: ['x'] } as const satisfies { a: number; b: readonly string[] }; const { a, b: [c] }: { a: number; b: readonly [string] } = cfg; console.log(a, c, cfg!.a!, (cfg as any)?.zz!?.y);

//// error in typed code
interface A {
  a: number
}
type B = {
  b: string
}
function boom(x: A & B): never {
  throw new RangeError('typed')
}
boom({ a: 1, b: 'x' })

//// stack in typed code
type T = {
  a: string
}
class K<T> {
  constructor(private readonly v: T) {}
  fail(): never { throw new Error(`stack ${this.v}`) }
}
enum E { A }
try { new K<number>(1).fail() } catch (e) { console.log((e as Error).stack) }

//// stack in stripped code
type T = {
  a: string
}
function fail(x: T): never { throw new Error(x.a) }
try { fail({ a: 'm' }) } catch (e) { console.log((e as Error).stack) }

//// type errors run
const wrong: number = 'text' as any; console.log(wrong.toFixed ? 1 : 2); const n: string = 5 as never; console.log(n);

//// names across cells
interface Item { id: number; name?: string } enum Kind { A = 'a', B = 'b' }

class Store<T extends Item> { private items = new Map<number, T>(); constructor(public readonly kind: Kind) {} add(i: T): this { this.items.set(i.id, i); return this } get size(): number { return this.items.size } }

const store = new Store<Item>(Kind.B).add({ id: 1 }).add({ id: 2, name: 'two' });

console.log(store.size, store.kind, store);

namespace Util { export const double = (x: number): number => x * 2 }

type Pair = [number, string]; const pair: Pair = [Util.double(4), Kind.A]; console.log(pair);

//// using typed
class Res implements Disposable { constructor(private n: string) {} [Symbol.dispose](): void { console.log('close', this.n) } } { using r: Res = new Res('a'); console.log('in') } using top: Res | null = null; console.log('end');

//// async generators typed
async function* gen(n: number): AsyncGenerator<number, void, unknown> { for (let i = 0; i < n; i++) yield i } const out: number[] = []; for await (const x of gen(3)) out.push(x); console.log(out);

//// abstract and this types
abstract class Model { static create<T extends Model>(this: new () => T): T { return new this() } clone(): this { return Object.create(Object.getPrototypeOf(this)) } } class User extends Model { name = 'u' } console.log(User.create(), User.create().clone());

//// mixins
type Ctor<T = {}> = new (...a: any[]) => T; const Timed = <B extends Ctor>(Base: B) => class extends Base { at = 1 }; class Plain { p = 0 } const Mixed = Timed(Plain); console.log(new Mixed());

//// literal types and templates
type Id = `id-${number}`; const id: Id = 'id-5'; const re = /</g, lt = 1 < 2, cmp = (1 as number) < (2 as number); console.log(id.replace(re, ''), lt, cmp, `<b>${id}</b>`);

//// index and optional call
const o: Record<string, ((...a: any[]) => any) | undefined> = { f: (x: number) => x }; console.log(o['f']?.(1), o.g?.(2), o.f!(3), (o as any)['h']?.['i']?.j);

//// object with accessors
const acc = { get x(): number { return 1 }, set x(v: number) { console.log('set', v) }, async *gen(): AsyncGenerator<number> { yield 1 }, method<T>(a: T): T { return a } }; acc.x = 5; console.log(acc.x, acc.method<string>('m'));

//// unicode and comments
// a comment before
/* block */ const ünï: string = '🎉漢字'; /** doc */ function docd(/* inline */ a: string /* after */): string /* ret */ { return a } console.log(ünï, docd('x')); // trailing

//// catch and labels
try { JSON.parse('{') } catch (error: any) { console.log(error.name, error instanceof SyntaxError) } outer: for (const i of [1, 2] as number[]) { for (const j of [1] as const) { if (i === 2) break outer; console.log(i, j) } }

//// triple slash and ts comments
/// <reference types="node" />
// @ts-expect-error
const x: number = 'str'; // @ts-ignore
console.log(x);

//// declare global
declare global { interface Array<T> { mine(): T } var gvar: number } declare module 'fake' { export const a: number } (globalThis as any).gvar = 4; console.log(gvar); export {};

//// syntax error missing brace
function f(: number) {}

//// syntax error type
const a: = 1

//// syntax error end
const a = (1 +
