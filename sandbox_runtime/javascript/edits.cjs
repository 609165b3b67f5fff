/**
 * Edits of a source text that remember where each character came from, so that an error's position can be given in the
 * text as the user wrote it. Pure.
 */
'use strict';

const { lineStarts } = require('./positions.cjs');

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

  /** `prefix` and the edited text, and the map (see positions.cjs) of positions in them to the original ones. */
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
    return { code, map: { pieces, edited: lineStarts(code), original: lineStarts(this.#text) } };
  }
}

module.exports = { Edits };
