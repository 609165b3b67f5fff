//// method decorator
function twice(m: any, _c: any) { return function (this: any, ...a: any[]) { return m.apply(this, a) * 2 } }
class A { @twice n(x: number) { return x } @twice static s() { return 4 } } console.log(new A().n(5), A.s());

//// all kinds of decorators
const log = (label: string) => (value: any, context: any) => { console.log(label, context.kind, String(context.name), context.static, context.private); return undefined };
@log('class') class A { @log('field') f = 1; @log('method') m() {} @log('getter') get g() { return 1 } @log('setter') set g(v) {} @log('accessor') accessor a = 2; @log('static') static s = 1; @log('private') #p = 1; @log('private method') #pm() {} @log('computed') ['c' + 1]() {} } console.log(Object.keys(new A()), new A().a, A.name);

//// order of evaluation
const d = (n: string) => (console.log('eval', n), (_v: any, c: any) => { console.log('call', n) }); @d('outer') @d('inner') class A { @d('m1') @d('m2') m() {} @d('f') f = console.log('init') }; new A();

//// replacing a class
const sealed = (C: any, c: any) => class extends C { extra = c.name; static [Symbol.hasInstance]() { return true } }; @sealed class A { own = 1 } console.log(new A(), A.name, {} instanceof A);

//// initialisers
const bound = (m: any, c: any) => c.addInitializer(function (this: any) { this[c.name] = this[c.name].bind(this) }); class A { v = 7; @bound get7() { return this.v } } const { get7 } = new A(); console.log(get7()); const def = (x: any) => (_: any, c: any) => (init: any) => init ?? x; class B { @def(5) a?: number; @def(6) b = 1 } console.log(new B());

//// accessors
class A { accessor x = 1; static accessor s = 'st'; accessor #p = 3; accessor y: number | undefined; get p() { return this.#p } } const a = new A(); a.x++; A.s += '!'; console.log(a.x, A.s, a.p, a.y, Object.keys(a), Object.getOwnPropertyNames(A.prototype)); class B extends A { accessor x = 10 } console.log(new B().x);

//// accessor decorator
const clamp = (min: number, max: number) => (t: any, _c: any) => ({ get() { return t.get.call(this) }, set(v: number) { t.set.call(this, Math.min(max, Math.max(min, v))) }, init: (v: number) => v + 1 }); class A { @clamp(0, 10) accessor v = 5 } const a = new A(); console.log(a.v); a.v = 99; console.log(a.v); a.v = -5; console.log(a.v);

//// decorators with enums and types
enum E { A = 1 } interface I { a: E } namespace N { export const n = 2 } const tag = (t: E) => (C: any, _: any) => { C.tag = t }; @tag(E.A) abstract class K<T> { constructor(protected readonly v: T, public w = N.n) {} } class L extends K<string> {} console.log(new L('x'), (K as any).tag);

//// error lines
interface I {
  a: number
}
const deco = (m: any, _c: any) => m;
class A {
  @deco
  boom(): never {
    throw new Error('far down')
  }
}
new A().boom()

//// error in a decorator
const bad = (): any => { throw new TypeError('in decorator') }; class A { @bad() m() {} }

//// error not a function
const nope = 5 as any; @nope class A {}

//// decorated class across cells
const reg: any[] = []; const register = (C: any, c: any) => { reg.push(c.name) };

@register class One { v = 1 } 

@register class Two extends One { accessor w = 2 }

console.log(reg, new Two().v, new Two().w, One.name);

//// decorated expressions
const mark = (C: any, _: any) => { C.marked = true }; const K = @mark class Named {}; const J = @mark class {}; console.log((K as any).marked, K.name, (J as any).marked, J.name); export default @mark class Def {}

//// metadata
(Symbol as any).metadata ??= Symbol('m'); const meta = (k: string) => (_: any, c: any) => { c.metadata[k] = c.name }; @meta('cls') class A { @meta('m') m() {} } console.log({ ...(A as any)[(Symbol as any).metadata] });

//// jsx with own function
/** @jsx h */
/** @jsxFrag Frag */
const Frag = 'frag'; const h = (t: any, p: any, ...c: any[]) => ({ t: typeof t === 'function' ? t(p) : t, p, c }); const App = (p: { n: string }) => 'app ' + p.n; console.log(JSON.stringify(<div id="a" {...{ b: 1 }} flag>text {1 + 1}<App n="x" /><>{[1].map((i) => <b key={i}>{i}</b>)}</></div>));

//// jsx text rules
/** @jsx h */
const h = (t: any, p: any, ...c: any[]) => [t, p, ...c]; console.log(JSON.stringify(<p>
  one   two
  &lt;three&gt; &copy; {/* comment */} {'{'}
</p>), JSON.stringify(<a.b c-d="e&quot;" {...null}></a.b>)); var a = { b: 'ab' };

//// jsx with generics and types
/** @jsx h */
interface P<T> { v: T } const h = (t: any, p: any) => (typeof t === 'function' ? t(p) : t); function Show<T>({ v }: P<T>) { return typeof v } const arrow = <T,>(x: T) => x; console.log(<Show<number> v={1} />, arrow(<i />), (1 as any) < 2);

//// jsx error lines
/** @jsx h */
const h = (t: any, p: any) => t(p);
type T = {
  a: 1
}
const Bad = (p: any) => {
  throw new RangeError('in component')
};
const x = <div>{1}</div> && null;
<Bad />

//// jsx and decorators
/** @jsx h */
const h = (t: any) => t; const d = (m: any, _: any) => m; class V { @d render() { return <view /> } } console.log(new V().render());
