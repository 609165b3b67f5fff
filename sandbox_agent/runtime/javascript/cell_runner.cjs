/**
 * Runs one cell after the other: compile, evaluate on the main thread, say how it ended.
 */
'use strict';

const { compileCell } = require('./cell_compiler.cjs');
const { CellSyntaxError } = require('./syntax_error.cjs');

const EXTENSIONS = Object.freeze({ javascript: 'js', typescript: 'ts' });
const LONGEST_VALUE = 64 << 10;
const CELLS_BETWEEN_CALLS = 64; // what the main thread is sent of cells is taken over when it is called

class CellRunner {
  #main;
  #output;
  #tracebacks;
  #known = new Map();
  #constants = new Set();
  #count = 0;
  #running = null;

  /**
   * @param {import('./main_thread.cjs').MainThread} main
   * @param {import('./output.cjs').Output} output
   * @param {import('./tracebacks.cjs').Tracebacks} tracebacks
   */
  constructor(main, output, tracebacks) {
    this.#main = main;
    this.#output = output;
    this.#tracebacks = tracebacks;
  }

  /**
   * Runs a cell to its end; its output, events and CLOSE go to `channel`.
   *
   * @param {{channel: number, language: string, source: string, count?: number}} cell  `count` is its number in the
   *   context, where the supervisor keeps it
   */
  async run({ channel, language, source, count }) {
    const start = performance.now();
    this.#count = Number.isSafeInteger(count) ? count : this.#count + 1;
    const cell = { channel, source, language, fileName: `cell-${this.#count}.${EXTENSIONS[language] ?? 'js'}` };
    const { status, error } = await this.#outcome(cell);
    const duration = (performance.now() - start) / 1000;
    if (error) error.type = 'error';
    this.#output.finish(channel, error, { status, duration, execution_count: this.#count });
    if (error) this.#main.release();
    if (this.#count % CELLS_BETWEEN_CALLS === 0) this.#main.request({ type: 'ping' });
  }

  /** Ends the running cell from outside, as an interrupt. */
  interrupt() {
    this.#stop({ status: 'INTERRUPTED', error: null });
  }

  /** Ends the running cell because it called process.exit. */
  exit(code) {
    const error = { name: 'ProcessExit', value: String(code), traceback: [] };
    this.#stop(code === 0 ? { status: 'OK', error: null } : { status: 'ERROR', error });
  }

  async #outcome(cell) {
    let compiled;
    try {
      compiled = compileCell({ ...cell, known: this.#known, constants: this.#constants });
    } catch (error) {
      if (!(error instanceof CellSyntaxError)) return failure(error);
      return { status: 'ERROR', error: error.describe(cell.fileName) };
    }
    this.#tracebacks.remember(cell.fileName, compiled.maps);
    const running = this.#start(cell.channel);
    const details = await Promise.race([this.#main.evaluate(compiled.code), running.stopped]);
    this.#output.collect(); // process.exit may be among what the cell left behind
    this.#running = null;
    const outcome = await this.#judge(cell, compiled, details, running);
    this.#output.end();
    return outcome;
  }

  #start(channel) {
    const running = { ending: null };
    running.stopped = new Promise((resolve) => (running.resolve = resolve));
    this.#running = running;
    this.#output.begin(channel);
    return running;
  }

  #stop(ending) {
    const running = this.#running;
    if (!running || running.ending) return;
    running.ending = ending;
    this.#output.countInterrupt();
    this.#main.stop().then(() => running.resolve(null));
  }

  async #judge(cell, compiled, details, running) {
    const isEarly = isEarlyError(details);
    if (!isEarly) this.#remember(compiled);
    if (running.ending && (details || running.ending.status !== 'OK')) return running.ending;
    if (!details) return { status: 'OK', error: null };
    return { status: 'ERROR', error: await this.#describe(cell, compiled, details) };
  }

  #remember({ declared, names }) {
    for (const [name, kind] of declared) this.#known.set(name, kind);
    for (const [name, isConstant] of names) {
      if (isConstant) this.#constants.add(name);
      else this.#constants.delete(name);
    }
  }

  async #describe({ fileName }, { maps }, details) {
    const { exception } = details;
    if (!exception?.objectId) {
      const value = textOfPrimitive(exception, details.text).slice(0, LONGEST_VALUE);
      return { name: 'Error', value, traceback: [`Uncaught ${value}`] };
    }
    const described = await this.#main.describe(exception.objectId);
    if (!described) return { name: 'ProcessExit', value: '', traceback: [] };
    const { name, value, stack } = described;
    const lines = this.#tracebacks.lines(stack || `Uncaught ${value}`);
    if (isEarlyError(details) && details.lineNumber + details.columnNumber > 0) {
      const { lineNumber, columnNumber } = details;
      lines.push(`    at ${this.#tracebacks.place(fileName, maps, lineNumber + 1, columnNumber + 1)}`);
    }
    return { name, value, traceback: lines };
  }
}

/** What was thrown, where it is no object: the inspector gives the value itself. */
function textOfPrimitive(exception, otherwise) {
  if (!exception) return otherwise;
  return 'value' in exception ? String(exception.value) : (exception.description ?? exception.type);
}

/** The engine refused the code before any of it ran. */
function isEarlyError(details) {
  return details?.exception?.className === 'SyntaxError' && details.scriptId !== undefined && !details.stackTrace;
}

function failure(error) {
  return { status: 'ERROR', error: { name: String(error?.name), value: String(error?.message), traceback: [] } };
}

module.exports = { CellRunner, EXTENSIONS };
