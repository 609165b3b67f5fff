/**
 * Edits of a source text that remember where each character came from, so that an error's position can be given in the
 * text as the user wrote it. Pure.
 */
'use strict';

/** Line starts of a text; turns offsets into `{line, column}` (line from 1, column from 0) and back. */
class Lines {
  #starts = [0];

  constructor(text) {
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) this.#starts.push(at + 1);
  }

  offset(line, column) {
    const index = Math.min(Math.max(line, 1), this.#starts.length) - 1;
    return this.#starts[index] + column;
  }

  position(offset) {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - this.#starts[low] };
  }
}

/** Collects insertions and replacements, then applies them at once. Replacements must not overlap. */
class Edits {
  #text;
  #points = new Map();

  constructor(text) {
    this.#text = text;
  }

  #point(offset) {
    let point = this.#points.get(offset);
    if (!point) this.#points.set(offset, (point = { closing: '', opening: '', replaced: null }));
    return point;
  }

  /** Inserts before a construct; of two at one place the one inserted first is the outer one. */
  open(offset, text) {
    this.#point(offset).opening += text;
  }

  /** Inserts behind a construct; of two at one place the one inserted first is the outer one. */
  close(offset, text) {
    const point = this.#point(offset);
    point.closing = text + point.closing;
  }

  replace(start, end, text) {
    this.#point(start).replaced = { end, text };
  }

  /** `prefix` and the edited text, and `original(line, column)`, which maps a position in them back. */
  apply(prefix = '') {
    let code = '';
    let taken = 0;
    const pieces = []; // [offset in the edited text, offset in the original, whether text was inserted]
    const keepUntil = (end) => {
      pieces.push([code.length, taken, false]);
      code += this.#text.slice(taken, end);
      taken = end;
    };
    const insert = (text) => {
      pieces.push([code.length, taken, true]);
      code += text;
    };
    insert(prefix);
    for (const offset of [...this.#points.keys()].sort((a, b) => a - b)) {
      const { closing, opening, replaced } = this.#points.get(offset);
      keepUntil(offset);
      insert(closing + opening);
      if (replaced) {
        insert(replaced.text);
        taken = replaced.end;
      }
    }
    keepUntil(this.#text.length);
    return { code, original: buildMap(pieces, new Lines(code), new Lines(this.#text)) };
  }
}

function buildMap(pieces, editedLines, originalLines) {
  return (line, column) => {
    const offset = editedLines.offset(line, column);
    let piece = pieces[0];
    for (const next of pieces) {
      if (next[0] > offset) break;
      piece = next;
    }
    return originalLines.position(piece[2] ? piece[1] : piece[1] + offset - piece[0]);
  };
}

module.exports = { Edits, Lines };
