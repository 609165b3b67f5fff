/**
 * Stack texts as the user should see them: positions of the cells as they were written, frames of the sandbox and of
 * Node's inside left out.
 */
'use strict';

const MOST_CELLS = 2000;
const MOST_LINES = 100;

class Tracebacks {
  #folder;
  #cells = new Map();

  /** @param {string} folder  frames of files in it are not shown */
  constructor(folder) {
    this.#folder = folder;
  }

  /** Remembers how to map positions in a cell's compiled code back. */
  remember(fileName, original) {
    this.#cells.set(fileName, original);
    if (this.#cells.size > MOST_CELLS) this.#cells.delete(this.#cells.keys().next().value);
  }

  /** Lines of a stack text, mapped and filtered. */
  lines(stack) {
    return stack
      .split('\n')
      .filter((line) => line !== '' && !this.#isHidden(line))
      .map((line) => this.#mapped(line))
      .slice(0, MOST_LINES);
  }

  /** `file:line:column` of a position in a compiled cell; line and column from 1. */
  place(fileName, line, column) {
    return this.#mapped(`${fileName}:${line}:${column}`);
  }

  #isHidden(line) {
    if (!/^\s+at /.test(line)) return false;
    return line.includes(this.#folder) || /node:|\bnative\b|<anonymous>\)?$/.test(line);
  }

  #mapped(line) {
    return line.replace(/\b(cell-\d+\.[jt]s):(\d+):(\d+)/g, (match, fileName, atLine, atColumn) => {
      const original = this.#cells.get(fileName);
      if (!original) return match;
      const position = original(Number(atLine), Number(atColumn) - 1);
      return `${fileName}:${position.line}:${position.column + 1}`;
    });
  }
}

module.exports = { Tracebacks };
