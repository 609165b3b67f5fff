/**
 * Formats stacks for users, without frames of Node's internals. Positions in them are already those of the cells as
 * written: the main thread (stack_traces.cjs) maps them with what this module sends.
 */
'use strict';

const { createLocator } = require('./positions.cjs');

const MAX_LINES = 100;

class Tracebacks {
  #port;

  /** @param {import('node:worker_threads').MessagePort} port  read by stack_traces.cjs */
  constructor(port) {
    this.#port = port;
  }

  /** Sends the main thread the maps of a cell's compiled code. */
  remember(fileName, maps) {
    this.#port.postMessage({ fileName, maps });
  }

  /** Returns the lines of a stack. */
  lines(stack) {
    const lines = stack.split('\n').filter((line) => line !== '' && !isInside(line));
    if (lines.length <= MAX_LINES) return lines;
    return [...lines.slice(0, MAX_LINES), `    ... ${lines.length - MAX_LINES} lines left out`];
  }

  /** Returns `file:line:column` of a position in a compiled cell, with line and column from 1. */
  place(fileName, maps, line, column) {
    const position = createLocator(maps)(line, column - 1);
    return `${fileName}:${position.line}:${position.column + 1}`;
  }
}

function isInside(line) {
  return /^\s+at /.test(line) && /node:|\bnative\b|<anonymous>\)?$/.test(line);
}

module.exports = { Tracebacks };
