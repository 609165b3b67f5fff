/**
 * The engine's and Node's globals, as they are before user code runs. A cell may declare a function named `process`, or
 * replace `JSON.stringify`: modules that run on the main thread take these names from here. Those in the realm of the
 * runtime (realm.cjs) do so for what Node has, and for what user code sees: the errors that it catches, its prototypes.
 */
'use strict';

const { Buffer } = require('node:buffer');
const process = require('node:process');
const { URL } = require('node:url');

/** Copies a namespace, so that functions which user code puts into the original do not count. */
function copy(namespace) {
  return Object.freeze(Object.defineProperties({}, Object.getOwnPropertyDescriptors(namespace)));
}

module.exports = Object.freeze({
  Array,
  ArrayBuffer,
  AsyncDisposableStack,
  Atomics: copy(Atomics),
  Boolean,
  Buffer,
  DataView,
  DisposableStack,
  Error,
  Int32Array,
  JSON: copy(JSON),
  Map,
  Math: copy(Math),
  Number,
  Object,
  Promise,
  RangeError,
  Reflect: copy(Reflect),
  SharedArrayBuffer,
  Set,
  String,
  Symbol,
  SyntaxError,
  TextDecoder,
  TextEncoder,
  TypeError,
  URL,
  Uint8Array,
  console,
  globalThis,
  process,
});
