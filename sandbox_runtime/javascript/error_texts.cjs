/**
 * Errors of user code as text: runs on the main thread, where they live. Nothing here throws, whatever an object does when
 * it is looked at.
 */
'use strict';

const { inspect } = require('node:util');

const LONGEST_STACK = 64 << 10;
const MOST_CAUSES = 5;
const LONGEST_NAME = 1000;

/** What is known of something thrown: `{name, value, stack}`; `stack` has the lines of its causes too. */
function describeError(thrown) {
  try {
    if (!isError(thrown)) return { name: nameOf(thrown), value: shortText(thrown), stack: '' };
    const name = String(thrown.name || nameOf(thrown));
    const value = String(thrown.message);
    return { name: name.slice(0, LONGEST_NAME), value: value.slice(0, LONGEST_STACK), stack: stackOf(thrown) };
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

module.exports = { describeError };
