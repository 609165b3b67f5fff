/**
 * TypeScript to JavaScript: types become white space where that is enough, which keeps every position; enums, namespaces
 * and parameter properties need a real transformation, whose source map is used to give positions back. Checks no types.
 */
'use strict';

const { SourceMap } = require('node:module');
const { CellSyntaxError } = require('./syntax_error.cjs');

/** Node's own TypeScript stripper, loaded when it is needed: it takes longer than all the rest of the start. */
let amaro;

function transform(source, options) {
  amaro ??= require('internal/deps/amaro/dist/index');
  return amaro.transformSync(source, { ...options, filename: '' });
}

/**
 * @param {string} source
 * @returns {{code: string, original: (line: number, column: number) => {line: number, column: number}}}
 * @throws {CellSyntaxError}
 */
function stripTypes(source) {
  try {
    const { code } = transform(source, { mode: 'strip-only' });
    return { code, original: (line, column) => ({ line, column }) };
  } catch (error) {
    if (error?.code !== 'UnsupportedSyntax') throw asSyntaxError(error, source);
  }
  try {
    const { code, map } = transform(source, { mode: 'transform', sourceMap: true });
    return { code, original: mapWith(new SourceMap(JSON.parse(map))) };
  } catch (error) {
    throw asSyntaxError(error, source);
  }
}

function mapWith(sourceMap) {
  return (line, column) => {
    const entry = sourceMap.findEntry(line - 1, column);
    if (entry.originalLine === undefined) return { line, column };
    return { line: entry.originalLine + 1, column: entry.originalColumn };
  };
}

function asSyntaxError(error, source) {
  if (typeof error?.startLine !== 'number') return error;
  return new CellSyntaxError(error.message, source, error.startLine, error.startColumn);
}

module.exports = { stripTypes };
