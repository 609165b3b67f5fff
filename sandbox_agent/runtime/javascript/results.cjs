/**
 * Values and errors of user code as what is sent: runs on the main thread, where they live.
 */
'use strict';

const { inspect } = require('node:util');
const { Kind } = require('./ring.cjs');

const LARGEST_PART = 1 << 20;
const MOST_JSON_NODES = 100_000;
const DEEPEST_JSON = 64;
const LONGEST_STACK = 64 << 10;
const MOST_CAUSES = 5;

/** Sends the value of a cell's last expression as a result, unless it is undefined. */
function sendResult(ring, value) {
  if (value === undefined) return;
  const parts = [['text/plain', truncated(inspect(value, { depth: 4, colors: false }))]];
  const json = plainJson(value);
  if (json) parts.push(['application/json', json]);
  const event = {
    type: 'result',
    is_main: true,
    display_id: '',
    is_update: false,
    parts: parts.map(([type, data]) => [type, data.length]),
  };
  const bodies = parts.map(([, data]) => [Kind.BODY, data]);
  ring.writeTogether([[Kind.EVENT, Buffer.from(JSON.stringify(event))], ...bodies]);
}

function truncated(text) {
  const bytes = Buffer.from(text);
  if (bytes.length <= LARGEST_PART) return bytes;
  const mark = Buffer.from('\n... (truncated)');
  let end = LARGEST_PART - mark.length;
  while ((bytes[end] & 0xc0) === 0x80) end -= 1; // not inside of a character
  return Buffer.concat([bytes.subarray(0, end), mark]);
}

/** JSON of a value that survives it unchanged, within bounds; otherwise null. */
function plainJson(value) {
  const budget = { nodes: MOST_JSON_NODES };
  if (!isPlain(value, budget, DEEPEST_JSON)) return null;
  const bytes = Buffer.from(JSON.stringify(value));
  return bytes.length <= LARGEST_PART ? bytes : null;
}

function isPlain(value, budget, depth) {
  if ((budget.nodes -= 1) < 0 || depth === 0) return false;
  if (value === null || typeof value === 'boolean') return true;
  if (typeof value === 'string') return value.length <= LARGEST_PART;
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

/**
 * What is known of something thrown: `{name, value, stack}`; `stack` has the lines of its causes too.
 * Never throws, whatever the object does when it is looked at.
 */
function describeError(thrown) {
  try {
    if (!isError(thrown)) return { name: nameOf(thrown), value: shortText(thrown), stack: '' };
    const name = String(thrown.name || nameOf(thrown));
    const value = String(thrown.message);
    return { name: name.slice(0, 1000), value: value.slice(0, LONGEST_STACK), stack: stackOf(thrown) };
  } catch {
    return { name: 'Error', value: 'an error that cannot be shown', stack: '' };
  }
}

function isError(thrown) {
  return thrown instanceof Error || (typeof thrown?.stack === 'string' && typeof thrown?.message === 'string');
}

function nameOf(thrown) {
  return (typeof thrown === 'object' && thrown?.constructor?.name) || 'Error';
}

function shortText(thrown) {
  return typeof thrown === 'string' ? thrown.slice(0, LONGEST_STACK) : inspect(thrown).slice(0, LONGEST_STACK);
}

function stackOf(error) {
  let text = '';
  let label = '';
  for (let depth = 0, current = error; depth < MOST_CAUSES && current !== undefined; depth += 1) {
    text += `${label}${isError(current) ? current.stack : shortText(current)}\n`;
    for (const inner of Array.isArray(current?.errors) ? current.errors.slice(0, MOST_CAUSES) : []) {
      text += `[errors]: ${isError(inner) ? inner.stack : shortText(inner)}\n`;
    }
    current = current?.cause;
    label = '[cause]: ';
  }
  return text.slice(0, LONGEST_STACK);
}

module.exports = { describeError, sendResult };
