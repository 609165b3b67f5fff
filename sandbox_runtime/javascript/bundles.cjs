/**
 * Formats values as MIME bundles: `[type, bytes]` pairs, text first. Runs on the main thread, which has the values.
 */
'use strict';

const { inspect } = require('node:util');
const {
  Array,
  ArrayBuffer,
  Buffer,
  JSON,
  Number,
  Object,
  Symbol,
  TypeError,
  Uint8Array,
} = require('./globals.cjs');

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
  if (image) return withinLimit([...parts, [image, asBytes(value)]]);
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
  if (isBytes(content)) return asBytes(content);
  if (typeof content === 'string') {
    const isBase64 = /^(image\/(?!svg)|application\/pdf$)/.test(type);
    return Buffer.from(content, isBase64 ? 'base64' : 'utf8');
  }
  if (!/[/+]json$/.test(type)) throw new TypeError(`display: ${type} must be a string or bytes`);
  return Buffer.from(JSON.stringify(content));
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
  const noted = Buffer.from((text ? [`${text[1]}`, ...notes] : notes).join('\n'));
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
  const start = asBytes(value).subarray(0, 12);
  if (start.toString('latin1', 0, 4) === 'RIFF' && start.toString('latin1', 8, 12) === 'WEBP') return 'image/webp';
  const hex = start.toString('hex');
  return IMAGE_STARTS.find(([, begin]) => hex.startsWith(begin))?.[0] ?? null;
}

function isBytes(value) {
  return value instanceof Uint8Array || value instanceof ArrayBuffer;
}

function asBytes(value) {
  return value instanceof ArrayBuffer ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function textOf(value) {
  const bytes = Buffer.from(inspect(value, { depth: 4, colors: false }));
  if (bytes.length <= MAX_TEXT) return bytes;
  let end = MAX_TEXT;
  while ((bytes[end] & 0xc0) === 0x80) end -= 1; // not inside a character
  const mark = `\n... (${bytes.length - end} of ${bytes.length} bytes left out: write the value to a file)`;
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(mark)]);
}

/** Returns the JSON of a value that JSON preserves. Returns null for other values, and if the JSON is too large. */
function plainJson(value) {
  const budget = { nodes: MAX_JSON_NODES };
  if (!isPlain(value, budget, MAX_JSON_DEPTH)) return null;
  const bytes = Buffer.from(JSON.stringify(value));
  return bytes.length <= MAX_TEXT ? bytes : null;
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
  if (prototype !== null && prototype !== Object.prototype) return false;
  if (Object.getOwnPropertySymbols(value).length) return false;
  return Object.keys(value).every((key) => isPlain(value[key], budget, depth - 1));
}

module.exports = { buildBundle, encodeBundle, imageType };
