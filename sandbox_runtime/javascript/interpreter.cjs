/**
 * Starts the interpreter. User code runs on this thread, in Node's own realm. The control thread (control.cjs) owns the
 * socket and evaluates cells here through the inspector.
 */
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const os = require('node:os');
const path = require('node:path');
const { MessageChannel, Worker } = require('node:worker_threads');
const { globalThis, process } = require('./globals.cjs');
const { local } = require('./bytes.cjs');
const { Compiler } = require('./compiler.cjs');
const { prepareImports, refreshModulePaths } = require('./imports.cjs');
const { installModuleHooks } = require('./module_hooks.cjs');
const { RingWriter, createRing } = require('./ring.cjs');
const { StackTraces } = require('./stack_traces.cjs');
const { installUserEnvironment } = require('./user_environment.cjs');

const FATAL = 70; // EX_SOFTWARE
const exitProcess = process.reallyExit.bind(process);
let nullFd;

function main() {
  const controlFd = Number(process.env.SANDBOX_CONTROL_FD);
  delete process.env.SANDBOX_CONTROL_FD;
  if (!Number.isInteger(controlFd) || controlFd < 3) throw new Error('SANDBOX_CONTROL_FD is not a descriptor');
  const shared = createRing();
  const compilers = [local(process.argv).slice(2), os.tmpdir()];
  const { port1, port2: traces } = new MessageChannel();
  const stackTraces = new StackTraces(port1, __dirname);
  const control = new Worker(path.join(__dirname, 'control.cjs'), {
    // For Node's own parser. The flag applies only to that thread.
    execArgv: ['--expose-internals'],
    workerData: { controlFd, shared, traces, compilers },
    transferList: [traces],
    env: {},
    // Opening this process's streams here would make the pipes non-blocking for children.
    stdout: true,
    stderr: true,
  });
  // Their prototypes are the user's, too.
  Object.defineProperty(control, 'emit', { value: control.emit });
  const post = port1.postMessage.bind(port1);
  control.on('message', (message) => {
    stackTraces.receive();
    answer(post, message);
  });
  control.on('error', (error) => fail(`control thread: ${error.stack}`));
  control.on('exit', () => exitProcess(FATAL));
  const ring = new RingWriter(shared);
  prepareChildren(controlFd, ring);
  installModuleHooks(new Compiler(...compilers));
  prepareImports();
  installUserEnvironment(ring, fail);
  stackTraces.install();
  hideInternals();
  // Node loads it at its first use. An interrupt of that use would leave it undefined for ever.
  void globalThis.performance;
}

function answer(post, message) {
  if (message.type === 'init') initialize(message);
  post({ type: 'done', id: message.id });
}

function initialize({ env, cwd }) {
  Object.assign(process.env, env);
  refreshModulePaths();
  if (!cwd) return;
  try {
    process.chdir(cwd);
  } catch (error) {
    fs.writeSync(2, `cannot enter ${cwd}: ${error.message}\n`);
  }
  // The name in import.meta.filename, so that code which compares the two runs as the main program.
  process.argv[1] = path.join(process.cwd(), 'cell.js');
}

function fail(message) {
  fs.writeSync(2, `${message}\n`);
  exitProcess(FATAL);
}

/** Changes how programs are started: after the output that was written before, and without our descriptor. */
function prepareChildren(controlFd, ring) {
  const prepare = (stdio) => {
    if (stdio.some(isOurOutput)) ring.synchronize();
    return controlFd > 15 ? withoutControl(stdio, controlFd) : stdio;
  };
  const { prototype } = process.binding('process_wrap').Process;
  const { spawn } = prototype;
  // Node passes a list of descriptors among other arguments; before 24.19 it passed one object with everything.
  prototype.spawn = function spawnPrepared(...given) {
    const prepared = given.map((value) => {
      if (Array.isArray(value?.stdio)) return { ...value, stdio: prepare(local(value.stdio)) };
      return Array.isArray(value) && typeof value[0] === 'object' ? prepare(local(value)) : value;
    });
    return Reflect.apply(spawn, this, prepared);
  };
  const synchronous = process.binding('spawn_sync');
  const { spawn: spawnSync } = synchronous;
  synchronous.spawn = (options) => {
    const result = spawnSync({ ...options, stdio: prepare(local(options.stdio)) });
    if (result.output) result.output.length = options.stdio.length;
    return result;
  };
}

/** True for a child's descriptor that is our stdout or stderr. */
function isOurOutput({ type, fd }) {
  return type === 'inherit' || (type === 'fd' && (fd === 1 || fd === 2));
}

/**
 * Opens /dev/null in the place of missing descriptors. At its start, Node marks descriptors as close-on-exec, but only
 * up to the first gap above 15. Every child would inherit a descriptor after the gap.
 */
function withoutControl(stdio, controlFd) {
  nullFd ??= fs.openSync('/dev/null', 'r+');
  const all = [...stdio];
  while (all.length < controlFd) all.push({ type: 'ignore' });
  all[controlFd] ??= { type: 'fd', fd: nullFd };
  return all;
}

/** Hides our arguments and modules from user code. */
function hideInternals() {
  process.execArgv.splice(0);
  process.argv.splice(1);
  process.mainModule = undefined;
  for (const file of Object.keys(Module._cache)) {
    if (path.dirname(file) === __dirname) delete Module._cache[file];
  }
}

main();
