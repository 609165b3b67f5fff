/**
 * Finds out which cell the running code belongs to, on the main thread. Timers and promises of a cell may run after its
 * end, also while a later cell waits.
 */
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');

const storage = new AsyncLocalStorage();
// User code may replace the methods.
const enter = storage.enterWith.bind(storage);
const current = storage.getStore.bind(storage);

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
