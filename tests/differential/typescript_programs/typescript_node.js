//// promises order
console.log('sync'); setTimeout(() => console.log('timeout'), 0); setImmediate(() => console.log('immediate')); Promise.resolve().then(() => console.log('micro')); process.nextTick(() => console.log('tick')); queueMicrotask(() => console.log('queued')); console.log('end');

//// async main
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
async function main() { console.log('start'); await sleep(10); console.log('slept'); const r = await Promise.all([1, sleep(5).then(() => 2)]); console.log(r); return 'result' }
main().then((r) => console.log('done', r)).finally(() => console.log('finally'));

//// rejected main caught
async function main() { throw new Error('bad') }
main().catch((e) => { console.error('caught', e.message); process.exitCode = 0 });

//// combinators
const wait = (ms, v, fail) => new Promise((res, rej) => setTimeout(fail ? rej : res, ms, v));
console.log(await Promise.allSettled([wait(2, 'a'), wait(1, 'b', true)]), await Promise.race([wait(20, 'slow'), wait(1, 'fast')]), await Promise.any([wait(1, 'x', true), wait(2, 'y')]));

//// timers
const t = setInterval(() => { console.log('tick'); if (++n === 3) clearInterval(t) }, 2); let n = 0; clearTimeout(setTimeout(() => console.log('never'), 1)); const { setTimeout: st } = require('timers/promises'); console.log(await st(3, 'value')); await st(30);

//// events
const EventEmitter = require('events'); const e = new EventEmitter(); e.once('x', (...a) => console.log('once', a)); e.on('x', function (a) { console.log(this === e, a) }); console.log(e.emit('x', 1), e.emit('x', 2), e.emit('none'), e.listenerCount('x')); setTimeout(() => e.emit('later', 5)); const [v] = await EventEmitter.once(e, 'later'); console.log(v);
const target = new EventTarget(); target.addEventListener('y', (ev) => console.log(ev.type, ev instanceof Event)); target.dispatchEvent(new Event('y'));

//// streams
const { Readable, Transform } = require('stream'); const { pipeline } = require('stream/promises'); const chunks = []; await pipeline(Readable.from(['a', 'b']), new Transform({ transform(c, _, cb) { cb(null, c.toString().toUpperCase()) } }), async function* (src) { for await (const c of src) chunks.push(String(c)) }); console.log(chunks);
Readable.from(['piped ', 'out\n']).pipe(process.stdout);

//// pipeline to stdout
const { Readable } = require('stream'); require('stream').pipeline(Readable.from(['x\n', 'y\n']), process.stdout, (e) => console.log('ended', e)); 

//// fs
const fs = require('fs'), path = require('path'); fs.writeFileSync('f.txt', 'one\ntwo'); fs.appendFileSync('f.txt', '\n3'); console.log(fs.readFileSync('f.txt', 'utf8').split('\n'), fs.existsSync('f.txt'), fs.statSync('f.txt').size, path.extname('f.txt')); fs.mkdirSync('d/e', { recursive: true }); fs.renameSync('f.txt', 'd/e/g.txt'); console.log(fs.readdirSync('d', { recursive: true }), await fs.promises.readFile('d/e/g.txt', 'utf8')); fs.rmSync('d', { recursive: true }); try { fs.readFileSync('gone') } catch (e) { console.log(e.code, e.syscall, e.errno) }
fs.readFile('gone', (err) => console.log('callback', err.code));

//// readline
const rl = require('readline').createInterface({ input: require('stream').Readable.from(['l1\nl2\n', 'l3']) }); for await (const line of rl) console.log('line', line);

//// stdin is empty
process.stdin.on('data', (d) => console.log('data', d)); process.stdin.on('end', () => console.log('stdin ended'));

//// stdin read sync
console.log(JSON.stringify(require('fs').readFileSync(0, 'utf8')));

//// child process sync
const cp = require('child_process'); console.log(cp.execSync('echo hi').toString(), cp.spawnSync('sh', ['-c', 'echo out; echo err >&2; exit 3'], { encoding: 'utf8' }).status); try { cp.execSync('exit 2', { stdio: 'ignore' }) } catch (e) { console.log(e.status, e.message) } console.log(cp.execFileSync('printf', ['%s', 'x']).toString(), cp.spawnSync('no-such-program-z').error.code);

//// child process inherits
const cp = require('child_process'); console.log('before'); cp.execSync('echo from child', { stdio: 'inherit' }); console.log('after');
cp.spawnSync('sh', ['-c', 'echo to err >&2'], { stdio: 'inherit' });

//// child process async
const cp = require('child_process'); const c = cp.spawn('sh', ['-c', 'cat; echo done >&2; exit 4'], { stdio: 'pipe' }); c.stdout.on('data', (d) => console.log('out', String(d))); c.stderr.on('data', (d) => console.log('err', String(d))); c.stdin.end('input'); await new Promise((r) => c.on('close', (code) => { console.log('closed', code); r() }));

//// child process promise
const { promisify } = require('util'); const exec = promisify(require('child_process').exec); console.log(await exec('echo a; echo b >&2')); await exec('exit 7').catch((e) => console.log(e.code));

//// child process node
console.log(require('child_process').execFileSync(process.execPath, ['-e', 'console.log(1 + 1, process.argv.length)']).toString());

//// fork with messages
const fs = require('fs'); fs.writeFileSync('child.cjs', "process.on('message', (m) => { process.send({ got: m, twice: m.n * 2 }); process.disconnect() })"); const child = require('child_process').fork('./child.cjs'); child.on('message', (m) => console.log('parent', m)); child.send({ n: 21 }); await new Promise((r) => child.on('exit', (code) => { console.log('exit', code); r() }));

//// worker threads
const { Worker, isMainThread, threadId, workerData } = require('worker_threads'); console.log(isMainThread, threadId); const w = new Worker("const { parentPort, workerData, isMainThread } = require('worker_threads'); parentPort.postMessage([workerData * 2, isMainThread]); parentPort.once('message', (m) => parentPort.postMessage('echo ' + m))", { eval: true, workerData: 21 }); w.once('message', (m) => { console.log(m); w.postMessage('x'); w.once('message', (m2) => console.log(m2)) }); await new Promise((r) => w.on('exit', (c) => { console.log('exit', c); r() }));

//// worker prints
const { Worker } = require('worker_threads'); const w = new Worker("console.log('from worker'); console.error('worker err')", { eval: true }); await new Promise((r) => w.on('exit', r)); await new Promise((r) => setTimeout(r, 20));

//// worker fails
const { Worker } = require('worker_threads'); const w = new Worker("throw new TypeError('in worker')", { eval: true }); await new Promise((r) => w.on('error', (e) => { console.log('error', e.name, e.message, e instanceof Error); r() }));

//// worker fails unheard
const { Worker } = require('worker_threads'); new Worker("throw new TypeError('unheard')", { eval: true });

//// worker file
require('fs').writeFileSync('w.mjs', "import { parentPort, workerData } from 'node:worker_threads'; parentPort.postMessage(workerData.map((x) => x ** 2))"); const { Worker } = require('worker_threads'); const w = new Worker('./w.mjs', { workerData: [1, 2, 3] }); console.log(await new Promise((r) => w.on('message', r)));

//// shared memory
const { Worker } = require('worker_threads'); const sab = new SharedArrayBuffer(4); const view = new Int32Array(sab); const w = new Worker("const v = new Int32Array(require('worker_threads').workerData); for (let i = 0; i < 100; i++) Atomics.add(v, 0, 1); Atomics.notify(v, 0)", { eval: true, workerData: sab }); await new Promise((r) => w.on('exit', r)); console.log(view[0], Atomics.load(view, 0));

//// message channel
const { port1, port2 } = new MessageChannel(); port2.on('message', (m) => { console.log(m); port2.close() }); port1.postMessage({ a: new Map([[1, new Set([2])]]), d: new Date(0), e: new RangeError('cloned').message });

//// async local storage
const { AsyncLocalStorage } = require('async_hooks'); const als = new AsyncLocalStorage(); await als.run({ id: 1 }, async () => { await null; console.log(als.getStore()); await new Promise((r) => setTimeout(() => { console.log(als.getStore()); r() }, 1)) }); console.log(als.getStore());

//// buffers
console.log(Buffer.from('héllo').toString('base64'), Buffer.concat([Buffer.from([1]), Buffer.alloc(2)]), Buffer.from('ff00', 'hex').readUInt16BE(), Buffer.byteLength('é'), Buffer.from([1, 2, 3]).subarray(1), Buffer.compare(Buffer.from('a'), Buffer.from('b')), Buffer.from('abc').equals(Buffer.from('abc')), Buffer.from('x'.repeat(60)), btoa('hi'), new TextDecoder().decode(new Uint8Array([0xc3, 0xa9])));

//// crypto and zlib
const crypto = require('crypto'), zlib = require('zlib'); console.log(crypto.createHash('sha256').update('x').digest('hex').slice(0, 16), crypto.randomUUID().length, zlib.gunzipSync(zlib.gzipSync('zip')).toString(), crypto.createHmac('md5', 'k').update('d').digest('base64'), (await crypto.subtle.digest('SHA-1', Buffer.from('a'))).byteLength, typeof globalThis.crypto.getRandomValues);

//// url and path and os
const path = require('path'), os = require('os'), url = require('url'), qs = require('querystring'); console.log(path.join('/a', '../b'), path.resolve('/x', 'y'), path.parse('/d/f.tar.gz'), path.relative('/a/b', '/a/c'), url.parse('http://a.b/c?d=1').query, new URL('../x', 'http://h/a/b').href, qs.parse('a=1&a=2'), os.EOL, url.fileURLToPath('file:///a%20b'), url.pathToFileURL('/a b').href);

//// http server
const http = require('http'); const server = http.createServer((req, res) => { res.setHeader('X-A', 'b'); res.end(JSON.stringify({ url: req.url, m: req.method })) }); await new Promise((r) => server.listen(0, '127.0.0.1', r)); const { port } = server.address(); const res = await fetch(`http://127.0.0.1:${port}/path?q=1`); console.log(res.status, res.headers.get('x-a'), await res.json()); await new Promise((r) => http.get({ port, host: '127.0.0.1', path: '/g' }, (m) => { m.setEncoding('utf8'); let b = ''; m.on('data', (d) => (b += d)); m.on('end', () => { console.log(b); r() }) })); server.close(); server.closeAllConnections();

//// fetch fails
await fetch('http://127.0.0.1:9').catch((e) => console.log(e.name, e.message, e.cause.code));

//// abort
const ac = new AbortController(); setTimeout(() => ac.abort(), 2); try { await require('timers/promises').setTimeout(1000, null, { signal: ac.signal }) } catch (e) { console.log(e.name, e.code, e.message) } await fetch('http://127.0.0.1:9', { signal: AbortSignal.abort() }).catch((e) => console.log(e.name));

//// process facts
console.log(process.argv.length >= 1, typeof process.pid, process.platform, process.version === process.versions.node.replace(/^/, 'v'), process.title.length > 0, process.execArgv.length >= 0, typeof process.memoryUsage().rss, process.uptime() > 0, typeof process.hrtime.bigint(), process.exitCode, process.env.NOPE, 'PATH' in process.env, process.cwd() === require('path').resolve('.'), process.release.name, process.features.typescript !== undefined);

//// process env
process.env.MINE = 5; console.log(process.env.MINE, typeof process.env.MINE, delete process.env.MINE, process.env.MINE); process.env.TZ = 'Asia/Tokyo'; console.log(new Date(0).getHours());

//// process events
process.on('exit', (code) => console.log('exit event', code)); console.log('body');

//// process before exit
process.once('beforeExit', () => console.log('beforeExit')); console.log('body');

//// process exit in a callback
setTimeout(() => { console.log('exiting'); process.exit(5) }, 2); await new Promise(() => { setTimeout(() => {}, 1000) });

//// process exit in try
try { process.exit(6) } catch (e) { console.log('caught', e) } finally { console.log('finally') }

//// process exit code
process.exitCode = 3; console.log('set');

//// process warning
process.emitWarning('careful', 'MyWarning', 'W1'); process.on('warning', (w) => console.log('heard', w.name, w.message));

//// deprecation
new Buffer(1); console.log('made');

//// uncaught handler
process.on('uncaughtException', (e, origin) => console.log('handled', e.message, origin)); setTimeout(() => { throw new Error('in timer') }, 1); await new Promise((r) => setTimeout(r, 20)); console.log('still alive');

//// unhandled rejection handler
process.on('unhandledRejection', (reason, p) => console.log('unhandled', reason.message, p instanceof Promise)); Promise.reject(new Error('r')); await new Promise((r) => setTimeout(r, 20)); console.log('alive');

//// rejection handled late
const p = Promise.reject(new Error('late')); await null; p.catch((e) => console.log('caught', e.message)); await new Promise((r) => setTimeout(r, 5));

//// signal handler
process.on('SIGUSR2', (s, n) => console.log('got', s, n)); process.kill(process.pid, 'SIGUSR2'); await new Promise((r) => setTimeout(r, 20));

//// performance
performance.mark('a'); performance.mark('b'); console.log(performance.measure('m', 'a', 'b').name, typeof performance.now(), performance.getEntriesByType('mark').length, performance.timeOrigin > 0);

//// vm
const vm = require('vm'); console.log(vm.runInNewContext('a + 1', { a: 2 }), new vm.Script('1 + 1').runInThisContext(), vm.isContext(vm.createContext({}))); try { vm.runInNewContext('x y', {}, 'named.js') } catch (e) { console.log(e.name, e.message) }

//// module facts
console.log(typeof require, typeof module, typeof exports, typeof __dirname, typeof __filename, require.main === module, module.exports === exports, require('path') === require('node:path'), typeof require.resolve, require.resolve('fs'), typeof require.cache, module.children.length, require('module').builtinModules.length > 50, require('path').isAbsolute(__filename), __dirname === process.cwd());

//// require files
const fs = require('fs'); fs.writeFileSync('m.cjs', "exports.n = (exports.n ?? 0) + 1; exports.name = require('path').basename(__filename)"); fs.writeFileSync('data.json', '{"a":[1]}'); fs.mkdirSync('pkg', { recursive: true }); fs.writeFileSync('pkg/index.js', 'module.exports = "index of pkg"'); console.log(require('./m.cjs'), require('./data.json'), require('./data'), require('./pkg'), require('./m.cjs') === require('./m.cjs')); delete require.cache[require.resolve('./m.cjs')]; console.log(require('./m.cjs').n);

//// require esm
require('fs').writeFileSync('e.mjs', 'export default 1; export const named = 2'); const ns = require('./e.mjs'); console.log(ns.default, ns.named, ns[Symbol.toStringTag], ns);

//// import files
const fs = await import('node:fs'); fs.writeFileSync('x.mjs', 'export default class K {}; export const a = 1; export let b = 2; export const inc = () => b++'); fs.writeFileSync('c.cjs', 'exports.q = 1; exports.default = "d"; module.exports.fn = () => 2'); const ns = await import('./x.mjs'); console.log(ns, ns.b, ns.inc(), ns.b, ns.default.name); const c = await import('./c.cjs'); console.log(c.default, c.q, c.fn()); try { ns.a = 5 } catch (e) { console.log(e.message) } console.log(Object.keys(ns), 'a' in ns);

//// import json
require('fs').writeFileSync('d.json', '{"k": [1, 2]}'); const d = await import('./d.json', { with: { type: 'json' } }); console.log(d.default, d);

//// import errors
require('fs').writeFileSync('bad.mjs', 'export const a = ;'); require('fs').writeFileSync('throws.mjs', 'throw new RangeError("while loading")'); require('fs').writeFileSync('throws.cjs', 'null.x'); for (const f of ['./bad.mjs', './throws.mjs', './throws.cjs', './none.mjs']) await import(f).catch((e) => console.log(f, e.name, e.code, e.message.replace(/'.*?'/g, 'Q')));

//// import cycle
const fs = require('fs'); fs.writeFileSync('a.mjs', "import { b } from './b.mjs'; export const a = 'a'; export const both = () => a + b"); fs.writeFileSync('b.mjs', "import { a } from './a.mjs'; export const b = 'b'; export const get = () => a"); console.log((await import('./a.mjs')).both(), (await import('./b.mjs')).get());

//// dynamic import of builtins
const [{ default: p }, { sep }] = await Promise.all([import('path'), import('node:path')]); console.log(p.sep === sep, (await import('fs')).default === require('fs'), import('path') instanceof Promise, Object.prototype.toString.call(await import('os')));

//// global assignments
globalThis.g1 = 1; var g2 = 2; let g3 = 3; console.log(g1, g2, g3, 'g1' in globalThis, typeof global.g1, delete globalThis.g1, typeof g1);

//// big output
process.stdout.write('x'.repeat(1 << 20) + '\n'); console.error('y'.repeat(1 << 18));

//// node test
const test = require('node:test'), assert = require('assert'); console.log(typeof test, typeof test.describe, assert.AssertionError.name);

//// assert messages
const assert = require('assert'); for (const f of [() => assert.equal(1, 2), () => assert.deepEqual([1, 2, [3]], [1, 2, [4]]), () => assert.strictEqual('a\nb', 'a\nc'), () => assert.throws(() => { throw new Error('x') }, /y/), () => assert.notEqual(1, 1), () => assert.match('a', /b/), () => assert.fail('f'), () => assert.ifError(new Error('e'))]) try { f() } catch (e) { console.log(e.name, e.code, e.message) }

//// sqlite
const { DatabaseSync } = require('node:sqlite'); const db = new DatabaseSync(':memory:'); db.exec('CREATE TABLE t (a INT, b TEXT)'); db.prepare('INSERT INTO t VALUES (?, ?)').run(1, 'x'); console.log(db.prepare('SELECT * FROM t').all());

//// parse args
const { parseArgs } = require('util'); console.log(parseArgs({ args: ['-f', '--bar', 'b'], options: { f: { type: 'boolean', short: 'f' }, bar: { type: 'string' } } }));

//// error properties
try { require('fs').openSync('/none') } catch (e) { console.log(Object.entries(e), e.toString()) }
const e = new Error('m', { cause: { why: 1 } }); console.log(e.cause, 'cause' in e, Object.keys(e), JSON.stringify(e), e.propertyIsEnumerable('cause')); console.log(new AggregateError([1], 'm').errors, Error('no new') instanceof Error, Error.stackTraceLimit);

//// capture stack trace
const o = {}; Error.captureStackTrace(o); console.log(typeof o.stack, o.stack.split('\n')[0]); function skip() { const e = {}; Error.captureStackTrace(e, skip); return e.stack.includes('skip') } console.log(skip());

//// prepare stack trace
const old = Error.prepareStackTrace; Error.prepareStackTrace = (e, sites) => sites[0].getFunctionName() + ' ' + Array.isArray(sites); function named() { return new Error('x').stack } console.log(named()); Error.prepareStackTrace = old; console.log(new Error('y').stack.split('\n')[0]);

//// stack trace limit
Error.stackTraceLimit = 1; function a() { return new Error('s').stack.split('\n').length } console.log(a()); Error.stackTraceLimit = 0; console.log(new Error('none').stack);

//// patched console
const lines = []; const log = console.log; console.log = (...a) => lines.push(a); console.log('captured', 1); console.log = log; console.log(lines);

//// patched write
const w = process.stdout.write; let got = ''; process.stdout.write = (c) => { got += c; return true }; console.log('hidden'); process.stdout.write = w; console.log('seen', JSON.stringify(got));

//// patched prototypes
Array.prototype.last = function () { return this[this.length - 1] }; String.prototype.shout = function () { return this.toUpperCase() + '!' }; console.log([1, 2].last(), 'a'.shout(), [1]); for (const k in [5]) console.log(k); delete Array.prototype.last;

//// frozen
console.log(Object.isFrozen(Object.freeze({})), Object.freeze([1, 2]), Object.seal({ a: 1 }));

//// recursion depth
let d = 0; function rec() { d++; rec() } try { rec() } catch (e) { console.log(e.name, e.message, d > 5000) }

//// memory heavy
const a = new Array(1e6).fill(0).map((_, i) => i); console.log(a.reduce((x, y) => x + y), a.length);

//// sort and stable
console.log([{ k: 1, v: 'a' }, { k: 0, v: 'b' }, { k: 1, v: 'c' }].sort((x, y) => x.k - y.k).map((x) => x.v).join(''));

//// web apis
const fd = new FormData(); fd.append('a', '1'); console.log([...fd], new Response('b').status, await new Response('{"a":1}').json(), new Headers([['X', 'y']]).get('x'), await new Blob(['ab', 'c']).text(), typeof WebSocket, typeof navigator, navigator.hardwareConcurrency > 0, structuredClone(new Map([[1, 2]])), typeof CompressionStream, typeof localStorage);
const bc = new BroadcastChannel('c'); bc.close(); console.log(new CustomEvent('e', { detail: 1 }).detail, typeof reportError, new Event('x').cancelable);

//// web streams
const rs = new ReadableStream({ start(c) { c.enqueue('a'); c.enqueue('b'); c.close() } }); for await (const x of rs) console.log(x); console.log(await new Response(new Blob(['hi']).stream().pipeThrough(new CompressionStream('gzip')).pipeThrough(new DecompressionStream('gzip'))).text());

//// diagnostics channel
const dc = require('diagnostics_channel'); dc.subscribe('x', (m) => console.log('msg', m)); dc.channel('x').publish({ a: 1 });

//// repl inspect
console.log(require('util').inspect(globalThis, { depth: -1 }), Object.keys(globalThis).includes('setTimeout'));

//// global keys
console.log(Object.keys(globalThis).filter((k) => !/^__/.test(k)).sort().join());

//// domain and deprecations
console.log(require('punycode') !== undefined);
