/**
 * Turns TypeScript into JavaScript, without checking types. Types usually become white space, which keeps positions.
 * Enums, namespaces and parameter properties need a real transformation, and its source map restores the positions.
 */
'use strict';

const { CellSyntaxError } = require('./syntax_error.cjs');

/** Node's own TypeScript stripper. Loaded late, because that takes longer than the rest of the start-up. */
let amaro;

function transform(source, options) {
  amaro ??= require('internal/deps/amaro/dist/index');
  return amaro.transformSync(source, { ...options, filename: '' });
}

/**
 * @param {string} source
 * @returns {{code: string, maps: object[]}}  maps as in positions.cjs
 * @throws {CellSyntaxError}
 */
function stripTypes(source) {
  try {
    return { code: transform(source, { mode: 'strip-only' }).code, maps: [] };
  } catch (error) {
    // The stripper reads `module` as the start of a declaration, even at the end of the text.
    if (/\bmodule\s*$/.test(source)) return stripTypes(`${source}\n;`);
    if (error?.code !== 'UnsupportedSyntax') throw asSyntaxError(error, source);
  }
  try {
    const { code, map } = transform(source, { mode: 'transform', sourceMap: true });
    return { code, maps: [{ sourceMap: map }] };
  } catch (error) {
    throw asSyntaxError(error, source);
  }
}

/** Returns what is wrong with a text as TypeScript with JSX, or null. */
function findJsxError(source) {
  try {
    transform(source, { mode: 'strip-only', parser: { syntax: 'typescript', tsx: true, decorators: true } });
    return null;
  } catch (error) {
    return error?.code === 'UnsupportedSyntax' ? null : asSyntaxError(error, source);
  }
}

function asSyntaxError(error, source) {
  if (typeof error?.startLine !== 'number') return error;
  return new CellSyntaxError(error.message, source, error.startLine, error.startColumn);
}

module.exports = { findJsxError, stripTypes };
