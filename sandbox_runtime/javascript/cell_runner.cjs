/**
 * Runs one cell after another: compiles it, evaluates it on the main thread, and reports how it ended.
 */
'use strict';

const { HELPER, compileCell } = require('./cell_compiler.cjs');
const { CellSyntaxError } = require('./syntax_error.cjs');

const EXTENSIONS = Object.freeze({ javascript: 'js', typescript: 'ts' });
const MAX_VALUE = 60 << 10; // with a note on the rest, what the agent passes on
const GRACE_MILLISECONDS = 10; // for the evaluation to end once the main thread answers again
const CELLS_BETWEEN_CALLS = 64; // the main thread reads our messages only when it is called

class CellRunner {
  #main;
  #output;
  #tracebacks;
  #translate;
  #known = new Map();
  #constants = new Set();
  #count = 0;
  #running = null;

  /**
   * @param {import('./main_thread.cjs').MainThread} main
   * @param {import('./output.cjs').Output} output
   * @param {import('./tracebacks.cjs').Tracebacks} tracebacks
   * @param {Function} translate  runs TypeScript's own compiler, as in compileCell
   */
  constructor(main, output, tracebacks, translate) {
    this.#translate = translate;
    this.#main = main;
    this.#output = output;
    this.#tracebacks = tracebacks;
  }

  /**
   * Runs a cell to its end. Its output, events and CLOSE go to `channel`.
   *
   * @param {{channel: number, language: string, source: string, count?: number, isInterrupted: boolean}} cell  `count`
   *   is its number in the context, if the supervisor counts
   */
  async run(cell) {
    const { channel, language, count } = cell;
    const start = performance.now();
    this.#count = Number.isSafeInteger(count) && count > 0 ? count : this.#count + 1;
    const fileName = `cell-${this.#count}.${EXTENSIONS[language] ?? 'js'}`;
    const { status, error } = cell.isInterrupted ? interruption() : await this.#outcome(cell, fileName);
    const duration = (performance.now() - start) / 1000;
    if (error) error.type = 'error';
    this.#output.finish(channel, error, { status, duration, execution_count: this.#count });
    if (error) this.#main.release();
    if (this.#count % CELLS_BETWEEN_CALLS === 0) this.#main.request({ type: 'ping' });
  }

  /** Interrupts a cell. One that waits will not begin. */
  interrupt(cell) {
    if (cell === this.#running?.cell) this.#stop(interruption());
    else cell.isInterrupted = true;
  }

  /** Ends the running cell because it called process.exit. */
  exit(code) {
    const error = { name: 'ProcessExit', value: String(code), traceback: [] };
    this.#stop(code === 0 ? { status: 'OK', error: null } : { status: 'ERROR', error });
  }

  async #outcome(cell, fileName) {
    let compiled;
    try {
      const { source, language } = cell;
      const names = { known: this.#known, constants: this.#constants, translate: this.#translate };
      compiled = compileCell({ source, language, fileName, ...names, epoch: this.#output.epoch, count: this.#count });
    } catch (error) {
      if (!(error instanceof CellSyntaxError)) return failure(error);
      return { status: 'ERROR', error: error.describe(fileName) };
    }
    this.#tracebacks.remember(fileName, compiled.maps);
    const running = this.#start(cell);
    let details = await Promise.race([this.#main.evaluate(compiled.code), running.stopped]);
    const late = compiled.hasResources ? await this.#dispose(running) : null;
    details ??= late;
    this.#output.collect(); // code that the cell left behind may have called process.exit
    await running.stopping; // the cell may end by itself meanwhile, and the termination must not hit the next one
    this.#running = null;
    const outcome = await this.#judge(fileName, compiled, details, running);
    this.#output.end();
    return outcome;
  }

  /** Disposes of what the cell declared with `using`. Returns the details of an exception, or null. */
  #dispose(running) {
    const isStopped = running.ending !== null;
    return Promise.race([this.#main.evaluate(`await ${HELPER}.dispose(${isStopped})\n//# sourceURL=node:dispose`), running.stopped]);
  }

  #start(cell) {
    const running = { cell, ending: null, stopping: null };
    running.stopped = new Promise((resolve) => (running.resolve = resolve));
    this.#running = running;
    this.#output.begin(cell.channel, this.#count);
    return running;
  }

  #stop(ending) {
    const running = this.#running;
    if (!running || running.ending) return;
    running.ending = ending;
    this.#output.countInterrupt();
    running.stopping = this.#main.stop();
    running.stopping.then(() => setTimeout(running.resolve, GRACE_MILLISECONDS, null));
  }

  async #judge(fileName, compiled, details, running) {
    const isEarly = isEarlyError(details);
    if (!isEarly) this.#remember(compiled);
    if (running.ending && (details || running.ending.status !== 'OK')) return running.ending;
    if (!details) return { status: 'OK', error: null };
    return { status: 'ERROR', error: await this.#describe(fileName, compiled, details) };
  }

  #remember({ declared, names }) {
    for (const [name, kind] of declared) this.#known.set(name, kind);
    for (const [name, isConstant] of names) {
      if (isConstant) this.#constants.add(name);
      else this.#constants.delete(name);
    }
  }

  async #describe(fileName, { maps }, details) {
    const { exception } = details;
    if (!exception?.objectId) {
      const value = beginning(textOfPrimitive(exception, details.text));
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

function beginning(text) {
  if (text.length <= MAX_VALUE) return text;
  return `${text.slice(0, MAX_VALUE)}... (${text.length - MAX_VALUE} of ${text.length} characters left out)`;
}

/** Returns the text of a thrown primitive. The inspector has its value. */
function textOfPrimitive(exception, otherwise) {
  if (!exception) return otherwise;
  return 'value' in exception ? String(exception.value) : (exception.description ?? exception.type);
}

/** True if the engine rejected the code before it ran. */
function isEarlyError(details) {
  return details?.exception?.className === 'SyntaxError' && details.scriptId !== undefined && !details.stackTrace;
}

function interruption() {
  return { status: 'INTERRUPTED', error: null };
}

function failure(error) {
  return { status: 'ERROR', error: { name: String(error?.name), value: String(error?.message), traceback: [] } };
}

module.exports = { CellRunner, EXTENSIONS };
