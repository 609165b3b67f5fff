/**
 * What the runtime needs of the user's realm: promises and stacks that user code gets or makes, handled without a look at
 * their prototypes. User code may have changed those.
 */
'use strict';

const { Reflect, Promise, AsyncDisposableStack, DisposableStack } = require('./globals.cjs');

const { apply } = Reflect;
const { then } = Promise.prototype;
const { defer, disposeAsync, use: useAsync } = AsyncDisposableStack.prototype;
const { dispose, use } = DisposableStack.prototype;

/** Waits for a promise of the user's realm. */
function settle(promise, onValue, onError) {
  apply(then, promise, [onValue, onError]);
}

/** Boxes a promise's value, so that no `then` of the value itself is called. */
async function box(promise) {
  return { __proto__: null, value: await promise };
}

/** Turns a promise of the runtime into one of the user's realm. */
async function adopt(promise) {
  return await promise;
}

function never() {
  return new Promise(() => {});
}

async function* eachUntil(isOver, iterable) {
  try {
    for await (const value of iterable) {
      if (isOver()) await never();
      yield value;
    }
  } finally {
    if (isOver()) await never();
  }
}

/** The values that cells declare with `using` and `await using`. */
function createResources() {
  const resources = new AsyncDisposableStack();
  return {
    use(isAwaiting, value) {
      if (isAwaiting) return apply(useAsync, resources, [value]);
      const own = new DisposableStack();
      apply(use, own, [value]);
      apply(defer, resources, [() => apply(dispose, own, [])]);
      return value;
    },
    dispose: () => apply(disposeAsync, resources, []),
  };
}

module.exports = { adopt, box, createResources, eachUntil, never, settle };
