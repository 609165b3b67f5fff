/**
 * A cell that is not valid code, with the position of the error.
 */
'use strict';

const { Error } = require('./globals.cjs');

class CellSyntaxError extends Error {
  /**
   * @param {string} message
   * @param {string} source  the cell as the user wrote it
   * @param {number} line    from 1
   * @param {number} column  from 0
   */
  constructor(message, source, line, column) {
    super(message);
    this.name = 'SyntaxError';
    this.source = source;
    this.line = line;
    this.column = column;
  }

  /** Returns the error event: the offending line with a mark under it. */
  describe(fileName) {
    const text = (this.source.split(/\r?\n/)[this.line - 1] ?? '').slice(0, 500);
    const mark = text.slice(0, this.column).replace(/[^\t]/g, ' ') + '^';
    const where = `${fileName}:${this.line}:${this.column + 1}`;
    return {
      name: 'SyntaxError',
      value: `${this.message} (${where})`,
      traceback: [where, text, mark, `SyntaxError: ${this.message}`],
    };
  }
}

module.exports = { CellSyntaxError };
