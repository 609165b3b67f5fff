/**
 * Marks output that came after the end of its cell, because another cell's call passes it on. late_marks.py has the same
 * lines.
 */
'use strict';

const END = '[end of late output]\n';

/** The lines around late output in the output of one call. */
class LateMarks {
  #cell = 0;
  #stream = null;
  #isInsideLine = [false, false, false]; // by stream

  /**
   * Returns the `[stream, line]` pairs to send before the next piece of output.
   *
   * @param {number} cell  the cell that the piece belongs to, 0 for the one that runs
   * @param {number} stream
   */
  switch(cell, stream) {
    if (cell === this.#cell && (cell === 0 || stream === this.#stream)) return [];
    const lines = this.#cell ? [this.#line(this.#stream, END)] : [];
    if (cell) lines.push(this.#line(stream, `[late output of cell ${cell}]\n`));
    this.#cell = cell;
    this.#stream = cell ? stream : null;
    return lines;
  }

  /** True between the two lines. */
  get isOpen() {
    return this.#cell !== 0;
  }

  /** Remembers whether a piece of output has ended its line. */
  note(stream, bytes) {
    if (bytes.length) this.#isInsideLine[stream] = bytes[bytes.length - 1] !== 10;
  }

  #line(stream, text) {
    const start = this.#isInsideLine[stream] ? '\n' : '';
    this.#isInsideLine[stream] = false;
    return [stream, Buffer.from(start + text)];
  }
}

module.exports = { LateMarks };
