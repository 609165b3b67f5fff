/**
 * Formats values as MIME bundles: `[type, bytes]` pairs, text first. Runs on the main thread, which has the values.
 */
'use strict';

const { inspect } = require('node:util');
const { isArrayBuffer, isUint8Array } = require('node:util/types');
const { decode, encode, join, viewOf } = require('./bytes.cjs');
const { JSON, Object: UsersObject, TypeError } = require('./globals.cjs');

const MAX_TEXT = 1 << 20;
const MAX_BUNDLE = 3 << 20; // fits into a message of the agent and into the ring
const MAX_NOTES = 16 << 10; // room for the notes on what was left out
const MAX_NOTED = 20;
const MAX_JSON_NODES = 100_000;
const MAX_JSON_DEPTH = 64;
/** A method of this name returns an object of MIME types and contents, as in other JavaScript notebooks. */
const BUNDLE_METHOD = Symbol.for('Jupyter.display');

const IMAGE_STARTS = [
  ['image/png', '89504e470d0a1a0a'],
  ['image/jpeg', 'ffd8ff'],
  ['image/gif', '474946383761'],
  ['image/gif', '474946383961'],
];

/** Returns the bundle of any value. */
function buildBundle(value) {
  const own = ownBundle(value);
  if (own) return encodeBundle(own, value);
  const parts = [['text/plain', textOf(value)]];
  const image = imageType(value);
  if (image) return withinLimit([...parts, [image, viewOf(value)]]);
  const json = plainJson(value);
  return json ? [...parts, ['application/json', json]] : parts;
}

/**
 * Encodes a bundle of user code: strings, bytes, or for JSON types any value. Images may be base64.
 *
 * @throws {TypeError}
 */
function encodeBundle(bundle, value = undefined) {
  const entries = Object.entries(bundle).filter(([, content]) => content !== undefined && content !== null);
  const parts = entries.map(([type, content]) => [type, encodePart(type, content)]);
  if (value !== undefined && !('text/plain' in bundle)) parts.unshift(['text/plain', textOf(value)]);
  return withinLimit(parts);
}

function encodePart(type, content) {
  if (isBytes(content)) return viewOf(content);
  if (typeof content === 'string') {
    const isBase64 = /^(image\/(?!svg)|application\/pdf$)/.test(type);
    return encode(content, isBase64 ? 'base64' : 'utf8');
  }
  if (!/[/+]json$/.test(type)) throw new TypeError(`display: ${type} must be a string or bytes`);
  return encode(JSON.stringify(content));
}

/** Leaves out the parts that do not fit, and names them in the text, as the agent does. */
function withinLimit(parts) {
  let room = MAX_BUNDLE - MAX_NOTES;
  const kept = [];
  const notes = [];
  for (const [type, data] of parts) {
    if (data.length <= room) {
      kept.push([type, data]);
      room -= data.length;
    } else {
      const note = `<${type} of ${data.length} bytes exceeds the limit of ${MAX_BUNDLE} bytes per result: write it to a file>`;
      if (notes.length < MAX_NOTED) notes.push(note);
    }
  }
  if (!notes.length) return kept;
  const text = kept.find(([type]) => type === 'text/plain');
  const noted = encode((text ? [decode(text[1]), ...notes] : notes).join('\n'));
  return [['text/plain', noted], ...kept.filter((part) => part !== text)];
}

function ownBundle(value) {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return null;
  if (typeof value[BUNDLE_METHOD] !== 'function') return null;
  const bundle = value[BUNDLE_METHOD]();
  return bundle !== null && typeof bundle === 'object' && typeof bundle.then !== 'function' ? bundle : null;
}

/** Returns the MIME type of a picture, from its first bytes, or null. */
function imageType(value) {
  if (!isBytes(value)) return null;
  const start = Array.from(viewOf(value).subarray(0, 12), (byte) => byte.toString(16).padStart(2, '0'));
  const hex = start.join('');
  if (hex.startsWith('52494646') && hex.endsWith('57454250')) return 'image/webp'; // RIFF and, at 8, WEBP
  return IMAGE_STARTS.find(([, begin]) => hex.startsWith(begin))?.[0] ?? null;
}

function isBytes(value) {
  return isUint8Array(value) || isArrayBuffer(value);
}

function textOf(value) {
  const bytes = encode(inspected(value));
  if (bytes.length <= MAX_TEXT) return bytes;
  let end = MAX_TEXT;
  while ((bytes[end] & 0xc0) === 0x80) end -= 1; // not inside a character
  const mark = `\n... (${bytes.length - end} of ${bytes.length} bytes left out: write the value to a file)`;
  return join([bytes.subarray(0, end), encode(mark)]);
}

/** Returns Node's text of a value. Node cannot make one if user code has replaced methods that inspect needs. */
function inspected(value) {
  const options = { depth: 4, colors: false };
  try {
    return inspect(value, options);
  } catch (error) {
    if (isInspectable(value, options)) throw error; // of the value's own method
    const json = plainJson(value);
    return json ? decode(json) : `[${value === null ? 'null' : typeof value}]`;
  }
}

function isInspectable(value, options) {
  try {
    inspect(value, { ...options, customInspect: false });
    return true;
  } catch {
    return false;
  }
}

/** Returns the JSON of a value that JSON preserves. Returns null for other values, and if it is too large or fails. */
function plainJson(value) {
  try {
    if (!isPlain(value, { nodes: MAX_JSON_NODES }, MAX_JSON_DEPTH)) return null;
    const bytes = encode(JSON.stringify(value));
    return bytes.length <= MAX_TEXT ? bytes : null;
  } catch {
    return null; // a getter of the value, or a `toJSON` that user code gave to all objects
  }
}

function isPlain(value, budget, depth) {
  if ((budget.nodes -= 1) < 0 || depth === 0) return false;
  if (value === null || typeof value === 'boolean') return true;
  if (typeof value === 'string') return value.length <= MAX_TEXT;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object') return false;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      if (!isPlain(value[index], budget, depth - 1)) return false;
    }
    return true;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== UsersObject.prototype) return false;
  if (Object.getOwnPropertySymbols(value).length) return false;
  return Object.keys(value).every((key) => isPlain(value[key], budget, depth - 1));
}

module.exports = { buildBundle, encodeBundle, imageType };
