/**
 * Prepares the main thread for user code. Adds our globals to Node's. Exit, uncaught errors and rejections end at most a
 * cell, never the process.
 */
'use strict';

const { isBuiltin } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { isPromise } = require('node:util/types');
const { Array: UsersArray, Object: UsersObject, Promise: UsersPromise, TypeError, URL, globalThis, process } = require('./globals.cjs');
const { encode, join } = require('./bytes.cjs');
const { describeError } = require('./error_texts.cjs');
const { createCellRequire, importModule } = require('./imports.cjs');
const { installOutput } = require('./output_streams.cjs');
const { Origins } = require('./origins.cjs');
const { createDisplay, sendResult } = require('./results.cjs');
const { Kind } = require('./ring.cjs');
const { adopt, box, createResources, eachUntil, never } = require('./user_side.cjs');

const { cwd, listenerCount } = process;

/** The name of the object whose methods compiled cells call, as in cell_compiler.cjs. */
const HELPER = '__sandbox__';

/** Uncaught errors within so many milliseconds that only an endless loop throws. */
const ENDLESS_ERRORS = 10_000;
const ENDLESS_MILLISECONDS = 2000;
const BROKEN = 'code has replaced built-in methods that Node itself needs, or has thrown without end';

/** The value that process.exit throws. Not an Error, so that a catch block can distinguish it. */
const EXIT = Object.freeze({ toString: () => 'process.exit' });

/** @param {(message: string) => void} endProcess  called if Node itself no longer works */
function installUserEnvironment(ring, endProcess) {
  const origins = new Origins(ring);
  installOutput(ring, origins);
  defineHidden(HELPER, Object.freeze(createHelper(ring, origins)));
  installModuleGlobals();
  Object.defineProperty(globalThis, 'display', { value: createDisplay(ring, origins), writable: true, configurable: true });
  installExit(ring, origins);
  guardEmit();
  guardSpecies();
  guardVariables();
  const endless = new EndlessErrors(endProcess);
  let isRejection = false;
  process.on('uncaughtExceptionMonitor', (_, origin) => {
    isRejection = origin === 'unhandledRejection';
  });
  process.setUncaughtExceptionCaptureCallback((error) => {
    // Honest code may leave thousands of promises rejected at once.
    if (!isRejection) endless.count();
    isRejection = false;
    reportUncaught(ring, origins, error);
  });
  process.on('SIGINT', () => {}); // an interrupt of the process group is for the children
}

/** Notices that Node itself no longer works: it then calls its timers again and again, and each call throws at once. */
class EndlessErrors {
  #count = 0;
  #since = 0;
  #endProcess;

  constructor(endProcess) {
    this.#endProcess = endProcess;
  }

  count() {
    const now = Date.now();
    if (this.#count === 0 || now - this.#since > ENDLESS_MILLISECONDS) {
      this.#since = now;
      this.#count = 0;
    }
    this.#count += 1;
    if (this.#count === ENDLESS_ERRORS) this.#endProcess(`${ENDLESS_ERRORS} uncaught errors in a row: ${BROKEN}`);
  }
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
  let resources = createResources();
  return {
    begin: (number) => origins.begin(number),
    result: ({ value }) => sendResult(ring, value),
    /** Boxes a value, so that only real promises are awaited, and no other object with a `then`. */
    settled: (value) => (isPromise(value) ? box(value) : { value }),
    /** Remembers the value of a top-level `using` or `await using`, and returns it. */
    use: (isAwaiting, value) => resources.use(isAwaiting, value),
    /** Forgets the resources of cells before, and disposes of them if their cell was not interrupted. */
    dispose(isInterrupted) {
      const ended = resources;
      resources = createResources();
      return isInterrupted ? undefined : ended.dispose();
    },
    import: (...given) => adopt(importModule(...given)),
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
      return never();
    },
    /** Returns the iterator of a top-level `for await`. `text` is the expression in the cell. */
    each(epoch, iterable, text) {
      if (isIterable(iterable)) return eachUntil(() => ring.epoch !== epoch, iterable);
      throw new TypeError(`${text} is not async iterable`);
    },
    get meta() {
      const filename = path.join(cwd(), 'cell.js');
      const url = pathToFileURL(filename).href;
      const resolve = (specifier) => resolveUrl(String(specifier), url);
      return { url, filename, dirname: cwd(), main: true, resolve };
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

function isIterable(value) {
  return Boolean(value?.[Symbol.asyncIterator] ?? value?.[Symbol.iterator]);
}

const cellModule = createModule();
const cellRequire = createCellRequire(cellModule);

/** Returns a module object of the user's realm, so that it looks like any other object there. */
function createModule() {
  const module = new UsersObject();
  return Object.assign(module, { id: '.', exports: new UsersObject(), loaded: true, children: new UsersArray(), paths: new UsersArray() });
}

function installModuleGlobals() {
  const define = (name, descriptor) => Object.defineProperty(globalThis, name, { configurable: true, ...descriptor });
  define('require', { value: cellRequire, writable: true });
  define('module', { value: cellModule, writable: true });
  define('exports', { value: cellModule.exports, writable: true });
  const setter = (name) => (value) => define(name, { value, writable: true });
  define('__dirname', { get: () => cwd(), set: setter('__dirname') });
  define('__filename', { get: () => path.join(cwd(), 'cell.js'), set: setter('__filename') });
}

function installExit(ring, origins) {
  process.exit = function exit(code = process.exitCode ?? 0) {
    process.exitCode = undefined;
    const late = origins.lateCell();
    const number = String(Number(code) || 0);
    if (late) {
      const text = `process.exit(${number}) was called after the end of its cell: it ends nothing\n`;
      ring.writeLate(late, Kind.STDERR, encode(text));
    } else {
      ring.writeTogether([[Kind.EXIT, encode(number)]]);
    }
    throw EXIT;
  };
}

/** Lets user code replace process.emit, but not with what throws while Node handles an uncaught error: that is fatal. */
function guardEmit() {
  const guard = (replaced) =>
    function emit(...given) {
      try {
        return Reflect.apply(replaced, this, given);
      } catch (error) {
        if (given[0] !== 'uncaughtExceptionMonitor') throw error;
        return false;
      }
    };
  let current = guard(process.emit);
  const set = (value) => (current = guard(value));
  Object.defineProperty(process, 'emit', { get: () => current, set, configurable: true });
}

/** Keeps what the engine's inspector needs to await a cell. Code that would change it gets a TypeError. */
function guardSpecies() {
  Object.defineProperty(UsersPromise, Symbol.species, { configurable: false });
}

/** Keeps Node able to read its variables while it handles an uncaught error. A getter that throws would do so forever. */
function guardVariables() {
  Object.defineProperty(process, 'env', { configurable: false });
}

function reportUncaught(ring, origins, uncaught) {
  let error = uncaught;
  if (error !== EXIT && Reflect.apply(listenerCount, process, ['uncaughtException']) > 0) {
    try {
      process.emit('uncaughtException', error, 'uncaughtException');
      return;
    } catch (thrown) {
      error = thrown; // of the user's listener
    }
  }
  if (error === EXIT) return;
  const { name, value, stack } = describeError(error);
  const cell = new Uint8Array(4);
  new DataView(cell.buffer).setUint32(0, origins.lateCell(), true);
  const text = encode(`Uncaught ${stack || `${name}: ${value}`}`);
  ring.writeTogether([[Kind.UNCAUGHT, join([cell, text])]]);
}

module.exports = { installUserEnvironment };
