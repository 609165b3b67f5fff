/**
 * Bytes as arrays of this realm, whose methods user code cannot replace.
 */
'use strict';

const { Buffer, TextDecoder, TextEncoder } = require('./globals.cjs');

const { from } = Buffer;
const { toString } = Buffer.prototype;
const encoder = new TextEncoder();
const encodeText = encoder.encode.bind(encoder);
const encodeTextInto = encoder.encodeInto.bind(encoder);
const decoder = new TextDecoder();
const decode = decoder.decode.bind(decoder);
const typed = Object.getPrototypeOf(Uint8Array.prototype);
const getterOf = (prototype, name) => Object.getOwnPropertyDescriptor(prototype, name).get;
const parts = ['buffer', 'byteOffset', 'byteLength'];
const tag = getterOf(typed, Symbol.toStringTag);
const ofTyped = parts.map((name) => getterOf(typed, name));
const ofView = parts.map((name) => getterOf(DataView.prototype, name));

/** Returns the bytes of an ArrayBuffer, typed array or DataView of any realm, without a copy. */
function viewOf(source) {
  if (!ArrayBuffer.isView(source)) return new Uint8Array(source);
  const getters = isTyped(source) ? ofTyped : ofView;
  return new Uint8Array(...getters.map((get) => Reflect.apply(get, source, [])));
}

function isTyped(view) {
  return Reflect.apply(tag, view, []) !== undefined;
}

/** Encodes a text, as Buffer.from does. */
function encode(text, encoding = 'utf8') {
  return viewOf(encoding === 'utf8' ? encodeText(text) : from(text, encoding));
}

/** Encodes a text to the Base64 of its UTF-8. */
function base64(text) {
  return Reflect.apply(toString, from(text), ['base64']);
}

/** Encodes a text to UTF-8 at the start of `bytes`, which has room for it. Returns the number of bytes. */
function encodeInto(text, bytes) {
  return encodeTextInto(text, bytes).written;
}

/** Joins arrays to one. */
function join(arrays) {
  const all = new Uint8Array(arrays.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const each of arrays) {
    all.set(each, at);
    at += each.length;
  }
  return all;
}

/** Copies a list of any realm, up to `limit` items, to an array of this one. */
function local(list, limit = Infinity) {
  const copied = [];
  const size = Math.min(list.length, limit);
  for (let index = 0; index < size; index += 1) copied.push(list[index]);
  return copied;
}

module.exports = { base64, decode, encode, encodeInto, join, local, viewOf };
