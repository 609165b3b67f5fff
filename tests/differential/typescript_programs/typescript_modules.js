//// static imports
import fs, { existsSync as exists } from 'node:fs'; import * as path from 'path'; import { setTimeout as sleep } from 'node:timers/promises'; import os from 'os';
console.log(typeof fs.readFileSync, exists('/'), path.sep, await sleep(1, 'v'), typeof os.cpus, path[Symbol.toStringTag]);

//// exports
export const a = 1; export default function main() { return 'm' } export class K {} export { a as b }; export * from 'node:path';
console.log(a, main(), typeof K);

//// import meta
import { pathToFileURL } from 'node:url';
console.log(typeof import.meta.url, import.meta.url.startsWith('file:'), typeof import.meta.dirname, typeof import.meta.filename, import.meta.resolve('node:fs'), import.meta.main, new URL('./x', import.meta.url).protocol, import.meta.dirname === process.cwd());

//// main guard
import { fileURLToPath } from 'node:url'; import process from 'node:process';
if (process.argv[1] === fileURLToPath(import.meta.url)) console.log('is main'); else console.log('not main');

//// hoisted import
console.log(sep); import { sep } from 'path';

//// missing export
import { nothing } from 'node:fs'; console.log('never');

//// missing module
console.log('never'); import './missing-file.mjs';

//// missing package
import x from 'missing-package-q';

//// top-level await
const v = await Promise.resolve(5); console.log(v); const { a } = await (async () => ({ a: 1 }))(); console.log(a); if (await true) console.log('t'); for (const p of [1, 2]) console.log(await p); console.log(await (await (async () => 'nested')()));

//// await in odd places
console.log([await 1, ...(await [2])], { k: await 3 }, `${await 4}`, (await 5) + (await 6), await (async () => await 7)(), (await { then: (r) => r(8) }), typeof (await null), !(await false), await await 9);

//// this in a module
import 'fs'; console.log(this);

//// live bindings
import { createRequire } from 'module'; import { writeFileSync } from 'fs'; writeFileSync('live.mjs', 'export let n = 0; export function inc() { n++ }'); const m = await import('./live.mjs'); m.inc(); console.log(m.n, typeof createRequire(import.meta.url)('fs').statSync);

//// strict by import
import 'fs'; try { undeclared1 = 1; console.log('sloppy') } catch (e) { console.log(e.name) }

//// import with query
import { writeFileSync } from 'fs'; writeFileSync('q.mjs', 'export default import.meta.url.split("?")[1]'); console.log((await import('./q.mjs?v=1')).default, (await import('./q.mjs?v=2')).default);

//// data url
const m = await import('data:text/javascript,export default 5'); console.log(m.default);

//// reexport of imported names
import { sep } from 'path'; export { sep as separator }; export { join } from 'path'; console.log(sep);

//// import attribute json
import { writeFileSync } from 'node:fs'; writeFileSync('j.json', '{"x":1}'); const { default: j } = await import('./j.json', { with: { type: 'json' } }); console.log(j.x);

//// import in functions
const load = async (n) => (await import(n)).default; console.log(typeof await load('fs')); class L { static async m() { return (await import('os')).EOL } } console.log(await L.m());

//// commonjs interop
import { writeFileSync } from 'fs'; writeFileSync('cj.cjs', 'module.exports = { a: 1, get b() { return 2 } }; module.exports.c = 3;'); const { default: all, c } = await import('./cj.cjs'); console.log(all, c);

//// names across cells
import { basename } from 'path';
import def, * as ns from 'url';

console.log(basename('/a/b'), typeof def.parse, typeof ns.URL);

const cfg = { n: 1 }; export const exported = cfg;

console.log(exported === cfg);
