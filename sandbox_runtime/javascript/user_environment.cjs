/**
 * Prepares the main thread for user code. Adds our globals to Node's. Exit, uncaught errors and rejections end at most a
 * cell, never the process.
 */
'use strict';

const { isBuiltin } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { isPromise } = require('node:util/types');
const {
  AsyncDisposableStack,
  Boolean,
  Buffer,
  DisposableStack,
  Number,
  Object,
  Promise,
  String,
  Symbol,
  TypeError,
  URL,
  globalThis,
  process,
} = require('./globals.cjs');
const { describeError } = require('./error_texts.cjs');
const { createCellRequire, importModule } = require('./imports.cjs');
const { installOutput } = require('./output_streams.cjs');
const { Origins } = require('./origins.cjs');
const { createDisplay, sendResult } = require('./results.cjs');
const { Kind } = require('./ring.cjs');

/** The name of the object whose methods compiled cells call, as in cell_compiler.cjs. */
const HELPER = '__sandbox__';

/** The value that process.exit throws. Not an Error, so that a catch block can distinguish it. */
const EXIT = Object.freeze({ toString: () => 'process.exit' });

function installUserEnvironment(ring) {
  const origins = new Origins(ring);
  installOutput(ring, origins);
  defineHidden(HELPER, Object.freeze(createHelper(ring, origins)));
  installModuleGlobals();
  Object.defineProperty(globalThis, 'display', { value: createDisplay(ring, origins), writable: true, configurable: true });
  installExit(ring, origins);
  process.setUncaughtExceptionCaptureCallback((error) => reportUncaught(ring, origins, error));
  process.on('SIGINT', () => {}); // an interrupt of the process group is for the children
}

function defineHidden(name, value) {
  Object.defineProperty(globalThis, name, { value });
}

/**
 * Helpers of compiled cells. Each top-level `await x` becomes
 * `value(isStale(E, await (isStale(E) ? never : (x))) ? await never : 0)`, with the epoch E at which the cell began.
 */
function createHelper(ring, origins) {
  let awaited;
  let resources = new AsyncDisposableStack();
  return {
    begin: (number) => origins.begin(number),
    result: ({ value }) => sendResult(ring, value),
    /** Boxes a value, so that only real promises are awaited, and no other object with a `then`. */
    settled: (value) => (isPromise(value) ? box(value) : { value }),
    /** Remembers the value of a top-level `using` or `await using`, and returns it. */
    use(isAwaiting, value) {
      if (isAwaiting) return resources.use(value);
      const own = new DisposableStack();
      own.use(value);
      resources.defer(() => own.dispose());
      return value;
    },
    /** Forgets the resources of cells before, and disposes of them if their cell was not interrupted. */
    async dispose(isInterrupted) {
      const ended = resources;
      resources = new AsyncDisposableStack();
      if (!isInterrupted) await ended.disposeAsync();
    },
    import: importModule,
    rename: (target, name) => Object.defineProperty(target, 'name', { value: name }),
    set constant(_) {
      throw new TypeError('Assignment to constant variable.');
    },
    /** True if an interrupt came since `epoch`: the cell is over, and code after the await must not run. */
    isStale(epoch, value) {
      awaited = value;
      return ring.epoch !== epoch;
    },
    value() {
      const value = awaited;
      awaited = undefined;
      return value;
    },
    get never() {
      return new Promise(() => {});
    },
    /** Returns the iterator of a top-level `for await`. `text` is the expression in the cell. */
    each(epoch, iterable, text) {
      if (isIterable(iterable)) return eachUntil(() => ring.epoch !== epoch, iterable);
      throw new TypeError(`${text} is not async iterable`);
    },
    get meta() {
      const filename = path.join(process.cwd(), 'cell.js');
      const url = pathToFileURL(filename).href;
      const resolve = (specifier) => resolveUrl(String(specifier), url);
      return { url, filename, dirname: process.cwd(), main: true, resolve };
    },
    describe(thrown) {
      return thrown === EXIT ? null : describeError(thrown);
    },
  };
}

/** Implements import.meta.resolve, which does not look for files. */
function resolveUrl(specifier, base) {
  if (isBuiltin(specifier)) return specifier.startsWith('node:') ? specifier : `node:${specifier}`;
  if (/^\.{0,2}\/|^[a-z][a-z+.-]+:/i.test(specifier)) return new URL(specifier, base).href;
  return pathToFileURL(cellRequire.resolve(specifier)).href;
}

async function box(promise) {
  return { value: await promise };
}

function isIterable(value) {
  return Boolean(value?.[Symbol.asyncIterator] ?? value?.[Symbol.iterator]);
}

async function* eachUntil(isOver, iterable) {
  const never = new Promise(() => {});
  try {
    for await (const value of iterable) {
      if (isOver()) await never;
      yield value;
    }
  } finally {
    if (isOver()) await never;
  }
}

const cellModule = { id: '.', exports: {}, loaded: true, children: [], paths: [] };
const cellRequire = createCellRequire(cellModule);

function installModuleGlobals() {
  const define = (name, descriptor) => Object.defineProperty(globalThis, name, { configurable: true, ...descriptor });
  define('require', { value: cellRequire, writable: true });
  define('module', { value: cellModule, writable: true });
  define('exports', { value: cellModule.exports, writable: true });
  const setter = (name) => (value) => define(name, { value, writable: true });
  define('__dirname', { get: () => process.cwd(), set: setter('__dirname') });
  define('__filename', { get: () => path.join(process.cwd(), 'cell.js'), set: setter('__filename') });
}

function installExit(ring, origins) {
  process.exit = function exit(code = process.exitCode ?? 0) {
    process.exitCode = undefined;
    const late = origins.lateCell();
    const number = String(Number(code) || 0);
    if (late) {
      const text = `process.exit(${number}) was called after the end of its cell: it ends nothing\n`;
      ring.writeLate(late, Kind.STDERR, Buffer.from(text));
    } else {
      ring.writeTogether([[Kind.EXIT, Buffer.from(number)]]);
    }
    throw EXIT;
  };
}

function reportUncaught(ring, origins, error) {
  if (error === EXIT) return;
  if (process.listenerCount('uncaughtException') > 0) {
    process.emit('uncaughtException', error, 'uncaughtException');
    return;
  }
  const { name, value, stack } = describeError(error);
  const cell = Buffer.alloc(4);
  cell.writeUInt32LE(origins.lateCell());
  const text = Buffer.from(`Uncaught ${stack || `${name}: ${value}`}`);
  ring.writeTogether([[Kind.UNCAUGHT, Buffer.concat([cell, text])]]);
}

module.exports = { installUserEnvironment };
