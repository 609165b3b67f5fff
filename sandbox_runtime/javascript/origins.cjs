/**
 * Finds out which cell the running code belongs to, on the main thread. Timers and promises of a cell may run after its
 * end, also while a later cell waits.
 */
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');

const storage = new AsyncLocalStorage();
// User code may replace the methods.
const enterWith = storage.enterWith.bind(storage);
const getStore = storage.getStore.bind(storage);

/** Makes what is called from here belong to the cell. Node keeps that in a Map, whose methods user code may replace. */
function enter(number) {
  try {
    enterWith(number);
  } catch {
    // The output of this cell is then never late.
  }
}

function current() {
  try {
    return getStore();
  } catch {
    return undefined;
  }
}

class Origins {
  #ring;
  #number = 0;

  constructor(ring) {
    this.#ring = ring;
  }

  /** Begins a cell: what it calls, now or later, belongs to it. */
  begin(number) {
    this.#number = number;
    enter(number);
    this.#ring.reportDropped(number);
  }

  /** Returns the number of the cell that the caller belongs to, or 0 if that is the running one. */
  lateCell() {
    const running = this.#ring.cell;
    const cell = current() ?? (running || this.#number);
    return cell === running ? 0 : cell;
  }
}

module.exports = { Origins };
