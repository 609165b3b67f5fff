/**
 * Edits a source text and remembers where each character came from, so that errors can name positions in the user's own
 * text. Pure.
 */
'use strict';

const { lineStarts } = require('./positions.cjs');

/** Collects insertions and replacements, and applies them together. Replacements must not overlap. */
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

  /** Inserts before a construct. Of two insertions at one place, the first is the outer one. */
  open(offset, text) {
    this.#point(offset).opening += text;
  }

  /** Inserts after a construct. Of two insertions at one place, the first is the outer one. */
  close(offset, text) {
    const point = this.#point(offset);
    point.closing = text + point.closing;
  }

  replace(start, end, text) {
    this.#point(start).replaced = { end, text };
  }

  /** Returns `prefix` with the edited text, and the map from their positions to the original ones (positions.cjs). */
  apply(prefix = '') {
    let code = '';
    let taken = 0;
    const pieces = []; // [offset in the edited text, offset in the original, true for inserted text]
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
    return { code, map: { pieces, edited: lineStarts(code), original: lineStarts(this.#text) } };
  }
}

module.exports = { Edits };
