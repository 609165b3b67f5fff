/**
 * Maps positions in compiled code to the cell as written. Maps are plain data, because both threads need them:
 * `{pieces, edited, original}` for our own edits, or `{sourceMap}` (JSON) of the TypeScript transformation. Pure.
 */
'use strict';

const { SourceMap } = require('node:module');
const { local } = require('./bytes.cjs');

/** Returns the offsets at which the lines of a text start. */
function lineStarts(text) {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/**
 * @param {object[]} maps  the maps of the compiler's passes, the last pass first
 * @returns {(line: number, column: number) => {line: number, column: number}}  line from 1, column from 0
 */
function createLocator(maps) {
  const steps = local(maps).map((map) => (map.sourceMap ? transformStep(map) : (line, column) => editStep(map, line, column)));
  return (line, column) => steps.reduce((position, step) => step(position.line, position.column), { line, column });
}

function editStep({ pieces, edited, original }, line, column) {
  const offset = edited[Math.min(Math.max(line, 1), edited.length) - 1] + column;
  // Lists from the other thread have the user's prototypes.
  const { 0: start, 1: source, 2: isInserted } = pieces[lastUpTo(pieces, (piece) => piece[0], offset)];
  const found = isInserted ? source : source + offset - start;
  const index = lastUpTo(original, (begin) => begin, found);
  return { line: index + 1, column: found - original[index] };
}

/** Returns the index of the last item whose key is at most `limit`. Items are sorted, and the first one's key is. */
function lastUpTo(items, key, limit) {
  let low = 0;
  let high = items.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (key(items[middle]) <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}

function transformStep({ sourceMap }) {
  let parsed = null;
  return (line, column) => {
    parsed ??= new SourceMap(JSON.parse(sourceMap));
    const entry = parsed.findEntry(line - 1, column);
    if (entry.originalLine === undefined) return { line, column };
    return { line: entry.originalLine + 1, column: entry.originalColumn };
  };
}

module.exports = { createLocator, lineStarts };
