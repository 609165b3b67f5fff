/**
 * Formats the `stack` of errors on the main thread, with positions in the cells as written. Leaves out frames of this
 * folder and of Node's internals. It is therefore right wherever user code shows it: in console.log, in a result, in its
 * own text.
 */
'use strict';

const { findSourceMap } = require('node:module');
const { receiveMessageOnPort } = require('node:worker_threads');
const { local } = require('./bytes.cjs');
const { Error } = require('./globals.cjs');
const { createLocator } = require('./positions.cjs');

const standardFormat = Error.prepareStackTrace;
const MAX_CELLS = 2000;
/** Functions that TypeScript's compiler puts before code with decorators. */
const HELPERS = /^\n {4}at __(esDecorate|runInitializers|decorate|metadata|param|setFunctionName|propKey|addDisposableResource) \(/;
const POSITION = /\b(cell-\d+\.[jt]s):(\d+):(\d+)/g;

class StackTraces {
  #port;
  #folder;
  #cells = new Map();

  /**
   * @param {import('node:worker_threads').MessagePort} port  receives the maps from tracebacks.cjs
   * @param {string} folder  frames of its files are hidden
   */
  constructor(port, folder) {
    this.#port = port;
    this.#folder = folder;
  }

  /** Reads the maps that the control thread has sent. Synchronous, because the running cell may have thrown. */
  receive() {
    for (let received; (received = receiveMessageOnPort(this.#port)); ) {
      const { fileName, maps } = received.message;
      this.#cells.set(fileName, createLocator(maps));
      if (this.#cells.size > MAX_CELLS) this.#cells.delete(this.#cells.keys().next().value);
    }
  }

  install() {
    const value = (error, sites) => this.#format(error, sites);
    Object.defineProperty(Error, 'prepareStackTrace', { value, writable: true, configurable: true });
  }

  #format(error, sites) {
    this.receive();
    const isInternal = (line) =>
      line.includes(this.#folder) || line.includes('node:internal/') || HELPERS.test(line);
    const lines = local(sites).map((site) => `\n    at ${withOriginal(site)}`).filter((line) => !isInternal(line));
    return standardFormat(error, []) + lines.join('').replace(POSITION, (...match) => this.#original(...match));
  }

  #original(match, fileName, line, column) {
    const locate = this.#cells.get(fileName);
    if (!locate) return match;
    const position = locate(Number(line), Number(column) - 1);
    return `${fileName}:${position.line}:${position.column + 1}`;
  }
}

/** Formats a frame. In an imported TypeScript file, the position is that of the file as written. */
function withOriginal(site) {
  const text = String(site);
  const file = site.getFileName?.();
  if (typeof file !== 'string' || !/\.([cm]?ts|[jt]sx)$/.test(file)) return text;
  const [line, column] = [site.getLineNumber(), site.getColumnNumber()];
  const entry = findSourceMap(file)?.findEntry(line - 1, column - 1);
  if (entry?.originalLine === undefined) return text;
  return text.replace(`:${line}:${column}`, `:${entry.originalLine + 1}:${entry.originalColumn + 1}`);
}

module.exports = { StackTraces };
