/**
 * Turns errors of user code into text, on the main thread, which has them. Nothing here throws, even if reading an
 * object runs user code that does.
 */
'use strict';

const { inspect } = require('node:util');
const { isNativeError } = require('node:util/types');
const { local } = require('./bytes.cjs');
const { Error: UsersError } = require('./globals.cjs');

const { isPrototypeOf } = Object.prototype;

const MAX_STACK = 60 << 10; // with a note on the rest, what the agent passes on
const MAX_CAUSES = 5;
const MAX_NAME = 1000;

/** Describes a thrown value as `{name, value, stack}`. `stack` includes the lines of its causes. */
function describeError(thrown) {
  try {
    if (!isError(thrown)) return { name: nameOf(thrown), value: shortText(thrown), stack: '' };
    const name = String(thrown.name || nameOf(thrown));
    const value = String(thrown.message);
    return { name: name.slice(0, MAX_NAME), value: beginning(value), stack: stackOf(thrown) };
  } catch {
    return { name: 'Error', value: 'an error that cannot be shown', stack: '' };
  }
}

function isError(thrown) {
  if (isNativeError(thrown)) return true;
  if (typeof read(thrown, 'message') !== 'string') return false;
  return typeof read(thrown, 'stack') === 'string' || Reflect.apply(isPrototypeOf, UsersError.prototype, [thrown]);
}

function nameOf(thrown) {
  return (typeof thrown === 'object' && thrown?.constructor?.name) || 'Error';
}

function shortText(thrown) {
  return beginning(typeof thrown === 'string' ? thrown : inspect(thrown));
}

function beginning(text) {
  if (text.length <= MAX_STACK) return text;
  return `${text.slice(0, MAX_STACK)}... (${text.length - MAX_STACK} of ${text.length} characters left out)`;
}

/** Returns an error's stack, or its message if the user's formatter of stacks throws. */
function ownStack(error) {
  try {
    if (typeof error.stack === 'string') return error.stack;
  } catch {
    // The name and the message remain.
  }
  return `${String(error.name)}: ${String(error.message)}`;
}

/** Returns a property, or undefined if reading it throws. */
function read(object, name) {
  try {
    return object?.[name];
  } catch {
    return undefined;
  }
}

function stackOf(error) {
  let text = '';
  let label = '';
  for (let depth = 0, current = error; depth < MAX_CAUSES && current !== undefined; depth += 1) {
    text += `${label}${isError(current) ? ownStack(current) : shortText(current)}\n`;
    const errors = read(current, 'errors');
    const inner = Array.isArray(errors) ? errors : [];
    for (const each of local(inner, MAX_CAUSES)) {
      text += `[errors]: ${isError(each) ? ownStack(each) : shortText(each)}\n`;
    }
    if (inner.length > MAX_CAUSES) text += `[errors]: ${inner.length - MAX_CAUSES} more\n`;
    current = read(current, 'cause');
    label = '[cause]: ';
  }
  return beginning(text);
}

module.exports = { describeError };
