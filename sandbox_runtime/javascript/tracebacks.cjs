/**
 * Stack texts as the user should see them: frames of Node's inside left out. The positions in them are those of the cells
 * as they were written already: the main thread (stack_traces.cjs) is sent what it needs to give them so.
 */
'use strict';

const { createLocator } = require('./positions.cjs');

const MOST_LINES = 100;

class Tracebacks {
  #port;

  /** @param {import('node:worker_threads').MessagePort} port  read by stack_traces.cjs */
  constructor(port) {
    this.#port = port;
  }

  /** Has the main thread know how to map positions in a cell's compiled code back. */
  remember(fileName, maps) {
    this.#port.postMessage({ fileName, maps });
  }

  /** Lines of a stack text. */
  lines(stack) {
    return stack
      .split('\n')
      .filter((line) => line !== '' && !isInside(line))
      .slice(0, MOST_LINES);
  }

  /** `file:line:column` of a position in a compiled cell; line and column from 1. */
  place(fileName, maps, line, column) {
    const position = createLocator(maps)(line, column - 1);
    return `${fileName}:${position.line}:${position.column + 1}`;
  }
}

function isInside(line) {
  return /^\s+at /.test(line) && /node:|\bnative\b|<anonymous>\)?$/.test(line);
}

module.exports = { Tracebacks };
